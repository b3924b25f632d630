//! The codec: frames in, messages out, and back.
//!
//! In: what Python hands over. Out: messages, bytes, violations. Refused: as docs/codec.md says, with the exceptions of
//! `evcore.errors`. The quick way is taken first; everything that stops it goes through `slow`, which is the rules in
//! their order.

use std::cell::RefCell;

use evcore_core::build::{Nothing, Stop};
use evcore_core::dom::Dom;
use evcore_core::explain::{Fields, explain, explain_untyped};
use evcore_core::frame::{self, Frame, Head, Rules, Span};
use evcore_core::limits::Limits;
use evcore_core::pass::{Pass, Trouble};
use evcore_core::reply::{cut, refusal, write_string};
use evcore_core::table::Table;
use evcore_core::version::{Version, kind};
use evcore_core::violation::Violation;
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::errors;
use crate::input::Input;
use crate::live;
use crate::message::{Body, Call, CallError, CallResult, CallResultError, Send, Source};
use crate::objects::Objects;
use crate::program::Program;
use crate::strings;
use crate::writer::{self, Writer};

thread_local! {
    /// Where payloads are written before they become `bytes`.
    static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a thread's write buffer keeps for the next time.
const KEPT: usize = 1 << 16;

/// The actions of one kind and their programs, compiled on first use.
struct Actions {
    kind: &'static str,
    table: Table,
    names: Vec<Py<PyString>>,
    programs: Vec<PyOnceLock<Py<Program>>>,
}

impl Actions {
    fn new(kind: &'static str, names: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = names.py();
        let names: Vec<String> =
            names.get_item(kind)?.map(|names| names.try_iter()?.map(|name| name?.extract()).collect()).transpose()?.unwrap_or_default();
        Ok(Self {
            kind,
            table: Table::new(names.iter().map(String::as_str)),
            programs: names.iter().map(|_| PyOnceLock::new()).collect(),
            names: names.iter().map(|name| PyString::intern(py, name).unbind()).collect(),
        })
    }
}

/// An action that this version has: its shared name and its program.
struct Known<'py> {
    name: Bound<'py, PyString>,
    program: Bound<'py, Program>,
}

/// The backend's codec; `evcore.Codec` derives from it and adds nothing to a decode call.
#[pyclass(frozen, subclass, module = "evcore._native")]
pub struct Codec {
    version: Version,
    calls: Actions,
    results: Actions,
    sends: Actions,
    load: Py<PyAny>,
    lazy: bool,
    limits: Limits,
    answer_unknown_kind: bool,
    tolerate: Option<Py<PyAny>>,
    further: PyOnceLock<Py<PyAny>>,
}

