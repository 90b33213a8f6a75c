//! The columns of files whose spec leaves `columns` out: their names and types. Parquet has them in its footers; of
//! other files a sample of the records tells them.
//!
//! The sample is the head of every file, up to [`FILES`] of them: together about [`RECORDS`] records or [`BYTES`] bytes,
//! and of each file at least [`LEAST`] records or [`LEAST_BYTES`] bytes, if it has so many. Records that would be
//! rejected in any case teach nothing. Each column is nullable: that a sample lacks nothing does not say that the rest
//! does not. A later record that disagrees with a type, or has a field that no sampled record has, is rejected.
//!
//! Files whose headers differ are told at once. With `missing = "null"` the columns are those of all of them, with
//! `extra = "ignore"` those of the first.
//!
//! A type is inferred only where all values of the sample can be read as that type and come out as they are in
//! the file; otherwise text stays text, and JSON stays JSON:
//!
//! | values | text formats | ndjson |
//! |---|---|---|
//! | `true`, `false` | `bool` | `bool` |
//! | whole numbers of 64 bits | `int64`; not with leading zeros, a plus sign or `.0` | `int64` |
//! | other numbers | `float64`; not those that would be written with other digits or spelled otherwise | `float64`, likewise |
//! | `YYYY-MM-DD` | `date` | `date` |
//! | such dates with a time, to the microsecond | `timestamp` | `timestamp` |
//! | lists of one of these or of text | `string` | `list<T>` |
//! | anything else, or values of several kinds | `string` | `string` if all are text, else `json` |
//! | none but nulls | `string` | `json` |
//!
//! Columns are named by the header or, where there is none, `column1`, `column2` …, and so is a field of a header that
//! has no name, unless it is the last: that is not a field. In ndjson they come in the order in which the sample first
//! names them.

mod json;
mod text;

use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
};

use arrow_array::{Array, cast::AsArray};
use serde::de::IgnoredAny;

use self::{json::JsonShape, text::TextShape};
use super::{
    Setup,
    list::{freeze, list_all, shown as shown_path},
    parquet,
    reader::FileReader,
    spec::{FilesSpec, STDIN},
};
use crate::{
    batch::{ColumnType, Rejects, Schema, SplitId},
    failure::{Exit, Failure},
    formats::{
        Chunk, Extra, Format, Missing, Shape,
        blocks::{Blocks, Piece},
        compression::{InFile, Input},
        csv,
        header::{all_named, is_open_end, twice},
        tsv,
    },
    jobspec::{BatchSize, Problems},
    kind::Context,
    stage::SplitReader,
    values::{
        columns::{ColumnSpec, Invalid},
        fields::shown,
    },
};

/// A sample has about so many records, evenly of all files.
pub(super) const RECORDS: usize = 20_000;
/// A sample has about so many bytes.
const BYTES: usize = 4 << 20;
/// Of each file a sample has at least so many records, or so many bytes.
const LEAST: usize = 20;
const LEAST_BYTES: usize = 16 << 10;
/// A sample is of at most so many files.
pub(super) const FILES: usize = 10_000;
/// A header is looked for in blocks of this size.
const HEAD_BYTES: usize = 64 << 10;
/// What is read at a time.
const BATCH: BatchSize = BatchSize { rows: 1000, bytes: 256 << 10 };

/// Columns and how they were come by.
pub(super) struct Inferred {
    pub(super) columns: Vec<ColumnSpec>,
    pub(super) note: String,
}

/// The columns of the files that `spec` names. Why they cannot be told is a problem; where the spec has others
/// (`sound` is false), the files are not read.
pub(super) fn infer(spec: &FilesSpec, sound: bool, context: &mut Context<'_>) -> Option<Inferred> {
    let inferred = match inputs(spec) {
        Ok(files) if sound => read(spec, &files, context.max_record_bytes),
        Ok(_) => return None,
        // What is wrong with the paths of parquet has been said.
        Err(_) if !sound && spec.format == Format::Parquet => return None,
        Err(why) => Err(why),
    };
    match inferred {
        Ok(inferred) => Some(inferred),
        Err(why) => {
            context.problem("path", "infer", format!("`columns` cannot be inferred: {why}"));
            None
        }
    }
}

