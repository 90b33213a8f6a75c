//! What a sink has answered for the rows of a split, kept with the rows themselves: a receipt.
//!
//! A sink that promises to hold every row once writes a receipt of each split in the same transaction as its rows.
//! When a run that broke off reads a split again whose receipt is there, nothing is written: the receipt gives
//! the same answers as the database gave then, with the values that it gave back, whatever the sizes of the
//! batches are now. So what reads the sink gets the same rows.
//!
//! A receipt is a few parts, each of so many consecutive rows of the split: which of them were refused and why, and
//! of the others the values given back, as an Arrow IPC stream. Parts are compressed.

use std::{collections::VecDeque, io::Cursor, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::{concat, concat_batches};
use serde::{Deserialize, Serialize};

use crate::{
    batch::RejectCode,
    failure::{Exit, Failure},
};

/// Rows of a part, about.
const ROWS: usize = 1 << 16;
/// Bytes of the values of a part, about, before they are compressed.
const BYTES: usize = 4 << 20;
/// How hard parts are compressed: hardly.
const LEVEL: i32 = 1;

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

/// Writes the receipt of a split.
#[derive(Debug)]
pub struct Recorder {
    schema: SchemaRef,
    rows: usize,
    bytes: usize,
    refused: Vec<(u32, String, String)>,
    returned: Vec<RecordBatch>,
}

/// A part, but for the values given back, which come behind it.
#[derive(Serialize, Deserialize)]
struct Head {
    rows: usize,
    refused: Vec<(u32, String, String)>,
}

impl Recorder {
    /// An empty one; `schema` describes what is given back.
    pub fn new(schema: SchemaRef) -> Self {
        Recorder { schema, rows: 0, bytes: 0, refused: Vec::new(), returned: Vec::new() }
    }

    /// Notes the answers for the next rows of the split. Gives the part that is full, where one is.
    ///
    /// # Errors
    /// What was given back is not what was declared.
    pub fn add(&mut self, rows: usize, refused: &[Refused], returned: &[ArrayRef]) -> Result<Option<Vec<u8>>, Failure> {
        let at = self.rows as u32;
        self.refused.extend(refused.iter().map(|(row, code, why)| (at + row, code.0.to_owned(), why.clone())));
        self.bytes += refused.iter().map(|(_, _, why)| why.len()).sum::<usize>();
        self.rows += rows;
        if !self.schema.fields().is_empty() {
            let accepted = returned.first().map_or(0, |column| column.len());
            let options = RecordBatchOptions::new().with_row_count(Some(accepted));
            let records = RecordBatch::try_new_with_options(Arc::clone(&self.schema), returned.to_vec(), &options);
            let records = records.map_err(|error| broken(&error))?;
            self.bytes += records.get_array_memory_size();
            self.returned.push(records);
        }
        if self.rows < ROWS && self.bytes < BYTES { Ok(None) } else { self.part() }
    }

    /// The last part, where there are rows for one.
    ///
    /// # Errors
    /// As [`Recorder::add`].
    pub fn part(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.rows == 0 {
            return Ok(None);
        }
        let head = Head { rows: std::mem::take(&mut self.rows), refused: std::mem::take(&mut self.refused) };
        let mut part = serde_json::to_vec(&head).unwrap_or_default();
        part.push(b'\n');
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
        zstd::bulk::compress(&part, LEVEL)
            .map(Some)
            .map_err(|error| Failure::new(Exit::Bug, format!("a receipt cannot be compressed: {error}")))
    }
}

/// Reads the receipt of a split.
#[derive(Debug)]
pub struct Receipt {
    schema: SchemaRef,
    /// The words that the sink has for reasons.
    codes: &'static [RejectCode],
    /// The part that answers come from, and the number of the next.
    part: Part,
    next: u32,
}

#[derive(Debug, Default)]
struct Part {
    rows: usize,
    refused: VecDeque<(u32, String, String)>,
    returned: Option<RecordBatch>,
    /// Rows and accepted rows that were asked for already.
    row: usize,
    accepted: usize,
}

impl Receipt {
    /// A receipt whose parts are still to be loaded.
    pub fn new(schema: SchemaRef, codes: &'static [RejectCode]) -> Self {
        Receipt { schema, codes, part: Part::default(), next: 0 }
    }

    /// The answers for the next rows of the split. `load` gives a part by its number, from 0.
    ///
    /// # Errors
    /// There are more rows than there were; or a part cannot be loaded, or is damaged.
    pub fn answers(
        &mut self,
        rows: usize,
        mut load: impl FnMut(u32) -> Result<Option<Vec<u8>>, Failure>,
    ) -> Result<Answers, Failure> {
        let mut answers = Answers::default();
        let mut returned: Vec<RecordBatch> = Vec::new();
        let mut row = 0;
        while row < rows {
            if self.part.row == self.part.rows {
                let part = load(self.next)?.ok_or_else(|| differs("more"))?;
                self.part = Part::read(&part, &self.schema)?;
                self.next += 1;
            }
            let part = &mut self.part;
            let some = (rows - row).min(part.rows - part.row);
            let mut count = 0;
            for i in 0..some {
                let at = (part.row + i) as u32;
                match part.refused.pop_front_if(|(refused, ..)| *refused == at) {
                    Some((_, code, why)) => {
                        let code = self.codes.iter().find(|known| known.0 == code).copied();
                        answers.refused.push(((row + i) as u32, code.unwrap_or(RejectCode("refused")), why));
                    }
                    None => {
                        answers.accepted.push((row + i) as u32);
                        count += 1;
                    }
                }
            }
            if let Some(all) = &part.returned {
                if part.accepted + count > all.num_rows() {
                    return Err(damaged());
                }
                returned.push(all.slice(part.accepted, count));
            }
            (part.row, part.accepted, row) = (part.row + some, part.accepted + count, row + some);
        }
        answers.returned = columns(&returned)?;
        Ok(answers)
    }

    /// The split has no more rows.
    ///
    /// # Errors
    /// There were more.
    pub fn end(&self, load: impl FnOnce(u32) -> Result<Option<Vec<u8>>, Failure>) -> Result<(), Failure> {
        if self.part.row < self.part.rows || load(self.next)?.is_some() { Err(differs("fewer")) } else { Ok(()) }
    }
}

impl Part {
    fn read(part: &[u8], schema: &SchemaRef) -> Result<Part, Failure> {
        let part = zstd::decode_all(part).map_err(|_| damaged())?;
        let end = part.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let head: Head = serde_json::from_slice(&part[..end]).map_err(|_| damaged())?;
        let returned = match schema.fields().is_empty() {
            true => None,
            false => {
                let mut reader = StreamReader::try_new(Cursor::new(&part[end + 1..]), None).map_err(|_| damaged())?;
                let records = reader.next().and_then(Result::ok).ok_or_else(damaged)?;
                // The spec is the one that it was written for.
                if records.columns().len() != schema.fields().len() {
                    return Err(damaged());
                }
                Some(records)
            }
        };
        let refused = head.refused.into();
        Ok(Part { rows: head.rows, refused, returned, row: 0, accepted: 0 })
    }
}

/// The columns of batches one after the other.
fn columns(batches: &[RecordBatch]) -> Result<Vec<ArrayRef>, Failure> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let column = |at: usize| {
        let parts: Vec<&dyn arrow_array::Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        concat(&parts).map_err(|error| broken(&error))
    };
    (0..first.num_columns()).map(column).collect()
}

