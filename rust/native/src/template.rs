//! Dicts made from a template: objects of one kind arrive with the same keys in the same order again and again.
//!
//! The first dict of a shape is built key by key and becomes a template. The next object that is expected to have the shape
//! begins as a dict with the template's keys and no values, and each value is put into its entry as it comes: no hashing,
//! no growing, a key table of the right size at once. This needs CPython's own layout, known here for 3.11 to 3.13 with the GIL.
//! A copy of the template's key table costs one allocation and one `memcpy`; values are put straight into its entries. Nobody
//! sees a dict before it is finished. The public twin is `Layout::dict` (`PyDict_New`, `PyDict_SetItem`): it makes the first
//! dict of every shape, and all of them where the layout is not known or a table does not look as expected. Measured
//! in `benches/experiments/dict_template.py`.

#[cfg(all(
    Py_3_11,
    not(Py_3_14),
    not(Py_GIL_DISABLED),
    not(py_sys_config = "Py_DEBUG"),
    not(PyPy),
    not(GraalPy),
    not(evcore_plain_dicts)
))]
#[expect(
    clippy::cast_ptr_alignment,
    reason = "key tables and their entries are aligned to eight bytes, as their sizes are"
)]
mod known {
    use evcore_core::build::Stop;
    use pyo3::ffi;
    use pyo3::prelude::*;
    use std::marker::PhantomData;
    use std::ptr;

    use crate::objects::{Member, Object};

    /// `struct _dictkeysobject` up to its index table.
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

    /// The layout of a dict's keys, without values.
    pub struct Template {
        /// The properties in order of arrival.
        order: Box<[u8]>,
        /// The keys, in the same order, kept alive for the table.
        keys: Box<[Py<PyAny>]>,
        /// The bytes of a key table that nobody shares, its values null.
        table: Box<[u64]>,
        /// Where its entries begin, in bytes.
        entries: usize,
        /// Such dicts may hold containers: the garbage collector gets to know them.
        tracked: bool,
    }

    fn allocate(bytes: usize) -> *mut Keys {
        // SAFETY: attached. The allocator is the one this version frees key tables with.
        unsafe {
            #[cfg(not(Py_3_13))]
            return ffi::PyObject_Malloc(bytes).cast();
            #[cfg(Py_3_13)]
            return ffi::PyMem_Malloc(bytes).cast();
        }
    }

    impl Template {
        /// A template of the shape `example` has; None where its layout is not the one above.
        pub fn new(order: &[u8], example: &Object, tracked: bool) -> Option<Self> {
            // SAFETY: shapes are offered while attached, by the builder that made `example`, an exact dict that was filled
            // key by key. Its table is read as far as its own header says it goes, after the header was found plausible.
            unsafe {
                let py = Python::assume_attached();
                let dict = example.as_ptr().cast::<ffi::PyDictObject>();
                let table = (*dict).ma_keys.cast::<Keys>();
                let header = &*table;
                let count = order.len();
                if !(*dict).ma_values.is_null()
                    || header.kind != UNICODE
                    || header.refcount != 1
                    || header.log2_size > 6
                    || header.log2_index_bytes != header.log2_size
                    || header.entries != count as ffi::Py_ssize_t
                    || ffi::PyDict_Size(example.as_ptr()) != header.entries
                {
                    return None;
                }
                let entries = size_of::<Keys>() + (1 << header.log2_index_bytes);
                let slots = count + header.usable.cast_unsigned();
                let bytes = entries + slots * size_of::<Entry>();
                if !bytes.is_multiple_of(8) || slots > 1 << header.log2_size {
                    return None;
                }
                let first = table.cast::<u8>().add(entries).cast::<Entry>();
                let mut keys = Vec::with_capacity(count);
                let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
                while ffi::PyDict_Next(example.as_ptr(), &raw mut position, &raw mut key, &raw mut value) != 0 {
                    let entry = &*first.add(keys.len());
                    if entry.key != key || entry.value != value {
                        return None;
                    }
                    keys.push(Bound::from_borrowed_ptr(py, key).unbind());
                }
                let mut copy = vec![0_u64; bytes / 8].into_boxed_slice();
                ptr::copy_nonoverlapping(table.cast::<u8>(), copy.as_mut_ptr().cast::<u8>(), bytes);
                let copied = copy.as_mut_ptr().cast::<u8>();
                (*copied.cast::<Keys>()).version = 0;
                let first = copied.add(entries).cast::<Entry>();
                for index in 0..count {
                    (*first.add(index)).value = ptr::null_mut();
                }
                Some(Self { order: order.into(), keys: keys.into(), table: copy, entries, tracked })
            }
        }

