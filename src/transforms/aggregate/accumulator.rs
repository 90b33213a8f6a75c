//! What an aggregate knows of each group while rows come in, and how that is spilled and comes back.

use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_schema::DataType;

use crate::failure::Failure;

/// The values of all groups, and the groups that have none, ascending, with the reason.
pub(super) type Finished = (ArrayRef, Vec<(u32, String)>);

/// The groups of some items, and the items.
pub(super) type Items = (Vec<u32>, ArrayRef);

/// One aggregate over all groups of a worker.
///
/// What it knows of a group has two forms, of which most aggregates need only one. The **state** is what does not grow
/// with the rows of the group: one row of the columns that [`state`](Accumulator::state) names. **Items** are values that
/// are kept as they came, or some of them: a row for each, which is taken in again as a row of the input is. State and
/// items say all: an accumulator that was given both goes on as the one that they are of would have, to the same bits.
///
/// | aggregate | state | items |
/// |---|---|---|
/// | `count` | the count | |
/// | `sum`, `avg` | the sum so far, how many values | |
/// | `stddev` | how many values, their mean, the sum of squares | |
/// | `min`, `max`, `first`, `last` | the value | |
/// | `count_distinct` | | the different values |
/// | `array_agg` | | all values, in order |
pub(super) trait Accumulator: Send {
    /// Adds rows: the group of each, how many groups there are by now, and the value of each where the aggregate has
    /// an argument.
    fn add(&mut self, groups: &[u32], count: usize, values: Option<&ArrayRef>) -> Result<(), Failure>;

    /// Bytes of memory it takes.
    fn size(&self) -> usize;

    /// Gives back memory that it can do without.
    fn tidy(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// The types of the columns of its state.
    fn state(&self) -> Vec<DataType>;

    /// The state of some groups: columns with a row for each group.
    fn save(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure>;

    /// Takes in the state of groups that nothing is known of yet: which they are, how many groups there are by now, and
    /// columns as [`save`](Accumulator::save) makes them.
    fn restore(&mut self, groups: &[u32], count: usize, columns: &[ArrayRef]) -> Result<(), Failure>;

    /// The type of its items, where it has items.
    fn item(&self) -> Option<DataType> {
        None
    }

    /// Takes the next items out, about `bytes` of them; those of a group come in the order in which
    /// [`add`](Accumulator::add) is to take them in again. Nothing once all are out; then all that may be done is to drop it.
    fn next_items(&mut self, _bytes: usize) -> Result<Option<Items>, Failure> {
        Ok(None)
    }

    /// The value of every group.
    fn finish(self: Box<Self>, count: usize) -> Result<Finished, Failure>;
}

/// What is known of some groups, one after the other.
pub(super) fn known<T: Copy + Default>(all: &[T], groups: Range<usize>) -> impl Iterator<Item = T> {
    groups.map(|group| all.get(group).copied().unwrap_or_default())
}
