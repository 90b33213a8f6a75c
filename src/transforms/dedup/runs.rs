//! All keys on disk: runs by level. Eight runs of one level are merged into one of the next, so there are few of them
//! however many keys there are, and a key is written as often as there are levels. No key is in two runs.

use std::{mem, sync::Arc};

use super::{
    bloom::Filter,
    run::{Asked, Page, Run, RunWriter, merge},
};
use crate::{exchange::Exchange, failure::Failure, stage::Held, transforms::keys::Keys};

/// Runs of one level that are merged. More would be merged less often, and a new key asks the filters of all runs.
const MERGED: usize = 8;

#[derive(Default)]
pub(super) struct Runs {
    /// The runs of each level.
    levels: Vec<Vec<Run>>,
    page: Page,
}

impl Runs {
    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Bytes of memory, those of the filters included.
    pub(super) fn size(&self) -> usize {
        self.runs().map(Run::index).sum::<usize>() + self.filters()
    }

    /// Bytes of the filters.
    pub(super) fn filters(&self) -> usize {
        self.runs().map(filter).sum()
    }

    /// Makes the largest filter take less, or forgets it.
    pub(super) fn reduce_filters(&mut self) {
        if let Some(run) = self.levels.iter_mut().flatten().max_by_key(|run| filter(run))
            && !run.filter.as_mut().is_some_and(Filter::halve)
        {
            run.filter = None;
        }
    }

    /// Writes keys, none of which is in a run.
    pub(super) fn add(&mut self, exchange: &Arc<Exchange>, keys: Keys, account: &mut Held) -> Result<(), Failure> {
        let mut writer = RunWriter::new(exchange, Filter::new(keys.len() as u64, usize::MAX))?;
        keys.by_hash(|hash, key| writer.add(hash, key))?;
        let mut run = writer.finish()?;
        for level in 0.. {
            account.spilled(run.part());
            // Keys are looked up in runs, and read once more for each level.
            account.passes = account.passes.max(1 + level as u64);
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let runs = &mut self.levels[level];
            runs.push(run);
            if runs.len() < MERGED {
                break;
            }
            run = merge(exchange, mem::take(runs))?;
        }
        Ok(())
    }

    /// Takes those out of `asked` whose keys are in a run, and returns them. They are in the order of their hashes.
    pub(super) fn take<'a>(
        &mut self,
        asked: &mut Vec<Asked>,
        key: &impl Fn(u32) -> &'a [u8],
    ) -> Result<Vec<Asked>, Failure> {
        let mut found = Vec::new();
        let runs = self.levels.iter().flatten();
        // Runs without a filter read a block for whatever is left.
        let (first, last): (Vec<&Run>, Vec<&Run>) = runs.partition(|run| run.filter.is_some());
        for run in first.into_iter().chain(last) {
            run.take(asked, key, &mut found, &mut self.page)?;
        }
        Ok(found)
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.levels.iter().flatten()
    }
}

fn filter(run: &Run) -> usize {
    run.filter.as_ref().map_or(0, Filter::size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::memory;

    const KEYS: u32 = 100;

    /// Some keys of which none is in another round.
    fn keys(round: u32) -> impl Iterator<Item = Vec<u8>> {
        (0..KEYS).map(move |n| format!("key {}", round * KEYS + n).into_bytes())
    }

    #[test]
    fn keys_are_found_at_all_levels_whatever_is_left_of_the_filters() {
        let (hashes, exchange) = (Keys::default(), Arc::clone(&memory(1 << 20).exchange));
        let (mut runs, mut account, rounds) = (Runs::default(), Held::default(), 150);
        for round in 0..rounds {
            let mut some = hashes.emptied();
            keys(round).for_each(|key| {
                let hash = some.find_or_hash(&key).expect_err("it is new");
                some.add(hash, &key).expect("few keys");
            });
            runs.add(&exchange, some, &mut account).expect("there is room on disk");
        }
        let levels: Vec<usize> = runs.levels.iter().map(Vec::len).collect();
        assert_eq!(levels, [150 % 8, 150 / 8 % 8, 150 / 64]);
        assert_eq!((account.parts, account.passes), (150 + 150 / 8 + 150 / 64, 3));
        assert_eq!(account.rows, u64::from(KEYS) * (150 + 8 * (150 / 8) + 64 * (150 / 64)));
        // As many that are there as others.
        let all: Vec<Vec<u8>> = (0..2 * rounds).flat_map(keys).collect();
        let key = |row: u32| all[row as usize].as_slice();
        let mut steps = 0;
        loop {
            let hash = |row: u32| hashes.find_or_hash(key(row)).expect_err("there are none");
            let mut asked: Vec<Asked> = (0..all.len() as u32).map(|row| Asked { hash: hash(row), row }).collect();
            asked.sort_unstable();
            let mut found = runs.take(&mut asked, &key).expect("they can be read");
            [&mut found, &mut asked].into_iter().for_each(|some| some.sort_unstable_by_key(|one| one.row));
            let there = rounds * KEYS;
            assert!(found.iter().map(|one| one.row).eq(0..there), "{} are found", found.len());
            assert!(asked.iter().map(|one| one.row).eq(there..2 * there), "{} are left", asked.len());
            let before = (runs.filters(), runs.size());
            if before.0 == 0 {
                break;
            }
            runs.reduce_filters();
            steps += 1;
            assert!(runs.filters() < before.0 && before.1 - runs.size() == before.0 - runs.filters());
        }
        assert_eq!(steps, 2 * levels.iter().sum::<usize>(), "each is halved and then forgotten");
    }
}
