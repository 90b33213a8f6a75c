//! What an error of the server, or on the way to it, means: will it heal, or what exit code.

use std::{error::Error, io, iter};

use tonic::{Code, transport};

use super::wire;
use crate::failure::{Exit, Failure};

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// It may be gone when tried again.
    Heals,
    /// The server refuses the key, or what it may see.
    Denied,
    /// A stream, a collection or a version is not there.
    Missing,
    /// There is no service that could be used: it speaks otherwise, or its certificate is not trusted.
    Unusable,
    /// Anything else: an answer that makes no sense, an error that stays.
    Broken,
}

/// One error, classified.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    /// What kind it is.
    pub(super) nature: Nature,
    /// For people.
    pub(super) message: String,
    /// The code inside the answer, where it is that which says so.
    pub(super) code: Option<u32>,
}

impl Trouble {
    /// Trouble that is not an answer's.
    pub(super) fn new(nature: Nature, message: impl Into<String>) -> Trouble {
        Trouble { nature, message: message.into(), code: None }
    }

    /// The failure that it leads to.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let exit = match self.nature {
            Nature::Heals | Nature::Unusable => Exit::Unavailable,
            Nature::Denied => Exit::NoPermission,
            Nature::Missing => Exit::InputMissing,
            Nature::Broken => Exit::Io,
        };
        Failure::new(exit, format!("{what}: {}", self.message))
    }

    /// There is no point where one was looked for.
    pub(super) fn is_no_point(&self) -> bool {
        matches!(self.code, Some(NO_SUCH_POINT | STREAM_EMPTY))
    }

    /// The stream is not there, or no more.
    pub(super) fn is_no_stream(&self) -> bool {
        self.code == Some(NO_SUCH_STREAM)
    }
}

const NO_SUCH_POINT: u32 = 401;
const NO_SUCH_STREAM: u32 = 404;
const STREAM_EMPTY: u32 = 456;

/// An error inside an answer.
impl From<&wire::Status> for Trouble {
    fn from(status: &wire::Status) -> Trouble {
        let nature = match status.code {
            NO_SUCH_POINT | NO_SUCH_STREAM | STREAM_EMPTY => Nature::Missing,
            // No such collection, no such version.
            407 | 427 | 450 => Nature::Missing,
            // Out of time, out of resources, and a storage or a lock of the server that is not to be had now.
            402 | 426 | 432 | 434 | 440 | 453 | 455 | 459 => Nature::Heals,
            _ => Nature::Broken,
        };
        let message = format!("error {}: {}", status.code, status.msg);
        Trouble { nature, message, code: Some(status.code) }
    }
}

/// An error of the call itself.
impl From<tonic::Status> for Trouble {
    fn from(status: tonic::Status) -> Trouble {
        // What came over the connection has no cause; a cause is of the connection.
        let lost = status.source().is_some();
        let nature = match status.code() {
            _ if status.source().is_some_and(is_distrust) => Nature::Unusable,
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted | Code::Cancelled => {
                Nature::Heals
            }
            Code::Unauthenticated | Code::PermissionDenied => Nature::Denied,
            Code::NotFound => Nature::Missing,
            Code::Unimplemented => Nature::Unusable,
            _ if lost => Nature::Heals,
            _ => Nature::Broken,
        };
        let said = if status.message().is_empty() { status.code().description() } else { status.message() };
        let mut message = chain(said.to_owned(), status.source());
        if nature == Nature::Unusable && !lost {
            message = format!("this is no server of BTrDB's version 5: {message}");
        }
        Trouble::new(nature, message)
    }
}

/// An error of connecting.
impl From<transport::Error> for Trouble {
    fn from(error: transport::Error) -> Trouble {
        let nature = if is_distrust(&error) { Nature::Unusable } else { Nature::Heals };
        Trouble::new(nature, chain(error.to_string(), error.source()))
    }
}

/// Is it the server's certificate, or its side of TLS, that is not accepted? Trying again would not help.
fn is_distrust(error: &(dyn Error + 'static)) -> bool {
    causes(Some(error))
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

/// An error, what caused it, and so on.
fn causes<'a>(first: Option<&'a (dyn Error + 'static)>) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(first, |cause: &&'a (dyn Error + 'static)| (**cause).source())
}

/// A message and what caused it, each said once.
fn chain(mut text: String, cause: Option<&(dyn Error + 'static)>) -> String {
    for cause in causes(cause) {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn codes_of_calls_are_told_apart() {
        let cases = [
            (Code::Unavailable, Nature::Heals, Exit::Unavailable),
            (Code::DeadlineExceeded, Nature::Heals, Exit::Unavailable),
            (Code::ResourceExhausted, Nature::Heals, Exit::Unavailable),
            (Code::Unauthenticated, Nature::Denied, Exit::NoPermission),
            (Code::PermissionDenied, Nature::Denied, Exit::NoPermission),
            (Code::NotFound, Nature::Missing, Exit::InputMissing),
            (Code::Unimplemented, Nature::Unusable, Exit::Unavailable),
            (Code::Internal, Nature::Broken, Exit::Io),
            (Code::Unknown, Nature::Broken, Exit::Io),
            (Code::OutOfRange, Nature::Broken, Exit::Io),
        ];
        for (code, nature, exit) in cases {
            let trouble = Trouble::from(Status::new(code, "why"));
            assert_eq!((trouble.nature, trouble.failure("what").exit), (nature, exit), "{code:?}");
            assert!(trouble.message.ends_with("why"), "{trouble:?}");
        }
        let silent = Trouble::from(Status::new(Code::Aborted, "")).message;
        assert_eq!(silent, Code::Aborted.description());
    }

    #[test]
    fn a_lost_connection_heals_and_a_bad_certificate_does_not() {
        let lost = |kind| Status::from_error(Box::new(io::Error::new(kind, "gone")));
        assert_eq!(Trouble::from(lost(io::ErrorKind::ConnectionReset)).nature, Nature::Heals);
        assert_eq!(Trouble::from(lost(io::ErrorKind::InvalidData)).nature, Nature::Unusable);
    }

    #[test]
    fn codes_inside_answers_are_told_apart() {
        let cases = [
            (401, Nature::Missing),
            (402, Nature::Heals),
            (404, Nature::Missing),
            (407, Nature::Missing),
            (413, Nature::Broken),
            (415, Nature::Broken),
            (425, Nature::Broken),
            (426, Nature::Heals),
            (450, Nature::Missing),
            (456, Nature::Missing),
            (459, Nature::Heals),
            (500, Nature::Broken),
            (9999, Nature::Broken),
        ];
        for (code, nature) in cases {
            let trouble = Trouble::from(&wire::Status { code, msg: "why".into() });
            assert_eq!((trouble.nature, trouble.message), (nature, format!("error {code}: why")));
            assert_eq!(Trouble::from(&wire::Status { code, msg: String::new() }).is_no_stream(), code == 404);
        }
    }
}
