//! The answers to what cannot be accepted, ready to send, and JSON strings in general.

use crate::version::kind;

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

/// A JSON string: quotes, backslashes and control characters escaped, all else as it is.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text.as_bytes());
    out.push(b'"');
}

/// The inside of a JSON string.
#[inline]
pub fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut at = 0;
    loop {
        let end = crate::text::run_end(text, at);
        out.extend_from_slice(&text[at..end]);
        let Some(&byte) = text.get(end) else { break };
        write_escape(out, byte);
        at = end + 1;
    }
}

#[cold]
fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0C => b'f',
        b'\r' => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
