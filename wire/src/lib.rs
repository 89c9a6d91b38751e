//! HTTP/2 and gRPC seen from outside: bytes in, events out.
//!
//! [`Observer`] is fed a copy of what the two ends of a connection send each other and tells a [`Sink`] what
//! was said: header blocks, whole gRPC messages, ends, resets. It judges nothing: where the two ends can go on
//! understanding each other, so does it; where it can't, it says [`Event::Lost`] once and is silent.
//!
//! [`AuthorityFilter`] is the other user of the same parts: it stands in front of a server built on `h2` and
//! replaces the `:authority` values that `h2` refuses.
//!
//! This crate never opens a socket, never waits, never looks at a clock, and takes bounded memory ([`Limits`])
//! whatever it is fed.

mod authority;
mod event;
mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod hpack;
mod message;
mod observer;
mod side;
mod stream;

pub use authority::AuthorityFilter;
pub use event::{Event, Header, Limits, LostReason, Side, Sink};
pub use frame::FrameError;
pub use observer::Observer;
