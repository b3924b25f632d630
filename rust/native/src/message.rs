//! The five messages as Python classes: immutable, compared by their fields, their payload built at once or on first use.

use evcore_core::build::Stop;
use evcore_core::dom::read;
use evcore_core::limits::Limits;
use evcore_core::pass::Pass;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple, PyType};

use crate::errors::DEEPEST;
use crate::input;
use crate::named::named;
use crate::objects::Objects;
use crate::program::Program;

/// Where a message's payload stands in the frame it came in.
pub struct Source {
    /// A `bytes`, or an ASCII `str`.
    pub frame: Py<PyAny>,
    pub start: u32,
    pub end: u32,
    /// Builds the payload on first use; None: as untyped JSON.
    pub program: Option<Py<Program>>,
    /// The payload keeps its schema; if not, the program only says what its properties are called.
    pub judged: bool,
    /// The payload was `null`, which stands for `{}`.
    pub null: bool,
}

/// The part of a message that holds its payload (or details).
pub struct Body {
    value: Value,
    source: Option<Source>,
    violations: Option<Py<PyTuple>>,
}

/// A payload, or a place for it.
enum Value {
    Built(Py<PyAny>),
    Later(PyOnceLock<Py<PyAny>>),
}

impl Body {
    /// A payload that is there.
    #[inline]
    pub fn built(value: Py<PyAny>, source: Option<Source>) -> Self {
        Self { value: Value::Built(value), source, violations: None }
    }

    /// A payload that is built when somebody asks for it.
    #[inline]
    pub fn lazy(source: Source) -> Self {
        Self { value: Value::Later(PyOnceLock::new()), source: Some(source), violations: None }
    }

    /// The same payload with violations that a policy let through, and the bytes it came in, where they are given.
    fn again(
        &self,
        py: Python<'_>,
        raw: Option<&Bound<'_, PyBytes>>,
        violations: &Bound<'_, PyTuple>,
    ) -> PyResult<Self> {
        let source = match (raw, &self.source) {
            (Some(raw), _) => Some(Source {
                frame: raw.clone().into_any().unbind(),
                start: 0,
                end: raw.as_bytes().len() as u32,
                program: None,
                judged: false,
                null: false,
            }),
            (None, Some(source)) => Some(Source { frame: source.frame.clone_ref(py), program: None, ..*source }),
            (None, None) => None,
        };
        let value = Value::Built(self.value(py)?.clone().unbind());
        Ok(Self { value, source, violations: Some(violations.clone().unbind()) })
    }

    /// The payload, built now if it is not there yet.
    #[inline]
    pub fn value<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        match &self.value {
            Value::Built(value) => Ok(value.bind(py)),
            Value::Later(cell) => cell.get_or_try_init(py, || self.build(py)).map(|value| value.bind(py)),
        }
    }

    fn build(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Some(source) = self.source.as_ref().filter(|source| !source.null) else {
            return PyDict::new(py).into_py_any(py);
        };
        let frame = source.frame.bind(py);
        let text = &input::text(frame)[..source.end as usize];
        // The text has been judged: nothing but memory can be missing now, whatever the limits were.
        let limits = Limits {
            depth: DEEPEST,
            string_bytes: usize::MAX,
            number_chars: usize::MAX,
            items: u32::MAX,
            ..Limits::default()
        };
        let program = source.program.as_ref().map(Py::get);
        if let Some(program) = program.filter(|program| !source.judged && program.is_renamed()) {
            return Ok(named(py, program, &read(text, source.start as usize).0)?.unbind());
        }
        let mut pass = Pass::new(text, source.start as usize, text.is_ascii(), 1, &limits, Objects::new(py, program));
        let built = match program.filter(|_| source.judged) {
            Some(program) => pass.judge(&program.core),
            None => {
                pass = pass.unjudged();
                pass.any()
            }
        };
        match built {
            Ok(value) => Ok(value.bind(py).unbind()),
            Err(Stop) => Err(PyErr::take(py).unwrap_or_else(|| PyMemoryError::new_err("payload could not be built"))),
        }
    }

    fn raw<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let source = self.source.as_ref()?;
        Some(PyBytes::new(py, &input::text(source.frame.bind(py))[source.start as usize..source.end as usize]))
    }

    fn violations<'py>(&self, py: Python<'py>) -> Bound<'py, PyTuple> {
        self.violations.as_ref().map_or_else(|| PyTuple::empty(py), |violations| violations.bind(py).clone())
    }
}

