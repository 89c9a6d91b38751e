//! Faults of the recorder and around it: whatever breaks, no call may fail or wait for it, and the tape says what is missing.

mod bytes;
mod connections;
mod disk;
mod kill;
mod load;
mod room;
mod store;
mod task;
mod upstream;
mod writer;
