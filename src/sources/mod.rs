//! Where records come from. One file per kind; each holds all of that kind.

mod files;
mod generate;
mod postgres;

use crate::{kind::Kind, stage::Source};

/// All kinds of sources.
pub const KINDS: &[Kind<dyn Source>] = &[files::KIND, generate::KIND, postgres::KIND];
