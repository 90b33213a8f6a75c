//! `keep = "first"`: rows go on as they come, so whether a key was there before is said of each batch at once. Keys that
//! have no room in memory are spilled in runs, and what is not in memory is looked up in these, all of a batch together.
//!
//! A key is in `keys` or in one run. Keys that were met again in a run are in `seen` besides, so that a key that comes often
//! is looked up on disk once: in memory one key takes far less room than the block that it was read in, and can be
//! forgotten at any time without being written again.

use std::{mem, sync::Arc};

use arrow_array::ArrayRef;
use arrow_row::Rows;

use super::{Setup, run::Asked, runs::Runs};
use crate::{
    batch::{Batch, Rejects},
    failure::Failure,
    memory::Share,
    stage::{Held, TransformWorker},
    transforms::keys::Keys,
};

/// Lets the first row of every key through.
pub(super) struct First {
    setup: Arc<Setup>,
    share: Share,
    keys: Keys,
    seen: Keys,
    runs: Runs,
    account: Held,
}

impl First {
    pub(super) fn new(setup: Arc<Setup>) -> Self {
        let (share, keys) = (setup.budget.share(), Keys::default());
        // Both have the same hashes, which the runs are sorted by.
        let seen = keys.emptied();
        First { setup, share, keys, seen, runs: Runs::default(), account: Held::default() }
    }

    /// The first rows of new keys, where all keys are in memory.
    fn new_in_memory(&mut self, rows: &Rows) -> Result<Vec<u32>, Failure> {
        let mut next = self.keys.len() as u32;
        let mut kept = Vec::new();
        for (row, id) in (0_u32..).zip(self.keys.number(rows)?) {
            if id == next {
                kept.push(row);
                next += 1;
            }
        }
        Ok(kept)
    }

    /// The same, where some are on disk.
    fn new_in_all(&mut self, rows: &Rows) -> Result<Vec<u32>, Failure> {
        let key = |row: u32| rows.row(row as usize).data();
        let mut asked = Vec::new();
        for row in 0..rows.num_rows() as u32 {
            if let Err(hash) = self.keys.find_or_hash(key(row))
                && self.seen.find_hashed(hash, key(row)).is_none()
            {
                asked.push(Asked { hash, row });
            }
        }
        asked.sort_unstable();
        first_of_each(&mut asked, &key);
        for Asked { hash, row } in self.runs.take(&mut asked, &key)? {
            self.seen.add(hash, key(row))?;
        }
        asked.iter().try_for_each(|Asked { hash, row }| self.keys.add(*hash, key(*row)))?;
        let mut kept: Vec<u32> = asked.into_iter().map(|one| one.row).collect();
        kept.sort_unstable();
        Ok(kept)
    }

    fn size(&self) -> usize {
        self.keys.size() + self.seen.size() + self.runs.size()
    }

    /// As long as it holds too much, that gives way which takes most.
    fn make_room(&mut self) -> Result<(), Failure> {
        self.account.note(self.size());
        while !self.share.fits(self.size()) {
            let [keys, seen, filters] = [self.keys.size(), self.seen.size(), self.runs.filters()];
            let most = keys.max(seen).max(filters);
            if most < self.share.block() {
                // Runs of so few keys would be too many; and where blocks are found on disk must be known.
                return self.share.set(self.size());
            }
            if most == seen {
                self.seen = self.keys.emptied();
            } else if most == filters {
                self.runs.reduce_filters();
            } else {
                let empty = self.keys.emptied();
                let keys = mem::replace(&mut self.keys, empty);
                self.runs.add(self.share.exchange(), keys, &mut self.account)?;
            }
        }
        Ok(())
    }
}

impl TransformWorker for First {
    fn apply(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch, Failure> {
        let by: Vec<ArrayRef> = self.setup.by.iter().map(|place| Arc::clone(batch.records.column(*place))).collect();
        let rows = self.setup.encoder.rows(&by)?;
        let kept = if self.runs.is_empty() { self.new_in_memory(&rows)? } else { self.new_in_all(&rows)? };
        self.make_room()?;
        Ok(if kept.len() == batch.rows() { batch } else { batch.pick(kept) })
    }

    fn held(&self) -> Held {
        self.account
    }
}

/// Leaves the first row of each key. They are in the order of their hashes, those of one hash in that of the rows.
fn first_of_each<'a>(asked: &mut Vec<Asked>, key: &impl Fn(u32) -> &'a [u8]) {
    let (mut left, mut same) = (0, 0);
    for at in 0..asked.len() {
        let one = asked[at];
        if left > 0 && asked[left - 1].hash != one.hash {
            same = left;
        }
        if !asked[same..left].iter().any(|other| key(other.row) == key(one.row)) {
            asked[left] = one;
            left += 1;
        }
    }
    asked.truncate(left);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{
        memory::Budget,
        testing::memory,
        transforms::{dedup::Keep, keys::Encoder, testing::input},
    };

    #[test]
    fn keys_that_come_again_are_looked_up_on_disk_once_until_they_take_most() {
        let row = |n: usize| json!([format!("a key with a long name, number {n}")]);
        let [many, few]: [Vec<Json>; 2] = [2000, 10].map(|count| (0..count).map(row).collect());
        let rows = input("k string", &[&many, &few, &few, &many, &few]);
        let encoder = Encoder::new([(rows.schema.columns()[0].column_type.to_arrow(), false)]).expect("text is a key");
        let budget = Budget::new(&memory(100_000), "the keys");
        let setup = Setup { by: vec![0], encoder, schema: rows.schema.clone(), keep: Keep::First, budget };
        let mut first = First::new(Arc::new(setup));
        let mut found = Vec::new();
        for batch in rows.batches {
            let out = first.apply(batch, &mut Rejects::default()).expect("there is room");
            found.push((out.rows(), first.keys.len(), first.seen.len()));
        }
        assert_eq!(found, [(2000, 0, 0), (0, 0, 10), (0, 0, 10), (0, 0, 0), (0, 0, 10)]);
        assert_eq!((first.held().parts, first.held().rows), (1, 2000));
    }

    #[test]
    fn the_first_row_of_each_key_is_left_also_where_hashes_are_equal() {
        let keys = ["a", "b", "a", "c", "b", "d", "a"];
        let hashes = [7, 7, 7, 1, 7, 9, 7];
        let mut asked: Vec<Asked> = (0..).zip(hashes).map(|(row, hash)| Asked { hash, row }).collect();
        asked.sort_unstable();
        first_of_each(&mut asked, &|row| keys[row as usize].as_bytes());
        assert_eq!(asked.iter().map(|one| one.row).collect::<Vec<_>>(), [3, 0, 1, 5]);
    }
}