        /// A dict with these keys, to be filled.
        #[inline]
        pub fn start(&self) -> Result<Placed<'_>, Stop> {
            let bytes = size_of_val(&*self.table);
            // SAFETY: attached. The new table is a copy of one that a dict had, `bytes` long; its keys get the references it
            // holds. The new dict gives its own table back, which is the shared empty one, and is finished or dropped
            // with a table that is whole: null values are allowed in it.
            unsafe {
                let dict = Object::own(ffi::PyDict_New())?;
                let table = allocate(bytes);
                if table.is_null() {
                    ffi::PyErr_NoMemory();
                    return Err(Stop);
                }
                ptr::copy_nonoverlapping(self.table.as_ptr(), table.cast::<u64>(), self.table.len());
                for key in &*self.keys {
                    ffi::Py_INCREF(key.as_ptr());
                }
                let own = dict.as_ptr().cast::<ffi::PyDictObject>();
                release_empty((*own).ma_keys.cast());
                (*own).ma_keys = table.cast();
                let next = table.cast::<u8>().add(self.entries).cast::<Entry>();
                Ok(Placed { template: self, rest: &self.order, dict: dict.into_raw(), next })
            }
        }
    }

    /// Gives back a reference to the empty key table.
    #[inline]
    unsafe fn release_empty(empty: *mut Keys) {
        // SAFETY: the caller held one. The table itself is static: its count never reaches zero.
        unsafe {
            #[cfg(Py_3_12)]
            if (*empty).refcount >= 0x3FFF_FFFF {
                return; // immortal
            }
            (*empty).refcount -= 1;
        }
    }

    /// The members of an exact dict, if its keys are all strings and nobody shares its table.
    #[inline]
    pub fn members<'a>(dict: Borrowed<'a, '_, PyAny>) -> Option<Members<'a>> {
        // SAFETY: an exact dict of this interpreter; its header says what its table holds.
        unsafe {
            let dict = dict.as_ptr().cast::<ffi::PyDictObject>();
            let table = (*dict).ma_keys.cast::<Keys>();
            if !(*dict).ma_values.is_null() || (*table).kind != UNICODE {
                return None;
            }
            let next = table.cast::<u8>().add(size_of::<Keys>() + (1 << (*table).log2_index_bytes)).cast::<Entry>();
            Some(Members { next, end: next.add((*table).entries.cast_unsigned()), dict: PhantomData })
        }
    }

    /// Keys and values of a dict that nobody changes meanwhile, borrowed from it.
    pub struct Members<'a> {
        next: *const Entry,
        end: *const Entry,
        dict: PhantomData<&'a PyAny>,
    }

    impl Iterator for Members<'_> {
        type Item = (*mut ffi::PyObject, *mut ffi::PyObject);

        #[inline]
        fn next(&mut self) -> Option<Self::Item> {
            while self.next < self.end {
                // SAFETY: below the end of the table's entries; those of deleted members hold no value.
                let entry = unsafe { &*self.next };
                // SAFETY: at most one past the end.
                self.next = unsafe { self.next.add(1) };
                if !entry.value.is_null() {
                    return Some((entry.key, entry.value));
                }
            }
            None
        }
    }

    /// A dict that is being filled: plain pointers, so that the compiler keeps them in registers. It owns the dict, but does
    /// not drop it.
    #[derive(Clone, Copy)]
    pub struct Placed<'p> {
        template: &'p Template,
        rest: &'p [u8],
        dict: *mut ffi::PyObject,
        next: *mut Entry,
    }

    impl Placed<'_> {
        /// The dict.
        #[inline]
        pub fn as_ptr(&self) -> *mut ffi::PyObject {
            self.dict
        }

        /// Puts the next value into its entry, or gives it back when its property is not the expected one.
        #[inline]
        pub fn place(&mut self, property: u8, value: Object) -> Option<Object> {
            match self.rest.split_first() {
                Some((&expected, rest)) if expected == property => self.rest = rest,
                _ => return Some(value),
            }
            // SAFETY: there are as many entries as expected properties; `next` is that of the one just taken.
            unsafe {
                (*self.next).value = value.into_raw();
                self.next = self.next.add(1);
            }
            None
        }

        /// Makes the dict whole, if all its keys have values.
        #[inline]
        pub fn finish(&self) -> bool {
            if !self.rest.is_empty() {
                return false;
            }
            // SAFETY: every entry has its value; nobody has seen the dict yet.
            unsafe {
                (*self.dict.cast::<ffi::PyDictObject>()).ma_used = self.template.order.len() as ffi::Py_ssize_t;
                if self.template.tracked {
                    ffi::PyObject_GC_Track(self.dict.cast());
                }
            }
            true
        }

        /// Moves what is placed already to a stack, in order; the dict is still to be dropped.
        #[cold]
        pub fn give_up(self, stack: &mut Vec<Member>) {
            let count = self.template.order.len() - self.rest.len();
            for index in 0..count {
                // SAFETY: the entries before `next` hold owned values; each is taken once, and null left in its place.
                unsafe {
                    let entry = self.next.sub(count - index);
                    if let Ok(value) = Object::own(std::mem::replace(&mut (*entry).value, ptr::null_mut())) {
                        stack.push(Member { property: self.template.order[index], value });
                    }
                }
            }
        }
    }
}

