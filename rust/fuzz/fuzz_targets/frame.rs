//! Whole frames: nothing panics, the quick reading and the explaining one agree, JSON is what `serde_json` says it is, and
//! what may be answered keeps to its form.
#![no_main]

use evcore_core::build::Nothing;
use evcore_core::dom::{Dom, Naming};
use evcore_core::explain::{Fields, explain};
use evcore_core::frame::{Fault, Frame, Reason, Rules, diagnose, head};
use evcore_core::limits::Limits;
use evcore_core::pass::{Pass, Trouble};
use evcore_core::version::Version;
use evcore_fuzz::{VERSIONS, program};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((&first, text)) = data.split_first() else { return };
    let version = VERSIONS[usize::from(first) % 3];
    let limits = Limits::default();
    let slow = diagnose(text, Rules { version, limits: &limits, answer_unknown_kind: first & 4 != 0 });
    match &slow {
        Ok(frame) => assert!(version.has_kind(frame.kind)),
        Err(fault) => answerable(fault, version),
    }
    let Ok(text) = std::str::from_utf8(text) else {
        assert!(matches!(slow, Err(fault) if matches!(fault.reason, Reason::Utf8 | Reason::Empty)));
        return;
    };
    json_alike(text, &slow);
    quick_alike(text, version, &limits, &slow);
});

/// The reply is None, or five elements that a peer can read.
fn answerable(fault: &Fault, version: Version) {
    let Some(reply) = &fault.reply else { return };
    let reply: Value = serde_json::from_slice(reply).expect("a reply is JSON");
    let [kind, id, code, description, details] = reply.as_array().expect("an array").as_slice() else {
        panic!("five elements")
    };
    assert!(kind == 4 || kind == 5 && version == Version::V21);
    assert!((1..=255).contains(&id.as_str().expect("an id").chars().count()));
    assert_eq!(code, fault.code);
    assert!(description.as_str().expect("a description").chars().count() <= 255);
    assert_eq!(details, &serde_json::json!({}));
}

/// Refused as JSON exactly where `serde_json` refuses, but for what the contract decides otherwise.
fn json_alike(text: &str, slow: &Result<Frame, Box<Fault>>) {
    let reason = slow.as_ref().err().map(|fault| fault.reason);
    match serde_json::from_str::<Value>(text) {
        Ok(value) => assert!(reason != Some(Reason::Json) || beyond_doubles(&value), "refused JSON: {text:?}"),
        Err(_) => {
            assert!(matches!(reason, Some(Reason::Json | Reason::Limit | Reason::Empty)), "took for JSON: {text:?}")
        }
    }
}

/// Somewhere in it is a number no double can hold (repeated members hide such numbers from `serde_json`'s value).
fn beyond_doubles(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.to_string().parse::<f64>().is_ok_and(f64::is_infinite),
        Value::Array(items) => items.iter().any(beyond_doubles),
        Value::Object(members) => members.values().any(beyond_doubles),
        _ => false,
    }
}

/// The quick reading takes exactly what the slow one finds nothing wrong with.
fn quick_alike(text: &str, version: Version, limits: &Limits, slow: &Result<Frame, Box<Fault>>) {
    let bytes = text.as_bytes();
    let Some(head) = head(bytes, version, limits, text.is_ascii()) else { return };
    let mut pass = Pass::new(bytes, head.payload, text.is_ascii(), 1, limits, Nothing);
    let taken = pass.judge(program(version)).and_then(|()| pass.close()).is_ok();
    let wrong = slow.as_ref().ok().map(|frame| {
        let nothing = Dom::Object(Naming::Wire, Vec::new());
        let payload = if frame.value == Dom::Null { &nothing } else { &frame.value };
        (frame, explain(program(version), &Fields::new(), payload, 100))
    });
    if taken {
        let (frame, violations) = wrong.expect("what the quick reading takes is a frame");
        assert_eq!(violations, []);
        assert_eq!((frame.kind, &*frame.id), (head.kind, &text[head.id.0..head.id.1]));
        assert_eq!(frame.action.as_deref().unwrap_or(""), &text[head.action.0..head.action.1]);
        assert_eq!(frame.payload.map(|span| span.0), Some(head.payload));
        return;
    }
    match pass.trouble() {
        Trouble::Violation => {
            assert!(wrong.is_none_or(|(frame, violations)| frame.value == Dom::Null || !violations.is_empty()))
        }
        trouble => assert!(slow.is_err(), "{trouble:?}, but a frame: {text:?}"),
    }
}
