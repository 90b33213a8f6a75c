//! What every client of a server shares: what an error means and who deals with it, how patiently a server is
//! tried, where it listens, a connection with a deadline, TLS, which rows of a batch are sent again, how a thread waits for
//! an asynchronous client, and what a read-back sample says of a whole run.
//!
//! A kind that talks to a server brings its own protocol and a function from its client's errors to a
//! [`ServiceError`]; everything that follows from the class of the error is here.

mod address;
mod error;
mod line;
mod patience;
mod requests;
mod runtime;
mod sample;
mod tls;
mod transport;

pub(crate) use self::{
    address::{Address, port},
    error::{ErrorClass, ServiceError},
    line::Line,
    patience::{Patience, Tries, rest},
    requests::{Answer, Requests},
    runtime::ClientRuntime,
    sample::{Sample, Sampled, questions, verified},
    tls::Tls,
};

/// `1 row`, `2 rows`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
