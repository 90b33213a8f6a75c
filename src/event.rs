//! Facts of a run. Workers send them, one coordinator receives them all in one order and passes them on;
//! whatever is counted or shown is made of these alone, so that numbers agree with each other.

use std::time::Duration;

use crate::{
    batch::{Reject, RejectCode, SplitId},
    failure::Failure,
    stage::{Held, Split, Verified},
};

/// A stage's place in [`Plan::stages`](crate::plan::Plan).
pub type StageId = usize;

/// One fact.
#[derive(Debug)]
pub enum Event {
    /// A source's splits were listed.
    Listed {
        /// The source.
        stage: StageId,
        /// Its splits; the first one's number is `first`.
        splits: Vec<Split>,
        /// Number of the first split.
        first: SplitId,
    },
    /// Splits that an earlier attempt at the run has stored: they are not read again.
    Kept {
        /// Their numbers.
        splits: Vec<SplitId>,
    },
    /// A worker began to read a split.
    Opened {
        /// The split.
        split: SplitId,
    },
    /// A split was read: to its end, up to a stop, or up to its failure.
    Closed {
        /// The split.
        split: SplitId,
        /// How it ended.
        how: Closed,
    },
    /// A stage handled one batch.
    Worked {
        /// The stage.
        stage: StageId,
        /// The split the batch belongs to.
        split: SplitId,
        /// What happened to the rows.
        rows: RowCounts,
        /// Bytes: read from the input for sources, of memory for transforms, written for sinks.
        bytes: u64,
        /// Time spent working.
        busy: Duration,
    },
    /// A worker waited.
    Waited {
        /// The first stage of its pool.
        stage: StageId,
        /// For input.
        idle: Duration,
        /// For room further on.
        blocked: Duration,
    },
    /// Records were refused.
    Rejected {
        /// By this stage.
        stage: StageId,
        /// The records.
        rejects: Vec<Reject>,
    },
    /// Rejects that were told of, and turned out to lie behind the one at which the job fails.
    BehindCutoff {
        /// The stage that refused them.
        stage: StageId,
        /// The reason.
        code: RejectCode,
        /// How many.
        rejects: u64,
    },
    /// A sink answered for one batch.
    Answered {
        /// The sink.
        stage: StageId,
        /// From the first byte sent to the last answer received.
        latency: Duration,
        /// Why rows were not stored, if any were not.
        failure: Option<Failure>,
        /// In a rehearsal: what would have been written.
        samples: Vec<String>,
    },
    /// Rows that a sink had accepted turned out not to be stored.
    Withdrawn {
        /// The sink.
        stage: StageId,
        /// How many.
        rows: u64,
    },
    /// Rows that a sink had accepted were refused when their split was committed.
    Refused {
        /// The sink.
        stage: StageId,
        /// How many.
        rows: u64,
    },
    /// Every batch of a split has been answered by every sink it reaches.
    Settled {
        /// The split.
        split: SplitId,
        /// Is all of it stored or rejected?
        complete: bool,
    },
    /// A complete split's `done` action ran.
    Done {
        /// The split.
        split: SplitId,
        /// What the source did about it.
        action: Option<String>,
    },
    /// A stage cannot go on.
    Failed {
        /// The stage.
        stage: StageId,
        /// Why.
        failure: Failure,
    },
    /// What reading back from a sink showed.
    Verified {
        /// The sink.
        stage: StageId,
        /// The result.
        result: Verified,
    },
    /// The run was told to stop.
    Stopping {
        /// By whom.
        why: StopReason,
    },
    /// So many batches wait before a stage now; told from time to time.
    Level {
        /// The stage behind the queue.
        stage: StageId,
        /// How many.
        batches: u64,
    },
    /// The most that a stage's queue ever held.
    Queue {
        /// The stage behind the queue.
        stage: StageId,
        /// The marks.
        high: HighWater,
    },
    /// What a worker of a stage has held in memory and spilled.
    Held {
        /// The stage.
        stage: StageId,
        /// The account.
        held: Held,
    },
    /// One worker of a sink has written its last batch and waits to hear whether the run is whole.
    WaitsToCommit {
        /// The sink.
        stage: StageId,
    },
    /// One worker of the pool that begins with this stage has ended.
    WorkerEnded {
        /// The first stage of the pool.
        stage: StageId,
    },
}

/// How the reading of a split ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// At its end.
    Whole,
    /// Early: the run was stopped, or `--limit` was reached.
    Stopped,
    /// It failed; what was read before the failure went on.
    Failed(Failure),
}

/// What happened to the rows of a batch:
/// `input + made = output + rejected + filtered + gathered + failed + not_confirmed`, where a source's input are the
/// records it read and a sink's output are the rows it accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Taken in.
    pub input: u64,
    /// Passed on; by a sink: accepted.
    pub output: u64,
    /// Refused, with a reason.
    pub rejected: u64,
    /// Dropped on purpose.
    pub filtered: u64,
    /// Kept by a stage that puts something out only at the end, or the second input of a join.
    pub gathered: u64,
    /// Rows that a stage made without one of its input: what it emitted at the end, or a list's items.
    pub made: u64,
    /// Not stored although they should have been.
    pub failed: u64,
    /// Not stored by the target's own count, though it refused none.
    pub not_confirmed: u64,
}

/// High-water marks of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HighWater {
    /// Batches.
    pub batches: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Why a run stops before its input ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// SIGINT
    Interrupt,
    /// SIGTERM
    Terminate,
    /// `limits.deadline` has passed.
    Deadline,
    /// More rejects than `limits.rejects`.
    Rejects,
    /// A stage failed.
    Failure,
}

/// Whoever wants to know what happens in a run. Called by the coordinator only, from one thread.
pub trait Observer {
    /// One more fact.
    fn on(&mut self, event: &Event);

    /// Called about ten times a second, and once after the last event.
    fn tick(&mut self) {}
}
