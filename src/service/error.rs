//! An error of a server, or on the way to it, and what it means.

use super::tls::is_distrust;
use crate::failure::{Exit, Failure};

/// What an error means: who has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// The server takes no such value or row: the row is a reject.
    Refused,
    /// The server answered that it cannot do it now. The same request may succeed later, on the same connection.
    Retry,
    /// The connection could not be made, broke, or fell silent. What became of the request is unknown; another
    /// connection is needed.
    Reconnect,
    /// The server refuses the user or the permission.
    Denied,
    /// What was asked for is not there: a database, a table, a stream.
    Missing,
    /// No service that could be used is there: it speaks another language, or its certificate is not trusted.
    Unusable,
    /// The server would say the same again: no room, a statement that cannot be run, an answer without sense.
    Permanent,
    /// The program used the server wrongly.
    Ours,
}

/// One error, classified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceError {
    /// What it means.
    pub(crate) class: ErrorClass,
    /// For people: the server's own words where they are its.
    pub(crate) message: String,
    /// The server's code, where it gave one.
    pub(crate) code: Option<String>,
    /// Is it an answer to the request? Then it is known that the request was not carried out, and the connection
    /// can be used again.
    pub(crate) answered: bool,
}

impl ServiceError {
    /// The server answered so.
    pub(crate) fn answer(class: ErrorClass, message: impl Into<String>) -> Self {
        ServiceError { class, message: message.into(), code: None, answered: true }
    }

    /// An error that is not an answer to the request.
    pub(crate) fn silent(class: ErrorClass, message: impl Into<String>) -> Self {
        ServiceError { class, message: message.into(), code: None, answered: false }
    }

    /// The connection is lost.
    pub(crate) fn lost(message: impl Into<String>) -> Self {
        ServiceError::silent(ErrorClass::Reconnect, message)
    }

    /// May another attempt succeed?
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.class, ErrorClass::Retry | ErrorClass::Reconnect)
    }

    /// The failure that it leads to, of the server `what`; `missing` is the exit code for what is not there.
    pub(crate) fn failure(&self, missing: Exit, what: &str) -> Failure {
        let exit = match self.class {
            ErrorClass::Refused | ErrorClass::Permanent => Exit::Io,
            ErrorClass::Retry | ErrorClass::Reconnect | ErrorClass::Unusable => Exit::Unavailable,
            ErrorClass::Denied => Exit::NoPermission,
            ErrorClass::Missing => missing,
            ErrorClass::Ours => Exit::Bug,
        };
        Failure::new(exit, format!("{what}: {}", self.message))
    }
}

impl From<std::io::Error> for ServiceError {
    /// Of a connection: it is lost, unless another one would be no better.
    fn from(error: std::io::Error) -> Self {
        let class = match error.kind() {
            std::io::ErrorKind::PermissionDenied => ErrorClass::Denied,
            _ if is_distrust(&error) => ErrorClass::Unusable,
            _ => ErrorClass::Reconnect,
        };
        ServiceError::silent(class, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_exit_code() {
        let cases = [
            (ErrorClass::Refused, Exit::Io),
            (ErrorClass::Retry, Exit::Unavailable),
            (ErrorClass::Reconnect, Exit::Unavailable),
            (ErrorClass::Denied, Exit::NoPermission),
            (ErrorClass::Missing, Exit::CantCreate),
            (ErrorClass::Unusable, Exit::Unavailable),
            (ErrorClass::Permanent, Exit::Io),
            (ErrorClass::Ours, Exit::Bug),
        ];
        for (class, exit) in cases {
            let failure = ServiceError::answer(class, "why").failure(Exit::CantCreate, "what");
            assert_eq!((failure.exit, failure.message.as_str()), (exit, "what: why"));
        }
    }
}
