//! Python values, built while the bytes are judged.

use std::cell::Cell;
use std::ffi::CString;
use std::ptr::NonNull;

use evcore_core::build::{Build, EXACT, Key, Mark, Shape, Stop};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::program::Program;
use crate::strings;

/// An owned reference to a Python object, made and dropped while attached to the interpreter.
#[derive(Debug)]
#[repr(transparent)]
pub struct Object(NonNull<ffi::PyObject>);

impl Object {
    /// Takes over a new reference; null stops the pass, its exception stays set.
    ///
    /// # Safety
    /// `pointer` is null or a new reference that nobody else will drop.
    #[inline]
    pub unsafe fn own(pointer: *mut ffi::PyObject) -> Result<Self, Stop> {
        NonNull::new(pointer).map(Self).ok_or(Stop)
    }

    /// Gives the reference away.
    #[inline]
    pub fn into_raw(self) -> *mut ffi::PyObject {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }

    #[inline]
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// The same reference for PyO3.
    #[inline]
    pub fn bind(self, py: Python<'_>) -> Bound<'_, PyAny> {
        // SAFETY: the reference is owned and not null.
        unsafe { Bound::from_owned_ptr(py, self.into_raw()) }
    }
}

impl Drop for Object {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference is owned; builders live no longer than the call that is attached.
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) }
    }
}

/// A member of an open container: its property (0 in arrays) and its value.
#[derive(Debug)]
pub struct Member {
    pub property: u8,
    pub value: Object,
}

thread_local! {
    /// The stack of the last builder of this thread, empty, for the next one.
    static STACK: Cell<Vec<Member>> = const { Cell::new(Vec::new()) };
}

/// Members a thread's stack keeps room for.
const KEPT: usize = 1024;

/// Builds Python objects for one program; without a program, for untyped values only.
pub struct Objects<'p> {
    program: Option<&'p Program>,
    stack: Vec<Member>,
}

impl Drop for Objects<'_> {
    #[inline]
    fn drop(&mut self) {
        self.stack.clear();
        if self.stack.capacity() <= KEPT {
            STACK.set(std::mem::take(&mut self.stack));
        }
    }
}

impl<'p> Objects<'p> {
    /// A builder. It lives while the current thread is attached (witnessed by the token).
    #[inline]
    pub fn new(_py: Python<'_>, program: Option<&'p Program>) -> Self {
        Self { program, stack: STACK.take() }
    }

    /// The members from `mark` on, taken off the stack, as they stand behind its new end.
    ///
    /// # Safety
    /// They must be read out, each once, before anything else is pushed.
    #[inline]
    unsafe fn taken(&mut self, mark: usize) -> (*const Member, usize) {
        let count = self.stack.len() - mark;
        // SAFETY: the stack gets shorter; what lies behind its end is initialised and now the caller's.
        unsafe {
            self.stack.set_len(mark);
            (self.stack.as_ptr().add(mark), count)
        }
    }
}

