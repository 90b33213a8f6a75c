//! When the sinks may make durable what they hold, and whether the run is whole then.
//!
//! A sink's worker that has written its last batch waits at the barrier of its pool. It opens when
//! every worker that could still refuse or lose a row of this run has ended or waits too. Pools that read
//! the sink itself are not among them: they go on only once it has committed. Where two sinks wait and both are read,
//! each is waited for by what the other waits for: then the barrier of the first opens before it is known what
//! becomes of rows behind the other.

use std::{
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use crate::plan::{Plan, PoolId};

/// Opens once, with an answer for all that wait at it.
#[derive(Clone, Debug, Default)]
pub(super) struct CommitBarrier(Arc<(Mutex<Option<bool>>, Condvar)>);

impl CommitBarrier {
    pub(super) fn open(&self, answer: bool) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        self.0.1.notify_all();
    }

    pub(super) fn wait(&self) -> bool {
        let state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.0.1.wait_while(state, |state| state.is_none()).unwrap_or_else(PoisonError::into_inner);
        state.unwrap_or(false)
    }
}

/// How far the workers of every pool are.
#[derive(Debug)]
pub(super) struct CommitBarriers(Vec<State>);

#[derive(Debug)]
struct State {
    /// Workers that neither have ended nor wait.
    busy: usize,
    waiting: usize,
    opened: bool,
    /// The pools that cannot end before this one has committed.
    behind: BTreeSet<PoolId>,
}

impl CommitBarriers {
    /// `workers` are those of each pool.
    pub(super) fn new(plan: &Plan, workers: &[usize]) -> Self {
        let state = |(pool, busy): (PoolId, &usize)| State {
            busy: *busy,
            waiting: 0,
            opened: false,
            behind: behind(plan, pool),
        };
        CommitBarriers(workers.iter().enumerate().map(state).collect())
    }

    /// Workers that have not ended, of all pools.
    pub(super) fn left(&self) -> usize {
        self.0.iter().map(|state| state.busy + state.waiting).sum()
    }

    /// A worker waits at its barrier.
    pub(super) fn waits(&mut self, pool: PoolId) {
        self.0[pool].busy -= 1;
        self.0[pool].waiting += 1;
    }

    /// A worker has ended; one that waited has been let through before.
    pub(super) fn ended(&mut self, pool: PoolId) {
        let state = &mut self.0[pool];
        if state.opened { state.waiting -= 1 } else { state.busy -= 1 }
    }

    fn waiting(&self) -> impl Iterator<Item = &State> {
        self.0.iter().filter(|state| state.is_waiting())
    }

    /// The next pool whose barrier is to open; it counts as open.
    pub(super) fn due(&mut self) -> Option<PoolId> {
        let due = |(_, state): &(PoolId, &State)| {
            let quiet = |(other, of): (PoolId, &State)| of.busy == 0 || state.behind.contains(&other);
            state.waiting > 0 && !state.opened && self.0.iter().enumerate().all(quiet)
        };
        let all_wait =
            |(other, of): (PoolId, &State)| of.busy == 0 || self.waiting().any(|state| state.behind.contains(&other));
        let first = || {
            let stuck = self.0.iter().enumerate().all(all_wait);
            self.0.iter().position(|state| stuck && state.is_waiting())
        };
        let pool = self.0.iter().enumerate().find(due).map(|(pool, _)| pool).or_else(first)?;
        self.0[pool].opened = true;
        Some(pool)
    }
}

impl State {
    /// Do all of its workers that are left wait at the barrier?
    fn is_waiting(&self) -> bool {
        self.waiting > 0 && self.busy == 0 && !self.opened
    }
}

/// The pools that cannot end before this one has committed: those that read it; and where one of them takes it for
/// its second input, what leads to its first, for that is held back meanwhile, and all behind that.
fn behind(plan: &Plan, pool: PoolId) -> BTreeSet<PoolId> {
    let mut found = BTreeSet::new();
    let mut left = vec![pool];
    while let Some(next) = left.pop() {
        for edge in &plan.pools[next].next {
            let held = if edge.side { leading_to(plan, edge.to) } else { BTreeSet::new() };
            left.extend(held.into_iter().chain([edge.to]).filter(|pool| found.insert(*pool)));
        }
    }
    found.remove(&pool);
    found
}

/// The pools that lead to the first input of this one.
fn leading_to(plan: &Plan, pool: PoolId) -> BTreeSet<PoolId> {
    let mut found = BTreeSet::new();
    let mut left = vec![(pool, false)];
    while let Some((to, any)) = left.pop() {
        let reads = |from: &PoolId| plan.pools[*from].next.iter().any(|edge| edge.to == to && (any || !edge.side));
        left.extend((0..plan.pools.len()).filter(reads).filter(|from| found.insert(*from)).map(|from| (from, true)));
    }
    found
}
