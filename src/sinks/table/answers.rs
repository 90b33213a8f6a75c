//! What the engine hears of a database's answers: counts, rejects, and the rows that go on to other stages.

use arrow_array::{ArrayRef, RecordBatch};

use super::Layout;
use crate::{
    batch::{Batch, Rejects},
    failure::{Exit, Failure},
    receipt::Answers,
    stage::Written,
};

impl Layout {
    /// The answers for a batch, of which so many bytes were written.
    pub(in crate::sinks) fn written(&self, batch: &Batch, answers: Answers, bytes: u64) -> Result<Written, Failure> {
        let Answers { accepted, refused, returned, not_confirmed } = answers;
        let mut rejects = Rejects::default();
        refused.into_iter().for_each(|(row, code, why)| rejects.push(batch, row as usize, code, why));
        let count = accepted.len() as u64;
        let kept = if accepted.len() == batch.rows() { batch.clone() } else { batch.pick(accepted) };
        let output = Some(self.with_returned(kept, returned)?);
        Ok(Written { accepted: count, not_confirmed, rejects: rejects.take(), bytes, output, ..Written::default() })
    }

    /// Rows with the columns that came back of them in place of, or beside, their own.
    pub(in crate::sinks) fn with_returned(&self, kept: Batch, returned: Vec<ArrayRef>) -> Result<Batch, Failure> {
        if returned.is_empty() {
            return Ok(kept);
        }
        let mut columns = kept.records.columns().to_vec();
        for (returned, values) in self.returned.iter().zip(returned) {
            match self.output.find(&returned.column.name) {
                Some((place, _)) if place < columns.len() => columns[place] = values,
                _ => columns.push(values),
            }
        }
        let records = RecordBatch::try_new(self.output.arrow(), columns).map_err(|error| {
            Failure::new(Exit::Bug, format!("columns of table `{}` that came back do not fit: {error}", self.table))
        })?;
        Ok(Batch::new(records, kept.origin))
    }
}
