//! The `files` source: files found by glob, one split each, or several of a large one; read in blocks;
//! optionally renamed, moved or deleted once all of it is stored.

mod done;
mod infer;
mod parquet;
mod ranges;
mod reader;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt, fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use glob::{MatchOptions, Pattern};
use schemars::{JsonSchema, Schema as JsonSchemaText, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

use self::{
    done::Done,
    infer::Inferred,
    parquet::{Footer, ParquetReader},
    ranges::Ranges,
    reader::FileReader,
};
use crate::{
    batch::{Position, Schema, SplitId},
    failure::{Exit, Failure},
    formats::{
        Decoder, Format,
        blocks::Newline,
        compression::{Codec, Compression},
        csv::{self, CsvDecoder, CsvStyle},
        lines::LinesDecoder,
        ndjson::NdjsonDecoder,
        tsv::TsvDecoder,
    },
    jobspec::{BatchSize, Path as SpecPath, Place, Problem, Value},
    kind::{Compiled, Context, Kind, Workers},
    stage::{Detail, Rereader, Source, SourceWorker, Split, SplitReader},
    values::columns::{self, ColumnSpec},
};

/// The `files` source.
pub(super) const KIND: Kind<dyn Source> = Kind::new::<FilesSpec>("files", compile);

/// Reads files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FilesSpec {
    /// The files: a path or glob, or a list of them. `*` matches no file whose name begins with a dot. `-` is
    /// standard input.
    path: Paths,
    /// What the files hold.
    format: Format,
    /// Does each file begin with the names of its fields? Columns are then found by name, and fields that are
    /// not declared are passed over. Unless given, csv does and tsv does not.
    header: Option<bool>,
    /// What stands between the fields of csv: one ASCII character; a comma unless given.
    separator: Option<String>,
    /// May a field of csv in quotes hold line ends? Unless given, it may.
    multiline: Option<bool>,
    /// What ends a record.
    #[serde(default)]
    newline: Newline,
    /// The text that means that there is no value, such as `\N`. Unless given, an empty field means that in
    /// nullable columns other than text and lists.
    null: Option<String>,
    /// The columns, in the order of the fields; those of parquet are found by name. Left out, they are inferred when
    /// the plan is made: for parquet from the footers of the files, else from the first records, all of them nullable.
    /// `lines` has one column, `line`, which is nullable where there is a `null`.
    columns: Option<Vec<ColumnSpec>>,
    /// How the files are compressed.
    #[serde(default)]
    compression: Compression,
    /// A compressed file that unpacks to more than so many times its size fails, once that is more than 16 MiB;
    /// 1000 unless given.
    #[schemars(range(min = 1))]
    max_ratio: Option<u32>,
    /// What becomes of a file once all of it is stored.
    done: Option<Done>,
}

impl FilesSpec {
    fn has_header(&self) -> bool {
        self.header.unwrap_or(self.format == Format::Csv)
    }

    /// The columns as far as they are known.
    fn columns(&self) -> &[ColumnSpec] {
        self.columns.as_deref().unwrap_or_default()
    }

