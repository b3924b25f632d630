//! The codec: frames in, messages out, and back.
//!
//! In: what Python hands over. Out: messages ([`crate::decode`]), bytes ([`crate::encode`]), violations. Refused: as
//! docs/codec.md says, with the exceptions of `evcore.errors`.

use evcore_core::limits::Limits;
use evcore_core::table::Table;
use evcore_core::version::{Version, kind};
use evcore_core::violation::Violation;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use crate::errors;
use crate::input::Input;
use crate::program::Program;
use crate::strings;

/// Members that a frame, or an object of any program, has at most.
const FEW: usize = 64;

/// Bytes that an id, or a word of OCPP's schemas, has at most.
const SHORT: usize = 1024;

/// The actions of one kind and their programs, compiled on first use.
pub struct Actions {
    pub kind: &'static str,
    pub table: Table,
    pub names: Vec<Py<PyString>>,
    programs: Vec<PyOnceLock<Py<Program>>>,
}

impl Actions {
    fn new(kind: &'static str, names: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = names.py();
        let names: Vec<String> = names
            .get_item(kind)?
            .map(|names| names.try_iter()?.map(|name| name?.extract()).collect())
            .transpose()?
            .unwrap_or_default();
        Ok(Self {
            kind,
            table: Table::new(names.iter().map(String::as_str)),
            programs: names.iter().map(|_| PyOnceLock::new()).collect(),
            names: names.iter().map(|name| PyString::intern(py, name).unbind()).collect(),
        })
    }
}

/// An action that this version has: its shared name and its program.
pub struct Known<'py> {
    pub name: Bound<'py, PyString>,
    pub program: Bound<'py, Program>,
}

/// The backend's codec; `evcore.Codec` derives from it and adds nothing to a decode call.
#[pyclass(frozen, subclass, module = "evcore._native")]
pub struct Codec {
    pub version: Version,
    pub calls: Actions,
    pub results: Actions,
    pub sends: Actions,
    load: Py<PyAny>,
    pub lazy: bool,
    pub limits: Limits,
    /// Limits on members or strings are below what a frame, its head or a schema's words may have: only the slow way
    /// counts those.
    pub tight: bool,
    pub answer_unknown_kind: bool,
    pub tolerate: Option<Py<PyAny>>,
    pub further: PyOnceLock<Py<PyAny>>,
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
            tight: (items as usize) < FEW || string_bytes < SHORT,
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
        codec.read(py, &Input::new(frame)?, asked.as_ref(), judge)
    }

    /// Judges a message and writes it as a frame.
    #[pyo3(signature = (message, action=None, judge=true))]
    fn encode<'py>(
        slf: &Bound<'py, Self>,
        message: &Bound<'py, PyAny>,
        action: Option<&Bound<'py, PyString>>,
        judge: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        slf.get().written(message, action, judge)
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
                return Err(PyValueError::new_err(format!(
                    "kind must be \"call\", \"result\" or \"send\", not {other:?}"
                )));
            }
        };
        let Some(known) = codec.known(py, actions, action)? else {
            return errors::violations(py, codec.version, &[Violation::unknown_action(codec.version)]);
        };
        let mut out = Vec::new();
        match codec.judge(py, known.program.get(), payload, &mut out)? {
            Ok(()) => codec.further(actions.kind, action, payload),
            Err(found) => errors::violations(py, codec.version, &found),
        }
    }
}

impl Codec {
    /// What vendor schemas say about a payload that OCPP's own found nothing wrong with.
    pub fn further<'py>(
        &self,
        kind: &str,
        action: &Bound<'py, PyString>,
        payload: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = payload.py();
        match self.further.get(py) {
            Some(further) => Ok(further.bind(py).call1((kind, action, payload))?.cast_into::<PyList>()?),
            None => Ok(PyList::empty(py)),
        }
    }

    /// The actions a kind of frame may name.
    #[inline]
    pub fn actions(&self, kind: u8) -> &Actions {
        match kind {
            kind::SEND => &self.sends,
            kind::CALL_RESULT => &self.results,
            _ => &self.calls,
        }
    }

    /// The program of an action.
    #[inline]
    pub fn program<'a>(&'a self, py: Python<'_>, actions: &'a Actions, index: usize) -> PyResult<&'a Py<Program>> {
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
    pub fn known<'py>(
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

/// A cell with a value, or an empty one.
fn kept<T>(py: Python<'_>, value: Option<T>) -> PyOnceLock<T> {
    let cell = PyOnceLock::new();
    if let Some(value) = value {
        // A new cell is empty: it takes the value.
        let _ = cell.set(py, value);
    }
    cell
}
