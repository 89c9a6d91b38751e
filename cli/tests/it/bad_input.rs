//! Bad input: one to three lines that say what happened and what to do, exit code 3, nothing left behind.

mod endpoints;
mod files;
mod permissions;
mod tapes;
mod usage;
