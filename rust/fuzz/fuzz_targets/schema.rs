//! Verdicts on payloads: the pass, the explainer and the crate `jsonschema` agree.
#![no_main]

use std::sync::LazyLock;

use evcore_core::dom::{self, Dom};
use evcore_core::explain::{Fields, explain};
use evcore_core::limits::Limits;
use evcore_core::version::Version;
use evcore_core::violation::Keyword;
use evcore_fuzz::{SCHEMA, input, is_json, judge, program};
use jsonschema::{Draft, Validator};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static REFERENCES: LazyLock<[Validator; 2]> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    [Draft::Draft4, Draft::Draft6]
        .map(|draft| jsonschema::options().with_draft(draft).build(&schema).expect("a schema"))
});

fuzz_target!(|data: &[u8]| {
    let Some((version, text)) = input(data) else { return };
    let limits = Limits::default();
    let taken = judge(text, version, &limits).is_ok();
    if !is_json(text, &limits) {
        assert!(!taken, "took what is no JSON: {text:?}");
        return;
    }
    let (value, _) = dom::read(text.as_bytes(), 0);
    let violations = explain(program(version), &Fields::new(), &value, 100);
    assert_eq!(taken, violations.is_empty(), "{text:?}: {violations:?}");
    if violations.iter().any(|violation| violation.keyword == Keyword::UniqueKeys) || !plain_numbers(&value) {
        return;
    }
    let value: Value = serde_json::from_str(text).expect("both read JSON alike");
    let reference = &REFERENCES[usize::from(version != Version::V16)];
    assert_eq!(taken, reference.is_valid(&value), "{text:?}: {violations:?}");
});

/// Every number is one that a double holds exactly as written: beyond, the contract goes by text and the reference need not.
fn plain_numbers(value: &Dom) -> bool {
    match value {
        Dom::Number(text) => text.len() <= 15 && !text.contains(['e', 'E']) && text.parse::<f64>().is_ok(),
        Dom::Array(items) => items.iter().all(plain_numbers),
        Dom::Object(_, members) => members.iter().all(|(_, value)| plain_numbers(value)),
        _ => true,
    }
}
