//! What a topic and a filter are: MQTT 3.1.1 and 5.0, section 4.7 and 5.0 section 4.8.2, character by character.
//!
//! In: bytes as they came. Out: a filter's [`Parsed`] form, or nothing for a topic that keeps the rules. Refused, as
//! [`TopicError`]: all else, in the order empty, length, UTF-8, characters, share, levels, wildcards and captures.
//!
//! This is the explaining half. The router's own scan of a topic only knows "good or stop" and comes here to say why.

use std::collections::HashSet;
use std::fmt;

/// Most bytes of UTF-8 in a topic or a filter: lengths are two bytes on the wire (MQTT 1.5.3, 1.5.4).
pub const MAX_BYTES: usize = 65_535;

/// How a place the specifications leave open is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As an ordinary filter, every level what it says.
    Literal,
    /// Not at all.
    Refuse,
}

/// What the prefix `$share/<name>/` of a filter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A shared subscription's (MQTT 5.0 section 4.8.2): taken off, the rest is matched.
    Strip,
    /// Two ordinary levels, as for a 3.1.1 broker without the extension.
    Literal,
    /// Refused.
    Refuse,
}

/// Where brokers differ; the defaults are the strict reading of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A level `{name}` of a filter is a `+` that captures; `{{` and `}}` are braces. Without it braces are ordinary.
    pub captures: bool,
    /// `$share/<name>/<filter>`.
    pub share: Share,
    /// `$share`, `$share/` and `$share/<name>`, which no `/` and filter follow.
    pub bare_share: Reading,
    /// A prefix behind a prefix: `$share/g/$share/h/t`.
    pub nested_share: Reading,
    /// Prefixes of one broker that are taken off as well: `$queue/`, `$exclusive/`.
    pub prefixes: Vec<String>,
    /// Most levels of a topic, and of a filter without its prefix.
    pub levels: Option<usize>,
    /// U+0001 to U+001F, U+007F to U+009F and the non-characters (SHOULD NOT, sections 1.5.3 and 1.5.4).
    pub controls: bool,
    /// Further characters that are refused.
    pub forbidden: Vec<char>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            captures: true,
            share: Share::Strip,
            bare_share: Reading::Refuse,
            nested_share: Reading::Refuse,
            prefixes: Vec::new(),
            levels: None,
            controls: true,
            forbidden: Vec::new(),
        }
    }
}

impl Settings {
    /// Whether the specification alone decides about topics.
    #[must_use]
    pub fn plain_topics(&self) -> bool {
        self.levels.is_none() && self.controls && self.forbidden.is_empty()
    }
}

/// A text that is no topic or no filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicError {
    /// One of `empty`, `length`, `utf-8`, `character`, `wildcard`, `share`, `levels`, `capture`.
    pub reason: &'static str,
    /// Index of the character it was noticed at, from 0; None where the whole text is meant.
    pub at: Option<usize>,
    /// What is wrong, where, what to do.
    pub sentence: String,
}

impl fmt::Display for TopicError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

impl std::error::Error for TopicError {}

fn refuse(reason: &'static str, at: Option<usize>, sentence: String) -> Box<TopicError> {
    Box::new(TopicError { reason, at, sentence })
}

/// What is said about a text beyond [`MAX_BYTES`]; for those who need not count the bytes to know.
#[must_use]
pub fn too_long(kind: &str) -> Box<TopicError> {
    refuse("length", None, format!("a {kind} must not be longer than {MAX_BYTES} bytes of UTF-8: shorten it"))
}

/// A level of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Level<'a> {
    /// This text.
    Literal(&'a str),
    /// This text, which was written with doubled braces.
    Escaped(String),
    /// `+`.
    Any,
    /// `{name}`.
    Capture(&'a str),
    /// `#`.
    Rest,
}

/// A filter without its prefix, level by level; `#` is the last or nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The levels; at least one.
    pub levels: Vec<Level<'a>>,
    /// Whether the levels, joined by `/`, are not the text as it was written.
    pub respelled: bool,
}

