//! Where the values of a pass go: Python objects, or nowhere.

/// Receives the values of one document while it is judged. Indices are those of the [`crate::program::Program`].
///
/// Members of arrays are collected by the builder between `open` and `close`; closed objects name their properties by number,
/// open ones name each key. Every method may refuse (out of memory).
pub trait Build {
    /// A finished value.
    type Value;
    /// A closed object that is being built.
    type Object;

    /// `null`
    fn null(&mut self) -> Result<Self::Value, Stop>;
    /// `true`, `false`
    fn boolean(&mut self, value: bool) -> Result<Self::Value, Stop>;
    /// An integer literal that fits.
    fn integer(&mut self, value: i64) -> Result<Self::Value, Stop>;
    /// An integer literal that does not: its text.
    fn big_integer(&mut self, lexeme: &[u8]) -> Result<Self::Value, Stop>;
    /// Any other number.
    fn float(&mut self, value: f64) -> Result<Self::Value, Stop>;
    /// A string, unescaped, valid UTF-8.
    fn text(&mut self, bytes: &[u8], ascii: bool) -> Result<Self::Value, Stop>;
    /// A string known from the schema: an index into `Program::strings`.
    fn shared(&mut self, string: u32) -> Result<Self::Value, Stop>;

    /// An array begins.
    fn open(&mut self) -> Mark;
    /// Its next member.
    fn item(&mut self, value: Self::Value);
    /// The array that began at `mark` ends.
    fn close_array(&mut self, mark: Mark) -> Result<Self::Value, Stop>;

    /// A closed object begins: its index among the program's objects, and the number of the shape it will likely have.
    fn begin(&mut self, object: u32, shape: Option<u8>) -> Result<Self::Object, Stop>;
    /// Its next member: which property, and its value. No property comes twice.
    fn member(&mut self, object: &mut Self::Object, property: u8, value: Self::Value);
    /// The closed object ends: the number of the shape it had, if it has one.
    fn finish(&mut self, object: Self::Object, shape: Option<u8>) -> Result<Self::Value, Stop>;

    /// An open object begins.
    fn open_object(&mut self) -> Result<Self::Value, Stop>;
    /// A member of an open object; the last one of a name stays.
    fn put(&mut self, object: &mut Self::Value, key: Key<'_>, value: Self::Value) -> Result<(), Stop>;
}

/// Where an array began, in the builder's own terms.
#[derive(Clone, Copy, Debug)]
pub struct Mark(pub usize);

/// The key of a member of an open object.
#[derive(Clone, Copy, Debug)]
pub enum Key<'a> {
    /// A property of this object of the program: object index, property index.
    Known(u32, u8),
    /// A name the schema does not know, unescaped, and whether it is ASCII.
    Foreign(&'a [u8], bool),
}

/// The pass cannot go on: what stopped it is read again in full by the diagnosing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

/// Judges without building.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Build for Nothing {
    type Value = ();
    type Object = ();

    #[inline]
    fn null(&mut self) -> Result<(), Stop> {
        Ok(())
    }
    #[inline]
    fn boolean(&mut self, _: bool) -> Result<(), Stop> {
        Ok(())
    }
    #[inline]
    fn integer(&mut self, _: i64) -> Result<(), Stop> {
        Ok(())
    }
    #[inline]
    fn big_integer(&mut self, _: &[u8]) -> Result<(), Stop> {
        Ok(())
    }
    #[inline]
    fn float(&mut self, _: f64) -> Result<(), Stop> {
        Ok(())
    }
    #[inline]
    fn text(&mut self, _: &[u8], _: bool) -> Result<(), Stop> {
        Ok(())
    }
    #[inline]
    fn shared(&mut self, _: u32) -> Result<(), Stop> {
        Ok(())
    }
    #[inline]
    fn open(&mut self) -> Mark {
        Mark(0)
    }
    #[inline]
    fn item(&mut self, (): ()) {}
    #[inline]
    fn close_array(&mut self, _: Mark) -> Result<(), Stop> {
        Ok(())
    }
    #[inline]
    fn begin(&mut self, _: u32, _: Option<u8>) -> Result<(), Stop> {
        Ok(())
    }
    #[inline]
    fn member(&mut self, (): &mut (), _: u8, (): ()) {}
    #[inline]
    fn finish(&mut self, (): (), _: Option<u8>) -> Result<(), Stop> {
        Ok(())
    }
    #[inline]
    fn open_object(&mut self) -> Result<(), Stop> {
        Ok(())
    }
    #[inline]
    fn put(&mut self, (): &mut (), _: Key<'_>, (): ()) -> Result<(), Stop> {
        Ok(())
    }
}
