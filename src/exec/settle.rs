//! Settles splits in their order: a split's `done` action runs once it is wholly and durably stored, its
//! rejects are on disk, and every split before it has been settled too.

use std::collections::BTreeMap;

use crate::{batch::SplitId, jobspec::RejectLimit};

/// Rows read and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) read: u64,
    pub(super) rejected: u64,
}

/// What is known of splits that are not settled yet.
#[derive(Debug)]
pub(super) struct Settling {
    next: u32,
    splits: BTreeMap<SplitId, Share>,
    answered: BTreeMap<SplitId, bool>,
    /// Of all splits settled so far.
    sum: Share,
    limit: RejectLimit,
}

/// One settled split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) split: SplitId,
    /// All of it is stored or rejected.
    pub(super) complete: bool,
    /// The rejects so far are within the limit.
    pub(super) within: bool,
}

impl Settling {
    pub(super) fn new(limit: RejectLimit) -> Self {
        Settling { next: 0, splits: BTreeMap::new(), answered: BTreeMap::new(), sum: Share::default(), limit }
    }

    /// More rows of a split were read.
    pub(super) fn read(&mut self, split: SplitId, rows: u64) {
        self.splits.entry(split).or_default().read += rows;
    }

    /// More rows of a split were refused.
    pub(super) fn rejected(&mut self, split: SplitId, rows: u64) {
        self.splits.entry(split).or_default().rejected += rows;
    }

    /// What is known of a split that is not settled yet.
    pub(super) fn share(&self, split: SplitId) -> Share {
        self.splits.get(&split).copied().unwrap_or_default()
    }

    /// A split has been answered for; call [`Settling::next`] until it has no more.
    pub(super) fn answered(&mut self, split: SplitId, complete: bool) {
        self.answered.insert(split, complete);
    }

    /// The next split in order, once it has been answered for.
    ///
    /// A share is judged here, over all splits settled so far in their order, so that the verdict does not
    /// depend on which worker was faster.
    pub(super) fn next(&mut self) -> Option<Settled> {
        let split = SplitId(self.next);
        let complete = self.answered.remove(&split)?;
        self.next += 1;
        let share = self.splits.remove(&split).unwrap_or_default();
        self.sum.read += share.read;
        self.sum.rejected += share.rejected;
        Some(Settled { split, complete, within: within(self.limit, self.sum) })
    }
}

/// Are so many rejects of so many records allowed?
pub(super) fn within(limit: RejectLimit, share: Share) -> bool {
    match limit {
        RejectLimit::Count(most) => share.rejected <= most,
        RejectLimit::Share(most) => share.rejected as f64 <= most * share.read as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(settling: &mut Settling) -> Vec<(u32, bool, bool)> {
        std::iter::from_fn(|| settling.next()).map(|s| (s.split.0, s.complete, s.within)).collect()
    }

    #[test]
    fn splits_settle_in_order() {
        let mut settling = Settling::new(RejectLimit::Count(0));
        settling.answered(SplitId(1), true);
        assert_eq!(settled(&mut settling), []);
        settling.answered(SplitId(0), false);
        assert_eq!(settled(&mut settling), [(0, false, true), (1, true, true)]);
    }

    #[test]
    fn a_share_is_judged_over_all_splits_so_far() {
        let mut settling = Settling::new(RejectLimit::Share(0.01));
        for (split, read, rejected) in [(0, 1000, 10), (1, 100, 2), (2, 1000, 0)] {
            settling.read(SplitId(split), read);
            settling.rejected(SplitId(split), rejected);
            settling.answered(SplitId(split), true);
        }
        assert_eq!(settled(&mut settling), [(0, true, true), (1, true, false), (2, true, true)]);
    }
}
