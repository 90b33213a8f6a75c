//! The reject file: one JSON object per line for every record that could not be processed. `runner replay` reads it
//! again.
//!
//! A line holds what its stage needs to try again: a source its record's text, and the header of its file where there
//! is one; any other stage the row it was given, so that nothing before it is done twice.

mod arrange;
mod kept;

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::arrange::Index;
pub use self::{
    arrange::RecordKey,
    kept::{Entry, KeptRejects, Record, Why},
};
use crate::{
    batch::{Batch, Reject, RejectCode, Rejects, Schema, SplitId},
    event::StageId,
    failure::Failure,
    formats::{Encoder, ndjson::NdjsonEncoder},
    replace::Destination,
};

/// The reason of a record that cannot be given to its stage again.
pub const NOT_REPLAYABLE: RejectCode = RejectCode("not_replayable");

/// Behind the name of a stage: what reads the rows again that this stage refused.
pub const OWN: &str = ".rejects";

/// A reject file under way. It holds the rejects of the last run, of all its attempts: a new run makes it anew, and
/// one that is resumed keeps the lines of splits that are stored.
#[derive(Debug)]
pub struct RejectFile {
    path: PathBuf,
    job: String,
    run: Option<String>,
    out: BufWriter<File>,
    index: Index,
    /// Where lines behind the reject at which the job fails go, for the next attempt: their splits may be stored.
    behind: Option<PathBuf>,
    /// A line could not be written: no split may be called stored any more.
    broken: Option<Failure>,
}

/// What of an earlier attempt's rejects stays.
pub struct Kept<'a> {
    /// The run that they are of.
    pub run: &'a str,
    /// The file of lines behind the reject at which the last attempt failed; it may not be there.
    pub behind: &'a Path,
    /// Is the split with this number stored?
    pub stored: &'a dyn Fn(u32) -> bool,
}

/// What tells whether a line of an earlier attempt stays.
#[derive(Deserialize)]
struct Origin {
    run: Option<String>,
    split: Option<u32>,
    number: Option<u64>,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    job: &'a str,
    /// Absent where the run cannot be resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a str>,
    stage: &'a str,
    reason: &'static str,
    message: &'a str,
    file: &'a str,
    /// Number of the split in the run, from 0.
    split: u32,
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
    /// The row as the stage was given it, where that is not a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<Box<RawValue>>,
}

impl RejectFile {
    /// Creates the file, and its folder where that is missing. `run` is the run's name, where it has one.
    pub fn create(path: &Path, job: &str, run: Option<&str>) -> Result<Self, Failure> {
        let make = || {
            fail::fail_point!("reject-create", |_| Err(io::ErrorKind::StorageFull.into()));
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            File::create(path)
        };
        let file = make().map_err(|error| Failure::creating(path, &error))?;
        Ok(RejectFile::of(path, job, run, (file, Index::default())))
    }