    fn max_ratio(&self) -> u32 {
        const MAX_RATIO: u32 = 1000;
        self.max_ratio.unwrap_or(MAX_RATIO).max(1)
    }
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Source>> {
    let spec = context.decode::<FilesSpec>()?;
    build(spec, context)
}

/// The source that `spec` describes.
fn build(mut spec: FilesSpec, context: &mut Context<'_>) -> Option<Compiled<dyn Source>> {
    let before = context.problems.iter().count();
    if spec.format == Format::Lines && spec.columns.is_none() {
        spec.columns = Some(vec![ColumnSpec { nullable: spec.null.is_some(), ..ColumnSpec::string("line") }]);
    }
    check(&spec, context);
    let mut notes = notes(&spec);
    let inferred = spec.columns.is_none();
    if inferred {
        let sound = context.problems.iter().count() == before;
        let Inferred { columns, note } = infer::infer(&spec, sound, context)?;
        spec.columns = Some(columns);
        notes.push(note);
    }
    let at = context.path.key("columns");
    let schema = columns::schema(spec.columns(), &at, context.problems);
    let schema = schema.filter(|_| context.problems.iter().count() == before)?;
    let (batch, max_record) = (context.batch, context.max_record_bytes);
    let plan = Arc::new(Plan { spec, schema: schema.clone(), batch, max_record, inferred });
    let stage = Box::new(Files { plan, ranges: Ranges::default() });
    Some(Compiled { stage, output: Some(schema), workers: Workers::Threads, notes })
}

/// Records what is wrong with keys by themselves.
fn check(spec: &FilesSpec, context: &mut Context<'_>) {
    if spec.path.0.is_empty() || has_empty(context.table) {
        context.problem("path", "path", "no path is given");
    }
    for (i, path) in spec.path.0.iter().enumerate() {
        if let Err(error) = Pattern::new(path) {
            let at = context.path.key("path");
            let at = if spec.path.0.len() > 1 { at.index(i) } else { at };
            let message = format!("`{path}` is no glob: {}", error.msg);
            context.problems.push(Problem::new("path", Place::value(at), message));
        }
    }
    for (i, column) in spec.columns().iter().enumerate() {
        if !spec.format.holds(&column.column_type) {
            let at = Place::value(context.path.key("columns").index(i));
            let message =
                format!("column `{}`: {} cannot hold {}", column.name, spec.format.name(), column.column_type);
            context.problems.push(Problem::new("columns", at, message));
        }
    }
    check_format(spec, context);
    if spec.done.is_some() && spec.path.0.iter().any(|path| path == STDIN) {
        context.problem("done", "done", "`done` has no effect on standard input");
    }
    match spec.max_ratio {
        Some(0) => context.problem("max_ratio", "max_ratio", "a `max_ratio` is at least 1"),
        // Said once, of the format.
        Some(_) if spec.format == Format::Parquet => {}
        Some(_) if spec.compression == Compression::None => {
            context.problem("max_ratio", "max_ratio", "`max_ratio` has no effect: the files are not compressed");
        }
        _ => {}
    }
    match spec.done.as_ref().and_then(Done::rule_broken) {
        Some((key, message)) if is_known(context.table, key) => context.problem(key, "done", message),
        _ => {}
    }
}

/// Is a path the empty text? One from the environment, which may not be known yet, is not.
fn has_empty(table: &Value) -> bool {
    let empty = |value: &Value| value.as_text() == Some("");
    match table.get(&SpecPath::default().key("path")) {
        Some(Value::List(items)) => items.iter().any(empty),
        value => value.is_some_and(empty),
    }
}

/// Records which keys the format has no use for.
fn check_format(spec: &FilesSpec, context: &mut Context<'_>) {
    let format = spec.format;
    let fields = matches!(format, Format::Tsv | Format::Csv);
    let parquet = format == Format::Parquet;
    let has_lists = parquet || format == Format::Ndjson;
    let useless = [
        ("header", spec.header.is_some() && !fields, "its records have no names of fields above them"),
        ("null", spec.null.is_some() && has_lists, "it has a null of its own"),
        ("separator", spec.separator.is_some() && format != Format::Csv, "only csv has a choice"),
        ("multiline", spec.multiline.is_some() && format != Format::Csv, "only csv has records of many lines"),
        ("newline", spec.newline != Newline::default() && parquet, "its records are no lines"),
        ("compression", spec.compression != Compression::Auto && parquet, "its pages say how they are compressed"),
        ("max_ratio", spec.max_ratio.is_some() && parquet, "its pages say how large they are"),
    ];
    for (key, _, why) in useless.iter().filter(|(_, given, _)| *given) {
        context.problem(key, "format", format!("`{key}` has no effect on {}: {why}", format.name()));
    }
    for (i, column) in spec.columns().iter().enumerate().filter(|(_, column)| column.separator.is_some()) {
        if has_lists {
            let at = Place::value(context.path.key("columns").index(i));
            let (name, format) = (&column.name, format.name());
            let message = format!("column `{name}`: {format} has lists of its own, so `separator` has no effect");
            context.problems.push(Problem::new("columns", at, message));
        }
    }
    for path in spec.path.0.iter().filter(|_| parquet) {
        let message = match Compression::Auto.codec(Path::new(path)) {
            _ if path == STDIN => "parquet cannot be read from standard input: its footer comes last".to_owned(),
            Codec::Plain => continue,
            codec => format!("`{path}` is {codec} by its name, and parquet is not read through that: unpack it first"),
        };
        context.problem("path", "format", message);
    }
    if format == Format::Lines && spec.columns().len() > 1 {
        context.problem("columns", "columns", "lines have one column");
    }
    if spec.separator.as_ref().is_some_and(|text| !csv::is_separator(text)) && is_known(context.table, "separator") {
        context.problem("separator", "separator", csv::SEPARATOR_RULE);
    }
}

/// Is the value at a dotted key known? While a spec is only checked, one from the environment may not be.
fn is_known(table: &Value, key: &str) -> bool {
    let mut value = table;
    for step in key.split('.') {
        match value {
            Value::Unknown => return false,
            Value::Table(table) => match table.get(step) {
                Some(next) => value = next,
                None => return true,
            },
            _ => return true,
        }
    }
    *value != Value::Unknown
}

/// What `runner plan` says.
fn notes(spec: &FilesSpec) -> Vec<String> {
    let compression = match spec.compression {
        Compression::Auto => "gzip where named .gz, zstd where named .zst",
        Compression::None => "not compressed",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    };
    if spec.format == Format::Parquet {
        let mut notes = vec![format!("parquet from {}", spec.path)];
        notes.extend(spec.done.as_ref().map(|done| format!("each file, once stored: {done}")));
        return notes;
    }
    let header = if spec.has_header() { ", fields by header" } else { "" };
    let mut notes = vec![format!("{} from {}", spec.format.name(), spec.path), format!("{compression}{header}")];
    notes.extend(spec.done.as_ref().map(|done| format!("each file, once stored: {done}")));
    notes
}

/// The path that is standard input.
const STDIN: &str = "-";

/// Paths and globs: one text or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Paths(Vec<String>);

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, path) in self.0.iter().enumerate() {
            write!(f, "{}`{path}`", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PathsVisitor)
    }
}

