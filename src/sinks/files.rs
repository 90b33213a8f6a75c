//! The `files` sink: one file, or one per input split, each of them whole or absent.
//!
//! A file is written under a hidden name beside its target, made durable and renamed when everything has been
//! written. So a run that fails or is killed leaves the targets as they were. Killed between two names, it leaves some
//! of them new: the next attempt writes all of them once more, to the same bytes. What it was writing when it was
//! killed is noted in the job's folder (`leftovers`), and goes then. A file that is replaced keeps its links, owner and
//! mode; what is not a regular file is written into as rows come, like standard output.

mod leftovers;
mod output;
mod packing;
mod parquet;
mod published;
mod target;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    leftovers::Leftovers,
    packing::{Compression, Packing},
    parquet::GroupSize,
    published::Published,
    target::{Target, numbered},
    writer::{Form, Order, Writer},
};
use crate::{
    batch::Schema,
    failure::Failure,
    formats::{
        Format,
        csv::{self, CsvEncoder},
        lines::LinesEncoder,
        ndjson::NdjsonEncoder,
        parquet::ParquetStyle,
        tsv::TsvEncoder,
    },
    jobspec::{Bytes, Problem, SpecLocation},
    kind::{Compiled, Context, Kind, Workers},
    replace::Destination,
    stage::{Attempt, Guarantee, Mode, Reads, Sink, SinkProperties, SinkWorker},
    values::{calendar, cell::CellStyle, columns},
};

/// The `files` sink.
pub(super) const KIND: Kind<dyn Sink> = Kind::new::<FilesSpec>("files", compile);

/// Writes files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FilesSpec {
    /// The file; `-` is standard output. In it, `{split}` stands for the number of the input split, in five
    /// digits, `{date}` for the day of the run in UTC, and `{name}` for the row's value of that column, of which
    /// anything that could leave the folder is written as `%` and its hexadecimal code.
    path: String,
    /// What the file holds.
    format: Format,
    /// Does each file begin with the names of its columns? Unless given, csv does and tsv does not.
    header: Option<bool>,
    /// What is written where there is no value. Where it is given, a value with the same text is a reject of tsv and
    /// lines, and stands in quotes in csv, so that it is read back as what it is. Unless given, nothing is written, and
    /// in tsv and lines no text and empty text are the same. Not for ndjson and parquet.
    null: Option<String>,
    /// What stands between the fields of csv: one ASCII character; a comma unless given.
    separator: Option<String>,
    /// What stands between the items of a list: one ASCII character; a comma unless given. Not for ndjson and
    /// parquet.
    list_separator: Option<String>,
    /// The most bytes of a file, before compression: further rows go to another. Files are then numbered, in five
    /// digits before the ending of their names. A file holds at least one row.
    max_bytes: Option<Bytes>,
    /// How the file is compressed; of parquet, its pages.
    #[serde(default)]
    compression: Compression,
    /// How hard to compress: gzip 0 to 9, 6 unless given; zstd 1 to 19, 3 unless given.
    #[schemars(range(max = 19))]
    level: Option<u32>,
    /// The most rows of a row group of parquet; 262144 unless given. One ends earlier where its values take 64 MiB, or
    /// where all that are under way take a quarter of `limits.memory`.
    #[schemars(range(min = 1))]
    row_group_rows: Option<u32>,
}

impl FilesSpec {
    fn has_header(&self) -> bool {
        self.header.unwrap_or(self.format == Format::Csv)
    }

    fn packing(&self) -> Packing {
        let codec = self.compression.codec(self.format, Path::new(&self.path));
        Packing { codec, level: self.level.unwrap_or(codec.default_level()) }
    }
}

/// The path that is standard output.
const STDOUT: &str = "-";

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Sink>> {
    let spec = context.decode::<FilesSpec>()?;
    build(spec, context)
}