    /// Goes on with the file of an earlier attempt: the lines of its stored splits stay, all others will be written
    /// again. A last line that was cut off by a kill goes.
    pub fn go_on(path: &Path, job: &str, kept: &Kept<'_>) -> Result<Self, Failure> {
        // A device or a pipe keeps nothing.
        if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
            return RejectFile::create(path, job, Some(kept.run));
        }
        let to = Destination::of(path).map_err(|error| Failure::creating(path, &error))?;
        let temporary = beside(to.path(), kept.run);
        let (state, both) = (RandomState::new(), kept.behind.exists());
        let filter = || {
            let mut out = BufWriter::new(to.create(&temporary)?);
            let mut index = Index::default();
            let mut seen = HashSet::new();
            // A kill may have left lines in both files. Each is read by itself: the first may end within a line.
            for file in [path, kept.behind] {
                let mut lines = match File::open(file) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    opened => BufReader::new(opened?),
                };
                let mut line = Vec::new();
                while lines.read_until(b'\n', &mut line)? > 0 {
                    if let Some(record) = stays(&line, kept)
                        && (!both || seen.insert(state.hash_one(&line)))
                    {
                        out.write_all(&line)?;
                        index.add(record, None, line.len());
                    }
                    line.clear();
                }
            }
            fail::fail_point!("reject-keep", |_| Err(io::ErrorKind::StorageFull.into()));
            let file = out.into_inner()?;
            file.sync_all()?;
            to.take(&temporary)?;
            if both {
                fs::remove_file(kept.behind)?;
            }
            Ok((file, index))
        };
        let opened = filter().map_err(|error: io::Error| Failure::creating(path, &error))?;
        Ok(RejectFile::of(path, job, Some(kept.run), opened))
    }

    fn of(path: &Path, job: &str, run: Option<&str>, (file, index): (File, Index)) -> Self {
        let (job, run) = (job.to_owned(), run.map(str::to_owned));
        RejectFile { path: path.to_owned(), job, run, out: BufWriter::new(file), index, behind: None, broken: None }
    }

    /// Names the file for lines behind the reject at which the job fails. Without one they are dropped.
    pub fn keep_behind(mut self, path: PathBuf) -> Self {
        self.behind = Some(path);
        self
    }

    /// Writes one reject of a stage, given by its place in the plan and its name; `file` is the name of its split,
    /// `input` are the columns that the stage reads.
    pub fn write(
        &mut self,
        (place, stage): (StageId, &str),
        input: Option<&Schema>,
        file: &str,
        reject: &Reject,
    ) -> Result<(), Failure> {
        fail::fail_point!("reject-write", |_| Err(Failure::writing(&self.path, &io::ErrorKind::StorageFull.into())));
        let text = std::str::from_utf8(&reject.record).ok();
        let hex = || crate::values::hex::text(&reject.record);
        let line = Line {
            time: now(),
            job: &self.job,
            run: self.run.as_deref(),
            stage,
            reason: reject.code.0,
            message: &reject.message,
            file,
            split: reject.split.0,
            line: (reject.position.line > 0).then_some(reject.position.line),
            number: reject.position.record,
            record: text,
            record_hex: text.is_none().then(hex),
            header: reject.header.as_deref().and_then(|header| std::str::from_utf8(header).ok()),
            row: input.and_then(|input| row(input, reject)),
        };
        let written = serde_json::to_vec(&line).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.index.add((reject.split, reject.position.record), Some((place, reject.code)), line.len());
            self.out.write_all(&line)
        });
        written.map_err(|error| self.failed(&error))
    }

    /// A line is missing, and where the others are is not known any more.
    fn failed(&mut self, error: &io::Error) -> Failure {
        self.index.give_up();
        let failure = Failure::writing(&self.path, error);
        self.broken.get_or_insert(failure).clone()
    }

    /// Makes what was written so far durable: before a split is called done.
    pub fn sync(&mut self) -> Result<(), Failure> {
        fail::fail_point!("reject-sync", |_| Err(Failure::writing(&self.path, &io::ErrorKind::StorageFull.into())));
        if let Some(failure) = &self.broken {
            return Err(failure.clone());
        }
        let synced = self.out.flush().and_then(|()| match self.out.get_ref().sync_data() {
            // A device or pipe, such as `/dev/null`, has nothing to make durable.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        });
        synced.map_err(|error| self.failed(&error))
    }
}

/// The hidden file that takes the place of a reject file.
fn beside(path: &Path, run: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{run}"));
    path.with_file_name(name)
}

/// The row that a stage was given, as a line of JSON. A number that JSON cannot hold leaves none.
fn row(input: &Schema, reject: &Reject) -> Option<Box<RawValue>> {
    let records = reject.row.clone().filter(|row| row.schema() == input.arrow())?;
    let batch = Batch::new(records, crate::batch::Origin::derived(SplitId(0), 0, 1));
    let mut text = Vec::new();
    NdjsonEncoder::new(input.clone()).encode(&batch, &mut text, &mut Rejects::default());
    let text = String::from_utf8(text).ok()?;
    RawValue::from_string(text.trim_end().to_owned()).ok()
}

/// The record of a line of an earlier attempt, where the line is whole, of this run, and of a split that is stored.
fn stays(line: &[u8], kept: &Kept<'_>) -> Option<RecordKey> {
    let line = line.strip_suffix(b"\n")?;
    let Origin { run, split, number } = serde_json::from_slice(line).ok()?;
    let split = split.filter(|split| run.as_deref() == Some(kept.run) && (kept.stored)(*split))?;
    Some((SplitId(split), number.unwrap_or_default()))
}

/// The time now, UTC, to the millisecond, after RFC 3339.
pub fn now() -> String {
    stamp(SystemTime::now())
}

/// A time, UTC, to the millisecond, after RFC 3339.
pub fn stamp(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Position, RejectCode, SplitId};

    fn reject(split: u32, record: u64) -> Reject {
        let position = Position { record, line: 0 };
        Reject::unread(RejectCode("bad"), "no", SplitId(split), position, Vec::new())
    }

    fn numbers(path: &Path) -> Vec<(u64, u64)> {
        let text = fs::read_to_string(path).expect("there");
        let line = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
            (line["split"].as_u64().expect("a number"), line["number"].as_u64().expect("a number"))
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn an_attempt_keeps_the_lines_of_stored_splits_and_no_others() {
        let folder = crate::testing::Folder::new("rejects");
        let path = folder.path("r.ndjson");
        let mut first = RejectFile::create(&path, "job", Some("a")).expect("made");
        for (split, record) in [(0, 1), (1, 1), (0, 2), (2, 1), (1, 2)] {
            first.write((0, "s"), None, "f", &reject(split, record)).expect("written");
        }
        first.sync().expect("synced");
        // Killed in the middle of a line.
        let mut text = fs::read(&path).expect("there");
        text.extend_from_slice(&text.clone()[..40]);
        fs::write(&path, text).expect("written");
        let behind = folder.path("behind");
        let kept = Kept { run: "a", behind: &behind, stored: &|split| split != 1 };
        let mut second = RejectFile::go_on(&path, "job", &kept).expect("resumed");
        assert_eq!(numbers(&path), [(0, 1), (0, 2), (2, 1)]);
        second.write((0, "s"), None, "f", &reject(1, 1)).expect("written");
        second.sync().expect("synced");
        assert_eq!(numbers(&path), [(0, 1), (0, 2), (2, 1), (1, 1)]);
        assert_eq!(folder.names(), ["r.ndjson"]);
        // The lines of another run are of no use.
        RejectFile::go_on(&path, "job", &Kept { run: "b", behind: &behind, stored: &|_| true }).expect("resumed");
        assert_eq!(numbers(&path), []);
        RejectFile::go_on(&folder.path("new/r"), "job", &kept).expect("there was none");
        RejectFile::go_on(Path::new("/dev/null"), "job", &kept).expect("a device keeps nothing");
    }
}