impl Build for Objects<'_> {
    type Value = Object;

    #[inline]
    fn null(&mut self) -> Result<Object, Stop> {
        // SAFETY: None lives for ever; the reference taken here is ours.
        unsafe { Object::own(ffi::Py_NewRef(ffi::Py_None())) }
    }

    #[inline]
    fn boolean(&mut self, value: bool) -> Result<Object, Stop> {
        // SAFETY: as for None.
        unsafe { Object::own(ffi::Py_NewRef(if value { ffi::Py_True() } else { ffi::Py_False() })) }
    }

    #[inline]
    fn integer(&mut self, value: i64) -> Result<Object, Stop> {
        // SAFETY: attached; gives a new reference or null.
        unsafe { Object::own(ffi::PyLong_FromLongLong(value)) }
    }

    fn big_integer(&mut self, lexeme: &[u8]) -> Result<Object, Stop> {
        let text = CString::new(lexeme).map_err(|_| Stop)?;
        // SAFETY: the text ends with NUL and outlives the call, which reads no further; its digits are within the limits.
        unsafe { Object::own(ffi::PyLong_FromString(text.as_ptr(), std::ptr::null_mut(), 10)) }
    }

    #[inline]
    fn float(&mut self, value: f64) -> Result<Object, Stop> {
        // SAFETY: attached; gives a new reference or null.
        unsafe { Object::own(ffi::PyFloat_FromDouble(value)) }
    }

    #[inline]
    fn text(&mut self, bytes: &[u8], ascii: bool) -> Result<Object, Stop> {
        // SAFETY: gives a new reference or null.
        unsafe { Object::own(strings::new_raw(bytes, ascii)) }
    }

    #[inline]
    fn shared(&mut self, string: u32) -> Result<Object, Stop> {
        let known = self.program.and_then(|program| program.strings.get(string as usize)).ok_or(Stop)?;
        // SAFETY: the program holds the string; the reference taken here is ours.
        unsafe { Object::own(ffi::Py_NewRef(known.as_ptr())) }
    }

    #[inline]
    fn open(&mut self) -> Mark {
        Mark(self.stack.len())
    }

    #[inline]
    fn item(&mut self, value: Object) {
        self.stack.push(Member { property: 0, value });
    }

    #[inline]
    fn close_array(&mut self, Mark(mark): Mark) -> Result<Object, Stop> {
        let count = self.stack.len() - mark;
        // SAFETY: a new list of `count` empty slots, each filled once with an owned reference before anybody sees it.
        unsafe {
            let list = Object::own(ffi::PyList_New(count as ffi::Py_ssize_t))?;
            let (members, count) = self.taken(mark);
            for index in 0..count {
                let value = std::ptr::read(members.add(index)).value.into_raw();
                ffi::PyList_SET_ITEM(list.as_ptr(), index as ffi::Py_ssize_t, value);
            }
            Ok(list)
        }
    }

    #[inline]
    fn member(&mut self, property: u8, value: Object) {
        self.stack.push(Member { property, value });
    }

    #[inline]
    fn close_object(&mut self, Mark(mark): Mark, object: u32, shape: Shape) -> Result<Object, Stop> {
        let count = self.stack.len() - mark;
        if count == 0 {
            // SAFETY: attached; gives a new reference or null.
            return unsafe { Object::own(ffi::PyDict_New()) };
        }
        let layout = self.program.and_then(|program| program.objects.get(object as usize)).ok_or(Stop)?;
        if count > EXACT {
            return layout.dict(self.stack.drain(mark..));
        }
        if let Some(template) = layout.shapes.find(shape) {
            if template.keys() != count {
                return Err(Stop);
            }
            let dict = template.copy()?;
            if template.is_laid_out() {
                // SAFETY: as many members as the template has keys, each read once.
                unsafe {
                    let (members, count) = self.taken(mark);
                    template.place(&dict, (0..count).map(|index| std::ptr::read(members.add(index)).value));
                }
                return Ok(dict);
            }
            template.set(&dict, self.stack.drain(mark..))?;
            return Ok(dict);
        }
        let dict = layout.dict(self.stack.drain(mark..))?;
        layout.shapes.offer(shape, &dict);
        Ok(dict)
    }

    #[inline]
    fn open_object(&mut self) -> Result<Object, Stop> {
        // SAFETY: attached; gives a new reference or null.
        unsafe { Object::own(ffi::PyDict_New()) }
    }

    fn put(&mut self, object: &mut Object, key: Key<'_>, value: Object) -> Result<(), Stop> {
        let foreign;
        let key = match key {
            Key::Known(object, property) => self
                .program
                .and_then(|program| program.objects.get(object as usize)?.keys.get(usize::from(property)))
                .map(Py::as_ptr)
                .ok_or(Stop)?,
            Key::Foreign(bytes, ascii) => {
                // SAFETY: gives a new reference or null.
                foreign = unsafe { Object::own(strings::new_raw(bytes, ascii))? };
                foreign.as_ptr()
            }
        };
        // SAFETY: a dict of our own making, a `str` key, a value; the dict takes its own references.
        let status = unsafe { ffi::PyDict_SetItem(object.as_ptr(), key, value.as_ptr()) };
        if status == 0 { Ok(()) } else { Err(Stop) }
    }
}