#[pymethods]
impl Codec {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "the seam to evcore/codec.py, called once a codec")]
    #[pyo3(signature = (version, programs, load, *, lazy, limits, answer_unknown_kind, tolerate, further))]
    fn new(
        py: Python<'_>,
        version: &str,
        programs: &Bound<'_, PyDict>,
        load: Py<PyAny>,
        lazy: bool,
        limits: (usize, u32, usize, usize, usize, u32, usize),
        answer_unknown_kind: bool,
        tolerate: Option<Py<PyAny>>,
        further: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let (frame_bytes, depth, id_chars, string_bytes, number_chars, items, violations) = limits;
        let frame_bytes = frame_bytes.min(u32::MAX as usize);
        let depth = depth.min(errors::DEEPEST);
        Ok(Self {
            version: errors::version(version)?,
            calls: Actions::new("call", programs)?,
            results: Actions::new("result", programs)?,
            sends: Actions::new("send", programs)?,
            load,
            lazy,
            limits: Limits { frame_bytes, depth, id_chars, string_bytes, number_chars, items, violations },
            answer_unknown_kind,
            tolerate,
            further: kept(py, further),
        })
    }

    /// Vendor schemas: `(kind, action, payload)` → further violations. Set once.
    #[setter(further)]
    fn set_further(&self, py: Python<'_>, further: Py<PyAny>) -> PyResult<()> {
        self.further.set(py, further).map_err(|_| PyValueError::new_err("further is set once"))
    }

    /// The subprotocol name of the version.
    #[getter]
    fn version(&self) -> &'static str {
        self.version.name()
    }

    /// Reads and judges a frame.
    #[pyo3(signature = (frame, action=None, judge=true))]
    fn decode<'py>(
        slf: &Bound<'py, Self>,
        frame: &Bound<'py, PyAny>,
        action: Option<&Bound<'py, PyString>>,
        judge: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, codec) = (slf.py(), slf.get());
        let asked = match action {
            None => None,
            Some(action) => Some(codec.known(py, &codec.results, action)?.ok_or_else(|| {
                PyValueError::new_err(format!("action {action:?} is not an action of {}", codec.version.name()))
            })?),
        };
        let input = Input::new(frame)?;
        if let Some(message) = codec.quick(py, &input, asked.as_ref(), judge)? {
            return Ok(message);
        }
        codec.slow(py, &input, asked.as_ref(), judge)
    }

    /// Judges a message and writes it as a frame.
    #[pyo3(signature = (message, action=None, judge=true))]
    fn encode<'py>(
        slf: &Bound<'py, Self>,
        message: &Bound<'py, PyAny>,
        action: Option<&Bound<'py, PyString>>,
        judge: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let codec = slf.get();
        OUT.with(|out| match out.try_borrow_mut() {
            Ok(mut out) => {
                out.clear();
                let written = codec.write(message, action, judge, &mut out);
                let frame = written.map(|()| PyBytes::new(message.py(), &out));
                out.shrink_to(KEPT);
                frame
            }
            // A field of the message encodes another one.
            Err(_) => {
                let mut out = Vec::new();
                codec.write(message, action, judge, &mut out)?;
                Ok(PyBytes::new(message.py(), &out))
            }
        })
    }

    /// All violations of a payload.
    #[pyo3(signature = (action, payload, kind="call"))]
    fn check<'py>(
        slf: &Bound<'py, Self>,
        action: &Bound<'py, PyString>,
        payload: &Bound<'py, PyAny>,
        kind: &str,
    ) -> PyResult<Bound<'py, PyList>> {
        let (py, codec) = (slf.py(), slf.get());
        let actions = match kind {
            "call" => &codec.calls,
            "result" => &codec.results,
            "send" => &codec.sends,
            other => {
                return Err(PyValueError::new_err(format!("kind must be \"call\", \"result\" or \"send\", not {other:?}")));
            }
        };
        let Some(known) = codec.known(py, actions, action)? else {
            return errors::violations(py, codec.version, &[Violation::unknown_action(codec.version)]);
        };
        let mut out = Vec::new();
        match codec.judge(py, known.program.get(), payload, &mut out)? {
            Ok(()) => codec.further(actions.kind, action, payload, py),
            Err(found) => errors::violations(py, codec.version, &found),
        }
    }
}

// Decoding