/// What `pickle` and `copy` keep of a message: its class and fields, and what was received with it.
fn restorable<'py>(
    message: &Bound<'py, PyAny>,
    body: &Body,
    fields: impl IntoPyObject<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = message.py();
    let restore = py.import("evcore._native")?.getattr("_restore")?;
    let fields = fields.into_bound_py_any(py)?;
    (restore, (message.get_type(), fields, body.raw(py), body.violations(py))).into_bound_py_any(py)
}

/// A message as it was when it was pickled.
#[pyfunction]
#[pyo3(name = "_restore")]
pub fn restore<'py>(
    class: &Bound<'py, PyType>,
    fields: &Bound<'py, PyTuple>,
    raw: Option<&Bound<'py, PyBytes>>,
    violations: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    again(&class.call1(fields)?, raw, violations)
}

/// The same message with these violations, and these bytes where some are given.
pub fn again<'py>(
    message: &Bound<'py, PyAny>,
    raw: Option<&Bound<'py, PyBytes>>,
    violations: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = message.py();
    let body = |body: &Body| body.again(py, raw, violations);
    if let Ok(call) = message.cast::<Call>() {
        let call = call.get();
        let again = Call { id: call.id.clone_ref(py), action: call.action.clone_ref(py), body: body(&call.body)? };
        return again.into_bound_py_any(py);
    }
    if let Ok(send) = message.cast::<Send>() {
        let send = send.get();
        let again = Send { id: send.id.clone_ref(py), action: send.action.clone_ref(py), body: body(&send.body)? };
        return again.into_bound_py_any(py);
    }
    if let Ok(result) = message.cast::<CallResult>() {
        let result = result.get();
        let action = result.action.as_ref().map(|action| action.clone_ref(py));
        return CallResult { id: result.id.clone_ref(py), action, body: body(&result.body)? }.into_bound_py_any(py);
    }
    if let Ok(error) = message.cast::<CallError>() {
        let error = error.get();
        let (id, code) = (error.id.clone_ref(py), error.code.clone_ref(py));
        let description = error.description.clone_ref(py);
        return CallError { id, code, description, body: body(&error.body)? }.into_bound_py_any(py);
    }
    let error = message.cast::<CallResultError>()?.get();
    let (id, code) = (error.id.clone_ref(py), error.code.clone_ref(py));
    let description = error.description.clone_ref(py);
    CallResultError { id, code, description, body: body(&error.body)? }.into_bound_py_any(py)
}

/// `Name(field=…, field=…)`
fn show(name: &str, fields: &[(&str, &Bound<'_, PyAny>)]) -> PyResult<String> {
    let fields: PyResult<Vec<String>> =
        fields.iter().map(|(name, value)| Ok(format!("{name}={}", value.repr()?.to_str()?))).collect();
    Ok(format!("{name}({})", fields?.join(", ")))
}

fn same(a: &[&Bound<'_, PyAny>], b: &[&Bound<'_, PyAny>]) -> PyResult<bool> {
    for (a, b) in a.iter().zip(b) {
        if !a.eq(b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The methods all messages share, over the fields named, and those of one class.
macro_rules! message {
    ($class:ident, $kind:literal, [$($field:ident),+], { $($own:tt)* }) => {
        impl $class {
            fn fields<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<(&'static str, Bound<'py, PyAny>)>> {
                let py = slf.py();
                let me = slf.get();
                Ok(vec![$((stringify!($field), me.$field(py)?)),+])
            }
        }

        #[pymethods]
        impl $class {
            #[classattr]
            #[allow(non_upper_case_globals)]
            const kind: u8 = $kind;

            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                PyTuple::new(py, [$(stringify!($field)),+])
            }

            /// The payload's (kinds 4, 5: the details') own bytes as received; None where there are none.
            #[getter]
            fn raw<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
                self.body.raw(py)
            }

            /// Violations that a policy let through.
            #[getter]
            fn violations<'py>(&self, py: Python<'py>) -> Bound<'py, PyTuple> {
                self.body.violations(py)
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                let fields = Self::fields(slf)?;
                let fields: Vec<(&str, &Bound<'_, PyAny>)> = fields.iter().map(|(name, value)| (*name, value)).collect();
                show(stringify!($class), &fields)
            }

            fn __richcmp__<'py>(
                slf: &Bound<'py, Self>,
                other: &Bound<'py, PyAny>,
                operator: CompareOp,
            ) -> PyResult<Bound<'py, PyAny>> {
                let py = slf.py();
                let wanted = matches!(operator, CompareOp::Eq);
                let (Ok(other), CompareOp::Eq | CompareOp::Ne) = (other.cast::<Self>(), operator) else {
                    return Ok(py.NotImplemented().into_bound(py));
                };
                let (mine, theirs) = (Self::fields(slf)?, Self::fields(other)?);
                let mine: Vec<_> = mine.iter().map(|(_, value)| value).collect();
                let theirs: Vec<_> = theirs.iter().map(|(_, value)| value).collect();
                (same(&mine, &theirs)? == wanted).into_bound_py_any(py)
            }

            #[classattr]
            const __hash__: Option<Py<PyAny>> = None;

            $($own)*
        }
    };
}

