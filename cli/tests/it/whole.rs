//! The whole program: runtime, recorder, clients, tapes and replays over real sockets.

mod diffs;
mod flags;
mod generations;
mod judges;
mod listens;
mod program;
mod records;
mod repairs;
mod replays;
mod reports;
mod shows;
mod streams;
mod survives;
