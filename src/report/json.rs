//! The report of a run: one JSON object with a published schema. It holds no row values, except the
//! samples of rejects where the spec asks for them, and no secrets.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::{JsonSchema, Schema, generate::SchemaSettings, json_schema};
use serde::Serialize;

use super::{
    held::HeldReport,
    tally::{SplitState, StageTally, Tally, reasons},
};
use crate::{
    event::StopReason,
    exec::{Outcome, Resumed},
    failure::{Exit, Failure},
    jobspec::Finding,
    plan::{Intake, Role},
};

/// Splits listed one by one at most, those that are not done first; the counts are of all.
const LISTED: usize = 100;

/// Version of the format.
pub const FORMAT: u32 = 1;

/// The report of one run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// Version of this format.
    pub format: u32,
    /// The job's name.
    pub job: String,
    /// The spec's path as it was given.
    pub spec: String,
    /// Identifies what the job does, whichever way it is spelled.
    pub plan: String,
    /// Version of the program.
    pub runner: String,
    /// The run, where it can be resumed should it be interrupted. All other numbers are of this attempt alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunReport>,
    /// When this attempt at it began, UTC, RFC 3339.
    pub started: String,
    /// When it ended.
    pub ended: String,
    /// How long it took.
    pub seconds: f64,
    /// `--dry-run`: nothing was written.
    pub dry_run: bool,
    /// `--limit`: so many rows of every source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The code the process ended with, if this was its last job.
    pub exit_code: u8,
    /// What went wrong for good.
    pub failures: Vec<FailureReport>,
    /// Why the run stopped before the end of its input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StoppedReport>,
    /// Every stage, inputs before those that read them.
    pub stages: Vec<StageReport>,
    /// Records that could not be processed.
    pub rejects: RejectsReport,
    /// Units of input.
    pub splits: SplitsReport,
    /// What reading back from sinks showed.
    pub verified: Vec<VerifiedReport>,
}

/// A run and its earlier attempts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunReport {
    /// Its name, the same in all attempts.
    pub id: String,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Splits that earlier attempts have stored: they were not read again.
    pub splits_kept: usize,
    /// Records read of those.
    pub rows_kept: u64,
    /// Records rejected of those; they count against the limit.
    pub rejects_kept: u64,
}

/// One failure.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FailureReport {
    /// The exit code it leads to.
    pub exit_code: u8,
    /// What happened.
    pub message: String,
}

/// Why a run stopped early.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoppedReport {
    /// SIGINT
    Interrupt,
    /// SIGTERM
    Terminate,
    /// `limits.deadline`
    Deadline,
    /// `limits.rejects`
    Rejects,
    /// A stage failed.
    Failure,
}

/// One stage.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// `source`, `transform` or `sink`.
    pub role: String,
    /// Its `type`.
    pub kind: String,
    /// The first stage of the pool that runs it: itself, unless it is fused.
    pub pool: String,
    /// Workers of that pool.
    pub workers: usize,
    /// Rows taken in; by a source: records read.
    pub rows_in: u64,
    /// Rows passed on; by a sink: rows that the destination acknowledged.
    pub rows_out: u64,
    /// Rows refused with a reason.
    pub rejected: u64,
    /// Rows dropped on purpose.
    pub filtered: u64,
    /// Rows kept by a stage that puts something out only at the end, or the second input of a join.
    pub gathered: u64,
    /// Rows made without one of the input: emitted at the end, or items of lists.
    pub made: u64,
    /// Rows not stored although they should have been.
    pub failed: u64,
    /// Rows that the target has not stored by its own count, though it refused none: a trigger or a rule of the table has
    /// dropped them or stored them elsewhere.
    pub not_confirmed: u64,
    /// Bytes, of what `bytes_of` says.
    pub bytes: u64,
    /// What the bytes are: `input` as it lies on disk or wire, `memory` of the rows that a transform took, `output` that
    /// a sink wrote.
    pub bytes_of: String,
    /// Time spent working, all workers together.
    pub busy_seconds: f64,
    /// Time spent waiting for input, all workers of the pool together.
    pub idle_seconds: f64,
    /// Time spent waiting for room further on, all workers of the pool together.
    pub blocked_seconds: f64,
    /// The queue before it, where it heads a pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueReport>,
    /// What a stage that can spill held and spilled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldReport>,
    /// A sink's answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<AnswersReport>,
    /// In a rehearsal: some of what would have been written; only where the spec says
    /// `report.samples = true`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rehearsed: Vec<String>,
}

/// A queue's size and the most it ever held. A sender that waits for room counts as in the queue.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueueReport {
    /// Batches it can hold.
    pub capacity: usize,
    /// Most batches.
    pub high_batches: u64,
    /// Most rows.
    pub high_rows: u64,
    /// Most bytes.
    pub high_bytes: u64,
}