impl Codec {
    /// The message of a frame that has nothing wrong with it; None where something has to be looked at again.
    #[inline]
    fn quick<'py>(
        &self,
        py: Python<'py>,
        input: &Input<'py>,
        asked: Option<&Known<'py>>,
        judge: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let text = input.text();
        if text.len() > self.limits.frame_bytes {
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
                let actions = if kind == kind::SEND { &self.sends } else { &self.calls };
                match actions.table.find(&text[head.action.0..head.action.1]) {
                    Some(index) => Some((actions.names[index].bind(py), self.program(py, actions, index)?)),
                    None if judge => return Ok(None),
                    None => None,
                }
            }
        };
        let program = if judge { known.map(|(_, program)| program) } else { None };
        if program.is_some() && text.get(head.payload) != Some(&b'{') || text.get(head.payload) == Some(&b'n') {
            return Ok(None);
        }
        let (value, end) = if self.lazy {
            match judged(Pass::new(text, head.payload, ascii, 1, &self.limits, Nothing), program.map(Py::get)) {
                Ok(((), end)) => (None, end),
                Err(_) => return Ok(None),
            }
        } else {
            let objects = Objects::new(py, program.map(Py::get));
            match judged(Pass::new(text, head.payload, ascii, 1, &self.limits, objects), program.map(Py::get)) {
                Ok((value, end)) => (Some(value), end),
                Err(Trouble::Build) => return Err(memory(py)),
                Err(_) => return Ok(None),
            }
        };
        let source = Source {
            frame: input.owner.clone().unbind(),
            start: head.payload as u32,
            end: end as u32,
            program: if self.lazy { program.map(|program| program.clone_ref(py)) } else { None },
            null: false,
        };
        let body = match value {
            Some(value) => Body::built(value.bind(py).unbind(), Some(source)),
            None => Body::lazy(source),
        };
        let id = strings::new(py, &text[head.id.0..head.id.1], ascii)?.unbind();
        let action = match known {
            Some((name, _)) => Some(name.clone().into_any().unbind()),
            None => None,
        };
        let message = self.message(py, text, &head, id, action, body)?;
        if let (Some(further), Some((name, _)), true) = (self.further.get(py), known, judge) {
            let payload = message.getattr("payload")?;
            let found = further.bind(py).call1((kind_name(head.kind), name, payload))?;
            let found = found.try_iter()?.collect::<PyResult<Vec<_>>>()?;
            if !found.is_empty() {
                let first: String = found[0].getattr("pointer")?.extract()?;
                let sentence = further_description(&first);
                return self.refuse(py, &message, &PyTuple::new(py, found)?, head.kind, &sentence).map(Some);
            }
        }
        Ok(Some(message))
    }

    #[inline]
    fn message<'py>(
        &self,
        py: Python<'py>,
        text: &[u8],
        head: &Head,
        id: Py<PyAny>,
        action: Option<Py<PyAny>>,
        body: Body,
    ) -> PyResult<Bound<'py, PyAny>> {
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

    /// The rules in their order: a fault, a message after all, or its violations.
    #[cold]
    fn slow<'py>(
        &self,
        py: Python<'py>,
        input: &Input<'py>,
        asked: Option<&Known<'py>>,
        judge: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let text = input.text();
        let rules =
            Rules { version: self.version, limits: &self.limits, answer_unknown_kind: self.answer_unknown_kind };
        let found = match frame::diagnose(text, rules) {
            Ok(found) => found,
            Err(fault) => return Err(errors::frame_error(py, *fault)),
        };
        if found.code.is_some() {
            return refusal_message(py, input, &found);
        }
        let null = found.value == Dom::Null;
        let value = if null { Dom::Object(evcore_core::dom::Naming::Wire, Vec::new()) } else { found.value };
        let known = match &found.action {
            None => None,
            Some(action) => {
                let actions = if found.kind == kind::SEND { &self.sends } else { &self.calls };
                self.known(py, actions, &PyString::new(py, action))?
            }
        };
        let known = if found.kind == kind::CALL_RESULT { asked } else { known.as_ref() };
        let violations = match (known, judge) {
            (_, false) => Vec::new(),
            (None, true) if found.kind == kind::CALL_RESULT => Vec::new(),
            (None, true) => vec![Violation::unknown_action(self.version)],
            (Some(known), true) => {
                let program = known.program.get();
                explain(&program.core, &program.fields, &value, self.limits.violations)
            }
        };
        let name = match (known, &found.action) {
            (Some(known), _) => Some(known.name.clone()),
            (None, Some(action)) => Some(PyString::new(py, action)),
            (None, None) => None,
        };
        let (start, end) = found.payload.unwrap_or_default();
        let source = |program: Option<Py<Program>>| Source {
            frame: input.owner.clone().unbind(),
            start: start as u32,
            end: end as u32,
            program,
            null,
        };
        let program = match known {
            Some(known) if judge && violations.is_empty() => Some(known.program.clone().unbind()),
            _ => None,
        };
        let make = |body: Body| -> PyResult<Bound<'py, PyAny>> {
            let id = PyString::new(py, &found.id).into_any().unbind();
            let action = name.as_ref().map(|name| name.clone().into_any().unbind());
            Ok(match (found.kind, action) {
                (kind::SEND, Some(action)) => Bound::new(py, Send { id, action, body })?.into_any(),
                (kind::CALL, Some(action)) => Bound::new(py, Call { id, action, body })?.into_any(),
                (_, action) => Bound::new(py, CallResult { id, action, body })?.into_any(),
            })
        };
        let message = make(Body::lazy(source(program)))?;
        if !self.lazy {
            message.getattr("payload")?;
        }
        if violations.is_empty() {
            let found_further = match (known, judge) {
                (Some(known), true) => {
                    self.further(kind_name(found.kind), &known.name, &message.getattr("payload")?, py)?
                }
                _ => PyList::empty(py),
            };
            if found_further.is_empty() {
                return Ok(message);
            }
            let first: String = found_further.get_item(0)?.getattr("pointer")?.extract()?;
            return self.refuse(py, &message, &found_further.to_tuple(), found.kind, &further_description(&first));
        }
        let structural = !matches!(value, Dom::Object(..)) || known.is_none();
        let list = errors::violations(py, self.version, &violations)?.to_tuple();
        if let (Some(tolerate), false) = (&self.tolerate, structural) {
            if tolerate.bind(py).call1((&message, &list))?.is_truthy()? {
                return make(Body::lazy(source(None)).with(list.unbind()));
            }
        }
        let reply = self.reply(py, found.kind, &found.id, violations[0].code(self.version), &violations[0].description());
        Err(errors::payload_error(&message, &list, reply.as_ref()))
    }

    /// Violations that vendor schemas found: a policy may let them through like any others.
    #[cold]
    fn refuse<'py>(
        &self,
        py: Python<'py>,
        message: &Bound<'py, PyAny>,
        violations: &Bound<'py, PyTuple>,
        kind: u8,
        description: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(tolerate) = &self.tolerate {
            if tolerate.bind(py).call1((message, violations))?.is_truthy()? {
                return with_violations(message, violations);
            }
        }
        let id: String = message.getattr("id")?.extract()?;
        let code: String = violations.get_item(0)?.getattr("code")?.extract()?;
        let reply = self.reply(py, kind, &id, &code, description);
        Err(errors::payload_error(message, violations, reply.as_ref()))
    }

    /// The answer to a message whose payload is refused.
    fn reply<'py>(
        &self,
        py: Python<'py>,
        kind: u8,
        id: &str,
        code: &str,
        description: &str,
    ) -> Option<Bound<'py, PyBytes>> {
        let answered = kind == kind::CALL || kind == kind::CALL_RESULT && self.version == Version::V21;
        answered.then(|| PyBytes::new(py, &refusal(kind, id, code, description)))
    }

    /// What vendor schemas say about a payload that OCPP's own found nothing wrong with.
    fn further<'py>(
        &self,
        kind: &str,
        action: &Bound<'py, PyString>,
        payload: &Bound<'py, PyAny>,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyList>> {
        match self.further.get(py) {
            Some(further) => Ok(further.bind(py).call1((kind, action, payload))?.cast_into::<PyList>()?),
            None => Ok(PyList::empty(py)),
        }
    }

    #[inline]
    fn program<'a>(&'a self, py: Python<'_>, actions: &'a Actions, index: usize) -> PyResult<&'a Py<Program>> {
        let cell = &actions.programs[index];
        match cell.get(py) {
            Some(program) => Ok(program),
            None => self.compile(py, actions, index),
        }
    }

    #[cold]
    fn compile<'a>(&'a self, py: Python<'_>, actions: &'a Actions, index: usize) -> PyResult<&'a Py<Program>> {
        let program = self.load.bind(py).call1((actions.kind, &actions.names[index]))?.cast_into::<Program>()?.unbind();
        Ok(actions.programs[index].get_or_init(py, || program))
    }

    /// An action by its name.
    fn known<'py>(
        &self,
        py: Python<'py>,
        actions: &Actions,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Option<Known<'py>>> {
        let Some(index) = strings::ascii_bytes(name.as_borrowed()).and_then(|text| actions.table.find(text)) else {
            return Ok(None);
        };
        let name = actions.names[index].bind(py).clone();
        Ok(Some(Known { name, program: self.program(py, actions, index)?.bind(py).clone() }))
    }
}

