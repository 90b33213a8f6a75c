//! The keys of a `postgres` sink, and what they compile to.

use arrow_schema::SchemaRef;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    batch::{Column, ColumnType, Schema},
    jobspec::{Duration, Path, Place, Problem, Retry, bounds, nearest},
    kind::Context,
    postgres::{STATEMENT_TIMEOUT, TableName, Url, is_known, quoted, wire_type},
};

/// Keys of a `postgres` sink.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    /// The server and database.
    url: Url,
    /// The table, perhaps with its schema: `public.orders`.
    table: String,
    /// Is the table made?
    #[serde(default)]
    create: Create,
    /// The columns that are written; all of the input unless given.
    columns: Option<Vec<String>>,
    /// Columns that the output takes from the database, as `"name"` or `"name type"`: a generated id.
    #[serde(default)]
    returning: Vec<String>,
    /// What becomes of a row that is there already.
    #[serde(default)]
    mode: WriteMode,
    /// The columns that tell whether a row is there already; they need a unique index.
    #[serde(default)]
    conflict: Vec<String>,
    /// How rows are sent.
    #[serde(default)]
    method: Method,
    /// How often and how patiently a connection and a transaction are tried; `timeout` is of connecting.
    #[serde(default)]
    retry: Retry,
    /// Limit of one statement.
    #[serde(default = "statement_timeout", deserialize_with = "bounds::wait")]
    statement_timeout: Duration,
}

/// Is the table made?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "PostgresCreate")]
pub(super) enum Create {
    /// Where there is none.
    #[default]
    IfMissing,
    /// No: it must be there.
    Never,
    /// Anew, when the run starts; the one that is there is dropped.
    Replace,
}

/// What becomes of a row that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "PostgresWrite")]
pub(super) enum WriteMode {
    /// It is a reject where the table does not allow it twice.
    #[default]
    Insert,
    /// It is replaced in the columns that are written.
    Upsert,
    /// It stays as it is.
    Ignore,
}

/// How rows are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Method {
    /// By COPY where nothing comes back and nothing is there already.
    #[default]
    Auto,
    /// By COPY.
    Copy,
    /// By INSERT, one statement for a batch.
    Insert,
}

fn statement_timeout() -> Duration {
    STATEMENT_TIMEOUT
}

/// A compiled sink: what all of its workers read.
pub(super) struct Plan {
    pub(super) url: Url,
    pub(super) table: TableName,
    pub(super) create: Create,
    pub(super) columns: Vec<Written>,
    pub(super) returning: Vec<Returned>,
    pub(super) mode: WriteMode,
    /// Places in `columns`.
    pub(super) conflict: Vec<usize>,
    pub(super) copy: bool,
    pub(super) retry: Retry,
    pub(super) statement_timeout: Duration,
    pub(super) input: Schema,
    pub(super) output: Schema,
}

/// A column that is written.
pub(super) struct Written {
    /// Its place in the input.
    pub(super) place: usize,
    pub(super) column: Column,
    pub(super) quoted: String,
}

/// A column that comes back.
pub(super) struct Returned {
    pub(super) column: Column,
    pub(super) quoted: String,
    /// The type that the statement casts it to.
    pub(super) wire: String,
    /// The database makes it: it is not among the columns that are written.
    pub(super) made: bool,
    /// Does the input have a column of that name and type?
    pub(super) place: Option<usize>,
}

impl Plan {
    /// Compiles the keys; every mistake in them is recorded.
    pub(super) fn new(spec: Spec, context: &mut Context<'_>) -> Option<Plan> {
        let before = context.problems.iter().count();
        spec.url.check(context);
        let table = table(&spec.table, context);
        let columns = columns(&spec, context);
        let conflict = conflict(&spec, &columns, context);
        let returning = returning(&spec, &columns, context);
        combinations(&spec, context);
        let input = context.input().clone();
        let output = returning.iter().fold(input.clone(), |schema, returned| schema.with(returned.column.clone()));
        if context.problems.iter().count() > before {
            return None;
        }
        let copy = match spec.method {
            Method::Copy => true,
            Method::Insert => false,
            Method::Auto => spec.mode == WriteMode::Insert && returning.is_empty(),
        };
        let Spec { url, create, mode, retry, statement_timeout, .. } = spec;
        let table = table?;
        Some(Plan {
            url,
            table,
            create,
            columns,
            returning,
            mode,
            conflict,
            copy,
            retry,
            statement_timeout,
            input,
            output,
        })
    }