/// The bytes as text of one topic or filter; `kind` is which of the two.
fn text<'a>(kind: &str, bytes: &'a [u8], settings: &Settings) -> Result<&'a str, Box<TopicError>> {
    if bytes.is_empty() {
        return Err(refuse("empty", None, format!("a {kind} must not be empty: give it at least one character")));
    }
    if bytes.len() > MAX_BYTES {
        return Err(too_long(kind));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let at = good.chars().count();
        refuse(
            "utf-8",
            Some(at),
            format!(
                "a {kind} must be well-formed UTF-8 without surrogates, which ends at index {at}: repair its encoding"
            ),
        )
    })?;
    for (at, character) in text.chars().enumerate() {
        let point = u32::from(character);
        if character == '\0' {
            return Err(refuse(
                "character",
                Some(at),
                format!("a {kind} must not contain U+0000, which is at index {at}: leave it out"),
            ));
        }
        if !settings.controls && is_control(point) {
            return Err(refuse(
                "character",
                Some(at),
                format!(
                    "U+{point:04X} at index {at} is a control or non-character: leave it out of the {kind}, or set \
                     controls to 'accept'"
                ),
            ));
        }
        if settings.forbidden.contains(&character) {
            return Err(refuse(
                "character",
                Some(at),
                format!(
                    "U+{point:04X} at index {at} is among the forbidden characters: leave it out of the {kind}, or \
                     change the setting"
                ),
            ));
        }
    }
    Ok(text)
}

/// U+0001 to U+001F, U+007F to U+009F, U+FDD0 to U+FDEF, the last two of every plane.
fn is_control(point: u32) -> bool {
    matches!(point, 1..=0x1f | 0x7f..=0x9f | 0xfdd0..=0xfdef) || point & 0xfffe == 0xfffe
}

/// Refuses the level that is one too many; `start` is the index of the text's first character.
fn bounded(kind: &str, text: &str, start: usize, settings: &Settings) -> Result<(), Box<TopicError>> {
    let Some(most) = settings.levels else { return Ok(()) };
    let beyond = text.chars().enumerate().filter(|(_, character)| *character == '/').nth(most.saturating_sub(1));
    match beyond {
        None => Ok(()),
        Some((slash, _)) => {
            let at = start + slash;
            let sentence = format!(
                "a {kind} must not have more than {most} levels, the next begins after index {at}: shorten it, or raise \
                 the setting levels"
            );
            Err(refuse("levels", Some(at), sentence))
        }
    }
}

/// Checks a topic: what a message is published to.
pub fn topic<'a>(bytes: &'a [u8], settings: &Settings) -> Result<&'a str, Box<TopicError>> {
    let text = text("topic", bytes, settings)?;
    bounded("topic", text, 0, settings)?;
    match text.chars().enumerate().find(|(_, character)| matches!(character, '+' | '#')) {
        None => Ok(text),
        Some((at, wildcard)) => Err(refuse(
            "wildcard",
            Some(at),
            format!(
                "a topic must not contain '{wildcard}', which is at index {at}: only filters have wildcards, leave it \
                 out"
            ),
        )),
    }
}

/// Checks a filter and takes it apart.
pub fn filter<'a>(bytes: &'a [u8], settings: &Settings) -> Result<Parsed<'a>, Box<TopicError>> {
    let text = text("filter", bytes, settings)?;
    let inner = without_prefix(text, settings)?;
    let start = text[..text.len() - inner.len()].chars().count();
    bounded("filter", inner, start, settings)?;
    let mut parsed = Parsed { levels: Vec::new(), respelled: start > 0 };
    let mut names = HashSet::new();
    let mut at = start;
    let mut levels = inner.split('/').peekable();
    while let Some(level) = levels.next() {
        let found = self::level(level, at, levels.peek().is_none(), settings)?;
        match &found {
            Level::Capture(name) => {
                if !names.insert(*name) {
                    return Err(refuse(
                        "capture",
                        Some(at),
                        format!(
                            "the capture {{{name}}} at index {at} stands there for the second time: give each its own \
                             name"
                        ),
                    ));
                }
                parsed.respelled = true;
            }
            Level::Escaped(_) => parsed.respelled = true,
            Level::Literal(_) | Level::Any | Level::Rest => {}
        }
        parsed.levels.push(found);
        at += level.chars().count() + 1;
    }
    Ok(parsed)
}

