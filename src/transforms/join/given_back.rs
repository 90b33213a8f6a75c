//! Joined rows, given back in the batches that they came in.

use std::sync::Arc;

use arrow_array::{Array, BinaryArray, RecordBatch, UInt64Array, cast::AsArray, types::UInt64Type};
use arrow_buffer::Buffer;
use arrow_select::concat::concat_batches;

use super::Setup;
use crate::{
    batch::{Batch, Origin, Position, Raw, Rejects, SplitId},
    exchange::{Merge, prefix, without_own},
    failure::Failure,
    transforms::memory::fits,
};

pub(super) struct GivenBack {
    setup: Arc<Setup>,
    merge: Merge,
    /// Rows that were read and not given back yet.
    rows: RecordBatch,
    /// Bytes of one of them, about.
    width: usize,
    /// Where the next batch stands among all.
    rank: u32,
}

impl GivenBack {
    /// Of all joined rows, in order.
    pub(super) fn new(setup: Arc<Setup>, merge: Merge) -> Self {
        let rows = RecordBatch::new_empty(Arc::clone(&setup.rows.joined));
        GivenBack { merge, setup, rows, width: 0, rank: 0 }
    }

    /// What became of the next batch, which had `before` rows.
    pub(super) fn next(
        &mut self,
        split: SplitId,
        seq: u64,
        before: usize,
        rejects: &mut Rejects,
    ) -> Result<Batch, Failure> {
        let rows = self.take(before)?;
        let places = keys(&rows).iter().flatten().map(|key| prefix(key) as u32);
        if self.setup.how.widens() && !self.setup.how.keeps_lonely() {
            let mut lefts: Vec<u32> = places.collect();
            lefts.dedup();
            rejects.dropped((before - lefts.len()) as u64);
        }
        let records = without_own(&rows, self.setup.output.arrow())?;
        Ok(Batch::new(records, origin(split, seq, &rows)?))
    }

    /// The joined rows of the next batch.
    fn take(&mut self, before: usize) -> Result<RecordBatch, Failure> {
        let (mut parts, mut len, mut bytes) = (Vec::new(), 0, 0_usize);
        loop {
            let keys = keys(&self.rows);
            let mine = (0..keys.len()).take_while(|row| (prefix(keys.value(*row)) >> 32) as u32 == self.rank).count();
            let rest = self.rows.num_rows() - mine;
            parts.push(self.rows.slice(0, mine));
            len += mine;
            bytes += mine * self.width;
            // It goes on as one batch.
            self.setup.growth.check(before, len, bytes)?;
            self.rows = self.rows.slice(mine, rest);
            if rest > 0 {
                break;
            }
            match self.merge.next_rows()? {
                Some(rows) => {
                    self.width = rows.get_array_memory_size() / rows.num_rows().max(1);
                    self.rows = rows;
                }
                None => break,
            }
        }
        self.rank += 1;
        fits(concat_batches(&Arc::clone(&self.setup.rows.joined), &parts))
    }
}

/// The batch and the row that each row came of.
fn keys(rows: &RecordBatch) -> &BinaryArray {
    rows.column(rows.num_columns() - 1).as_binary::<i32>()
}

/// Where rows came from.
fn origin(split: SplitId, seq: u64, rows: &RecordBatch) -> Result<Origin, Failure> {
    let known = rows.num_columns() - 4;
    let number = |place: usize| -> &UInt64Array { rows.column(known + place).as_primitive::<UInt64Type>() };
    let positions = number(0).values().iter().zip(number(1).values());
    let positions: Vec<Position> = positions.map(|(record, line)| Position { record: *record, line: *line }).collect();
    let texts = rows.column(known + 2).as_binary::<i32>();
    if texts.is_empty() || texts.is_null(0) {
        return Ok(Origin::known(split, seq, &positions, None));
    }
    // A row without text has that of the one before.
    let (mut starts, mut ends) = (Vec::with_capacity(texts.len()), Vec::with_capacity(texts.len()));
    let (mut start, mut end) = (0, 0);
    for row in 0..texts.len() {
        if texts.is_valid(row) {
            (start, end) = (texts.value_offsets()[row] as u32, texts.value_offsets()[row + 1] as u32);
        }
        starts.push(start);
        ends.push(end);
    }
    let bytes: Buffer = texts.values().clone();
    let raw = Raw { bytes, starts: starts.into(), ends: ends.into() };
    Ok(Origin::known(split, seq, &positions, Some(raw)))
}