    /// Where the written columns lie in the input.
    pub(super) fn places(&self) -> Vec<usize> {
        self.columns.iter().map(|written| written.place).collect()
    }

    /// The input's columns, of which only those written are looked at.
    pub(super) fn input(&self) -> SchemaRef {
        self.input.arrow()
    }

    /// What `runner plan` says.
    pub(super) fn notes(&self) -> Vec<String> {
        let Retry { attempts, backoff, timeout } = &self.retry;
        let how = match (self.mode, self.copy) {
            (WriteMode::Insert, true) => "by COPY",
            (WriteMode::Insert, false) => "by INSERT",
            (WriteMode::Upsert, _) => "by INSERT, rows that are there are replaced",
            (WriteMode::Ignore, _) => "by INSERT, rows that are there stay",
        };
        let create = match self.create {
            Create::IfMissing => ", made where it is missing",
            Create::Never => "",
            Create::Replace => ", made anew",
        };
        let mut notes = vec![
            self.url.note(),
            format!("table `{}`{create}", self.table.written),
            format!("{how}, one connection per worker, one transaction per split"),
            format!(
                "{attempts} attempts, {timeout} to connect, {} for a statement, backoff {backoff} doubling",
                self.statement_timeout
            ),
        ];
        for Written { column, .. } in &self.columns {
            if holds_nanoseconds(&column.column_type) {
                notes.push(format!("`{}` is stored to the microsecond", column.name));
            }
        }
        notes
    }
}

fn holds_nanoseconds(column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::List(item) => holds_nanoseconds(item),
        other => *other == ColumnType::TimestampNs,
    }
}

fn table(text: &str, context: &mut Context<'_>) -> Option<TableName> {
    match TableName::parse(text) {
        Ok(table) => Some(table),
        Err(message) => {
            if is_known(context.table, "table") {
                context.problem("table", "table", message);
            }
            None
        }
    }
}

fn item_problem(
    context: &mut Context<'_>,
    key: &str,
    i: usize,
    code: &'static str,
    message: String,
    help: Option<String>,
) {
    let place = Place::value(at(context, key).index(i));
    context.problems.push(Problem::new(code, place, message).help(help));
}

fn at(context: &Context<'_>, key: &str) -> Path {
    context.path.key(key)
}

/// The columns that are written.
fn columns(spec: &Spec, context: &mut Context<'_>) -> Vec<Written> {
    let input = context.input().clone();
    let all: Vec<String> = input.columns().iter().map(|column| column.name.clone()).collect();
    let given = spec.columns.is_some();
    let names = spec.columns.as_ref().unwrap_or(&all);
    if names.is_empty() {
        context.problem("columns", "columns", "no column is written");
    }
    let mut written: Vec<Written> = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let key = if given { "columns" } else { "input" };
        let place = if given { at(context, key).index(i) } else { at(context, key) };
        let found = input.find(name).ok_or_else(|| {
            let help = nearest(name, all.iter().map(String::as_str));
            (format!("the input has no column `{name}`"), help)
        });
        let twice = written.iter().any(|other| other.column.name == *name);
        let wrong = match (found, quoted(name)) {
            (Err((message, help)), _) => (message, help),
            (Ok(_), Err(message)) => (message, None),
            (Ok(_), _) if twice => (format!("column `{name}` is named twice"), None),
            (Ok((place, column)), Ok(quoted)) => {
                written.push(Written { place, column: column.clone(), quoted });
                continue;
            }
        };
        context.problems.push(Problem::new("columns", Place::value(place), wrong.0).help(wrong.1));
    }
    written
}

/// The columns that tell whether a row is there already, as places among those written.
fn conflict(spec: &Spec, columns: &[Written], context: &mut Context<'_>) -> Vec<usize> {
    let mut places = Vec::new();
    for (i, name) in spec.conflict.iter().enumerate() {
        match columns.iter().position(|written| written.column.name == *name) {
            Some(place) if places.contains(&place) => {
                item_problem(context, "conflict", i, "columns", format!("column `{name}` is named twice"), None);
            }
            Some(place) => places.push(place),
            None => {
                let help = nearest(name, columns.iter().map(|written| written.column.name.as_str()));
                item_problem(context, "conflict", i, "columns", format!("column `{name}` is not written"), help);
            }
        }
    }
    places
}

