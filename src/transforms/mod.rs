//! What becomes of records on their way. One file per kind; each holds all of that kind.

mod aggregate;
mod changelog;
mod dedup;
mod errors;
mod explode;
mod filter;
mod growth;
mod join;
mod keys;
mod memory;
mod protobuf;
mod quality;
mod row_store;
mod sample;
mod select;
mod sort;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use crate::{kind::Kind, stage::Transform};

/// All kinds of transforms.
pub const KINDS: &[Kind<dyn Transform>] = &[
    filter::KIND,
    select::KIND,
    explode::KIND,
    join::KIND,
    aggregate::KIND,
    quality::KIND,
    sort::KIND,
    dedup::KIND,
    sample::KIND,
    changelog::KIND,
    protobuf::KIND,
];