fn broken(error: &ArrowError) -> Failure {
    Failure::new(Exit::Bug, format!("a receipt of rows that were stored: {error}"))
}

fn damaged() -> Failure {
    Failure::new(Exit::Io, "a receipt of rows that were stored is damaged; `--fresh` begins the job anew")
}

fn differs(how: &str) -> Failure {
    let message = format!("a split has {how} rows than when it was stored; `--fresh` begins the job anew");
    Failure::new(Exit::InputMissing, message)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringViewArray, cast::AsArray, types::Int64Type};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    const CODES: &[RejectCode] = &[RejectCode("constraint"), RejectCode("bad_value")];

    fn schema() -> SchemaRef {
        let fields = vec![Field::new("id", DataType::Int64, false), Field::new("t", DataType::Utf8View, true)];
        Arc::new(Schema::new(fields))
    }

    /// A split in which every seventh row was refused, written in batches of one size.
    fn written(rows: usize, batch: usize) -> Vec<Vec<u8>> {
        let mut recorder = Recorder::new(schema());
        let mut parts = Vec::new();
        for start in (0..rows).step_by(batch) {
            let (mut refused, mut ids) = (Vec::new(), Vec::new());
            let end = rows.min(start + batch);
            for row in start..end {
                match row % 7 {
                    3 => refused.push(((row - start) as u32, CODES[row % 2], format!("no {row}"))),
                    _ => ids.push(row as i64),
                }
            }
            let texts: StringViewArray = ids.iter().map(|id| (id % 2 == 0).then(|| format!("t{id}"))).collect();
            let returned: [ArrayRef; 2] = [Arc::new(Int64Array::from(ids)), Arc::new(texts)];
            parts.extend(recorder.add(end - start, &refused, &returned).expect("as declared"));
        }
        parts.extend(recorder.part().expect("as declared"));
        parts
    }

    #[test]
    fn the_answers_are_the_same_whatever_the_batches() {
        for (rows, write, read) in [(1000, 1000, 1), (1000, 13, 7), (200_000, 1000, 70_001), (7, 100, 3)] {
            let parts = written(rows, write);
            assert_eq!(parts.len(), rows.div_ceil(ROWS.next_multiple_of(write)).max(1), "{rows} rows");
            let load = |number: u32| Ok(parts.get(number as usize).cloned());
            let mut receipt = Receipt::new(schema(), CODES);
            for start in (0..rows).step_by(read) {
                let end = rows.min(start + read);
                let answers = receipt.answers(end - start, load).expect("answers");
                let refused: Vec<u32> =
                    (start..end).filter(|row| row % 7 == 3).map(|row| (row - start) as u32).collect();
                assert_eq!(answers.refused.iter().map(|(row, ..)| *row).collect::<Vec<_>>(), refused);
                for (row, code, why) in &answers.refused {
                    let row = start + *row as usize;
                    assert_eq!((*code, why.as_str()), (CODES[row % 2], format!("no {row}").as_str()));
                }
                let ids = answers.returned[0].as_primitive::<Int64Type>();
                let accepted: Vec<i64> = answers.accepted.iter().map(|row| (start + *row as usize) as i64).collect();
                assert_eq!(ids.values().as_ref(), accepted);
                let texts = answers.returned[1].as_string_view();
                assert!(texts.iter().zip(&accepted).all(|(text, id)| text.is_some() == (id % 2 == 0)));
            }
            receipt.end(load).expect("all rows were there");
            assert_eq!(receipt.answers(1, load).expect_err("one more").exit, Exit::InputMissing);
        }
    }

    #[test]
    fn fewer_rows_than_before_are_told_and_so_is_damage() {
        let parts = written(10, 5);
        let load = |number: u32| Ok(parts.get(number as usize).cloned());
        let mut receipt = Receipt::new(schema(), CODES);
        receipt.answers(9, load).expect("answers");
        assert!(receipt.end(load).expect_err("one is missing").message.contains("fewer rows"));
        for cut in 0..parts[0].len() {
            let cut = |_| Ok(Some(parts[0][..cut].to_vec()));
            let failure = Receipt::new(schema(), CODES).answers(1, cut).expect_err("damaged");
            assert!(failure.message.contains("damaged"), "{failure}");
        }
    }

    #[test]
    fn where_nothing_is_given_back_only_refusals_are_kept() {
        let none: SchemaRef = Arc::new(Schema::empty());
        let mut recorder = Recorder::new(Arc::clone(&none));
        assert!(recorder.add(3, &[(1, CODES[0], "no".into())], &[]).expect("fits").is_none());
        let part = recorder.part().expect("fits").expect("rows");
        assert!(recorder.part().expect("fits").is_none());
        let mut receipt = Receipt::new(none, CODES);
        let answers = receipt.answers(3, |_| Ok(Some(part.clone()))).expect("answers");
        assert_eq!((answers.accepted, answers.returned.len()), (vec![0, 2], 0));
    }
}
