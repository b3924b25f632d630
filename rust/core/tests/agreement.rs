//! The quick pass and the plain rules agree on every verdict: what one takes the other finds nothing wrong with.

use evcore_core::build::Nothing;
use evcore_core::explain::{Fields, explain};
use evcore_core::frame::{Rules, diagnose, head};
use evcore_core::limits::Limits;
use evcore_core::pass::Pass;
use evcore_core::program::Program;
use evcore_core::schema::{Options, compile};
use evcore_core::version::Version;

const SCHEMA: &str = r##"{
  "type": "object", "additionalProperties": false, "required": ["id", "items"],
  "definitions": {
    "Unit": {"type": "string", "enum": ["W", "Wh", "Energy.Active.Import.Register", "Energy.Active.Export.Register", "\"q\""]},
    "Custom": {"type": "object", "properties": {"vendorId": {"type": "string", "maxLength": 3}}, "required": ["vendorId"]},
    "Sample": {
      "type": "object", "additionalProperties": false, "required": ["value"],
      "properties": {
        "value": {"type": "number", "minimum": 0, "maximum": 100, "multipleOf": 0.1},
        "unit": {"$ref": "#/definitions/Unit"},
        "at": {"type": "string", "format": "date-time"},
        "custom": {"$ref": "#/definitions/Custom"}
      }
    }
  },
  "properties": {
    "id": {"type": "integer"},
    "name": {"type": "string", "maxLength": 4},
    "where": {"type": "string", "format": "uri"},
    "on": {"type": "boolean"},
    "items": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"$ref": "#/definitions/Sample"}},
    "free": {},
    "aPropertyWithAVeryLongNameIndeed": {"$ref": "#/definitions/Unit"}
  }
}"##;

/// A small generator of numbers, the same ones on every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

const SPACES: [&str; 6] = ["", "", "", "", " ", "\n\t "];

const SCALARS: [&str; 34] = [
    "0",
    "1",
    "-1",
    "8.1",
    "6.25",
    "100",
    "100.1",
    "3e2",
    "300.0",
    "1e400",
    "-0",
    "12345678901234567890123",
    "true",
    "false",
    "null",
    "\"\"",
    "\"abc\"",
    "\"abcd\"",
    "\"abcde\"",
    "\"\\u00e9\\ud83d\\ude00xy\"",
    "\"éééé\"",
    "\"ééééé\"",
    "\"W\"",
    "\"Wh\"",
    "\"\\u0057\"",
    "\"Energy.Active.Import.Register\"",
    "\"Energy.Active.Export.Register\"",
    "\"\\\"q\\\"\"",
    "\"2026-11-20T12:00:00Z\"",
    "\"2026-11-31T12:00:00Z\"",
    "\"http://h/\"",
    "\"\\ud800\"",
    "01",
    "nul",
];

const NAMES: [&str; 15] = [
    "id",
    "name",
    "where",
    "on",
    "items",
    "free",
    "aPropertyWithAVeryLongNameIndeed",
    "value",
    "unit",
    "at",
    "custom",
    "vendorId",
    "\\u0069d",
    "x",
    "\\\"",
];

/// A value that often, but not always, is what the schema asks for at `name`.
fn value(dice: &mut Dice, name: &str, depth: usize) -> String {
    if dice.roll(60) == 0 || depth > 4 {
        return dice.pick(&SCALARS).to_owned();
    }
    match name {
        "" => object(dice, &["id", "items", "name", "where", "on", "free", "aPropertyWithAVeryLongNameIndeed"], depth),
        "items" => {
            let items: Vec<String> = (0..=dice.roll(3)).map(|_| value(dice, "sample", depth + 1)).collect();
            format!("[{}]", items.join(dice.pick(&[",", ",", ",", ",", ",", " , ", ",\n", ",,"])))
        }
        "sample" => object(dice, &["value", "unit", "at", "custom"], depth),
        "custom" => object(dice, &["vendorId", "x"], depth),
        "free" => object(dice, &["x", "value", "\\u0069d"], depth),
        "id" => dice.pick(&["1", "-7", "300.0"]).to_owned(),
        "value" => dice.pick(&["0", "8.1", "100", "1e1"]).to_owned(),
        "on" => dice.pick(&["true", "false"]).to_owned(),
        "at" => "\"2026-11-20T12:00:00.5+01:00\"".to_owned(),
        "where" => "\"ftp://h/%20\"".to_owned(),
        "name" | "vendorId" => dice.pick(&["\"\"", "\"abc\"", "\"\\u0061\""]).to_owned(),
        "x" => dice.pick(&SCALARS[..9]).to_owned(),
        _ => dice.pick(&SCALARS[22..28]).to_owned(),
    }
}

