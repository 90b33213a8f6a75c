//! The reject file: one JSON object per line for every record that could not be processed. `runner replay` reads it
//! again.
//!
//! A line holds what its stage needs to try again: a source its record's text, and the header of its file where there
//! is one; any other stage the row it was given, so that nothing before it is done twice.

mod kept;

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

pub use self::kept::{Entry, Kept, Record, Why};
use crate::{
    batch::{Batch, Origin, Reject, RejectCode, Rejects, Schema, SplitId},
    failure::Failure,
    formats::{Encoder, ndjson::NdjsonEncoder},
};

/// The reason of a record that cannot be given to its stage again.
pub const NOT_REPLAYABLE: RejectCode = RejectCode("not_replayable");

/// Behind the name of a stage: what reads the rows again that this stage refused.
pub const OWN: &str = ".rejects";

/// A reject file under way. Made anew by every run: it holds the rejects of the last one.
#[derive(Debug)]
pub struct RejectFile {
    path: PathBuf,
    job: String,
    out: BufWriter<File>,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    job: &'a str,
    stage: &'a str,
    reason: &'static str,
    message: &'a str,
    file: &'a str,
    /// Absent where the split has no lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// Number of the record in its file or row range, from 1.
    number: u64,
    /// The record as it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a str>,
    /// The same in hexadecimal, where it is not UTF-8 text.
    #[serde(skip_serializing_if = "Option::is_none")]
    record_hex: Option<String>,
    /// The header of its file, where the stage is a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'a str>,
    /// The row as the stage was given it, where that is no source.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<Box<RawValue>>,
}

impl RejectFile {
    /// Creates the file, and its folder where that is missing.
    pub fn create(path: &Path, job: &str) -> Result<Self, Failure> {
        let make = || {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            File::create(path)
        };
        let file = make().map_err(|error| Failure::creating(path, &error))?;
        Ok(RejectFile { path: path.to_owned(), job: job.to_owned(), out: BufWriter::new(file) })
    }

    /// Writes one reject of `stage`; `file` is the name of its split, `input` are the columns that the stage reads.
    pub fn write(&mut self, stage: &str, input: Option<&Schema>, file: &str, reject: &Reject) -> Result<(), Failure> {
        let text = std::str::from_utf8(&reject.record).ok();
        let hex = || reject.record.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = Line {
            time: now(),
            job: &self.job,
            stage,
            reason: reject.code.0,
            message: &reject.message,
            file,
            line: (reject.position.line > 0).then_some(reject.position.line),
            number: reject.position.record,
            record: text,
            record_hex: text.is_none().then(hex),
            header: reject.header.as_deref().and_then(|header| std::str::from_utf8(header).ok()),
            row: input.and_then(|input| row(input, reject)),
        };
        let mut written = serde_json::to_writer(&mut self.out, &line).map_err(std::io::Error::from);
        written = written.and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|error| Failure::writing(&self.path, &error))
    }

    /// Makes what was written so far durable: before a split is called done.
    pub fn sync(&mut self) -> Result<(), Failure> {
        let synced = self.out.flush().and_then(|()| match self.out.get_ref().sync_data() {
            // A device or pipe, such as `/dev/null`, has nothing to make durable.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        });
        synced.map_err(|error| Failure::writing(&self.path, &error))
    }
}

/// The row that a stage was given, as a line of JSON. A number that JSON cannot hold leaves none.
fn row(input: &Schema, reject: &Reject) -> Option<Box<RawValue>> {
    let records = reject.row.clone().filter(|row| row.schema() == input.arrow())?;
    let batch = Batch::new(records, Origin::derived(SplitId(0), 0, 1));
    let mut text = Vec::new();
    NdjsonEncoder::new(input.clone()).encode(&batch, &mut text, &mut Rejects::default());
    let text = String::from_utf8(text).ok()?;
    RawValue::from_string(text.trim_end().to_owned()).ok()
}

/// The time now, UTC, to the millisecond, after RFC 3339.
pub fn now() -> String {
    DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Millis, true)
}
