//! JSON Schema text → [`Program`], for the keywords OCPP's schemas use and no others.
//!
//! In: schema text, the version whose rules and codes apply, the names its properties have in Python. Refused, each with
//! the place: keywords outside the inventory, references that leave the document or run in circles, objects with more
//! than [`MAX_PROPERTIES`] properties. The inventory is in docs/codec.md §3.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::format::Format;
use crate::program::{Array, Enum, Kind, MAX_PROPERTIES, NodeId, Nodes, Numeric, Object, Program, Property, Text};
use crate::table::CAPACITY;
use crate::version::Version;

/// How a schema is compiled.
#[derive(Debug)]
pub struct Options<'a> {
    /// Whose integers (1.6: draft-04, 2.x: draft-06) and error codes.
    pub version: Version,
    /// Whether `format` is judged.
    pub formats: bool,
    /// Wire name → name in Python; None leaves wire names. A name that is missing stays as it is.
    pub names: Option<&'a HashMap<String, String>>,
}

/// A schema that cannot be compiled: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError(pub String);

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SchemaError {}

type Result<T> = std::result::Result<T, SchemaError>;

const ANY: NodeId = NodeId::ANY;

/// Bounds up to here are exact, and written alike by everybody.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// Keywords that say nothing about validity.
const ANNOTATIONS: [&str; 10] =
    ["$schema", "id", "$id", "title", "description", "comment", "$comment", "javaType", "default", "examples"];

/// Keywords that are judged; `additionalItems` has no effect beside an `items` schema.
const ASSERTIONS: [&str; 15] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "enum",
    "maxLength",
    "items",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "multipleOf",
    "format",
    "additionalItems",
    "definitions",
];

/// Compiles a schema.
pub fn compile(schema: &[u8], options: &Options<'_>) -> Result<Program> {
    let schema: Value =
        serde_json::from_slice(schema).map_err(|error| SchemaError(format!("schema is not JSON: {error}")))?;
    let mut compiler = Compiler {
        document: &schema,
        options,
        nodes: Nodes::default(),
        strings: Vec::new(),
        definitions: HashMap::new(),
        open_references: Vec::new(),
    };
    let root = compiler.node(&schema, "")?;
    let Compiler { nodes, strings, .. } = compiler;
    Ok(Program { nodes, root, strings, version: options.version })
}

struct Compiler<'a> {
    document: &'a Value,
    options: &'a Options<'a>,
    nodes: Nodes,
    strings: Vec<Box<str>>,
    definitions: HashMap<&'a str, NodeId>,
    open_references: Vec<&'a str>,
}

impl<'a> Compiler<'a> {
    fn node(&mut self, schema: &'a Value, at: &str) -> Result<NodeId> {
        let Value::Object(schema) = schema else {
            return Err(refuse(at, "must be an object: boolean schemas are not supported"));
        };
        if let Some(reference) = schema.get("$ref") {
            return self.reference(schema, reference, at);
        }
        for keyword in schema.keys() {
            if !ASSERTIONS.contains(&&**keyword) && !ANNOTATIONS.contains(&&**keyword) {
                return Err(refuse(at, &format!("keyword {keyword:?} is outside the inventory of OCPP's schemas")));
            }
        }
        match schema.get("type") {
            Some(Value::String(name)) => match &**name {
                "boolean" => Ok(NodeId::new(Kind::Boolean, 0)),
                "null" => Ok(NodeId::new(Kind::Null, 0)),
                "integer" => self.numeric(Kind::Integer, schema, at),
                "number" => self.numeric(Kind::Number, schema, at),
                "string" => self.string(schema, at),
                "array" => self.array(schema, at),
                "object" => self.object(schema, at),
                other => Err(refuse(at, &format!("type {other:?} is unknown"))),
            },
            Some(_) => Err(refuse(at, "type must be one name: lists of types are not supported")),
            None => match schema.keys().find(|key| ASSERTIONS.contains(&&***key) && **key != "definitions") {
                Some(keyword) => Err(refuse(at, &format!("keyword {keyword:?} needs a type beside it"))),
                None => Ok(ANY),
            },
        }
    }

