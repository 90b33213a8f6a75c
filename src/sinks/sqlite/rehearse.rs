//! `--dry-run`: shows the statement and the first values; no database is touched.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, new_null_array};

use super::{Setup, statement};
use crate::{
    batch::Batch,
    failure::{Exit, Failure},
    stage::{SinkWorker, Written},
    values::json,
};

/// A worker that writes nothing.
pub(super) struct Rehearsal {
    setup: Arc<Setup>,
    shown: bool,
    /// Stands for the next key that the database would make.
    key: i64,
}

impl Rehearsal {
    pub(super) fn new(setup: Arc<Setup>) -> Self {
        Rehearsal { setup, shown: false, key: 1 }
    }

    /// The statement and the values of the first rows.
    fn samples(&self, batch: &Batch) -> Result<Vec<String>, Failure> {
        const ROWS: usize = 3;
        let layout = &self.setup.layout;
        let values = batch.records.project(&layout.places()).map_err(|error| self.bug(&error.to_string()))?;
        let mut samples = vec![statement::insert(layout, 1, !layout.returned.is_empty())];
        samples.extend((0..batch.rows().min(ROWS)).map(|row| json::row(&values, row)));
        Ok(samples)
    }

    /// The rows as they might come back: keys counted from 1, as a new table makes them; nulls where the
    /// database decides; else as they were written.
    fn output(&mut self, batch: &Batch) -> Result<Batch, Failure> {
        let layout = &self.setup.layout;
        let mut columns: Vec<ArrayRef> = Vec::new();
        for returned in &layout.returned {
            let column = &returned.column;
            columns.push(match returned.place.filter(|_| !returned.made) {
                Some(place) => Arc::clone(batch.records.column(place)),
                None if column.nullable => new_null_array(&column.column_type.to_arrow(), batch.rows()),
                None => Arc::new(Int64Array::from_iter_values(self.key..self.key + batch.rows() as i64)),
            });
        }
        self.key += batch.rows() as i64;
        layout.with_returned(batch.clone(), columns)
    }

    fn bug(&self, message: &str) -> Failure {
        Failure::new(Exit::Bug, format!("table `{}`: {message}", self.setup.layout.table))
    }
}

impl SinkWorker for Rehearsal {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let samples = if self.shown { Vec::new() } else { self.samples(batch)? };
        self.shown = true;
        let output = Some(self.output(batch)?);
        Ok(Written { accepted: batch.rows() as u64, samples, output, durable: true, ..Written::default() })
    }

    fn commit(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
