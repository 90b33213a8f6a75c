//! Writes receipts.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;

use super::{Answers, Head, Part, RefusedRow, broken, digest};
use crate::failure::{Exit, Failure};

/// Rows of a part, about.
const ROWS: usize = 1 << 16;
/// Bytes of the values of a part, about, before they are compressed.
const BYTES: usize = 4 << 20;
/// zstd level 1, the fastest standard level.
pub(super) const LEVEL: i32 = 1;

/// Writes the receipt of a split.
#[derive(Debug)]
pub struct Recorder {
    schema: SchemaRef,
    rows: usize,
    bytes: usize,
    refused: Vec<RefusedRow>,
    returned: Vec<RecordBatch>,
    digests: Digests,
}

/// What a recorder keeps to know the rows of a part again.
#[derive(Debug)]
enum Digests {
    /// Rows come in the same order each time: the digest of all of them in their order.
    Chain(u128),
    /// They may not: those of all rows, and the sum of those of the accepted ones.
    Each(Vec<u128>, u128),
}

impl Recorder {
    /// An empty one; `schema` describes what is given back. `in_order` says that rows come in the same order whenever
    /// the split is read.
    pub fn new(schema: SchemaRef, in_order: bool) -> Self {
        let digests = if in_order { Digests::Chain(0) } else { Digests::Each(Vec::new(), 0) };
        Recorder { schema, rows: 0, bytes: 0, refused: Vec::new(), returned: Vec::new(), digests }
    }

    /// Notes the answers for the next rows of the split. Gives the part that is full, where one is.
    ///
    /// # Errors
    /// What was given back is not what was declared.
    pub fn add(&mut self, records: &RecordBatch, answers: &Answers) -> Result<Option<Part>, Failure> {
        let digests = digest::rows(records);
        let at = self.rows as u32;
        for (row, code, why) in &answers.refused {
            self.bytes += why.len();
            self.refused.push(RefusedRow { row: at + row, code: code.0.to_owned(), why: why.clone() });
        }
        self.rows += digests.len();
        match &mut self.digests {
            Digests::Chain(chain) => *chain = digest::chain(*chain, &digests),
            Digests::Each(all, sum) => {
                *sum = answers.accepted.iter().fold(*sum, |sum, row| sum.wrapping_add(digests[*row as usize]));
                all.extend(digests);
            }
        }
        if !self.schema.fields().is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(answers.accepted.len()));
            let (schema, columns) = (Arc::clone(&self.schema), answers.returned.clone());
            let columns = if answers.accepted.is_empty() {
                RecordBatch::new_empty(Arc::clone(&schema)).columns().to_vec()
            } else {
                columns
            };
            let returned = RecordBatch::try_new_with_options(schema, columns, &options);
            let returned = returned.map_err(|error| broken(&error))?;
            self.bytes += returned.get_array_memory_size();
            self.returned.push(returned);
        }
        if self.rows < ROWS && self.bytes < BYTES { Ok(None) } else { self.part().map(Some) }
    }

    /// The last part. A split without rows has one, too: it says that all of it was stored.
    ///
    /// # Errors
    /// As [`Recorder::add`].
    pub fn part(&mut self) -> Result<Part, Failure> {
        let rows = std::mem::take(&mut self.rows);
        let refused = std::mem::take(&mut self.refused);
        let accepted = (rows - refused.len()) as u64;
        let answered = !(self.schema.fields().is_empty() && refused.is_empty());
        let (single, sum, chain) = match &mut self.digests {
            Digests::Chain(chain) => (false, None, Some(hex(std::mem::take(chain)))),
            Digests::Each(_, sum) => (answered, Some(hex(std::mem::take(sum))), None),
        };
        let mut part = serde_json::to_vec(&Head { rows, single, refused, sum, chain }).unwrap_or_default();
        part.push(b'\n');
        if let Digests::Each(all, _) = &mut self.digests {
            all.drain(..).filter(|_| single).for_each(|digest| part.extend_from_slice(&digest.to_be_bytes()));
        }
        let returned = std::mem::take(&mut self.returned);
        self.bytes = 0;
        if !self.schema.fields().is_empty() {
            let mut write = || {
                let records = concat_batches(&self.schema, &returned)?;
                let mut writer = StreamWriter::try_new(&mut part, &self.schema)?;
                writer.write(&records)?;
                writer.finish()
            };
            write().map_err(|error| broken(&error))?;
        }
        let bytes = zstd::bulk::compress(&part, LEVEL)
            .map_err(|error| Failure::new(Exit::Bug, format!("a receipt cannot be compressed: {error}")))?;
        Ok(Part { accepted, bytes })
    }
}

fn hex(digest: u128) -> String {
    format!("{digest:032x}")
}
