//! Counts the facts of a run.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hdrhistogram::Histogram;

use crate::{
    batch::{Position, Reject, RejectCode, SplitId},
    event::{Closed, Event, HighWater, Observer, RowCounts, StageId, StopReason},
    plan::{Plan, Role},
    stage::{Detail, Held, Split, Verified},
};

/// Messages kept of each reason for a reject.
const SAMPLES: usize = 5;
/// Lines kept of what a rehearsal would have written, per sink.
const REHEARSED: usize = 10;

/// All counts of a run.
#[derive(Debug)]
pub struct Tally {
    pub(super) plan: Arc<Plan>,
    pub(super) stages: Vec<StageTally>,
    pub(super) splits: Vec<SplitTally>,
    pub(super) stopped: Option<StopReason>,
}

/// Counts of one stage.
#[derive(Debug, Default)]
pub(super) struct StageTally {
    pub(super) rows: RowCounts,
    pub(super) bytes: u64,
    pub(super) busy: Duration,
    pub(super) idle: Duration,
    pub(super) blocked: Duration,
    pub(super) queue: HighWater,
    pub(super) held: Held,
    pub(super) latency: Latencies,
    pub(super) rejects: BTreeMap<RejectCode, Refused>,
    /// Rejects behind the one at which the job failed.
    pub(super) behind_cutoff: u64,
    pub(super) rehearsed: Vec<String>,
    pub(super) verified: Option<Verified>,
}

/// Rejects with one reason.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) count: u64,
    /// The first of them in input order, so that it does not show which worker was faster.
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    split: SplitId,
    position: Position,
    message: String,
}

impl Refused {
    /// What the first of them say.
    pub(super) fn samples(&self) -> impl Iterator<Item = &str> {
        self.samples.iter().map(|sample| sample.message.as_str())
    }

    fn add(&mut self, reject: &Reject) {
        self.count += 1;
        let place = (reject.split, reject.position);
        let at = self.samples.partition_point(|sample| (sample.split, sample.position) <= place);
        if at < SAMPLES {
            self.samples.truncate(SAMPLES - 1);
            let Reject { split, position, message, .. } = reject;
            self.samples.insert(at, Sample { split: *split, position: *position, message: message.clone() });
        }
    }

    /// So many of them, the last in input order, do not count.
    fn drop_last(&mut self, rejects: u64) {
        self.count -= rejects;
        self.samples.truncate(usize::try_from(self.count).unwrap_or(usize::MAX));
    }
}

/// What is known of one split.
#[derive(Debug)]
pub(super) struct SplitTally {
    pub(super) stage: StageId,
    pub(super) split: Split,
    pub(super) state: SplitState,
    pub(super) action: Option<String>,
}

/// How far a split has come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum SplitState {
    /// Nobody has opened it.
    Waiting,
    /// It is being read, or what was read is not wholly answered for.
    Open,
    /// It was not read to its end because the run was stopped.
    Stopped,
    /// Reading it failed.
    Failed(String),
    /// Some of its records are not stored.
    Incomplete,
    /// All of it is stored or rejected, but the run was stopped before its `done` action.
    Stored,
    /// All of it is stored or rejected, and its `done` action, if any, has run.
    Done,
}

impl Tally {
    /// A tally of a run of this plan, with nothing counted yet.
    pub fn new(plan: Arc<Plan>) -> Self {
        let stages = plan.stages.iter().map(|_| StageTally::default()).collect();
        Tally { plan, stages, splits: Vec::new(), stopped: None }
    }

    /// Rows that the sources read.
    pub fn read(&self) -> u64 {
        self.plan.sources().map(|(id, _)| self.stages[id].rows.input).sum()
    }

    /// Records rejected by all stages, up to the one at which the job failed.
    pub fn rejected(&self) -> u64 {
        self.stages.iter().map(|stage| stage.rows.rejected - stage.behind_cutoff).sum()
    }

    /// Has this source `done` actions?
    pub(super) fn has_action(&self, source: StageId) -> bool {
        matches!(&self.plan.stages[source].role, Role::Source(source) if source.properties().has_action)
    }

    /// Rows that sinks did not store although they should have.
    pub fn failed(&self) -> u64 {
        self.stages.iter().map(|stage| stage.rows.failed).sum()
    }

