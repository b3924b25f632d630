//! Dicts by template: objects of one kind arrive with the same keys in the same order again and again.
//!
//! The first dict of a shape is built key by key; copies of it, with None for values, then serve as template. Filling a
//! copy replaces the values only: no hashing, no growing, and the key table has the right size at once. A shape is the
//! property numbers in order of arrival; each object keeps the first few it meets, so a hostile peer can use the slots up
//! but not the memory.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use evcore_core::build::{Shape, Stop};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::objects::{Member, Object};

/// Shapes an object keeps.
const KEPT: usize = 8;

/// The shapes of one object of a program.
#[derive(Default)]
pub struct Shapes {
    kept: [OnceLock<(Shape, Template)>; KEPT],
    /// The one that was last found: a hint.
    last: AtomicU8,
}

impl Shapes {
    /// The template of a shape.
    #[inline]
    pub fn find(&self, shape: Shape) -> Option<&Template> {
        let last = usize::from(self.last.load(Ordering::Relaxed));
        if let Some((kept, template)) = self.kept.get(last).and_then(OnceLock::get) {
            if *kept == shape {
                return Some(template);
            }
        }
        for (index, slot) in self.kept.iter().enumerate() {
            let (kept, template) = slot.get()?;
            if *kept == shape {
                self.last.store(index as u8, Ordering::Relaxed);
                return Some(template);
            }
        }
        None
    }

    /// Remembers a shape by a dict that has it, if there is a slot left.
    #[cold]
    pub fn offer(&self, shape: Shape, dict: &Object) {
        for slot in &self.kept {
            match slot.get() {
                Some((kept, _)) if *kept == shape => return,
                Some(_) => {}
                None => {
                    if let Some(template) = Template::new(dict) {
                        // Another thread may have been quicker; its shape is as good.
                        let _ = slot.set((shape, template));
                    }
                    return;
                }
            }
        }
    }
}

/// A dict with the keys of a shape and None for every value.
pub struct Template {
    dict: Py<PyAny>,
    keys: Vec<Py<PyAny>>,
    /// Where a copy's entries are, when its layout is the one known here.
    entries: Option<usize>,
}

impl Template {
    fn new(example: &Object) -> Option<Self> {
        // SAFETY: shapes are offered while attached, by the builder that made `example`.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: `example` is a dict of our own making; copies and their values are ours; every result is checked.
        unsafe {
            let dict = Object::own(ffi::PyDict_Copy(example.as_ptr())).ok()?;
            let mut keys = Vec::new();
            let (mut position, mut key) = (0, std::ptr::null_mut());
            while ffi::PyDict_Next(example.as_ptr(), &raw mut position, &raw mut key, std::ptr::null_mut()) != 0 {
                if ffi::PyDict_SetItem(dict.as_ptr(), key, ffi::Py_None()) != 0 {
                    ffi::PyErr_Clear();
                    return None;
                }
                keys.push(Bound::from_borrowed_ptr(py, key).unbind());
            }
            let dict = dict.bind(py).unbind();
            let entries = layout::entries(py, &dict, &keys);
            Some(Self { dict, keys, entries })
        }
    }

    /// How many keys there are.
    #[inline]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// A copy, to be filled.
    #[inline]
    pub fn copy(&self) -> Result<Object, Stop> {
        // SAFETY: attached; the template is a dict.
        unsafe { Object::own(ffi::PyDict_Copy(self.dict.as_ptr())) }
    }

    /// Whether copies are filled by [`Self::place`].
    #[inline]
    pub fn is_laid_out(&self) -> bool {
        self.entries.is_some()
    }

    /// Puts the values into a copy's entries.
    ///
    /// # Safety
    /// `dict` comes from [`Self::copy`] and nobody has seen it; `values` are as many as there are keys.
    #[inline]
    pub unsafe fn place(&self, dict: &Object, values: impl Iterator<Item = Object>) {
        if let Some(entries) = self.entries {
            // SAFETY: `entries` was measured on a copy of this template; the rest is the caller's promise.
            unsafe { layout::fill(dict, entries, values) };
        }
    }

    /// Sets a copy's values, key by key.
    pub fn set(&self, dict: &Object, values: impl Iterator<Item = Member>) -> Result<(), Stop> {
        for (key, member) in self.keys.iter().zip(values) {
            // SAFETY: a dict, a `str` key, a value; the dict takes its own references.
            if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), member.value.as_ptr()) } != 0 {
                return Err(Stop);
            }
        }
        Ok(())
    }
}

