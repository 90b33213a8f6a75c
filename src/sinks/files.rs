//! The `files` sink: one file, or one per input split, each of them whole or absent.
//!
//! A file is written under a hidden name beside its target, made durable and renamed when everything has been
//! written. So a run that fails or is killed leaves the targets as they were.

mod output;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use self::output::{Finished, Packing, Unfinished};
use crate::{
    batch::{Batch, Rejects, Schema, SplitId},
    failure::Failure,
    formats::{
        Encoder, Format,
        cells::CellStyle,
        columns,
        compression::{Codec, Compression},
        csv::{self, CsvEncoder},
        lines::LinesEncoder,
        ndjson::NdjsonEncoder,
        tsv::TsvEncoder,
    },
    kind::{Compiled, Context, Kind, Workers},
    spec::{Place, Problem, Value},
    stage::{Delivery, Mode, Sink, SinkWorker, Written},
};

/// The `files` sink.
pub(super) const KIND: Kind<dyn Sink> = Kind {
    name: "files",
    schema: |generator| generator.subschema_for::<FilesSpec>(),
    check: |context| {
        context.decode::<FilesSpec>();
    },
    side: None,
    compile,
};

/// Writes files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FilesSink")]
struct FilesSpec {
    /// The file; `-` is standard output. With `{split}` in it, there is one per input split; the number of the split stands there, in
    /// five digits.
    path: String,
    /// What the file holds.
    format: Format,
    /// Does each file begin with the names of its columns? Unless given, csv does and tsv does not.
    header: Option<bool>,
    /// What is written where there is no value; nothing unless given. Not for ndjson.
    null: Option<String>,
    /// What stands between the fields of csv: one ASCII character; a comma unless given.
    separator: Option<String>,
    /// What stands between the items of a list: one ASCII character; a comma unless given. Not for ndjson.
    list_separator: Option<String>,
    /// How the file is compressed.
    #[serde(default)]
    compression: Compression,
    /// How hard to compress: gzip 0 to 9, 6 unless given; zstd 1 to 19, 3 unless given.
    #[schemars(range(max = 19))]
    level: Option<u32>,
}

impl FilesSpec {
    fn has_header(&self) -> bool {
        self.header.unwrap_or(self.format == Format::Csv)
    }
}

/// The path that is standard output.
const STDOUT: &str = "-";
const SPLIT: &str = "{split}";

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
    let codec = spec.compression.codec(Path::new(&spec.path));
    let packing = Packing { codec, level: spec.level.unwrap_or(codec.default_level()) };
    let each = if spec.path.contains(SPLIT) { ", one file per split" } else { "" };
    let level = if codec == Codec::Plain { String::new() } else { format!(", level {}", packing.level) };
    let compression = format!("{codec}{level}");
    let notes = vec![format!("{} to `{}`{each}", spec.format.name(), spec.path), compression];
    let stage = Box::new(Files { spec, schema: context.input().clone(), packing });
    Some(Compiled { stage, output: None, workers: Workers::One("one writer keeps the input's order"), notes })
}

/// Records what is wrong with keys by themselves.
fn check(spec: &FilesSpec, context: &mut Context<'_>) {
    let known = |key: &str| match context.table {
        Value::Table(table) => table.get(key) != Some(&Value::Unknown),
        _ => true,
    };
    let path_known = known("path");
    if path_known && (spec.path.ends_with('/') || Path::new(&spec.path).file_name().is_none()) {
        context.problem("path", "path", format!("`{}` names no file", spec.path));
    }
    if known("list_separator") && spec.list_separator.as_ref().is_some_and(|text| !columns::is_separator(text)) {
        let message = "a `list_separator` is one ASCII character, but no letter, digit, tab or line end";
        context.problem("list_separator", "separator", message);
    }
    if known("separator") && spec.separator.as_ref().is_some_and(|text| !csv::is_separator(text)) {
        context.problem("separator", "separator", csv::SEPARATOR_RULE);
    }
    check_format(spec, context);
    let codec = spec.compression.codec(Path::new(&spec.path));
    match spec.level {
        Some(_) if codec == Codec::Plain && path_known => {
            context.problem("level", "level", "`level` has no effect: the file is not compressed");
        }
        Some(level) if codec != Codec::Plain && !codec.levels().contains(&level) => {
            let (first, last) = codec.levels().into_inner();
            context.problem("level", "level", format!("level {level} is not between {first} and {last}"));
        }
        _ => {}
    }
}

