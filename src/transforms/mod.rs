//! What becomes of records on their way. One file per kind; each holds all of that kind.

mod aggregate;
mod changelog;
mod dedup;
mod errors;
mod explode;
mod filter;
mod growth;
mod hold;
mod join;
mod keys;
mod protobuf;
mod quality;
mod sample;
mod select;
mod slots;
mod sort;
#[cfg(test)]
mod testing;

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
