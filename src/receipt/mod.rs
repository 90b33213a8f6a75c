//! What a sink has answered for the rows of a split, kept with the rows themselves: a receipt.
//!
//! A sink that promises to hold every row once writes a receipt of each split in the same transaction as its rows.
//! When an interrupted run is resumed and reads a split whose receipt is there, nothing is written: the receipt gives
//! the same answers as the database gave then, with the values that it gave back, whatever the sizes of the
//! batches are now. So what reads the sink gets the same rows.
//!
//! A receipt is a few parts, each of so many consecutive rows of the split: which of them were refused and why, and
//! of the others the values given back, as an Arrow IPC stream. Parts are compressed.
//!
//! Answers belong to rows, not to places: an `UPDATE` moves rows in a heap, an index changes a plan, and a query then
//! gives the same rows in another order. So a receipt keeps, beside each value that was given back and each refusal, a
//! digest of the row that came. As long as rows come in the order of the first time they are compared one by one; from the
//! first difference on they are looked up, equal rows by occurrence. Of a part in which all rows were accepted, and
//! nothing was given back, there is only their number and the sum of their digests. A split whose content is not what it was is found out
//! before it is committed, so that none of its rows goes on.

mod digest;
mod index;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, io::Cursor, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::{concat, concat_batches};
use serde::{Deserialize, Serialize};

use self::index::{Given, Index};
use crate::{
    batch::RejectCode,
    failure::{Exit, Failure},
};

/// Rows of a part, about.
const ROWS: usize = 1 << 16;
/// Bytes of the values of a part, about, before they are compressed.
const BYTES: usize = 4 << 20;
/// zstd level 1, the fastest standard level.
const LEVEL: i32 = 1;
/// Bytes of a digest.
const DIGEST: usize = 16;

/// A row that was refused: its place, the reason in a word and in a sentence.
pub type Refused = (u32, RejectCode, String);

/// What was answered for some rows.
#[derive(Debug, Default)]
pub struct Answers {
    /// The rows that were accepted, ascending.
    pub accepted: Vec<u32>,
    /// The others, ascending.
    pub refused: Vec<Refused>,
    /// What was given back of the accepted rows, by column.
    pub returned: Vec<ArrayRef>,
}

/// A part of a receipt, as it lies in the database.
#[derive(Debug)]
pub struct Part {
    /// The rows of it that were accepted.
    pub accepted: u64,
    /// All that is to be known of it.
    pub bytes: Vec<u8>,
}

/// Writes the receipt of a split.
#[derive(Debug)]
pub struct Recorder {
    schema: SchemaRef,
    rows: usize,
    bytes: usize,
    refused: Vec<RefusedRow>,
    returned: Vec<RecordBatch>,
    /// Of all rows.
    digests: Vec<u128>,
    /// Of the accepted rows.
    sum: u128,
}

/// A part, but for the digests and the values given back, which come behind it.
#[derive(Serialize, Deserialize)]
struct Head {
    rows: usize,
    /// Is there a digest of each row?
    single: bool,
    refused: Vec<RefusedRow>,
    /// The digests of the accepted rows added up, in hexadecimal digits.
    sum: String,
}

/// A row that was refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RefusedRow {
    row: u32,
    code: String,
    why: String,
}

impl Recorder {
    /// An empty one; `schema` describes what is given back.
    pub fn new(schema: SchemaRef) -> Self {
        let (refused, returned, digests) = (Vec::new(), Vec::new(), Vec::new());
        Recorder { schema, rows: 0, bytes: 0, refused, returned, digests, sum: 0 }
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
        for row in &answers.accepted {
            self.sum = self.sum.wrapping_add(digests[*row as usize]);
        }
        self.rows += digests.len();
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
        self.digests.extend(digests);
        if self.rows < ROWS && self.bytes < BYTES { Ok(None) } else { self.part().map(Some) }
    }