/// Records which keys the format has no use for, or cannot hold.
fn check_format(spec: &FilesSpec, context: &mut Context<'_>) {
    let format = spec.format;
    let ndjson = format == Format::Ndjson;
    let useless = [
        ("header", spec.header.is_some() && !matches!(format, Format::Tsv | Format::Csv), "it has no header"),
        ("null", spec.null.is_some() && ndjson, "it has a null of its own"),
        ("separator", spec.separator.is_some() && format != Format::Csv, "only csv has a choice"),
        ("list_separator", spec.list_separator.is_some() && ndjson, "it has lists of its own"),
    ];
    for (key, _, why) in useless.iter().filter(|(_, given, _)| *given) {
        context.problem(key, "format", format!("`{key}` has no effect on {}: {why}", format.name()));
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
        context.problems.push(Problem::new("columns", Place::value(context.path.key(key)), message));
    }
}

struct Files {
    spec: FilesSpec,
    schema: Schema,
    packing: Packing,
}

impl Files {
    fn encoder(&self) -> Box<dyn Encoder> {
        let separator = self.spec.list_separator.as_ref().and_then(|text| text.bytes().next()).unwrap_or(b',');
        let style = CellStyle { null: self.spec.null.clone().unwrap_or_default(), separator };
        match self.spec.format {
            Format::Tsv => Box::new(TsvEncoder::new(self.schema.clone(), style)),
            Format::Csv => {
                let separator = csv::separator(self.spec.separator.as_deref());
                Box::new(CsvEncoder::new(self.schema.clone(), style, separator))
            }
            Format::Ndjson => Box::new(NdjsonEncoder::new(self.schema.clone())),
            Format::Lines => Box::new(LinesEncoder::new(self.schema.clone(), style)),
        }
    }
}

impl Sink for Files {
    fn delivery(&self) -> Delivery {
        Delivery::Ordered
    }

    fn worker(&self, mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        let mut writer = Writer {
            encoder: self.encoder(),
            path: self.spec.path.clone(),
            header: self.spec.has_header(),
            packing: self.packing,
            mode,
            text: Vec::new(),
            open: None,
            split: None,
            shown: false,
            finished: Vec::new(),
        };
        // The one file exists even where no row comes, and that it cannot be created is known at once.
        if mode == Mode::Write && !writer.per_split() {
            writer.create(SplitId(0))?;
        }
        Ok(Box::new(writer))
    }
}

/// Writes one file after the other.
struct Writer {
    encoder: Box<dyn Encoder>,
    path: String,
    header: bool,
    packing: Packing,
    mode: Mode,
    /// The text of a batch; kept for its room.
    text: Vec<u8>,
    open: Option<Unfinished>,
    /// The split whose file was begun last.
    split: Option<SplitId>,
    /// In a rehearsal: has some of that file been shown?
    shown: bool,
    /// Files that lack only their names.
    finished: Vec<Finished>,
}

impl Writer {
    fn per_split(&self) -> bool {
        self.path.contains(SPLIT)
    }

    /// Begins the file that rows of `split` go to.
    fn create(&mut self, split: SplitId) -> Result<(), Failure> {
        let mut file = if self.path == STDOUT {
            Unfinished::stdout(self.packing)?
        } else {
            let target = PathBuf::from(self.path.replace(SPLIT, &format!("{:05}", split.0)));
            Unfinished::create(target, self.packing)?
        };
        if self.header {
            let mut header = Vec::new();
            self.encoder.header(&mut header);
            file.write(&header)?;
        }
        self.open = Some(file);
        Ok(())
    }

    /// Ends the file that is open, but for its name.
    fn finish(&mut self) -> Result<(), Failure> {
        if let Some(file) = self.open.take() {
            self.finished.push(file.finish()?);
        }
        Ok(())
    }
}

impl SinkWorker for Writer {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let split = batch.origin.split;
        let first = self.split.is_none() || (self.per_split() && self.split != Some(split));
        if first {
            self.split = Some(split);
            self.shown = false;
            if self.mode == Mode::Write && self.per_split() {
                self.finish()?;
                self.create(split)?;
            }
        }
        self.text.clear();
        let mut rejects = Rejects::default();
        self.encoder.encode(batch, &mut self.text, &mut rejects);
        if let Some(file) = &mut self.open {
            file.write(&self.text)?;
        }
        let rejects = rejects.take();
        let show = self.mode == Mode::Rehearse && !self.shown && !self.text.is_empty();
        self.shown |= show;
        let samples = if show { samples(&self.text) } else { Vec::new() };
        let accepted = (batch.rows() - rejects.len()) as u64;
        Ok(Written { accepted, rejects, bytes: self.text.len() as u64, samples, ..Written::default() })
    }

    /// Nothing gets its name where the input was not whole: the temporary files go with the worker. What went to
    /// standard output is there in any case.
    fn commit(&mut self, whole: bool) -> Result<bool, Failure> {
        let whole = whole || self.path == STDOUT;
        if whole {
            self.finish()?;
            self.finished.drain(..).try_for_each(Finished::publish)?;
        }
        Ok(whole)
    }
}

/// The first lines of a text.
fn samples(text: &[u8]) -> Vec<String> {
    const LINES: usize = 3;
    String::from_utf8_lossy(text).lines().take(LINES).map(str::to_owned).collect()
}
