//! The two formats OCPP's schemas name: `date-time` (RFC 3339 §5.6) and `uri` (RFC 3986 with a scheme).

use crate::text::word;

/// A format that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `date-time`
    DateTime,
    /// `uri`
    Uri,
}

impl Format {
    /// The format with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "date-time" => Some(Self::DateTime),
            "uri" => Some(Self::Uri),
            _ => None,
        }
    }

    /// The name in the schema.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DateTime => "date-time",
            Self::Uri => "uri",
        }
    }

    /// Whether the (unescaped) text has the format.
    #[inline]
    #[must_use]
    pub fn holds(self, text: &[u8]) -> bool {
        match self {
            Self::DateTime => date_time(text),
            Self::Uri => uri(text),
        }
    }
}

#[inline]
fn two_digits(a: u8, b: u8) -> Option<u32> {
    let (a, b) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'));
    (a < 10 && b < 10).then(|| u32::from(a) * 10 + u32::from(b))
}

#[inline]
fn date_time(text: &[u8]) -> bool {
    parse_date_time(text).is_some()
}

/// Digits become their values, separators zero; None where either is something else. `digits` is the pattern with `0`
/// for a digit, `wide` holds 0x76 for a digit (ten or more reaches the high bit) and 0x7F for a separator (one or more).
#[inline]
fn digits(word: u64, pattern: [u8; 8], wide: [u8; 8]) -> Option<[u8; 8]> {
    let values = word ^ u64::from_le_bytes(pattern);
    let over = values | values.wrapping_add(u64::from_le_bytes(wide));
    (over & 0x8080_8080_8080_8080 == 0).then(|| values.to_le_bytes())
}

const D: u8 = 0x76;
const S: u8 = 0x7F;

#[inline]
fn parse_date_time(text: &[u8]) -> Option<()> {
    let date = digits(word(text, 0)?, *b"0000-00-", [D, D, D, D, S, D, D, S])?;
    // The `T` may be a `t`: the bit that tells them apart is set before they are compared.
    let time = digits(word(text, 8)? | 0x20_0000, *b"00t00:00", [D, D, S, D, D, S, D, D])?;
    let pair = |tens: u8, ones: u8| u32::from(tens) * 10 + u32::from(ones);
    let [y0, y1, y2, y3, _, mo0, mo1, _] = date;
    let [d0, d1, _, h0, h1, _, mi0, mi1] = time;
    let (year, month, day) = (pair(y0, y1) * 100 + pair(y2, y3), pair(mo0, mo1), pair(d0, d1));
    let (hour, minute) = (pair(h0, h1), pair(mi0, mi1));
    let [b':', s0, s1, rest @ ..] = &text[16..] else { return None };
    let second = two_digits(*s0, *s1)?;
    if hour > 23 || minute > 59 || second > 60 || day == 0 || day > month_days(year, month)? {
        return None;
    }
    let mut zone = rest;
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction.iter().position(|byte| !byte.is_ascii_digit())?;
        if digits == 0 {
            return None;
        }
        zone = &fraction[digits..];
    }
    let offset = match zone {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (two_digits(*h0, *h1)?, two_digits(*m0, *m1)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = (hours * 60 + minutes) as i32;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    if second == 60 && ((hour * 60 + minute) as i32 - offset).rem_euclid(1440) != 23 * 60 + 59 {
        return None;
    }
    Some(())
}

#[inline]
fn month_days(year: u32, month: u32) -> Option<u32> {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => Some(29),
        2 => Some(28),
        _ => None,
    }
}

fn uri(text: &[u8]) -> bool {
    let Some(colon) = text.iter().position(|&byte| byte == b':') else { return false };
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    let [first, others @ ..] = scheme else { return false };
    if !first.is_ascii_alphabetic()
        || !others.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    {
        return false;
    }
    let (rest, fragment) = split(rest, b'#');
    let (hierarchy, query) = split(rest, b'?');
    let (authority, path) = match hierarchy {
        [b'/', b'/', rest @ ..] => {
            let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
        path => (None, path),
    };
    authority.is_none_or(is_authority)
        && is_made_of(path, b":@/")
        && query.is_none_or(|query| is_made_of(query, b":@/?"))
        && fragment.is_none_or(|fragment| is_made_of(fragment, b":@/?"))
}

fn split(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&byte| byte == at) {
        Some(end) => (&text[..end], Some(&text[end + 1..])),
        None => (text, None),
    }
}

fn is_authority(text: &[u8]) -> bool {
    let host_port = match text.iter().rposition(|&byte| byte == b'@') {
        Some(at) if is_made_of(&text[..at], b":") => &text[at + 1..],
        Some(_) => return false,
        None => text,
    };
    if let [b'[', literal @ ..] = host_port {
        let Some(end) = literal.iter().position(|&byte| byte == b']') else { return false };
        return is_ip_literal(&literal[..end])
            && match &literal[end + 1..] {
                [] => true,
                [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
                _ => false,
            };
    }
    let (host, port) = split(host_port, b':');
    is_made_of(host, b"") && port.is_none_or(|port| port.iter().all(u8::is_ascii_digit))
}

fn is_ip_literal(text: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = text {
        let (version, rest) = split(future, b'.');
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(&b'%') && is_made_of(rest, b":"));
    }
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Unreserved characters, sub-delimiters, percent-escapes, and those of `more`.
fn is_made_of(text: &[u8], more: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += match byte {
            b'%' if text.len() > at + 2 && text[at + 1..at + 3].iter().all(u8::is_ascii_hexdigit) => 3,
            _ if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte) || more.contains(&byte) => 1,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_times() {
        for good in [
            "2026-11-20T12:00:00Z",
            "2026-11-20t12:00:00.123456789z",
            "2024-02-29T23:59:59+05:30",
            "2016-12-31T23:59:60Z",
            "2017-01-01T00:59:60+01:00",
            "0000-01-01T00:00:00-23:59",
        ] {
            assert!(date_time(good.as_bytes()), "{good}");
        }
        for bad in [
            "2026-11-20 12:00:00Z",
            "2026-11-20T12:00:00",
            "2026-11-20T12:00:00.Z",
            "2023-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T12:00:60Z",
            "2026-11-20T12:00:00+03",
            "2026-11-20T12:00:00+24:00",
            "2026-11-20T12:00:00Zx",
            "2026-11-2T12:00:00Z",
            "",
            "٢026-11-20T12:00:00Z",
        ] {
            assert!(!date_time(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn uris() {
        for good in [
            "ftp://user:pw@host:21/a%20b?q#f",
            "http://[::1]:8080/",
            "urn:a:b",
            "file:///tmp/x",
            "http://h",
            "a:",
            "http://[v1.x:y]/",
        ] {
            assert!(uri(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "host/path",
            "1http://h",
            "http://h/a b",
            "http://h/%zz",
            "http://h:x/",
            "http://[::1/",
            "http://ü/",
            "http://h/#a#b",
            ":x",
        ] {
            assert!(!uri(bad.as_bytes()), "{bad}");
        }
    }
}
