//! A compiled schema: flat nodes that a pass walks over bytes, a writer over live objects, and the explainer over a tree.
//!
//! A program is immutable but for its guesses of what comes next; those are hints only (relaxed atomics), never verdicts,
//! so it is shared freely between codecs and threads.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::format::Format;
use crate::table::Table;
use crate::version::Version;
use crate::word::{Quoted, Written};
use crate::write::write_string;

/// What kind of value a node asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Anything that is JSON.
    Any,
    /// A string.
    Text,
    /// One of the schema's strings.
    Enum,
    /// An integer.
    Integer,
    /// A number.
    Number,
    /// An object.
    Object,
    /// An array.
    Array,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
}

/// A node of a program: its kind, and where among its kind it stands. The kind is known before anything is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId {
    /// The kind.
    pub kind: Kind,
    index: u32,
}

impl NodeId {
    /// The node that anything passes.
    pub(crate) const ANY: Self = Self { kind: Kind::Any, index: 0 };

    pub(crate) fn new(kind: Kind, index: usize) -> Self {
        Self { kind, index: index as u32 }
    }

    /// The position among the program's nodes of this kind (integers and numbers share theirs).
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A schema, compiled. Made by [`crate::schema::compile`].
#[derive(Debug)]
pub struct Program {
    pub(crate) root: NodeId,
    pub(crate) strings: Vec<Box<str>>,
    pub(crate) version: Version,
    pub(crate) nodes: Nodes,
}

/// A program's nodes, kind by kind.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    pub texts: Vec<Text>,
    pub enums: Vec<Enum>,
    pub numbers: Vec<Numeric>,
    pub arrays: Vec<Array>,
    pub objects: Vec<Object>,
}

