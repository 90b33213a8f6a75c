//! `--dry-run`: shows the first rows; no server is asked.

use std::sync::Arc;

use arrow_array::ArrayRef;

use super::{super::table::Returned, encode::Encoded, refuse::sound, spec::Setup};
use crate::{
    batch::{Batch, Rejects, SplitId},
    failure::{Exit, Failure},
    postgres::Values,
    stage::{Committed, SinkWorker, Written},
    values::json,
};

/// A worker that does all but write. In place of a generated id it gives the row's number in its split.
pub(super) struct Rehearsal {
    pub(super) setup: Arc<Setup>,
}

impl SinkWorker for Rehearsal {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let setup = &self.setup;
        let places = setup.layout.places();
        let encoded = Encoded::new(&batch.records, &places);
        let (mut rejects, mut refused) = (Rejects::default(), Vec::new());
        let rows = sound(&setup.layout, batch, &encoded, &mut refused);
        refused.into_iter().for_each(|(row, code, why)| rejects.push(batch, row as usize, code, why));
        let bytes = encoded.bytes(&rows);
        let accepted = rows.len() as u64;
        let stored = batch.pick(rows);
        let shown = stored.records.project(&places).map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
        let line = |row| format!("insert into {} {}", setup.table.written, json::row(&shown, row));
        let samples = (0..stored.rows().min(Written::SAMPLES)).map(line).collect();
        let columns = setup.layout.returned.iter().zip(&setup.wires);
        let columns = columns.map(|(returned, wire)| stand_in(returned, wire, &stored)).collect();
        let output = Some(setup.layout.with_returned(stored, columns)?);
        Ok(Written { accepted, rejects: rejects.take(), bytes, samples, output, ..Written::default() })
    }

    fn commit_split(&mut self, _split: SplitId, _may_refuse: bool) -> Result<Committed, Failure> {
        Ok(true.into())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// What stands for a column that only the database knows.
fn stand_in(returned: &Returned, wire: &str, batch: &Batch) -> ArrayRef {
    if let Some(place) = returned.place.filter(|_| !returned.made) {
        return Arc::clone(batch.records.column(place));
    }
    let mut values = Values::new(&returned.column.column_type, true, false);
    for row in 0..batch.rows() {
        let number = batch.origin.position(row).record as i64;
        if wire != "int8" || values.push(Some(&number.to_be_bytes())).is_err() {
            values.push_null();
        }
    }
    values.finish()
}