#[cfg(not(all(
    Py_3_11,
    not(Py_3_14),
    not(Py_GIL_DISABLED),
    not(py_sys_config = "Py_DEBUG"),
    not(PyPy),
    not(GraalPy),
    not(evcore_plain_dicts)
)))]
mod known {
    use evcore_core::build::Stop;
    use pyo3::prelude::*;

    use crate::objects::{Member, Object};

    /// There are no templates for this interpreter.
    pub enum Template {}

    impl Template {
        pub fn new(_: &[u8], _: &Object, _: bool) -> Option<Self> {
            None
        }
        pub fn start(&self) -> Result<Placed<'_>, Stop> {
            match *self {}
        }
    }

    /// Members are read by `PyDict_Next`.
    pub fn members<'a>(_: Borrowed<'a, '_, PyAny>) -> Option<std::iter::Empty<Pair>> {
        None
    }

    /// A key and a value.
    type Pair = (*mut pyo3::ffi::PyObject, *mut pyo3::ffi::PyObject);

    /// Nor dicts made from them.
    #[derive(Clone, Copy)]
    pub enum Placed<'p> {
        Never(&'p Template),
    }

    impl Placed<'_> {
        pub fn as_ptr(&self) -> *mut pyo3::ffi::PyObject {
            let Self::Never(template) = self;
            match **template {}
        }
        pub fn place(&mut self, _: u8, _: Object) -> Option<Object> {
            let Self::Never(template) = self;
            match **template {}
        }
        pub fn finish(&self) -> bool {
            let Self::Never(template) = self;
            match **template {}
        }
        pub fn give_up(self, _: &mut Vec<Member>) {
            let Self::Never(template) = self;
            match *template {}
        }
    }
}

pub use known::{Placed, Template, members};
