//! Frames in, messages out.
//!
//! The quick way takes what has nothing wrong with it; everything that stops it goes through `slow`, which is the rules of
//! docs/codec.md §2 in their order.

use evcore_core::build::{Build, Nothing, Stop};
use evcore_core::dom::{Dom, Naming};
use evcore_core::explain::explain;
use evcore_core::frame::{self, Frame, Head, Rules};
use evcore_core::pass::{Pass, Trouble};
use evcore_core::reply::refusal;
use evcore_core::version::{Version, kind};
use evcore_core::violation::Violation;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::codec::{Codec, Known};
use crate::errors;
use crate::input::Input;
use crate::message::{Body, Call, CallError, CallResult, CallResultError, Send, Source, again};
use crate::objects::Objects;
use crate::program::Program;
use crate::strings;

type Message<'py> = Bound<'py, PyAny>;

impl Codec {
    /// Reads and judges a frame.
    #[inline]
    pub fn read<'py>(
        &self,
        py: Python<'py>,
        input: &Input<'py>,
        asked: Option<&Known<'py>>,
        judge: bool,
    ) -> PyResult<Message<'py>> {
        match self.quick(py, input, asked, judge)? {
            Some(message) => Ok(message),
            None => self.slow(py, input, asked, judge),
        }
    }

    /// The message of a frame that has nothing wrong with it; None where something has to be looked at again.
    #[inline]
    fn quick<'py>(
        &self,
        py: Python<'py>,
        input: &Input<'py>,
        asked: Option<&Known<'py>>,
        judge: bool,
    ) -> PyResult<Option<Message<'py>>> {
        let text = input.text();
        if text.len() > self.limits.frame_bytes || self.tight {
            return Ok(None);
        }
        let ascii = input.ascii || text.is_ascii();
        if !ascii && std::str::from_utf8(text).is_err() {
            return Ok(None);
        }
        let Some(head) = frame::head(text, self.version, &self.limits, ascii) else { return Ok(None) };
        let known = match head.kind {
            kind::CALL_RESULT => asked.map(|known| (&known.name, known.program.as_unbound())),
            kind => {
                let actions = self.actions(kind);
                match actions.table.find(&text[head.action.0..head.action.1]) {
                    Some(index) => Some((actions.names[index].bind(py), self.program(py, actions, index)?)),
                    None if judge => return Ok(None),
                    None => None,
                }
            }
        };
        let program = if judge { known.map(|(_, program)| program) } else { None };
        match text.get(head.payload) {
            Some(b'{') => {}
            // `null` stands for `{}`; what else is no object is none of a program's business.
            Some(b'n') => return Ok(None),
            _ if program.is_some() => return Ok(None),
            _ => {}
        }
        let (value, end) = if self.lazy {
            match pass_over(Pass::new(text, head.payload, ascii, 1, &self.limits, Nothing), program.map(Py::get)) {
                Ok(((), end)) => (None, end),
                Err(_) => return Ok(None),
            }
        } else {
            let objects = Objects::new(py, known.map(|(_, program)| program.get()));
            match pass_over(Pass::new(text, head.payload, ascii, 1, &self.limits, objects), program.map(Py::get)) {
                Ok((value, end)) => (Some(value), end),
                Err(Trouble::Build) => {
                    return Err(PyErr::take(py).unwrap_or_else(|| PyMemoryError::new_err("payload could not be built")));
                }
                Err(_) => return Ok(None),
            }
        };
        let source = Source {
            frame: input.owner.clone().unbind(),
            start: head.payload as u32,
            end: end as u32,
            program: if self.lazy { program.map(|program| program.clone_ref(py)) } else { None },
            judged: true,
            null: false,
        };
        let body = match value {
            Some(value) => Body::built(value.bind(py).unbind(), Some(source)),
            None => Body::lazy(source),
        };
        let id = strings::new(py, &text[head.id.0..head.id.1], ascii)?.unbind();
        let action = known.map(|(name, _)| name.clone().into_any().unbind());
        let message = message(py, text, &head, id, action, body)?;
        match known {
            Some((name, _)) if judge => self.vetted(message, head.kind, name).map(Some),
            _ => Ok(Some(message)),
        }
    }

    /// The rules in their order: a fault, a message after all, or its violations.
    #[cold]
    #[inline(never)]
    fn slow<'py>(
        &self,
        py: Python<'py>,
        input: &Input<'py>,
        asked: Option<&Known<'py>>,
        judge: bool,
    ) -> PyResult<Message<'py>> {
        let rules =
            Rules { version: self.version, limits: &self.limits, answer_unknown_kind: self.answer_unknown_kind };
        let frame = frame::diagnose(input.text(), rules).map_err(|fault| errors::frame_error(py, *fault))?;
        let Some(span) = frame.payload.filter(|_| frame.code.is_none()) else {
            return refusal_message(py, input, &frame);
        };
        let named = match &frame.action {
            Some(action) => self.known(py, self.actions(frame.kind), &PyString::new(py, action))?,
            None => None,
        };
        let known = if frame.kind == kind::CALL_RESULT { asked } else { named.as_ref() };
        let name = match (known, &frame.action) {
            (Some(known), _) => Some(known.name.clone()),
            (None, Some(action)) => Some(PyString::new(py, action)),
            (None, None) => None,
        };
        let unknown = known.is_none() && frame.kind != kind::CALL_RESULT;
        let null = frame.value == Dom::Null;
        let empty = Dom::Object(Naming::Wire, Vec::new());
        let value = if null { &empty } else { &frame.value };
        let violations = match known {
            _ if !judge => Vec::new(),
            None if unknown => vec![Violation::unknown_action(self.version)],
            None => Vec::new(),
            Some(known) => {
                let program = known.program.get();
                explain(&program.core, &program.fields, value, self.limits.violations)
            }
        };
        let body = Body::lazy(Source {
            frame: input.owner.clone().unbind(),
            start: span.0 as u32,
            end: span.1 as u32,
            program: known.filter(|_| judge).map(|known| known.program.clone().unbind()),
            judged: violations.is_empty(),
            null,
        });
        if !self.lazy {
            body.value(py)?;
        }
        let id = PyString::new(py, &frame.id).into_any().unbind();
        let action = name.as_ref().map(|name| name.clone().into_any().unbind());
        let message = match (frame.kind, action) {
            (kind::SEND, Some(action)) => Bound::new(py, Send { id, action, body })?.into_any(),
            (kind::CALL, Some(action)) => Bound::new(py, Call { id, action, body })?.into_any(),
            (_, action) => Bound::new(py, CallResult { id, action, body })?.into_any(),
        };
        let Some(first) = violations.first() else {
            return match known {
                Some(known) if judge => self.vetted(message, frame.kind, &known.name),
                _ => Ok(message),
            };
        };
        let list = errors::violations(py, self.version, &violations)?.to_tuple();
        let tolerable = !unknown && matches!(value, Dom::Object(..));
        self.refuse(&message, frame.kind, &list, &first.description(), tolerable)
    }

    /// A message that keeps OCPP's schema, if it keeps its vendor's, too.
    #[inline]
    fn vetted<'py>(&self, message: Message<'py>, kind: u8, action: &Bound<'py, PyString>) -> PyResult<Message<'py>> {
        if self.further.get(message.py()).is_none() {
            return Ok(message);
        }
        let found = self.further(kind_name(kind), action, &message.getattr("payload")?)?;
        if found.is_empty() {
            return Ok(message);
        }
        // Only the place within OCPP's own schema is named.
        let pointer: String = found.get_item(0)?.getattr("pointer")?.extract()?;
        let place = pointer.split('/').take(2).collect::<Vec<_>>().join("/");
        let place = if place.is_empty() { "payload" } else { &place };
        let description = format!("{place} holds a value that breaks its vendor's schema");
        self.refuse(&message, kind, &found.to_tuple(), &description, true)
    }

    /// A message with violations: delivered all the same if the policy says so, else an error with its answer.
    #[cold]
    fn refuse<'py>(
        &self,
        message: &Message<'py>,
        kind: u8,
        violations: &Bound<'py, PyTuple>,
        description: &str,
        tolerable: bool,
    ) -> PyResult<Message<'py>> {
        let py = message.py();
        if let (Some(tolerate), true) = (&self.tolerate, tolerable)
            && tolerate.bind(py).call1((message, violations))?.is_truthy()?
        {
            return again(message, None, violations);
        }
        let answered = kind == kind::CALL || kind == kind::CALL_RESULT && self.version == Version::V21;
        let reply = if answered {
            let id: String = message.getattr("id")?.extract()?;
            let code: String = violations.get_item(0)?.getattr("code")?.extract()?;
            Some(PyBytes::new(py, &refusal(kind, &id, &code, description)))
        } else {
            None
        };
        Err(errors::payload_error(message, violations, reply.as_ref()))
    }
}

