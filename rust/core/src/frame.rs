//! The OCPP-J array on the wire: kind, id, action, payload.
//!
//! [`head`] reads the beginning of a well-formed CALL, CALLRESULT or SEND; whatever it does not take, and whatever a pass
//! stops at, goes to [`diagnose`], which applies docs/codec.md §2 (steps 1 to 7) and §4 to the whole text: either it is a
//! frame after all, or a [`Fault`] says why not and what may be answered.

use crate::build::Nothing;
use crate::dom::{self, Dom};
use crate::limits::Limits;
use crate::pass::{Limit, Pass, Trouble};
use crate::reply::refusal;
use crate::text::{code_points, run_end, skip_space};
use crate::version::{Code, Version, kind};

/// A span of the text.
pub type Span = (usize, usize);

/// The beginning of a frame whose id and action hold no escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// 2, 3 or 6.
    pub kind: u8,
    /// The id, without its quotes.
    pub id: Span,
    /// The action, without its quotes; empty for a CALLRESULT.
    pub action: Span,
    /// Where the payload begins.
    pub payload: usize,
}

/// Reads `[2,"id","Action",` or `[3,"id",`; None for anything else, be it right or wrong.
#[inline]
#[must_use]
pub fn head(text: &[u8], version: Version, limits: &Limits, ascii: bool) -> Option<Head> {
    let at = opens(text, skip_space(text, 0), b'[')?;
    let kind = text.get(at)?.wrapping_sub(b'0');
    if !matches!(kind, kind::CALL | kind::CALL_RESULT | kind::SEND) || !version.has_kind(kind) {
        return None;
    }
    let at = opens(text, skip_space(text, at + 1), b',')?;
    let (id, at) = plain_string(text, at)?;
    let length = id.1 - id.0;
    if length == 0 || length > limits.id_chars && (ascii || code_points(&text[id.0..id.1]) > limits.id_chars) {
        return None;
    }
    let mut at = opens(text, skip_space(text, at), b',')?;
    let mut action = (at, at);
    if kind != kind::CALL_RESULT {
        (action, at) = plain_string(text, at)?;
        at = opens(text, skip_space(text, at), b',')?;
    }
    Some(Head { kind, id, action, payload: at })
}

#[inline]
fn opens(text: &[u8], at: usize, byte: u8) -> Option<usize> {
    (text.get(at) == Some(&byte)).then(|| skip_space(text, at + 1))
}

#[inline]
fn plain_string(text: &[u8], at: usize) -> Option<(Span, usize)> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let end = run_end(text, at + 1);
    (text.get(end) == Some(&b'"')).then_some(((at + 1, end), end + 1))
}

/// A frame that is one, whatever its payload holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame<'t> {
    /// 2 to 6.
    pub kind: u8,
    /// 1 to `id_chars` code points.
    pub id: String,
    /// The action (2, 6).
    pub action: Option<String>,
    /// The error code in this version's spelling, or as it came (4, 5).
    pub code: Option<String>,
    /// The description (4, 5).
    pub description: String,
    /// Where the payload or the details stand; None for details left out.
    pub payload: Option<Span>,
    /// The payload or the details.
    pub value: Dom<'t>,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A limit is broken.
    Limit,
    /// Nothing but white space.
    Empty,
    /// Not UTF-8.
    Utf8,
    /// Not JSON.
    Json,
    /// Not an OCPP-J array.
    Frame,
    /// A message type the version does not have.
    Kind,
}

impl Reason {
    /// The word in `FrameError.reason`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Empty => "empty",
            Self::Utf8 => "utf-8",
            Self::Json => "json",
            Self::Frame => "frame",
            Self::Kind => "kind",
        }
    }
}

/// Bytes that are no frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// The sentence.
    pub sentence: String,
    /// The error code in the version's spelling.
    pub code: &'static str,
    /// The id, where it could be read.
    pub message_id: Option<String>,
    /// What to send back; None where nothing may be sent.
    pub reply: Option<Vec<u8>>,
    /// The byte it was noticed at.
    pub offset: Option<usize>,
}

/// What decides a frame besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The version.
    pub version: Version,
    /// The limits.
    pub limits: &'a Limits,
    /// Whether an unknown message type is answered with `MessageTypeNotSupported` (2.x).
    pub answer_unknown_kind: bool,
}

/// Reads a frame slowly and in full.
///
/// # Errors
/// A [`Fault`] for anything that is not a frame of this version within the limits.
pub fn diagnose<'t>(text: &'t [u8], rules: Rules<'_>) -> Result<Frame<'t>, Box<Fault>> {
    let limits = rules.limits;
    if text.len() > limits.frame_bytes {
        let sentence = format!("frame is larger than {} bytes", limits.frame_bytes);
        return Err(rules.unread(text, Reason::Limit, sentence, None));
    }
    if skip_space(text, 0) == text.len() {
        return Err(Box::new(Fault {
            reason: Reason::Empty,
            sentence: "frame is empty".to_owned(),
            code: rules.version.spell(Code::Framework),
            message_id: None,
            reply: None,
            offset: None,
        }));
    }
    if let Err(error) = std::str::from_utf8(text) {
        let at = error.valid_up_to();
        return Err(rules.unread(text, Reason::Utf8, format!("frame is not UTF-8 at byte {at}"), Some(at)));
    }
    if let Err((reason, sentence, at)) = syntax(text, limits) {
        return Err(rules.unread(text, reason, sentence, Some(at)));
    }
    rules.frame(text)
}

