//! What becomes of records on their way. One file per kind; each holds all of that kind.

mod changelog;
mod filter;
mod protobuf;

use crate::{kind::Kind, stage::Transform};

/// All kinds of transforms.
pub const KINDS: &[Kind<dyn Transform>] = &[changelog::KIND, filter::KIND, protobuf::KIND];
