//! The exceptions of `evcore.errors`, which Python defines, and what the core's findings look like there.

use evcore_core::frame::Fault;
use evcore_core::route::TopicError;
use evcore_core::version::Version;
use evcore_core::violation::{Expected, Violation};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyTuple, PyType};

/// Levels of nesting that fit the stack of any thread.
pub const DEEPEST: u32 = 512;

static FRAME_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static PAYLOAD_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static SCHEMA_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static TOPIC_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static VIOLATION: PyOnceLock<Py<PyType>> = PyOnceLock::new();

fn class<'py>(py: Python<'py>, cell: &PyOnceLock<Py<PyType>>, name: &str) -> PyResult<Bound<'py, PyType>> {
    cell.import(py, "evcore.errors", name).cloned()
}

/// Reads a version's name.
pub fn version(name: &str) -> PyResult<Version> {
    Version::from_name(name)
        .ok_or_else(|| PyValueError::new_err(format!("version must be ocpp1.6, ocpp2.0.1 or ocpp2.1, not {name:?}")))
}

fn raise(class: PyResult<Bound<'_, PyType>>, arguments: impl for<'py> pyo3::call::PyCallArgs<'py>) -> PyErr {
    class.and_then(|class| class.call1(arguments)).map_or_else(|error| error, PyErr::from_value)
}

/// A `FrameError`.
pub fn frame_error(py: Python<'_>, fault: Fault) -> PyErr {
    let reply = fault.reply.map(|reply| PyBytes::new(py, &reply).unbind());
    let arguments = (fault.sentence, fault.code, fault.reason.name(), fault.message_id, reply, fault.offset);
    raise(class(py, &FRAME_ERROR, "FrameError"), arguments)
}

/// A `PayloadError`.
pub fn payload_error(
    message: &Bound<'_, PyAny>,
    violations: &Bound<'_, PyTuple>,
    reply: Option<&Bound<'_, PyBytes>>,
) -> PyErr {
    let class = class(message.py(), &PAYLOAD_ERROR, "PayloadError");
    class.and_then(|class| class.call1((message, violations, reply))).map_or_else(|error| error, PyErr::from_value)
}

/// A `SchemaError`.
pub fn schema_error(py: Python<'_>, sentence: &str) -> PyErr {
    raise(class(py, &SCHEMA_ERROR, "SchemaError"), (sentence.to_owned(),))
}

/// A `TopicError`.
pub fn topic_error(py: Python<'_>, error: TopicError) -> PyErr {
    raise(class(py, &TOPIC_ERROR, "TopicError"), (error.sentence, error.reason, error.at))
}

/// A list of `Violation`.
pub fn violations<'py>(py: Python<'py>, version: Version, found: &[Violation]) -> PyResult<Bound<'py, PyList>> {
    let class = class(py, &VIOLATION, "Violation")?;
    let list = PyList::empty(py);
    for violation in found {
        let expected = expected(py, &violation.expected)?;
        let fields =
            (violation.code(version), &violation.pointer, violation.keyword.name(), expected, &violation.message);
        list.append(class.call1(fields)?)?;
    }
    Ok(list)
}

fn expected<'py>(py: Python<'py>, expected: &Expected) -> PyResult<Bound<'py, PyAny>> {
    Ok(match expected {
        Expected::Nothing => py.None().into_bound(py),
        Expected::Name(name) => (**name).into_pyobject(py)?.into_any(),
        Expected::Values(values) => PyTuple::new(py, values.iter().map(|value| &**value))?.into_any(),
        Expected::Count(count) => count.into_pyobject(py)?.into_any(),
        Expected::Number(number) if number.fract() == 0.0 => number.into_pyobject(py)?.call_method0("__int__")?,
        Expected::Number(number) => number.into_pyobject(py)?.into_any(),
    })
}
