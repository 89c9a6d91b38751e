//! A small shell: as much of POSIX `sh -c` as tests of a container runtime use.
//!
//! Words with quotes and `$NAME`, assignments, `;`, `&&`, `||`, `while` and `until`, redirections between stdout, stderr
//! and `/dev/null`, and the builtins of [`interpreter`]. Anything else is a syntax error (exit code 2), never something
//! that runs differently from a real shell.

mod interpreter;
mod lexer;
mod parser;
mod syntax;

pub(crate) use interpreter::run;
pub(crate) use parser::parse;
pub(crate) use syntax::Script;
