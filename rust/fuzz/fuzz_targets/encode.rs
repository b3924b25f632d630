//! Round trips: a value read, written by the core's rules for strings and read again is the same value, is written the same
//! way again, means the same to `serde_json`, and is judged the same.
#![no_main]

use evcore_core::dom;
use evcore_core::explain::Fields;
use evcore_core::limits::Limits;
use evcore_core::write::tree;
use evcore_fuzz::{input, is_json, judge};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((version, text)) = input(data) else { return };
    let limits = Limits::default();
    if !is_json(text, &limits) {
        return;
    }
    let (value, _) = dom::read(text.as_bytes(), 0);
    let mut written = Vec::new();
    tree(None, &Fields::new(), &value, &mut written);
    let written = String::from_utf8(written).expect("what is written is UTF-8");
    assert!(
        is_json(&written, &Limits { string_bytes: 6 * limits.string_bytes, ..limits }),
        "{text:?} became {written:?}"
    );
    let (again, end) = dom::read(written.as_bytes(), 0);
    assert_eq!((&again, end), (&value, written.len()));
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("both read JSON alike");
    assert_eq!(read(text), read(&written));
    assert_eq!(
        judge(text, version, &limits).is_ok(),
        judge(&written, version, &limits).is_ok(),
        "{text:?} {written:?}"
    );
});
