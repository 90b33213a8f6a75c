//! What files hold: one file per format, which both decodes and encodes it, and what several formats share.
//!
//! ```text
//! reading:  compression ─▶ blocks of whole records ─▶ a format's decoder ─▶ values
//! writing:  values ─▶ a format's encoder ─▶ compression
//! ```
//!
//! Parquet is not text and goes a way of its own: see [`parquet`].
//!
//! How single values are read, built and written is said in [`values`](crate::values).
//!
//! Nothing here names a file to read or write: that is the business of the `files` source and sink.

pub mod blocks;
pub mod compression;
pub mod csv;
pub mod header;
pub mod lines;
pub mod ndjson;
mod newline;
pub mod parquet;
mod records;
pub mod tsv;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    batch::{Batch, Block, ColumnType, Family, Origin, Position, Reject, RejectCode, Rejects, SplitId},
    failure::Failure,
};

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Tab-separated values, without quotes or escapes.
    Tsv,
    /// Comma-separated values, after RFC 4180; the separator may be another.
    Csv,
    /// Newline-delimited JSON: an object per line.
    Ndjson,
    /// Lines of text: one column, one row per line.
    Lines,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The format's name in a spec.
    pub fn name(self) -> &'static str {
        match self {
            Format::Tsv => "tsv",
            Format::Csv => "csv",
            Format::Ndjson => "ndjson",
            Format::Lines => "lines",
            Format::Parquet => "parquet",
        }
    }

    /// Can a value of this type be written in it? Text formats other than JSON have no way to nest lists, and JSON
    /// is full of what separates items.
    pub fn holds(self, column_type: &ColumnType) -> bool {
        match column_type.family() {
            Family::List(item) if !matches!(self, Format::Ndjson | Format::Parquet) => {
                !matches!(item.family(), Family::List(_) | Family::Json)
            }
            Family::Truth | Family::Integer | Family::Float | Family::Time => true,
            Family::Text | Family::Bytes | Family::Json | Family::List(_) => true,
        }
    }
}

/// What is done about a column that a file, or a field that a JSON record, lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// There is no value.
    Null,
    /// The file fails; the JSON record is a reject.
    Reject,
}

/// What is done about a field that no column is known for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Extra {
    /// It is passed over.
    Ignore,
    /// The file fails; the JSON record is a reject.
    #[default]
    Reject,
}

/// Which fields a record must have, and which it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What is done where one is missing.
    pub missing: Missing,
    /// What is done about one more.
    pub extra: Extra,
}

/// Where in its split a piece of a file begins.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The split.
    pub split: SplitId,
    /// Number of its first record, from 1.
    pub record: u64,
    /// Number of its first line, from 1.
    pub line: u64,
}

/// Whole records of a text format, not yet decoded.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The text. Columns of text become views into it.
    pub bytes: Buffer,
    /// How its records end.
    pub line_end: blocks::LineEnd,
    /// Is all of it known to be UTF-8? Where not, every text is checked on its own.
    pub utf8: bool,
    /// Does nothing follow? Asked by decoders that find the ends of records themselves.
    pub last: bool,
}

/// Where the first record of a chunk ends.
#[derive(Clone, Copy, Debug)]
pub struct RecordEnd {
    /// Its end.
    pub end: usize,
    /// Where the next record begins.
    pub next: usize,
    /// The lines it takes.
    pub lines: u64,
}

/// The first record of a chunk whose records are lines.
fn first_line(chunk: &Chunk) -> RecordEnd {
    let (end, next) = chunk.line_end.find_or_end(&chunk.bytes, 0);
    RecordEnd { end, next, lines: 1 }
}

/// What became of the first records of a chunk.
#[derive(Debug)]
pub struct Decoded {
    /// The rows.
    pub records: RecordBatch,
    /// Every record of them, rejected ones included.
    pub block: Block,
    /// For each row its record in `block`; absent where nothing was rejected.
    pub picked: Option<Vec<u32>>,
    /// Records used up, rejected ones included.
    pub records_read: u64,
    /// Lines used up.
    pub lines_read: u64,
    /// Bytes used up.
    pub bytes_read: usize,
}

/// Makes columns of the records of one file. It is called once per batch.
pub trait Decoder {
    /// Does it find the ends of records itself, because not every line end is one? Its chunks may then end in
    /// the middle of a record, which it leaves unused: it comes again, with more behind it.
    fn cuts(&self) -> bool {
        self.quotes().is_some()
    }

    /// What stands between fields that may stand in quotes, line ends and all.
    fn quotes(&self) -> Option<u8> {
        None
    }

    /// Where the first record of `chunk` ends; `None` where it does not end in it.
    fn first_record(&self, chunk: &Chunk) -> Option<RecordEnd> {
        Some(first_line(chunk))
    }

    /// Takes the file's first record as the names of its fields.
    ///
    /// # Errors
    /// The names do not fit the declared columns; the sentence says why.
    fn header(&mut self, record: &[u8]) -> Result<(), String>;

    /// Decodes records from the start of `chunk` until the batch is full or the chunk used up.
    ///
    /// # Errors
    /// Never for bad records, which go into `rejects`.
    fn decode(&mut self, chunk: &Chunk, start: Start, rejects: &mut Rejects) -> Result<Decoded, Failure>;
}

/// Makes text of batches.
pub trait Encoder: Send {
    /// Appends the header record.
    fn header(&mut self, out: &mut Vec<u8>);

    /// Appends the rows of `batch`; rows that the format cannot hold go into `rejects` instead.
    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>, rejects: &mut Rejects);
}

impl Decoded {
    /// The batch of these rows, with number `seq` in its split.
    pub fn into_batch(self, split: SplitId, seq: u64) -> Batch {
        let rows = self.records.num_rows();
        let origin = match self.picked {
            Some(picked) => Origin::picked(split, seq, self.block, picked),
            None => Origin::new(split, seq, self.block, rows),
        };
        Batch::new(self.records, origin)
    }
}

/// The reason of a record that is too long.
pub const TOO_LONG: RejectCode = RejectCode("too_long");

/// How much of a record that is too long is kept for the reject.
pub const HEAD: usize = 1024;

/// The reject of a record that is longer than `max` bytes and begins with `head`.
pub fn too_long(split: SplitId, position: Position, head: &[u8], max: usize) -> Reject {
    let message = format!("the record is longer than {max} bytes");
    let record = head[..head.len().min(HEAD)].to_vec();
    Reject::unread(TOO_LONG, message, split, position, record)
}
