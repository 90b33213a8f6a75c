//! Groups in memory: their keys, and what the aggregates know of each.
//!
//! Where memory is short, a table takes no further groups: rows of others are spilled. Those it has may still grow: lists
//! do, and sets. When they have outgrown what they may hold, what is known of them is spilled as well, and so are all rows
//! from then on: the table is empty, and they are taken up again a part of the keys at a time.

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_empty_array};
use arrow_row::Rows;
use arrow_select::concat::concat;

use super::{
    Setup,
    accumulator::Accumulator,
    functions,
    others::{Others, Rest},
    spilled::{Input, Layout},
};
use crate::{
    batch::RejectCode,
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
    /// From the moment on at which there was no more room: rows of groups that are not here, or no longer.
    others: Option<Others>,
    /// Bytes that it took at that moment.
    full: usize,
    /// Bytes that it took before some were given back.
    most: usize,
}

impl Table {
    pub(super) fn new(setup: &Setup, level: u32) -> Self {
        let accumulators = setup.calls.iter().map(functions::new).collect();
        let columns = setup.by.len() + usize::from(setup.window.is_some());
        let (keys, values, firsts) = (Keys::default(), vec![Vec::new(); columns], Vec::new());
        Table { keys, values, firsts, size: 0, accumulators, level, others: None, full: 0, most: 0 }
    }

    /// Bytes of memory it takes.
    pub(super) fn size(&self) -> usize {
        let accumulators: usize = self.accumulators.iter().map(|accumulator| accumulator.size()).sum();
        accumulators + self.keys.size() + self.size + self.firsts.capacity() * 8
    }

    /// The most bytes of memory that it took.
    pub(super) fn peak(&self) -> usize {
        self.size().max(self.most)
    }

    /// How many groups there are.
    fn groups(&self, setup: &Setup) -> usize {
        if setup.is_whole() { 1 } else { self.keys.len() }
    }

    /// Takes rows in.
    ///
    /// # Errors
    /// One group takes too much memory, or what has no room cannot be spilled.
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
            if known.is_empty() {
                return Ok(());
            }
            self.accumulate(setup, &groups, &input.pick(&known)?)?;
            self.shrink(setup, layout, share)?;
            // If they were spilled just now, that was all of them: further states come only before the first row.
            return self.end_states();
        }
        let groups = self.assign(&keys, &input)?;
        self.accumulate(setup, &groups, &input)?;
        if share.fits(self.size()) || self.tidy()? && share.fits(self.size()) {
            return Ok(());
        }
        self.full = self.size();
        self.others = Some(Others::new(layout, self.level, share));
        Ok(())
    }

    /// Takes in what was known of groups: rows as they were spilled, in their order.
    ///
    /// # Errors
    /// As [`Table::add`].
    pub(super) fn restore(
        &mut self,
        setup: &Setup,
        layout: &Layout,
        states: &RecordBatch,
        share: &mut Share,
    ) -> Result<(), Failure> {
        let input = layout.states.input(states);
        let keys = setup.encoder.rows(&input.keys)?;
        if let Some(others) = &mut self.others {
            // The groups that came before these had no room.
            let hashes: Vec<u64> = keys.iter().map(|key| self.keys.hash(key.data())).collect();
            return others.add_states(layout, share, states, &hashes);
        }
        let groups = self.assign(&keys, &input)?;
        layout.states.restore(states, &groups, self.keys.len(), &mut self.accumulators)?;
        self.shrink(setup, layout, share)
    }

    /// All of what was known is restored.
    pub(super) fn end_states(&mut self) -> Result<(), Failure> {
        self.others.as_mut().map_or(Ok(()), Others::end_states)
    }

    /// Holds less where the groups have outgrown what they may hold.
    fn shrink(&mut self, setup: &Setup, layout: &Layout, share: &mut Share) -> Result<(), Failure> {
        let size = self.size();
        if share.fits(size) || size <= share.leeway(self.full) || !share.is_much(size) {
            return Ok(());
        }
        if self.tidy()? {
            share.fits(self.size());
            return Ok(());
        }
        match self.keys.len() {
            // There is nothing to divide.
            0 | 1 => share.set(self.size()),
            _ => self.spill(setup, layout, share),
        }
    }

    /// Gives back memory that the aggregates can do without. Was that worth the while? Then it may be done again.
    fn tidy(&mut self) -> Result<bool, Failure> {
        let before = self.size();
        self.most = self.peak();
        self.accumulators.iter_mut().try_for_each(|accumulator| accumulator.tidy())?;
        Ok(self.size() <= before - before / 8)
    }

    /// Spills what is known of all groups. From now on there are none.
    fn spill(&mut self, setup: &Setup, layout: &Layout, share: &mut Share) -> Result<(), Failure> {
        self.most = self.peak();
        let values = whole(setup, std::mem::take(&mut self.values))?;
        let (keys, level) = (&self.keys, self.level);
        let others = self.others.get_or_insert_with(|| Others::new(layout, level, share));
        let put = |states: &RecordBatch, groups: &[u32]| {
            let hashes: Vec<u64> = groups.iter().map(|group| keys.hash(keys.get(*group))).collect();
            others.add_states(layout, share, states, &hashes)
        };
        layout.states.save(&values, &self.firsts, &mut self.accumulators, share.block(), put)?;
        self.keys.clear();
        (self.values, self.size, self.firsts) = (vec![Vec::new(); values.len()], 0, Vec::new());
        self.accumulators = setup.calls.iter().map(functions::new).collect();
        share.fits(self.size());
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

    /// All groups as rows, in the order in which they were first met; which of them are rejects; and what was spilled of
    /// groups that are not here.
    pub(super) fn finish(
        self,
        setup: &Setup,
        account: &mut Held,
    ) -> Result<(RecordBatch, Vec<Refused>, Vec<Rest>), Failure> {
        let (groups, others) = (self.groups(setup), self.others);
        let mut columns = whole(setup, self.values)?;
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
        let rests = others.map_or(Ok(Vec::new()), |others| others.finish(account))?;
        Ok((records, refused, rests))
    }

    /// Of every group the number of its first row.
    pub(super) fn take_firsts(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.firsts)
    }
}

/// The key columns of all groups, of which `values` holds parts.
fn whole(setup: &Setup, values: Vec<Vec<ArrayRef>>) -> Result<Vec<ArrayRef>, Failure> {
    let output = setup.output.arrow();
    let column = |(place, parts): (usize, Vec<ArrayRef>)| {
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        if parts.is_empty() {
            return Ok(new_empty_array(output.field(place).data_type()));
        }
        fits(concat(&parts))
    };
    values.into_iter().enumerate().map(column).collect()
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