struct PathsVisitor;

impl<'de> Visitor<'de> for PathsVisitor {
    type Value = Paths;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path or glob, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Paths, E> {
        Ok(Paths(vec![text.to_owned()]))
    }

    /// Stands for a path from the environment that is not known while a spec is only checked.
    fn visit_unit<E: de::Error>(self) -> Result<Paths, E> {
        self.visit_str("")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Paths, A::Error> {
        let mut paths = Vec::new();
        while let Some(path) = list.next_element()? {
            paths.push(path);
        }
        Ok(Paths(paths))
    }
}

impl JsonSchema for Paths {
    fn schema_name() -> Cow<'static, str> {
        "Paths".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaText {
        json_schema!({
            "oneOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }]
        })
    }
}

/// What all workers share.
struct Plan {
    spec: FilesSpec,
    schema: Schema,
    batch: BatchSize,
    max_record: usize,
    /// Are the columns those that the files had, and not declared ones?
    inferred: bool,
}

impl Plan {
    /// A decoder for one file of text.
    fn decoder(&self) -> Result<Box<dyn Decoder>, Failure> {
        let FilesSpec { null, format, .. } = &self.spec;
        let columns = self.spec.columns();
        let (null, schema, rows, max) = (null.as_deref(), &self.schema, self.batch.rows, self.max_record);
        Ok(match format {
            Format::Tsv => Box::new(TsvDecoder::new(columns, schema, null, rows, max)),
            Format::Csv => {
                let separator = csv::separator(self.spec.separator.as_deref());
                let style = CsvStyle { separator, multiline: self.spec.multiline.unwrap_or(true), null };
                Box::new(CsvDecoder::new(columns, schema, style, rows, max))
            }
            Format::Ndjson => Box::new(NdjsonDecoder::new(columns, schema, rows, max)),
            Format::Lines => Box::new(LinesDecoder::new(&columns[0], schema, null, rows, max)),
            Format::Parquet => return Err(Failure::new(Exit::Bug, "parquet is no format of text")),
        })
    }
}

struct Files {
    plan: Arc<Plan>,
    ranges: Ranges,
}

impl Source for Files {
    fn splits(&self) -> Result<Vec<Split>, Failure> {
        self.splits_again(&[])
    }

    fn splits_again(&self, stored: &[&Split]) -> Result<Vec<Split>, Failure> {
        let mut files = Vec::new();
        let (streams, paths): (Vec<_>, Vec<_>) = self.plan.spec.path.0.iter().partition(|path| *path == STDIN);
        for pattern in paths {
            match list(pattern) {
                // The files may have other names by now.
                Err(failure) if failure.exit == Exit::InputMissing && !stored.is_empty() => {}
                found => files.extend(found?),
            }
        }
        files.sort();
        files.dedup();
        if let Some(Done::Move(_)) = self.plan.spec.done {
            names_differ(&files)?;
        }
        let mut splits = Vec::new();
        splits.extend(streams.first().map(|name| Split { name: (*name).clone(), detail: Detail::Stream }));
        for path in files {
            splits.extend(self.ranges.cut(&self.plan, freeze(&path)?)?);
        }
        Ok(splits)
    }

    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure> {
        Ok(Box::new(Worker { plan: Arc::clone(&self.plan), footer: Footer::default() }))
    }

