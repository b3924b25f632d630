//! A frame as it is handed in: bytes, bytearray, memoryview or str, read without a copy where nobody can change it.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};

use crate::strings;

/// The bytes of a frame and the object that keeps them.
pub struct Input<'py> {
    /// A `bytes`, or an ASCII `str`.
    pub owner: Bound<'py, PyAny>,
    /// Every byte is known to be ASCII.
    pub ascii: bool,
}

impl<'py> Input<'py> {
    /// Takes a frame.
    #[inline]
    pub fn new(frame: &Bound<'py, PyAny>) -> PyResult<Self> {
        if frame.is_instance_of::<PyBytes>() {
            return Ok(Self { owner: frame.clone(), ascii: false });
        }
        if let Ok(string) = frame.cast::<PyString>() {
            if strings::ascii_bytes(string.as_borrowed()).is_some() {
                return Ok(Self { owner: frame.clone(), ascii: true });
            }
            return Self::encoded(string);
        }
        Self::copied(frame)
    }

    /// A `str` beyond ASCII, as UTF-8; lone surrogates become bytes that are not UTF-8.
    #[cold]
    fn encoded(string: &Bound<'py, PyString>) -> PyResult<Self> {
        let owner = string.call_method1("encode", ("utf-8", "surrogatepass"))?;
        Ok(Self { owner, ascii: false })
    }

    /// Somebody else's buffer, copied: it may change.
    fn copied(frame: &Bound<'py, PyAny>) -> PyResult<Self> {
        if !frame.is_instance_of::<PyByteArray>() && !frame.is_instance_of::<PyMemoryView>() {
            let name = frame.get_type().name()?;
            return Err(PyTypeError::new_err(format!("a frame is bytes, bytearray, memoryview or str, not {name}")));
        }
        // SAFETY: gives a new `bytes`, or null with an exception set.
        let owner = unsafe { Bound::from_owned_ptr_or_err(frame.py(), ffi::PyBytes_FromObject(frame.as_ptr()))? };
        Ok(Self { owner, ascii: false })
    }

    /// The bytes.
    #[inline]
    pub fn text(&self) -> &[u8] {
        text(&self.owner)
    }
}

/// The bytes of a frame's owner.
#[inline]
pub fn text<'a>(owner: &'a Bound<'_, PyAny>) -> &'a [u8] {
    let pointer = owner.as_ptr();
    // SAFETY: owners are `bytes` or compact ASCII `str`; neither changes, and the slice lives no longer than the borrow.
    unsafe {
        if ffi::PyBytes_Check(pointer) != 0 {
            return std::slice::from_raw_parts(
                ffi::PyBytes_AsString(pointer).cast(),
                ffi::PyBytes_Size(pointer).cast_unsigned(),
            );
        }
        strings::ascii_bytes(owner.cast_unchecked::<PyString>().as_borrowed()).unwrap_or_default()
    }
}