/// The sink that `spec` describes.
fn build(spec: FilesSpec, context: &mut Context<'_>) -> Option<Compiled<dyn Sink>> {
    let before = context.problems.iter().count();
    check(&spec, context);
    check_columns(&spec, context);
    if context.problems.iter().count() > before {
        return None;
    }
    let target = match Target::parse(&spec.path, context.input()) {
        Ok(target) => target,
        Err(message) => {
            context.problem("path", "path", message);
            return None;
        }
    };
    let packing = spec.packing();
    let each = match (target.by_split(), target.by_value()) {
        (true, true) => ", one file per split and value",
        (true, false) => ", one file per split",
        (false, true) => ", one file per value",
        (false, false) => "",
    };
    let notes = vec![format!("{} to `{}`{each}", spec.format.name(), spec.path), packing.to_string()];
    let notes = notes.into_iter().chain(spec.max_bytes.map(|bytes| format!("files of at most {bytes}"))).collect();
    let schema = context.input().clone();
    // Parquet takes long to encode: where each split has a file of its own, several workers do.
    let workers = match spec.format {
        Format::Parquet if target.by_split() => Workers::Threads,
        _ => Workers::One("one writer keeps the input's order"),
    };
    let memory = context.memory;
    let (attempt, inputs) = (Mutex::new(None), Mutex::default());
    let stage = Box::new(Files { spec, target, schema, packing, memory, attempt, inputs });
    Some(Compiled { stage, output: None, workers, notes })
}

/// Records what is wrong with keys by themselves.
fn check(spec: &FilesSpec, context: &mut Context<'_>) {
    let path_known = context.knows("path");
    if path_known && (spec.path.ends_with('/') || Path::new(&spec.path).file_name().is_none()) {
        context.problem("path", "path", format!("`{}` names no file", spec.path));
    }
    if context.knows("list_separator") && spec.list_separator.as_ref().is_some_and(|text| !columns::is_separator(text))
    {
        let message = "a `list_separator` is one ASCII character, but no letter, digit, tab or line end";
        context.problem("list_separator", "separator", message);
    }
    if context.knows("separator") && spec.separator.as_ref().is_some_and(|text| !csv::is_separator(text)) {
        context.problem("separator", "separator", csv::SEPARATOR_RULE);
    }
    check_format(spec, context);
    if spec.max_bytes.is_some() && spec.path == STDOUT {
        context.problem("max_bytes", "max_bytes", "`max_bytes` has no effect on standard output");
    }
    if let Some(message) = spec.compression.rule_broken(spec.format) {
        context.problem("compression", "compression", message);
        return;
    }
    let codec = spec.packing().codec;
    match (spec.level, codec.levels()) {
        (Some(_), None) if path_known => {
            context.problem("level", "level", format!("`level` has no effect: the file is {codec}"));
        }
        (Some(level), Some(levels)) if !levels.contains(&level) => {
            let (first, last) = levels.into_inner();
            context.problem("level", "level", format!("level {level} is not between {first} and {last}"));
        }
        _ => {}
    }
}

/// Records which keys the format has no use for, or cannot hold.
fn check_format(spec: &FilesSpec, context: &mut Context<'_>) {
    let format = spec.format;
    let parquet = format == Format::Parquet;
    let own = parquet || format == Format::Ndjson;
    let useless = [
        ("header", spec.header.is_some() && !matches!(format, Format::Tsv | Format::Csv), "it has no header"),
        ("null", spec.null.is_some() && own, "it has a null of its own"),
        ("separator", spec.separator.is_some() && format != Format::Csv, "only csv has a choice"),
        ("list_separator", spec.list_separator.is_some() && own, "it has lists of its own"),
        ("row_group_rows", spec.row_group_rows.is_some() && !parquet, "only parquet has row groups"),
    ];
    for (key, _, why) in useless.iter().filter(|(_, given, _)| *given) {
        context.problem(key, "format", format!("`{key}` has no effect on {}: {why}", format.name()));
    }
    if spec.row_group_rows == Some(0) {
        context.problem("row_group_rows", "row_group_rows", "a row group has at least 1 row");
    }
    if parquet && Compression::is_packed(Path::new(&spec.path)) {
        let message = "parquet compresses its pages, so its name should not say that the file is compressed";
        context.problem("path", "format", message);
    }
    let never = match format {
        Format::Csv => vec!['"', '\n', '\r', char::from(csv::separator(spec.separator.as_deref()))],
        _ => vec!['\t', '\n', '\r'],
    };
    match (&spec.null, format) {
        (Some(null), Format::Csv) if null.contains(never.as_slice()) => {
            context.problem("null", "null", "`null` must not contain a separator, quote or line end");
        }
        (Some(null), Format::Tsv | Format::Lines) if null.contains(never.as_slice()) => {
            context.problem("null", "null", "`null` must not contain a tab or line end");
        }
        _ => {}
    }
}

