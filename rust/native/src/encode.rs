//! Messages in, frames out: judged and written in one go where nothing is wrong.

use std::cell::RefCell;

use evcore_core::dom::Dom;
use evcore_core::explain::{Fields, explain, explain_untyped};
use evcore_core::reply::cut;
use evcore_core::version::kind;
use evcore_core::violation::{Expected, Keyword, Violation};
use evcore_core::write::{self, write_escaped, write_string};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::codec::{Actions, Codec};
use crate::errors;
use crate::live;
use crate::message::{Body, Call, CallError, CallResult, CallResultError, Send};
use crate::program::Program;
use crate::strings;
use crate::writer::Writer;

thread_local! {
    /// Where frames are written before they become `bytes`.
    static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a thread's write buffer keeps for the next time.
const KEPT: usize = 1 << 16;

/// What a payload is judged by.
#[derive(Clone, Copy)]
enum By<'a> {
    /// Nothing is asked of it.
    Nothing,
    /// Its action is not one of the version's.
    Unknown,
    /// Its action's program.
    Program(&'a Program),
}

impl Codec {
    /// Judges a message and writes it as a frame.
    #[inline]
    pub fn written<'py>(
        &self,
        message: &Bound<'py, PyAny>,
        action: Option<&Bound<'py, PyString>>,
        judge: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        OUT.with(|out| match out.try_borrow_mut() {
            Ok(mut out) => {
                out.clear();
                let written = self.write(message, action, judge, &mut out);
                let frame = written.map(|()| PyBytes::new(message.py(), &out));
                if out.capacity() > KEPT {
                    out.shrink_to(KEPT);
                }
                frame
            }
            // Somebody's field encodes another message.
            Err(_) => {
                let mut out = Vec::new();
                self.write(message, action, judge, &mut out)?;
                Ok(PyBytes::new(message.py(), &out))
            }
        })
    }

    fn write(
        &self,
        message: &Bound<'_, PyAny>,
        action: Option<&Bound<'_, PyString>>,
        judge: bool,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        let py = message.py();
        if let Ok(call) = message.cast_exact::<Call>() {
            let call = call.get();
            let name = call.action.bind(py).cast::<PyString>()?;
            let payload = call.body.value(py)?;
            return self.write_request(message, &self.calls, kind::CALL, call.id.bind(py), name, payload, judge, out);
        }
        if let Ok(result) = message.cast_exact::<CallResult>() {
            let result = result.get();
            let own = result.action.as_ref().map(|action| action.bind(py).cast::<PyString>()).transpose()?;
            let name = action.or(own);
            self.open(kind::CALL_RESULT, result.id.bind(py), out)?;
            let program = match name {
                _ if !judge => By::Nothing,
                Some(name) => self.by(&self.results, name)?,
                None => {
                    return Err(PyValueError::new_err(
                        "a CallResult is judged by the action it answers: give action=, or judge=False to write it unjudged",
                    ));
                }
            };
            let payload = result.body.value(py)?;
            self.write_payload(message, program, payload, out)?;
            if let (true, Some(name)) = (judge, name) {
                self.refuse_further(message, "result", name, payload)?;
            }
            out.push(b']');
            return Ok(());
        }
        if let Ok(send) = message.cast_exact::<Send>() {
            let send = send.get();
            let name = send.action.bind(py).cast::<PyString>()?;
            let payload = send.body.value(py)?;
            return self.write_request(message, &self.sends, kind::SEND, send.id.bind(py), name, payload, judge, out);
        }
        if let Ok(error) = message.cast_exact::<CallError>() {
            let error = error.get();
            return self.write_error(
                message,
                kind::CALL_ERROR,
                [&error.id, &error.code, &error.description],
                &error.body,
                out,
            );
        }
        if let Ok(error) = message.cast_exact::<CallResultError>() {
            let error = error.get();
            return self.write_error(
                message,
                kind::CALL_RESULT_ERROR,
                [&error.id, &error.code, &error.description],
                &error.body,
                out,
            );
        }
        Err(PyTypeError::new_err(format!("a message is expected, not {}", message.get_type().name()?)))
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a request, taken apart once")]
    #[inline]
    fn write_request(
        &self,
        message: &Bound<'_, PyAny>,
        actions: &Actions,
        kind: u8,
        id: &Bound<'_, PyAny>,
        action: &Bound<'_, PyString>,
        payload: &Bound<'_, PyAny>,
        judge: bool,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        self.open(kind, id, out)?;
        write_str(action, out)?;
        out.push(b',');
        let program = if judge { self.by(actions, action)? } else { By::Nothing };
        self.write_payload(message, program, payload, out)?;
        if judge {
            self.refuse_further(message, actions.kind, action, payload)?;
        }
        out.push(b']');
        Ok(())
    }

    /// What an action's payload is judged by.
    #[inline]
    fn by<'a>(&'a self, actions: &'a Actions, action: &Bound<'_, PyString>) -> PyResult<By<'a>> {
        match strings::ascii_bytes(action.as_borrowed()).and_then(|name| actions.table.find(name)) {
            Some(index) => Ok(By::Program(self.program(action.py(), actions, index)?.get())),
            None => Ok(By::Unknown),
        }
    }

    fn refuse_further(
        &self,
        message: &Bound<'_, PyAny>,
        kind: &str,
        action: &Bound<'_, PyString>,
        payload: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if self.further.get(message.py()).is_none() {
            return Ok(());
        }
        let found = self.further(kind, action, payload)?;
        if found.is_empty() { Ok(()) } else { Err(errors::payload_error(message, &found.to_tuple(), None)) }
    }

    /// `[kind,"id",`
    #[inline]
    fn open(&self, kind: u8, id: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
        if !self.version.has_kind(kind) {
            return Err(PyValueError::new_err(format!("message type {kind} is not one of {}'s", self.version.name())));
        }
        let most = self.limits.id_chars;
        let id = id.cast::<PyString>().ok().filter(|id| {
            let length = strings::ascii_bytes(id.as_borrowed()).map_or_else(|| id.len().unwrap_or(0), <[u8]>::len);
            (1..=most).contains(&length)
        });
        let id =
            id.ok_or_else(|| PyValueError::new_err(format!("message id must be a str of 1 to {most} characters")))?;
        out.extend_from_slice(&[b'[', b'0' + kind, b',']);
        write_str(id, out)?;
        out.push(b',');
        Ok(())
    }

    /// Judges and writes a payload.
    #[inline]
    fn write_payload(
        &self,
        message: &Bound<'_, PyAny>,
        program: By<'_>,
        payload: &Bound<'_, PyAny>,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        let py = message.py();
        let found = match program {
            By::Program(program) => self.judge(py, program, payload, out)?,
            By::Unknown => Err(vec![Violation::unknown_action(self.version)]),
            By::Nothing => self.write_untyped(payload, false, out)?,
        };
        match found {
            Ok(()) => Ok(()),
            Err(found) => Err(self.broken(message, &found)?),
        }
    }

    fn broken(&self, message: &Bound<'_, PyAny>, found: &[Violation]) -> PyResult<PyErr> {
        let violations = errors::violations(message.py(), self.version, found)?.to_tuple();
        Ok(errors::payload_error(message, &violations, None))
    }

    /// Judges a payload and writes it, or says what is wrong with it.
    #[inline]
    pub fn judge(
        &self,
        py: Python<'_>,
        program: &Program,
        payload: &Bound<'_, PyAny>,
        out: &mut Vec<u8>,
    ) -> PyResult<Result<(), Vec<Violation>>> {
        let start = out.len();
        let depth = self.limits.depth - 1;
        let mut writer = Writer { py, program, out, depth, string_bytes: self.limits.string_bytes, item: 0 };
        if writer.judge(payload.as_borrowed()).is_ok() {
            return Ok(Ok(()));
        }
        out.truncate(start);
        let tree = live::tree(payload, &self.limits)?;
        let found = explain(&program.core, &program.fields, &tree, self.limits.violations);
        if !found.is_empty() {
            return Ok(Err(found));
        }
        write::tree(Some(&program.core), &program.fields, &tree, out);
        Ok(Ok(()))
    }

    /// Writes whatever is JSON, or only objects.
    fn write_untyped(
        &self,
        value: &Bound<'_, PyAny>,
        object: bool,
        out: &mut Vec<u8>,
    ) -> PyResult<Result<(), Vec<Violation>>> {
        let tree = live::tree(value, &self.limits)?;
        if object && !matches!(tree, Dom::Object(..) | Dom::Deep(_)) {
            return Ok(Err(vec![Violation {
                pointer: String::new(),
                safe: 0,
                keyword: Keyword::Type,
                expected: Expected::Name("object".into()),
                message: format!("must be object, is {}", tree.kind()),
            }]));
        }
        let found = explain_untyped(&tree, self.limits.violations);
        if !found.is_empty() {
            return Ok(Err(found));
        }
        write::tree(None, &Fields::new(), &tree, out);
        Ok(Ok(()))
    }

    fn write_error(
        &self,
        message: &Bound<'_, PyAny>,
        kind: u8,
        [id, code, description]: [&Py<PyAny>; 3],
        body: &Body,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        let py = message.py();
        self.open(kind, id.bind(py), out)?;
        let code = code.bind(py).cast::<PyString>()?;
        let spelled = self.version.respell(&code.to_string_lossy()).ok_or_else(|| {
            PyValueError::new_err(format!("error code {code:?} is not one of {}'s", self.version.name()))
        })?;
        write_string(out, spelled);
        out.push(b',');
        let description = description.bind(py).cast::<PyString>()?;
        let Ok(description) = description.to_str() else {
            return Err(PyValueError::new_err("error description holds a lone surrogate"));
        };
        write_string(out, cut(description));
        out.push(b',');
        if let Err(found) = self.write_untyped(body.value(py)?, true, out)? {
            return Err(self.broken(message, &found)?);
        }
        out.push(b']');
        Ok(())
    }
}

/// A JSON string.
#[inline]
fn write_str(string: &Bound<'_, PyString>, out: &mut Vec<u8>) -> PyResult<()> {
    match strings::ascii_bytes(string.as_borrowed()) {
        Some(bytes) => {
            out.push(b'"');
            write_escaped(out, bytes);
            out.push(b'"');
            Ok(())
        }
        None => match strings::utf8(string)? {
            Some(bytes) => {
                out.push(b'"');
                write_escaped(out, bytes.as_bytes());
                out.push(b'"');
                Ok(())
            }
            None => Err(PyValueError::new_err("message id, action and error code must not hold lone surrogates")),
        },
    }
}
