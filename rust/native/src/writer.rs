//! Judges Python objects and writes them as JSON in one go, as long as nothing is wrong and every type is a plain one.
//!
//! Out: compact JSON, or [`Stop`]: then [`crate::live`] reads the objects into a tree and the core says what is wrong, or
//! the core writes the tree out after all.

use std::ptr;

use evcore_core::build::Stop;
use evcore_core::number::is_multiple;
use evcore_core::program::{Enum, Kind, NodeId, Numeric, Object, Text};
use evcore_core::write::{write_escaped, write_float, write_integer};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::program::Program;
use crate::strings;
use crate::template::members;

/// Writes one payload.
pub struct Writer<'a, 'py> {
    pub py: Python<'py>,
    pub program: &'a Program,
    pub out: &'a mut Vec<u8>,
    /// Levels that may still be entered.
    pub depth: u32,
    pub string_bytes: usize,
    /// The place in the nearest array: the context of guesses.
    pub item: usize,
}

type Written = Result<(), Stop>;

/// How far the members of an object have come.
struct Walk<'a> {
    keys: &'a [Py<PyString>],
    /// The properties that will likely come next.
    expected: &'a [u8],
    seen: u64,
    slot: usize,
}

impl<'py> Writer<'_, 'py> {
    /// Judges and writes `value`.
    #[inline(never)]
    pub fn judge(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Written {
        self.value(self.program.core.root(), value)
    }

    /// Scalars are written in place; only containers cost a call.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "measured: a tenth of an encode of TransactionEvent and SetChargingProfile"
    )]
    fn value(&mut self, node: NodeId, value: Borrowed<'_, 'py, PyAny>) -> Written {
        let (core, index) = (&self.program.core, node.index());
        match node.kind {
            Kind::Enum => self.choice(core.enum_at(index), value),
            Kind::Text => self.text(core.text_at(index), value),
            Kind::Integer => self.integer(core.number_at(index), value),
            Kind::Number => self.number(core.number_at(index), value),
            Kind::Object => self.object(&core.objects()[index], value),
            Kind::Array => {
                let array = core.array_at(index);
                self.array(value, Some(array.items), array.min as usize..=array.max as usize)
            }
            Kind::Boolean => self.boolean(value),
            Kind::Null => self.null(value),
            Kind::Any => self.any(value),
        }
    }

    fn integer(&mut self, bounds: &Numeric, value: Borrowed<'_, 'py, PyAny>) -> Written {
        // SAFETY: `value` is an object. Floats that count as integers go the slow way.
        if unsafe { ffi::PyLong_CheckExact(value.as_ptr()) } == 0 {
            return Err(Stop);
        }
        self.number(bounds, value)
    }

    /// Whatever it is, as long as it is plain JSON.
    #[inline(never)]
    fn any(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Written {
        let pointer = value.as_ptr();
        // SAFETY: type checks on an object.
        let (string, dict, list, number, none) = unsafe {
            (
                ffi::PyUnicode_Check(pointer) != 0,
                ffi::PyDict_CheckExact(pointer) != 0,
                ffi::PyList_CheckExact(pointer) != 0 || ffi::PyTuple_CheckExact(pointer) != 0,
                ffi::PyLong_CheckExact(pointer) != 0 || ffi::PyFloat_CheckExact(pointer) != 0,
                pointer == ffi::Py_None(),
            )
        };
        if string {
            self.text_with(value, |_, _| true)
        } else if dict {
            self.any_object(value)
        } else if list {
            self.array(value, None, 0..=usize::MAX)
        } else if number {
            self.number(&Numeric { free: true, ..Numeric::default() }, value)
        } else if none {
            self.null(value)
        } else {
            self.boolean(value)
        }
    }

    fn null(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Written {
        if value.is_none() {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        Err(Stop)
    }

    fn boolean(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Written {
        // SAFETY: the two booleans live for ever; pointers are compared.
        let (truth, falsehood) = unsafe { (ffi::Py_True(), ffi::Py_False()) };
        let word: &[u8] = if value.as_ptr() == truth {
            b"true"
        } else if value.as_ptr() == falsehood {
            b"false"
        } else {
            return Err(Stop);
        };
        self.out.extend_from_slice(word);
        Ok(())
    }

    #[inline]
    fn text(&mut self, bounds: &Text, value: Borrowed<'_, 'py, PyAny>) -> Written {
        self.text_with(value, |length, bytes| {
            length <= bounds.max_length && bounds.format.is_none_or(|format| format.holds(bytes))
        })
    }

    /// Writes one of the schema's strings; the very objects this module hands out are known by their address.
    #[inline]
    fn choice(&mut self, choice: &Enum, value: Borrowed<'_, 'py, PyAny>) -> Written {
        let guess = choice.guess(self.item);
        let known = choice.strings.get(guess).and_then(|&string| self.program.strings.get(string as usize));
        if known.is_some_and(|known| known.as_ptr() == value.as_ptr()) && choice.free {
            choice.written[guess].write(self.out);
            return Ok(());
        }
        let Ok(string) = value.cast_exact::<PyString>() else { return Err(Stop) };
        let Some(bytes) = strings::ascii_bytes(string) else { return Err(Stop) };
        let guessed = choice
            .strings
            .get(guess)
            .is_some_and(|&string| *self.program.core.strings()[string as usize].as_bytes() == *bytes);
        match if guessed { Some(guess) } else { choice.table.find(bytes) } {
            Some(index) if choice.free => {
                choice.learn(self.item, index);
                choice.written[index].write(self.out);
                Ok(())
            }
            _ => Err(Stop),
        }
    }

    /// Writes a string if it is one and `fits` (code points, UTF-8) says so.
    #[inline]
    fn text_with(&mut self, value: Borrowed<'_, 'py, PyAny>, fits: impl FnOnce(usize, &[u8]) -> bool) -> Written {
        // SAFETY: type checks on an object. Subclasses of `str` other than enums of strings hold what they show; enums
        // with a value of their own go the slow way.
        unsafe {
            if ffi::PyUnicode_CheckExact(value.as_ptr()) == 0 {
                return Err(Stop);
            }
        }
        // SAFETY: checked above.
        let string = unsafe { value.cast_unchecked::<PyString>() };
        if let Some(bytes) = strings::ascii_bytes(string) {
            if bytes.len() > self.string_bytes || !fits(bytes.len(), bytes) {
                return Err(Stop);
            }
            self.out.push(b'"');
            write_escaped(self.out, bytes);
        } else {
            let Ok(Some(bytes)) = strings::utf8(&string) else { return Err(self.stop()) };
            let bytes = bytes.as_bytes();
            // SAFETY: a `str`.
            let length = unsafe { ffi::PyUnicode_GET_LENGTH(value.as_ptr()) }.cast_unsigned();
            if bytes.len() > self.string_bytes || !fits(length, bytes) {
                return Err(Stop);
            }
            self.out.push(b'"');
            write_escaped(self.out, bytes);
        }
        self.out.push(b'"');
        Ok(())
    }

    /// Forgets an exception: the slow way meets the same object again and says so properly.
    #[cold]
    fn stop(&self) -> Stop {
        drop(PyErr::take(self.py));
        Stop
    }

    fn number(&mut self, bounds: &Numeric, value: Borrowed<'_, 'py, PyAny>) -> Written {
        let pointer = value.as_ptr();
        // SAFETY: type checks on an object, then reads of the type found; no code of anybody's runs.
        unsafe {
            if ffi::PyLong_CheckExact(pointer) != 0 {
                let mut overflow = 0;
                let integer = ffi::PyLong_AsLongLongAndOverflow(pointer, &raw mut overflow);
                if overflow != 0 {
                    return Err(Stop);
                }
                write_integer(self.out, integer);
                // A whole number is a multiple of any power of ten up to one.
                #[expect(clippy::cast_precision_loss, reason = "bounds compare as doubles")]
                return if bounds.free || within(bounds, integer as f64) { Ok(()) } else { Err(Stop) };
            }
            if ffi::PyFloat_CheckExact(pointer) == 0 {
                return Err(Stop);
            }
            let float = ffi::PyFloat_AS_DOUBLE(pointer);
            let start = self.out.len();
            if !float.is_finite() {
                return Err(Stop);
            }
            write_float(self.out, float);
            if bounds.free
                || within(bounds, float) && bounds.places.is_none_or(|places| is_multiple(&self.out[start..], places))
            {
                return Ok(());
            }
            Err(Stop)
        }
    }

    #[inline(never)]
    fn array(
        &mut self,
        value: Borrowed<'_, 'py, PyAny>,
        items: Option<NodeId>,
        bounds: std::ops::RangeInclusive<usize>,
    ) -> Written {
        let pointer = value.as_ptr();
        // SAFETY: a list or tuple is checked for, and read at indices below its size, which is asked for again each time;
        // the items live as long as it does, and nothing here lets other code run.
        unsafe {
            let list = ffi::PyList_CheckExact(pointer) != 0;
            if !list && ffi::PyTuple_CheckExact(pointer) == 0 {
                return Err(Stop);
            }
            let size = || if list { ffi::PyList_GET_SIZE(pointer) } else { ffi::PyTuple_GET_SIZE(pointer) };
            if !bounds.contains(&size().cast_unsigned()) {
                return Err(Stop);
            }
            self.enter()?;
            self.out.push(b'[');
            let outer = self.item;
            let mut index = 0;
            while index < size() {
                self.item = index.cast_unsigned();
                if index > 0 {
                    self.out.push(b',');
                }
                let item =
                    if list { ffi::PyList_GET_ITEM(pointer, index) } else { ffi::PyTuple_GET_ITEM(pointer, index) };
                let item = Borrowed::from_ptr(self.py, item);
                match items {
                    Some(node) => self.value(node, item)?,
                    None => self.any(item)?,
                }
                index += 1;
            }
            self.item = outer;
        }
        self.out.push(b']');
        self.depth += 1;
        Ok(())
    }

    #[inline]
    fn enter(&mut self) -> Written {
        self.depth = self.depth.checked_sub(1).ok_or(Stop)?;
        Ok(())
    }

    #[inline(never)]
    fn object(&mut self, object: &Object, value: Borrowed<'_, 'py, PyAny>) -> Written {
        let dict = value.as_ptr();
        // SAFETY: type check on an object.
        if unsafe { ffi::PyDict_CheckExact(dict) } == 0 {
            return Err(Stop);
        }
        self.enter()?;
        let mut state = Walk {
            keys: &self.program.objects[object.index as usize].keys,
            expected: object.shape(self.item).map_or(&[], |(_, order)| order),
            seen: 0,
            slot: 0,
        };
        let start = self.out.len();
        if let Some(members) = members(value) {
            for (key, member) in members {
                self.object_member(object, &mut state, key, member)?;
            }
        } else {
            let (mut position, mut key, mut member) = (0, ptr::null_mut(), ptr::null_mut());
            // SAFETY: a dict that nobody changes meanwhile, for nothing here lets other code run.
            while unsafe { ffi::PyDict_Next(dict, &raw mut position, &raw mut key, &raw mut member) } != 0 {
                self.object_member(object, &mut state, key, member)?;
            }
        }
        if object.required & !state.seen != 0 {
            return Err(Stop);
        }
        // Every member was written with a comma before it; the first one is the bracket.
        match self.out.get_mut(start) {
            Some(first) => *first = b'{',
            None => self.out.push(b'{'),
        }
        self.out.push(b'}');
        self.depth += 1;
        Ok(())
    }

    /// Writes a member of an object; `key` and `member` are borrowed from a dict that nobody changes.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the body of two loops, as above")]
    fn object_member(
        &mut self,
        object: &Object,
        state: &mut Walk<'_>,
        key: *mut ffi::PyObject,
        member: *mut ffi::PyObject,
    ) -> Written {
        // SAFETY: borrowed from a dict that nobody changes.
        let (key, member) = unsafe { (Borrowed::from_ptr(self.py, key), Borrowed::from_ptr(self.py, member)) };
        let (guess, rest) = match state.expected.split_first() {
            Some((&property, rest)) => (usize::from(property), rest),
            None => (object.guess(state.slot), state.expected),
        };
        let property = if state.keys.get(guess).is_some_and(|known| known.as_ptr() == key.as_ptr()) {
            state.expected = rest;
            guess
        } else {
            match self.property(object, guess, key)? {
                Some(property) => {
                    state.expected = if property == guess { rest } else { &[] };
                    object.learn(state.slot, property);
                    property
                }
                None if object.open => {
                    self.out.push(b',');
                    self.text_with(key, |_, _| true)?;
                    self.out.push(b':');
                    return self.any(member);
                }
                None => return Err(Stop),
            }
        };
        state.slot = property + 1;
        state.seen |= 1 << property;
        let property = &object.properties[property];
        property.written.write(self.out);
        self.value(property.node, member)
    }

    /// The property a key names, by its characters.
    #[inline]
    fn property(
        &mut self,
        object: &Object,
        guess: usize,
        key: Borrowed<'_, 'py, PyAny>,
    ) -> Result<Option<usize>, Stop> {
        let Ok(key) = key.cast_exact::<PyString>() else { return Err(Stop) };
        Ok(match strings::ascii_bytes(key) {
            Some(bytes) if object.properties.get(guess).is_some_and(|it| *it.name.as_bytes() == *bytes) => Some(guess),
            Some(bytes) => object.find_name(bytes),
            None => match strings::utf8(&key) {
                Ok(Some(bytes)) => object.find_name(bytes.as_bytes()),
                _ => return Err(self.stop()),
            },
        })
    }

    fn any_object(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Written {
        let dict = value.as_ptr();
        self.enter()?;
        let mut separator = b'{';
        let (mut position, mut key, mut member) = (0, ptr::null_mut(), ptr::null_mut());
        // SAFETY: as in `object`.
        while unsafe { ffi::PyDict_Next(dict, &raw mut position, &raw mut key, &raw mut member) } != 0 {
            self.out.push(separator);
            separator = b',';
            // SAFETY: as in `object`.
            let (key, member) = unsafe { (Borrowed::from_ptr(self.py, key), Borrowed::from_ptr(self.py, member)) };
            self.text_with(key, |_, _| true)?;
            self.out.push(b':');
            self.any(member)?;
        }
        if separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
        self.depth += 1;
        Ok(())
    }
}

#[inline]
fn within(bounds: &Numeric, number: f64) -> bool {
    bounds.minimum.is_none_or(|minimum| number >= minimum) && bounds.maximum.is_none_or(|maximum| number <= maximum)
}
