//! What an error of the server, or on the way to it, means.

use std::{error::Error, io, iter};

use tonic::{Code, transport};

use super::wire;
use crate::service::{ErrorClass, ServiceError};

impl ServiceError {
    /// There is no point where one was looked for.
    pub(in crate::sources) fn is_no_point(&self) -> bool {
        [NO_SUCH_POINT, STREAM_EMPTY].iter().any(|code| self.has_code(*code))
    }

    /// The stream is not there, or no more.
    pub(in crate::sources) fn is_no_stream(&self) -> bool {
        self.has_code(NO_SUCH_STREAM)
    }

    /// Does the answer give this code inside?
    fn has_code(&self, code: u32) -> bool {
        self.code.as_deref().is_some_and(|given| given.parse() == Ok(code))
    }
}

const NO_SUCH_POINT: u32 = 401;
const NO_SUCH_STREAM: u32 = 404;
const STREAM_EMPTY: u32 = 456;

/// An error inside an answer.
impl From<&wire::Status> for ServiceError {
    fn from(status: &wire::Status) -> ServiceError {
        let class = match status.code {
            NO_SUCH_POINT | NO_SUCH_STREAM | STREAM_EMPTY => ErrorClass::Missing,
            // No such collection, no such version.
            407 | 427 | 450 => ErrorClass::Missing,
            // Out of time, out of resources, and a storage or a lock of the server that is not to be had now.
            402 | 426 | 432 | 434 | 440 | 453 | 455 | 459 => ErrorClass::Retry,
            _ => ErrorClass::Permanent,
        };
        let message = format!("error {}: {}", status.code, status.msg);
        ServiceError { code: Some(status.code.to_string()), ..ServiceError::answer(class, message) }
    }
}

/// An error of the call itself.
impl From<tonic::Status> for ServiceError {
    fn from(status: tonic::Status) -> ServiceError {
        // What came over the connection has no cause; a cause is of the connection.
        let lost = status.source().is_some();
        let class = match status.code() {
            _ if status.source().is_some_and(is_distrust) => ErrorClass::Unusable,
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted | Code::Cancelled => {
                ErrorClass::Reconnect
            }
            Code::Unauthenticated | Code::PermissionDenied => ErrorClass::Denied,
            Code::NotFound => ErrorClass::Missing,
            Code::Unimplemented => ErrorClass::Unusable,
            _ if lost => ErrorClass::Reconnect,
            _ => ErrorClass::Permanent,
        };
        let said = if status.message().is_empty() { status.code().description() } else { status.message() };
        let mut message = chain(said.to_owned(), status.source());
        if class == ErrorClass::Unusable && !lost {
            message = format!("this is not a server of BTrDB's version 5: {message}");
        }
        ServiceError::silent(class, message)
    }
}

/// An error of connecting.
impl From<transport::Error> for ServiceError {
    fn from(error: transport::Error) -> ServiceError {
        let class = if is_distrust(&error) { ErrorClass::Unusable } else { ErrorClass::Reconnect };
        ServiceError::silent(class, chain(error.to_string(), error.source()))
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
            (Code::Unavailable, ErrorClass::Reconnect),
            (Code::DeadlineExceeded, ErrorClass::Reconnect),
            (Code::ResourceExhausted, ErrorClass::Reconnect),
            (Code::Unauthenticated, ErrorClass::Denied),
            (Code::PermissionDenied, ErrorClass::Denied),
            (Code::NotFound, ErrorClass::Missing),
            (Code::Unimplemented, ErrorClass::Unusable),
            (Code::Internal, ErrorClass::Permanent),
            (Code::Unknown, ErrorClass::Permanent),
            (Code::OutOfRange, ErrorClass::Permanent),
        ];
        for (code, class) in cases {
            let trouble = ServiceError::from(Status::new(code, "why"));
            assert_eq!(trouble.class, class, "{code:?}");
            assert!(trouble.message.ends_with("why"), "{trouble:?}");
        }
        let silent = ServiceError::from(Status::new(Code::Aborted, "")).message;
        assert_eq!(silent, Code::Aborted.description());
    }

    #[test]
    fn a_lost_connection_heals_and_a_bad_certificate_does_not() {
        let lost = |kind| Status::from_error(Box::new(io::Error::new(kind, "gone")));
        assert_eq!(ServiceError::from(lost(io::ErrorKind::ConnectionReset)).class, ErrorClass::Reconnect);
        assert_eq!(ServiceError::from(lost(io::ErrorKind::InvalidData)).class, ErrorClass::Unusable);
    }

    #[test]
    fn codes_inside_answers_are_told_apart() {
        let cases = [
            (401, ErrorClass::Missing),
            (402, ErrorClass::Retry),
            (404, ErrorClass::Missing),
            (407, ErrorClass::Missing),
            (413, ErrorClass::Permanent),
            (415, ErrorClass::Permanent),
            (425, ErrorClass::Permanent),
            (426, ErrorClass::Retry),
            (450, ErrorClass::Missing),
            (456, ErrorClass::Missing),
            (459, ErrorClass::Retry),
            (500, ErrorClass::Permanent),
            (9999, ErrorClass::Permanent),
        ];
        for (code, class) in cases {
            let trouble = ServiceError::from(&wire::Status { code, msg: "why".into() });
            assert_eq!((trouble.class, trouble.message), (class, format!("error {code}: why")));
            assert_eq!(ServiceError::from(&wire::Status { code, msg: String::new() }).is_no_stream(), code == 404);
        }
    }
}
