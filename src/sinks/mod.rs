//! stub
use crate::{kind::Kind, stage::Sink};
/// All kinds.
pub const KINDS: &[Kind<dyn Sink>] = &[];
