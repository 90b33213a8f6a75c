//! The columns of files whose spec leaves `columns` out: their names and types. Parquet has them in its footers; of
//! other files a sample of the records tells them.
//!
//! The sample is the first [`RECORDS`] records or [`BYTES`] bytes of the files in their order, whichever comes
//! first; of at most [`FILES`] files. Records that would be rejected in any case teach nothing. Each column is
//! nullable: that a sample lacks nothing does not say that the rest does not. A later record that disagrees with
//! a type is rejected as it would be had the column been declared.
//!
//! A type is inferred only where all values of the sample can be read as that type and come out as they are in
//! the file; otherwise text stays text, and JSON stays JSON:
//!
//! | values | text formats | ndjson |
//! |---|---|---|
//! | `true`, `false` | `bool` | `bool` |
//! | whole numbers of 64 bits | `int64`; not with leading zeros or a plus sign | `int64` |
//! | other numbers | `float64`; not whole numbers beyond 64 bits | `float64`, likewise |
//! | `YYYY-MM-DD` | `date` | `date` |
//! | such dates with a time, to the microsecond | `timestamp` | `timestamp` |
//! | lists of one of these or of text | `string` | `list<T>` |
//! | anything else, or values of several kinds | `string` | `string` if all are text, else `json` |
//! | none but nulls | `string` | `json` |
//!
//! Columns are named by the header or, where there is none, `column1`, `column2` …; in ndjson they come in the
//! order in which the sample first names them.

mod json;
mod text;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use arrow_array::{Array, cast::AsArray};

use self::{json::JsonShape, text::TextShape};
use super::{FilesSpec, Plan, STDIN, freeze, list, parquet, reader::FileReader};
use crate::{
    batch::{ColumnType, Rejects, Schema, SplitId},
    failure::{Exit, Failure},
    formats::{
        Chunk, Format,
        blocks::{Blocks, Piece},
        compression::{InFile, Input},
        csv, tsv,
    },
    jobspec::{BatchSize, Problems},
    kind::Context,
    stage::SplitReader,
    values::{
        columns::{ColumnSpec, Invalid},
        fields::shown,
    },
};

/// A sample has at most so many records.
pub(super) const RECORDS: usize = 20_000;
/// A sample ends with the batch that has so many bytes.
const BYTES: usize = 4 << 20;
/// A sample is of at most so many files.
const FILES: usize = 10;
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
    let mut files = Vec::new();
    for path in paths {
        match list(path) {
            Ok(found) => files.extend(found),
            Err(failure) if failure.exit == Exit::InputMissing => {
                return Err(format!("{failure}; declare them, or make the file first"));
            }
            Err(failure) => return Err(failure.message),
        }
    }
    files.sort();
    files.dedup();
    // What is read from a pipe now would be missing from the run.
    match files.iter().find(|path| !path.is_file()) {
        Some(path) => Err(format!("`{}` can be read only once; declare them", path.display())),
        None => Ok(files),
    }
}

fn read(spec: &FilesSpec, files: &[PathBuf], max_record: usize) -> Result<Inferred, String> {
    if spec.format == Format::Parquet {
        return parquet::infer(files);
    }
    let mut sample = Sample { files, records: 0, bytes: 0, files_read: 0 };
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
    records: usize,
    bytes: usize,
    files_read: usize,
}

