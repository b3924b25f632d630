//! One line of a log: where a frame begins in it, where that ends, which station it belongs to.

/// Where a frame begins, and how many JSON strings it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The frame's bracket.
    pub start: usize,
    /// 0: as on the wire; 1: in a string; 2: in a string in a string.
    pub level: u8,
}

/// Which way a frame went, as far as the line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The line does not say.
    Unknown,
    /// Towards the one who logs.
    In,
    /// Away from it.
    Out,
}

/// Whose frame it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// The station's name; empty where the line names none.
    pub station: &'a [u8],
    /// Which way it went.
    pub direction: Direction,
}

/// Members of JSON lines that name the station.
const STATION: [&[u8]; 14] = [
    b"station",
    b"stationId",
    b"station_id",
    b"chargePointId",
    b"charge_point_id",
    b"chargeBoxId",
    b"charge_box_id",
    b"chargerId",
    b"charger_id",
    b"identity",
    b"cpId",
    b"cp_id",
    b"clientId",
    b"client_id",
];
/// Members of JSON lines that say which way the frame went.
const DIRECTION: [&[u8]; 2] = [b"direction", b"dir"];
/// Bytes of a station's name.
const NAME_BYTES: usize = 192;
/// Bytes before a frame that are searched for its origin in lines that are not JSON.
const TAIL_BYTES: usize = 256;
/// Bytes before a frame that are searched for a verb.
const VERB_BYTES: usize = 32;

/// The first place of a byte, eight bytes at a time.
#[inline]
pub(super) fn find_byte(text: &[u8], byte: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let pattern = ONES * u64::from(byte);
    let marks = |at: usize| {
        crate::text::word(text, at).map(|word| {
            let other = word ^ pattern;
            other.wrapping_sub(ONES) & !other & HIGHS
        })
    };
    let mut at = 0;
    while let (Some(low), Some(high)) = (marks(at), marks(at + 8)) {
        if low | high != 0 {
            let (marks, at) = if low == 0 { (high, at + 8) } else { (low, at) };
            return Some(at + (marks.trailing_zeros() >> 3) as usize);
        }
        at += 16;
    }
    text[at..].iter().position(|&other| other == byte).map(|offset| at + offset)
}

