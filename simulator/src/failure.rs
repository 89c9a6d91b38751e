//! How calls fail, in containerd's codes and words.
//!
//! containerd gives a code only to errors that carry a class (not found, unavailable …); whatever else goes wrong leaves
//! it as `UNKNOWN`, with the text as the only clue.

use tonic::Status;

use crate::index::LookupError;

/// An error without a class.
pub(crate) fn plain(text: impl Into<String>) -> Status {
    Status::unknown(text)
}

/// `context`, then why the id names nothing.
pub(crate) fn lookup(context: impl AsRef<str>, error: &LookupError) -> Status {
    let text = format!("{}: {error}", context.as_ref());
    match error {
        LookupError::Missing => Status::not_found(text),
        LookupError::Ambiguous(_) | LookupError::Empty => Status::unknown(text),
    }
}

/// What most calls say that name no sandbox.
pub(crate) fn no_sandbox(id: &str, error: &LookupError) -> Status {
    lookup(format!("an error occurred when try to find sandbox {id:?}"), error)
}

/// What most calls say that name no container.
pub(crate) fn no_container(id: &str, error: &LookupError) -> Status {
    lookup(format!("an error occurred when try to find container {id:?}"), error)
}

/// What a call says that needs a ready sandbox.
pub(crate) fn sandbox_not_running(id: &str) -> Status {
    plain(format!("sandbox container {id:?} is not running"))
}

/// What a call says that asks for a name that another object has.
pub(crate) fn reserved(context: impl AsRef<str>, name: &str, holder: &str) -> Status {
    Status::failed_precondition(format!("{}: name {name:?} is reserved for {holder:?}", context.as_ref()))
}

/// What grpc-go says of a method that a service lacks.
pub(crate) fn unknown_method(method: &str, service: &str) -> Status {
    Status::unimplemented(format!("unknown method {method} for service {service}"))
}
