//! `keep = "last"`: the last row of every key, once the input has ended. Rows of keys that have no room in memory are
//! spilled, divided by key, and looked at one part after the other.

use std::{mem, sync::Arc};

use arrow_array::{ArrayRef, BinaryArray, RecordBatch, UInt32Array, UInt64Array, cast::AsArray, types::UInt64Type};
use arrow_schema::DataType;
use arrow_select::take::take_record_batch;

use super::Setup;
use crate::{
    batch::{Batch, Rejects},
    exchange::{Merge, Part, Partitions, with_own, without_own},
    failure::Failure,
    memory::Share,
    stage::{Held, Made, TransformWorker},
    transforms::{
        keys::Keys,
        memory::{OUT, Output, fits},
        row_store::RowStore,
    },
};

pub(super) struct Worker {
    setup: Arc<Setup>,
    share: Share,
    table: Table,
    rows: u64,
    account: Held,
    out: Option<Out>,
}

enum Out {
    Held(Output),
    Merged(Merge),
}

impl Worker {
    pub(super) fn new(setup: Arc<Setup>) -> Self {
        let (share, table) = (setup.budget.share(), Table::new(&setup, 0));
        Worker { setup, share, table, rows: 0, account: Held::default(), out: None }
    }

    fn end(&mut self) -> Result<Out, Failure> {
        let table = mem::replace(&mut self.table, Table::new(&self.setup, 0));
        if table.others.is_none() {
            let (records, _) = table.ordered(&self.setup)?;
            return Ok(Out::Held(Output::new(records, Vec::new())));
        }
        let (setup, share, account) = (&self.setup, &mut self.share, &mut self.account);
        let (mut waiting, mut runs) = (Vec::new(), Vec::new());
        let mut settle = |table: Table, level: u32, share: &Share, waiting: &mut Vec<(Part, u32)>| {
            let (run, others) = table.finish(setup, share)?;
            account.passes = account.passes.max(u64::from(level));
            others.iter().chain([&run]).for_each(|part| account.spilled(part));
            runs.push(run);
            waiting.extend(others.into_iter().map(|part| (part, level + 1)));
            Ok::<(), Failure>(())
        };
        settle(table, 0, share, &mut waiting)?;
        while let Some((part, level)) = waiting.pop() {
            let mut table = Table::new(setup, level);
            let mut reader = part.read()?;
            while let Some(rows) = reader.next_rows()? {
                let numbers = rows.column(rows.num_columns() - 1).as_primitive::<UInt64Type>();
                let columns = &rows.columns()[..rows.num_columns() - 1];
                table.add(setup, columns, numbers, share)?;
            }
            settle(table, level, share, &mut waiting)?;
            share.fits(0);
        }
        let (schema, blocks) = (with_own(&setup.schema.arrow(), DataType::Binary), [share.block(), OUT]);
        let (merge, passes) = Merge::all(share.exchange(), "dedup", runs, schema, blocks)?;
        self.account.passes += 1 + passes;
        Ok(Out::Merged(merge))
    }
}

impl TransformWorker for Worker {
    fn apply(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch, Failure> {
        let numbers = UInt64Array::from_iter_values(self.rows..self.rows + batch.rows() as u64);
        self.rows += batch.rows() as u64;
        self.table.add(&self.setup, batch.records.columns(), &numbers, &mut self.share)?;
        self.account.note(self.table.size());
        Ok(batch.pick(Vec::new()))
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        let out = match &mut self.out {
            Some(out) => out,
            None => {
                let out = self.end()?;
                self.out.insert(out)
            }
        };
        let schema = self.setup.schema.arrow();
        match out {
            Out::Held(output) => Ok(output.next()),
            Out::Merged(merge) => merge.next_rows()?.map(|rows| Ok(without_own(&rows, schema)?.into())).transpose(),
        }
    }

    fn held(&self) -> Held {
        self.account
    }
}

/// The last rows of as many keys as have room; rows of further keys are spilled.
struct Table {
    keys: Keys,
    /// The last row of every key.
    last: RowStore,
    /// Of every key, the number of its last row in the input.
    seen: Vec<u64>,
    level: u32,
    /// From the moment on at which there was no more room.
    others: Option<Partitions>,
    /// Bytes that it took at that moment.
    full: usize,
}

impl Table {
    fn new(setup: &Setup, level: u32) -> Self {
        let types = setup.schema.columns().iter().map(|column| column.column_type.to_arrow()).collect();
        Table { keys: Keys::default(), last: RowStore::new(types), seen: Vec::new(), level, others: None, full: 0 }
    }

