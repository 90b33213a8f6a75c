//! A reject file that is read again. Of each line only its place and its position in the input are held: the text
//! is read when its turn comes.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{NOT_REPLAYABLE, OWN};
use crate::{
    batch::Position,
    failure::{Exit, Failure},
    formats::TOO_LONG,
};

/// A reject file that was looked through once.
#[derive(Debug)]
pub struct KeptRejects {
    path: PathBuf,
    file: File,
    /// By stage, and then by the file that the records came from.
    pub stages: IndexMap<String, IndexMap<String, Vec<Entry>>>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Entry {
    offset: u64,
    len: u32,
    /// Where the record was read in its file.
    pub position: Position,
    /// Why it cannot be read again, where it cannot.
    pub why: Option<Why>,
}

/// Why a record cannot be given to its stage again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The line is none of a reject file.
    Line,
    /// Only its start was kept.
    Cut,
    /// What the stage was given was not kept.
    NoRow,
    /// Said when it was tried before.
    Before(String),
    /// The job has no such stage, or one that cannot take it.
    Stage(String),
}

/// What is kept of a record.
#[derive(Debug, Default)]
pub struct Record {
    /// What its stage decodes: its text, or its columns as JSON.
    pub text: Vec<u8>,
    /// Its text where it was first read, as the reject file has it.
    pub raw: Vec<u8>,
    /// The names of its fields, where they stood at the head of its file.
    pub header: Option<String>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    job: Cow<'a, str>,
    #[serde(borrow)]
    stage: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    file: Cow<'a, str>,
    #[serde(default)]
    line: u64,
    #[serde(default)]
    number: u64,
    record: Option<String>,
    record_hex: Option<String>,
    header: Option<String>,
    #[serde(borrow)]
    row: Option<&'a RawValue>,
}

impl Line<'_> {
    fn raw(&self) -> Option<Vec<u8>> {
        match (&self.record, &self.record_hex) {
            (Some(text), _) => Some(text.as_bytes().to_vec()),
            (None, Some(hex)) => bytes(hex),
            (None, None) => None,
        }
    }
}

impl KeptRejects {
    /// Looks through a reject file of this job. `is_source` says of a stage of that name whether it reads records
    /// from their text.
    ///
    /// # Errors
    /// It cannot be read, or holds rejects of another job.
    pub fn open(path: &Path, job: &str, is_source: &dyn Fn(&str) -> bool) -> Result<KeptRejects, Failure> {
        let reading = |error: io::Error| Failure::reading(path, &error);
        let file = File::open(path).map_err(reading)?;
        let mut lines = BufReader::new(file.try_clone().map_err(reading)?);
        let mut kept = KeptRejects { path: path.to_owned(), file, stages: IndexMap::new() };
        let (mut text, mut offset, mut number) = (Vec::new(), 0, 0);
        loop {
            text.clear();
            let len = lines.read_until(b'\n', &mut text).map_err(reading)?;
            if len == 0 {
                return Ok(kept);
            }
            number += 1;
            if !text.trim_ascii().is_empty() {
                kept.add(&text, offset, number, job, is_source)?;
            }
            offset += len as u64;
        }
    }

    fn add(
        &mut self,
        text: &[u8],
        offset: u64,
        number: u64,
        job: &str,
        is_source: &dyn Fn(&str) -> bool,
    ) -> Result<(), Failure> {
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let Some(line) = parsed(text) else {
            let (position, why) = (Position { record: number, line: number }, Some(Why::Line));
            let own = self.path.display().to_string();
            self.put("-", &own, Entry { offset, len, position, why });
            return Ok(());
        };
        if line.job != job {
            let message = format!("`{}` holds rejects of the job `{}`, not of `{job}`", self.path.display(), line.job);
            return Err(Failure::new(Exit::Usage, message));
        }
        let stage = line.stage.strip_suffix(OWN).unwrap_or(&line.stage);
        let lacks = if is_source(stage) { line.raw().is_none() } else { of_stage(&line).is_none() };
        let why = match &*line.reason {
            reason if reason == TOO_LONG.0 => Some(Why::Cut),
            reason if reason == NOT_REPLAYABLE.0 => Some(Why::Before(line.message.to_string())),
            _ => lacks.then_some(Why::NoRow),
        };
        let position = Position { record: line.number, line: line.line };
        self.put(stage, &line.file, Entry { offset, len, position, why });
        Ok(())
    }

    fn put(&mut self, stage: &str, file: &str, entry: Entry) {
        let files = match self.stages.get_mut(stage) {
            Some(files) => files,
            None => self.stages.entry(stage.to_owned()).or_default(),
        };
        match files.get_mut(file) {
            Some(entries) => entries.push(entry),
            None => _ = files.insert(file.to_owned(), vec![entry]),
        }
    }

    /// Is it this file?
    pub fn is(&self, other: &Path) -> bool {
        let same = |path: &Path| std::fs::canonicalize(path).ok();
        same(&self.path).is_some_and(|path| same(other) == Some(path))
    }

    /// Reads what a line keeps of its record; `of_source` where a source decodes its text.
    ///
    /// # Errors
    /// The file is not what it was.
    pub fn record(&self, entry: &Entry, of_source: bool) -> Result<Record, Failure> {
        let reading = |error: io::Error| Failure::reading(&self.path, &error);
        let mut text = vec![0; entry.len as usize];
        self.file.read_exact_at(&mut text, entry.offset).map_err(reading)?;
        if entry.why == Some(Why::Line) {
            let raw = text.trim_ascii_end().to_vec();
            return Ok(Record { raw, ..Record::default() });
        }
        let changed = || Failure::new(Exit::Io, format!("`{}` was changed while it was read", self.path.display()));
        let line = parsed(&text).ok_or_else(changed)?;
        let raw = line.raw().unwrap_or_default();
        let text = if of_source { Some(raw.clone()) } else { of_stage(&line) };
        Ok(Record { text: text.unwrap_or_default(), raw, header: line.header })
    }
}

impl Why {
    /// In a sentence.
    pub fn sentence(&self) -> String {
        match self {
            Why::Line => "the line is none of a reject file".to_owned(),
            Why::Cut => "the record is too long, and only its start was kept".to_owned(),
            Why::NoRow => "the reject file does not hold what its stage was given".to_owned(),
            Why::Before(message) | Why::Stage(message) => message.clone(),
        }
    }
}

fn parsed(text: &[u8]) -> Option<Line<'_>> {
    serde_json::from_slice(text).ok()
}

/// What a stage behind a source decodes: the row it was given; or the text that could not even be read as one.
fn of_stage(line: &Line<'_>) -> Option<Vec<u8>> {
    if line.stage.ends_with(OWN) {
        return line.raw();
    }
    line.row.map(|row| row.get().as_bytes().to_vec())
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect())?
}