    fn reference(&mut self, schema: &'a Map<String, Value>, reference: &'a Value, at: &str) -> Result<NodeId> {
        if let Some(other) =
            schema.keys().find(|key| !["$ref", "definitions"].contains(&&***key) && !ANNOTATIONS.contains(&&***key))
        {
            return Err(refuse(at, &format!("keyword {other:?} beside $ref would have no effect")));
        }
        let name = reference
            .as_str()
            .and_then(|text| text.strip_prefix("#/definitions/"))
            .filter(|name| !name.contains(['/', '~', '%']))
            .ok_or_else(|| refuse(at, "$ref must be \"#/definitions/<name>\""))?;
        if let Some(&id) = self.definitions.get(name) {
            return Ok(id);
        }
        let target = self
            .document
            .get("definitions")
            .and_then(|definitions| definitions.get(name))
            .ok_or_else(|| refuse(at, &format!("$ref names {name:?}, which is not in definitions")))?;
        if self.open_references.contains(&name) {
            return Err(refuse(at, &format!("$ref to {name:?} runs in a circle: recursive schemas are not supported")));
        }
        self.open_references.push(name);
        let id = self.node(target, &format!("/definitions/{name}"))?;
        self.open_references.pop();
        self.definitions.insert(name, id);
        Ok(id)
    }

    fn numeric(&mut self, kind: Kind, schema: &Map<String, Value>, at: &str) -> Result<NodeId> {
        let bound = |keyword: &str| match schema.get(keyword) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if number.abs() <= LARGEST => Ok(Some(number)),
                _ => Err(refuse(at, &format!("{keyword} must be a number between -2^53 and 2^53"))),
            },
        };
        let (minimum, maximum) = (bound("minimum")?, bound("maximum")?);
        let places = match bound("multipleOf")? {
            None => None,
            Some(step) => Some(
                (0..=15_u32)
                    .find(|&places| format!("1e-{places}").parse() == Ok(step))
                    .ok_or_else(|| refuse(at, "multipleOf must be 1, 0.1, 0.01 … (a power of ten)"))?,
            ),
        };
        let free = minimum.is_none() && maximum.is_none() && places.is_none();
        let whole = self.options.version != Version::V16;
        self.nodes.numbers.push(Numeric { minimum, maximum, places, whole, free });
        Ok(NodeId::new(kind, self.nodes.numbers.len() - 1))
    }

    fn string(&mut self, schema: &Map<String, Value>, at: &str) -> Result<NodeId> {
        let format = match schema.get("format") {
            None => None,
            Some(name) => Some(
                name.as_str()
                    .and_then(Format::from_name)
                    .ok_or_else(|| refuse(at, &format!("format {name} is not date-time or uri")))?,
            ),
        };
        let text = Text {
            max_length: count(schema, "maxLength", at)?.map_or(usize::MAX, |length| length as usize),
            format: format.filter(|_| self.options.formats),
        };
        let Some(values) = schema.get("enum") else {
            self.nodes.texts.push(text);
            return Ok(NodeId::new(Kind::Text, self.nodes.texts.len() - 1));
        };
        let values = values.as_array().ok_or_else(|| refuse(at, "enum must be an array"))?;
        let mut names: Vec<&str> = Vec::with_capacity(values.len());
        for value in values {
            match value.as_str() {
                Some(name) if !names.contains(&name) => names.push(name),
                Some(_) => {}
                None => return Err(refuse(at, "enum must hold strings only")),
            }
        }
        if names.len() > CAPACITY {
            return Err(refuse(at, &format!("enum has more than {CAPACITY} values")));
        }
        let strings = names.iter().map(|name| self.string_index(name)).collect();
        self.nodes.enums.push(Enum::new(&names, strings, text));
        Ok(NodeId::new(Kind::Enum, self.nodes.enums.len() - 1))
    }

    fn string_index(&mut self, name: &str) -> u32 {
        let found = self.strings.iter().position(|known| **known == *name);
        found.unwrap_or_else(|| {
            self.strings.push(name.into());
            self.strings.len() - 1
        }) as u32
    }

    fn array(&mut self, schema: &'a Map<String, Value>, at: &str) -> Result<NodeId> {
        let items = match schema.get("items") {
            None => ANY,
            Some(items @ Value::Object(_)) => self.node(items, &format!("{at}/items"))?,
            Some(_) => return Err(refuse(at, "items must be one schema: tuples are not supported")),
        };
        let bound = |keyword| count(schema, keyword, at);
        let array = Array {
            items,
            min: bound("minItems")?.map_or(0, |count| count.min(u64::from(u32::MAX)) as u32),
            max: bound("maxItems")?.map_or(u32::MAX, |count| count.min(u64::from(u32::MAX)) as u32),
        };
        self.nodes.arrays.push(array);
        Ok(NodeId::new(Kind::Array, self.nodes.arrays.len() - 1))
    }

    fn object(&mut self, schema: &'a Map<String, Value>, at: &str) -> Result<NodeId> {
        let open = match schema.get("additionalProperties") {
            None => true,
            Some(Value::Bool(false)) => false,
            Some(_) => return Err(refuse(at, "additionalProperties must be false or left out")),
        };
        let mut properties = Vec::new();
        match schema.get("properties") {
            None => {}
            Some(Value::Object(members)) => {
                for (wire, value) in members {
                    let node = self.node(value, &format!("{at}/properties/{wire}"))?;
                    properties.push(Property::new(wire, self.name(wire), node));
                }
            }
            Some(_) => return Err(refuse(at, "properties must be an object")),
        }
        let mut required = Vec::new();
        if let Some(names) = schema.get("required") {
            let names = names.as_array().ok_or_else(|| refuse(at, "required must be an array"))?;
            for name in names {
                let name = name.as_str().ok_or_else(|| refuse(at, "required must hold strings only"))?;
                let position = properties.iter().position(|property| *property.wire == *name);
                let position = match position {
                    Some(position) => position,
                    None if open => {
                        properties.push(Property::new(name, self.name(name), ANY));
                        properties.len() - 1
                    }
                    None => return Err(refuse(at, &format!("required names {name:?}, which no object may hold"))),
                };
                required.push(position);
            }
        }
        if properties.len() > MAX_PROPERTIES {
            return Err(refuse(at, &format!("an object may have at most {MAX_PROPERTIES} properties")));
        }
        let mut names: Vec<&str> = properties.iter().map(|property| &*property.name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(refuse(at, "two properties would have the same name"));
        }
        let mut required: Vec<u8> = required.into_iter().map(|position| position as u8).collect();
        let mut seen = 0_u64;
        required.retain(|&position| {
            let new = seen & 1 << position == 0;
            seen |= 1 << position;
            new
        });
        let index = self.nodes.objects.len();
        let renamed = self.options.names.is_some();
        self.nodes.objects.push(Object::new(index as u32, properties, renamed, required.into(), open));
        Ok(NodeId::new(Kind::Object, index))
    }

    fn name<'n>(&self, wire: &'n str) -> &'n str
    where
        'a: 'n,
    {
        let names: Option<&'a HashMap<String, String>> = self.options.names;
        names.and_then(|names| names.get(wire)).map_or(wire, |name| &**name)
    }
}

