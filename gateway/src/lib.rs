//! CRI as JSON over HTTP.
//!
//! Routes, parameters and answers follow the table of `critape-openapi`, so this room holds no list of its own: it turns a
//! request into the message of an RPC, asks the runtime, and prints the answer as crictl would. Every request asks the
//! runtime; nothing is kept and no two requests are merged. Whatever fails becomes problem details (RFC 9457) with the
//! gRPC status inside.
//!
//! CRI is root on its node, so the door is narrow: a unix socket of mode 0600, or a loopback port with a token, `Host` and
//! `Origin` checked against web pages that reach for it. Any other address is refused.
//!
//! Start from [`Listen`] and [`Listener`] (where it listens), [`Config`] and [`Token`] (what it needs to know), and
//! [`serve`]; [`router`] is the same without a socket.

mod auth;
mod blame;
mod body;
mod call;
mod config;
mod docs;
mod exchange;
mod guard;
mod listen;
mod parameters;
mod problem;
mod router;
mod server;
mod status;
mod upstream;

pub use auth::{Auth, Token, TokenError};
pub use config::Config;
pub use listen::{Listen, ListenError};
pub use router::router;
pub use server::{BindError, Listener, ServeError, serve};