/// Judges the whole text as JSON within the limits.
fn syntax(text: &[u8], limits: &Limits) -> Result<(), (Reason, String, usize)> {
    let mut pass = Pass::new(text, 0, text.is_ascii(), 0, limits, Nothing).unjudged();
    pass.skip_space();
    if pass.any().and_then(|()| pass.end()).is_ok() {
        return Ok(());
    }
    let (sentence, at) = match pass.trouble() {
        Trouble::Limit(limit, at) => {
            let sentence = match limit {
                Limit::Depth => format!("frame is nested deeper than {} levels", limits.depth),
                Limit::String => format!("string is longer than {} bytes", limits.string_bytes),
                Limit::Number => format!("number is longer than {} characters", limits.number_chars),
                Limit::Items => format!("container has more than {} members", limits.items),
            };
            return Err((Reason::Limit, format!("{sentence} at byte {at}"), at));
        }
        Trouble::Json(at) => ("frame is not JSON", at),
        Trouble::Violation | Trouble::Build => ("frame is not JSON", pass.at),
    };
    Err((Reason::Json, format!("{sentence} at byte {at}"), at))
}

impl Rules<'_> {
    /// A fault in text that could not be read to its end: the answer depends on how much of its head can be.
    fn unread(self, text: &[u8], reason: Reason, sentence: String, offset: Option<usize>) -> Box<Fault> {
        let (kind, id) = torn_head(text);
        let code = if id.is_some() { Code::Format } else { Code::Framework };
        let reply = match (kind, &id) {
            (Some(kind::CALL), Some(id)) => Some((kind::CALL, id.as_str())),
            (Some(kind::CALL_RESULT), Some(id)) if self.version == Version::V21 => {
                Some((kind::CALL_RESULT, id.as_str()))
            }
            (_, Some(_)) | (Some(kind::CALL_RESULT..=kind::SEND), None) => None,
            (_, None) => self.nameless(),
        };
        self.fault(reason, sentence, code, reply, id.clone(), offset)
    }

    /// The answer to a message whose id cannot be read.
    fn nameless(self) -> Option<(u8, &'static str)> {
        (self.version != Version::V16).then_some((kind::CALL, "-1"))
    }

    fn fault(
        self,
        reason: Reason,
        sentence: String,
        code: Code,
        reply: Option<(u8, &str)>,
        message_id: Option<String>,
        offset: Option<usize>,
    ) -> Box<Fault> {
        let code = self.version.spell(code);
        let reply = reply.map(|(answered, id)| refusal(answered, id, code, &sentence));
        Box::new(Fault { reason, sentence, code, message_id, reply, offset })
    }

    fn frame(self, text: &[u8]) -> Result<Frame<'_>, Box<Fault>> {
        let start = skip_space(text, 0);
        if text.get(start) != Some(&b'[') {
            return Err(self.structure("frame is not a JSON array", self.nameless(), None));
        }
        let (mut elements, spans) = elements(text, start + 1);
        let known_id = match elements.get(1) {
            Some(Dom::Text(id)) if (1..=255).contains(&code_points(id.as_bytes())) => Some(id.to_string()),
            _ => None,
        };
        let named = known_id.as_deref();
        let anyhow = || named.map(|id| (kind::CALL, id)).or(self.nameless()).filter(|_| self.version != Version::V16);
        let number = match elements.first() {
            None => return Err(self.structure("frame is an empty array", self.nameless(), None)),
            Some(Dom::Number(number)) if dom::is_integer(number) => number,
            Some(_) => return Err(self.structure("message type is not an integer", anyhow(), named)),
        };
        let kind = match number.parse::<u8>() {
            Ok(kind) if self.version.has_kind(kind) && !number.starts_with('-') => kind,
            _ => {
                let shown = if number.len() > 9 { String::new() } else { format!(" {number}") };
                let sentence = format!("message type{shown} is not one of {}'s", self.version.name());
                let reply = if self.answer_unknown_kind { anyhow() } else { None };
                return Err(self.fault(Reason::Kind, sentence, Code::MessageType, reply, known_id.clone(), None));
            }
        };
        let reply = match kind {
            kind::CALL => named.map(|id| (kind::CALL, id)).or(self.nameless()),
            kind::CALL_RESULT => named.filter(|_| self.version == Version::V21).map(|id| (kind::CALL_RESULT, id)),
            _ => None,
        };
        let refuse = |sentence: &str| self.structure(sentence, reply, named);
        let (name, least, most) = arity(kind);
        let count = elements.len();
        if !(least..=most).contains(&count) {
            let wanted = if least == most { most.to_string() } else { format!("{least} or {most}") };
            return Err(refuse(&format!("{name} must have {wanted} elements, has {count}")));
        }
        let id = match &elements[1] {
            Dom::Text(id) if (1..=self.limits.id_chars).contains(&code_points(id.as_bytes())) => id.to_string(),
            _ => {
                let most = self.limits.id_chars;
                return Err(refuse(&format!("message id is not a string of 1 to {most} characters")));
            }
        };
        let mut frame =
            Frame { kind, id, action: None, code: None, description: String::new(), payload: None, value: Dom::Null };
        match kind {
            kind::CALL | kind::SEND => match &elements[2] {
                Dom::Text(action) => frame.action = Some(action.to_string()),
                _ => return Err(refuse("action is not a string")),
            },
            kind::CALL_RESULT => {}
            _ => self.error_fields(&mut frame, &mut elements).map_err(refuse)?,
        }
        if count == most {
            frame.payload = spans.last().copied();
        }
        if frame.code.is_none() {
            frame.value = elements.swap_remove(most - 1);
        }
        Ok(frame)
    }

    /// Code, description and details of a CALLERROR or CALLRESULTERROR: what real peers send is read with patience, for
    /// it is never answered and must end the pending call.
    fn error_fields<'t>(self, frame: &mut Frame<'t>, elements: &mut Vec<Dom<'t>>) -> Result<(), &'static str> {
        let Dom::Text(code) = &elements[2] else { return Err("error code is not a string") };
        frame.code = Some(self.version.respell(code).map_or_else(|| code.to_string(), str::to_owned));
        frame.description = match &elements[3] {
            Dom::Text(description) => description.to_string(),
            Dom::Null => String::new(),
            _ => return Err("error description is not a string"),
        };
        frame.value = match elements.get(4) {
            None | Some(Dom::Null) => Dom::Null,
            Some(Dom::Object(..) | Dom::Text(_)) => elements.swap_remove(4),
            Some(_) => return Err("error details are not an object"),
        };
        Ok(())
    }

    fn structure(self, sentence: &str, reply: Option<(u8, &str)>, id: Option<&str>) -> Box<Fault> {
        self.fault(Reason::Frame, sentence.to_owned(), Code::Framework, reply, id.map(str::to_owned), None)
    }
}

