//! The kinds of sources, one file each.

pub mod generate;

use crate::{kind::Kind, stage::Source};

/// Every kind of source.
pub const KINDS: &[Kind<dyn Source>] = &[generate::KIND];