    fn rereader(&self) -> Option<Rereader> {
        let (newline, has_header) = (self.plan.spec.newline, self.plan.spec.has_header());
        Some(Rereader { decoder: self.plan.decoder().ok()?, newline, has_header })
    }

    fn locate(&self, split: &Split, position: Position) -> Position {
        self.ranges.locate(&self.plan, split, position)
    }

    /// A file of several splits is done with once all of them are.
    fn done(&self, split: &Split) -> Result<Option<String>, Failure> {
        match (&self.plan.spec.done, &split.detail) {
            (Some(done), Detail::File { path, .. }) if self.ranges.was_last(split) => done.run(path).map(Some),
            _ => Ok(None),
        }
    }
}

struct Worker {
    plan: Arc<Plan>,
    footer: Footer,
}

impl SourceWorker for Worker {
    fn open<'a>(&'a mut self, id: SplitId, split: &Split) -> Result<Box<dyn SplitReader + 'a>, Failure> {
        if self.plan.spec.format == Format::Parquet {
            return Ok(Box::new(ParquetReader::open(&self.plan, id, split, &mut self.footer)?));
        }
        Ok(Box::new(FileReader::open(&self.plan, id, split)?))
    }
}

/// How names match once they are found: hidden ones only where the pattern has the dot, too.
const MATCH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The files that a path or glob means. A file whose very name it is goes before any meaning as a glob.
fn list(pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let literal = Path::new(pattern);
    if literal.is_file() {
        return Ok(vec![plain(literal)]);
    }
    let spec = |error: glob::PatternError| Failure::new(Exit::Spec, format!("`{pattern}` is no glob: {}", error.msg));
    // Asked to pass over hidden names, `glob` does so even where the pattern has the dot, and it panics on
    // names that are not UTF-8. So it lists all, and what it found is matched once more.
    let listed = MatchOptions { require_literal_leading_dot: false, ..MATCH };
    let again = Pattern::new(&plain(literal).to_string_lossy()).map_err(spec)?;
    let mut files = Vec::new();
    for found in glob::glob_with(pattern, listed).map_err(spec)? {
        let path = plain(&found.map_err(|error| Failure::reading(error.path(), error.error()))?);
        // A name that cannot be looked up is kept: opening it will say why.
        let is_dir = fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if !is_dir && again.matches_path_with(&path, MATCH) {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Failure::new(Exit::InputMissing, format!("no file matches `{pattern}`")));
    }
    Ok(files)
}

/// A path without `.` and doubled slashes, so that two spellings of one file are one.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// Files that are all moved into one folder must not replace each other there.
fn names_differ(files: &[PathBuf]) -> Result<(), Failure> {
    let mut seen = HashMap::new();
    for path in files {
        if let Some(other) = seen.insert(path.file_name(), path) {
            let (one, two) = (other.display(), path.display());
            let message = format!("`{one}` and `{two}` have the same name, so `done.move` would lose one of them");
            return Err(Failure::new(Exit::Spec, message));
        }
    }
    Ok(())
}

/// The file as it is now.
fn freeze(path: &Path) -> Result<Split, Failure> {
    let metadata = fs::metadata(path).map_err(|error| Failure::reading(path, &error))?;
    Ok(Split { name: path.display().to_string(), detail: detail(path, &metadata) })
}

fn detail(path: &Path, metadata: &fs::Metadata) -> Detail {
    Detail::File { path: path.to_owned(), size: metadata.len(), modified: metadata.modified().ok(), range: None }
}

/// Is the file still what was listed?
fn unchanged(split: &Split, path: &Path, metadata: io::Result<fs::Metadata>) -> Result<(), Failure> {
    let now = metadata.map_err(|error| Failure::reading(path, &error))?;
    if let Detail::File { size, modified, .. } = &split.detail
        && *size == now.len()
        && *modified == now.modified().ok()
    {
        return Ok(());
    }
    Err(Failure::new(Exit::Io, format!("`{}` has changed since it was listed", path.display())))
}
