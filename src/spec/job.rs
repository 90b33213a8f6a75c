//! stub
use super::Table;
/// How many rows and bytes a batch has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSize {
    /// rows
    pub rows: usize,
    /// bytes
    pub bytes: usize,
}
/// Generator definitions by name, as written.
pub type Definitions = Table;
/// stub
pub struct JobSpec {}
/// stub
pub struct Limits {}
