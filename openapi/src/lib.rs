//! What the HTTP API offers, and the OpenAPI document that says so.
//!
//! There is one table, [`operations`]: the gateway routes by it and [`document`] is written from it, so that neither can
//! offer what the other doesn't know. Messages become schemas by a walk over their descriptors, comments included; nothing
//! is derived from Rust types, whose JSON would be another one. This room opens no sockets and knows nothing of axum.
//!
//! Start from [`Operation`] (one verb on one path, and the RPC behind it) and [`document`]. The document is committed as
//! `cri-v1.json`; a test writes it anew and compares.

mod comments;
mod document;
mod operations;
mod parameters;
mod problem;
mod resources;
mod schemas;

pub use document::document;
pub use operations::{Input, Operation, Tag, Verb, operations};
pub use parameters::{Choice, Form, Parameter, Place};

/// Where the API document is served, without a token.
pub const DOCUMENT_PATH: &str = "/openapi.json";

/// Where the gateway says that it is alive, without a token.
pub const HEALTH_PATH: &str = "/healthz";
