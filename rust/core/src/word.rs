//! A word of a schema (a property's name, an enum's value) as it stands in JSON text: guessed, compared, written.

use crate::text::{same, word};

/// A word with what closes it (`word"` for a value, `word":` for a key), compared where it is expected, sixteen or
/// thirty-two bytes at once.
#[derive(Debug)]
pub struct Quoted {
    head: [u64; 2],
    mask: [u64; 2],
    length: usize,
    tail: [u64; 2],
    tail_mask: [u64; 2],
    bytes: Box<[u8]>,
}

impl Quoted {
    /// An enum's value. One that needs escapes is never recognised here.
    #[must_use]
    pub fn value(text: &str) -> Self {
        Self::new(text, b"\"")
    }

    /// A property's name, with its colon.
    #[must_use]
    pub fn key(text: &str) -> Self {
        Self::new(text, b"\":")
    }

    fn new(text: &str, close: &[u8]) -> Self {
        let bytes: Box<[u8]> = [text.as_bytes(), close].concat().into();
        let (mut window, mut mask) = ([0; 32], [0; 32]);
        if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            // Bytes that UTF-8 does not have.
            (window, mask) = ([0xFF; 32], [0xFF; 32]);
        }
        for ((window, mask), &byte) in
            window.iter_mut().zip(&mut mask).zip(&*bytes).filter(|((_, mask), _)| **mask == 0)
        {
            (*window, *mask) = (byte, 0xFF);
        }
        let halves = |bytes: &[u8; 32], at| [word(bytes, at).unwrap_or(0), word(bytes, at + 8).unwrap_or(0)];
        Self {
            head: halves(&window, 0),
            mask: halves(&mask, 0),
            tail: halves(&window, 16),
            tail_mask: halves(&mask, 16),
            length: bytes.len(),
            bytes,
        }
    }

    /// Where the text goes on when this word stands at `at`. Near the end of the text the answer may be None for a word
    /// that is there.
    #[inline]
    #[must_use]
    pub fn follows(&self, text: &[u8], at: usize) -> Option<usize> {
        let window = text.get(at..at + 16)?;
        let (first, second) = (word(window, 0)?, word(window, 8)?);
        if (first ^ self.head[0]) & self.mask[0] | (second ^ self.head[1]) & self.mask[1] != 0 {
            return None;
        }
        if self.length > 16 {
            return self.follows_long(text, at);
        }
        Some(at + self.length)
    }

    #[inline]
    fn follows_long(&self, text: &[u8], at: usize) -> Option<usize> {
        let window = text.get(at + 16..at + 32)?;
        let (first, second) = (word(window, 0)?, word(window, 8)?);
        if (first ^ self.tail[0]) & self.tail_mask[0] | (second ^ self.tail[1]) & self.tail_mask[1] != 0 {
            return None;
        }
        let end = at + self.length;
        if self.length > 32 && !same(text.get(at + 32..end)?, &self.bytes[32..]) {
            return None;
        }
        Some(end)
    }
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
    fn a_word_is_recognised_with_what_closes_it_only() {
        let padding = " ".repeat(32);
        for name in [
            "",
            "a",
            "connectorId",
            "fourteen bytes",
            "fifteen bytes..",
            "chargingSchedulePeriod",
            "é",
            &"x".repeat(30),
            &"y".repeat(70),
        ] {
            for (quoted, close) in [(Quoted::value(name), "\""), (Quoted::key(name), "\":")] {
                let text = format!("{name}{close}1{padding}");
                assert_eq!(quoted.follows(text.as_bytes(), 0), Some(name.len() + close.len()), "{name}");
                for other in [
                    format!("{name}x{close}{padding}"),
                    format!("x{name}{close}{padding}"),
                    format!("{name}{padding}"),
                    name.into(),
                ] {
                    assert_eq!(quoted.follows(other.as_bytes(), 0), None, "{other}");
                }
            }
        }
        assert_eq!(Quoted::value("a\"b").follows(format!("a\"b\"{padding}").as_bytes(), 0), None);
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
