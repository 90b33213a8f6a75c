//! How much of a source's input may be under way at once.
//!
//! Each source has a budget. A batch is admitted while the bytes under way are within the limit; it gives
//! its bytes back when the last copy of it is dropped. The lowest split being read is admitted even over
//! the limit as long as nothing of it is under way: stages that need input order wait for exactly that
//! split, so the run always goes on, and memory stays within the limit plus one batch.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::batch::SplitId;

/// How often one who waits looks whether the run stops.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    total: usize,
    /// Bytes under way of every split that is being read or has something under way.
    splits: BTreeMap<SplitId, Flow>,
}

#[derive(Debug, Default)]
struct Flow {
    bytes: usize,
    reading: bool,
}

impl MemoryBudget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(MemoryBudget { limit, state: Mutex::default(), freed: Condvar::new() })
    }

    /// A worker begins to read `split`.
    pub(super) fn open(&self, split: SplitId) {
        self.lock().splits.entry(split).or_default().reading = true;
    }

    /// A worker has read `split`.
    pub(super) fn close(&self, split: SplitId) {
        let mut state = self.lock();
        if let Some(flow) = state.splits.get_mut(&split) {
            flow.reading = false;
        }
        state.forget(split);
        self.freed.notify_all();
    }

    /// Waits until `bytes` more of `split` may be under way, or the run stops: then what is under way may wait for
    /// splits of other sources that are never read, and would not come out before this batch has gone in.
    pub(super) fn admit(self: &Arc<Self>, split: SplitId, bytes: usize, stop: &AtomicBool) -> Arc<Permit> {
        let mut state = self.lock();
        while !state.may_pass(split, bytes, self.limit) && !stop.load(Ordering::SeqCst) {
            state = self.freed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.total += bytes;
        state.splits.entry(split).or_default().bytes += bytes;
        Arc::new(Permit { budget: Arc::clone(self), split, bytes })
    }

    /// No code that may panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_pass(&self, split: SplitId, bytes: usize, limit: usize) -> bool {
        let lowest = self.splits.iter().find(|(_, flow)| flow.reading).map(|(id, _)| *id);
        let own = self.splits.get(&split).map_or(0, |flow| flow.bytes);
        self.total + bytes <= limit || (lowest == Some(split) && own == 0)
    }

    fn forget(&mut self, split: SplitId) {
        if self.splits.get(&split).is_some_and(|flow| !flow.reading && flow.bytes == 0) {
            self.splits.remove(&split);
        }
    }
}

/// Bytes under way; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    budget: Arc<MemoryBudget>,
    split: SplitId,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        state.total -= self.bytes;
        if let Some(flow) = state.splits.get_mut(&self.split) {
            flow.bytes -= self.bytes;
        }
        state.forget(self.split);
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_pass(budget: &MemoryBudget, split: u32, bytes: usize) -> bool {
        budget.lock().may_pass(SplitId(split), bytes, budget.limit)
    }

    #[test]
    fn the_limit_holds_and_is_given_back() {
        let budget = MemoryBudget::new(10);
        budget.open(SplitId(0));
        budget.open(SplitId(1));
        let first = budget.admit(SplitId(1), 8, &AtomicBool::new(false));
        assert!(!may_pass(&budget, 1, 3));
        drop(first);
        assert!(may_pass(&budget, 1, 3));
    }

    #[test]
    fn the_lowest_split_passes_one_batch_over_the_limit() {
        let budget = MemoryBudget::new(10);
        budget.open(SplitId(0));
        budget.open(SplitId(1));
        let _ahead = budget.admit(SplitId(1), 10, &AtomicBool::new(false));
        let _lowest = budget.admit(SplitId(0), 100, &AtomicBool::new(false));
        assert!(!may_pass(&budget, 0, 1), "a second batch of it must wait");
        budget.close(SplitId(0));
        assert!(!may_pass(&budget, 1, 1), "split 1 is the lowest now, but has something under way");
    }
}
