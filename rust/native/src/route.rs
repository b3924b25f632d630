//! The router: Python objects under MQTT filters.
//!
//! In: filters and values; topics as `str` or `bytes`. Out: lists of values, or of what `route` makes of value, filter and
//! captures. Refused: with `TopicError` what is no filter or topic, with `KeyError` the removal of what is not there.
//!
//! Python code may run wherever a container is made, an exception raised, two values compared or a value's last reference
//! given up, and it may call the same router again. So the state is never locked at such a moment: references are taken
//! under the lock and used after it. The interpreter's own lock is held throughout, so the state's is always free.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use evcore_core::route::rules::{MAX_BYTES, too_long};
use evcore_core::route::{self, Hits, Reading, Settings, Share};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyList, PyString};

use crate::errors;
use crate::input::Input;
use crate::strings;

#[derive(Default)]
struct State {
    core: route::Router,
    /// The value of every number in use.
    values: Vec<Option<Py<PyAny>>>,
    hits: Hits,
}

/// A value found, its filter, names and contents of its captures.
type Found = (Py<PyAny>, String, Vec<(String, String)>);

/// See `evcore._native.Router` in the stub.
#[pyclass(module = "evcore._native", subclass, frozen)]
pub struct Router {
    state: Mutex<State>,
    route: Py<PyAny>,
    once: bool,
}

#[pymethods]
impl Router {
    #[new]
    #[pyo3(signature = (*, route, once, captures, share, bare_share, nested_share, prefixes, levels, controls, forbidden))]
    #[expect(clippy::too_many_arguments)]
    fn new(
        route: Py<PyAny>,
        once: bool,
        captures: bool,
        share: &str,
        bare_share: &str,
        nested_share: &str,
        prefixes: Vec<String>,
        levels: Option<usize>,
        controls: bool,
        forbidden: &str,
    ) -> Self {
        let reading = |name| if name == "literal" { Reading::Literal } else { Reading::Refuse };
        let settings = Settings {
            captures,
            share: match share {
                "strip" => Share::Strip,
                "literal" => Share::Literal,
                _ => Share::Refuse,
            },
            bare_share: reading(bare_share),
            nested_share: reading(nested_share),
            prefixes,
            levels,
            controls,
            forbidden: forbidden.chars().collect(),
        };
        let state = State { core: route::Router::new(settings), ..State::default() };
        Self { state: Mutex::new(state), route, once }
    }

    /// Adds a value under a filter.
    fn add(&self, filter: &Bound<'_, PyAny>, value: Py<PyAny>) -> PyResult<()> {
        let text = filter_text(filter)?;
        let added = {
            let mut state = self.lock();
            let added = state.core.add(text.text());
            added.map(|number| {
                if number as usize == state.values.len() {
                    state.values.push(Some(value));
                } else {
                    state.values[number as usize] = Some(value);
                }
            })
        };
        added.map_err(|error| errors::topic_error(filter.py(), *error))
    }

    /// Takes the value away that was added under exactly this filter.
    fn remove(&self, filter: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let text = filter_text(filter)?;
        while let Some((number, age)) = self.search(text.text(), value)? {
            // A comparison in Python may have removed what it was about; then the search begins anew.
            if let Some(gone) = self.take(number, age) {
                drop(gone);
                return Ok(());
            }
        }
        let filter = filter.repr()?;
        Err(PyKeyError::new_err(format!("no such value was added under the filter {filter}")))
    }

