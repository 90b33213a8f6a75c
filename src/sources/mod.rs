//! Where records come from. One file per kind; each holds all of that kind.

mod btrdb;
mod files;
mod generate;
mod kv;
mod postgres;
mod ranges;
mod sqlite;

pub use self::generate::{FakeInfo, GeneratorInfo, definitions_schema, generators, names as fakes};
use crate::{kind::Kind, stage::Source};

/// All kinds of sources.
pub const KINDS: &[Kind<dyn Source>] =
    &[btrdb::KIND, files::KIND, generate::KIND, kv::KIND, postgres::KIND, sqlite::KIND];