/// CPython's own dict layout, where it is known: values are put straight into the entries of a fresh copy.
///
/// Measured on MeterValues with nine samples: see benches/experiments/dict_fill.md. Public twin: `PyDict_SetItem` above, which
/// also serves every interpreter not named here, and every template whose copy does not look as expected.
#[cfg(all(Py_3_11, not(Py_3_15), not(Py_GIL_DISABLED), not(PyPy), not(GraalPy)))]
mod layout {
    use pyo3::ffi;
    use pyo3::prelude::*;

    use crate::objects::Object;

    /// `struct _dictkeysobject` of CPython 3.11 to 3.14 without free threading, up to its index table.
    #[repr(C)]
    struct Keys {
        refcount: ffi::Py_ssize_t,
        log2_size: u8,
        log2_index_bytes: u8,
        kind: u8,
        version: u32,
        usable: ffi::Py_ssize_t,
        entries: ffi::Py_ssize_t,
    }

    /// `PyDictUnicodeEntry`
    #[repr(C)]
    struct Entry {
        key: *mut ffi::PyObject,
        value: *mut ffi::PyObject,
    }

    /// `DICT_KEYS_UNICODE`: entries hold no hashes.
    const UNICODE: u8 = 1;

    unsafe fn keys(dict: *mut ffi::PyObject) -> *mut Keys {
        // SAFETY: the caller gives an exact dict of this interpreter.
        unsafe { (*dict.cast::<ffi::PyDictObject>()).ma_keys.cast() }
    }

    /// Where the entries begin, counted from the key table, when a copy of `template` has the layout above and exactly
    /// these keys with None for values.
    pub fn entries(py: Python<'_>, template: &Py<PyAny>, names: &[Py<PyAny>]) -> Option<usize> {
        // SAFETY: a copy of a dict is an exact dict; the table is read as far as its own header says it goes.
        unsafe {
            let copy = Object::own(ffi::PyDict_Copy(template.as_ptr())).ok();
            let Some(copy) = copy else {
                ffi::PyErr_Clear();
                return None;
            };
            if !(*copy.as_ptr().cast::<ffi::PyDictObject>()).ma_values.is_null() {
                return None;
            }
            let keys = keys(copy.as_ptr());
            if (*keys).kind != UNICODE
                || (*keys).refcount != 1
                || (*keys).entries != names.len() as ffi::Py_ssize_t
                || (*keys).log2_index_bytes > 16
            {
                return None;
            }
            let offset = size_of::<Keys>() + (1_usize << (*keys).log2_index_bytes);
            let first = keys.cast::<u8>().add(offset).cast::<Entry>();
            let as_expected = names.iter().enumerate().all(|(index, name)| {
                let entry = first.add(index);
                (*entry).key == name.as_ptr() && (*entry).value == py.None().as_ptr()
            });
            as_expected.then_some(offset)
        }
    }

    /// Puts the values into the entries of a fresh copy.
    ///
    /// # Safety
    /// `dict` is a copy of the template that `offset` was measured on, nobody else has seen it, and `values` are as many
    /// as it has entries.
    #[inline]
    pub unsafe fn fill(dict: &Object, offset: usize, values: impl Iterator<Item = Object>) {
        // SAFETY: as above. Each value takes the place of one None, whose reference is given back; the garbage collector
        // learns of the dict when it holds a container, as it would by `PyDict_SetItem`.
        unsafe {
            let mut entry = keys(dict.as_ptr()).cast::<u8>().add(offset).cast::<Entry>();
            let mut containers = false;
            for value in values {
                let value = value.into_raw();
                let kind = ffi::Py_TYPE(value);
                containers |= kind == &raw mut ffi::PyDict_Type || kind == &raw mut ffi::PyList_Type;
                (*entry).value = value;
                ffi::Py_DECREF(ffi::Py_None());
                entry = entry.add(1);
            }
            if containers && ffi::PyObject_GC_IsTracked(dict.as_ptr()) == 0 {
                ffi::PyObject_GC_Track(dict.as_ptr().cast());
            }
        }
    }
}

#[cfg(not(all(Py_3_11, not(Py_3_15), not(Py_GIL_DISABLED), not(PyPy), not(GraalPy))))]
mod layout {
    use pyo3::prelude::*;

    use crate::objects::Object;

    pub fn entries(_: Python<'_>, _: &Py<PyAny>, _: &[Py<PyAny>]) -> Option<usize> {
        None
    }

    pub unsafe fn fill(_: &Object, _: usize, _: impl Iterator<Item = Object>) {
        unreachable!("no template has a known layout here");
    }
}
