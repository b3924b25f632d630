//! Reading JSON text eight bytes at a time: strings, escapes, white space.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const QUOTES: u64 = ONES * b'"' as u64;
const BACKSLASHES: u64 = ONES * b'\\' as u64;
const SPACES: u64 = ONES * b' ' as u64;

/// The eight bytes at `at`, little end first.
#[inline]
pub(crate) fn word(text: &[u8], at: usize) -> Option<u64> {
    let bytes = text.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Marks (high bit) the bytes that end a run of plain string: quote, backslash, control. The lowest mark is exact.
#[inline]
fn ends(word: u64) -> u64 {
    ((word ^ QUOTES).wrapping_sub(ONES) | (word ^ BACKSLASHES).wrapping_sub(ONES) | word.wrapping_sub(SPACES))
        & !word
        & HIGHS
}

/// The first quote, backslash or control byte at or after `at`; `text.len()` when there is none.
#[inline]
pub(crate) fn run_end(text: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(text, at) {
        let marks = ends(word);
        if marks != 0 {
            return at + (marks.trailing_zeros() >> 3) as usize;
        }
        at += 8;
    }
    while let Some(&byte) = text.get(at) {
        if byte == b'"' || byte == b'\\' || byte < b' ' {
            break;
        }
        at += 1;
    }
    at
}

/// Whether two slices of the same length hold the same bytes; inlined, for the short names of schemas.
#[inline]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let length = a.len();
    if length >= 8 {
        let mut at = 0;
        while at + 8 <= length {
            if word(a, at) != word(b, at) {
                return false;
            }
            at += 8;
        }
        return word(a, length - 8) == word(b, length - 8);
    }
    if length >= 4 {
        return a[..4] == b[..4] && a[length - 4..] == b[length - 4..];
    }
    a == b
}

/// The first byte at or after `at` that is not JSON white space.
#[inline]
pub(crate) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = text.get(at) {
        if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            break;
        }
        at += 1;
    }
    at
}

/// Code points of valid UTF-8.
#[inline]
pub(crate) fn code_points(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xC0 != 0x80).count()
}

/// Unescapes the inside of a string that ends before `text[end]`, its closing quote, appending UTF-8 to `out`.
///
/// Refuses (with the offset) raw control characters, unknown escapes and surrogates without their partner. The text is
/// valid UTF-8 and `end` was found by [`string_end`].
pub(crate) fn unescape(text: &[u8], start: usize, end: usize, out: &mut Vec<u8>) -> Result<(), usize> {
    let mut at = start;
    while at < end {
        let stop = run_end(text, at).min(end);
        out.extend_from_slice(&text[at..stop]);
        at = stop;
        if at == end {
            break;
        }
        if text[at] != b'\\' {
            return Err(at);
        }
        let plain = match text.get(at + 1) {
            Some(b'"') => b'"',
            Some(b'\\') => b'\\',
            Some(b'/') => b'/',
            Some(b'b') => 0x08,
            Some(b'f') => 0x0C,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let (char, next) = unicode_escape(text, at).ok_or(at)?;
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                at = next;
                continue;
            }
            _ => return Err(at),
        };
        out.push(plain);
        at += 2;
    }
    Ok(())
}

/// The character of the `\uXXXX` escape (or pair of them) at `at`, and where the text goes on.
fn unicode_escape(text: &[u8], at: usize) -> Option<(char, usize)> {
    let first = hex4(text, at + 2)?;
    if !(0xD800..0xE000).contains(&first) {
        return Some((char::from_u32(first)?, at + 6));
    }
    if first >= 0xDC00 || text.get(at + 6) != Some(&b'\\') || text.get(at + 7) != Some(&b'u') {
        return None;
    }
    let second = hex4(text, at + 8)?;
    if !(0xDC00..0xE000).contains(&second) {
        return None;
    }
    Some((char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00))?, at + 12))
}

fn hex4(text: &[u8], at: usize) -> Option<u32> {
    let mut value = 0;
    for &byte in text.get(at..at + 4)? {
        value = value << 4 | char::from(byte).to_digit(16)?;
    }
    Some(value)
}

/// Where the string whose first inner byte is `at` ends (its closing quote), and whether it holds escapes.
///
/// Refuses, with the offset, raw control characters and text that ends too early; escapes are judged by [`unescape`].
#[inline]
pub(crate) fn string_end(text: &[u8], at: usize) -> Result<(usize, bool), usize> {
    let end = run_end(text, at);
    match text.get(end) {
        Some(b'"') => Ok((end, false)),
        Some(b'\\') => escaped_end(text, end),
        _ => Err(end),
    }
}

#[cold]
fn escaped_end(text: &[u8], mut at: usize) -> Result<(usize, bool), usize> {
    loop {
        match text.get(at) {
            Some(b'"') => return Ok((at, true)),
            Some(b'\\') => at = run_end(text, at + 2),
            _ => return Err(at.min(text.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ends_at_the_first_special_byte() {
        for special in [b'"', b'\\', 0x1F, 0x00] {
            for length in 0..20 {
                let mut text = vec![b'a'; length];
                text.push(special);
                text.extend_from_slice("ü~ \u{7f}\u{1F600}".as_bytes());
                assert_eq!(run_end(&text, 0), length);
            }
        }
        assert_eq!(run_end("ünïcödé \u{1F600}\u{7f} !".as_bytes(), 0), "ünïcödé \u{1F600}\u{7f} !".len());
    }

    #[test]
    fn escapes_become_characters() {
        let text = br#"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z""#;
        let mut out = Vec::new();
        let (end, escaped) = string_end(text, 0).unwrap();
        assert!(escaped);
        unescape(text, 0, end, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a\"\\/\u{8}\u{c}\n\r\té\u{1F600}z");
    }

    #[test]
    fn lone_surrogates_and_unknown_escapes_are_refused() {
        for text in [r#"\ud800""#, r#"\udc00""#, r#"\ud800\n""#, r#"\ud800\ud800""#, r#"\x""#, r#"\u12g4""#, r#"\u12""#]
        {
            let (end, _) = string_end(text.as_bytes(), 0).unwrap();
            assert!(unescape(text.as_bytes(), 0, end, &mut Vec::new()).is_err(), "{text}");
        }
        assert_eq!(string_end(b"abc", 0), Err(3));
        assert_eq!(string_end(b"abc\\", 0), Err(4));
        assert_eq!(string_end(b"a\nc\"", 0), Err(1));
    }
}