/// The columns that come back.
fn returning(spec: &Spec, columns: &[Written], context: &mut Context<'_>) -> Vec<Returned> {
    let mut found: Vec<Returned> = Vec::new();
    for (i, text) in spec.returning.iter().enumerate() {
        match returned(text, columns, context.input()) {
            Ok(column) if found.iter().any(|other| other.column.name == column.column.name) => {
                let message = format!("column `{}` is named twice", column.column.name);
                item_problem(context, "returning", i, "columns", message, None);
            }
            Ok(column) => found.push(column),
            Err(message) => item_problem(context, "returning", i, "columns", message, None),
        }
    }
    let made: Vec<(usize, &Returned)> = found.iter().enumerate().filter(|(_, returned)| returned.made).collect();
    if spec.create != Create::Never {
        for (i, returned) in &made[1.min(made.len())..] {
            let message = format!("a table that is made here gives one id, not `{}` too", returned.column.name);
            item_problem(context, "returning", *i, "returning", message, None);
        }
        for (i, returned) in made.iter().take(1).filter(|(_, returned)| !returned.column.column_type.is_integer()) {
            let message = format!("a table that is made here gives integers, and `{}` is none", returned.column.name);
            item_problem(context, "returning", *i, "returning", message, None);
        }
    }
    found
}

/// One item of `returning`. Without a type, a column that is written has its own, and one that the database
/// makes is an `int64`.
fn returned(text: &str, columns: &[Written], input: &Schema) -> Result<Returned, String> {
    let (name, named_type) = match text.trim().split_once(char::is_whitespace) {
        Some((name, column_type)) => (name, Some(column_type)),
        None => (text.trim(), None),
    };
    let written = columns.iter().find(|written| written.column.name == name).map(|written| &written.column);
    let column_type = match (named_type, written) {
        (Some(named), _) => named.parse::<ColumnType>().map_err(|error| {
            let help = nearest(&error.unknown, ColumnType::names()).unwrap_or_default();
            format!("`{}` is no column type; {help}", error.unknown)
        })?,
        (None, Some(column)) => column.column_type.clone(),
        (None, None) => ColumnType::Int64,
    };
    let wire = wire_type(&column_type).ok_or_else(|| format!("`{column_type}` cannot come back; ask for `json`"))?;
    // What is written may be changed by the database, and what has a type of its own may be anything.
    let nullable = named_type.is_some() || written.is_some_and(|column| column.nullable);
    let made = written.is_none();
    let place = input.find(name).filter(|(_, column)| column.column_type == column_type).map(|(place, _)| place);
    let quoted = quoted(name)?;
    Ok(Returned { column: Column { name: name.to_owned(), column_type, nullable }, quoted, wire, made, place })
}

/// Records keys that do not go together.
fn combinations(spec: &Spec, context: &mut Context<'_>) {
    if spec.mode == WriteMode::Upsert && spec.conflict.is_empty() {
        let message = "missing key `conflict`: the columns that tell whether a row is there already";
        context.problems.push(Problem::new("missing-key", Place::key(context.path.clone()), message));
    }
    if spec.mode == WriteMode::Ignore && spec.conflict.is_empty() && !spec.returning.is_empty() {
        let message = "missing key `conflict`: rows that stay are found by it, for `returning`";
        context.problems.push(Problem::new("missing-key", Place::key(context.path.clone()), message));
    }
    if spec.mode == WriteMode::Insert && !spec.conflict.is_empty() {
        context.problem("conflict", "conflict", "`conflict` has no effect with `mode = \"insert\"`");
    }
    if spec.method == Method::Copy && (spec.mode != WriteMode::Insert || !spec.returning.is_empty()) {
        context.problem("method", "method", "`copy` can only insert, and gives nothing back");
    }
    if spec.retry.timeout.0.is_zero() {
        context.problem("retry.timeout", "value", "nothing is done within a `timeout` of 0");
    }
    if spec.statement_timeout.0.is_zero() {
        context.problem("statement_timeout", "value", "nothing is done within a `statement_timeout` of 0");
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
