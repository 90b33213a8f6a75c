//! The life of every split of a run, in one state machine.
//!
//! ```text
//! open ─▶ acknowledged ─▶ durable ─▶ noted ─▶ done
//!   └───▶ incomplete
//! ```
//!
//! - *Acknowledged*: every sink that its rows reach has answered for all of them.
//! - *Incomplete*: something of it was not read, was lost or was not stored; the next attempt reads it again.
//! - *Durable*: it counts as stored. When that is depends on the sinks its source leads to ([`StoredWhen`]).
//! - *Noted*: the ledger says so, and its rejects are on disk.
//! - *Done*: its `done` action has run. These run in split order, and only while the rejects are within their limit.
//!
//! Nothing here touches a file: the coordinator moves splits on as events come, and [`Journal`](super::journal::Journal)
//! writes down what is due.

use crate::{batch::SplitId, ledger::Stored};

/// When an acknowledged split counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StoredWhen {
    /// At once.
    Alone,
    /// Once every split before it is stored, too: a row of an earlier split, sent later, would replace one of its rows.
    Preceded,
    /// Once the run has ended with every split acknowledged: a stage needs all of its input again, or a sink's output
    /// is whole or absent.
    WithTheRun,
}

/// Where a split is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Incomplete,
    Acknowledged,
    Durable,
    Noted,
    Done,
}

/// Rows read and rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) read: u64,
    pub(super) rejected: u64,
}

#[derive(Debug)]
struct Split {
    when: StoredWhen,
    state: State,
    share: Share,
}

/// All splits of a run.
#[derive(Debug)]
pub(super) struct SplitLog {
    splits: Vec<Split>,
    /// Of the whole run so far, splits of no source included.
    sum: Share,
    /// Do `done` actions wait for the end of the run?
    act_at_end: bool,
    /// Of the splits with [`StoredWhen::Preceded`], those before this one are durable.
    preceded: usize,
    /// The `done` actions of the splits before this one have run, or never will.
    acted: usize,
    /// Splits that are durable, and not noted yet.
    fresh: Vec<usize>,
    done: usize,
}