fn skip_blanks(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// The first frame of a line: `[`, a message type, a comma and a quote, which may be escaped; else a line that is nothing
/// but an array with a number first.
#[inline]
pub(super) fn find(line: &[u8]) -> Option<Found> {
    let mut at = 0;
    while let Some(offset) = find_byte(&line[at..], b'[') {
        at += offset + 1;
        if let Some(level) = head(line, at) {
            return Some(Found { start: at - 1, level });
        }
    }
    odd(line)
}

#[inline]
fn head(line: &[u8], at: usize) -> Option<u8> {
    let at = skip_blanks(line, at);
    if !matches!(line.get(at), Some(b'2'..=b'6')) {
        return None;
    }
    let at = skip_blanks(line, at + 1);
    if line.get(at) != Some(&b',') {
        return None;
    }
    let at = skip_blanks(line, at + 1);
    let escapes = line[at..].iter().take_while(|&&byte| byte == b'\\').count();
    if line.get(at + escapes) != Some(&b'"') {
        return None;
    }
    match escapes {
        0 => Some(0),
        1 => Some(1),
        3 => Some(2),
        _ => None,
    }
}

/// A line that would be a frame if its first elements were right.
#[cold]
fn odd(line: &[u8]) -> Option<Found> {
    let line_start = if line.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let start = skip_blanks(line, line_start);
    if line.get(start) != Some(&b'[') {
        return None;
    }
    let last = line.iter().rev().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
    let mut at = skip_blanks(line, start + 1);
    at += usize::from(line.get(at) == Some(&b'"'));
    let digits = line[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    at += digits;
    at += usize::from(line.get(at) == Some(&b'"'));
    let comma = line.get(skip_blanks(line, at)) == Some(&b',');
    ((1..=3).contains(&digits) && comma && last == Some(&b']')).then_some(Found { start, level: 0 })
}

/// Counts brackets outside of strings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Balance {
    depth: u64,
    in_string: bool,
}

impl Balance {
    /// Where the array ends that begins the text (or began an earlier one); None when it does not.
    pub fn end(&mut self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            at += 1;
            match byte {
                b'"' => match string_end(text, at) {
                    Some(end) => at = end + 1,
                    None => {
                        self.in_string = true;
                        return None;
                    }
                },
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Whether the rest may stand in the next line: strings do not go over the end of a line.
    pub fn may_go_on(&self) -> bool {
        !self.in_string
    }
}

/// The closing quote of the string whose first inner byte is `at`.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The station and the direction of the frame at `start`; `end` says where the frame ends.
#[inline]
pub(super) fn origin(line: &[u8], start: usize, end: impl FnOnce() -> Option<usize>) -> Origin<'_> {
    let before = &line[..start];
    let mut origin = Origin { station: b"", direction: Direction::Unknown };
    if before.is_empty() {
        return origin;
    }
    if before.get(skip_blanks(before, 0)) == Some(&b'{') {
        members(before, &mut origin);
        let lacks = origin.station.is_empty() || origin.direction == Direction::Unknown;
        if let Some(end) = lacks.then(end).flatten() {
            members(&line[end..], &mut origin);
        }
    }
    if origin.station.is_empty() {
        words(&before[before.len().saturating_sub(TAIL_BYTES)..], &mut origin);
    }
    origin
}

/// Members of a JSON object that may itself stand in a string: `"station": "CP1"`, `\"station\":\"CP1\"`. The first one
/// of each kind counts.
fn members<'a>(text: &'a [u8], origin: &mut Origin<'a>) {
    let mut at = 0;
    while let Some(offset) = find_byte(&text[at..], b'"') {
        at += offset + 1;
        let length = text[at..].iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'_').count();
        if !(2..=15).contains(&length) {
            continue;
        }
        let name = &text[at..at + length];
        if origin.station.is_empty() && STATION.contains(&name) {
            origin.station = member(text, at + length).unwrap_or_default();
        } else if origin.direction == Direction::Unknown && DIRECTION.contains(&name) {
            origin.direction = match member(text, at + length) {
                Some([b'i' | b'I', b'n' | b'N', ..] | [b'r' | b'R', b'e' | b'E', b'c' | b'C', ..]) => Direction::In,
                Some([b'o' | b'O', b'u' | b'U', b't' | b'T', ..] | [b's' | b'S', b'e' | b'E', b'n' | b'N', ..]) => {
                    Direction::Out
                }
                _ => Direction::Unknown,
            };
        }
    }
}

/// The string of a member whose name ends at `at`, without its quotes; None for anything else, escapes included.
fn member(text: &[u8], at: usize) -> Option<&[u8]> {
    let at = skip_blanks(text, quote(text, at)?);
    if text.get(at) != Some(&b':') {
        return None;
    }
    let start = quote(text, skip_blanks(text, at + 1))?;
    let length = text[start..].iter().take_while(|&&byte| byte >= b' ' && byte != b'"' && byte != b'\\').count();
    quote(text, start + length)?;
    (1..=NAME_BYTES).contains(&length).then(|| &text[start..start + length])
}

/// Behind a quote, escaped any number of times.
fn quote(text: &[u8], at: usize) -> Option<usize> {
    let at = at + text.get(at..)?.iter().take_while(|&&byte| byte == b'\\').count();
    (text.get(at) == Some(&b'"')).then_some(at + 1)
}

