//! Rows in the order of their places: sorted runs of them in parts.

use std::{mem, sync::Arc};

use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::interleave::interleave;

use crate::{
    exchange::{Exchange, Merge, Part},
    failure::Failure,
    stage::Held,
    transforms::memory::{OUT, bytes, fits},
};

/// Takes rows in any order.
pub(super) struct Runs {
    exchange: Arc<Exchange>,
    /// Of the rows, with their place as a key behind the other columns.
    schema: SchemaRef,
    block: usize,
    memory: usize,
    batches: Vec<Vec<ArrayRef>>,
    /// The place of every row, and where it is: batch and row.
    rows: Vec<(u64, u32, u32)>,
    bytes: usize,
    parts: Vec<Part>,
}

impl Runs {
    /// About `memory` bytes are gathered before they are written, `block` bytes at once.
    pub(super) fn new(exchange: &Arc<Exchange>, schema: SchemaRef, [block, memory]: [usize; 2]) -> Self {
        let (exchange, batches, rows, parts) = (Arc::clone(exchange), Vec::new(), Vec::new(), Vec::new());
        Runs { exchange, schema, block, memory, batches, rows, bytes: 0, parts }
    }

    /// Takes rows, each with its place. Those of one place stay as they come.
    ///
    /// # Errors
    /// They cannot be spilled.
    pub(super) fn add(
        &mut self,
        columns: Vec<ArrayRef>,
        places: impl ExactSizeIterator<Item = u64>,
    ) -> Result<(), Failure> {
        let (batch, len) = (self.batches.len() as u32, places.len());
        self.rows.extend((0..).zip(places).map(|(row, place)| (place, batch, row)));
        self.bytes += columns.iter().map(bytes).sum::<usize>() + len * mem::size_of::<(u64, u32, u32)>();
        self.batches.push(columns);
        if self.bytes < self.memory { Ok(()) } else { self.write() }
    }

    /// Puts what is in memory into a part.
    ///
    /// # Errors
    /// It cannot be spilled.
    pub(super) fn write(&mut self) -> Result<(), Failure> {
        let (batches, mut rows) = (mem::take(&mut self.batches), mem::take(&mut self.rows));
        let width = (mem::take(&mut self.bytes) / rows.len().max(1)).max(1);
        if rows.is_empty() {
            return Ok(());
        }
        rows.sort_unstable();
        let mut run = self.exchange.write("joined", &self.schema)?;
        for rows in rows.chunks((self.block / width).clamp(1, 8192)) {
            let at: Vec<(usize, usize)> = rows.iter().map(|(_, batch, row)| (*batch as usize, *row as usize)).collect();
            let column = |place: usize| {
                let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch[place].as_ref()).collect();
                fits(interleave(&parts, &at))
            };
            let mut columns = (0..batches[0].len()).map(column).collect::<Result<Vec<_>, _>>()?;
            let keys = rows.iter().map(|(place, ..)| place.to_be_bytes());
            columns.push(Arc::new(BinaryArray::from_iter_values(keys)));
            run.add(&crate::values::compact_batch(&fits(RecordBatch::try_new(Arc::clone(&self.schema), columns))?))?;
        }
        self.parts.push(run.finish()?);
        Ok(())
    }

    /// All rows in order: see [`Runs::add`]; and in how many passes they are read.
    ///
    /// # Errors
    /// They cannot be spilled or read.
    pub(super) fn merged(mut self, account: &mut Held) -> Result<(Merge, u64), Failure> {
        self.write()?;
        self.parts.iter().for_each(|part| account.spilled(part));
        let (merge, passes) = Merge::all(&self.exchange, "joined", self.parts, self.schema, [self.block, OUT])?;
        Ok((merge, passes + 1))
    }
}
