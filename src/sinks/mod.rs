//! Where records go. One file per kind; each holds all of that kind.

mod discard;
mod files;
mod kv;
mod memcached;
mod postgres;
mod sqlite;
mod table;

use crate::{kind::Kind, stage::Sink};

/// All kinds of sinks.
pub const KINDS: &[Kind<dyn Sink>] =
    &[discard::KIND, files::KIND, kv::KIND, memcached::KIND, postgres::KIND, sqlite::KIND];
