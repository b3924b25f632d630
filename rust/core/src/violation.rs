//! One broken rule: where, which keyword, what it asked for, and the sentence that says so.

use std::fmt::{self, Write as _};

use crate::version::{Code, Version};

/// A JSON Schema keyword of the inventory, or a rule of the codec's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    /// `type`
    Type,
    /// `required`
    Required,
    /// `additionalProperties`
    AdditionalProperties,
    /// `uniqueKeys`: a key is given twice
    UniqueKeys,
    /// `enum`
    Enum,
    /// `maxLength`
    MaxLength,
    /// `format`
    Format,
    /// `minimum`
    Minimum,
    /// `maximum`
    Maximum,
    /// `multipleOf`
    MultipleOf,
    /// `minItems`
    MinItems,
    /// `maxItems`
    MaxItems,
    /// `action`: the action is not one of the version's
    Action,
    /// `utf-8`: a lone surrogate in a Python string
    Utf8,
    /// `depth`: Python objects nested too deeply
    Depth,
}

impl Keyword {
    /// The word as it appears in `Violation.keyword`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Required => "required",
            Self::AdditionalProperties => "additionalProperties",
            Self::UniqueKeys => "uniqueKeys",
            Self::Enum => "enum",
            Self::MaxLength => "maxLength",
            Self::Format => "format",
            Self::Minimum => "minimum",
            Self::Maximum => "maximum",
            Self::MultipleOf => "multipleOf",
            Self::MinItems => "minItems",
            Self::MaxItems => "maxItems",
            Self::Action => "action",
            Self::Utf8 => "utf-8",
            Self::Depth => "depth",
        }
    }

    /// The finding behind the keyword; a wrong type of the whole payload is a matter of format.
    #[must_use]
    pub fn code(self, at_root: bool) -> Code {
        match self {
            Self::Type if at_root => Code::Format,
            Self::Type => Code::Type,
            Self::Required => Code::Incomplete,
            Self::AdditionalProperties | Self::UniqueKeys | Self::Depth => Code::Format,
            Self::Enum
            | Self::MaxLength
            | Self::Format
            | Self::Minimum
            | Self::Maximum
            | Self::MultipleOf
            | Self::Utf8 => Code::Property,
            Self::MinItems | Self::MaxItems => Code::Occurrence,
            Self::Action => Code::NotImplemented,
        }
    }
}

/// What the keyword asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// Nothing to name.
    Nothing,
    /// A type, property or format name.
    Name(Box<str>),
    /// The allowed values.
    Values(Box<[Box<str>]>),
    /// A count or length.
    Count(u64),
    /// A bound.
    Number(f64),
}

/// One violation of one payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// JSON Pointer into the payload.
    pub pointer: String,
    /// How many bytes of the pointer name members of the schema or indices: the part that may be sent back.
    pub safe: usize,
    /// What broke.
    pub keyword: Keyword,
    /// What was asked for.
    pub expected: Expected,
    /// The sentence, without a subject.
    pub message: String,
}

impl Violation {
    /// The error code in the version's spelling.
    #[must_use]
    pub fn code(&self, version: Version) -> &'static str {
        version.spell(self.keyword.code(self.pointer.is_empty()))
    }

    /// The sentence for a reply: nothing of it was sent by the peer.
    #[must_use]
    pub fn description(&self) -> String {
        let safe = &self.pointer[..self.safe];
        let subject = if safe.is_empty() { "payload" } else { safe };
        let link = match (self.safe == self.pointer.len(), self.keyword) {
            (true, _) => "",
            (false, Keyword::AdditionalProperties | Keyword::UniqueKeys) => " holds a member that",
            (false, _) => " holds a value that",
        };
        format!("{subject}{link} {}", self.message)
    }

    /// The violation of a frame whose action the version does not have.
    #[must_use]
    pub fn unknown_action(version: Version) -> Self {
        Self {
            pointer: String::new(),
            safe: 0,
            keyword: Keyword::Action,
            expected: Expected::Nothing,
            message: format!("is not an action of {}", version.name()),
        }
    }
}

/// A number of a schema as a person writes it: `0`, `100`, `0.1`.
pub(crate) struct Plain(pub f64);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One step from a value to a member of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// A property of the schema.
    Known(&'a str),
    /// A member the schema does not name.
    Foreign(&'a str),
    /// An array index.
    Index(usize),
}

/// Renders steps as a JSON Pointer and the length of its safe part.
pub(crate) fn pointer(steps: &[Step<'_>]) -> (String, usize) {
    let mut text = String::new();
    let mut safe = None;
    for step in steps {
        match *step {
            Step::Index(index) => {
                let _ = write!(text, "/{index}");
            }
            Step::Known(name) => push_name(&mut text, name),
            Step::Foreign(name) => {
                safe = safe.or(Some(text.len()));
                push_name(&mut text, name);
            }
        }
    }
    let safe = safe.unwrap_or(text.len());
    (text, safe)
}

fn push_name(text: &mut String, name: &str) {
    text.push('/');
    for char in name.chars() {
        match char {
            '~' => text.push_str("~0"),
            '/' => text.push_str("~1"),
            other => text.push(other),
        }
    }
}
