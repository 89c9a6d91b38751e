//! What an operator meets: metrics, service managers, signals, and the runtime's own path.

mod metrics;
mod service;
mod takeover;
