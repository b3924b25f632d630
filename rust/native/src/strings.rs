//! Python strings from bytes and to bytes.

use std::ptr;

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// A new `str`, or null with an exception set. `bytes` are UTF-8; `ascii` says that none is above 127.
#[inline]
pub fn new_raw(bytes: &[u8], ascii: bool) -> *mut ffi::PyObject {
    let length = bytes.len() as ffi::Py_ssize_t;
    if !ascii {
        // SAFETY: pointer and length are those of a slice; the decoder judges the bytes itself.
        return unsafe { ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), length, ptr::null()) };
    }
    // SAFETY: attached to the interpreter. A string made for 127 as its largest character is compact ASCII: one byte a
    // character behind the header, `length` of them, and not yet seen by anybody. The empty string is shared, and nothing
    // is written to it.
    unsafe {
        let string = ffi::PyUnicode_New(length, 127);
        if !string.is_null() && length > 0 {
            ptr::copy_nonoverlapping(bytes.as_ptr(), ffi::PyUnicode_1BYTE_DATA(string), bytes.len());
        }
        string
    }
}

/// A new `str`.
#[inline]
pub fn new<'py>(py: Python<'py>, bytes: &[u8], ascii: bool) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: `new_raw` gives a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, new_raw(bytes, ascii)) }
}

/// The bytes of a compact ASCII `str`, None for any other.
#[inline]
pub fn ascii_bytes<'a>(string: Borrowed<'a, '_, PyString>) -> Option<&'a [u8]> {
    let pointer = string.as_ptr();
    // SAFETY: `pointer` is a `str`. A compact ASCII string holds its characters as bytes behind its header, and strings
    // do not change; the slice lives no longer than the borrow that keeps the string.
    unsafe {
        (ffi::PyUnicode_IS_COMPACT_ASCII(pointer) != 0).then(|| {
            std::slice::from_raw_parts(
                ffi::PyUnicode_1BYTE_DATA(pointer),
                ffi::PyUnicode_GET_LENGTH(pointer).cast_unsigned(),
            )
        })
    }
}

/// UTF-8 of a `str` that is not ASCII, without leaving a copy inside it; None where it holds a lone surrogate.
pub fn utf8<'py>(string: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let py = string.py();
    match string.encode_utf8() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_instance_of::<PyMemoryError>(py) => Err(error),
        Err(_) => Ok(None),
    }
}