/// How a sink answered.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AnswersReport {
    /// Batches answered for.
    pub batches: u64,
    /// Half of them within, in milliseconds.
    pub p50_ms: f64,
    /// 99 % of them within, in milliseconds.
    pub p99_ms: f64,
    /// The slowest, in milliseconds.
    pub max_ms: f64,
}

/// Records that could not be processed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RejectsReport {
    /// How many.
    pub total: u64,
    /// How many the job allows, as the spec says it.
    pub limit: String,
    /// The reject file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// By stage and reason, most frequent first.
    pub reasons: Vec<ReasonReport>,
}

/// Rejects of one stage with one reason.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReasonReport {
    /// The stage that refused them.
    pub stage: String,
    /// The reason in one word.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// What the first few in input order say; may hold values. Only where the spec says `report.samples = true`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
}

/// Units of input.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SplitsReport {
    /// How many there are.
    pub total: usize,
    /// How many are wholly stored, their `done` action run.
    pub done: usize,
    /// How many are in each state.
    pub states: BTreeMap<&'static str, usize>,
    /// The first hundred of those that are not done, then of those that are.
    pub list: Vec<SplitReport>,
}

/// One split.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SplitReport {
    /// Its source.
    pub source: String,
    /// Its name.
    pub name: String,
    /// `done`; `stored`, where the run was stopped before the `done` action; `failed`, `incomplete`, `stopped`
    /// or `waiting`.
    pub state: String,
    /// Why it failed, or what its `done` action did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What reading back from a sink showed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VerifiedReport {
    /// The sink.
    pub sink: String,
    /// Records looked for.
    pub checked: u64,
    /// Records found as written.
    pub found: u64,
    /// Lower end of the 95 % interval of the share found.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

/// What the report says of the run as a whole.
#[derive(Clone, Debug)]
pub struct Run {
    /// The spec's path as it was given.
    pub spec: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// When it ended.
    pub ended: String,
    /// How long it took.
    pub seconds: f64,
    /// Was it a rehearsal?
    pub dry_run: bool,
    /// Rows of every source, under `--limit`.
    pub limit: Option<u64>,
    /// The code it leads to.
    pub exit: Exit,
}

impl Report {
    /// The report of a run, from its counts and its outcome.
    pub fn new(run: Run, tally: &Tally, outcome: &Outcome) -> Self {
        let plan = &tally.plan;
        Report {
            format: FORMAT,
            job: plan.name.clone(),
            spec: run.spec,
            plan: plan.digest.clone(),
            runner: env!("CARGO_PKG_VERSION").to_owned(),
            run: outcome.run.as_ref().map(attempt),
            started: run.started,
            ended: run.ended,
            seconds: run.seconds,
            dry_run: run.dry_run,
            limit: run.limit,
            exit_code: run.exit.code(),
            failures: failures(outcome),
            stopped: outcome.stopped.map(stopped),
            stages: (0..plan.stages.len()).map(|id| stage(tally, id)).collect(),
            rejects: rejects(tally),
            splits: splits(tally),
            verified: verified(tally),
        }
    }
}

fn attempt(run: &Resumed) -> RunReport {
    let Resumed { id, attempt, kept, read, rejected } = run;
    let (splits_kept, rows_kept, rejects_kept) = (*kept, *read, *rejected);
    RunReport { id: id.clone(), attempt: *attempt, splits_kept, rows_kept, rejects_kept }
}

fn failures(outcome: &Outcome) -> Vec<FailureReport> {
    let report = |f: &Failure| FailureReport { exit_code: f.exit.code(), message: f.message.clone() };
    outcome.failures.iter().map(report).collect()
}

fn stopped(why: StopReason) -> StoppedReport {
    match why {
        StopReason::Interrupt => StoppedReport::Interrupt,
        StopReason::Terminate => StoppedReport::Terminate,
        StopReason::Deadline => StoppedReport::Deadline,
        StopReason::Rejects => StoppedReport::Rejects,
        StopReason::Failure => StoppedReport::Failure,
    }
}

fn stage(tally: &Tally, id: usize) -> StageReport {
    let plan = &tally.plan;
    let (stage, counts) = (&plan.stages[id], &tally.stages[id]);
    let pool = &plan.pools[plan.pool_of(id)];
    let heads = pool.head == id && !matches!(pool.intake, Intake::Splits);
    StageReport {
        name: stage.name.clone(),
        role: stage.role.word().to_owned(),
        kind: stage.kind.to_owned(),
        pool: plan.stages[pool.head].name.clone(),
        workers: pool.workers,
        rows_in: counts.rows.input,
        rows_out: counts.rows.output,
        rejected: counts.rows.rejected,
        filtered: counts.rows.filtered,
        gathered: counts.rows.gathered,
        made: counts.rows.made,
        failed: counts.rows.failed,
        not_confirmed: counts.rows.not_confirmed,
        bytes: counts.bytes,
        bytes_of: match &stage.role {
            Role::Source(_) => "input",
            Role::Transform(_) => "memory",
            Role::Sink(_) => "output",
        }
        .to_owned(),
        busy_seconds: counts.busy.as_secs_f64(),
        idle_seconds: counts.idle.as_secs_f64(),
        blocked_seconds: counts.blocked.as_secs_f64(),
        queue: heads.then(|| queue(pool.queue, counts)),
        held: HeldReport::of(counts.held),
        answers: matches!(stage.role, Role::Sink(_)).then(|| answers(counts)),
        rehearsed: if plan.samples { counts.rehearsed.clone() } else { Vec::new() },
    }
}

