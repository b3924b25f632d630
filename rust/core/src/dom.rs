//! A JSON value as a tree, for the slow paths: explaining what broke, diagnosing a frame.
//!
//! Trees come from text that a pass has read to its end without trouble, or from live objects; the last five variants
//! are things only live objects can hold.

use std::borrow::Cow;

use crate::text::{skip_space, string_end, unescape};

/// A value; strings without escapes and numbers are the text's own.
#[derive(Clone, Debug, PartialEq)]
pub enum Dom<'t> {
    /// `null`
    Null,
    /// `true`, `false`
    Boolean(bool),
    /// A number as it is written.
    Number(Cow<'t, str>),
    /// A string.
    Text(Cow<'t, str>),
    /// An array.
    Array(Vec<Dom<'t>>),
    /// An object: its members in order, duplicates included.
    Object(Naming, Vec<(Name<'t>, Dom<'t>)>),
    /// A number that is not one: NaN, an infinity, more digits than the limit.
    Unwritable(&'static str),
    /// An object of a type that JSON has no word for: the type's name.
    Foreign(Box<str>),
    /// A string with a lone surrogate.
    Surrogate,
    /// A date and time without an offset from UTC.
    Naive,
    /// Nested deeper than the limit (held here).
    Deep(u32),
}

/// A member's name.
#[derive(Clone, Debug, PartialEq)]
pub enum Name<'t> {
    /// A string.
    Text(Cow<'t, str>),
    /// Not a string, or one with a lone surrogate: no name at all.
    Bad,
}

/// Which names an object's keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Names on the wire.
    Wire,
    /// The names the program has in Python.
    Python,
    /// Any of the two, or another spelling of a dataclass field.
    Field,
}

impl Dom<'_> {
    /// The type's name in violations.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "boolean",
            Self::Number(text) if is_integer(text) => "integer",
            Self::Number(_) => "number",
            Self::Text(_) | Self::Surrogate | Self::Naive => "string",
            Self::Array(_) => "array",
            Self::Object(..) => "object",
            Self::Unwritable(what) => what,
            Self::Foreign(name) => name,
            Self::Deep(_) => "object",
        }
    }
}

/// Whether a number is written as an integer.
pub(crate) fn is_integer(lexeme: &str) -> bool {
    !lexeme.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// The value at `at` of text that is known to be JSON within the limits, and where the text goes on.
#[must_use]
pub fn read(text: &[u8], at: usize) -> (Dom<'_>, usize) {
    let at = skip_space(text, at);
    match text.get(at) {
        Some(b'"') => {
            let (string, at) = string(text, at);
            (Dom::Text(string), at)
        }
        Some(b'[') => {
            let mut items = Vec::new();
            let mut at = skip_space(text, at + 1);
            while text.get(at).is_some_and(|&byte| byte != b']') {
                let (item, after) = read(text, at);
                items.push(item);
                at = separator(text, after);
            }
            (Dom::Array(items), at + 1)
        }
        Some(b'{') => {
            let mut members = Vec::new();
            let mut at = skip_space(text, at + 1);
            while text.get(at).is_some_and(|&byte| byte != b'}') {
                let (name, after) = string(text, at);
                let (value, after) = read(text, skip_space(text, after) + 1);
                members.push((Name::Text(name), value));
                at = separator(text, after);
            }
            (Dom::Object(Naming::Wire, members), at + 1)
        }
        Some(b't') => (Dom::Boolean(true), at + 4),
        Some(b'f') => (Dom::Boolean(false), at + 5),
        Some(b'n') => (Dom::Null, at + 4),
        _ => {
            let end = crate::number::lexeme(text, at).map_or(text.len(), crate::number::Lexeme::end);
            (Dom::Number(String::from_utf8_lossy(&text[at.min(end)..end])), end)
        }
    }
}

/// Behind white space and a comma, if there is one.
pub(crate) fn separator(text: &[u8], at: usize) -> usize {
    let at = skip_space(text, at);
    if text.get(at) == Some(&b',') { skip_space(text, at + 1) } else { at }
}

fn string(text: &[u8], at: usize) -> (Cow<'_, str>, usize) {
    let (end, escaped) = string_end(text, at + 1).unwrap_or((text.len(), false));
    if !escaped {
        return (String::from_utf8_lossy(&text[(at + 1).min(end)..end]), end + 1);
    }
    let mut bytes = Vec::with_capacity(end - at);
    // The pass has judged the escapes; there is nothing left to refuse.
    let _ = unescape(text, at + 1, end, &mut bytes);
    (String::from_utf8_lossy(&bytes).into_owned().into(), end + 1)
}