    fn size(&self) -> usize {
        self.keys.size() + self.last.size() + self.seen.capacity() * 8
    }

    fn add(
        &mut self,
        setup: &Setup,
        columns: &[ArrayRef],
        numbers: &UInt64Array,
        share: &mut Share,
    ) -> Result<(), Failure> {
        let by: Vec<ArrayRef> = setup.by.iter().map(|place| Arc::clone(&columns[*place])).collect();
        let keys = setup.encoder.rows(&by)?;
        let mut changes: Vec<(u32, u32)> = Vec::with_capacity(keys.num_rows());
        match &mut self.others {
            None => {
                changes.extend(self.keys.number(&keys)?.into_iter().zip(0..));
                self.seen.resize(self.keys.len(), 0);
            }
            Some(others) => {
                let (mut rows, mut hashes) = (Vec::new(), Vec::new());
                for (row, key) in (0_u32..).zip(keys.iter()) {
                    match self.keys.find_or_hash(key.data()) {
                        Ok(id) => changes.push((id, row)),
                        Err(hash) => {
                            rows.push(row);
                            hashes.push(hash);
                        }
                    }
                }
                let all = columns.iter().cloned().chain([Arc::new(numbers.clone()) as ArrayRef]).collect();
                let all = fits(RecordBatch::try_new(with_own(&setup.schema.arrow(), DataType::UInt64), all))?;
                others.add(&fits(take_record_batch(&all, &UInt32Array::from(rows)))?, &hashes)?;
            }
        }
        changes.iter().for_each(|(id, row)| self.seen[*id as usize] = numbers.value(*row as usize));
        self.last.put(columns, &changes)?;
        if self.others.is_some() {
            // Rows that others have taken the place of are thrown away, but not with every batch.
            let most = self.full + self.full / 4;
            if self.size() > most {
                self.last.tidy()?;
            }
            return share.grown(most, self.size());
        }
        if !share.fits(self.size()) {
            let (schema, memory) = (with_own(&setup.schema.arrow(), DataType::UInt64), 16 * share.block());
            self.full = self.size();
            self.others = Some(Partitions::new(share.exchange(), "dedup", schema, self.level, memory));
        }
        Ok(())
    }

    /// The rows in input order, and the number of each.
    fn ordered(&self, setup: &Setup) -> Result<(RecordBatch, Vec<u64>), Failure> {
        let mut order: Vec<usize> = (0..self.seen.len()).collect();
        order.sort_unstable_by_key(|slot| self.seen[*slot]);
        let columns = self.last.rows(order.iter().copied())?;
        let records = fits(RecordBatch::try_new(setup.schema.arrow(), columns))?;
        Ok((records, order.into_iter().map(|slot| self.seen[slot]).collect()))
    }

    /// Writes the rows in input order; the parts that hold rows of other keys.
    fn finish(self, setup: &Setup, share: &Share) -> Result<(Part, Vec<Part>), Failure> {
        let (records, numbers) = self.ordered(setup)?;
        let others = self.others.map_or(Ok(Vec::new()), Partitions::finish)?;
        drop((self.keys, self.last, self.seen));
        let schema = with_own(&setup.schema.arrow(), DataType::Binary);
        let keys: ArrayRef = Arc::new(BinaryArray::from_iter_values(numbers.iter().map(|number| number.to_be_bytes())));
        let columns = records.columns().iter().cloned().chain([keys]).collect();
        let records = fits(RecordBatch::try_new(Arc::clone(&schema), columns))?;
        let mut run = share.exchange().write("dedup", &schema)?;
        run.add_in_blocks(&records, share.block())?;
        Ok((run.finish()?, others))
    }
}
