//! Judges rejects against `limits.rejects` in input order, so that every run of a job ends alike.
//!
//! A job that allows `n` rejects fails at its reject number `n + 1` in input order, whichever worker found the rejects
//! first. More than `n` have been seen when it is certain that the job fails, but not yet at which: rejects of earlier
//! records may still come. So sources read on up to the *cutoff*, the last of the first `n + 1` seen so far, and no
//! further; it moves forward as earlier ones come. What lies behind it in the end was never part of the run.
//!
//! A record counts once, however many stages refuse it or a row made of it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{batch::SplitId, jobspec::RejectLimit, rejects::RecordKey};

/// Where more rejects than this are allowed, the run stops at once when there are too many: places are not kept.
const KEPT: u64 = 1 << 20;

/// How far sources read; they all look at it.
#[derive(Debug)]
pub(super) struct Cutoff {
    split: AtomicU64,
    record: AtomicU64,
}

impl Default for Cutoff {
    fn default() -> Self {
        Cutoff { split: AtomicU64::new(u64::MAX), record: AtomicU64::new(u64::MAX) }
    }
}

impl Cutoff {
    /// Does all that comes after record number `read` of a split, 0 for all of it, lie behind the cutoff?
    pub(super) fn excludes(&self, split: SplitId, read: u64) -> bool {
        let last = self.split.load(Ordering::Acquire);
        // A record that belongs to an earlier cutoff in the same split only lets a source read further than needed.
        u64::from(split.0) > last || (u64::from(split.0) == last && read >= self.record.load(Ordering::Acquire))
    }

    pub(super) fn set(&self, (split, record): RecordKey) {
        // While the split moves forward the record must not be that of the new one in the old one's place: a source
        // would stop too early.
        self.record.store(u64::MAX, Ordering::Release);
        self.split.store(u64::from(split.0), Ordering::Release);
        self.record.store(record, Ordering::Release);
    }
}

/// The records that were rejected so far.
#[derive(Debug)]
pub(super) struct RejectCounter {
    limit: RejectLimit,
    /// Of splits that an earlier attempt has stored: these are counted, not looked at again.
    kept: u64,
    records: Records,
    /// Records in all, each once.
    count: u64,
}

/// Which records were rejected.
#[derive(Debug)]
enum Records {
    /// The first of them in input order: one more than the job allows, at most.
    First(BTreeSet<RecordKey>),
    /// Those of the splits that are not settled: of each 64 records with consecutive numbers a word of bits.
    Open(HashMap<SplitId, HashMap<u64, u64>>),
}

impl RejectCounter {
    pub(super) fn new(limit: RejectLimit) -> Self {
        let records = match limit {
            RejectLimit::Count(most) if most <= KEPT => Records::First(BTreeSet::new()),
            RejectLimit::Count(_) | RejectLimit::Share(_) => Records::Open(HashMap::new()),
        };
        RejectCounter { limit, kept: 0, records, count: 0 }
    }

    /// An earlier attempt has counted so many.
    pub(super) fn kept(&mut self, rejected: u64) {
        self.kept += rejected;
        self.count += rejected;
    }

    /// One more record was rejected; answers whether it is the first time.
    pub(super) fn add(&mut self, record: RecordKey) -> bool {
        let new = match &mut self.records {
            Records::First(first) => first.insert(record),
            Records::Open(splits) => {
                let word = splits.entry(record.0).or_default().entry(record.1 / 64).or_default();
                let bit = 1 << (record.1 % 64);
                let new = *word & bit == 0;
                *word |= bit;
                new
            }
        };
        self.count += u64::from(new);
        if let (Records::First(first), Some(room)) = (&mut self.records, room(self.limit, self.kept)) {
            while first.len() as u64 > room + 1 {
                first.pop_last();
            }
        }
        new
    }

