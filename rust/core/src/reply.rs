//! The answers to what cannot be accepted, ready to send.

use crate::version::kind;
use crate::write::write_string;

/// Code points a description may have.
pub const DESCRIPTION: usize = 255;

/// `[4,"id","Code","description",{}]`, or with 5 where it answers a CALLRESULT.
#[must_use]
pub fn refusal(answered: u8, id: &str, code: &str, description: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + id.len() + description.len());
    let answer = if answered == kind::CALL_RESULT { kind::CALL_RESULT_ERROR } else { kind::CALL_ERROR };
    out.extend_from_slice(&[b'[', b'0' + answer, b',']);
    write_string(&mut out, id);
    out.push(b',');
    write_string(&mut out, code);
    out.push(b',');
    write_string(&mut out, cut(description));
    out.extend_from_slice(b",{}]");
    out
}

/// A description as long as it may be.
#[must_use]
pub fn cut(description: &str) -> &str {
    description.char_indices().nth(DESCRIPTION).map_or(description, |(end, _)| &description[..end])
}