/// The files that there are.
fn inputs(spec: &FilesSpec) -> Result<Vec<PathBuf>, String> {
    let paths = &spec.path.0;
    if paths.iter().any(|path| path == STDIN) {
        return Err("standard input can be read only once; declare them".to_owned());
    }
    if paths.iter().any(String::is_empty) {
        return Err("the path is not known; declare them".to_owned());
    }
    let files = list_all(paths, false).map_err(|failure| match failure.exit {
        Exit::InputMissing => format!("{failure}; declare them, or make the file first"),
        _ => failure.message,
    })?;
    // What is read from a pipe now would be missing from the run.
    match files.iter().find(|path| !path.is_file()) {
        Some(path) => Err(format!("`{}` can be read only once; declare them", shown_path(path))),
        None => Ok(files),
    }
}

fn read(spec: &FilesSpec, files: &[PathBuf], max_record: usize) -> Result<Inferred, String> {
    if spec.format == Format::Parquet {
        let columns = parquet::infer(files, spec.shape(true))?;
        let s = if files.len() == 1 { "" } else { "s" };
        return Ok(Inferred { columns, note: format!("columns from the footer{s} of {}", named_files(files)) });
    }
    let sampled = &files[..files.len().min(FILES)];
    let mut sample = Sample { files: sampled, all: files.len(), records: 0, bytes: 0, files_read: 0, cut: false };
    let columns = match spec.format {
        Format::Ndjson => sample.of_json(spec, max_record)?,
        _ => sample.of_fields(spec, max_record)?,
    };
    let columns = columns.into_iter().map(|(name, column_type)| column(name, column_type)).collect();
    Ok(Inferred { columns, note: sample.note() })
}

fn column(name: String, column_type: ColumnType) -> ColumnSpec {
    ColumnSpec { name, column_type, nullable: true, separator: None, invalid: Invalid::Reject }
}

/// The first records of some files.
struct Sample<'a> {
    files: &'a [PathBuf],
    /// How many files there are in all.
    all: usize,
    records: usize,
    bytes: usize,
    files_read: usize,
    /// Is there a file that has more?
    cut: bool,
}

