//! Records that could not be processed. A reject is data: it is counted, reported and written to the
//! reject file, and takes no neighbours with it.

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::{Batch, Position, SplitId};
use crate::values::{RejectCode, json};

/// One refused record.
#[derive(Clone, Debug)]
pub struct Reject {
    /// The reason in one word.
    pub code: RejectCode,
    /// The reason in a sentence: lower case, no full stop, names the column and the value.
    pub message: String,
    /// The split it came from.
    pub split: SplitId,
    /// Its place in the split.
    pub position: Position,
    /// The record as it was read, where the source keeps the text; else its columns as JSON.
    pub record: Vec<u8>,
    /// Its columns as the stage that refuses it was given them, where it was given any: one row.
    pub row: Option<RecordBatch>,
    /// The names of its fields, where they stand at the head of its file.
    pub header: Option<Arc<[u8]>>,
}

impl Reject {
    /// A record that could not even be read: all there is of it is its text.
    pub fn unread(
        code: RejectCode,
        message: impl Into<String>,
        split: SplitId,
        position: Position,
        record: Vec<u8>,
    ) -> Reject {
        Reject { code, message: message.into(), split, position, record, row: None, header: None }
    }
}

/// The rejects of one call, collected by the worker that found them.
#[derive(Debug, Default)]
pub struct Rejects {
    refused: Vec<Reject>,
    dropped: u64,
}

impl Rejects {
    /// Refuses row `row` of `batch`.
    pub fn push(&mut self, batch: &Batch, row: usize, code: RejectCode, message: impl Into<String>) {
        let position = batch.origin.position(row);
        let given = batch.row(row);
        let record = match batch.origin.raw(row) {
            Some(raw) => raw.to_vec(),
            None => json::row(&given, 0).into_bytes(),
        };
        let (message, split) = (message.into(), batch.origin.split);
        self.refused.push(Reject { code, message, split, position, record, row: Some(given), header: None });
    }

    /// Adds a reject that no batch stands behind: a record that could not even be read.
    pub fn add(&mut self, reject: Reject) {
        self.refused.push(reject);
    }

    /// Says what stands at the head of the file that they were read from.
    pub fn of_file(&mut self, header: Option<Arc<[u8]>>) {
        self.refused.iter_mut().for_each(|reject| reject.header.clone_from(&header));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.refused.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    /// Takes them all out.
    pub fn take(&mut self) -> Vec<Reject> {
        std::mem::take(&mut self.refused)
    }

    /// So many rows were dropped on purpose, by a transform that makes several rows of one, or gathers others: there the
    /// numbers of rows in and out do not tell.
    pub fn dropped(&mut self, rows: u64) {
        self.dropped += rows;
    }

    /// Takes the number of rows that were said to be dropped.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}
