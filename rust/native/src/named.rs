//! A payload that breaks its schema, as Python objects all the same: under the names the schema has for what it knows.

use evcore_core::dom::{Dom, Name};
use evcore_core::program::{Node, NodeId};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::program::Program;

/// The tree of a received payload; the last one of duplicate members stays.
pub fn named<'py>(py: Python<'py>, program: &Program, value: &Dom<'_>) -> PyResult<Bound<'py, PyAny>> {
    at(py, program, Some(program.core.root()), value)
}

fn at<'py>(py: Python<'py>, program: &Program, node: Option<NodeId>, value: &Dom<'_>) -> PyResult<Bound<'py, PyAny>> {
    let node = node.map(|node| program.core.node(node));
    match value {
        Dom::Boolean(value) => value.into_bound_py_any(py),
        Dom::Number(text) if text.contains(['.', 'e', 'E']) => text.parse::<f64>()?.into_bound_py_any(py),
        Dom::Number(text) => py.get_type::<pyo3::types::PyInt>().call1((&**text,)),
        Dom::Text(text) => (**text).into_bound_py_any(py),
        Dom::Array(items) => {
            let node = if let Some(Node::Array(array)) = node { Some(array.items) } else { None };
            let list = PyList::empty(py);
            for item in items {
                list.append(at(py, program, node, item)?)?;
            }
            Ok(list.into_any())
        }
        Dom::Object(_, members) => {
            let dict = PyDict::new(py);
            for (name, member) in members {
                let Name::Text(name) = name else { continue };
                let known = match node {
                    Some(Node::Object(object)) => object.table.find(name.as_bytes()).map(|index| {
                        let key = program.objects[object.index as usize].keys[index].bind(py).clone();
                        (key, object.properties[index].node)
                    }),
                    _ => None,
                };
                match known {
                    Some((key, node)) => dict.set_item(key, at(py, program, Some(node), member)?)?,
                    None => dict.set_item(PyString::new(py, name), at(py, program, None, member)?)?,
                }
            }
            Ok(dict.into_any())
        }
        // What remains is null, or never stands in text.
        _ => Ok(py.None().into_bound(py)),
    }
}
