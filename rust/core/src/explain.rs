//! What is wrong with a value, all of it, in document order: the rules of docs/codec.md §3 in plain form.
//!
//! In: a program and a tree. Out: violations, at most as many as asked for. The quick pass and this page agree on every
//! verdict (property-tested); only this page says why.

use std::collections::HashSet;

use crate::dom::{Dom, Name, Naming, is_integer};
use crate::number;
use crate::program::{Array, Enum, Node, NodeId, Nodes, Numeric, Object, Program, Text};
use crate::text::code_points;
use crate::violation::{Expected, Keyword, Plain, Step, Violation, pointer};

/// Another spelling of a dataclass field → names on the wire it may stand for.
pub type Fields = std::collections::HashMap<String, Vec<String>>;

/// The violations of `value` under `program`, `most` at the most. `fields` resolves [`Naming::Field`] names.
#[must_use]
pub fn explain(program: &Program, fields: &Fields, value: &Dom<'_>, most: usize) -> Vec<Violation> {
    let mut explainer = Explainer { program, fields, most, found: Vec::new() };
    explainer.value(program.root, value, &mut Vec::new());
    explainer.found
}

/// What is wrong with `value` where nothing is asked of it but to be JSON with unique keys.
#[must_use]
pub fn explain_untyped(value: &Dom<'_>, most: usize) -> Vec<Violation> {
    let program = Program {
        root: NodeId::ANY,
        strings: Vec::new(),
        nodes: Nodes::default(),
        version: crate::version::Version::V21,
    };
    explain(&program, &Fields::new(), value, most)
}

impl Object {
    /// The property a key names.
    #[must_use]
    pub fn resolve(&self, name: &str, naming: Naming, fields: &Fields) -> Option<usize> {
        let bytes = name.as_bytes();
        match naming {
            Naming::Wire => self.table.find(bytes),
            Naming::Python => self.find_name(bytes),
            Naming::Field => self.table.find(bytes).or_else(|| self.find_name(bytes)).or_else(|| {
                fields.get(name).and_then(|wires| wires.iter().find_map(|wire| self.table.find(wire.as_bytes())))
            }),
        }
    }
}

struct Explainer<'p> {
    program: &'p Program,
    fields: &'p Fields,
    most: usize,
    found: Vec<Violation>,
}

type Path<'s> = Vec<Step<'s>>;

impl<'p> Explainer<'p> {
    fn add(&mut self, path: &Path<'_>, keyword: Keyword, expected: Expected, message: String) {
        if self.found.len() < self.most {
            let (pointer, safe) = pointer(path);
            self.found.push(Violation { pointer, safe, keyword, expected, message });
        }
    }

