//! Right rows that no left row has had as a partner, which are known once the left side has ended.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array, cast::AsArray, types::UInt64Type};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};

use super::{Setup, right::Right, runs::Runs};
use crate::{
    exchange::Merge,
    failure::{Exit, Failure},
    stage::{Held, Made},
    transforms::memory::loose,
};

/// Rows that are taken at once.
const ROWS: usize = 8192;

/// Which keys of the right side left rows have had.
#[derive(Default)]
pub(super) struct Met(Vec<bool>);

impl Met {
    /// Left rows have had these.
    pub(super) fn note<'a>(&mut self, right: &Right, keys: impl IntoIterator<Item = &'a u32>) {
        if self.0.is_empty() {
            self.0.resize(right.keys.len(), false);
        }
        keys.into_iter().for_each(|key| self.0[*key as usize] = true);
    }

    /// The rows of all other keys.
    fn others(&self, right: &Right) -> BooleanBuffer {
        let mut rows = BooleanBufferBuilder::new(right.len());
        rows.append_n(right.len(), false);
        for key in (0..right.keys.len() as u32).filter(|key| !self.0.get(*key as usize).is_some_and(|met| *met)) {
            right.rows_of(key).iter().for_each(|row| rows.set_bit(*row as usize, true));
        }
        rows.finish()
    }
}

/// Those of a right side in memory. What says which they are takes less than the right side did while it was built.
pub(super) struct Unmatched {
    right: Arc<Right>,
    rows: BooleanBuffer,
    at: usize,
}

impl Unmatched {
    pub(super) fn new(right: Arc<Right>, met: &Met) -> Self {
        let rows = met.others(&right);
        Unmatched { right, rows, at: 0 }
    }

    /// The next ones, as they are emitted.
    pub(super) fn next(&mut self, setup: &Setup) -> Result<Option<Made>, Failure> {
        let held = next_columns(&self.right, &self.rows, &mut self.at)?;
        held.map(|held| Ok(setup.alone(&held)?.into())).transpose()
    }
}

/// The columns of the next of these rows from `at` on, if there are any.
fn next_columns(right: &Right, rows: &BooleanBuffer, at: &mut usize) -> Result<Option<Vec<ArrayRef>>, Failure> {
    let mut places = Vec::new();
    while *at < rows.len() && places.len() < ROWS {
        if rows.value(*at) {
            places.push(*at as u32);
        }
        *at += 1;
    }
    if places.is_empty() {
        return Ok(None);
    }
    let places = UInt32Array::from(places);
    right.columns.iter().map(|column| loose(column, &places)).collect::<Result<_, _>>().map(Some)
}

/// Those of a right side that is spilled: they come pair by pair, and go out by their numbers.
pub(super) struct Gathered {
    runs: Option<Runs>,
    merge: Option<Merge>,
    /// How often spilled rows were read before.
    passes: u64,
}

impl Gathered {
    pub(super) fn new(runs: Runs) -> Self {
        Gathered { runs: Some(runs), merge: None, passes: 0 }
    }

    /// Takes the rows of a block that no left row has had.
    pub(super) fn add_others(&mut self, setup: &Setup, right: &Right, met: &Met) -> Result<(), Failure> {
        let (rows, mut at) = (met.others(right), 0);
        while let Some(columns) = next_columns(right, &rows, &mut at)? {
            self.add(setup, &columns)?;
        }
        Ok(())
    }

    /// Takes all rows of a batch that was spilled.
    pub(super) fn add_all(&mut self, setup: &Setup, rows: &RecordBatch) -> Result<(), Failure> {
        // Columns that were read share the memory of their batch, and each would count with all of it.
        let all = UInt32Array::from_iter_values(0..rows.num_rows() as u32);
        let columns = rows.columns().iter().map(|column| loose(column, &all)).collect::<Result<Vec<_>, _>>()?;
        self.add(setup, &columns)
    }

    /// Takes rows: their columns that are held, and their numbers.
    fn add(&mut self, setup: &Setup, columns: &[ArrayRef]) -> Result<(), Failure> {
        let (Some(runs), [held @ .., numbers]) = (&mut self.runs, &columns[..=setup.held.len()]) else {
            return Err(Failure::new(Exit::Bug, "spilled rows have no numbers"));
        };
        runs.add(held.to_vec(), numbers.as_primitive::<UInt64Type>().values().iter().copied())
    }

    /// That was all. They are asked for later, and take no memory until then.
    pub(super) fn end(&mut self, account: &Held) -> Result<(), Failure> {
        self.passes = account.passes;
        self.runs.as_mut().map_or(Ok(()), Runs::write)
    }

    /// The next ones, as they are emitted.
    pub(super) fn next(&mut self, setup: &Setup, account: &mut Held) -> Result<Option<Made>, Failure> {
        if let Some(runs) = self.runs.take() {
            let (merge, passes) = runs.merged(account)?;
            account.passes = account.passes.max(self.passes + passes);
            self.merge = Some(merge);
        }
        let rows = self.merge.as_mut().map(Merge::next_rows).transpose()?.flatten();
        rows.map(|rows| Ok(setup.alone(&rows.columns()[..setup.held.len()])?.into())).transpose()
    }
}