/// What one value must be.
#[derive(Clone, Copy, Debug)]
pub enum Node<'p> {
    /// Anything that is JSON.
    Any,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
    /// An integer.
    Integer(&'p Numeric),
    /// A number.
    Number(&'p Numeric),
    /// A string.
    Text(&'p Text),
    /// One of the schema's strings.
    Enum(&'p Enum),
    /// An array.
    Array(&'p Array),
    /// An object.
    Object(&'p Object),
}

/// Bounds of a number.
#[derive(Debug, Default)]
pub struct Numeric {
    /// `minimum`
    pub minimum: Option<f64>,
    /// `maximum`
    pub maximum: Option<f64>,
    /// `multipleOf` as places after the decimal point: 0.1 is 1.
    pub places: Option<u32>,
    /// Integers only: a whole number with a fraction or exponent counts (draft-06).
    pub whole: bool,
    /// None of the above three is asked for.
    pub free: bool,
}

/// Bounds of a string that is not an enum.
#[derive(Debug)]
pub struct Text {
    /// `maxLength` in code points; `usize::MAX` when there is none.
    pub max_length: usize,
    /// `format`, where formats are judged.
    pub format: Option<Format>,
}

/// A string out of a list.
#[derive(Debug)]
pub struct Enum {
    /// The allowed strings.
    pub table: Table,
    /// Their indices into [`Program::strings`], in the schema's order.
    pub strings: Box<[u32]>,
    /// Further bounds (a schema may give both).
    pub text: Text,
    /// There are none.
    pub free: bool,
    /// `value"`, and its index into [`Program::strings`].
    pub(crate) expected: Box<[(Quoted, u32)]>,
    /// `"value"`
    pub written: Box<[Written]>,
    /// The value that came last in each context.
    guesses: [AtomicU8; CONTEXTS],
}

/// Contexts that guesses tell apart: the place in the nearest array, as a charger sends its samples in the same order
/// every time. More contexts share these.
const CONTEXTS: usize = 16;

/// Shapes (properties in order of arrival) that an object remembers.
pub const SHAPES: usize = 8;

/// Bounds of an array.
#[derive(Debug)]
pub struct Array {
    /// Every member's node.
    pub items: NodeId,
    /// `minItems`
    pub min: u32,
    /// `maxItems`
    pub max: u32,
}

/// Properties an object may hold, at most: their marks are the bits of one word.
pub const MAX_PROPERTIES: usize = 63;

/// Members of an object.
#[derive(Debug)]
pub struct Object {
    /// Position among the program's objects.
    pub index: u32,
    /// The properties, in the schema's order.
    pub properties: Box<[Property]>,
    /// The same, as they are expected in text.
    pub(crate) expected: Box<[Expected]>,
    /// Wire names to properties.
    pub table: Table,
    /// Names in Python to properties; None where they are the wire names.
    pub names: Option<Table>,
    /// Bits of the required properties.
    pub required: u64,
    /// The required properties in the order of `required`.
    pub required_order: Box<[u8]>,
    /// Other members are allowed.
    pub open: bool,
    /// Property + 1 → the property that followed it last time; slot 0 is the first one.
    guesses: Box<[AtomicU8]>,
    /// The first few shapes it came in, and the one that came last in each context.
    shapes: [OnceLock<Box<[u8]>>; SHAPES],
    recent: [AtomicU8; CONTEXTS],
}

/// One property of an object.
#[derive(Debug)]
pub struct Property {
    /// The name on the wire.
    pub wire: Box<str>,
    /// The name in Python.
    pub name: Box<str>,
    /// Its value's node.
    pub node: NodeId,
    /// `,"wire":`
    pub written: Written,
}

/// What a pass needs of a property.
#[derive(Debug)]
pub(crate) struct Expected {
    /// `wire":`
    pub quoted: Quoted,
    /// Its value's node.
    pub node: NodeId,
}

impl Program {
    /// What a node asks for.
    #[inline]
    #[must_use]
    pub fn node(&self, id: NodeId) -> Node<'_> {
        let (nodes, at) = (&self.nodes, id.index());
        match id.kind {
            Kind::Any => Node::Any,
            Kind::Text => Node::Text(&nodes.texts[at]),
            Kind::Enum => Node::Enum(&nodes.enums[at]),
            Kind::Integer => Node::Integer(&nodes.numbers[at]),
            Kind::Number => Node::Number(&nodes.numbers[at]),
            Kind::Object => Node::Object(&nodes.objects[at]),
            Kind::Array => Node::Array(&nodes.arrays[at]),
            Kind::Boolean => Node::Boolean,
            Kind::Null => Node::Null,
        }
    }

    /// The bounds of a string node ([`NodeId::index`]).
    #[inline]
    #[must_use]
    pub fn text_at(&self, index: usize) -> &Text {
        &self.nodes.texts[index]
    }

    /// The values of an enum node.
    #[inline]
    #[must_use]
    pub fn enum_at(&self, index: usize) -> &Enum {
        &self.nodes.enums[index]
    }

    /// The bounds of an integer or number node.
    #[inline]
    #[must_use]
    pub fn number_at(&self, index: usize) -> &Numeric {
        &self.nodes.numbers[index]
    }

    /// The bounds of an array node.
    #[inline]
    #[must_use]
    pub fn array_at(&self, index: usize) -> &Array {
        &self.nodes.arrays[index]
    }

    /// Where every walk begins.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The enum strings, each once.
    #[must_use]
    pub fn strings(&self) -> &[Box<str>] {
        &self.strings
    }

    /// The version whose error codes apply.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The objects in the order of [`Object::index`].
    #[must_use]
    pub fn objects(&self) -> &[Object] {
        &self.nodes.objects
    }
}

impl Object {
    pub(crate) fn new(
        index: u32,
        properties: Vec<Property>,
        renamed: bool,
        required_order: Box<[u8]>,
        open: bool,
    ) -> Self {
        Self {
            index,
            table: Table::new(properties.iter().map(|property| &*property.wire)),
            names: renamed.then(|| Table::new(properties.iter().map(|property| &*property.name))),
            required: required_order.iter().fold(0, |bits, &at| bits | 1 << at),
            required_order,
            open,
            guesses: (0..=properties.len()).map(|at| AtomicU8::new(at as u8)).collect(),
            shapes: Default::default(),
            recent: Default::default(),
            expected: properties
                .iter()
                .map(|property| Expected { quoted: Quoted::key(&property.wire), node: property.node })
                .collect(),
            properties: properties.into(),
        }
    }

    /// The property expected after `slot` (property + 1, or 0 at the start).
    #[inline]
    #[must_use]
    pub fn guess(&self, slot: usize) -> usize {
        self.guesses.get(slot).map_or(0, |guess| usize::from(guess.load(Ordering::Relaxed)))
    }

    /// Remembers what came after `slot`.
    #[inline]
    pub fn learn(&self, slot: usize, property: usize) {
        if let Some(guess) = self.guesses.get(slot) {
            guess.store(property as u8, Ordering::Relaxed);
        }
    }

    /// The shape expected in a context: its number and its properties in order.
    #[inline]
    #[must_use]
    pub fn shape(&self, context: usize) -> Option<(u8, &[u8])> {
        let shape = self.recent[context % CONTEXTS].load(Ordering::Relaxed);
        Some((shape, self.shapes[usize::from(shape) % SHAPES].get()?))
    }

    /// Remembers the shape that came instead, and says its number; None when there is no room for another one.
    #[cold]
    #[inline(never)]
    pub fn learn_shape(&self, context: usize, order: &[u8]) -> Option<u8> {
        for (number, slot) in self.shapes.iter().enumerate() {
            if **slot.get_or_init(|| order.into()) == *order {
                self.recent[context % CONTEXTS].store(number as u8, Ordering::Relaxed);
                return Some(number as u8);
            }
        }
        None
    }

    /// The property with this name in Python.
    #[inline]
    #[must_use]
    pub fn find_name(&self, name: &[u8]) -> Option<usize> {
        self.names.as_ref().unwrap_or(&self.table).find(name)
    }
}

impl Property {
    pub(crate) fn new(wire: &str, name: &str, node: NodeId) -> Self {
        let mut written = b",".to_vec();
        write_string(&mut written, wire);
        written.push(b':');
        Self { wire: wire.into(), name: name.into(), node, written: Written::new(written) }
    }
}

impl Enum {
    pub(crate) fn new(names: &[&str], strings: Box<[u32]>, text: Text) -> Self {
        let written = |name: &&str| {
            let mut out = Vec::new();
            write_string(&mut out, name);
            Written::new(out)
        };
        Self {
            table: Table::new(names.iter().copied()),
            expected: names.iter().zip(&strings).map(|(name, &string)| (Quoted::value(name), string)).collect(),
            strings,
            free: text.max_length == usize::MAX && text.format.is_none(),
            text,
            written: names.iter().map(written).collect(),
            guesses: Default::default(),
        }
    }

    /// The value expected in a context.
    #[inline]
    #[must_use]
    pub fn guess(&self, context: usize) -> usize {
        usize::from(self.guesses[context % CONTEXTS].load(Ordering::Relaxed))
    }

    /// Remembers what came instead of the guess; values beyond the 256th are never guessed.
    #[inline]
    pub fn learn(&self, context: usize, value: usize) {
        if let Ok(value) = u8::try_from(value) {
            self.guesses[context % CONTEXTS].store(value, Ordering::Relaxed);
        }
    }
}