impl Sample<'_> {
    /// Names and types of records that are lines of fields.
    fn of_fields(&mut self, spec: &FilesSpec, max_record: usize) -> Result<Vec<(String, ColumnType)>, String> {
        // An empty field is null in most columns; in quotes it never is. Reading it as null tells which.
        let null = spec.null.clone().or_else(|| Some(String::new()));
        let plan = plan(FilesSpec { null, ..spec.clone() }, Vec::new(), max_record);
        let names = self.names(&plan)?;
        let plan = self::plan(plan.spec, names.clone(), max_record);
        let mut shapes = vec![TextShape::default(); names.len()];
        self.each(&plan, |column, text| shapes[column].add(text.as_bytes()))?;
        Ok(names.into_iter().zip(shapes.iter().map(TextShape::column_type)).collect())
    }

    /// Names and types of records that are JSON objects.
    fn of_json(&mut self, spec: &FilesSpec, max_record: usize) -> Result<Vec<(String, ColumnType)>, String> {
        let lines = FilesSpec { format: Format::Lines, ..spec.clone() };
        let plan = plan(lines, vec!["line".to_owned()], max_record);
        let mut shape = JsonShape::default();
        self.each(&plan, |_, line| shape.add(line))?;
        let columns = shape.columns();
        if columns.is_empty() {
            return Err("the files hold no record with a field; declare them".to_owned());
        }
        Ok(columns)
    }

    /// The names of the fields, by the first file that has a record.
    fn names(&self, plan: &Plan) -> Result<Vec<String>, String> {
        for path in self.files.iter().take(FILES) {
            let Some(record) = first_record(plan, path).map_err(|failure| failure.message)? else { continue };
            let names = match plan.spec.format {
                Format::Csv => csv::names(&record, csv::separator(plan.spec.separator.as_deref())),
                _ => tsv::names(&record),
            };
            let header = plan.spec.has_header();
            let names = names.and_then(|names| if header { named(names) } else { Ok(numbered(names.len())) });
            return names.map_err(|why| {
                let why = if header { why } else { why.replace("its header", "its first record") };
                format!("`{}`: {why}", path.display())
            });
        }
        Err("the files hold no record; declare them".to_owned())
    }

    /// Calls `value` with the column and the text of every value. What stops reading a file ends the sample of it:
    /// the run will say so. Only a file of which nothing can be read has no columns.
    fn each(&mut self, plan: &Plan, mut value: impl FnMut(usize, &str)) -> Result<(), String> {
        let mut failed = None;
        for path in self.files.iter().take(FILES) {
            if self.records >= RECORDS || self.bytes >= BYTES {
                break;
            }
            self.files_read += 1;
            failed = failed.or(self.file(plan, path, &mut value).err());
        }
        match failed {
            Some(failure) if self.records == 0 => Err(failure.message),
            _ => Ok(()),
        }
    }

    fn file(&mut self, plan: &Plan, path: &Path, value: &mut impl FnMut(usize, &str)) -> Result<(), Failure> {
        let split = freeze(path)?;
        let mut reader = FileReader::open(plan, SplitId(0), &split)?;
        let mut rejects = Rejects::default();
        while self.records < RECORDS && self.bytes < BYTES {
            let Some(batch) = reader.next_batch(&mut rejects)? else { break };
            rejects.take();
            let rows = batch.rows().min(RECORDS - self.records);
            self.records += rows;
            for (i, column) in batch.records.columns().iter().enumerate() {
                let texts = column.as_string_view();
                for text in (0..rows).filter(|row| texts.is_valid(*row)).map(|row| texts.value(row)) {
                    self.bytes += text.len();
                    value(i, text);
                }
            }
        }
        Ok(())
    }

    /// What `runner plan` says.
    fn note(&self) -> String {
        let s = if self.records == 1 { "" } else { "s" };
        format!("columns inferred from {} record{s} of {}", self.records, named_files(&self.files[..self.files_read]))
    }
}

/// The one file by its name, or how many there are.
pub(super) fn named_files(files: &[PathBuf]) -> String {
    match files {
        [only] => format!("`{}`", only.display()),
        files => format!("{} files", files.len()),
    }
}

/// The names of a header, where each is a name.
fn named(names: Vec<String>) -> Result<Vec<String>, String> {
    if let Some(field) = names.iter().position(String::is_empty) {
        return Err(format!("field {} of its header has no name; declare them", field + 1));
    }
    match names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
        Some((field, name)) => {
            Err(format!("its header names `{}` twice, the second time in field {}", shown(name.as_bytes()), field + 1))
        }
        None => Ok(names),
    }
}

fn numbered(fields: usize) -> Vec<String> {
    (1..=fields).map(|field| format!("column{field}")).collect()
}

/// A plan that reads all columns as text.
fn plan(spec: FilesSpec, names: Vec<String>, max_record: usize) -> Plan {
    let columns: Vec<ColumnSpec> = names.into_iter().map(|name| column(name, ColumnType::String)).collect();
    let schema = crate::values::columns::schema(&columns, &Default::default(), &mut Problems::default());
    let schema = schema.unwrap_or_else(|| Schema::new(Vec::new()));
    Plan { spec: FilesSpec { columns: Some(columns), ..spec }, schema, batch: BATCH, max_record, inferred: true }
}

/// The first record of a file that is not blank.
fn first_record(plan: &Plan, path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let reading = |error: std::io::Error| Failure::reading(path, &error);
    let decoder = plan.decoder()?;
    let file = InFile::File(File::open(path).map_err(reading)?);
    let input = Input::new(file, plan.spec.compression.codec(path), plan.spec.max_ratio()).map_err(reading)?;
    let blocks = Blocks::new(input, plan.spec.newline, BATCH.bytes, plan.max_record);
    let mut blocks = if decoder.cuts() { blocks.ragged() } else { blocks };
    while let Some(piece) = blocks.next_piece().map_err(reading)? {
        let mut chunk = match piece {
            Piece::Records(bytes) => Chunk { bytes, line_end: blocks.line_end(), utf8: false, last: blocks.ended() },
            Piece::TooLong(_) => return Err(unreadable(plan, path)),
        };
        while !chunk.bytes.is_empty() {
            match decoder.first_record(&chunk) {
                Some(first) if first.end > 0 => return Ok(Some(chunk.bytes[..first.end].to_vec())),
                Some(blank) => chunk.bytes = chunk.bytes.slice(blank.next),
                None if chunk.last || chunk.bytes.len() > plan.max_record => return Err(unreadable(plan, path)),
                None => break,
            }
        }
        if decoder.cuts() {
            blocks.give_back(&chunk.bytes);
        }
    }
    Ok(None)
}

fn unreadable(plan: &Plan, path: &Path) -> Failure {
    let message = format!("`{}`: its first record has no end within {} bytes", path.display(), plan.max_record);
    Failure::new(Exit::Io, message)
}
