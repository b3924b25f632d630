//! Python values, built while the bytes are judged.

use std::cell::Cell;
use std::ffi::CString;
use std::ptr::NonNull;

use evcore_core::build::{Build, Key, Mark, Stop};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::program::{Layout, Program};
use crate::strings;
use crate::template::Placed;

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
    /// What the last builder of this thread left, empty, for the next one.
    static STACK: Cell<(Vec<Member>, Vec<*mut ffi::PyObject>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// Members a thread's stack keeps room for.
const KEPT: usize = 1024;

/// Builds Python objects for one program; without a program, for untyped values only. A pass that does not judge uses the
/// program for its words alone.
pub struct Objects<'p> {
    program: Option<&'p Program>,
    stack: Vec<Member>,
    /// The dicts that are being built in place, outermost first: owned.
    drafts: Vec<*mut ffi::PyObject>,
}

impl Drop for Objects<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.stack.capacity() > 0 {
            self.leave_stack();
        }
    }
}

impl Objects<'_> {
    #[inline(never)]
    fn leave_stack(&mut self) {
        for draft in self.drafts.drain(..).rev() {
            // SAFETY: drafts are owned, and whole as far as the interpreter is concerned.
            drop(unsafe { Object::own(draft) });
        }
        self.stack.clear();
        if self.stack.capacity() <= KEPT {
            STACK.set((std::mem::take(&mut self.stack), std::mem::take(&mut self.drafts)));
        }
    }
}

impl<'p> Objects<'p> {
    /// A builder. It lives while the current thread is attached (witnessed by the token).
    #[inline]
    pub fn new(_py: Python<'_>, program: Option<&'p Program>) -> Self {
        Self { program, stack: Vec::new(), drafts: Vec::new() }
    }

    /// Takes over what the last builder left, at the first container that needs it.
    #[cold]
    #[inline(never)]
    fn take_stack(&mut self) {
        (self.stack, self.drafts) = STACK.take();
        self.stack.reserve(32);
        self.drafts.reserve(8);
    }

    #[inline]
    fn push(&mut self, property: u8, value: Object) {
        if self.stack.capacity() == 0 {
            self.take_stack();
        }
        self.stack.push(Member { property, value });
    }

    /// Moves what a draft holds already to the stack, in order. Its members begin where the stack ends.
    #[cold]
    #[inline(never)]
    fn give_up(&mut self, placed: Placed<'_>) {
        placed.give_up(&mut self.stack);
        self.drafts.pop();
        // SAFETY: the draft was owned.
        drop(unsafe { Object::own(placed.as_ptr()) });
    }

    /// A dict of the members from `mark` on, which came in an order that was not expected.
    #[inline(never)]
    fn unexpected(&mut self, layout: &Layout, shape: Option<u8>, mark: usize) -> Result<Object, Stop> {
        if self.stack.len() == mark {
            // SAFETY: attached; gives a new reference or null.
            return unsafe { Object::own(ffi::PyDict_New()) };
        }
        let Some(template) = shape.and_then(|shape| layout.template(shape)) else {
            let order: Vec<u8> = self.stack[mark..].iter().map(|member| member.property).collect();
            let dict = layout.dict(self.stack.drain(mark..))?;
            if let Some(shape) = shape {
                layout.keep(shape, &order, &dict);
            }
            return Ok(dict);
        };
        let mut placed = template.start()?;
        for member in self.stack.drain(mark..) {
            placed.place(member.property, member.value);
        }
        // SAFETY: the dict is owned, and whole if it says so: the template has just these properties in this order.
        let dict = unsafe { Object::own(placed.as_ptr())? };
        if placed.finish() { Ok(dict) } else { Err(Stop) }
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

/// A dict that is being built: in place, as long as its members come as they did before, then on the stack.
#[derive(Clone, Copy)]
pub struct Draft<'p> {
    layout: &'p Layout,
    placed: Option<Placed<'p>>,
    /// Where its members begin on the stack.
    mark: usize,
}

impl<'p> Build for Objects<'p> {
    type Value = Object;
    type Object = Draft<'p>;

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
        self.push(0, value);
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
    fn begin(&mut self, object: u32, shape: Option<u8>) -> Result<Draft<'p>, Stop> {
        let layout = self.program.and_then(|program| program.objects.get(object as usize)).ok_or(Stop)?;
        let placed = match shape.and_then(|shape| layout.template(shape)) {
            Some(template) => {
                let placed = template.start()?;
                if self.drafts.capacity() == 0 {
                    self.take_stack();
                }
                self.drafts.push(placed.as_ptr());
                Some(placed)
            }
            None => None,
        };
        Ok(Draft { layout, placed, mark: self.stack.len() })
    }

    #[inline]
    fn member(&mut self, draft: &mut Draft<'p>, property: u8, value: Object) {
        let Some(placed) = &mut draft.placed else { return self.push(property, value) };
        if let Some(value) = placed.place(property, value) {
            let placed = *placed;
            draft.placed = None;
            self.give_up(placed);
            self.push(property, value);
        }
    }

    #[inline]
    fn finish(&mut self, draft: Draft<'p>, shape: Option<u8>) -> Result<Object, Stop> {
        if let Some(placed) = draft.placed {
            if placed.finish() {
                self.drafts.pop();
                // SAFETY: the draft was owned until here; now its owner is the caller.
                return unsafe { Object::own(placed.as_ptr()) };
            }
            self.give_up(placed);
        }
        self.unexpected(draft.layout, shape, draft.mark)
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
                if let Some(word) = self.program.and_then(|program| program.word(bytes)) {
                    return object.set(word.as_ptr(), &value);
                }
                // SAFETY: gives a new reference or null.
                foreign = unsafe { Object::own(strings::new_raw(bytes, ascii))? };
                foreign.as_ptr()
            }
        };
        object.set(key, &value)
    }
}

impl Object {
    /// Sets a member of a dict of our own making.
    #[inline]
    fn set(&self, key: *mut ffi::PyObject, value: &Object) -> Result<(), Stop> {
        // SAFETY: a dict of our own making, a `str` key, a value; the dict takes its own references.
        let status = unsafe { ffi::PyDict_SetItem(self.as_ptr(), key, value.as_ptr()) };
        if status == 0 { Ok(()) } else { Err(Stop) }
    }
}