    /// The last part. A split without rows has one, too: it says that all of it was stored.
    ///
    /// # Errors
    /// As [`Recorder::add`].
    pub fn part(&mut self) -> Result<Part, Failure> {
        let rows = std::mem::take(&mut self.rows);
        let (refused, sum) = (std::mem::take(&mut self.refused), hex(std::mem::take(&mut self.sum)));
        let accepted = (rows - refused.len()) as u64;
        let single = !(self.schema.fields().is_empty() && refused.is_empty());
        let mut part = serde_json::to_vec(&Head { rows, single, refused, sum }).unwrap_or_default();
        part.push(b'\n');
        for digest in self.digests.drain(..).filter(|_| single) {
            part.extend_from_slice(&digest.to_be_bytes());
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

/// Reads the receipt of a split.
pub struct Receipt {
    schema: SchemaRef,
    /// The words that the sink has for reasons.
    codes: &'static [RejectCode],
    /// The part that answers come from in order, and the number of the next.
    part: Loaded,
    next: u32,
    /// Where answers are looked up from the first difference on.
    index: Option<Index>,
    /// The rows that came of a part of which there is only the sum.
    seen: Vec<u128>,
    /// Rows of which only that is known that they were accepted: how many are still to come, and what their digests add
    /// up to.
    rest: (u64, u128),
}

/// A part that was read.
#[derive(Debug, Default)]
struct Loaded {
    rows: usize,
    single: bool,
    refused: VecDeque<RefusedRow>,
    sum: u128,
    digests: Vec<u128>,
    returned: Option<RecordBatch>,
    /// Rows and accepted rows that were asked for already.
    row: usize,
    accepted: usize,
}

/// What has been found of the rows of a batch.
#[derive(Default)]
struct Found {
    answers: Answers,
    /// What was given back, in order.
    slices: Vec<RecordBatch>,
    /// The same of those that were looked up.
    looked_up: Vec<Vec<u8>>,
}

impl Receipt {
    /// A receipt whose parts are still to be loaded.
    pub fn new(schema: SchemaRef, codes: &'static [RejectCode]) -> Self {
        Receipt { schema, codes, part: Loaded::default(), next: 0, index: None, seen: Vec::new(), rest: (0, 0) }
    }

    /// The answers for the next rows of the split. `load` gives a part by its number, from 0.
    ///
    /// # Errors
    /// The split cannot be what it was; or a part cannot be loaded, or is damaged.
    pub fn answers(
        &mut self,
        records: &RecordBatch,
        mut load: impl FnMut(u32) -> Result<Option<Vec<u8>>, Failure>,
    ) -> Result<Answers, Failure> {
        let digests = digest::rows(records);
        let mut found = Found::default();
        let mut row = 0;
        while row < digests.len() && self.index.is_none() {
            if self.part.row == self.part.rows {
                if !self.is_complete() {
                    self.index_rest(&mut load)?;
                    break;
                }
                let part = load(self.next)?.ok_or_else(differs)?;
                self.part = Loaded::read(&part, &self.schema)?;
                self.next += 1;
                self.seen.clear();
                continue;
            }
            let (left, coming) = (self.part.rows - self.part.row, &digests[row..]);
            let same = match self.part.single {
                true => self.part.digests[self.part.row..].iter().zip(coming).take_while(|(a, b)| a == b).count(),
                false => left.min(coming.len()),
            };
            if !self.part.single {
                self.seen.extend_from_slice(&coming[..same]);
            }
            self.in_order(row, same, &mut found)?;
            row += same;
            if row < digests.len() && self.part.row < self.part.rows {
                self.index_rest(&mut load)?;
            }
        }
        for (row, digest) in digests.iter().enumerate().skip(row) {
            self.look_up(row as u32, *digest, &mut found)?;
        }
        self.collect(found)
    }

    /// Are the rows that came those of the part, where there is only their sum?
    fn is_complete(&self) -> bool {
        let sum = self.seen.iter().fold(0_u128, |sum, digest| sum.wrapping_add(*digest));
        self.part.single || (self.seen.len() == self.part.rows && sum == self.part.sum)
    }

    /// The answers for so many rows from `row` on, which come in the order of the first time.
    fn in_order(&mut self, row: usize, count: usize, found: &mut Found) -> Result<(), Failure> {
        let part = &mut self.part;
        let mut accepted = 0;
        for i in 0..count {
            let at = (part.row + i) as u32;
            match part.refused.pop_front_if(|refused| refused.row == at) {
                Some(RefusedRow { code, why, .. }) => {
                    found.answers.refused.push(((row + i) as u32, word(self.codes, &code), why));
                }
                None => {
                    found.answers.accepted.push((row + i) as u32);
                    accepted += 1;
                }
            }
        }
        if let Some(all) = &part.returned {
            if part.accepted + accepted > all.num_rows() {
                return Err(damaged());
            }
            found.slices.push(all.slice(part.accepted, accepted));
        }
        (part.row, part.accepted) = (part.row + count, part.accepted + accepted);
        Ok(())
    }

    /// From now on answers are looked up: all that were not asked for yet.
    fn index_rest(&mut self, load: &mut impl FnMut(u32) -> Result<Option<Vec<u8>>, Failure>) -> Result<(), Failure> {
        let mut index = Index::new(&self.schema)?;
        let complete = self.part.row == self.part.rows && self.is_complete();
        let (part, mut seen) = (std::mem::take(&mut self.part), std::mem::take(&mut self.seen));
        match complete {
            true => seen.clear(),
            false => part.give(&mut index, &mut self.rest)?,
        }
        while let Some(next) = load(self.next)? {
            Loaded::read(&next, &self.schema)?.give(&mut index, &mut self.rest)?;
            self.next += 1;
        }
        self.index = Some(index);
        // Of these rows it was said that they were accepted, and so it must be.
        let mut found = Found::default();
        seen.into_iter().try_for_each(|digest| self.look_up(0, digest, &mut found))?;
        if found.answers.refused.is_empty() { Ok(()) } else { Err(differs()) }
    }

    fn look_up(&mut self, row: u32, digest: u128, found: &mut Found) -> Result<(), Failure> {
        let index = self.index.as_mut().ok_or_else(damaged)?;
        match index.take(digest)? {
            Some(Given::Refused(code, why)) => found.answers.refused.push((row, word(self.codes, &code), why)),
            Some(Given::Accepted(values)) => {
                found.answers.accepted.push(row);
                found.looked_up.push(values);
            }
            None if self.rest.0 == 0 => return Err(differs()),
            None => {
                self.rest = (self.rest.0 - 1, self.rest.1.wrapping_sub(digest));
                found.answers.accepted.push(row);
            }
        }
        Ok(())
    }

    fn collect(&self, found: Found) -> Result<Answers, Failure> {
        let Found { mut answers, slices, looked_up } = found;
        if self.schema.fields().is_empty() {
            return Ok(answers);
        }
        let mut parts: Vec<Vec<ArrayRef>> = slices.iter().map(|slice| slice.columns().to_vec()).collect();
        if let Some(index) = self.index.as_ref().filter(|_| !looked_up.is_empty()) {
            parts.push(index.decode(&looked_up)?);
        }
        if parts.is_empty() {
            parts.push(RecordBatch::new_empty(Arc::clone(&self.schema)).columns().to_vec());
        }
        let column = |at: usize| {
            let arrays: Vec<&dyn arrow_array::Array> = parts.iter().map(|part| part[at].as_ref()).collect();
            concat(&arrays).map_err(|error| broken(&error))
        };
        answers.returned = (0..self.schema.fields().len()).map(column).collect::<Result<_, _>>()?;
        Ok(answers)
    }

    /// The split has no more rows.
    ///
    /// # Errors
    /// There were more, or others.
    pub fn end(&mut self, mut load: impl FnMut(u32) -> Result<Option<Vec<u8>>, Failure>) -> Result<(), Failure> {
        if self.index.is_none() {
            self.index_rest(&mut load)?;
        }
        let left = self.index.as_ref().map_or(0, Index::left);
        if left > 0 || self.rest != (0, 0) { Err(differs()) } else { Ok(()) }
    }
}

impl Loaded {
    fn read(part: &[u8], schema: &SchemaRef) -> Result<Loaded, Failure> {
        let part = zstd::decode_all(part).map_err(|_| damaged())?;
        let end = part.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let Head { rows, single, refused, sum } = serde_json::from_slice(&part[..end]).map_err(|_| damaged())?;
        let sum = u128::from_str_radix(&sum, 16).map_err(|_| damaged())?;
        let size = if single { rows.checked_mul(DIGEST) } else { Some(0) };
        let behind = size.and_then(|size| part[end + 1..].split_at_checked(size));
        let (bytes, values) = behind.ok_or_else(damaged)?;
        let digests = bytes.as_chunks::<DIGEST>().0.iter().map(|digest| u128::from_be_bytes(*digest)).collect();
        let mut returned = None;
        if !schema.fields().is_empty() {
            let mut reader = StreamReader::try_new(Cursor::new(values), None).map_err(|_| damaged())?;
            let records = reader.next().and_then(Result::ok).ok_or_else(damaged)?;
            // The spec is the one that it was written for.
            if records.schema().fields().len() != schema.fields().len() {
                return Err(damaged());
            }
            returned = Some(records);
        }
        Ok(Loaded { rows, single, refused: refused.into(), sum, digests, returned, row: 0, accepted: 0 })
    }

    /// Gives what was not asked for yet to the index, or to the rest.
    fn give(self, index: &mut Index, rest: &mut (u64, u128)) -> Result<(), Failure> {
        let Loaded { rows, single, mut refused, sum, digests, returned, row, accepted } = self;
        if !single {
            *rest = (rest.0 + rows as u64, rest.1.wrapping_add(sum));
            return Ok(());
        }
        let left = (rows - row).checked_sub(refused.len()).ok_or_else(damaged)?;
        let returned = match returned {
            Some(all) if accepted + left != all.num_rows() => return Err(damaged()),
            Some(all) => Some(index.encode(&all.slice(accepted, left))?),
            None => None,
        };
        let mut given = returned.iter().flat_map(|rows| rows.iter());
        for (row, digest) in digests.iter().enumerate().skip(row) {
            match refused.pop_front_if(|refused| refused.row as usize == row) {
                Some(RefusedRow { code, why, .. }) => index.refused(*digest, &code, &why)?,
                None => index.accepted(*digest, given.next().as_ref().map_or(&[], AsRef::as_ref))?,
            }
        }
        Ok(())
    }
}

fn hex(digest: u128) -> String {
    format!("{digest:032x}")
}

/// The word that the sink has for a reason.
fn word(codes: &[RejectCode], code: &str) -> RejectCode {
    codes.iter().find(|known| known.0 == code).copied().unwrap_or(RejectCode("refused"))
}

fn broken(error: &ArrowError) -> Failure {
    Failure::new(Exit::Bug, format!("a receipt of rows that were stored: {error}"))
}

fn damaged() -> Failure {
    Failure::new(Exit::Io, "a receipt of rows that were stored is damaged; `--fresh` starts the job over")
}

fn differs() -> Failure {
    let message = "its rows are not those that were stored; revert the change to resume, or start over with `--fresh`";
    Failure::new(Exit::InputMissing, message)
}
