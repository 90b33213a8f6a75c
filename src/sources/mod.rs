//! stub
use crate::{kind::Kind, stage::Source};
/// All kinds.
pub const KINDS: &[Kind<dyn Source>] = &[];
