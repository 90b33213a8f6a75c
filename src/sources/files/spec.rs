//! The keys of the source, and what is wrong with them by themselves.

use std::{borrow::Cow, fmt, path::Path};

use glob::Pattern;
use schemars::{JsonSchema, Schema as JsonSchemaText, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

use super::done::Done;
use crate::{
    formats::{
        Extra, Format, Missing, Shape,
        blocks::Newline,
        compression::{Codec, Compression},
        csv,
    },
    jobspec::{Path as SpecPath, Problem, SpecLocation, Value},
    kind::Context,
    values::columns::ColumnSpec,
};

/// Reads files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FilesSpec {
    /// The files: a path or glob, or a list of them. `*` matches no file whose name begins with a dot. `-` is
    /// standard input.
    pub(super) path: Paths,
    /// What the files hold.
    pub(super) format: Format,
    /// Does each file begin with the names of its fields? Columns are then found by name, and fields that are
    /// not declared are passed over. Unless given, csv does and tsv does not.
    pub(super) header: Option<bool>,
    /// What stands between the fields of csv: one ASCII character; a comma unless given.
    pub(super) separator: Option<String>,
    /// May a field of csv in quotes hold line ends? Unless given, it may.
    pub(super) multiline: Option<bool>,
    /// What ends a record.
    #[serde(default)]
    pub(super) newline: Newline,
    /// The text that means that there is no value, such as `\N`. Unless given, an empty field means that in
    /// nullable columns other than text and lists.
    pub(super) null: Option<String>,
    /// The columns, in the order of the fields; those of parquet are found by name. Left out, they are inferred when
    /// the plan is made: for parquet from the footers of the files, else from the first records of each file, all of
    /// them nullable.
    /// `lines` has one column, `line`, which is nullable where there is a `null`.
    pub(super) columns: Option<Vec<ColumnSpec>>,
    /// What is done about a column that a file with a header or a Parquet file lacks, or a field that a JSON record
    /// lacks. `null`: there is no value, as long as the column is nullable. `reject`: the file fails, the JSON record
    /// is a reject. Unless given, `null` for ndjson and else `reject`.
    pub(super) missing: Option<Missing>,
    /// What is done about a column that was not there when the columns were inferred. `reject`: the file fails, the
    /// JSON record is a reject. `ignore`: it is passed over. Only where `columns` are left out; `reject` unless given.
    pub(super) extra: Option<Extra>,
    /// How the files are compressed.
    #[serde(default)]
    pub(super) compression: Compression,
    /// A compressed file that unpacks to more than so many times its size fails, once that is more than 16 MiB;
    /// 1000 unless given.
    #[schemars(range(min = 1))]
    pub(super) max_ratio: Option<u32>,
    /// What becomes of a file once all of it is stored.
    pub(super) done: Option<Done>,
}

impl FilesSpec {
    pub(super) fn has_header(&self) -> bool {
        self.header.unwrap_or(self.format == Format::Csv)
    }

    /// The columns as far as they are known.
    pub(super) fn columns(&self) -> &[ColumnSpec] {
        self.columns.as_deref().unwrap_or_default()
    }

    pub(super) fn max_ratio(&self) -> u32 {
        const MAX_RATIO: u32 = 1000;
        self.max_ratio.unwrap_or(MAX_RATIO).max(1)
    }

    /// Have fields names that may be missing, or of which there may be more?
    fn has_names(&self) -> bool {
        match self.format {
            Format::Tsv | Format::Csv => self.has_header(),
            Format::Ndjson | Format::Parquet => true,
            Format::Lines => false,
        }
    }

    /// What is done about fields that no record need have.
    pub(super) fn shape(&self, inferred: bool) -> Shape {
        let missing = if self.format == Format::Ndjson { Missing::Null } else { Missing::Reject };
        let extra = if inferred { self.extra.unwrap_or_default() } else { Extra::Ignore };
        Shape { missing: self.missing.unwrap_or(missing), extra }
    }
}

/// Records what is wrong with keys by themselves.
pub(super) fn check(spec: &FilesSpec, context: &mut Context<'_>) {
    if spec.path.0.is_empty() || has_empty(context.table) {
        context.problem("path", "path", "no path is given");
    }
    for (i, path) in spec.path.0.iter().enumerate() {
        if let Err(error) = Pattern::new(path) {
            let at = context.path.key("path");
            let at = if spec.path.0.len() > 1 { at.index(i) } else { at };
            let message = format!("`{path}` is not a glob: {}", error.msg);
            context.problems.push(Problem::new("path", SpecLocation::value(at), message));
        }
    }
    for (i, column) in spec.columns().iter().enumerate() {
        if !spec.format.holds(&column.column_type) {
            let at = SpecLocation::value(context.path.key("columns").index(i));
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
        Some((key, message)) if context.knows(key) => context.problem(key, "done", message),
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
        ("missing", spec.missing.is_some() && !spec.has_names(), "its fields have no names"),
        ("extra", spec.extra.is_some() && !spec.has_names(), "its fields have no names"),
        ("newline", spec.newline != Newline::default() && parquet, "its records are not lines"),
        ("compression", spec.compression != Compression::Auto && parquet, "its pages say how they are compressed"),
        ("max_ratio", spec.max_ratio.is_some() && parquet, "its pages say how large they are"),
    ];
    for (key, _, why) in useless.iter().filter(|(_, given, _)| *given) {
        context.problem(key, "format", format!("`{key}` has no effect on {}: {why}", format.name()));
    }
    if spec.extra.is_some() && spec.columns.is_some() && spec.has_names() {
        let message = "`extra` has no effect: the columns are declared, and others are passed over";
        context.problem("extra", "extra", message);
    }
    let nullable = spec.columns.as_ref().is_none_or(|columns| columns.iter().any(|column| column.nullable));
    if spec.missing == Some(Missing::Null) && spec.has_names() && !nullable {
        let message = "`missing = \"null\"` has no effect: no column is nullable";
        context.problem("missing", "missing", message);
    }
    for (i, column) in spec.columns().iter().enumerate().filter(|(_, column)| column.separator.is_some()) {
        if has_lists {
            let at = SpecLocation::value(context.path.key("columns").index(i));
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
    if spec.separator.as_ref().is_some_and(|text| !csv::is_separator(text)) && context.knows("separator") {
        context.problem("separator", "separator", csv::SEPARATOR_RULE);
    }
}

/// What `runner plan` says.
pub(super) fn notes(spec: &FilesSpec) -> Vec<String> {
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
pub(super) const STDIN: &str = "-";

/// Paths and globs: one text or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Paths(pub(super) Vec<String>);

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
