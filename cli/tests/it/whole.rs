//! The whole program: runtime, recorder, clients, tapes and replays over real sockets.

mod cleans;
mod diffs;
mod flags;
mod generations;
mod gone;
mod judges;
mod listens;
mod preflights;
mod program;
mod records;
mod repairs;
mod replays;
mod reports;
mod shows;
mod slices;
mod stands_in;
mod streams;
mod survives;
