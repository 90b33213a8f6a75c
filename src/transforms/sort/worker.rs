//! Takes rows in; puts them out in order. Where they do not fit into memory, sorted runs of them are spilled and merged.

use std::{mem, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{DataType, SchemaRef};

use super::{
    Setup,
    rows::{Sorted, Unsorted},
};
use crate::{
    batch::{Batch, Rejects},
    exchange::{Merge, Part, with_own, without_own},
    failure::Failure,
    memory::Share,
    stage::{Held, Made, TransformWorker},
    transforms::{
        errors::refuse,
        memory::{OUT, fits, loose},
    },
};

pub(super) struct Worker {
    setup: Arc<Setup>,
    share: Share,
    held: Unsorted,
    /// Sorted runs, in the order of the input.
    runs: Vec<Part>,
    account: Held,
    out: Option<Output>,
}

/// Rows in order, from memory or from runs.
enum Output {
    Held(Sorted),
    Runs(Merge),
}

impl Worker {
    pub(super) fn new(setup: Arc<Setup>) -> Self {
        let share = setup.budget.share();
        Worker { setup, share, held: Unsorted::default(), runs: Vec::new(), account: Held::default(), out: None }
    }

    /// The columns of a run: those of the rows, and the key.
    fn run_schema(&self) -> SchemaRef {
        with_own(&self.setup.output.arrow(), DataType::Binary)
    }

    /// Writes what is held as a run.
    fn spill(&mut self) -> Result<(), Failure> {
        if self.held.len() == 0 {
            return Ok(());
        }
        let schema = self.run_schema();
        let mut run = self.share.exchange().write("sort", &schema)?;
        let mut sorted = mem::take(&mut self.held).sorted();
        while let Some(columns) = sorted.next(self.share.block(), true)? {
            run.add(&fits(RecordBatch::try_new(Arc::clone(&schema), columns))?)?;
        }
        let run = run.finish()?;
        self.account.spilled(&run);
        self.runs.push(run);
        self.share.fits(0);
        Ok(())
    }

    fn sorted(&mut self) -> Result<Output, Failure> {
        if self.runs.is_empty() {
            return Ok(Output::Held(mem::take(&mut self.held).sorted()));
        }
        self.spill()?;
        let (runs, blocks) = (mem::take(&mut self.runs), [self.share.block(), OUT]);
        let (merge, passes) = Merge::all(self.share.exchange(), "sort", runs, self.run_schema(), blocks)?;
        self.account.passes = 1 + passes;
        Ok(Output::Runs(merge))
    }
}

impl TransformWorker for Worker {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let mut errors = Vec::new();
        let by: Vec<ArrayRef> = self.setup.by.iter().map(|expr| expr.evaluate(&batch, &mut errors)).collect();
        let keys = self.setup.encoder.rows(&by)?;
        let kept = UInt32Array::from(refuse(&batch, errors, rejects));
        let columns: Vec<ArrayRef> =
            batch.records.columns().iter().map(|column| loose(column, &kept)).collect::<Result<_, _>>()?;
        let rows = fits(RecordBatch::try_new(batch.records.schema(), columns))?;
        self.held.add(rows, &keys, kept.values())?;
        let size = self.held.size();
        self.account.note(size);
        if !self.share.fits(size) || self.held.is_full() {
            self.spill()?;
        }
        Ok(batch.pick(Vec::new()))
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        let schema = self.setup.output.arrow();
        let out = match &mut self.out {
            Some(out) => out,
            None => {
                let sorted = self.sorted()?;
                self.out.insert(sorted)
            }
        };
        let rows = match out {
            Output::Held(sorted) => {
                let columns = sorted.next(OUT, false)?;
                columns.map(|columns| fits(RecordBatch::try_new(schema, columns))).transpose()?
            }
            Output::Runs(merge) => merge.next_rows()?.map(|rows| without_own(&rows, schema)).transpose()?,
        };
        Ok(rows.map(Made::from))
    }

    fn held(&self) -> Held {
        self.account
    }
}
