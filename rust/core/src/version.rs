//! The three OCPP-J versions: which message types they have and how they spell their error codes.

/// An OCPP version, named as its WebSocket subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `ocpp1.6`
    V16,
    /// `ocpp2.0.1`
    V201,
    /// `ocpp2.1`
    V21,
}

/// OCPP message type numbers.
pub mod kind {
    /// A request.
    pub const CALL: u8 = 2;
    /// The answer to a CALL.
    pub const CALL_RESULT: u8 = 3;
    /// The refusal of a CALL.
    pub const CALL_ERROR: u8 = 4;
    /// The refusal of a CALLRESULT (2.1).
    pub const CALL_RESULT_ERROR: u8 = 5;
    /// An unanswered request (2.1).
    pub const SEND: u8 = 6;
}

/// What went wrong, before a version spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The action is not known.
    NotImplemented,
    /// 1.6 `FormationViolation`, 2.x `FormatViolation`.
    Format,
    /// Not a valid RPC frame: 1.6 `FormationViolation`, 2.x `RpcFrameworkError`.
    Framework,
    /// The message type number is not one of the version's.
    MessageType,
    /// A required property is missing: 1.6 `ProtocolError`, 2.x as `Occurrence`.
    Incomplete,
    /// 1.6 `OccurenceConstraintViolation`, 2.x `OccurrenceConstraintViolation`.
    Occurrence,
    /// `PropertyConstraintViolation`
    Property,
    /// `TypeConstraintViolation`
    Type,
}

const CODES_16: [&str; 10] = [
    "NotImplemented",
    "NotSupported",
    "InternalError",
    "ProtocolError",
    "SecurityError",
    "FormationViolation",
    "PropertyConstraintViolation",
    "OccurenceConstraintViolation",
    "TypeConstraintViolation",
    "GenericError",
];

const CODES_2X: [&str; 12] = [
    "NotImplemented",
    "NotSupported",
    "InternalError",
    "ProtocolError",
    "SecurityError",
    "FormatViolation",
    "PropertyConstraintViolation",
    "OccurrenceConstraintViolation",
    "TypeConstraintViolation",
    "GenericError",
    "MessageTypeNotSupported",
    "RpcFrameworkError",
];

/// Spellings that differ between 1.6 and 2.x.
const SPELLINGS: [(&str, &str); 2] =
    [("FormationViolation", "FormatViolation"), ("OccurenceConstraintViolation", "OccurrenceConstraintViolation")];

impl Version {
    /// The version with this subprotocol name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "ocpp1.6" => Some(Self::V16),
            "ocpp2.0.1" => Some(Self::V201),
            "ocpp2.1" => Some(Self::V21),
            _ => None,
        }
    }

    /// The subprotocol name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V16 => "ocpp1.6",
            Self::V201 => "ocpp2.0.1",
            Self::V21 => "ocpp2.1",
        }
    }

    /// Whether this version has the message type.
    #[must_use]
    pub fn has_kind(self, kind: u8) -> bool {
        match kind {
            kind::CALL..=kind::CALL_ERROR => true,
            kind::CALL_RESULT_ERROR | kind::SEND => self == Self::V21,
            _ => false,
        }
    }

    /// How this version spells a finding (docs/codec.md §3, §4).
    #[must_use]
    pub fn spell(self, code: Code) -> &'static str {
        let v16 = self == Self::V16;
        match code {
            Code::NotImplemented => "NotImplemented",
            Code::Format => {
                if v16 {
                    "FormationViolation"
                } else {
                    "FormatViolation"
                }
            }
            Code::Framework => {
                if v16 {
                    "FormationViolation"
                } else {
                    "RpcFrameworkError"
                }
            }
            Code::MessageType => {
                if v16 {
                    "FormationViolation"
                } else {
                    "MessageTypeNotSupported"
                }
            }
            Code::Incomplete if v16 => "ProtocolError",
            Code::Incomplete | Code::Occurrence => {
                if v16 {
                    "OccurenceConstraintViolation"
                } else {
                    "OccurrenceConstraintViolation"
                }
            }
            Code::Property => "PropertyConstraintViolation",
            Code::Type => "TypeConstraintViolation",
        }
    }

    /// This version's spelling of an error code written in any version's; None for a code it does not have.
    #[must_use]
    pub fn respell(self, code: &str) -> Option<&'static str> {
        let table: &[&'static str] = if self == Self::V16 { &CODES_16 } else { &CODES_2X };
        table.iter().copied().find(|own| *own == code).or_else(|| {
            SPELLINGS.iter().find_map(|&(old, new)| match self {
                Self::V16 => (code == new).then_some(old),
                _ => (code == old).then_some(new),
            })
        })
    }
}