/// Runs a pass over a payload and the end of its frame.
#[inline]
fn pass_over<B: Build>(mut pass: Pass<'_, B>, program: Option<&Program>) -> Result<(B::Value, usize), Trouble> {
    let value = match program {
        Some(program) => pass.judge(&program.core),
        None => {
            pass = pass.unjudged();
            pass.any()
        }
    };
    let finished = value.and_then(|value| {
        let end = pass.at;
        pass.close()?;
        Ok((value, end))
    });
    finished.map_err(|Stop| pass.trouble())
}

#[inline]
fn message<'py>(
    py: Python<'py>,
    text: &[u8],
    head: &Head,
    id: Py<PyAny>,
    action: Option<Py<PyAny>>,
    body: Body,
) -> PyResult<Message<'py>> {
    if head.kind == kind::CALL_RESULT {
        return Ok(Bound::new(py, CallResult { id, action, body })?.into_any());
    }
    let action = match action {
        Some(action) => action,
        None => {
            let bytes = &text[head.action.0..head.action.1];
            strings::new(py, bytes, bytes.is_ascii())?.unbind()
        }
    };
    Ok(if head.kind == kind::SEND {
        Bound::new(py, Send { id, action, body })?.into_any()
    } else {
        Bound::new(py, Call { id, action, body })?.into_any()
    })
}

