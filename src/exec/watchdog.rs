//! Tells a run that hangs from one that is slow, and says who waits for whom.
//!
//! Something moves when a worker takes or passes on a message, when a call into a stage begins or returns, or when a
//! stage gives a sign of life from inside one ([`pulse`](crate::pulse): bytes that were read, a row that was stepped
//! to). A run in which nothing at all has moved for `limits.stall` ends there, without waiting for workers that may
//! never return. A worker that waits for another program ([`pulse::patiently`](crate::pulse::patiently), standard
//! input) counts as moving. So a single call that gives no sign may last no longer than `limits.stall` while all
//! others wait: what is known to take longer, such as a query that sorts for an hour, needs a larger one.
//!
//! Where a source or sink is inside a call, it is that which does not answer: exit 69. Where only workers wait for
//! each other, or a transform does not come back, it is a bug: exit 70.

use std::{
    cell::RefCell,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::queue::Gauge;
use crate::{
    event::StageId,
    failure::{Exit, Failure},
    jobspec,
    plan::{Plan, PoolId, Role},
    pulse::{self, Pulse},
};

/// So much of the time since the last look counts at most: a process that was stopped for a while has not hung.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// What a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
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
pub(super) struct Slot {
    pulse: Arc<Pulse>,
    /// A [`Doing`]: what it is, and above that the stage.
    doing: AtomicUsize,
}

thread_local! {
    static OWN: RefCell<Option<Arc<Slot>>> = const { RefCell::new(None) };
}

impl Slot {
    /// Makes this the slot of the calling thread.
    pub(super) fn enter(self: Arc<Self>) {
        pulse::give(Arc::clone(&self.pulse));
        OWN.with(|own| *own.borrow_mut() = Some(self));
    }

    fn doing(&self) -> Doing {
        let word = self.doing.load(Ordering::Relaxed);
        match (word & 7, word >> 3) {
            (1, stage) => Doing::Calls(stage),
            (2, stage) => Doing::Sends(stage),
            (3, _) => Doing::WaitsForSide,
            (4, _) => Doing::WaitsForMemory,
            (5, _) => Doing::WaitsToCommit,
            (6, _) => Doing::Ended,
            _ => Doing::Waits,
        }
    }
}

impl Doing {
    fn word(self) -> usize {
        match self {
            Doing::Waits => 0,
            Doing::Calls(stage) => 1 | stage << 3,
            Doing::Sends(stage) => 2 | stage << 3,
            Doing::WaitsForSide => 3,
            Doing::WaitsForMemory => 4,
            Doing::WaitsToCommit => 5,
            Doing::Ended => 6,
        }
    }
}

/// Lets others see what this thread is at while it is.
pub(super) fn during<T>(doing: Doing, act: impl FnOnce() -> T) -> T {
    let swap = |word| OWN.with(|own| own.borrow().as_ref().map_or(0, |own| own.doing.swap(word, Ordering::Relaxed)));
    let before = swap(doing.word());
    pulse::beat();
    let done = act();
    swap(before);
    pulse::beat();
    done
}

/// Lets others see that this thread's work is over.
pub(super) fn ended() {
    OWN.with(|own| own.borrow().as_ref().map(|own| own.doing.store(Doing::Ended.word(), Ordering::Relaxed)));
}

/// The slots of a run's workers, each with its pool; that of the calls from outside of workers has none.
pub(super) type Slots = Vec<(Option<PoolId>, Arc<Slot>)>;

/// Looks at the slots from time to time.
#[derive(Debug)]
pub(super) struct Watchdog {
    limit: jobspec::Duration,
    slots: Slots,
    beats: u64,
    /// For so long nothing has moved.
    quiet: Duration,
    looked: Instant,
}

impl Watchdog {
    pub(super) fn new(plan: &Plan, slots: Slots) -> Self {
        Watchdog { limit: plan.limits.stall, slots, beats: 0, quiet: Duration::ZERO, looked: Instant::now() }
    }

    /// Has nothing moved for too long?
    pub(super) fn is_stalled(&mut self) -> bool {
        let since = self.looked.elapsed().min(LONGEST_LOOK);
        self.looked = Instant::now();
        let pulses = || self.slots.iter().map(|(_, slot)| &slot.pulse);
        let beats = pulses().map(|pulse| pulse.beats()).sum();
        if beats != self.beats || pulses().any(|pulse| pulse.is_patient()) {
            (self.beats, self.quiet) = (beats, Duration::ZERO);
        } else {
            self.quiet += since;
        }
        !self.limit.0.is_zero() && self.quiet >= self.limit.0
    }

    /// Who waits for whom, and how full the queues are.
    pub(super) fn diagnosis(&self, plan: &Plan, gauges: &[(StageId, Arc<Gauge>)]) -> Failure {
        let mut parts: Vec<String> = (0..plan.pools.len()).filter_map(|pool| self.pool(plan, pool, gauges)).collect();
        let aside = self.slots.iter().filter(|(pool, _)| pool.is_none());
        parts.extend(aside.filter_map(|(_, slot)| match slot.doing() {
            Doing::Calls(stage) => Some(format!("`{}` has not come back from a call", plan.stages[stage].name)),
            _ => None,
        }));
        let outside = self.slots.iter().any(|(_, slot)| match slot.doing() {
            Doing::Calls(stage) => !matches!(plan.stages[stage].role, Role::Transform(_)),
            _ => false,
        });
        let exit = if outside { Exit::Unavailable } else { Exit::Bug };
        Failure::new(exit, format!("nothing has moved for {}: {}", self.limit, parts.join("; ")))
    }

    /// What the workers of a pool are at, unless all have ended.
    fn pool(&self, plan: &Plan, pool: PoolId, gauges: &[(StageId, Arc<Gauge>)]) -> Option<String> {
        let slots = self.slots.iter().filter(|(of, _)| *of == Some(pool)).map(|(_, slot)| slot.doing());
        let mut groups: Vec<(Doing, usize)> = Vec::new();
        for doing in slots.filter(|doing| *doing != Doing::Ended) {
            match groups.iter_mut().find(|(known, _)| *known == doing) {
                Some((_, count)) => *count += 1,
                None => groups.push((doing, 1)),
            }
        }
        let name = |stage: StageId| &plan.stages[stage].name;
        let phrase = |(doing, count): &(Doing, usize)| {
            let workers = if *count == 1 { "1 worker".to_owned() } else { format!("{count} workers") };
            workers
                + &match doing {
                    Doing::Calls(stage) => format!(" inside a call of `{}`", name(*stage)),
                    Doing::Sends(stage) => format!(" waiting for room before `{}`", name(*stage)),
                    Doing::WaitsForSide => " waiting for the second input".to_owned(),
                    Doing::WaitsForMemory => " waiting for memory that batches further on hold".to_owned(),
                    Doing::WaitsToCommit => " waiting to commit".to_owned(),
                    Doing::Waits | Doing::Ended => " waiting for input".to_owned(),
                }
        };
        let head = plan.pools[pool].head;
        let mut text = format!("`{}` has {}", name(head), groups.iter().map(phrase).collect::<Vec<_>>().join(", "));
        for (_, gauge) in gauges.iter().filter(|(stage, _)| *stage == head) {
            // The gauge counts those that wait for room, too.
            let (batches, room) = (gauge.batches(), plan.pools[pool].queue);
            let _ = write!(text, ", {} of {room} batches in its queue", batches.min(room as u64));
        }
        (!groups.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_is_at_is_read_back() {
        let all = [
            Doing::Waits,
            Doing::Calls(3),
            Doing::Sends(70_000),
            Doing::WaitsForSide,
            Doing::WaitsForMemory,
            Doing::WaitsToCommit,
            Doing::Ended,
        ];
        for doing in all {
            let slot = Slot::default();
            slot.doing.store(doing.word(), Ordering::Relaxed);
            assert_eq!(slot.doing(), doing);
        }
    }
}