macro_rules! request {
    ($class:ident, $kind:literal, $doc:literal) => {
        #[doc = $doc]
        #[pyclass(frozen, module = "evcore._native")]
        pub struct $class {
            pub id: Py<PyAny>,
            pub action: Py<PyAny>,
            pub body: Body,
        }

        message!($class, $kind, [id, action, payload], {
            #[new]
            #[pyo3(signature = (id, action, payload))]
            fn new(id: Py<PyString>, action: Py<PyString>, payload: Py<PyAny>) -> Self {
                Self { id: id.into_any(), action: action.into_any(), body: Body::built(payload, None) }
            }

            #[getter]
            #[allow(clippy::unnecessary_wraps)]
            fn id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(self.id.bind(py).clone())
            }

            #[getter]
            #[allow(clippy::unnecessary_wraps)]
            fn action<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(self.action.bind(py).clone())
            }

            #[getter]
            fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                self.body.value(py).cloned()
            }

            fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
                let (py, me) = (slf.py(), slf.get());
                restorable(slf.as_any(), &me.body, (me.id(py)?, me.action(py)?, me.payload(py)?))
            }
        });
    };
}

request!(Call, 2, "A request: `[2, id, action, payload]`.");
request!(Send, 6, "A request that is never answered (OCPP 2.1): `[6, id, action, payload]`.");

/// The answer to a CALL: `[3, id, payload]`.
#[pyclass(frozen, module = "evcore._native")]
pub struct CallResult {
    pub id: Py<PyAny>,
    pub action: Option<Py<PyAny>>,
    pub body: Body,
}

message!(CallResult, 3, [id, payload], {
    #[new]
    #[pyo3(signature = (id, payload, action=None))]
    fn new(id: Py<PyString>, payload: Py<PyAny>, action: Option<Py<PyString>>) -> Self {
        Self { id: id.into_any(), action: action.map(Py::into_any), body: Body::built(payload, None) }
    }

    #[getter]
    #[allow(clippy::unnecessary_wraps)]
    fn id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.id.bind(py).clone())
    }

    /// The action of the CALL that this answers, where it is known.
    #[getter]
    fn action<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.action.as_ref().map(|action| action.bind(py).clone())
    }

    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.body.value(py).cloned()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, me) = (slf.py(), slf.get());
        restorable(slf.as_any(), &me.body, (me.id(py)?, me.payload(py)?, me.action(py)))
    }
});

macro_rules! refusal {
    ($class:ident, $kind:literal, $doc:literal) => {
        #[doc = $doc]
        #[pyclass(frozen, module = "evcore._native")]
        pub struct $class {
            pub id: Py<PyAny>,
            pub code: Py<PyAny>,
            pub description: Py<PyAny>,
            pub body: Body,
        }

        message!($class, $kind, [id, code, description, details], {
            #[new]
            #[pyo3(signature = (id, code, description=None, details=None))]
            fn new(
                py: Python<'_>,
                id: Py<PyString>,
                code: Py<PyString>,
                description: Option<Py<PyString>>,
                details: Option<Py<PyAny>>,
            ) -> Self {
                let description = description.unwrap_or_else(|| pyo3::intern!(py, "").clone().unbind());
                let details = details.unwrap_or_else(|| PyDict::new(py).into_any().unbind());
                Self {
                    id: id.into_any(),
                    code: code.into_any(),
                    description: description.into_any(),
                    body: Body::built(details, None),
                }
            }

            #[getter]
            #[allow(clippy::unnecessary_wraps)]
            fn id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(self.id.bind(py).clone())
            }

            #[getter]
            #[allow(clippy::unnecessary_wraps)]
            fn code<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(self.code.bind(py).clone())
            }

            #[getter]
            #[allow(clippy::unnecessary_wraps)]
            fn description<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(self.description.bind(py).clone())
            }

            #[getter]
            fn details<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                self.body.value(py).cloned()
            }

            fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
                let (py, me) = (slf.py(), slf.get());
                let fields = (me.id(py)?, me.code(py)?, me.description(py)?, me.details(py)?);
                restorable(slf.as_any(), &me.body, fields)
            }
        });
    };
}

refusal!(CallError, 4, "The refusal of a CALL: `[4, id, code, description, details]`.");
refusal!(CallResultError, 5, "The refusal of a CALLRESULT (OCPP 2.1): `[5, id, code, description, details]`.");