/// A CALLERROR or CALLRESULTERROR.
fn refusal_message<'py>(py: Python<'py>, input: &Input<'py>, frame: &Frame) -> PyResult<Message<'py>> {
    let source = frame.payload.map(|(start, end)| Source {
        frame: input.owner.clone().unbind(),
        start: start as u32,
        end: end as u32,
        program: None,
        judged: false,
        null: frame.value == Dom::Null,
    });
    let body = match (&frame.value, source) {
        (Dom::Object(..), Some(source)) => Body::lazy(source),
        (value, source) => {
            let details = PyDict::new(py);
            if let Dom::Text(text) = value {
                details.set_item("text", &**text)?;
            }
            Body::built(details.into_any().unbind(), source)
        }
    };
    let id = PyString::new(py, &frame.id).into_any().unbind();
    let code = PyString::new(py, frame.code.as_deref().unwrap_or_default()).into_any().unbind();
    let description = PyString::new(py, &frame.description).into_any().unbind();
    Ok(if frame.kind == kind::CALL_ERROR {
        Bound::new(py, CallError { id, code, description, body })?.into_any()
    } else {
        Bound::new(py, CallResultError { id, code, description, body })?.into_any()
    })
}

/// A kind as the schemas' files have it.
pub fn kind_name(kind: u8) -> &'static str {
    match kind {
        kind::CALL_RESULT => "result",
        kind::SEND => "send",
        _ => "call",
    }
}