    fn value<'s>(&mut self, node: NodeId, value: &'s Dom<'s>, path: &mut Path<'s>)
    where
        'p: 's,
    {
        if self.found.len() >= self.most {
            return;
        }
        let program: &'p Program = self.program;
        match (program.node(node), value) {
            (_, Dom::Deep(limit)) => self.deep(*limit, path),
            (Node::Any, _) => self.untyped(value, path),
            (Node::Boolean, Dom::Boolean(_)) | (Node::Null, Dom::Null) => {}
            (Node::Text(_) | Node::Enum(_), Dom::Surrogate | Dom::Naive) => self.untyped(value, path),
            (Node::Text(bounds), Dom::Text(text)) => self.text(bounds, text, path),
            (Node::Enum(choice), Dom::Text(text)) => self.choice(choice, text, path),
            (Node::Integer(bounds), Dom::Number(text))
                if is_integer(text) || bounds.whole && number::is_multiple(text.as_bytes(), 0) =>
            {
                self.number(bounds, text, path);
            }
            (Node::Number(bounds), Dom::Number(text)) => self.number(bounds, text, path),
            (Node::Integer(_) | Node::Number(_), Dom::Unwritable(_)) => self.untyped(value, path),
            (Node::Array(bounds), Dom::Array(items)) => self.array(bounds, items, path),
            (Node::Object(object), Dom::Object(naming, members)) => self.object(object, *naming, members, path),
            (node, _) => {
                let due = due(node);
                self.add(
                    path,
                    Keyword::Type,
                    Expected::Name(due.into()),
                    format!("must be {due}, is {}", value.kind()),
                );
                if matches!(value, Dom::Array(_) | Dom::Object(..)) {
                    self.untyped(value, path);
                }
            }
        }
    }

    fn text(&mut self, bounds: &Text, text: &str, path: &Path<'_>) {
        if bounds.max_length != usize::MAX && code_points(text.as_bytes()) > bounds.max_length {
            let expected = Expected::Count(bounds.max_length as u64);
            self.add(path, Keyword::MaxLength, expected, format!("is longer than {} characters", bounds.max_length));
        }
        if let Some(format) = bounds.format.filter(|format| !format.holds(text.as_bytes())) {
            let name = format.name();
            self.add(path, Keyword::Format, Expected::Name(name.into()), format!("is not a valid {name}"));
        }
    }

    fn choice(&mut self, choice: &Enum, text: &str, path: &Path<'_>) {
        if choice.table.find(text.as_bytes()).is_none() {
            let values: Box<[Box<str>]> =
                choice.strings.iter().map(|&string| self.program.strings[string as usize].clone()).collect();
            let message = format!("is not one of the {} allowed values", values.len());
            self.add(path, Keyword::Enum, Expected::Values(values), message);
        }
        self.text(&choice.text, text, path);
    }

    fn number(&mut self, bounds: &Numeric, text: &str, path: &Path<'_>) {
        // A live integer may lie beyond the doubles; it compares as infinite.
        let value: f64 = text.parse().unwrap_or(f64::NAN);
        if let Some(minimum) = bounds.minimum.filter(|&minimum| value < minimum) {
            self.add(path, Keyword::Minimum, Expected::Number(minimum), format!("is below {}", Plain(minimum)));
        }
        if let Some(maximum) = bounds.maximum.filter(|&maximum| value > maximum) {
            self.add(path, Keyword::Maximum, Expected::Number(maximum), format!("is above {}", Plain(maximum)));
        }
        if let Some(places) = bounds.places.filter(|&places| !number::is_multiple(text.as_bytes(), places)) {
            let step: f64 = format!("1e-{places}").parse().unwrap_or(f64::NAN);
            self.add(
                path,
                Keyword::MultipleOf,
                Expected::Number(step),
                format!("is not a multiple of {}", Plain(step)),
            );
        }
    }

    fn array<'s>(&mut self, bounds: &'p Array, items: &'s [Dom<'s>], path: &mut Path<'s>)
    where
        'p: 's,
    {
        for (index, item) in items.iter().enumerate() {
            path.push(Step::Index(index));
            self.value(bounds.items, item, path);
            path.pop();
        }
        if items.len() < bounds.min as usize {
            let expected = Expected::Count(u64::from(bounds.min));
            self.add(path, Keyword::MinItems, expected, format!("has fewer than {} items", bounds.min));
        }
        if items.len() > bounds.max as usize {
            let expected = Expected::Count(u64::from(bounds.max));
            self.add(path, Keyword::MaxItems, expected, format!("has more than {} items", bounds.max));
        }
    }

    fn object<'s>(
        &mut self,
        object: &'p Object,
        naming: Naming,
        members: &'s [(Name<'s>, Dom<'s>)],
        path: &mut Path<'s>,
    ) where
        'p: 's,
    {
        let mut seen = 0_u64;
        let mut names = HashSet::new();
        for (name, value) in members {
            let Name::Text(name) = name else {
                self.bad_key(path);
                continue;
            };
            match object.resolve(name, naming, self.fields) {
                Some(index) => {
                    path.push(Step::Known(&object.properties[index].wire));
                    if seen & 1 << index != 0 {
                        self.twice(path);
                    }
                    seen |= 1 << index;
                    self.value(object.properties[index].node, value, path);
                }
                None => {
                    path.push(Step::Foreign(name));
                    if !names.insert(name) {
                        self.twice(path);
                    }
                    if !object.open {
                        let message = "is not a property of this object".to_owned();
                        self.add(path, Keyword::AdditionalProperties, Expected::Nothing, message);
                    }
                    self.untyped(value, path);
                }
            }
            path.pop();
        }
        for &index in &object.required_order {
            if seen & 1 << index == 0 {
                let name = &object.properties[usize::from(index)].wire;
                let message = format!("lacks the required property {name}");
                self.add(path, Keyword::Required, Expected::Name(name.clone()), message);
            }
        }
    }

    fn untyped<'s>(&mut self, value: &'s Dom<'s>, path: &mut Path<'s>) {
        if self.found.len() >= self.most {
            return;
        }
        match value {
            Dom::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(Step::Index(index));
                    self.untyped(item, path);
                    path.pop();
                }
            }
            Dom::Object(_, members) => {
                let mut names = HashSet::new();
                for (name, value) in members {
                    let Name::Text(name) = name else {
                        self.bad_key(path);
                        continue;
                    };
                    path.push(Step::Foreign(name));
                    if !names.insert(name) {
                        self.twice(path);
                    }
                    self.untyped(value, path);
                    path.pop();
                }
            }
            Dom::Unwritable(what) => {
                let expected = Expected::Name("number".into());
                self.add(path, Keyword::Type, expected, format!("must be number, is {what}"));
            }
            Dom::Foreign(name) => {
                let expected = Expected::Name("JSON value".into());
                self.add(path, Keyword::Type, expected, format!("must be JSON value, is {name}"));
            }
            Dom::Surrogate => {
                self.add(path, Keyword::Utf8, Expected::Nothing, "holds a lone surrogate".to_owned());
            }
            Dom::Naive => {
                let expected = Expected::Name("date-time".into());
                self.add(path, Keyword::Format, expected, "is not a valid date-time".to_owned());
            }
            Dom::Deep(limit) => self.deep(*limit, path),
            Dom::Null | Dom::Boolean(_) | Dom::Number(_) | Dom::Text(_) => {}
        }
    }

    fn twice(&mut self, path: &Path<'_>) {
        self.add(path, Keyword::UniqueKeys, Expected::Nothing, "is given more than once".to_owned());
    }

    fn bad_key(&mut self, path: &Path<'_>) {
        let expected = Expected::Name("string".into());
        self.add(path, Keyword::Type, expected, "must have keys of type string".to_owned());
    }

    fn deep(&mut self, limit: u32, path: &Path<'_>) {
        let message = format!("is nested deeper than {limit} levels");
        self.add(path, Keyword::Depth, Expected::Count(u64::from(limit)), message);
    }
}

/// The type a node asks for.
fn due(node: Node<'_>) -> &'static str {
    match node {
        Node::Any => "JSON value",
        Node::Boolean => "boolean",
        Node::Null => "null",
        Node::Integer(_) => "integer",
        Node::Number(_) => "number",
        Node::Text(_) | Node::Enum(_) => "string",
        Node::Array(_) => "array",
        Node::Object(_) => "object",
    }
}
