//! What a transform is to the engine where nothing can go on before all input is in.

use crate::{
    batch::{Batch, Rejects, SplitId},
    failure::Failure,
};

/// Batches that wait until the last is in. All workers of a stage have one of them in common; each is told when it has
/// taken its last batch, and when all have, one of them gives back what became of the batches.
pub trait Backlog {
    /// Takes a batch. No other batch of the run has its number.
    ///
    /// # Errors
    /// The stage cannot go on at all.
    fn put(&mut self, number: u32, batch: Batch) -> Result<(), Failure>;

    /// This worker has taken its last batch.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn end(&mut self) -> Result<(), Failure>;

    /// All workers have: the numbers of all batches, in the order in which they are wanted back.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn order(&mut self, numbers: &[u32]) -> Result<(), Failure>;

    /// What became of the next one, which had so many rows. For its rows holds what does for
    /// [`apply`](super::TransformWorker::apply).
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn next(&mut self, split: SplitId, seq: u64, rows: usize, rejects: &mut Rejects) -> Result<Batch, Failure>;
}
