//! Compact JSON: strings, numbers, whole trees.

use crate::dom::{Dom, Name};
use crate::explain::Fields;
use crate::program::{Node, NodeId, Program};

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

/// A tree that nothing is wrong with, under the names of the wire.
pub fn tree(core: Option<&Program>, fields: &Fields, value: &Dom<'_>, out: &mut Vec<u8>) {
    typed(core.map(|core| (core, core.root())), fields, value, out);
}

fn typed(place: Option<(&Program, NodeId)>, fields: &Fields, value: &Dom<'_>, out: &mut Vec<u8>) {
    let node = place.map(|(core, node)| (core, core.node(node)));
    match value {
        Dom::Null => out.extend_from_slice(b"null"),
        Dom::Boolean(true) => out.extend_from_slice(b"true"),
        Dom::Boolean(false) => out.extend_from_slice(b"false"),
        Dom::Number(text) => out.extend_from_slice(text.as_bytes()),
        Dom::Text(text) => write_string(out, text),
        Dom::Array(items) => {
            let items_place = match node {
                Some((core, Node::Array(array))) => Some((core, array.items)),
                _ => None,
            };
            let mut separator = b'[';
            for item in items {
                out.push(separator);
                separator = b',';
                typed(items_place, fields, item, out);
            }
            if separator == b'[' {
                out.push(b'[');
            }
            out.push(b']');
        }
        Dom::Object(naming, members) => {
            let start = out.len();
            for (name, member) in members {
                let Name::Text(name) = name else { continue };
                let property = match node {
                    Some((core, Node::Object(object))) => {
                        object.resolve(name, *naming, fields).map(|index| (core, &object.properties[index]))
                    }
                    _ => None,
                };
                if let Some((core, property)) = property {
                    property.written.write(out);
                    typed(Some((core, property.node)), fields, member, out);
                } else {
                    out.push(b',');
                    write_string(out, name);
                    out.push(b':');
                    typed(None, fields, member, out);
                }
            }
            match out.get_mut(start) {
                Some(first) => *first = b'{',
                None => out.push(b'{'),
            }
            out.push(b'}');
        }
        // What cannot be written is a violation, and this tree has none.
        Dom::Unwritable(_) | Dom::Foreign(_) | Dom::Surrogate | Dom::Naive | Dom::Deep(_) => {}
    }
}

/// An integer, moved to its place in one piece of fixed size: most are a few digits long.
#[inline]
pub fn write_integer(out: &mut Vec<u8>, value: i64) {
    const LONGEST: usize = 20;
    let mut buffer = [0_u8; 2 * LONGEST];
    let mut at = LONGEST;
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    let end = out.len() + LONGEST - at;
    out.extend_from_slice(&buffer[at..at + LONGEST]);
    out.truncate(end);
}

/// A finite double as Python's `repr` has it, the exponent as `1e16`, `1e-5`.
#[inline]
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        // In this range the shortest digits are written without an exponent, as `repr` does.
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(format!("{value:e}").as_bytes());
    }
}

/// The same as text.
#[must_use]
pub fn float_text(value: f64) -> String {
    let mut out = Vec::new();
    write_float(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}
