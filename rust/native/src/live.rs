//! Live Python objects → the core's tree: the slow way out, taken when the writer meets something it does not know or
//! something wrong.

use std::borrow::Cow;
use std::cell::Cell;

use evcore_core::dom::{Dom, Name, Naming};
use evcore_core::limits::Limits;
use evcore_core::write::float_text;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDateTime, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType, PyTzInfoAccess};

use crate::errors::DEEPEST;
use crate::strings;

static ENUM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// The tree of a payload: its root is at level 2, inside the frame's array.
pub fn tree(value: &Bound<'_, PyAny>, limits: &Limits) -> PyResult<Dom<'static>> {
    Reader { limits, deep: Cell::new(0) }.value(value, 2, Naming::Python)
}

struct Reader<'l> {
    limits: &'l Limits,
    /// Places that are nested too deeply, each a violation. Structures that hold themselves have more of them than anybody
    /// will ever read.
    deep: Cell<usize>,
}

impl Reader<'_> {
    fn value(&self, value: &Bound<'_, PyAny>, level: u32, naming: Naming) -> PyResult<Dom<'static>> {
        let py = value.py();
        if value.is_none() {
            return Ok(Dom::Null);
        }
        if let Ok(boolean) = value.cast::<PyBool>() {
            return Ok(Dom::Boolean(boolean.is_true()));
        }
        if value.is_instance(ENUM.import(py, "enum", "Enum")?)? {
            // An enum whose values are enums ends at the depth limit like any other nesting.
            if self.is_deep(level) {
                return Ok(Dom::Deep(self.limits.depth));
            }
            return self.value(&value.getattr("value")?, level + 1, naming);
        }
        if let Ok(string) = value.cast::<PyString>() {
            return Ok(text(string)?.map_or(Dom::Surrogate, Dom::Text));
        }
        if value.is_instance_of::<PyInt>() {
            return self.integer(value);
        }
        if let Ok(float) = value.cast::<PyFloat>() {
            let float = float.value();
            return Ok(if float.is_finite() {
                Dom::Number(float_text(float).into())
            } else {
                Dom::Unwritable("non-finite number")
            });
        }
        if let Ok(dict) = value.cast::<PyDict>() {
            let mut members = Vec::with_capacity(dict.len());
            if self.is_deep(level) {
                return Ok(Dom::Deep(self.limits.depth));
            }
            for item in dict.items() {
                let (key, member) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
                match name(&key)? {
                    // Its value is passed over.
                    Name::Bad => members.push((Name::Bad, Dom::Null)),
                    name @ Name::Text(_) => members.push((name, self.value(&member, level + 1, naming)?)),
                }
            }
            return Ok(Dom::Object(naming, members));
        }
        if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
            if self.is_deep(level) {
                return Ok(Dom::Deep(self.limits.depth));
            }
            let items: PyResult<Vec<Dom<'static>>> =
                value.try_iter()?.map(|item| self.value(&item?, level + 1, naming)).collect();
            return Ok(Dom::Array(items?));
        }
        if let Ok(moment) = value.cast::<PyDateTime>() {
            return Ok(date_time(moment)?.map_or(Dom::Naive, |text| Dom::Text(text.into())));
        }
        if value.is_instance(DECIMAL.import(py, "decimal", "Decimal")?)? {
            return self.decimal(value);
        }
        if value.get_type().hasattr("__dataclass_fields__")? {
            return self.dataclass(value, level);
        }
        Ok(Dom::Foreign(value.get_type().name()?.to_string_lossy().into()))
    }

    /// Whether a container is too deep to be read, or as many have been as there may be violations.
    fn is_deep(&self, level: u32) -> bool {
        let deep = self.deep.get();
        if level > self.limits.depth.min(DEEPEST) {
            self.deep.set(deep + 1);
            return true;
        }
        deep >= self.limits.violations
    }

    fn integer(&self, value: &Bound<'_, PyAny>) -> PyResult<Dom<'static>> {
        // Four bits make more than one digit: whatever passes here is short enough for CPython to write out.
        let bits: usize = value.call_method0("bit_length")?.extract()?;
        if bits > self.limits.number_chars.saturating_mul(4) {
            return Ok(Dom::Unwritable("number that is too long"));
        }
        let text = value.py().get_type::<PyInt>().getattr("__repr__")?.call1((value,))?;
        let text = text.cast::<PyString>()?.to_str()?;
        if text.len() > self.limits.number_chars {
            return Ok(Dom::Unwritable("number that is too long"));
        }
        Ok(Dom::Number(text.to_owned().into()))
    }

    fn decimal(&self, value: &Bound<'_, PyAny>) -> PyResult<Dom<'static>> {
        if !value.call_method0("is_finite")?.is_truthy()? {
            return Ok(Dom::Unwritable("non-finite number"));
        }
        let text = value.str()?.to_str()?.replace("E+", "e");
        if text.len() > self.limits.number_chars {
            return Ok(Dom::Unwritable("number that is too long"));
        }
        // As on the wire: only what is written as an integer may lie beyond the doubles.
        if text.contains(['.', 'e', 'E']) && !text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Ok(Dom::Unwritable("non-finite number"));
        }
        Ok(Dom::Number(text.into()))
    }

    fn dataclass(&self, value: &Bound<'_, PyAny>, level: u32) -> PyResult<Dom<'static>> {
        if self.is_deep(level) {
            return Ok(Dom::Deep(self.limits.depth));
        }
        let mut members = Vec::new();
        for field in value.py().import("dataclasses")?.getattr("fields")?.call1((value,))?.try_iter()? {
            let key = field?.getattr("name")?;
            let member = value.getattr(key.cast::<PyString>()?)?;
            if !member.is_none() {
                members.push((name(&key)?, self.value(&member, level + 1, Naming::Field)?));
            }
        }
        Ok(Dom::Object(Naming::Field, members))
    }
}

fn name(key: &Bound<'_, PyAny>) -> PyResult<Name<'static>> {
    match key.cast::<PyString>() {
        Ok(key) => Ok(text(key)?.map_or(Name::Bad, Name::Text)),
        Err(_) => Ok(Name::Bad),
    }
}

fn text(string: &Bound<'_, PyString>) -> PyResult<Option<Cow<'static, str>>> {
    if let Some(bytes) = strings::ascii_bytes(string.as_borrowed()) {
        return Ok(Some(String::from_utf8_lossy(bytes).into_owned().into()));
    }
    Ok(strings::utf8(string)?.map(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned().into()))
}

/// RFC 3339 in UTC, milliseconds where there are any; None for a time without an offset, or beyond the calendar in UTC.
fn date_time(moment: &Bound<'_, PyDateTime>) -> PyResult<Option<String>> {
    let py = moment.py();
    if moment.get_tzinfo().is_none() || moment.call_method0("utcoffset")?.is_none() {
        return Ok(None);
    }
    let utc = pyo3::types::PyTzInfo::utc(py)?;
    let Ok(moment) = moment.call_method1("astimezone", (utc,)) else { return Ok(None) };
    let part = |name: &str| moment.getattr(name)?.extract::<u32>();
    let (year, month, day) = (part("year")?, part("month")?, part("day")?);
    let (hour, minute, second) = (part("hour")?, part("minute")?, part("second")?);
    let fraction = match part("microsecond")? {
        0 => String::new(),
        micros => format!(".{:03}", micros / 1000),
    };
    Ok(Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")))
}
