//! Numbers as they are written: what kind, whether whole, whether a multiple of a power of ten; nothing is rounded.

use std::num::NonZeroU64;

/// What a JSON number's text says, in two registers: the compiler must not pass it through memory, where pieces written
/// narrow and read wide cost more than all the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lexeme {
    /// The digits as one number; without meaning when there are more than eighteen.
    mantissa: u64,
    /// End (32 bits), digits (8), places behind the point (8), flags.
    facts: NonZeroU64,
}

const INTEGER: u64 = 1 << 48;
const EXPONENT: u64 = 1 << 49;
const NEGATIVE: u64 = 1 << 50;

/// Reads the number that starts at `at`; None where the text is not RFC 8259's.
pub(crate) fn lexeme(text: &[u8], at: usize) -> Option<Lexeme> {
    let negative = text.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let (mut end, mut mantissa) = digits(text, start, 0);
    let whole = end - start;
    if whole == 0 {
        return None;
    }
    if whole > 1 && text[start] == b'0' {
        // A leading zero is a number of its own; what follows it cannot follow a number.
        return Lexeme::new(0, start + 1, 1, 0, INTEGER, negative);
    }
    let mut places = 0;
    let point = text.get(end) == Some(&b'.');
    if point {
        let after;
        (after, mantissa) = digits(text, end + 1, mantissa);
        places = after - end - 1;
        if places == 0 {
            return None;
        }
        end = after;
    }
    let exponent = matches!(text.get(end), Some(b'e' | b'E'));
    if exponent {
        let start = end + 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        (end, _) = digits(text, start, 0);
        if end == start {
            return None;
        }
    }
    let flags = if exponent {
        EXPONENT
    } else if point {
        0
    } else {
        INTEGER
    };
    Lexeme::new(mantissa, end, whole + places, places, flags, negative)
}

/// Where a run of digits ends, and its value behind `value` (without meaning beyond nineteen digits).
#[inline]
fn digits(text: &[u8], mut at: usize, mut value: u64) -> (usize, u64) {
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (at, value)
}

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

impl Lexeme {
    #[inline]
    fn new(mantissa: u64, end: usize, digits: usize, places: usize, flags: u64, negative: bool) -> Option<Self> {
        let facts = end as u64
            | (digits.min(255) as u64) << 32
            | (places.min(255) as u64) << 40
            | flags
            | if negative { NEGATIVE } else { 0 };
        Some(Self { mantissa, facts: NonZeroU64::new(facts)? })
    }

    /// Where the text goes on.
    #[inline]
    pub fn end(self) -> usize {
        (self.facts.get() & 0xFFFF_FFFF) as usize
    }

    /// No fraction and no exponent: an integer literal.
    #[inline]
    pub fn is_integer(self) -> bool {
        self.facts.get() & INTEGER != 0
    }

    #[inline]
    fn digits(self) -> u64 {
        self.facts.get() >> 32 & 0xFF
    }

    /// An integer literal of at most eighteen digits.
    #[inline]
    pub fn small_integer(self) -> Option<i64> {
        if self.digits() > 18 {
            return None;
        }
        let value = self.mantissa as i64;
        Some(if self.facts.get() & NEGATIVE != 0 { -value } else { value })
    }

    /// The double nearest to the number, whose text is `text`; None where there is none (it would be infinite).
    #[inline]
    pub fn double(self, text: &[u8]) -> Option<f64> {
        // With a mantissa below 2^53 and a power of ten up to 10^22 both are exact, and one division rounds correctly
        // (Clinger 1990).
        let facts = self.facts.get();
        if facts & EXPONENT == 0 && self.digits() <= 18 && self.mantissa < 1 << 53 {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
            let value = self.mantissa as f64 / POWERS[(facts >> 40 & 0xFF) as usize];
            return Some(if facts & NEGATIVE != 0 { -value } else { value });
        }
        slow_double(text)
    }
}

#[cold]
fn slow_double(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
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
            assert_eq!(lexeme(good.as_bytes(), 0).map(Lexeme::end), Some(good.len()), "{good}");
        }
        for bad in ["", "-", "+1", ".5", "1.", "1.e3", "1e", "1e+", "NaN", "-Infinity"] {
            assert_eq!(lexeme(bad.as_bytes(), 0), None, "{bad}");
        }
        assert_eq!(lexeme(b"01", 0).unwrap().end(), 1);
    }

    #[test]
    fn doubles_are_those_of_the_standard_library() {
        for text in [
            "0.1",
            "-0.0",
            "230.1",
            "1e-7",
            "123456789.123456789",
            "9007199254740993",
            "0.30000000000000004",
            "1.7976931348623157e308",
        ] {
            let value = lexeme(text.as_bytes(), 0).unwrap().double(text.as_bytes());
            assert_eq!(value.map(f64::to_bits), Some(text.parse::<f64>().unwrap().to_bits()), "{text}");
        }
        assert_eq!(lexeme(b"1e400", 0).unwrap().double(b"1e400"), None);
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