/// What a kind is called and how many elements it has, at least and at most.
fn arity(kind: u8) -> (&'static str, usize, usize) {
    match kind {
        kind::CALL => ("CALL", 4, 4),
        kind::CALL_RESULT => ("CALLRESULT", 3, 3),
        kind::CALL_ERROR => ("CALLERROR", 4, 5),
        kind::CALL_RESULT_ERROR => ("CALLRESULTERROR", 4, 5),
        _ => ("SEND", 4, 4),
    }
}

/// The elements of the array whose first one is at `at`, and where they stand.
fn elements(text: &[u8], at: usize) -> (Vec<Dom<'_>>, Vec<Span>) {
    let (mut elements, mut spans) = (Vec::new(), Vec::new());
    let mut at = skip_space(text, at);
    while text.get(at).is_some_and(|&byte| byte != b']') {
        let (element, end) = dom::read(text, at);
        elements.push(element);
        spans.push((at, end));
        at = dom::separator(text, end);
    }
    (elements, spans)
}

/// Bytes of a torn frame that are searched for its head.
const HEAD_BYTES: usize = 1024;

/// Kind and id of a frame whose text breaks off or breaks down later, as far as they can be trusted: an id of printable
/// ASCII without escapes, followed by a comma.
fn torn_head(text: &[u8]) -> (Option<u8>, Option<String>) {
    let text = &text[..text.len().min(HEAD_BYTES)];
    let start = skip_space(text, 0);
    if text.get(start) != Some(&b'[') {
        return (None, None);
    }
    let at = skip_space(text, start + 1);
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let comma = skip_space(text, at + digits);
    if !(1..=3).contains(&digits) || text.get(comma) != Some(&b',') {
        return (None, None);
    }
    let kind = text[at..at + digits].iter().fold(0_u16, |kind, &digit| kind * 10 + u16::from(digit - b'0'));
    let kind = Some(u8::try_from(kind).unwrap_or(u8::MAX));
    let at = skip_space(text, comma + 1);
    if text.get(at) != Some(&b'"') {
        return (kind, None);
    }
    let id: Vec<u8> = text[at + 1..]
        .iter()
        .copied()
        .take_while(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
        .collect();
    let end = at + 1 + id.len();
    let closed = text.get(end) == Some(&b'"') && text.get(skip_space(text, end + 1)) == Some(&b',');
    let id = String::from_utf8(id).ok().filter(|id| closed && (1..=255).contains(&id.len()));
    (kind, id)
}
