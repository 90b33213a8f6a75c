//! Tells a run that hangs from one that is slow, and says who waits for whom.
//!
//! Something moves when a worker takes or passes on a message, when a call into a stage begins or returns, or when a
//! stage gives a sign of life from inside one ([`pulse`](crate::pulse): bytes that were read, a row that was stepped
//! to). A run in which nothing at all has moved for `limits.stall` ends there, without waiting for workers that may
//! never return. A worker that waits for another program ([`pulse::external_wait`](crate::pulse::external_wait), standard
//! input) counts as moving. So a single call that gives no sign may last no longer than `limits.stall` while all
//! others wait: what is known to take longer, such as a query that sorts for an hour, needs a larger one.
//!
//! Where a source or sink is inside a call, it is that which does not answer: exit 69. Where only workers wait for
//! each other, or a transform does not come back, it is a bug: exit 70.

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    activity::{Activity, WorkerState},
    gauge::Gauge,
};
use crate::{
    event::StageId,
    failure::{Exit, Failure},
    jobspec,
    plan::{Plan, PoolId, Role},
};

/// So much of the time since the last look counts at most: a process that was stopped for a while has not hung.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// What each worker of a run is doing, with its pool; the thread of the calls that no worker makes has none.
pub(super) type WorkerStates = Vec<(Option<PoolId>, Arc<WorkerState>)>;

/// Looks at the workers from time to time.
#[derive(Debug)]
pub(super) struct Watchdog {
    limit: jobspec::Duration,
    workers: WorkerStates,
    beats: u64,
    /// For so long nothing has moved.
    quiet: Duration,
    looked: Instant,
}

impl Watchdog {
    pub(super) fn new(plan: &Plan, workers: WorkerStates) -> Self {
        Watchdog { limit: plan.limits.stall, workers, beats: 0, quiet: Duration::ZERO, looked: Instant::now() }
    }

    /// Has nothing moved for too long?
    pub(super) fn is_stalled(&mut self) -> bool {
        let since = self.looked.elapsed().min(LONGEST_LOOK);
        self.looked = Instant::now();
        let pulses = || self.workers.iter().map(|(_, state)| &state.pulse);
        let beats = pulses().map(|pulse| pulse.beats()).sum();
        if beats != self.beats || pulses().any(|pulse| pulse.waits_externally()) {
            (self.beats, self.quiet) = (beats, Duration::ZERO);
        } else {
            self.quiet += since;
        }
        !self.limit.0.is_zero() && self.quiet >= self.limit.0
    }

    /// Who waits for whom, and how full the queues are.
    pub(super) fn diagnosis(&self, plan: &Plan, gauges: &[(StageId, Arc<Gauge>)]) -> Failure {
        let mut parts: Vec<String> = (0..plan.pools.len()).filter_map(|pool| self.pool(plan, pool, gauges)).collect();
        let blocking_calls = self.workers.iter().filter(|(pool, _)| pool.is_none());
        parts.extend(blocking_calls.filter_map(|(_, state)| match state.activity() {
            Activity::Calls(stage) => Some(format!("`{}` has not come back from a call", plan.stages[stage].name)),
            _ => None,
        }));
        let outside = self.workers.iter().any(|(_, state)| match state.activity() {
            Activity::Calls(stage) => !matches!(plan.stages[stage].role, Role::Transform(_)),
            _ => false,
        });
        let exit = if outside { Exit::Unavailable } else { Exit::Bug };
        Failure::new(exit, format!("nothing has moved for {}: {}", self.limit, parts.join("; ")))
    }

    /// What the workers of a pool are at, unless all have ended.
    fn pool(&self, plan: &Plan, pool: PoolId, gauges: &[(StageId, Arc<Gauge>)]) -> Option<String> {
        let workers = self.workers.iter().filter(|(of, _)| *of == Some(pool)).map(|(_, state)| state.activity());
        let mut groups: Vec<(Activity, usize)> = Vec::new();
        for activity in workers.filter(|activity| *activity != Activity::Ended) {
            match groups.iter_mut().find(|(known, _)| *known == activity) {
                Some((_, count)) => *count += 1,
                None => groups.push((activity, 1)),
            }
        }
        let name = |stage: StageId| &plan.stages[stage].name;
        let phrase = |(activity, count): &(Activity, usize)| {
            let workers = if *count == 1 { "1 worker".to_owned() } else { format!("{count} workers") };
            workers
                + &match activity {
                    Activity::Calls(stage) => format!(" inside a call of `{}`", name(*stage)),
                    Activity::Sends(stage) => format!(" waiting for room before `{}`", name(*stage)),
                    Activity::WaitsForSide => " waiting for the second input".to_owned(),
                    Activity::WaitsForMemory => " waiting for memory that batches further on hold".to_owned(),
                    Activity::WaitsToCommit => " waiting to commit".to_owned(),
                    Activity::Waits | Activity::Ended => " waiting for input".to_owned(),
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