    /// Nothing more comes of a split.
    pub(super) fn settled(&mut self, split: SplitId) {
        if let Records::Open(splits) = &mut self.records {
            splits.remove(&split);
        }
    }

    /// Are there too many of `read` records? A number is judged at any time, a share once the input has `ended`.
    pub(super) fn too_many(&self, read: u64, ended: bool) -> bool {
        match self.limit {
            RejectLimit::Count(most) => self.count > most,
            RejectLimit::Share(most) => ended && self.count as f64 > most * read as f64,
        }
    }

    /// The reject at which the job fails, as far as is known, where there are too many: none behind it counts.
    pub(super) fn last(&self) -> Option<RecordKey> {
        match (&self.records, room(self.limit, self.kept)) {
            (Records::First(first), Some(room)) if first.len() as u64 > room => first.last().copied(),
            _ => None,
        }
    }

    /// How many the run ends with.
    pub(super) fn count(&self) -> u64 {
        match &self.records {
            Records::First(first) => self.kept + first.len() as u64,
            Records::Open(_) => self.count,
        }
    }
}

/// How many more are allowed, where a number is; `None` where earlier attempts had too many.
fn room(limit: RejectLimit, kept: u64) -> Option<u64> {
    match limit {
        RejectLimit::Count(most) => most.checked_sub(kept),
        RejectLimit::Share(_) => Some(u64::MAX - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(limit: RejectLimit, records: &[(u32, u64)]) -> RejectCounter {
        let mut counter = RejectCounter::new(limit);
        records.iter().for_each(|(split, record)| _ = counter.add((SplitId(*split), *record)));
        counter
    }

    #[test]
    fn a_job_fails_at_the_same_reject_whoever_was_faster() {
        let orders: [&[(u32, u64)]; 3] = [
            &[(0, 7), (0, 9), (1, 2), (1, 3)],
            &[(1, 3), (1, 2), (0, 9), (0, 7)],
            &[(1, 2), (1, 3), (0, 9), (0, 7), (0, 7)],
        ];
        for order in orders {
            let counter = counter(RejectLimit::Count(2), order);
            assert!(counter.too_many(100, false));
            assert_eq!((counter.last(), counter.count()), (Some((SplitId(1), 2)), 3));
        }
    }

    #[test]
    fn a_record_counts_once() {
        for limit in [RejectLimit::Count(2), RejectLimit::Share(1.0)] {
            let mut counter = counter(limit, &[(0, 1), (0, 2), (0, 1), (0, 2), (0, 2)]);
            assert_eq!((counter.count(), counter.too_many(2, true), counter.last()), (2, false, None));
            counter.settled(SplitId(0));
            assert!(counter.add((SplitId(1), 1)));
        }
    }

    #[test]
    fn a_share_is_judged_at_the_end_of_the_input() {
        let counter = counter(RejectLimit::Share(0.5), &[(0, 1), (0, 2)]);
        assert!(!counter.too_many(2, false) && counter.too_many(3, true) && !counter.too_many(4, true));
    }

    #[test]
    fn what_earlier_attempts_have_counted_counts() {
        let mut counter = RejectCounter::new(RejectLimit::Count(3));
        counter.kept(3);
        assert!(!counter.too_many(9, false));
        counter.add((SplitId(4), 8));
        counter.add((SplitId(4), 5));
        assert_eq!((counter.too_many(9, false), counter.last(), counter.count()), (true, Some((SplitId(4), 5)), 4));
    }

    #[test]
    fn sources_read_up_to_the_cutoff() {
        let cutoff = Cutoff::default();
        assert!(!cutoff.excludes(SplitId(u32::MAX), 1 << 40));
        cutoff.set((SplitId(3), 100));
        let excluded =
            [(2, 1000), (3, 0), (3, 99), (3, 100), (4, 0)].map(|(split, read)| cutoff.excludes(SplitId(split), read));
        assert_eq!(excluded, [false, false, false, true, true]);
    }
}