fn queue(capacity: usize, counts: &StageTally) -> QueueReport {
    let high = counts.queue;
    // A batch that a worker is about to put in or has just taken out is counted too, but does not lie in the queue.
    QueueReport {
        capacity,
        high_batches: high.batches.min(capacity as u64),
        high_rows: high.rows,
        high_bytes: high.bytes,
    }
}

fn answers(counts: &StageTally) -> AnswersReport {
    let ms = |latency: std::time::Duration| latency.as_secs_f64() * 1000.0;
    let latency = &counts.latency;
    AnswersReport {
        batches: latency.count(),
        p50_ms: ms(latency.quantile(0.5)),
        p99_ms: ms(latency.quantile(0.99)),
        max_ms: ms(latency.max()),
    }
}

fn rejects(tally: &Tally) -> RejectsReport {
    let with_samples = tally.plan.samples;
    let reasons = reasons(tally).into_iter().map(|(stage, code, refused)| ReasonReport {
        stage: stage.to_owned(),
        reason: code.0.to_owned(),
        count: refused.count,
        samples: if with_samples { refused.samples().map(str::to_owned).collect() } else { Vec::new() },
    });
    RejectsReport {
        total: tally.rejected(),
        limit: tally.plan.limits.rejects.to_string(),
        path: tally.plan.rejects.clone(),
        reasons: reasons.collect(),
    }
}

fn splits(tally: &Tally) -> SplitsReport {
    let (done, not): (Vec<_>, Vec<_>) = tally.splits.iter().partition(|split| split.done());
    let count = done.len();
    let mut states = BTreeMap::new();
    tally.splits.iter().for_each(|split| *states.entry(word(&split.state)).or_default() += 1);
    let list = not.into_iter().chain(done).take(LISTED).map(|split| {
        let detail = match &split.state {
            SplitState::Failed(why) => Some(why.clone()),
            SplitState::Done => split.action.clone(),
            _ => None,
        };
        let source = tally.plan.stages[split.stage].name.clone();
        SplitReport { source, name: split.name(), state: word(&split.state).to_owned(), detail }
    });
    SplitsReport { total: tally.splits.len(), done: count, states, list: list.collect() }
}

fn word(state: &SplitState) -> &'static str {
    match state {
        SplitState::Waiting => "waiting",
        SplitState::Open | SplitState::Incomplete => "incomplete",
        SplitState::Stopped => "stopped",
        SplitState::Stored => "stored",
        SplitState::Failed(_) => "failed",
        SplitState::Done => "done",
    }
}

fn verified(tally: &Tally) -> Vec<VerifiedReport> {
    let stages = tally.plan.stages.iter().zip(&tally.stages);
    let report = |(stage, counts): (&crate::plan::Stage, &StageTally)| {
        let result = counts.verified.as_ref()?;
        let sink = stage.name.clone();
        Some(VerifiedReport { sink, checked: result.checked, found: result.found, low: result.low, high: result.high })
    };
    stages.filter_map(report).collect()
}

/// What is printed in place of a report where there was no run: the command or the spec is not valid, or the job is
/// being run by another.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Refusal {
    /// Version of this format.
    pub format: u32,
    /// The spec's path as it was given.
    pub spec: String,
    /// The code the process ended with.
    pub exit_code: u8,
    /// What went wrong, but for what is wrong with the spec.
    pub failures: Vec<FailureReport>,
    /// What is wrong with the spec.
    pub problems: Vec<Finding>,
}

impl Refusal {
    /// A refusal because of a failure.
    pub fn failed(spec: String, failure: &Failure) -> Self {
        let failures = vec![FailureReport { exit_code: failure.exit.code(), message: failure.message.clone() }];
        Refusal { format: FORMAT, spec, exit_code: failure.exit.code(), failures, problems: Vec::new() }
    }

    /// A refusal because of what is wrong with the spec.
    pub fn invalid(spec: String, problems: Vec<Finding>) -> Self {
        Refusal { format: FORMAT, spec, exit_code: Exit::Spec.code(), failures: Vec::new(), problems }
    }
}

/// The JSON Schema of what `--format json` prints of a job: the report of its run or, where there was none, why.
pub fn schema() -> Schema {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let (run, refusal) = (generator.subschema_for::<Report>(), generator.subschema_for::<Refusal>());
    json_schema!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report",
        "description": "The report of a run or, where there was none, why.",
        "if": { "required": ["stages"] },
        "then": run,
        "else": refusal,
        "$defs": generator.take_definitions(true),
    })
}
