//! A compiled schema with the Python strings it hands out.

use std::collections::HashMap;
use std::sync::OnceLock;

use evcore_core::build::Stop;
use evcore_core::explain::{Fields, explain};
use evcore_core::limits::Limits;
use evcore_core::program::{Kind, Object, SHAPES};
use evcore_core::schema::{Options, compile};
use evcore_core::table::{CAPACITY, Table};
use evcore_core::version::Version;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::errors;
use crate::live;
use crate::objects::{Member, Object as Built};
use crate::template::Template;

/// A compiled schema. Immutable and shareable between codecs and threads.
#[pyclass(frozen, module = "evcore._native")]
pub struct Program {
    pub core: evcore_core::program::Program,
    pub strings: Vec<Py<PyString>>,
    pub objects: Vec<Layout>,
    pub fields: Fields,
    /// Every property name of the wire, for payloads that are read without being judged.
    words: Table,
    word_keys: Vec<Py<PyString>>,
}

/// One object of a program: its keys as Python strings, its dicts' templates.
pub struct Layout {
    pub keys: Vec<Py<PyString>>,
    /// Bits of the properties that hold objects, arrays or anything.
    containers: u64,
    /// By number of shape.
    templates: [OnceLock<Template>; SHAPES],
}

impl Layout {
    fn new(py: Python<'_>, object: &Object) -> Self {
        let containers = object.properties.iter().enumerate().filter_map(|(index, property)| {
            matches!(property.node.kind, Kind::Object | Kind::Array | Kind::Any).then_some(1 << index)
        });
        Self {
            keys: object.properties.iter().map(|property| PyString::intern(py, &property.name).unbind()).collect(),
            containers: containers.sum(),
            templates: Default::default(),
        }
    }

    /// The template of a shape, once there is one.
    #[inline]
    pub fn template(&self, shape: u8) -> Option<&Template> {
        self.templates.get(usize::from(shape))?.get()
    }

    /// Makes the template of a shape from a dict that has it.
    #[cold]
    pub fn keep(&self, shape: u8, order: &[u8], dict: &Built) {
        let containers = order.iter().any(|&property| self.containers >> property & 1 != 0);
        if let (Some(slot), Some(template)) =
            (self.templates.get(usize::from(shape)), Template::new(order, dict, containers))
        {
            // Another thread may have been quicker; its template is as good.
            let _ = slot.set(template);
        }
    }

    /// A dict built key by key.
    pub fn dict(&self, members: impl Iterator<Item = Member>) -> Result<Built, Stop> {
        // SAFETY: attached; gives a new reference or null.
        let dict = unsafe { Built::own(ffi::PyDict_New())? };
        for member in members {
            let key = self.keys.get(usize::from(member.property)).ok_or(Stop)?;
            // SAFETY: a dict of our own making, a `str` key, a value; the dict takes its own references.
            if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), member.value.as_ptr()) } != 0 {
                return Err(Stop);
            }
        }
        Ok(dict)
    }
}

#[pymethods]
impl Program {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "arguments from Python are made for this call")]
    #[pyo3(signature = (schema, *, version, snake=None, aliases=None, formats=true))]
    fn new(
        py: Python<'_>,
        schema: &[u8],
        version: &str,
        snake: Option<HashMap<String, String>>,
        aliases: Option<HashMap<String, Vec<String>>>,
        formats: bool,
    ) -> PyResult<Self> {
        let version = errors::version(version)?;
        let options = Options { version, formats, names: snake.as_ref() };
        let core = compile(schema, &options).map_err(|error| errors::schema_error(py, &error.0))?;
        let strings = core.strings().iter().map(|string| PyString::intern(py, string).unbind()).collect();
        let objects = core.objects().iter().map(|object| Layout::new(py, object)).collect();
        let mut words: Vec<&str> =
            core.objects().iter().flat_map(|object| &object.properties).map(|property| &*property.wire).collect();
        words.sort_unstable();
        words.dedup();
        words.truncate(CAPACITY);
        let word_keys = words.iter().map(|word| PyString::intern(py, word).unbind()).collect();
        let words = Table::new(words);
        Ok(Self { core, strings, objects, fields: aliases.unwrap_or_default(), words, word_keys })
    }

    /// All violations of a Python value.
    #[pyo3(signature = (value, *, depth=64, violations=100))]
    fn check<'py>(
        &self,
        py: Python<'py>,
        value: &Bound<'py, PyAny>,
        depth: u32,
        violations: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        let limits = Limits { depth: depth.min(errors::DEEPEST), ..Limits::default() };
        let tree = live::tree(value, &limits)?;
        errors::violations(py, self.version(), &explain(&self.core, &self.fields, &tree, violations))
    }
}

impl Program {
    /// Whether properties have other names in Python than on the wire.
    pub fn is_renamed(&self) -> bool {
        self.core.objects().iter().any(|object| object.names.is_some())
    }

    /// A property name of the wire as a shared string.
    #[inline]
    pub fn word(&self, name: &[u8]) -> Option<&Py<PyString>> {
        self.word_keys.get(self.words.find(name)?)
    }

    pub fn version(&self) -> Version {
        self.core.version()
    }
}