fn object(dice: &mut Dice, names: &[&str], depth: usize) -> String {
    let mut members = Vec::new();
    for &name in names {
        if dice.roll(8) > 0 {
            members.push(name);
        }
    }
    if dice.roll(3) == 0 {
        let (a, b) = (dice.roll(members.len().max(1)), dice.roll(members.len().max(1)));
        if !members.is_empty() {
            members.swap(a, b);
        }
    }
    if dice.roll(60) == 0 {
        members.push(dice.pick(&NAMES));
    }
    let members: Vec<String> = members
        .into_iter()
        .map(|name| {
            let (before, after) = (dice.pick(&SPACES), dice.pick(&SPACES));
            format!("{before}\"{name}\"{after}:{after}{}{before}", value(dice, name, depth + 1))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Whether the quick pass takes the frame.
fn quick(program: &Program, text: &[u8], limits: &Limits) -> bool {
    let ascii = text.is_ascii();
    head(text, Version::V201, limits, ascii).is_some_and(|head| {
        text.get(head.payload) == Some(&b'{') && {
            let mut pass = Pass::new(text, head.payload, ascii, 1, limits, Nothing);
            pass.judge(program).and_then(|()| pass.close()).is_ok()
        }
    })
}

/// Whether the plain rules find nothing wrong with it.
fn plain(program: &Program, text: &[u8], limits: &Limits) -> bool {
    let rules = Rules { version: Version::V201, limits, answer_unknown_kind: true };
    diagnose(text, rules).is_ok_and(|frame| explain(program, &Fields::new(), &frame.value, 100).is_empty())
}

#[test]
fn verdicts_agree() {
    let options = Options { version: Version::V201, formats: true, names: None };
    let program = compile(SCHEMA.as_bytes(), &options).unwrap();
    let limits = Limits { depth: 8, ..Limits::default() };
    let mut dice = Dice(0x5EED);
    let mut taken = 0;
    let cases = 60_000;
    for _ in 0..cases {
        let text = format!("[2,\"id\",\"A\",{}]", value(&mut dice, "", 0));
        let verdict = quick(&program, text.as_bytes(), &limits);
        assert_eq!(verdict, plain(&program, text.as_bytes(), &limits), "{text}");
        taken += usize::from(verdict);
    }
    assert!((cases / 20..cases * 19 / 20).contains(&taken), "{taken} of {cases} were good: the cases say too little");
}

#[test]
fn broken_text_never_panics_and_is_never_taken_by_one_alone() {
    let options = Options { version: Version::V201, formats: true, names: None };
    let program = compile(SCHEMA.as_bytes(), &options).unwrap();
    let limits = Limits::default();
    let mut dice = Dice(0xBAD);
    for _ in 0..20_000 {
        let mut text = format!("[2,\"id\",\"A\",{}]", value(&mut dice, "", 0)).into_bytes();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(text.len());
            match dice.roll(4) {
                0 => text.truncate(at.max(1)),
                1 => text[at] = dice.roll(256) as u8,
                2 => text.insert(at, b"\"\\{}[],:0\xFF\x00"[dice.roll(11)]),
                _ => drop(text.remove(at)),
            }
            if text.is_empty() {
                text.push(b'[');
            }
        }
        if std::str::from_utf8(&text).is_ok() {
            assert_eq!(
                quick(&program, &text, &limits),
                plain(&program, &text, &limits),
                "{:?}",
                String::from_utf8_lossy(&text)
            );
        } else {
            assert!(!plain(&program, &text, &limits));
        }
    }
}
