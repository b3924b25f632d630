//! OCPP-J over bytes and MQTT topics, without Python.
//!
//! In: UTF-8 text from a WebSocket, and JSON Schema text from OCPP's files. Out: judged values handed to a [`build::Build`],
//! compact JSON, or a verdict that says what broke, where, and what may be answered. Refused: anything that is not RFC 8259
//! JSON, not a frame of the version at hand, or beyond the [`limits::Limits`].
//!
//! ```text
//! bytes ─ frame ─▶ head + payload text ─ pass(Program) ─▶ values
//!                         └─ dom ─ explain(Program) ─▶ violations ─ reply ─▶ bytes
//! ```
//!
//! The pass is quick and only knows "good" or "stop"; whatever stops it is read again, slowly and in full, by
//! [`frame::diagnose`] and [`explain::explain`], which are the rules in plain form.

#![forbid(unsafe_code)]

pub mod build;
pub mod dom;
pub mod explain;
pub mod format;
pub mod frame;
pub mod limits;
pub mod log;
pub mod number;
pub mod pass;
pub mod program;
pub mod reply;
pub mod route;
pub mod schema;
pub mod table;
pub mod text;
pub mod version;
pub mod violation;
pub mod word;
pub mod write;
