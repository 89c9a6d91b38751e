//! What objects were when they were recorded, and what they are now.

pub(crate) mod binding;
pub(crate) mod lives;
pub(crate) mod moments;
pub(crate) mod shown;
pub(crate) mod trajectory;
pub(crate) mod transient;