/// The origin in words: `CP1: receive message`, `CP1: send`, `… from CP1:`, `[chargeBoxId=CP1, …] Received:`.
fn words<'a>(text: &'a [u8], origin: &mut Origin<'a>) {
    let said = origin.direction;
    let length = text.iter().rev().skip_while(|byte| matches!(byte, b' ' | b'"' | b'\'' | b'\\')).count();
    let text = &text[..length];
    let (before, direction) = if let Some(before) = text.strip_suffix(b"receive message") {
        (before, Direction::In)
    } else if let Some(before) = text.strip_suffix(b" send") {
        (before, Direction::Out)
    } else {
        (text, Direction::Unknown)
    };
    origin.direction = direction;
    if direction == Direction::Unknown {
        let verb = text[text.len().saturating_sub(VERB_BYTES)..].to_ascii_lowercase();
        let says = |word: &[u8]| verb.windows(word.len()).any(|window| window == word);
        if says(b"receiv") || says(b"recv") {
            origin.direction = Direction::In;
        } else if says(b"send") || says(b"sent") {
            origin.direction = Direction::Out;
        }
    }
    let name = trim_end(before).strip_suffix(b":").unwrap_or_default();
    let start = name.iter().rposition(|byte| matches!(byte, b' ' | b':' | b'"')).map_or(0, |at| at + 1);
    let (introduction, name) = (trim_end(&name[..start]), &name[start..]);
    if let Some(boxed) = charge_box(text) {
        let length = boxed.iter().take_while(|byte| !matches!(byte, b' ' | b',' | b';' | b']' | b'"' | b'\\')).count();
        origin.station = &boxed[..length];
    } else if direction != Direction::Unknown {
        origin.station = name;
    } else if introduction.ends_with(b" from") {
        (origin.station, origin.direction) = (name, Direction::In);
    } else if introduction.ends_with(b" to") {
        (origin.station, origin.direction) = (name, Direction::Out);
    } else if introduction.ends_with(b" for") {
        origin.station = name;
    }
    if origin.station.len() > NAME_BYTES {
        origin.station = b"";
    }
    if said != Direction::Unknown {
        origin.direction = said;
    }
}

fn trim_end(text: &[u8]) -> &[u8] {
    let length = text.iter().rev().skip_while(|byte| **byte == b' ').count();
    &text[..length]
}

/// What follows `chargeBoxId=`.
fn charge_box(text: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    while let Some(offset) = find_byte(&text[at..], b'=') {
        at += offset + 1;
        if text[..at].ends_with(b"chargeBoxId=") {
            return Some(&text[at..]);
        }
    }
    None
}

fn after<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let at = text.windows(word.len()).position(|window| window == word)?;
    Some(&text[at + word.len()..])
}

/// Whether a JSON line says behind its frame that the frame was cut: `"cut": true`.
pub(super) fn says_cut(rest: &[u8]) -> bool {
    after(rest, b"\"cut\":").is_some_and(|value| value[skip_blanks(value, 0)..].starts_with(b"true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_where_it_stands_first() {
        for length in 0..40 {
            for at in 0..length {
                let mut text = vec![b'!'; length];
                text[at] = b'"';
                text[length - 1] = b'"';
                assert_eq!(find_byte(&text, b'"'), Some(at.min(length - 1)));
                assert_eq!(find_byte(&text, b'#'), None, "a neighbour in value is another byte");
                assert_eq!(find_byte(&text[..at], b'"'), None);
            }
        }
    }

    #[test]
    fn brackets_inside_of_strings_do_not_count() {
        let mut balance = Balance::default();
        assert_eq!(balance.end(br#"[2,"]\"]",{"a":[1]}] and ]"#), Some(20));
        let mut balance = Balance::default();
        assert_eq!((balance.end(b"[2,{"), balance.may_go_on()), (None, true));
        assert_eq!(balance.end(br#""a":1}]"#), Some(7));
        let mut balance = Balance::default();
        assert_eq!((balance.end(br#"[2,"a\"#), balance.may_go_on()), (None, false));
        assert_eq!(Balance::default().end(b"]"), Some(1), "what closes too often ends it");
    }

    #[test]
    fn frames_begin_at_every_level_of_quoting() {
        let at = |line: &str| find(line.as_bytes()).map(|found| (found.start, found.level));
        assert_eq!(at(r#"CP1: send [ 3 , "a",{}]"#), Some((10, 0)));
        assert_eq!(at(r#"{"frame": "[2,\"a\"#), Some((11, 1)));
        assert_eq!(at(r#"{"log":"{\"frame\":\"[2,\\\"a"#), Some((21, 2)));
        assert_eq!(at(r#"[2,\\"a"#), None);
        assert_eq!(at("[1,2] [7,8]"), Some((0, 0)));
        assert_eq!(at("[1,2] [7,8"), None);
    }
}
