//! Numbers as they are written: what kind, whether whole, whether a multiple of a power of ten; nothing is rounded.

/// What a JSON number's text says, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lexeme {
    /// Where the text goes on.
    pub end: usize,
    /// No fraction and no exponent: an integer literal.
    pub integer: bool,
    /// There is an exponent: the only way to leave the range of a double within the length limit.
    pub exponent: bool,
}

/// Reads the number that starts at `at`; None where the text is not RFC 8259's.
#[inline]
pub(crate) fn lexeme(text: &[u8], at: usize) -> Option<Lexeme> {
    let mut end = at;
    if text.get(end) == Some(&b'-') {
        end += 1;
    }
    match text.get(end) {
        Some(b'0') => end += 1,
        Some(b'1'..=b'9') => end = digits(text, end + 1),
        _ => return None,
    }
    let mut found = Lexeme { end, integer: true, exponent: false };
    if text.get(end) == Some(&b'.') {
        let after = digits(text, end + 1);
        if after == end + 1 {
            return None;
        }
        found = Lexeme { end: after, integer: false, exponent: false };
    }
    if matches!(text.get(found.end), Some(b'e' | b'E')) {
        let mut start = found.end + 1;
        if matches!(text.get(start), Some(b'+' | b'-')) {
            start += 1;
        }
        let after = digits(text, start);
        if after == start {
            return None;
        }
        found = Lexeme { end: after, integer: false, exponent: true };
    }
    Some(found)
}

#[inline]
fn digits(text: &[u8], mut at: usize) -> usize {
    while let Some(b'0'..=b'9') = text.get(at) {
        at += 1;
    }
    at
}

/// An integer literal of at most eighteen digits.
#[inline]
pub(crate) fn small_integer(lexeme: &[u8]) -> Option<i64> {
    let (negative, digits) = match lexeme {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 18 {
        return None;
    }
    let value = digits.iter().fold(0_i64, |value, &digit| value * 10 + i64::from(digit - b'0'));
    Some(if negative { -value } else { value })
}

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The double nearest to a number's text; None where there is none (it would be infinite).
#[inline]
pub(crate) fn double(lexeme: &[u8]) -> Option<f64> {
    // Up to fifteen digits without an exponent, the mantissa and the power of ten are both exact, and one division
    // rounds correctly (Clinger 1990).
    if lexeme.len() <= 16 {
        let mut mantissa = 0_u64;
        let mut scale = None;
        let mut plain = true;
        let (negative, digits) = match lexeme {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        for (at, &byte) in digits.iter().enumerate() {
            match byte {
                b'0'..=b'9' => mantissa = mantissa * 10 + u64::from(byte - b'0'),
                b'.' => scale = Some(digits.len() - at - 1),
                _ => {
                    plain = false;
                    break;
                }
            }
        }
        if plain && mantissa < 1 << 53 {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
            let value = mantissa as f64 / POWERS[scale.unwrap_or(0)];
            return Some(if negative { -value } else { value });
        }
    }
    let value: f64 = std::str::from_utf8(lexeme).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

/// Whether the decimal text is a whole multiple of `10^-places`: `8.1` is one of 0.1, `6.25` is not, `3e2` is one of 1.
#[must_use]
pub fn is_multiple(lexeme: &[u8], places: u32) -> bool {
    let unsigned = lexeme.strip_prefix(b"-").unwrap_or(lexeme);
    let (mantissa, exponent) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])),
        None => (unsigned, 0),
    };
    let point = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
    // The last digit that counts, as a power of ten.
    let Some(last) = mantissa.iter().rposition(|byte| matches!(byte, b'1'..=b'9')) else { return true };
    let power = if last < point { (point - last - 1) as i64 } else { -((last - point) as i64) };
    power + exponent >= -i64::from(places)
}

/// An exponent's value, held where more digits no longer matter.
fn exponent(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let value = digits.iter().fold(0_i64, |value, &digit| (value * 10 + i64::from(digit - b'0')).min(1 << 40));
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_numbers_are_read() {
        for good in ["0", "-0", "12", "-1.5", "1e3", "1E+3", "1.0e-10", "123456789012345678901234567890"] {
            assert_eq!(lexeme(good.as_bytes(), 0).map(|l| l.end), Some(good.len()), "{good}");
        }
        for bad in ["", "-", "+1", ".5", "1.", "1.e3", "1e", "1e+", "NaN", "-Infinity"] {
            assert_eq!(lexeme(bad.as_bytes(), 0), None, "{bad}");
        }
        assert_eq!(lexeme(b"01", 0).unwrap().end, 1);
    }

    #[test]
    fn doubles_are_those_of_the_standard_library() {
        for text in ["0.1", "-0.0", "230.1", "1e-7", "123456789.123456789", "9007199254740993", "0.30000000000000004", "1.7976931348623157e308"] {
            assert_eq!(double(text.as_bytes()).map(f64::to_bits), Some(text.parse::<f64>().unwrap().to_bits()), "{text}");
        }
        assert_eq!(double(b"1e400"), None);
    }

    #[test]
    fn multiples_are_decided_on_the_text() {
        for good in ["8.1", "0.3", "16", "1e300", "0.10", "-0.0", "62.5e-1", "1e-1", "100000000000000000000.1"] {
            assert_eq!(is_multiple(good.as_bytes(), 1), good != "62.5e-1", "{good}");
        }
        for bad in ["6.25", "0.01", "1e-2", "8.1000000000000001", "1e-9999999999999999999"] {
            assert!(!is_multiple(bad.as_bytes(), 1), "{bad}");
        }
        for whole in ["300.0", "3e2", "1.50e1", "0e-5", "10"] {
            assert!(is_multiple(whole.as_bytes(), 0), "{whole}");
        }
        assert!(!is_multiple(b"1.5", 0));
        assert!(!is_multiple(b"15e-1", 0));
    }
}