    /// The values of the filters that match a topic, oldest first.
    #[pyo3(name = "match")]
    fn matching<'py>(&self, topic: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = topic.py();
        let text = text(topic, "topic")?;
        let mut values = {
            let mut state = self.lock();
            let State { core, values, hits } = &mut *state;
            core.find(text.text(), hits).map(|()| {
                hits.numbers().filter_map(|number| Some(values[number as usize].as_ref()?.clone_ref(py))).collect()
            })
        }
        .map_err(|error| errors::topic_error(py, *error))?;
        if self.once {
            once(&mut values);
        }
        PyList::new(py, values)
    }

    /// A list of values for every topic.
    fn match_many<'py>(&self, topics: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(topics.py());
        for topic in topics.try_iter()? {
            list.append(self.matching(&topic?)?)?;
        }
        Ok(list)
    }

    /// What `route` makes of the filters that match a topic, oldest first.
    fn routes<'py>(&self, topic: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = topic.py();
        let text = text(topic, "topic")?;
        let found: Vec<Found> = {
            let mut state = self.lock();
            let State { core, values, hits } = &mut *state;
            core.find(text.text(), hits).map(|()| {
                let topic = std::str::from_utf8(text.text()).unwrap_or_default();
                let route = |number| {
                    let value = values[number as usize].as_ref()?.clone_ref(py);
                    let captures = core.captures(number, topic).map(|(name, level)| (name.into(), level.into()));
                    Some((value, core.filter(number), captures.collect()))
                };
                hits.numbers().filter_map(route).collect()
            })
        }
        .map_err(|error| errors::topic_error(py, *error))?;
        let list = PyList::empty(py);
        for (value, filter, captures) in found {
            let named = PyDict::new(py);
            for (name, level) in captures {
                named.set_item(name, level)?;
            }
            list.append(self.route.bind(py).call1((value, filter, named))?)?;
        }
        Ok(list)
    }

    /// Removes everything.
    fn clear(&self) {
        let gone = {
            let mut state = self.lock();
            state.core.clear();
            std::mem::take(&mut state.values)
        };
        drop(gone);
    }

    fn __len__(&self) -> usize {
        self.lock().core.len()
    }

    fn __contains__(&self, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok((filter, value)) = item.extract::<(Bound<'_, PyString>, Bound<'_, PyAny>)>() else { return Ok(false) };
        let Ok(text) = text(filter.as_any(), "filter") else { return Ok(false) };
        if self.lock().core.numbers(text.text()).is_err() {
            return Ok(false);
        }
        Ok(self.search(text.text(), &value)?.is_some())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let pairs: Vec<(String, Py<PyAny>)> = {
            let state = self.lock();
            let value = |number: u32| state.values[number as usize].as_ref().map(|value| value.clone_ref(py));
            state
                .core
                .all()
                .into_iter()
                .filter_map(|number| Some((state.core.filter(number), value(number)?)))
                .collect()
        };
        PyList::new(py, pairs)?.try_iter()
    }

    fn __sizeof__(&self) -> usize {
        let state = self.lock();
        size_of::<Self>() + state.core.size().2 + state.values.capacity() * size_of::<Option<Py<PyAny>>>()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.route)?;
        self.lock().values.iter().flatten().try_for_each(|value| visit.call(value))
    }

    fn __clear__(&self) {
        self.clear();
    }
}

impl Router {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number and age of the value under exactly this filter: the very object, else the first that equals it.
    fn search(&self, filter: &[u8], value: &Bound<'_, PyAny>) -> PyResult<Option<(u32, u64)>> {
        let py = value.py();
        let read = {
            let State { core, values, .. } = &*self.lock();
            core.numbers(filter).map(|numbers| {
                let known = || numbers.iter().filter_map(|number| Some((*number, values[*number as usize].as_ref()?)));
                let same =
                    known().find(|(_, candidate)| candidate.is(value)).map(|(number, _)| (number, core.age(number)));
                let candidate = |(number, value): (u32, &Py<PyAny>)| (number, core.age(number), value.clone_ref(py));
                let others: Vec<_> = if same.is_none() { known().map(candidate).collect() } else { Vec::new() };
                (same, others)
            })
        };
        let (same, candidates) = read.map_err(|error| errors::topic_error(py, *error))?;
        if same.is_some() {
            return Ok(same);
        }
        for (number, age, candidate) in &candidates {
            if candidate.bind(py).eq(value)? {
                return Ok(Some((*number, *age)));
            }
        }
        Ok(None)
    }

    /// Takes a value out of the state, unless its number stands for another one by now.
    fn take(&self, number: u32, age: u64) -> Option<Py<PyAny>> {
        let mut state = self.lock();
        if state.core.age(number) != age {
            return None;
        }
        state.core.remove(number);
        let gone = state.values[number as usize].take();
        if state.core.is_empty() {
            state.values = Vec::new();
        }
        gone
    }
}

/// The bytes of a filter.
fn filter_text<'py>(filter: &Bound<'py, PyAny>) -> PyResult<Input<'py>> {
    if filter.is_instance_of::<PyString>() {
        return text(filter, "filter");
    }
    Err(PyTypeError::new_err(format!("a filter is a str, not {}", filter.get_type().name()?)))
}

/// The bytes of a topic or filter.
#[inline]
fn text<'py>(given: &Bound<'py, PyAny>, kind: &str) -> PyResult<Input<'py>> {
    if let Ok(string) = given.cast::<PyString>() {
        // No copy is made of a text that is too long anyway.
        if strings::ascii_bytes(string.as_borrowed()).is_none() && string.len()? > MAX_BYTES {
            return Err(errors::topic_error(given.py(), *too_long(kind)));
        }
    } else if !given.is_instance_of::<PyBytes>() {
        let name = given.get_type().name()?;
        return Err(PyTypeError::new_err(format!("a {kind} is a str or bytes, not {name}")));
    }
    Input::new(given)
}

/// Leaves every object in the list once, at its first place.
fn once(values: &mut Vec<Py<PyAny>>) {
    if values.len() > 1 {
        let mut seen = HashSet::with_capacity(values.len());
        values.retain(|value| seen.insert(value.as_ptr()));
    }
}
