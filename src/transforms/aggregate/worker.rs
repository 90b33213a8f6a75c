//! Takes rows into groups; puts the groups out at the end. Groups that have no room in memory are spilled, divided by key,
//! and taken up again one part after the other.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};

use super::{
    Setup,
    others::Rest,
    spilled::{self, Input, Layout},
    table::Table,
    window::OUTSIDE,
};
use crate::{
    batch::{Batch, Rejects},
    exchange::Merge,
    failure::Failure,
    memory::Share,
    stage::{Held, Made, TransformWorker},
    transforms::{
        errors::refuse,
        memory::{Output, loose},
    },
};

/// The groups of one worker.
pub(super) struct Worker {
    setup: Arc<Setup>,
    share: Share,
    layout: Layout,
    /// The groups that rows are taken into.
    table: Table,
    /// Rows so far.
    rows: u64,
    account: Held,
    /// The groups in memory, once all rows are in.
    out: Option<Output>,
    /// What was spilled of the other groups, then those groups in the order in which they were first met.
    rests: Vec<Rest>,
    merge: Option<Merge>,
}

impl Worker {
    pub(super) fn new(setup: Arc<Setup>) -> Self {
        let (share, layout) = (setup.budget.share(), Layout::of(&setup));
        let (table, account) = (Table::new(&setup, 0), Held::default());
        Worker { setup, share, layout, table, rows: 0, account, out: None, rests: Vec::new(), merge: None }
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
        let (first, rows) = (self.rows, batch.rows());
        if errors.is_empty() && outside.is_empty() {
            return Ok(Input::new(keys, arguments, first..first + rows as u64));
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
        Ok(Input::new(keys, arguments, first..first + kept.len() as u64))
    }

    /// The groups in memory; what was spilled of all others is kept for later.
    fn end(&mut self) -> Result<Output, Failure> {
        let table = std::mem::replace(&mut self.table, Table::new(&self.setup, 0));
        let (records, refused, rests) = table.finish(&self.setup, &mut self.account)?;
        self.rests = rests;
        Ok(Output::new(records, refused))
    }
}

impl TransformWorker for Worker {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let input = self.evaluate(&batch, rejects)?;
        self.rows += input.rows() as u64;
        self.table.add(&self.setup, &self.layout, input, &mut self.share)?;
        self.account.note(self.table.peak());
        let records = RecordBatch::new_empty(self.setup.output.arrow());
        Ok(Batch::new(records, batch.origin.pick(&[])))
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        if self.out.is_none() {
            self.out = Some(self.end()?);
        }
        if let Some(made) = self.out.as_mut().and_then(Output::next) {
            return Ok(Some(made));
        }
        if !self.rests.is_empty() {
            // All of these were met after those in memory, which are out and need not be held any longer.
            self.out = Some(Output::none(&self.setup.output));
            let rests = std::mem::take(&mut self.rests);
            self.merge = Some(spilled::groups(&self.setup, &self.layout, rests, &mut self.share, &mut self.account)?);
        }
        match &mut self.merge {
            Some(merge) => merge.next_rows()?.map(|rows| self.layout.made(&self.setup, &rows)).transpose(),
            None => Ok(None),
        }
    }

    fn held(&self) -> Held {
        self.account
    }
}