    /// What does not add up: every row that goes into a stage must come out of it or be accounted for, and
    /// what one stage emits its readers must take in. Anything named here is a bug.
    pub fn imbalances(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (stage, tally) in self.plan.stages.iter().zip(&self.stages) {
            let RowCounts { input, output, rejected, filtered, gathered, made, failed, not_confirmed } = tally.rows;
            let accounted = output + rejected + filtered + gathered + failed + not_confirmed;
            if input + made != accounted {
                let came = input + made;
                found.push(format!("`{}` took or made {came} rows and accounts for {accounted}", stage.name));
            }
            let sent: u64 = stage.reads().map(|from| self.stages[from].rows.output).sum();
            if stage.reads().next().is_some() && sent != input {
                found.push(format!("`{}` took {input} rows of {sent} that were sent to it", stage.name));
            }
        }
        found
    }

    fn split(&mut self, split: SplitId) -> Option<&mut SplitTally> {
        self.splits.get_mut(split.0 as usize)
    }

    fn set(&mut self, split: SplitId, state: SplitState) {
        if let Some(known) = self.split(split) {
            // The first reason why a split is not done is the one to show.
            if matches!(known.state, SplitState::Waiting | SplitState::Open) {
                known.state = state;
            }
        }
    }
}

impl Observer for Tally {
    fn on(&mut self, event: &Event) {
        match event {
            Event::Listed { stage, splits, .. } => self.splits.extend(splits.iter().map(|split| SplitTally {
                stage: *stage,
                split: split.clone(),
                state: SplitState::Waiting,
                action: None,
            })),
            Event::Kept { splits } => splits.iter().for_each(|split| self.set(*split, SplitState::Stored)),
            Event::Opened { split } => self.set(*split, SplitState::Open),
            Event::Closed { split, how } => match how {
                Closed::Whole => {}
                Closed::Stopped => self.set(*split, SplitState::Stopped),
                Closed::Failed(failure) => self.set(*split, SplitState::Failed(failure.message.clone())),
            },
            Event::Settled { split, complete } => {
                let state = if *complete { SplitState::Stored } else { SplitState::Incomplete };
                self.set(*split, state);
            }
            Event::Done { split, action } => {
                if let Some(known) = self.split(*split) {
                    known.state = SplitState::Done;
                    known.action.clone_from(action);
                }
            }
            Event::Stopping { why } => self.stopped = self.stopped.or(Some(*why)),
            Event::Worked { stage, .. }
            | Event::Waited { stage, .. }
            | Event::Rejected { stage, .. }
            | Event::BehindCutoff { stage, .. }
            | Event::Answered { stage, .. }
            | Event::Withdrawn { stage, .. }
            | Event::Refused { stage, .. }
            | Event::Verified { stage, .. }
            | Event::Held { stage, .. }
            | Event::Queue { stage, .. } => self.stages[*stage].on(event),
            Event::Failed { .. } | Event::Level { .. } | Event::WaitsToCommit { .. } | Event::WorkerEnded { .. } => {}
        }
    }
}

impl StageTally {
    fn on(&mut self, event: &Event) {
        match event {
            Event::Worked { rows, bytes, busy, .. } => {
                self.rows.input += rows.input;
                self.rows.output += rows.output;
                self.rows.rejected += rows.rejected;
                self.rows.filtered += rows.filtered;
                self.rows.gathered += rows.gathered;
                self.rows.made += rows.made;
                self.rows.failed += rows.failed;
                self.rows.not_confirmed += rows.not_confirmed;
                self.bytes += bytes;
                self.busy += *busy;
            }
            Event::Waited { idle, blocked, .. } => {
                self.idle += *idle;
                self.blocked += *blocked;
            }
            Event::Rejected { rejects, .. } => {
                rejects.iter().for_each(|reject| self.rejects.entry(reject.code).or_default().add(reject));
            }
            Event::BehindCutoff { code, rejects, .. } => {
                self.behind_cutoff += rejects;
                if let Some(refused) = self.rejects.get_mut(code) {
                    refused.drop_last(*rejects);
                }
                self.rejects.retain(|_, refused| refused.count > 0);
            }
            Event::Answered { latency, samples, .. } => {
                self.latency.add(*latency);
                let room = REHEARSED.saturating_sub(self.rehearsed.len());
                self.rehearsed.extend(samples.iter().take(room).cloned());
            }
            Event::Withdrawn { rows, .. } => {
                self.rows.output -= rows;
                self.rows.failed += rows;
            }
            Event::Refused { rows, .. } => {
                self.rows.output -= rows;
                self.rows.rejected += rows;
            }
            Event::Verified { result, .. } => self.verified = Some(result.clone()),
            // Workers hold what they hold at the same time.
            Event::Held { held, .. } => {
                self.held.peak += held.peak;
                self.held.rows += held.rows;
                self.held.bytes += held.bytes;
                self.held.parts += held.parts;
                self.held.passes = self.held.passes.max(held.passes);
            }
            // A keyed pool has a queue per worker: the fullest one counts.
            Event::Queue { high, .. } => {
                self.queue.batches = self.queue.batches.max(high.batches);
                self.queue.rows = self.queue.rows.max(high.rows);
                self.queue.bytes = self.queue.bytes.max(high.bytes);
            }
            _ => {}
        }
    }
}

