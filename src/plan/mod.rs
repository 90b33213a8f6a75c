//! The plan: a checked job, ready to run. `check` and `run` build the very same one.
//!
//! A plan is immutable and shared by all threads of a run. Its stages stand in topological order; its pools
//! say which stages share a worker.

mod compile;
mod deadlock;
mod explain;
mod graph;
mod needed;
mod pools;
mod preview;
mod replay;
mod schema;

use std::{collections::BTreeMap, path::PathBuf, time::SystemTime};

pub use compile::{compile, compile_preview};
#[cfg(test)]
pub(crate) use deadlock::circle;
pub use explain::explain;
pub use graph::{dot, mermaid};
pub use pools::DEFAULT_QUEUE;
#[cfg(test)]
pub(crate) use pools::{PoolRequest, pools};
pub use replay::compile_replay;
pub use schema::schema;

use crate::{
    batch::Schema,
    event::StageId,
    expr::Expr,
    jobspec::{BatchSize, Limits},
    stage::{Guarantee, Sink, Source, Transform},
};

/// A pool's place in [`Plan::pools`].
pub type PoolId = usize;

/// A checked job.
#[derive(Debug)]
pub struct Plan {
    /// The job's name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Identifies what the job does, whichever way it is spelled and however many workers it has.
    pub digest: String,
    /// The same by place in the spec, to name what has changed.
    pub digests: BTreeMap<String, String>,
    /// What `now()` stands for in it.
    pub now: SystemTime,
    /// What it may use.
    pub limits: Limits,
    /// Where rejects go.
    pub rejects: Option<PathBuf>,
    /// Where the report goes, unless it is the state directory.
    pub report: Option<PathBuf>,
    /// Where locks and reports are kept.
    pub state: PathBuf,
    /// Is a run taken over that only a target knows of, as the state directory was lost?
    pub adopts: bool,
    /// Are messages of rejects, which may hold values, to stand in the report?
    pub samples: bool,
    /// How many reports the state directory keeps.
    pub keep: usize,
    /// The stages, inputs before those that read them.
    pub stages: Vec<Stage>,
    /// The pools, in the same order.
    pub pools: Vec<Pool>,
}

/// One stage.
#[derive(Debug)]
pub struct Stage {
    /// Its name in the spec.
    pub name: String,
    /// The word behind `type =`.
    pub kind: &'static str,
    /// What it does.
    pub role: Role,
    /// The stages it reads.
    pub inputs: Vec<StageId>,
    /// Its second input, which it takes whole before the first: the `with` of a join.
    pub side: Option<StageId>,
    /// The columns it emits.
    pub output: Option<Schema>,
    /// Short phrases about it.
    pub notes: Vec<String>,
}

/// The live half of a stage.
pub enum Role {
    /// Makes records.
    Source(Box<dyn Source>),
    /// Makes records of records.
    Transform(Box<dyn Transform>),
    /// Takes records.
    Sink(Box<dyn Sink>),
}

/// A stage with the transforms that are fused into it, run by so many workers.
#[derive(Debug)]
pub struct Pool {
    /// The first stage: the one that has a queue before it.
    pub head: StageId,
    /// Transforms that its workers apply to a batch before they pass it on.
    pub fused: Vec<StageId>,
    /// How many threads.
    pub workers: usize,
    /// Why the spec's `concurrency` was not taken, where it was not.
    pub remark: Option<&'static str>,
    /// Batches that may wait before it; 0 for sources.
    pub queue: usize,
    /// The most that its head is handed at once; `None` where batches come as they are.
    pub batch: Option<BatchSize>,
    /// How messages come in.
    pub intake: Intake,
    /// The pools that read its output.
    pub next: Vec<Edge>,
    /// For every source, how many messages come per batch of it; sources that do not reach it are absent.
    pub arrivals: BTreeMap<StageId, u32>,
}

/// How messages come into a pool.
#[derive(Debug)]
pub enum Intake {
    /// It is a source.
    Splits,
    /// Any message to any worker.
    Any,
    /// All messages in input order, to its one worker.
    Ordered,
    /// All messages of a split to the same worker, in order.
    BySplit,
    /// Rows with equal values of this expression to the same worker, in input order.
    Keyed(Expr),
}

/// The way from a pool to one that reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The reading pool.
    pub to: PoolId,
    /// Is it the pool's second input?
    pub side: bool,
    /// For every source, what to add to a message's lane: the lanes of other edges come before.
    pub lanes: BTreeMap<StageId, u32>,
}

impl Stage {
    /// All stages it reads, the second input last.
    pub fn reads(&self) -> impl Iterator<Item = StageId> {
        self.inputs.iter().copied().chain(self.side)
    }
}

impl Plan {
    /// Places of the sources.
    pub fn sources(&self) -> impl Iterator<Item = (StageId, &dyn Source)> {
        self.stages.iter().enumerate().filter_map(|(id, stage)| match &stage.role {
            Role::Source(source) => Some((id, source.as_ref())),
            _ => None,
        })
    }

    /// Places of the sinks.
    pub fn sinks(&self) -> impl Iterator<Item = (StageId, &dyn Sink)> {
        self.stages.iter().enumerate().filter_map(|(id, stage)| match &stage.role {
            Role::Sink(sink) => Some((id, sink.as_ref())),
            _ => None,
        })
    }

    /// The pool that runs a stage.
    pub fn pool_of(&self, stage: StageId) -> PoolId {
        let place = self.pools.iter().position(|pool| pool.head == stage || pool.fused.contains(&stage));
        place.expect("every stage is run by a pool")
    }
}

impl Role {
    /// `source`, `transform` or `sink`.
    pub fn word(&self) -> &'static str {
        match self {
            Role::Source(_) => "source",
            Role::Transform(_) => "transform",
            Role::Sink(_) => "sink",
        }
    }

    /// Does nothing come after it, unless it has output?
    pub fn is_sink(&self) -> bool {
        matches!(self, Role::Sink(_))
    }

    /// Does it emit what it made of its input only at the end?
    pub fn is_breaker(&self) -> bool {
        matches!(self, Role::Transform(transform) if transform.properties().pipeline_breaker)
    }

    /// Must rows come to it in input order, whether or not they are divided among its workers?
    fn needs_order(&self) -> bool {
        match self {
            Role::Source(_) => false,
            Role::Transform(transform) => transform.properties().ordered,
            Role::Sink(sink) => sink.properties().guarantee != Guarantee::AnyOrder,
        }
    }
}

impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}