/// Runs a pass over a payload and the end of its frame.
#[inline]
fn judged<B: evcore_core::build::Build>(
    mut pass: Pass<'_, B>,
    program: Option<&Program>,
) -> Result<(B::Value, usize), Trouble> {
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

/// A cell with a value, or an empty one.
fn kept<T>(py: Python<'_>, value: Option<T>) -> PyOnceLock<T> {
    let cell = PyOnceLock::new();
    if let Some(value) = value {
        // A new cell is empty: it takes the value.
        let _ = cell.set(py, value);
    }
    cell
}

fn memory(py: Python<'_>) -> PyErr {
    PyErr::take(py).unwrap_or_else(|| PyMemoryError::new_err("payload could not be built"))
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        kind::CALL_RESULT => "result",
        kind::SEND => "send",
        _ => "call",
    }
}

/// The description of a reply to what a vendor schema refused: only the place within OCPP's own schema is named.
fn further_description(pointer: &str) -> String {
    let place = pointer.split('/').take(2).collect::<Vec<_>>().join("/");
    format!("{} holds a value that breaks its vendor's schema", if place.is_empty() { "payload" } else { &place })
}

/// The same message with violations attached.
fn with_violations<'py>(message: &Bound<'py, PyAny>, violations: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    let py = message.py();
    let attach = |body: &Body| -> PyResult<Body> { Ok(body.again(py)?.with(violations.clone().unbind())) };
    if let Ok(call) = message.cast::<Call>() {
        let call = call.get();
        let again = Call { id: call.id.clone_ref(py), action: call.action.clone_ref(py), body: attach(&call.body)? };
        return Ok(Bound::new(py, again)?.into_any());
    }
    if let Ok(send) = message.cast::<Send>() {
        let send = send.get();
        let again = Send { id: send.id.clone_ref(py), action: send.action.clone_ref(py), body: attach(&send.body)? };
        return Ok(Bound::new(py, again)?.into_any());
    }
    let result = message.cast::<CallResult>()?.get();
    let action = result.action.as_ref().map(|action| action.clone_ref(py));
    let again = CallResult { id: result.id.clone_ref(py), action, body: attach(&result.body)? };
    Ok(Bound::new(py, again)?.into_any())
}

