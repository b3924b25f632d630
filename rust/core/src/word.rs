//! A word of a schema (a property's name, an enum's value) as it stands in JSON text: guessed, compared, written.

use crate::text::{same, word};

/// A word with its closing quote, compared where it is expected, sixteen bytes at once.
#[derive(Debug)]
pub struct Quoted {
    /// `word"`
    bytes: Box<[u8]>,
    head: [u64; 2],
    mask: [u64; 2],
}

impl Quoted {
    /// The word as it is written between quotes. One that needs escapes is never recognised here.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let bytes: Box<[u8]> = [text.as_bytes(), b"\""].concat().into();
        if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            // Bytes that UTF-8 does not have.
            return Self { bytes, head: [u64::MAX; 2], mask: [u64::MAX; 2] };
        }
        let mut head = [0; 16];
        let mut mask = [0; 16];
        for ((head, mask), &byte) in head.iter_mut().zip(&mut mask).zip(&*bytes) {
            (*head, *mask) = (byte, 0xFF);
        }
        Self { bytes, head: halves(&head), mask: halves(&mask) }
    }

    /// Where the text goes on when this word and its quote stand at `at`. Near the end of the text the answer may be None
    /// for a word that is there.
    #[inline]
    #[must_use]
    pub fn follows(&self, text: &[u8], at: usize) -> Option<usize> {
        let first = word(text, at)?;
        let second = word(text, at + 8)?;
        if (first ^ self.head[0]) & self.mask[0] | (second ^ self.head[1]) & self.mask[1] != 0 {
            return None;
        }
        let end = at + self.bytes.len();
        if self.bytes.len() > 16 && !same(text.get(at + 16..end)?, &self.bytes[16..]) {
            return None;
        }
        Some(end)
    }
}

fn halves(bytes: &[u8; 16]) -> [u64; 2] {
    [word(bytes, 0).unwrap_or(0), word(bytes, 8).unwrap_or(0)]
}

/// Bytes that are written often: the short ones in one move of fixed size.
#[derive(Debug)]
pub struct Written {
    bytes: Box<[u8]>,
    padded: [u8; Written::SHORT],
}

impl Written {
    const SHORT: usize = 32;

    /// Keeps `bytes` for writing.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut padded = [0; Self::SHORT];
        let short = bytes.len().min(Self::SHORT);
        padded[..short].copy_from_slice(&bytes[..short]);
        Self { bytes: bytes.into(), padded }
    }

    /// Appends them.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.bytes.len() <= Self::SHORT {
            let end = out.len() + self.bytes.len();
            out.extend_from_slice(&self.padded);
            out.truncate(end);
        } else {
            out.extend_from_slice(&self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_recognised_with_its_quote_only() {
        let padding = " ".repeat(16);
        for name in ["", "a", "connectorId", "sixteen bytes ok", "chargingSchedulePeriod", "chargingProfilePurposeX", "é"] {
            let quoted = Quoted::new(name);
            let text = format!("{name}\":1{padding}");
            assert_eq!(quoted.follows(text.as_bytes(), 0), Some(name.len() + 1), "{name}");
            for other in [format!("{name}x\"{padding}"), format!("x{name}\"{padding}"), format!("{name}{padding}"), name.into()] {
                assert_eq!(quoted.follows(other.as_bytes(), 0), None, "{other}");
            }
        }
        let quoted = Quoted::new("a\"b");
        assert_eq!(quoted.follows(format!("a\"b\"{padding}").as_bytes(), 0), None);
    }

    #[test]
    fn short_and_long_bytes_are_written_whole() {
        for length in [0, 1, 31, 32, 33, 100] {
            let bytes = vec![b'x'; length];
            let mut out = b"<".to_vec();
            Written::new(bytes.clone()).write(&mut out);
            assert_eq!(out[1..], bytes);
        }
    }
}
