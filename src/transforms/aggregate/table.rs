//! Groups in memory: their keys, and what the aggregates know of each.

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_empty_array};
use arrow_row::Rows;
use arrow_select::concat::concat;

use super::{
    Setup,
    accumulator::Accumulator,
    functions,
    spilled::{Input, Layout},
};
use crate::{
    batch::RejectCode,
    exchange::{Part, Partitions},
    failure::Failure,
    memory::Share,
    stage::Held,
    transforms::{
        keys::Keys,
        memory::{Refused, bytes, fits, loose},
    },
};

/// Groups, as many as have room; rows of further ones are spilled.
pub(super) struct Table {
    keys: Keys,
    /// For every key column, parts that hold the value of one group after the other.
    values: Vec<Vec<ArrayRef>>,
    /// Of every group the number of its first row.
    firsts: Vec<u64>,
    /// Bytes of `values`.
    size: usize,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// How often its rows were divided before.
    level: u32,
    /// From the moment on at which there was no more room: rows of groups that are not here.
    others: Option<Partitions>,
    /// Bytes that it took at that moment.
    full: usize,
}

impl Table {
    pub(super) fn new(setup: &Setup, level: u32) -> Self {
        let accumulators = setup.calls.iter().map(functions::new).collect();
        let columns = setup.by.len() + usize::from(setup.window.is_some());
        let (keys, values, firsts) = (Keys::default(), vec![Vec::new(); columns], Vec::new());
        Table { keys, values, firsts, size: 0, accumulators, level, others: None, full: 0 }
    }

    /// Bytes of memory it takes.
    pub(super) fn size(&self) -> usize {
        let accumulators: usize = self.accumulators.iter().map(|accumulator| accumulator.size()).sum();
        accumulators + self.keys.size() + self.size + self.firsts.capacity() * 8
    }

    /// How many groups there are.
    fn groups(&self, setup: &Setup) -> usize {
        if setup.is_whole() { 1 } else { self.keys.len() }
    }

    /// Takes rows in.
    ///
    /// # Errors
    /// The groups that are there take too much memory, or rows of others cannot be spilled.
    pub(super) fn add(
        &mut self,
        setup: &Setup,
        layout: &Layout,
        input: Input,
        share: &mut Share,
    ) -> Result<(), Failure> {
        if setup.is_whole() {
            self.accumulate(setup, &vec![0; input.rows()], &input)?;
            return share.set(self.size());
        }
        let keys = setup.encoder.rows(&input.keys)?;
        if let Some(others) = &mut self.others {
            let Divided { known, groups, rows, hashes } = divide(&self.keys, &keys);
            if !rows.is_empty() {
                others.add(&layout.pack(&input.pick(&rows)?)?, &hashes)?;
            }
            self.accumulate(setup, &groups, &input.pick(&known)?)?;
            return share.grown(self.full, self.size());
        }
        let groups = self.assign(&keys, &input)?;
        self.accumulate(setup, &groups, &input)?;
        if !share.fits(self.size()) {
            let (what, memory) = (format!("groups-{}", self.level), 16 * share.block());
            self.full = self.size();
            self.others = Some(Partitions::new(share.exchange(), &what, layout.rows(), self.level, memory));
        }
        Ok(())
    }

    fn accumulate(&mut self, setup: &Setup, groups: &[u32], input: &Input) -> Result<(), Failure> {
        let count = self.groups(setup);
        let mut each = self.accumulators.iter_mut().zip(&input.arguments);
        each.try_for_each(|(accumulator, argument)| accumulator.add(groups, count, argument.as_ref()))
    }

    /// The group of every row. The keys of new groups are kept.
    fn assign(&mut self, keys: &Rows, input: &Input) -> Result<Vec<u32>, Failure> {
        let known = self.keys.len() as u32;
        let groups = self.keys.number(keys)?;
        if self.keys.len() as u32 > known {
            let mut next = known;
            let is_new = |(_, group): &(u32, &u32)| {
                let new = **group == next;
                next += u32::from(new);
                new
            };
            let new: Vec<u32> = (0..).zip(&groups).filter(is_new).map(|(row, _)| row).collect();
            self.firsts.extend(new.iter().map(|row| input.number(*row)));
            let new = UInt32Array::from(new);
            for (parts, column) in self.values.iter_mut().zip(&input.keys) {
                let part = loose(column, &new)?;
                self.size += bytes(&part);
                parts.push(part);
            }
        }
        Ok(groups)
    }

    /// All groups as rows, in the order in which they were first met; which of them are rejects; and the rows of groups
    /// that are not here.
    pub(super) fn finish(
        self,
        setup: &Setup,
        account: &mut Held,
    ) -> Result<(RecordBatch, Vec<Refused>, Vec<Part>), Failure> {
        let (groups, others) = (self.groups(setup), self.others);
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (place, parts) in self.values.into_iter().enumerate() {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            let data_type = setup.output.arrow().field(place).data_type().clone();
            columns.push(if parts.is_empty() { new_empty_array(&data_type) } else { fits(concat(&parts))? });
        }
        if let (Some(window), Some(starts)) = (&setup.window, columns.last()) {
            columns.push(window.ends(starts));
        }
        let mut refused: Vec<Refused> = Vec::new();
        for (accumulator, name) in self.accumulators.into_iter().zip(&setup.names) {
            let (values, errors) = accumulator.finish(groups)?;
            let errors =
                errors.into_iter().map(|(row, why)| (row, RejectCode("expression"), format!("`{name}`: {why}")));
            refused.extend(errors);
            columns.push(values);
        }
        refused.sort_by_key(|(row, ..)| *row);
        refused.dedup_by_key(|(row, ..)| *row);
        let options = RecordBatchOptions::new().with_row_count(Some(groups));
        let records = fits(RecordBatch::try_new_with_options(setup.output.arrow(), columns, &options))?;
        let parts = others.map_or(Ok(Vec::new()), Partitions::finish)?;
        parts.iter().for_each(|part| account.spilled(part));
        Ok((records, refused, parts))
    }

    /// Of every group the number of its first row.
    pub(super) fn take_firsts(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.firsts)
    }
}

/// A batch by whether its groups are in memory.
#[derive(Default)]
struct Divided {
    /// Rows of which they are, and their groups.
    known: Vec<u32>,
    groups: Vec<u32>,
    /// The other rows, and the hashes of their keys.
    rows: Vec<u32>,
    hashes: Vec<u64>,
}

fn divide(table: &Keys, keys: &Rows) -> Divided {
    let mut divided = Divided::default();
    for (row, key) in (0_u32..).zip(keys.iter()) {
        match table.find_or_hash(key.data()) {
            Ok(group) => {
                divided.known.push(row);
                divided.groups.push(group);
            }
            Err(hash) => {
                divided.rows.push(row);
                divided.hashes.push(hash);
            }
        }
    }
    divided
}
