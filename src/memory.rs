//! How many bytes the stages that hold rows may hold together, and where they put what is more.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    exchange::Exchange,
    failure::{Exit, Failure},
    jobspec::Bytes,
};

/// What the stages of a job that hold rows have in common.
#[derive(Debug)]
pub struct Memory {
    /// `limits.memory`
    limit: usize,
    /// What all stages hold.
    held: AtomicUsize,
    /// How many stages there are that hold rows.
    stages: AtomicUsize,
    /// Where they spill.
    pub exchange: Arc<Exchange>,
}

/// What all workers of a stage may hold together.
#[derive(Debug)]
pub struct Budget {
    memory: Arc<Memory>,
    held: AtomicUsize,
    /// How many workers share it.
    shares: AtomicUsize,
    what: String,
}

/// What one worker holds of a budget; given back when it goes.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    mine: usize,
}

impl Memory {
    /// Of a job that may use `limit` bytes.
    pub fn new(limit: usize, exchange: Arc<Exchange>) -> Arc<Memory> {
        Arc::new(Memory { limit, held: AtomicUsize::new(0), stages: AtomicUsize::new(0), exchange })
    }

    /// How many bytes all stages may hold before those that can begin to spill: half of the limit. What is under way between
    /// stages, and what one makes of the rows at the end, takes memory besides.
    fn for_rows(&self) -> usize {
        self.limit / 2
    }
}

impl Budget {
    /// The budget of one stage, for what `what` names: `the rows of `crew``.
    pub fn new(memory: &Arc<Memory>, what: impl Into<String>) -> Arc<Budget> {
        memory.stages.fetch_add(1, Ordering::Relaxed);
        let [held, shares] = [const { AtomicUsize::new(0) }; 2];
        Arc::new(Budget { memory: Arc::clone(memory), held, shares, what: what.into() })
    }

    /// The share of one worker, which holds nothing yet.
    pub fn share(self: &Arc<Self>) -> Share {
        self.shares.fetch_add(1, Ordering::Relaxed);
        Share { budget: Arc::clone(self), mine: 0 }
    }

    /// What a stage may hold whatever others hold: a quarter of the limit among all of them.
    fn least(&self) -> usize {
        self.memory.for_rows() / 2 / self.memory.stages.load(Ordering::Relaxed).max(1)
    }
}

impl Share {
    /// The worker holds so many bytes now, and cannot spill them.
    ///
    /// # Errors
    /// All workers of the stage together hold more than `limits.memory`.
    pub fn set(&mut self, bytes: usize) -> Result<(), Failure> {
        let (sum, _) = self.note(bytes);
        let Budget { memory, what, .. } = self.budget.as_ref();
        if sum <= memory.limit {
            return Ok(());
        }
        let message = format!(
            "{what} take {} of memory so far, `limits.memory` allows {}: give the job more, or fewer rows and columns",
            Bytes::about(sum as u64),
            Bytes::about(memory.limit as u64)
        );
        Err(Failure::new(Exit::Unavailable, message))
    }

    /// The worker holds so many bytes now, and `before` when it began to spill all that is new to it.
    ///
    /// # Errors
    /// What it holds has grown all the same, and all workers of the stage together hold more than `limits.memory`.
    pub fn grown(&mut self, before: usize, bytes: usize) -> Result<(), Failure> {
        if bytes > before {
            return self.set(bytes);
        }
        self.note(bytes);
        Ok(())
    }

    /// The worker holds so many bytes now. Is that within what stages that can spill may hold? A stage that holds little
    /// is within it, whatever others hold.
    pub fn fits(&mut self, bytes: usize) -> bool {
        let (sum, all) = self.note(bytes);
        all <= self.budget.memory.for_rows() || sum <= self.budget.least()
    }

    /// Is that more than the worker's part of what a stage may hold whatever others hold? To spill less than that would
    /// help nobody.
    pub fn is_much(&self, bytes: usize) -> bool {
        bytes > self.budget.least() / self.budget.shares.load(Ordering::Relaxed).max(1)
    }

    /// How many bytes what took `full` bytes when it began to spill all that is new to it may grow to, before it is spilled
    /// itself: a quarter more, but no further than to three quarters of the limit.
    pub fn leeway(&self, full: usize) -> usize {
        full.max((full + full / 4).min(self.budget.memory.limit / 4 * 3))
    }

    /// About how many bytes a block of rows should have that is written or read at once.
    pub fn block(&self) -> usize {
        (self.budget.memory.for_rows() / 128).clamp(16 << 10, 1 << 20)
    }

    /// Where it spills.
    pub fn exchange(&self) -> &Arc<Exchange> {
        &self.budget.memory.exchange
    }

    /// What the stage and what all stages hold, with so many bytes of this worker's.
    fn note(&mut self, bytes: usize) -> (usize, usize) {
        let mine = std::mem::replace(&mut self.mine, bytes);
        // Never less than what is held, also not for a moment.
        let moved = |held: &AtomicUsize| {
            let before = held.fetch_add(bytes, Ordering::Relaxed);
            held.fetch_sub(mine, Ordering::Relaxed);
            (before + bytes).saturating_sub(mine)
        };
        (moved(&self.budget.held), moved(&self.budget.memory.held))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.note(0);
        self.budget.shares.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::memory;

    #[test]
    fn stages_that_spill_share_half_of_the_limit_and_none_goes_without() {
        let memory = memory(8000);
        let budgets = ["one", "other"].map(|what| Budget::new(&memory, what));
        let [mut one, mut other] = [&budgets[0], &budgets[1]].map(Budget::share);
        assert!(one.fits(3000) && other.fits(1000) && !other.fits(1001), "4000 bytes together");
        // Whatever others hold, a stage may hold an equal share of a quarter of the limit.
        assert!(!one.fits(6000) && other.fits(1000) && !other.fits(1001));
        let mut third = budgets[1].share();
        assert!(other.fits(600) && third.fits(400) && !third.fits(401), "workers of one stage share");
        drop((one, other));
        assert!(third.fits(4000));
    }

    #[test]
    fn a_stage_that_spills_already_may_hold_what_it_had_and_all_of_the_limit() {
        let budget = Budget::new(&memory(8000), "the groups");
        let mut share = budget.share();
        assert!(share.grown(9000, 9000).is_ok(), "it has not grown");
        assert!(share.grown(7000, 8000).is_ok());
        assert_eq!([0, 4000, 5000, 7000].map(|full| share.leeway(full)), [0, 5000, 6000, 7000]);
        assert!(!share.is_much(2000) && share.is_much(2001));
        let other = budget.share();
        assert!(!share.is_much(1000) && share.is_much(1001), "two workers have half of it each");
        drop(other);
        assert!(!share.is_much(2000));
        let failure = share.grown(7000, 8001).expect_err("more than the limit");
        assert_eq!((failure.exit, share.set(8001).err()), (Exit::Unavailable, Some(failure)));
    }
}