#[expect(clippy::cast_sign_loss, reason = "negative counts are refused before")]
fn count(schema: &Map<String, Value>, keyword: &str, at: &str) -> Result<Option<u64>> {
    match schema.get(keyword) {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .filter(|count| (0.0..=LARGEST).contains(count) && count.fract() == 0.0)
            .map(|count| Some(count as u64))
            .ok_or_else(|| refuse(at, &format!("{keyword} must be a whole number that is not negative"))),
    }
}

fn refuse(at: &str, what: &str) -> SchemaError {
    SchemaError(format!("schema at {}: {what}", if at.is_empty() { "its root" } else { at }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(schema: &str) -> String {
        compile(schema.as_bytes(), &Options { version: Version::V201, formats: true, names: None })
            .map(|_| ())
            .unwrap_err()
            .0
    }

    #[test]
    fn what_is_outside_the_inventory_is_refused_with_its_place() {
        for (schema, part) in [
            (r#"{"type":"string","pattern":"a"}"#, "pattern"),
            (r#"{"type":"object","properties":{"a":{"oneOf":[]}}}"#, "/properties/a"),
            (r#"{"type":["string","null"]}"#, "lists of types"),
            (r#"{"$ref":"other.json"}"#, "#/definitions/"),
            (
                r##"{"$ref":"#/definitions/A","definitions":{"A":{"type":"array","items":{"$ref":"#/definitions/A"}}}}"##,
                "circle",
            ),
            (r#"{"type":"number","multipleOf":0.25}"#, "power of ten"),
            (r#"{"enum":["a"]}"#, "needs a type"),
            (r#"{"type":"string","format":"email"}"#, "format"),
            ("true", "boolean schemas"),
            ("{", "not JSON"),
        ] {
            let text = error(schema);
            assert!(text.contains(part), "{schema}: {text}");
        }
    }
}
