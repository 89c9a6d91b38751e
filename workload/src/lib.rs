//! What kubelets do to a runtime, made short.
//!
//! Clients that drive a CRI endpoint, for the demo, tests and benchmarks: [`demo()`], three pods in as many seconds, and
//! [`broad()`], forty pods and whatever else has ever brought a fault of a runtime to light. They know nothing of recorders
//! and simulators; what they ask of a runtime is the same in each run of one seed, but for the timing.

mod broad;
mod demo;
mod kubelet;

pub use broad::broad;
pub use demo::demo;
pub use kubelet::WorkloadError;