/// Records which columns of the input the format cannot hold.
fn check_columns(spec: &FilesSpec, context: &mut Context<'_>) {
    let mut problems = Vec::new();
    if spec.format == Format::Lines && context.input().columns().len() != 1 {
        let found = context.input().columns().len();
        problems.push(("format", format!("lines hold one column, but the input has {found}")));
    }
    for column in context.input().columns() {
        if !spec.format.holds(&column.column_type) {
            let (format, column_type) = (spec.format.name(), &column.column_type);
            problems.push(("format", format!("{format} cannot hold column `{}`: {column_type}", column.name)));
        }
        if spec.has_header() && spec.format == Format::Tsv && !TsvEncoder::fits_header(&column.name) {
            problems.push(("header", format!("column `{}` has a tab or line end in its name", column.name)));
        }
    }
    for (key, message) in problems {
        context.problems.push(Problem::new("columns", SpecLocation::value(context.path.key(key)), message));
    }
}

struct Files {
    spec: FilesSpec,
    target: Target,
    schema: Schema,
    packing: Packing,
    /// `limits.memory`
    memory: usize,
    /// Where the run can be resumed.
    attempt: Mutex<Option<Attempt>>,
    /// What the job reads.
    inputs: Mutex<Vec<Reads>>,
}

impl Files {
    /// Is what it writes seen at once, as on standard output, in a pipe or by a device?
    fn is_stream(&self) -> bool {
        let path = &self.spec.path;
        path == STDOUT || (self.target.is(path) && Destination::of(Path::new(path)).is_ok_and(|to| to.is_stream()))
    }

    fn form(&self) -> Form {
        let separator = self.spec.list_separator.as_ref().and_then(|text| text.bytes().next()).unwrap_or(b',');
        let (null, marked) = (self.spec.null.clone().unwrap_or_default(), self.spec.null.is_some());
        let style = CellStyle { null, marked, separator };
        let schema = self.schema.clone();
        match self.spec.format {
            Format::Tsv => Form::Text(Box::new(TsvEncoder::new(schema, style))),
            Format::Csv => {
                let separator = csv::separator(self.spec.separator.as_deref());
                Form::Text(Box::new(CsvEncoder::new(schema, style, separator)))
            }
            Format::Ndjson => Form::Text(Box::new(NdjsonEncoder::new(schema))),
            Format::Lines => Form::Text(Box::new(LinesEncoder::new(schema, style))),
            Format::Parquet => Form::parquet(
                ParquetStyle { codec: self.packing.pages(), schema },
                GroupSize::of(self.spec.row_group_rows, self.memory),
            ),
        }
    }
}

impl Sink for Files {
    fn properties(&self) -> SinkProperties {
        let guarantee = if self.is_stream() { Guarantee::Stream } else { Guarantee::AllOrNothing };
        SinkProperties::of_files(guarantee, vec![PathBuf::from(&self.spec.path)])
    }

    fn may_write(&self) -> Vec<PathBuf> {
        if self.spec.path == STDOUT {
            return Vec::new();
        }
        let path = self.target.sample();
        vec![PathBuf::from(if self.spec.max_bytes.is_some() { numbered(&path, 0) } else { path })]
    }

    fn avoid(&self, reads: Vec<Reads>) {
        *self.inputs.lock().unwrap_or_else(PoisonError::into_inner) = reads;
    }

    fn begin(&self, attempt: &Attempt) -> Result<(), Failure> {
        Leftovers::remove(attempt)?;
        *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt.clone());
        Ok(())
    }

    fn end(&self, attempt: &Attempt) -> Result<(), Failure> {
        // An attempt at the next run may have noted some, too, and have been killed before that had begun.
        Leftovers::remove(attempt)
    }

    fn check(&self, attempt: Option<&Attempt>) -> Result<Option<String>, Failure> {
        match attempt {
            Some(_) if self.is_stream() => Ok(Some(format!("what `{}` was given is not kept there", self.spec.path))),
            Some(attempt) => Published::lost(attempt),
            None => Ok(None),
        }
    }

    fn worker(&self, mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        let attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Box::new(Writer::new(Order {
            form: self.form(),
            target: self.target.clone(),
            date: day(attempt.as_ref().map_or_else(SystemTime::now, |attempt| attempt.started)),
            header: self.spec.has_header(),
            packing: self.packing.around(self.spec.format),
            max_bytes: self.spec.max_bytes.map(|bytes| bytes.0),
            mode,
            inputs: self.inputs.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            leftovers: Leftovers::new(attempt.as_ref()),
            published: Published::new(attempt.as_ref()),
        })?))
    }
}

/// The date of a time in UTC.
fn day(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = calendar::civil((since.as_secs() / 86_400) as i64);
    format!("{year:04}-{month:02}-{day:02}")
}
