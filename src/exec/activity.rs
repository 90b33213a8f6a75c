//! What each worker of a run is doing, for others to see.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    event::StageId,
    pulse::{self, Pulse},
};

/// What a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// It waits for input.
    Waits,
    /// A stage was called.
    Calls(StageId),
    /// It waits for room before this stage.
    Sends(StageId),
    /// It waits for the second input of its stage to be there.
    WaitsForSide,
    /// It waits for memory that batches further on hold.
    WaitsForMemory,
    /// It has written its last batch and waits for the others.
    WaitsToCommit,
    /// It has ended.
    Ended,
}

/// What one worker is at, for others to see.
#[derive(Debug, Default)]
pub(super) struct WorkerState {
    pub(super) pulse: Arc<Pulse>,
    /// An [`Activity`]: what it is, and above that the stage.
    activity: AtomicUsize,
}

thread_local! {
    static OWN: RefCell<Option<Arc<WorkerState>>> = const { RefCell::new(None) };
}

impl WorkerState {
    /// Makes this the state of the calling thread.
    pub(super) fn enter(self: Arc<Self>) {
        pulse::give(Arc::clone(&self.pulse));
        OWN.with(|own| *own.borrow_mut() = Some(self));
    }

    pub(super) fn activity(&self) -> Activity {
        let word = self.activity.load(Ordering::Relaxed);
        match (word & 7, word >> 3) {
            (1, stage) => Activity::Calls(stage),
            (2, stage) => Activity::Sends(stage),
            (3, _) => Activity::WaitsForSide,
            (4, _) => Activity::WaitsForMemory,
            (5, _) => Activity::WaitsToCommit,
            (6, _) => Activity::Ended,
            _ => Activity::Waits,
        }
    }
}

impl Activity {
    fn word(self) -> usize {
        match self {
            Activity::Waits => 0,
            Activity::Calls(stage) => 1 | stage << 3,
            Activity::Sends(stage) => 2 | stage << 3,
            Activity::WaitsForSide => 3,
            Activity::WaitsForMemory => 4,
            Activity::WaitsToCommit => 5,
            Activity::Ended => 6,
        }
    }
}

/// Lets others see what this thread is at while it is.
pub(super) fn during<T>(activity: Activity, act: impl FnOnce() -> T) -> T {
    let swap = |word| OWN.with(|own| own.borrow().as_ref().map_or(0, |own| own.activity.swap(word, Ordering::Relaxed)));
    let before = swap(activity.word());
    pulse::heartbeat();
    let done = act();
    swap(before);
    pulse::heartbeat();
    done
}

/// Lets others see that this thread's work is over.
pub(super) fn ended() {
    OWN.with(|own| own.borrow().as_ref().map(|own| own.activity.store(Activity::Ended.word(), Ordering::Relaxed)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_is_at_is_read_back() {
        let all = [
            Activity::Waits,
            Activity::Calls(3),
            Activity::Sends(70_000),
            Activity::WaitsForSide,
            Activity::WaitsForMemory,
            Activity::WaitsToCommit,
            Activity::Ended,
        ];
        for activity in all {
            let state = WorkerState::default();
            state.activity.store(activity.word(), Ordering::Relaxed);
            assert_eq!(state.activity(), activity);
        }
    }
}
