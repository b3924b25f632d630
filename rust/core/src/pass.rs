//! One pass over JSON text that judges it by a program and builds its values at once.
//!
//! In: text that is valid UTF-8, a program, a [`Build`]. Out: a value, or [`Stop`] with a [`Trouble`] behind it. A pass
//! stops at the first thing wrong; what a violation is called is for [`crate::explain`] to say. With `judge` off, duplicate
//! keys pass and the program is not looked at.

mod names;
mod scalars;

use self::names::{Name, Names};
use crate::build::{Build, Key, Stop};
use crate::limits::Limits;
use crate::program::{Array, Kind, NodeId, Object, Program};
use crate::text::{same, skip_space};

/// Why a pass stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Not RFC 8259 JSON, noticed at this byte.
    Json(usize),
    /// A limit is broken, at this byte.
    Limit(Limit, usize),
    /// JSON, but not what the program asks for.
    Violation,
    /// The builder refused.
    Build,
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `depth`
    Depth,
    /// `string_bytes`
    String,
    /// `number_chars`
    Number,
    /// `items`
    Items,
}

type Judged<T> = Result<T, Stop>;

/// The state of one pass.
#[derive(Debug)]
pub struct Pass<'a, B> {
    text: &'a [u8],
    /// The whole text is ASCII: lengths in bytes are lengths in characters.
    ascii: bool,
    limits: &'a Limits,
    /// Where the next byte is read.
    pub at: usize,
    depth: u32,
    /// Where values go.
    pub build: B,
    unique: bool,
    /// The place in the nearest array: the context of guesses.
    item: usize,
    trouble: Trouble,
    scratch: Vec<u8>,
}

impl<'a, B: Build> Pass<'a, B> {
    /// A pass over `text` from `at` on, inside `depth` containers already.
    pub fn new(text: &'a [u8], at: usize, ascii: bool, depth: u32, limits: &'a Limits, build: B) -> Self {
        Self {
            text,
            ascii,
            limits,
            at,
            depth,
            build,
            unique: true,
            item: 0,
            trouble: Trouble::Build,
            scratch: Vec::new(),
        }
    }

    /// Lets duplicate keys pass: the last one counts.
    #[must_use]
    pub fn unjudged(mut self) -> Self {
        self.unique = false;
        self
    }

    /// What the last [`Stop`] was about.
    pub fn trouble(&self) -> Trouble {
        self.trouble
    }

    /// The value at the current position, judged by the program.
    #[inline(never)]
    pub fn judge(&mut self, program: &Program) -> Judged<B::Value> {
        self.out_of_line(program, program.root)
    }

    /// The value at the current position, whatever it is.
    pub fn any(&mut self) -> Judged<B::Value> {
        match self.text.get(self.at) {
            Some(b'"') => {
                self.at += 1;
                self.free_text()
            }
            Some(b'{') => self.any_object(),
            Some(b'[') => self.any_array(),
            Some(b't') => {
                self.word(b"true")?;
                self.build_with(|build| build.boolean(true))
            }
            Some(b'f') => {
                self.word(b"false")?;
                self.build_with(|build| build.boolean(false))
            }
            Some(b'n') => {
                self.word(b"null")?;
                self.build_with(B::null)
            }
            _ => {
                let start = self.at;
                let lexeme = self.lexeme()?;
                self.number_value(start, lexeme)
            }
        }
    }

    /// White space, the bracket that closes the frame, and the end of the text.
    #[inline]
    pub fn close(&mut self) -> Judged<()> {
        self.skip_space();
        if self.text.get(self.at) != Some(&b']') {
            return Err(self.not_json(self.at));
        }
        self.at += 1;
        self.end()
    }

