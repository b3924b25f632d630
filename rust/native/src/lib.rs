//! `evcore._native`: evcore-core for Python. Conversions only; the rules live in the core.
//!
//! One file per noun: messages, programs, the codec, the router; `objects` builds Python values in the judging pass, `writer` and
//! `live` read them, `errors` raises the exceptions that Python defines. `unsafe` stands only where objects are built or read
//! through the C API: `objects`, `template`, `strings`, `writer`, `input`.

mod codec;
mod decode;
mod encode;
mod errors;
mod input;
mod live;
mod log;
mod message;
mod named;
mod objects;
mod program;
mod route;
mod strings;
mod template;
mod writer;

// The writer reads dicts and lists in place, which only the GIL keeps still: a free-threaded interpreter turns it on.
#[pyo3::pymodule(gil_used = true)]
mod _native {
    #[pymodule_export]
    use crate::codec::Codec;
    #[pymodule_export]
    use crate::log::Linter;
    #[pymodule_export]
    use crate::message::{Call, CallError, CallResult, CallResultError, Send, restore};
    #[pymodule_export]
    use crate::program::Program;
    #[pymodule_export]
    use crate::route::Router;
}
