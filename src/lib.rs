//! The Container Runtime Interface as every other room sees it.
//!
//! Holds the three generations of the schema (`proto/`), their descriptors, and what the schema itself doesn't say: for
//! every RPC whether it changes anything, and where in its messages ids live (`src/data/methods.toml`). It never opens a
//! socket unless the `client` feature is on, and it knows nothing of recordings.
//!
//! Start from [`methods`] (the table of RPCs), [`FieldPath`] (how a field is named), [`json`] (messages as crictl prints
//! them), [`alpha`] (what v1alpha1 said, in the terms of v1) and [`Endpoint`] (where a runtime listens).

pub mod alpha;
mod descriptors;
pub mod endpoint;
mod field_path;
pub mod json;
mod methods;
pub mod wire;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "listen")]
pub mod listen;

pub use descriptors::{descriptor_set, generations, pool};
pub use endpoint::Endpoint;
pub use field_path::{FieldPath, Leaf, PathError, Step};
pub use methods::{Class, Generation, IdentityKind, IdentityPath, Method, MethodTable, Service, methods};

/// Generated messages of the current generation, and its tonic servers with the `server` feature.
#[allow(missing_docs, clippy::pedantic, rust_2018_idioms)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/runtime.v1.rs"));
}

/// The largest message a CRI client accepts (kubelet and containerd: 16 MiB).
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