impl Sample<'_> {
    /// Names and types of records that are lines of fields.
    fn of_fields(&mut self, spec: &FilesSpec, max_record: usize) -> Result<Vec<(String, ColumnType)>, String> {
        // An empty field is null in most columns. Reading it as null tells which; in quotes it is one of text, too.
        let empty_is_null = spec.null.as_ref().is_none_or(String::is_empty);
        let null = spec.null.clone().or_else(|| Some(String::new()));
        let setup = plan(FilesSpec { null, ..spec.clone() }, Vec::new(), max_record);
        let names = self.names(&setup, spec.shape(true))?;
        let setup = self::plan(setup.spec, names.clone(), max_record);
        let mut shapes = vec![TextShape::default(); names.len()];
        self.each(&setup, |column, text| {
            if !(text.is_empty() && empty_is_null) {
                shapes[column].add(text.as_bytes());
            }
        })?;
        Ok(names.into_iter().zip(shapes.iter().map(TextShape::column_type)).collect())
    }

    /// Names and types of records that are JSON objects.
    fn of_json(&mut self, spec: &FilesSpec, max_record: usize) -> Result<Vec<(String, ColumnType)>, String> {
        let lines = FilesSpec { format: Format::Lines, ..spec.clone() };
        let setup = plan(lines, vec!["line".to_owned()], max_record);
        let mut shape = JsonShape::default();
        let mut first = None;
        self.each(&setup, |_, line| {
            if first.is_none() && !line.trim().is_empty() {
                first = line
                    .trim_start()
                    .chars()
                    .next()
                    .map(|start| (start, serde_json::from_str::<IgnoredAny>(line).is_ok()));
            }
            shape.add(line);
        })?;
        let columns = shape.columns();
        match first {
            _ if !columns.is_empty() => Ok(columns),
            Some(('[', _)) => Err(format!(
                "{} begins with a JSON array, and ndjson has an object in each line; write one object per line, as \
                 `jq -c '.[]'` does",
                named_files(self.files)
            )),
            Some(('{', false)) => Err(format!(
                "{} begins with a JSON object that goes over several lines, and ndjson has an object in each line; \
                 write one object per line, as `jq -c .` does",
                named_files(self.files)
            )),
            _ => Err("the files hold no record with a field; declare them".to_owned()),
        }
    }

    /// The names of the fields: those of the first file that has a record and, where a file may lack some, of the
    /// others.
    fn names(&self, setup: &Setup, shape: Shape) -> Result<Vec<String>, String> {
        let mut known: Option<(&PathBuf, Vec<String>, HashSet<String>)> = None;
        for path in self.files {
            let Some(names) = self.names_of(setup, path)? else { continue };
            let Some((first, known, set)) = &mut known else {
                let set = names.iter().cloned().collect();
                known = Some((path, names, set));
                continue;
            };
            if !setup.spec.has_header() {
                break;
            }
            let other = |what: &str, name: &str, help: &str| {
                let (path, first, name) = (shown_path(path), shown_path(first), shown(name.as_bytes()));
                Err(format!(
                    "`{path}`: its header {what} `{name}`, unlike that of `{first}`; declare them, or set {help}"
                ))
            };
            let own: HashSet<&String> = names.iter().collect();
            if let Some(lacking) = known.iter().find(|name| !own.contains(name))
                && shape.missing == Missing::Reject
            {
                return other("has no column", lacking, "`missing = \"null\"`");
            }
            for name in names.iter().filter(|name| !set.contains(*name)).cloned().collect::<Vec<_>>() {
                match shape {
                    Shape { missing: Missing::Null, .. } => {
                        set.insert(name.clone());
                        known.push(name);
                    }
                    Shape { extra: Extra::Ignore, .. } => {}
                    _ => return other("has a column", &name, "`missing = \"null\"` or `extra = \"ignore\"`"),
                }
            }
        }
        known.map(|(_, names, _)| names).ok_or_else(|| "the files hold no record; declare them".to_owned())
    }

    /// The names of the fields of one file, if it has a record.
    fn names_of(&self, setup: &Setup, path: &Path) -> Result<Option<Vec<String>>, String> {
        let Some(record) = first_record(setup, path).map_err(|failure| failure.message)? else { return Ok(None) };
        let names = match setup.spec.format {
            Format::Csv => csv::names(&record, csv::separator(setup.spec.separator.as_deref())),
            _ => tsv::names(&record),
        };
        let header = setup.spec.has_header();
        let names = names.and_then(|names| if header { named(names) } else { Ok(numbered(names.len())) });
        names.map(Some).map_err(|why| {
            let why = if header { why } else { why.replace("its header", "its first record") };
            format!("`{}`: {why}", shown_path(path))
        })
    }

    /// Calls `value` with the column and the text of every value. What stops reading a file ends the sample of it:
    /// the run will say so. Only a file of which nothing can be read has no columns.
    fn each(&mut self, setup: &Setup, mut value: impl FnMut(usize, &str)) -> Result<(), String> {
        let mut failed = None;
        for (i, path) in self.files.iter().enumerate() {
            // What a short file leaves is for those after it.
            let left = self.files.len() - i;
            let records = (RECORDS.saturating_sub(self.records) / left).max(LEAST);
            let bytes = (BYTES.saturating_sub(self.bytes) / left).max(LEAST_BYTES);
            self.files_read += 1;
            failed = failed.or(self.file(setup, path, (records, bytes), &mut value).err());
        }
        match failed {
            Some(failure) if self.records == 0 => Err(failure.message),
            _ => Ok(()),
        }
    }

    /// Reads the head of a file: at most so many records, and hardly more than so many bytes.
    fn file(
        &mut self,
        setup: &Setup,
        path: &Path,
        (records, bytes): (usize, usize),
        value: &mut impl FnMut(usize, &str),
    ) -> Result<(), Failure> {
        let split = freeze(path)?;
        let mut reader = FileReader::open(setup, SplitId(0), &split)?;
        let mut rejects = Rejects::default();
        let (records, bytes) = (self.records + records, self.bytes + bytes);
        loop {
            let Some(batch) = reader.next_batch(&mut rejects)? else { return Ok(()) };
            rejects.take();
            let rows = batch.rows().min(records.saturating_sub(self.records));
            if (rows < batch.rows()) || (batch.rows() > 0 && self.bytes >= bytes) {
                self.cut = true;
            }
            if self.bytes >= bytes {
                return Ok(());
            }
            self.records += rows;
            for (i, column) in batch.records.columns().iter().enumerate() {
                let texts = column.as_string_view();
                for text in (0..rows).filter(|row| texts.is_valid(*row)).map(|row| texts.value(row)) {
                    self.bytes += text.len();
                    value(i, text);
                }
            }
            if rows < batch.rows() {
                return Ok(());
            }
        }
    }

    /// What `runner plan` says.
    fn note(&self) -> String {
        let s = if self.records == 1 { "" } else { "s" };
        let first = if self.cut { "the first " } else { "" };
        let files = match self.files_read < self.all {
            true => format!("the first {} of {} files", self.files_read, self.all),
            false => named_files(&self.files[..self.files_read]),
        };
        format!("columns inferred from {first}{} record{s} of {files}", self.records)
    }
}

