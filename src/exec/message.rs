//! What travels between pools.

use std::sync::Arc;

use super::{ack::Ack, memory_budget::Permit};
use crate::batch::{Batch, SplitId};

/// A batch under way, or the news that a split has no more.
///
/// Every worker passes on exactly one message per message it took, to each stage behind it, with the same
/// place: rows may go, messages never. That is what lets a stage further on put them in order again.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) place: BatchPlace,
    /// `None` says that `place.seq` is the number of batches the split had.
    pub(super) batch: Option<Batch>,
    pub(super) ack: Ack,
    /// Held for its drop: the source's budget gets the bytes back.
    pub(super) permit: Option<Arc<Permit>>,
}

/// A message's place in input order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchPlace {
    pub(super) split: SplitId,
    pub(super) seq: u64,
    /// Which of the messages with the same split and number: more than one where paths join again or a
    /// keyed pool has divided a batch among its workers.
    pub(super) lane: u32,
}

impl Message {
    pub(super) fn rows(&self) -> usize {
        self.batch.as_ref().map_or(0, Batch::rows)
    }

    pub(super) fn bytes(&self) -> usize {
        self.batch.as_ref().map_or(0, Batch::bytes)
    }
}