/// The filter behind `$share/<name>/` and the prefixes of brokers.
fn without_prefix<'a>(text: &'a str, settings: &Settings) -> Result<&'a str, Box<TopicError>> {
    let share = settings.share != Share::Literal;
    let inner = if share && (text == "$share" || text.starts_with("$share/")) {
        shared(text, settings)?
    } else {
        let Some(inner) = settings.prefixes.iter().find_map(|prefix| text.strip_prefix(&**prefix)) else {
            return Ok(text);
        };
        inner
    };
    if inner.len() == text.len() {
        return Ok(text);
    }
    let at = text[..text.len() - inner.len()].chars().count();
    if inner.is_empty() {
        return Err(refuse(
            "share",
            Some(at),
            format!("a filter must follow the prefix that ends before index {at}: write one there"),
        ));
    }
    let nested =
        (share && inner.starts_with("$share/")) || settings.prefixes.iter().any(|prefix| inner.starts_with(&**prefix));
    if nested && settings.nested_share == Reading::Refuse {
        return Err(refuse(
            "share",
            Some(at),
            format!(
                "a second prefix begins at index {at}: leave one out, or set nested_share to 'literal' to match it as \
                 levels"
            ),
        ));
    }
    Ok(inner)
}

/// The filter behind `$share/<name>/`; the text itself where it is an ordinary filter.
fn shared<'a>(text: &'a str, settings: &Settings) -> Result<&'a str, Box<TopicError>> {
    let Some((name, inner)) = text.get(7..).and_then(|rest| rest.split_once('/')) else {
        return match settings.bare_share {
            Reading::Literal => Ok(text),
            Reading::Refuse => Err(refuse(
                "share",
                Some(0),
                "a filter that begins with $share at index 0 is $share/<name>/<filter>: complete it, or set bare_share \
                 to 'literal' to match it as levels"
                    .to_owned(),
            )),
        };
    };
    if settings.share == Share::Refuse {
        return Err(refuse(
            "share",
            Some(0),
            "a shared subscription begins at index 0: leave $share/<name>/ out, or set share to 'strip'".to_owned(),
        ));
    }
    if name.is_empty() {
        return Err(refuse(
            "share",
            Some(7),
            "the share name at index 7 must not be empty: write $share/<name>/<filter>".to_owned(),
        ));
    }
    if let Some((index, wildcard)) = name.chars().enumerate().find(|(_, character)| matches!(character, '+' | '#')) {
        let at = 7 + index;
        return Err(refuse(
            "share",
            Some(at),
            format!("a share name must not contain '{wildcard}', which is at index {at}: leave it out"),
        ));
    }
    Ok(inner)
}

/// One level, whose first character has index `at`.
fn level<'a>(level: &'a str, at: usize, last: bool, settings: &Settings) -> Result<Level<'a>, Box<TopicError>> {
    match level {
        "+" => return Ok(Level::Any),
        "#" if last => return Ok(Level::Rest),
        _ => {}
    }
    for (index, character) in level.chars().enumerate() {
        let at = at + index;
        if character == '#' {
            let sentence = format!("'#' at index {at} must be the whole last level: put it behind the last '/'");
            return Err(refuse("wildcard", Some(at), sentence));
        }
        if character == '+' {
            let sentence = format!("'+' at index {at} must be a whole level: put '/' between it and its neighbours");
            return Err(refuse("wildcard", Some(at), sentence));
        }
    }
    if settings.captures && level.contains(['{', '}']) { braced(level, at) } else { Ok(Level::Literal(level)) }
}

/// A level with braces in it: `{name}`, or text in which every brace is doubled.
fn braced(level: &str, at: usize) -> Result<Level<'_>, Box<TopicError>> {
    if let Some(name) = level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'))
        && is_identifier(name)
    {
        return Ok(Level::Capture(name));
    }
    let mut text = String::new();
    let mut characters = level.chars().enumerate();
    while let Some((index, character)) = characters.next() {
        text.push(character);
        if matches!(character, '{' | '}') && characters.next().map(|(_, next)| next) != Some(character) {
            let at = at + index;
            return Err(refuse(
                "capture",
                Some(at),
                format!(
                    "'{character}' at index {at} is no capture, which is a whole level {{name}} with an identifier in \
                     it: correct it, double the brace, or set captures to False"
                ),
            ));
        }
    }
    Ok(Level::Escaped(text))
}

/// ASCII letters, digits and `_`, no digit first.
fn is_identifier(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|first| !first.is_ascii_digit())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}
