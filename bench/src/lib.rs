//! Benchmarks, side by side.