/// The one file by its name, or how many there are.
fn named_files(files: &[PathBuf]) -> String {
    match files {
        [only] => format!("`{}`", shown_path(only)),
        files => format!("{} files", files.len()),
    }
}

/// The names of a header, each once.
fn named(names: Vec<String>) -> Result<Vec<String>, String> {
    let open_end = is_open_end(&names);
    let mut names = all_named(names);
    if open_end {
        names.pop();
    }
    let mut met = HashSet::new();
    match names.iter().enumerate().find(|(_, name)| !met.insert(name.as_str())) {
        Some((field, name)) => Err(twice(name, field)),
        None => Ok(names),
    }
}

fn numbered(fields: usize) -> Vec<String> {
    (1..=fields).map(|field| format!("column{field}")).collect()
}

/// A plan that reads all columns as text.
fn plan(spec: FilesSpec, names: Vec<String>, max_record: usize) -> Setup {
    let columns: Vec<ColumnSpec> = names.into_iter().map(|name| column(name, ColumnType::String)).collect();
    let schema = crate::values::columns::schema(&columns, &Default::default(), &mut Problems::default());
    let schema = schema.unwrap_or_else(|| Schema::new(Vec::new()));
    let spec = FilesSpec { columns: Some(columns), ..spec };
    let shape = Shape { missing: Missing::Null, extra: Extra::Ignore };
    Setup { spec, schema, batch: BATCH, max_record, memory: usize::MAX, inferred: false, shape }
}

/// The first record of a file that is not blank.
fn first_record(setup: &Setup, path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let reading = |error: std::io::Error| Failure::reading(path, &error);
    let decoder = setup.decoder()?;
    let file = InFile::File(File::open(path).map_err(reading)?);
    let input = Input::new(file, setup.spec.compression.codec(path), setup.spec.max_ratio()).map_err(reading)?;
    let mut blocks = Blocks::new(input, setup.spec.newline, HEAD_BYTES, setup.max_record).ragged(decoder.quotes());
    while let Some(piece) = blocks.next_piece().map_err(reading)? {
        let mut chunk = match piece {
            Piece::Records(bytes) => Chunk { bytes, line_end: blocks.line_end(), utf8: false, last: blocks.ended() },
            Piece::TooLong(_) => return Err(unreadable(setup, path)),
        };
        while !chunk.bytes.is_empty() {
            match decoder.first_record(&chunk) {
                Some(first) if first.end > 0 => return Ok(Some(chunk.bytes[..first.end].to_vec())),
                Some(blank) => chunk.bytes = chunk.bytes.slice(blank.next),
                None if chunk.bytes.len() > setup.max_record => return Err(unreadable(setup, path)),
                None if chunk.last => {
                    let record = if setup.spec.has_header() { "header" } else { "first record" };
                    let message = format!("`{}`: its {record} has a quote that is not closed", shown_path(path));
                    return Err(Failure::new(Exit::Io, message));
                }
                None => break,
            }
        }
        if decoder.cuts() {
            blocks.give_back(&chunk.bytes);
        }
    }
    Ok(None)
}

fn unreadable(setup: &Setup, path: &Path) -> Failure {
    let message = format!("`{}`: its first record has no end within {} bytes", shown_path(path), setup.max_record);
    Failure::new(Exit::Io, message)
}
