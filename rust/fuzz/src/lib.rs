//! What the targets share: a schema with every keyword, programs of it, the two ways to judge.
//!
//! In: fuzzed bytes, whose first one chooses the version. Out: panics where two readings of the same text differ.

use std::sync::LazyLock;

use evcore_core::build::{Nothing, Stop};
use evcore_core::limits::Limits;
use evcore_core::pass::{Pass, Trouble};
use evcore_core::program::Program;
use evcore_core::schema::{Options, compile};
use evcore_core::version::Version;

/// Every keyword of OCPP's inventory, each where a short text reaches it.
pub const SCHEMA: &str = r##"{
  "definitions": {
    "Level": {"type": "integer", "minimum": 0, "maximum": 3.0},
    "Custom": {"type": "object", "properties": {"v": {"type": "string", "maxLength": 3}}, "required": ["v"]}
  },
  "type": "object",
  "properties": {
    "s": {"type": "string", "maxLength": 4},
    "e": {"type": "string", "enum": ["A", "Ab", "é", "A\"b"], "additionalProperties": false},
    "i": {"type": "integer"},
    "n": {"type": "number", "minimum": -1.5, "maximum": 100},
    "l": {"$ref": "#/definitions/Level"},
    "b": {"type": "boolean"},
    "a": {"type": "array", "items": {"$ref": "#/definitions/Level"}, "additionalItems": false, "minItems": 1, "maxItems": 3},
    "o": {"type": "array", "items": {"type": "object", "properties": {"x": {}, "yy": {"type": "string"}}, "required": ["yy", "x"], "additionalProperties": false}},
    "c": {"$ref": "#/definitions/Custom"},
    "u": {},
    "z": {"type": "object", "additionalProperties": false}
  },
  "required": ["s"],
  "additionalProperties": false
}"##;

/// The versions, by number.
pub const VERSIONS: [Version; 3] = [Version::V16, Version::V201, Version::V21];

static PROGRAMS: LazyLock<Vec<Program>> = LazyLock::new(|| {
    let made = VERSIONS.map(|version| compile(SCHEMA.as_bytes(), &Options { version, formats: true, names: None }));
    made.into_iter().map(|program| program.expect("the schema keeps to the inventory")).collect()
});

/// The schema, compiled for a version.
#[must_use]
pub fn program(version: Version) -> &'static Program {
    PROGRAMS.iter().find(|program| program.version() == version).expect("there is one for each")
}

/// A version and the text to read; None for what is no text.
#[must_use]
pub fn input(data: &[u8]) -> Option<(Version, &str)> {
    let (first, text) = data.split_first()?;
    Some((VERSIONS[usize::from(*first) % 3], std::str::from_utf8(text).ok()?))
}

/// Judges a whole text as one payload.
pub fn judge(text: &str, version: Version, limits: &Limits) -> Result<(), Trouble> {
    let mut pass = Pass::new(text.as_bytes(), 0, text.is_ascii(), 1, limits, Nothing);
    pass.skip_space();
    pass.judge(program(version)).and_then(|()| pass.end()).map_err(|Stop| pass.trouble())
}

/// Whether a whole text is JSON within the limits, duplicate keys or not.
#[must_use]
pub fn is_json(text: &str, limits: &Limits) -> bool {
    let mut pass = Pass::new(text.as_bytes(), 0, text.is_ascii(), 1, limits, Nothing).unjudged();
    pass.skip_space();
    pass.any().and_then(|()| pass.end()).is_ok()
}