    /// White space and the end of the text.
    pub fn end(&mut self) -> Judged<()> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.not_json(self.at)) }
    }

    /// Skips white space.
    #[inline]
    pub fn skip_space(&mut self) {
        if self.text.get(self.at).is_some_and(|&byte| byte <= b' ') {
            self.at = skip_space(self.text, self.at);
        }
    }

    /// Scalars are read in place; only containers cost a call.
    #[inline]
    fn value(&mut self, program: &Program, node: NodeId) -> Judged<B::Value> {
        let (nodes, index) = (&program.nodes, node.index());
        match node.kind {
            Kind::Enum => self.choice(&nodes.enums[index]),
            Kind::Text => self.text(&nodes.texts[index]),
            Kind::Integer => self.integer(&nodes.numbers[index]),
            Kind::Number => self.number(&nodes.numbers[index]),
            Kind::Object => self.object(program, &nodes.objects[index]),
            Kind::Array => self.array(program, &nodes.arrays[index]),
            Kind::Boolean | Kind::Null | Kind::Any => self.word_or_any(node.kind),
        }
    }

    #[inline(never)]
    fn out_of_line(&mut self, program: &Program, node: NodeId) -> Judged<B::Value> {
        self.value(program, node)
    }

    #[inline(never)]
    fn word_or_any(&mut self, kind: Kind) -> Judged<B::Value> {
        match (kind, self.text.get(self.at)) {
            (Kind::Boolean, Some(b't' | b'f')) | (Kind::Null, Some(b'n')) | (Kind::Any, _) => self.any(),
            _ => Err(self.violation()),
        }
    }

    // Arrays

    #[inline(never)]
    fn array(&mut self, program: &Program, bounds: &Array) -> Judged<B::Value> {
        if self.text.get(self.at) != Some(&b'[') {
            return Err(self.violation());
        }
        self.deeper()?;
        let mark = self.build.open();
        let outer = self.item;
        let mut count = 0;
        if self.first(b']') {
            loop {
                self.item = count as usize;
                self.count(&mut count)?;
                let value = self.value(program, bounds.items)?;
                self.build.item(value);
                if !self.next(b']')? {
                    break;
                }
            }
        }
        self.item = outer;
        if count < bounds.min || count > bounds.max {
            return Err(self.violation());
        }
        self.depth -= 1;
        self.build_with(|build| build.close_array(mark))
    }

    fn any_array(&mut self) -> Judged<B::Value> {
        self.deeper()?;
        let mark = self.build.open();
        let mut count = 0;
        if self.first(b']') {
            loop {
                self.count(&mut count)?;
                let value = self.any()?;
                self.build.item(value);
                if !self.next(b']')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        self.build_with(|build| build.close_array(mark))
    }

    // Objects

    #[inline(never)]
    fn object(&mut self, program: &Program, object: &Object) -> Judged<B::Value> {
        if self.text.get(self.at) != Some(&b'{') {
            return Err(self.violation());
        }
        if object.open {
            return self.open_object(program, object);
        }
        self.deeper()?;
        let context = self.item;
        let (shape, order) = match object.shape(context) {
            Some((shape, order)) => (Some(shape), order),
            None => (None, [].as_slice()),
        };
        let mut expected = order;
        // What came, once it is not what was expected.
        let mut arrived = if shape.is_some() { None } else { Some(Vec::new()) };
        let mut built = self.begin(object.index, shape)?;
        let mut seen = 0_u64;
        if self.first(b'}') {
            let mut slot = 0;
            loop {
                let (guess, rest) = match expected.split_first() {
                    Some((&property, rest)) => (usize::from(property), Some(rest)),
                    None => (object.guess(slot), None),
                };
                let property = self.property(object, slot, guess)?;
                match (rest, &mut arrived) {
                    (Some(rest), None) if property == guess => expected = rest,
                    (_, Some(arrived)) => arrived.push(property as u8),
                    (_, None) => {
                        arrived = Some(astray(&order[..order.len() - expected.len()], property));
                        expected = &[];
                    }
                }
                slot = property + 1;
                let bit = 1_u64 << property;
                if seen & bit != 0 {
                    return Err(self.violation());
                }
                seen |= bit;
                let value = self.value(program, object.expected[property].node)?;
                self.build.member(&mut built, property as u8, value);
                // Compact text: the next key, at once.
                if let Some(b",\"") = self.text.get(self.at..self.at + 2) {
                    self.at += 1;
                    continue;
                }
                if !self.next(b'}')? {
                    break;
                }
            }
        }
        if object.required & !seen != 0 {
            return Err(self.violation());
        }
        self.depth -= 1;
        let shape = match &arrived {
            None if expected.is_empty() => shape,
            None => object.learn_shape(context, &order[..order.len() - expected.len()]),
            Some(arrived) => object.learn_shape(context, arrived),
        };
        self.build_with(|build| build.finish(built, shape))
    }

    /// The property named at the current position, the guessed one or looked up; leaves the position at its value.
    #[inline]
    fn property(&mut self, object: &Object, slot: usize, guess: usize) -> Judged<usize> {
        if self.text.get(self.at) != Some(&b'"') {
            return Err(self.not_json(self.at));
        }
        if let Some(expected) = object.expected.get(guess)
            && let Some(end) = expected.quoted.follows(self.text, self.at + 1)
        {
            self.at = end;
            self.skip_space();
            return Ok(guess);
        }
        self.looked_up(object, slot)
    }

    #[inline(never)]
    fn looked_up(&mut self, object: &Object, slot: usize) -> Judged<usize> {
        self.at += 1;
        let start = self.at;
        let found = match self.plain_end() {
            Some(end) => object.table.find(&self.text[start..end]),
            None => self.escaped(|_, bytes| Ok(object.table.find(bytes)))?,
        };
        let Some(property) = found else { return Err(self.violation()) };
        object.learn(slot, property);
        self.colon()?;
        Ok(property)
    }

    /// An object that may hold members the program does not name.
    fn open_object(&mut self, program: &Program, object: &Object) -> Judged<B::Value> {
        self.deeper()?;
        let mut value = self.build_with(B::open_object)?;
        let mut seen = 0_u64;
        let mut names = Names::default();
        let mut count = 0;
        if self.first(b'}') {
            loop {
                self.count(&mut count)?;
                let name = self.name()?;
                let bytes = name.bytes(self.text);
                if let Some(property) = object.table.find(bytes) {
                    if seen & 1 << property != 0 {
                        return Err(self.violation());
                    }
                    seen |= 1 << property;
                    self.colon()?;
                    let member = self.out_of_line(program, object.properties[property].node)?;
                    self.put(&mut value, Key::Known(object.index, property as u8), member)?;
                } else {
                    if !names.insert(bytes) {
                        return Err(self.violation());
                    }
                    self.foreign_member(&mut value, &name)?;
                }
                if !self.next(b'}')? {
                    break;
                }
            }
        }
        if object.required & !seen != 0 {
            return Err(self.violation());
        }
        self.depth -= 1;
        Ok(value)
    }

    fn any_object(&mut self) -> Judged<B::Value> {
        self.deeper()?;
        let mut value = self.build_with(B::open_object)?;
        let mut names = Names::default();
        let mut count = 0;
        if self.first(b'}') {
            loop {
                self.count(&mut count)?;
                let name = self.name()?;
                if self.unique && !names.insert(name.bytes(self.text)) {
                    return Err(self.violation());
                }
                self.foreign_member(&mut value, &name)?;
                if !self.next(b'}')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(value)
    }

    fn foreign_member(&mut self, object: &mut B::Value, name: &Name) -> Judged<()> {
        self.colon()?;
        let member = self.any()?;
        let bytes = name.bytes(self.text);
        self.put(object, Key::Foreign(bytes, bytes.is_ascii()), member)
    }

    fn put(&mut self, object: &mut B::Value, key: Key<'_>, member: B::Value) -> Judged<()> {
        self.build.put(object, key, member).inspect_err(|_stop| {
            self.trouble = Trouble::Build;
        })
    }

    fn name(&mut self) -> Judged<Name> {
        if self.text.get(self.at) != Some(&b'"') {
            return Err(self.not_json(self.at));
        }
        self.at += 1;
        let start = self.at;
        match self.plain_end() {
            Some(end) => Ok(Name::Plain(start, end)),
            None => self.escaped(|_, bytes| Ok(Name::Unescaped(bytes.into()))),
        }
    }

    // Structure

    /// Enters a container: reads its bracket.
    #[inline]
    fn deeper(&mut self) -> Judged<()> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            return Err(self.limit(Limit::Depth, self.at));
        }
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn count(&mut self, count: &mut u32) -> Judged<()> {
        *count += 1;
        if *count > self.limits.items { Err(self.limit(Limit::Items, self.at)) } else { Ok(()) }
    }

    /// Whether a container has a first member.
    #[inline]
    fn first(&mut self, close: u8) -> bool {
        self.skip_space();
        if self.text.get(self.at) == Some(&close) {
            self.at += 1;
            return false;
        }
        true
    }

    /// Whether a container has a next member.
    #[inline]
    fn next(&mut self, close: u8) -> Judged<bool> {
        self.skip_space();
        match self.text.get(self.at) {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            Some(&byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.not_json(self.at)),
        }
    }

    #[inline]
    fn colon(&mut self) -> Judged<()> {
        self.skip_space();
        if self.text.get(self.at) != Some(&b':') {
            return Err(self.not_json(self.at));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Judged<()> {
        match self.text.get(self.at..self.at + word.len()) {
            Some(found) if same(found, word) => {
                self.at += word.len();
                Ok(())
            }
            _ => Err(self.not_json(self.at)),
        }
    }

    // Trouble

    #[inline]
    fn build_with(&mut self, make: impl FnOnce(&mut B) -> Judged<B::Value>) -> Judged<B::Value> {
        make(&mut self.build).inspect_err(|_stop| {
            self.trouble = Trouble::Build;
        })
    }

    #[inline]
    fn begin(&mut self, object: u32, shape: Option<u8>) -> Judged<B::Object> {
        self.build.begin(object, shape).inspect_err(|_stop| {
            self.trouble = Trouble::Build;
        })
    }

    #[cold]
    #[inline(never)]
    fn violation(&mut self) -> Stop {
        self.trouble = Trouble::Violation;
        Stop
    }

    #[cold]
    #[inline(never)]
    fn not_json(&mut self, at: usize) -> Stop {
        self.trouble = Trouble::Json(at);
        Stop
    }

    #[cold]
    #[inline(never)]
    fn limit(&mut self, limit: Limit, at: usize) -> Stop {
        self.trouble = Trouble::Limit(limit, at);
        Stop
    }
}

/// The properties that came as expected, and the first that did not.
#[cold]
fn astray(before: &[u8], property: usize) -> Vec<u8> {
    let mut arrived = Vec::with_capacity(before.len() + 8);
    arrived.extend_from_slice(before);
    arrived.push(property as u8);
    arrived
}