/// A CALLERROR or CALLRESULTERROR.
fn refusal_message<'py>(py: Python<'py>, input: &Input<'py>, found: &Frame) -> PyResult<Bound<'py, PyAny>> {
    let source = |(start, end): Span, null| Source {
        frame: input.owner.clone().unbind(),
        start: start as u32,
        end: end as u32,
        program: None,
        null,
    };
    let body = match (&found.value, found.payload) {
        (Dom::Text(text), Some(span)) => {
            let details = PyDict::new(py);
            details.set_item("text", &**text)?;
            Body::built(details.into_any().unbind(), Some(source(span, false)))
        }
        (Dom::Null, Some(span)) => Body::lazy(source(span, true)),
        (_, Some(span)) => Body::lazy(source(span, false)),
        (_, None) => Body::built(PyDict::new(py).into_any().unbind(), None),
    };
    let id = PyString::new(py, &found.id).into_any().unbind();
    let code = PyString::new(py, found.code.as_deref().unwrap_or_default()).into_any().unbind();
    let description = PyString::new(py, &found.description).into_any().unbind();
    Ok(if found.kind == kind::CALL_ERROR {
        Bound::new(py, CallError { id, code, description, body })?.into_any()
    } else {
        Bound::new(py, CallResultError { id, code, description, body })?.into_any()
    })
}

// Encoding

impl Codec {
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
                _ if !judge => None,
                Some(name) => Some(self.known(py, &self.results, name)?),
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
            return self.write_error(message, kind::CALL_ERROR, [&error.id, &error.code, &error.description], &error.body, out);
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
        let program = if judge { Some(self.known(message.py(), actions, action)?) } else { None };
        self.write_payload(message, program, payload, out)?;
        if judge {
            self.refuse_further(message, actions.kind, action, payload)?;
        }
        out.push(b']');
        Ok(())
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
        let found = self.further(kind, action, payload, message.py())?;
        if found.is_empty() { Ok(()) } else { Err(errors::payload_error(message, &found.to_tuple(), None)) }
    }

    /// `[kind,"id",`
    #[inline]
    fn open(&self, kind: u8, id: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
        if !self.version.has_kind(kind) {
            return Err(PyValueError::new_err(format!("message type {kind} is not one of {}'s", self.version.name())));
        }
        let most = self.limits.id_chars;
        let id = id
            .cast::<PyString>()
            .ok()
            .filter(|id| id.len().is_ok_and(|length| (1..=most).contains(&length)))
            .ok_or_else(|| PyValueError::new_err(format!("message id must be a str of 1 to {most} characters")))?;
        out.extend_from_slice(&[b'[', b'0' + kind, b',']);
        write_str(id, out)?;
        out.push(b',');
        Ok(())
    }

    /// Judges and writes a payload. `program` is None where nothing is asked of it, `Some(None)` where the action is unknown.
    #[inline]
    fn write_payload(
        &self,
        message: &Bound<'_, PyAny>,
        program: Option<Option<Known<'_>>>,
        payload: &Bound<'_, PyAny>,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        let py = message.py();
        let found = match program {
            Some(Some(known)) => self.judge(py, known.program.get(), payload, out)?,
            Some(None) => Err(vec![Violation::unknown_action(self.version)]),
            None => self.write_untyped(payload, out)?,
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
    fn judge(
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
        writer::tree(Some(&program.core), &program.fields, &tree, out);
        Ok(Ok(()))
    }

    /// Writes whatever is JSON.
    fn write_untyped(&self, value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<Result<(), Vec<Violation>>> {
        let tree = live::tree(value, &self.limits)?;
        let found = explain_untyped(&tree, self.limits.violations);
        if !found.is_empty() {
            return Ok(Err(found));
        }
        writer::tree(None, &Fields::new(), &tree, out);
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
        write_string(out, cut(&description.to_string_lossy()));
        out.push(b',');
        if let Err(found) = self.write_untyped(body.value(py)?, out)? {
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
            evcore_core::reply::write_escaped(out, bytes);
            out.push(b'"');
            Ok(())
        }
        None => match strings::utf8(string)? {
            Some(bytes) => {
                out.push(b'"');
                evcore_core::reply::write_escaped(out, bytes.as_bytes());
                out.push(b'"');
                Ok(())
            }
            None => Err(PyValueError::new_err("message id, action and error code must not hold lone surrogates")),
        },
    }
}
