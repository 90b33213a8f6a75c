//! Puts rows into groups, and groups into rows at the end.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_empty_array};
use arrow_select::concat::concat;

use super::{Setup, accumulator::Accumulator, functions, window::OUTSIDE};
use crate::{
    batch::{Batch, RejectCode, Rejects},
    failure::Failure,
    stage::{Made, TransformWorker},
    transforms::{
        errors::refuse,
        keys::Keys,
        memory::{Output, Refused, Share, bytes, fits, loose},
    },
};

/// The groups of one worker.
pub(super) struct Worker {
    setup: Arc<Setup>,
    share: Share,
    keys: Keys,
    /// For every key column, parts that hold the value of one group after the other.
    values: Vec<Vec<ArrayRef>>,
    /// Bytes of `values`.
    size: usize,
    accumulators: Vec<Box<dyn Accumulator>>,
    out: Option<Output>,
}

/// A batch as the groups take it.
struct Input {
    /// The columns of the key.
    keys: Vec<ArrayRef>,
    /// What each aggregate is applied to.
    arguments: Vec<Option<ArrayRef>>,
    rows: usize,
}

impl Worker {
    pub(super) fn new(setup: Arc<Setup>) -> Self {
        let accumulators = setup.calls.iter().map(functions::new).collect();
        let columns = setup.by.len() + usize::from(setup.window.is_some());
        let (share, keys, values) = (setup.budget.share(), Keys::default(), vec![Vec::new(); columns]);
        Worker { setup, share, keys, values, size: 0, accumulators, out: None }
    }

    /// How many groups there are.
    fn groups(&self) -> usize {
        if self.setup.is_whole() { 1 } else { self.keys.len() }
    }

    /// Evaluates all expressions on a batch. Rows on which one fails are rejects, and left out.
    fn evaluate(&self, batch: &Batch, rejects: &mut Rejects) -> Result<Input, Failure> {
        let mut errors = Vec::new();
        let calls = self.setup.calls.iter().map(|call| call.argument.as_ref());
        let mut arguments: Vec<Option<ArrayRef>> =
            calls.map(|argument| argument.map(|expr| expr.evaluate(batch, &mut errors))).collect();
        let mut keys: Vec<ArrayRef> =
            self.setup.by.iter().map(|place| Arc::clone(batch.records.column(*place))).collect();
        let mut outside = Vec::new();
        if let Some(window) = &self.setup.window {
            let times = window.time().evaluate(batch, &mut errors);
            let (starts, found) = window.starts(&times)?;
            keys.push(starts);
            outside = found;
        }
        if errors.is_empty() && outside.is_empty() {
            return Ok(Input { keys, arguments, rows: batch.rows() });
        }
        let mut kept = refuse(batch, errors, rejects);
        outside.retain(|(row, _)| kept.binary_search(row).is_ok());
        for (row, why) in outside {
            rejects.push(batch, row as usize, OUTSIDE, why);
            kept.retain(|other| *other != row);
        }
        let kept = UInt32Array::from(kept);
        for array in keys.iter_mut().chain(arguments.iter_mut().flatten()) {
            *array = loose(array, &kept)?;
        }
        Ok(Input { keys, arguments, rows: kept.len() })
    }

    /// The group of every row. The keys of new groups are kept.
    fn assign(&mut self, input: &Input) -> Result<Vec<u32>, Failure> {
        if self.setup.is_whole() {
            return Ok(vec![0; input.rows]);
        }
        let known = self.keys.len() as u32;
        let groups = self.keys.number(&self.setup.encoder.rows(&input.keys)?)?;
        if self.keys.len() as u32 > known {
            let mut next = known;
            let is_new = |(_, group): &(u32, &u32)| {
                let new = **group == next;
                next += u32::from(new);
                new
            };
            let new = UInt32Array::from_iter_values((0..).zip(&groups).filter(is_new).map(|(row, _)| row));
            for (parts, column) in self.values.iter_mut().zip(&input.keys) {
                let part = loose(column, &new)?;
                self.size += bytes(&part);
                parts.push(part);
            }
        }
        Ok(groups)
    }

    /// All groups as rows.
    fn rows(&mut self) -> Result<(RecordBatch, Vec<Refused>), Failure> {
        let groups = self.groups();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (place, parts) in std::mem::take(&mut self.values).into_iter().enumerate() {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            let data_type = self.setup.output.arrow().field(place).data_type().clone();
            columns.push(if parts.is_empty() { new_empty_array(&data_type) } else { fits(concat(&parts))? });
        }
        if let (Some(window), Some(starts)) = (&self.setup.window, columns.last()) {
            columns.push(window.ends(starts));
        }
        let mut refused: Vec<Refused> = Vec::new();
        for (accumulator, name) in std::mem::take(&mut self.accumulators).into_iter().zip(&self.setup.names) {
            let (values, errors) = accumulator.finish(groups)?;
            let errors =
                errors.into_iter().map(|(row, why)| (row, RejectCode("expression"), format!("`{name}`: {why}")));
            refused.extend(errors);
            columns.push(values);
        }
        refused.sort_by_key(|(row, ..)| *row);
        refused.dedup_by_key(|(row, ..)| *row);
        let options = RecordBatchOptions::new().with_row_count(Some(groups));
        Ok((fits(RecordBatch::try_new_with_options(self.setup.output.arrow(), columns, &options))?, refused))
    }
}

impl TransformWorker for Worker {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let input = self.evaluate(&batch, rejects)?;
        let groups = self.assign(&input)?;
        let count = self.groups();
        for (accumulator, argument) in self.accumulators.iter_mut().zip(&input.arguments) {
            accumulator.add(&groups, count, argument.as_ref())?;
        }
        let held: usize = self.accumulators.iter().map(|accumulator| accumulator.size()).sum();
        self.share.set(held + self.keys.size() + self.size)?;
        let records = RecordBatch::new_empty(self.setup.output.arrow());
        Ok(Batch::new(records, batch.origin.pick(&[])))
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        if self.out.is_none() {
            let (records, refused) = self.rows()?;
            self.out = Some(Output::new(records, refused));
        }
        Ok(self.out.as_mut().and_then(Output::next))
    }
}
