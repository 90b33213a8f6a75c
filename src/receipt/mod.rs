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
//! Answers belong to rows. How a receipt knows rows again depends on whether they can come in another order, which the
//! engine says of each sink ([`Attempt::in_order`](crate::stage::Attempt::in_order)):
//!
//! - Where they cannot (a file, a table by its key, and nothing on the way that divides rows), the first answer is that
//!   of the first row, and so on. Of each part there is one digest of its rows in their order. Where it is another in
//!   the end, rows have changed, are missing, came twice or in another order, and the split fails.
//! - Where they can, a place says nothing: an `UPDATE` moves rows in a heap, an index changes a plan, and a query then
//!   gives the same rows in another order; rows that were divided by a key come together as the sizes of batches have it.
//!   So there is, beside each value that was given back and each refusal, a digest of the row that came. As long as rows
//!   come in the order of the first time they are compared one by one; from the first difference on they are looked up,
//!   equal rows by occurrence. Of a part in which all rows were accepted, and nothing was given back, there is only their
//!   number and the sum of their digests.
//!
//! A digest of each row cannot be compressed. It is larger than all else of a row's receipt, and is written to the
//! database's log and to its file, which is why it is there only where it is needed.
//!
//! Either way a split whose content is not what it was is found out before it is committed, so that none of its rows goes
//! on. A part says itself which of these it has: receipts that lie in a database are read as they were written.

mod digest;
mod index;
mod recorder;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, io::Cursor, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::concat;
use serde::{Deserialize, Serialize};

pub use self::recorder::Recorder;

use self::index::{Given, Index};
use crate::{
    batch::RejectCode,
    failure::{Exit, Failure},
};

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
    /// How many of the accepted rows the database has not stored by its own count: a trigger or a rule of the table has
    /// dropped them, or has stored them elsewhere. It does not say which. A receipt does not keep it.
    pub not_confirmed: u64,
}

/// A part of a receipt, as it lies in the database.
#[derive(Debug)]
pub struct Part {
    /// The rows of it that were accepted.
    pub accepted: u64,
    /// All that is to be known of it.
    pub bytes: Vec<u8>,
}

/// A part, but for the digests and the values given back, which come behind it.
#[derive(Serialize, Deserialize)]
struct Head {
    rows: usize,
    /// Is there a digest of each row?
    single: bool,
    refused: Vec<RefusedRow>,
    /// Where rows may come in another order: the digests of the accepted rows added up, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<String>,
    /// Where they may not: the digest of all rows in their order, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain: Option<String>,
}

/// A row that was refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RefusedRow {
    row: u32,
    code: String,
    why: String,
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
    /// The digest of the rows that came of a part of which there is only that of all of them.
    chain: u128,
    /// Rows of which only that is known that they were accepted: how many are still to come, and what their digests add
    /// up to.
    rest: (u64, u128),
}

/// A part that was read.
#[derive(Debug, Default)]
struct Loaded {
    rows: usize,
    known_by: KnownBy,
    refused: VecDeque<RefusedRow>,
    returned: Option<RecordBatch>,
    /// Rows and accepted rows that were asked for already.
    row: usize,
    accepted: usize,
}

/// What there is of the rows of a part to know them again.
#[derive(Debug)]
enum KnownBy {
    /// The digest of each.
    Each(Vec<u128>),
    /// The sum of the digests of the accepted rows: all of them.
    Sum(u128),
    /// The digest of all of them in their order.
    Chain(u128),
}

impl Default for KnownBy {
    fn default() -> Self {
        KnownBy::Each(Vec::new())
    }
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
        let part = Loaded::default();
        Receipt { schema, codes, part, next: 0, index: None, seen: Vec::new(), chain: 0, rest: (0, 0) }
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
                self.chain = 0;
                continue;
            }
            let (left, coming) = (self.part.rows - self.part.row, &digests[row..]);
            let possible = left.min(coming.len());
            let same = match &self.part.known_by {
                KnownBy::Each(all) => all[self.part.row..].iter().zip(coming).take_while(|(a, b)| a == b).count(),
                KnownBy::Sum(_) => {
                    self.seen.extend_from_slice(&coming[..possible]);
                    possible
                }
                KnownBy::Chain(_) => {
                    self.chain = digest::chain(self.chain, &coming[..possible]);
                    possible
                }
            };
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

    /// Are the rows that came those of the part, where they were not compared one by one?
    fn is_complete(&self) -> bool {
        match self.part.known_by {
            KnownBy::Each(_) => true,
            KnownBy::Sum(wanted) => {
                let sum = self.seen.iter().fold(0_u128, |sum, digest| sum.wrapping_add(*digest));
                self.seen.len() == self.part.rows && sum == wanted
            }
            KnownBy::Chain(wanted) => self.part.row == self.part.rows && self.chain == wanted,
        }
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
        let Head { rows, single, refused, sum, chain } = serde_json::from_slice(&part[..end]).map_err(|_| damaged())?;
        let number = |digits: &str| u128::from_str_radix(digits, 16).map_err(|_| damaged());
        let size = if single { rows.checked_mul(DIGEST) } else { Some(0) };
        let behind = size.and_then(|size| part[end + 1..].split_at_checked(size));
        let (bytes, values) = behind.ok_or_else(damaged)?;
        let known_by = match (single, sum, chain) {
            (false, None, Some(chain)) => KnownBy::Chain(number(&chain)?),
            (false, Some(sum), None) => KnownBy::Sum(number(&sum)?),
            (true, Some(_), None) => {
                KnownBy::Each(bytes.as_chunks::<DIGEST>().0.iter().map(|digest| u128::from_be_bytes(*digest)).collect())
            }
            _ => return Err(damaged()),
        };
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
        Ok(Loaded { rows, known_by, refused: refused.into(), returned, row: 0, accepted: 0 })
    }

    /// Gives what was not asked for yet to the index, or to the rest.
    fn give(self, index: &mut Index, rest: &mut (u64, u128)) -> Result<(), Failure> {
        let Loaded { rows, known_by, mut refused, returned, row, accepted } = self;
        let digests = match known_by {
            KnownBy::Each(digests) => digests,
            KnownBy::Sum(sum) => {
                *rest = (rest.0 + rows as u64, rest.1.wrapping_add(sum));
                return Ok(());
            }
            // They can only come in their order, and did not.
            KnownBy::Chain(_) if rows > 0 => return Err(differs()),
            KnownBy::Chain(_) => return Ok(()),
        };
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
