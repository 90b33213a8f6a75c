//! What an aggregate knows of each group while rows come in.

use arrow_array::ArrayRef;

use crate::failure::Failure;

/// The values of all groups, and the groups that have none, ascending, with the reason.
pub(super) type Finished = (ArrayRef, Vec<(u32, String)>);

/// One aggregate over all groups of a worker.
pub(super) trait Accumulator: Send {
    /// Adds rows: the group of each, how many groups there are by now, and the value of each where the aggregate has
    /// an argument.
    fn add(&mut self, groups: &[u32], count: usize, values: Option<&ArrayRef>) -> Result<(), Failure>;

    /// Bytes of memory it takes.
    fn size(&self) -> usize;

    /// The value of every group.
    fn finish(self: Box<Self>, count: usize) -> Result<Finished, Failure>;
}