/// Latencies; quantiles are right to a percent.
#[derive(Debug)]
pub(super) struct Latencies {
    /// In microseconds; takes some 30 KiB.
    counts: Histogram<u64>,
    max: Duration,
}

/// What takes longer is counted as this.
const LONGEST_MICROS: u64 = 7 * 24 * 3600 * 1_000_000;

impl Default for Latencies {
    fn default() -> Self {
        let counts = Histogram::new_with_bounds(1, LONGEST_MICROS, 2).expect("the bounds make sense");
        Latencies { counts, max: Duration::ZERO }
    }
}

impl Latencies {
    fn add(&mut self, latency: Duration) {
        self.counts.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_MICROS));
        self.max = self.max.max(latency);
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.len()
    }

    pub(super) fn max(&self) -> Duration {
        self.max
    }

    /// The latency that a share `q` (0 to 1) of all stays within.
    pub(super) fn quantile(&self, q: f64) -> Duration {
        Duration::from_micros(self.counts.value_at_quantile(q)).min(self.max)
    }
}

impl SplitTally {
    /// What people call it; of one of several ranges of a file, also which.
    pub(super) fn name(&self) -> String {
        match &self.split.detail {
            Detail::File { range: Some(range), .. } => {
                format!("{}, bytes {} to {}", self.split.name, range.start, range.end)
            }
            _ => self.split.name.clone(),
        }
    }

    /// Is there nothing left to do for it?
    pub(super) fn done(&self) -> bool {
        self.state == SplitState::Done
    }
}

/// The stages that ended a reject's way, with their reasons: most frequent first.
pub(super) fn reasons(tally: &Tally) -> Vec<(&str, RejectCode, &Refused)> {
    let mut reasons: Vec<_> = tally
        .plan
        .stages
        .iter()
        .zip(&tally.stages)
        .flat_map(|(stage, counts)| counts.rejects.iter().map(|(code, refused)| (stage.name.as_str(), *code, refused)))
        .collect();
    reasons.sort_by_key(|(stage, code, refused)| (std::cmp::Reverse(refused.count), *stage, *code));
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: RejectCode = RejectCode("bad_number");

    /// Rejects by split and record, as they come.
    fn refused(places: &[(u32, u64)]) -> StageTally {
        let mut tally = StageTally::default();
        for (split, record) in places {
            let position = Position { record: *record, line: 0 };
            let reject = Reject::unread(CODE, format!("{split}.{record}"), SplitId(*split), position, Vec::new());
            tally.on(&Event::Rejected { stage: 0, rejects: vec![reject] });
        }
        tally
    }

    fn samples(tally: &StageTally) -> Vec<&str> {
        tally.rejects[&CODE].samples().collect()
    }

    #[test]
    fn the_samples_of_a_reason_are_the_first_in_input_order() {
        let order: Vec<(u32, u64)> = vec![(0, 2), (0, 10), (1, 1), (1, 3), (2, 1), (2, 2), (2, 7), (3, 1)];
        let first = ["0.2", "0.10", "1.1", "1.3", "2.1"];
        let (backward, halves) = (order.iter().rev().copied().collect(), [&order[4..], &order[..4]].concat());
        for order in [order.clone(), backward, halves] {
            let mut tally = refused(&order);
            assert_eq!((tally.rejects[&CODE].count, samples(&tally)), (8, first.to_vec()), "{order:?}");
            // Those behind the one at which a job fails are not shown either.
            tally.on(&Event::BehindCutoff { stage: 0, code: CODE, rejects: 6 });
            assert_eq!((tally.rejects[&CODE].count, samples(&tally)), (2, first[..2].to_vec()), "{order:?}");
        }
    }

    #[test]
    fn quantiles_are_right_to_a_percent() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        for (q, ms) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = latencies.quantile(q).as_secs_f64() * 1000.0;
            assert!((found / ms - 1.0).abs() < 0.01, "{q}: {found} for {ms}");
        }
    }
}
