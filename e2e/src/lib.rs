//! Tests against real runtimes.