impl SplitLog {
    /// A log of splits that nobody has read: of each, when it counts as stored. `act_at_end` keeps all
    /// `done` actions for the end of the run.
    pub(super) fn new(splits: impl Iterator<Item = StoredWhen>, act_at_end: bool) -> Self {
        let split = |when| Split { when, state: State::Open, share: Share::default() };
        SplitLog {
            splits: splits.map(split).collect(),
            sum: Share::default(),
            act_at_end,
            preceded: 0,
            acted: 0,
            fresh: Vec::new(),
            done: 0,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.splits.len()
    }

    /// How many `done` actions have run, those of sources that have none included.
    pub(super) fn done_count(&self) -> usize {
        self.done
    }

    /// Of the whole run so far.
    pub(super) fn sum(&self) -> Share {
        self.sum
    }

    /// More rows of a split were read.
    pub(super) fn read(&mut self, split: SplitId, rows: u64) {
        self.count(split, Share { read: rows, rejected: 0 });
    }

    /// More rows of a split were rejected.
    pub(super) fn rejected(&mut self, split: SplitId, rows: u64) {
        self.count(split, Share { read: 0, rejected: rows });
    }

    fn count(&mut self, split: SplitId, more: Share) {
        let own = self.splits.get_mut(split.0 as usize).map(|split| &mut split.share);
        for share in own.into_iter().chain([&mut self.sum]) {
            share.read += more.read;
            share.rejected += more.rejected;
        }
    }

    /// An earlier attempt has stored it and noted that.
    pub(super) fn kept(&mut self, split: SplitId, share: Share) {
        self.count(split, share);
        self.splits[split.0 as usize].state = State::Noted;
        self.advance();
    }

    /// Every sink has answered for it; `complete` says whether all of it is stored or rejected.
    pub(super) fn answered(&mut self, split: SplitId, complete: bool) {
        let number = split.0 as usize;
        let split = &mut self.splits[number];
        debug_assert_eq!(split.state, State::Open, "a split is answered for once");
        split.state = if complete { State::Acknowledged } else { State::Incomplete };
        if complete && split.when == StoredWhen::Alone {
            self.durable(number);
        }
        self.advance();
    }

    fn durable(&mut self, number: usize) {
        self.splits[number].state = State::Durable;
        self.fresh.push(number);
    }

    /// Moves on what waited for earlier splits.
    fn advance(&mut self) {
        while let Some(split) = self.splits.get(self.preceded) {
            match (split.when, split.state) {
                (StoredWhen::Preceded, State::Acknowledged) => self.durable(self.preceded),
                (StoredWhen::Preceded, State::Open | State::Incomplete) => return,
                _ => {}
            }
            self.preceded += 1;
        }
    }

    /// Nothing more comes. Where every split is acknowledged, those that waited for that are durable now.
    pub(super) fn run_ended(&mut self) {
        let whole = |split: &Split| !matches!(split.state, State::Open | State::Incomplete);
        if self.splits.iter().all(whole) {
            let acknowledged = |number: &usize| self.splits[*number].state == State::Acknowledged;
            let last: Vec<usize> = (0..self.splits.len()).filter(acknowledged).collect();
            last.into_iter().for_each(|number| self.durable(number));
        }
    }

    /// The splits to be noted now, in order.
    pub(super) fn to_note(&self) -> Vec<Stored> {
        let stored = self.fresh.iter().map(|number| {
            let Share { read, rejected } = self.splits[*number].share;
            Stored { split: SplitId(*number as u32), read, rejected }
        });
        let mut stored: Vec<Stored> = stored.collect();
        stored.sort_unstable_by_key(|stored| stored.split);
        stored
    }

    /// What was to be noted has been.
    pub(super) fn noted(&mut self) {
        for number in self.fresh.drain(..) {
            self.splits[number].state = State::Noted;
        }
    }

    /// The next split below `end` whose `done` action is due, in order; it counts as done then. One that is not noted
    /// yet holds up those behind it, unless the run has `ended`: then it never will be.
    pub(super) fn next_due(&mut self, end: SplitId, ended: bool) -> Option<SplitId> {
        if self.act_at_end && !ended {
            return None;
        }
        loop {
            let number = SplitId(self.acted as u32);
            let split = self.splits.get_mut(self.acted).filter(|_| number < end)?;
            match split.state {
                State::Noted => {
                    split.state = State::Done;
                    self.acted += 1;
                    return Some(number);
                }
                State::Incomplete => self.acted += 1,
                _ if ended => self.acted += 1,
                _ => return None,
            }
        }
    }

    /// The `done` action of a split has run.
    pub(super) fn acted(&mut self) {
        self.done += 1;
    }

    /// Is a split done, its action run?
    pub(super) fn has_acted(&self, split: SplitId) -> bool {
        self.splits.get(split.0 as usize).is_some_and(|split| split.state == State::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(when: &[StoredWhen]) -> SplitLog {
        SplitLog::new(when.iter().copied(), false)
    }

    /// Notes what is to be noted and runs what is due; answers with both.
    fn step(log: &mut SplitLog, ended: bool) -> (Vec<u32>, Vec<u32>) {
        let stored = log.to_note();
        log.noted();
        let due = std::iter::from_fn(|| log.next_due(SplitId(9), ended)).map(|split| split.0).collect();
        (stored.iter().map(|stored| stored.split.0).collect(), due)
    }

    #[test]
    fn actions_run_in_order_once_their_split_is_noted() {
        let mut log = log(&[StoredWhen::Alone; 3]);
        log.answered(SplitId(1), true);
        assert_eq!(log.next_due(SplitId(9), false), None, "it is not noted");
        assert_eq!(step(&mut log, false), (vec![1], vec![]));
        log.answered(SplitId(0), false);
        assert_eq!(step(&mut log, false), (vec![], vec![1]));
        log.answered(SplitId(2), true);
        assert_eq!(step(&mut log, false), (vec![2], vec![2]));
    }

    #[test]
    fn where_the_last_row_wins_what_is_stored_is_a_prefix() {
        let mut log = log(&[StoredWhen::Preceded, StoredWhen::Alone, StoredWhen::Preceded, StoredWhen::Preceded]);
        log.answered(SplitId(2), true);
        log.answered(SplitId(1), true);
        assert_eq!(step(&mut log, false), (vec![1], vec![]));
        log.answered(SplitId(0), true);
        assert_eq!(step(&mut log, false), (vec![0, 2], vec![0, 1, 2]));
        log.answered(SplitId(3), false);
        log.run_ended();
        assert_eq!(step(&mut log, true), (vec![], vec![]));
    }

    #[test]
    fn behind_a_split_that_is_missing_nothing_is_stored_where_the_last_row_wins() {
        let mut log = log(&[StoredWhen::Preceded; 2]);
        log.answered(SplitId(0), false);
        log.answered(SplitId(1), true);
        log.run_ended();
        assert_eq!(step(&mut log, true), (vec![], vec![]));
    }

    #[test]
    fn what_is_stored_with_the_run_is_stored_only_if_nothing_is_missing() {
        for missing in [false, true] {
            let mut log = log(&[StoredWhen::WithTheRun, StoredWhen::Alone, StoredWhen::WithTheRun]);
            (0..3).for_each(|split| log.answered(SplitId(split), split != 2 || !missing));
            assert_eq!(step(&mut log, false), (vec![1], vec![]));
            log.run_ended();
            let all = if missing { (vec![], vec![1]) } else { (vec![0, 2], vec![0, 1, 2]) };
            assert_eq!(step(&mut log, true), all);
        }
    }

    #[test]
    fn actions_may_wait_for_the_end() {
        let mut log = log(&[StoredWhen::Alone; 2]);
        log.act_at_end = true;
        log.answered(SplitId(0), true);
        log.answered(SplitId(1), true);
        assert_eq!(step(&mut log, false), (vec![0, 1], vec![]));
        log.run_ended();
        assert_eq!(step(&mut log, true), (vec![], vec![0, 1]));
    }

    #[test]
    fn what_an_earlier_attempt_has_stored_is_not_noted_again() {
        let mut log = log(&[StoredWhen::Preceded; 2]);
        log.kept(SplitId(0), Share { read: 7, rejected: 2 });
        log.answered(SplitId(1), true);
        assert_eq!((log.sum(), step(&mut log, false)), (Share { read: 7, rejected: 2 }, (vec![1], vec![0, 1])));
    }
}
