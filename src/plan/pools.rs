//! Which stages share a worker, and how messages find their way between pools.
//!
//! A transform is fused into the stage before it when it has one input, that input has no other reader, it
//! does not gather nor need its input in order,
//! and the spec asks for nothing of its own (`concurrency`, `queue`, `partition_by`, `batch`): a batch then stays
//! in one core's cache. Sinks and sources always head a pool.

use std::collections::BTreeMap;

use super::{Edge, Intake, Pool, Role, Stage};
use crate::{event::StageId, expr::Expr, jobspec::Common, kind::Workers};

/// Batches that wait before a pool unless the spec says otherwise.
pub const DEFAULT_QUEUE: usize = 4;

/// What the spec and the kind say of a stage's workers.
#[derive(Debug)]
pub(crate) struct PoolRequest {
    pub(crate) common: Common,
    pub(crate) workers: Workers,
    pub(crate) partition: Option<Expr>,
}

/// Divides stages into pools. `requests` belong to `stages`, one each.
pub(crate) fn pools(stages: &[Stage], requests: Vec<PoolRequest>, threads: usize) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    for (id, (stage, request)) in stages.iter().zip(requests).enumerate() {
        match fusible(stages, id, &request)
            .then(|| pools.iter().position(|pool| pool.last() == stage.inputs[0]))
            .flatten()
        {
            Some(pool) => pools[pool].fused.push(id),
            None => pools.push(pool(stage, id, request, threads)),
        }
    }
    connect(stages, &mut pools);
    pools
}

/// Why a stage gets one worker where its rows are not divided by key, if it does.
fn one_worker(role: &Role) -> Option<&'static str> {
    match role {
        Role::Transform(transform) => transform.properties().ordered.then_some("it needs its input in order"),
        Role::Sink(sink) if sink.properties().guarantee.replaces() => Some("a row may replace one of another split"),
        Role::Source(_) | Role::Sink(_) => None,
    }
}

fn fusible(stages: &[Stage], id: StageId, request: &PoolRequest) -> bool {
    let stage = &stages[id];
    let [input] = stage.inputs[..] else { return false };
    let readers = stages.iter().filter(|reader| reader.reads().any(|read| read == input)).count();
    let common = &request.common;
    let own = common.concurrency.is_some() || common.queue.is_some() || common.batch.is_some();
    let own = own || request.partition.is_some() || stage.side.is_some() || stage.role.is_breaker();
    let own = own || stage.role.needs_order();
    matches!(stage.role, Role::Transform(_)) && !matches!(stages[input].role, Role::Sink(_)) && readers == 1 && !own
}

fn pool(stage: &Stage, head: StageId, request: PoolRequest, threads: usize) -> Pool {
    let (key, wanted) = match request.workers {
        Workers::Keyed(key, default) => (Some(key), Workers::Default(default)),
        other => (None, other),
    };
    let key = request.partition.or(key);
    let asked = request.common.concurrency;
    let (workers, remark) = match (wanted, one_worker(&stage.role)) {
        (Workers::One(why), _) => (1, (asked.unwrap_or(1) > 1).then_some(why)),
        (_, Some(why)) if key.is_none() => (1, (asked.unwrap_or(1) > 1).then_some(why)),
        (Workers::Threads, _) => (asked.unwrap_or(threads), None),
        (Workers::Default(default) | Workers::Keyed(_, default), _) => (asked.unwrap_or(default), None),
    };
    let intake = match (&stage.role, key) {
        (Role::Source(_), _) => Intake::Splits,
        (_, Some(expr)) => Intake::Keyed(expr),
        (role, None) if !role.needs_order() => Intake::Any,
        _ if workers == 1 => Intake::Ordered,
        _ => Intake::BySplit,
    };
    let queue = match stage.role {
        Role::Source(_) => 0,
        _ => request.common.queue.unwrap_or(DEFAULT_QUEUE),
    };
    // A source makes its batches of that size itself.
    let batch = if queue > 0 { request.common.batch } else { None };
    Pool { head, fused: Vec::new(), workers, remark, queue, batch, intake, next: Vec::new(), arrivals: BTreeMap::new() }
}

/// Draws the edges. Where several ways lead from a source to a pool, every batch of that source arrives
/// several times; each way gets lanes of its own, in the order in which the spec names the inputs.
fn connect(stages: &[Stage], pools: &mut [Pool]) {
    for to in 0..pools.len() {
        let head = pools[to].head;
        if let Role::Source(_) = stages[head].role {
            pools[to].arrivals.insert(head, 1);
        }
        let find = |pools: &[Pool], input| pools.iter().position(|pool: &Pool| pool.last() == input);
        if let Some(from) = stages[head].side.and_then(|side| find(pools, side)) {
            pools[from].next.push(Edge { to, side: true, lanes: BTreeMap::new() });
        }
        for &input in &stages[head].inputs {
            let from = find(pools, input).expect("inputs are compiled before");
            let lanes = arrivals_behind(stages, &pools[from]);
            let before = std::mem::take(&mut pools[to].arrivals);
            let lanes_before = lanes.keys().map(|source| (*source, before.get(source).copied().unwrap_or(0)));
            let edge = Edge { to, side: false, lanes: lanes_before.collect() };
            pools[from].next.push(edge);
            let mut sum = before;
            lanes.into_iter().for_each(|(source, n)| *sum.entry(source).or_default() += n);
            pools[to].arrivals = sum;
        }
    }
}

/// How many messages leave a pool per batch of each source: a keyed one divides every message, and one that
/// gathers is a source of its own for what it emits at the end.
fn arrivals_behind(stages: &[Stage], pool: &Pool) -> BTreeMap<StageId, u32> {
    let parts = if matches!(pool.intake, Intake::Keyed(_)) { pool.workers as u32 } else { 1 };
    let own = stages[pool.head].role.is_breaker().then_some((pool.head, 1));
    pool.arrivals.iter().map(|(source, n)| (*source, n * parts)).chain(own).collect()
}

impl Pool {
    /// The stage whose output leaves the pool.
    pub fn last(&self) -> StageId {
        self.fused.last().copied().unwrap_or(self.head)
    }
}
