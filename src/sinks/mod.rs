//! Where records go. One file per kind; each holds all of that kind.

mod discard;
mod files;
mod memcached;
mod postgres;
mod sqlite;

use crate::{kind::Kind, stage::Sink};

/// All kinds of sinks.
pub const KINDS: &[Kind<dyn Sink>] = &[discard::KIND, files::KIND, memcached::KIND, postgres::KIND, sqlite::KIND];
