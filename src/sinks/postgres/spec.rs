//! The keys of a `postgres` sink, and what they compile to.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::table::{Create, Dialect, Keys, Layout, ReceiptsKey, Returning, WriteMode, Written};
use crate::{
    batch::{Column, ColumnType},
    expr,
    jobspec::{Duration, Retry, bounds},
    kind::{Context, Order, Workers},
    postgres::{STATEMENT_TIMEOUT, TableName, Url, quoted, wire_type},
};

/// Workers, and so connections, unless the spec says otherwise.
const WORKERS: usize = 2;

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
    returning: Option<Vec<Returning>>,
    /// What becomes of a row that is there already.
    #[serde(default)]
    mode: WriteMode,
    /// The columns that tell whether a row is there already; they need a unique index.
    conflict: Option<Vec<String>>,
    /// With `upsert` and `ignore`: must rows with equal keys be written in the order of the input? With `"any"` they go
    /// to whichever worker is free.
    order: Option<Order>,
    /// Where receipts of splits are kept.
    receipts: Option<ReceiptsKey>,
    /// SQL statements that are run once in a run before its first row, after the table was made or emptied, together in
    /// one transaction. With `receipts = "none"` every attempt runs them.
    #[serde(default)]
    before: Vec<String>,
    /// SQL statements that are run one by one when everything is stored. Where one fails, or the run is killed, the
    /// next attempt runs all of them again.
    #[serde(default)]
    after: Vec<String>,
    /// How rows are sent.
    #[serde(default)]
    method: Method,
    /// When constraints are checked that the table declares deferrable.
    #[serde(default)]
    constraints: Constraints,
    /// How often and how patiently a connection and a transaction are tried; `timeout` is of connecting.
    #[serde(default)]
    retry: Retry,
    /// Limit of one statement.
    #[serde(default = "statement_timeout", deserialize_with = "bounds::wait")]
    statement_timeout: Duration,
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

/// When constraints are checked that the table declares deferrable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Constraints {
    /// As the table declares them: those that are initially deferred when a split is committed. Where one is broken, the
    /// split's rows are written once more, each checked at once; those that break it are refused. Where that cannot be
    /// (the split is larger than 64 MiB, has `returning`, or is read by another stage), none of the split is stored.
    #[default]
    Declared,
    /// At every row, so that the rows that break one are refused, and the others stored.
    Immediate,
}

fn statement_timeout() -> Duration {
    STATEMENT_TIMEOUT
}

/// A compiled sink: what all of its workers read.
pub(super) struct Setup {
    pub(super) url: Url,
    pub(super) table: TableName,
    pub(super) layout: Arc<Layout>,
    /// The types that statements cast the columns that come back to.
    pub(super) wires: Vec<String>,
    pub(super) copy: bool,
    pub(super) constraints: Constraints,
    pub(super) retry: Retry,
    pub(super) statement_timeout: Duration,
}

/// PostgreSQL's names and types.
struct Sql;

impl Dialect for Sql {
    const NAME: &'static str = "PostgreSQL";
    const FOLDS_CASE: bool = false;
    const KEYS: &'static str = "int64, or another integer";
    const SCHEMAS: bool = true;

    fn quote(name: &str) -> Result<String, String> {
        quoted(name)
    }

    fn makes_key(column_type: &ColumnType) -> bool {
        column_type.is_integer()
    }

    fn gives(column_type: &ColumnType) -> Result<(), String> {
        wire_type(column_type).map(drop).ok_or_else(|| format!("`{column_type}` cannot come back; ask for `json`"))
    }

    /// What is written may be changed by the database, but not to a null where there was none.
    fn comes_back_null(written: &Column) -> bool {
        written.nullable
    }
}

impl Setup {
    /// Compiles the keys; every mistake in them is recorded.
    pub(super) fn new(spec: Spec, context: &mut Context<'_>) -> Option<Setup> {
        let before = context.problems.iter().count();
        spec.url.check(context);
        let table = table(&spec.table, context);
        combinations(&spec, context);
        let Spec { url, table: name, create, columns, returning, mode, conflict, order, receipts, .. } = spec;
        let Spec { before: first, after, .. } = spec;
        let keys =
            Keys { table: name, create, columns, returning, mode, conflict, order, receipts, before: first, after };
        let layout = Layout::new::<Sql>(keys, context);
        if context.problems.iter().count() > before {
            return None;
        }
        let copy = match spec.method {
            Method::Copy => true,
            Method::Insert => false,
            Method::Auto => mode == WriteMode::Insert && layout.returned.is_empty(),
        };
        let wires = layout.returned.iter().filter_map(|returned| wire_type(&returned.column.column_type)).collect();
        let Spec { retry, statement_timeout, constraints, .. } = spec;
        Some(Setup { url, table: table?, layout: Arc::new(layout), wires, copy, constraints, retry, statement_timeout })
    }

    /// How many workers there are, and what rows are divided among them by.
    pub(super) fn workers(&self, context: &mut Context<'_>) -> Workers {
        if !self.layout.ordered {
            return Workers::Default(WORKERS);
        }
        let key = self.divided_by().map(|(column, safe)| {
            let name = format!("\"{}\"", column.name.replace('"', "\"\""));
            (expr::compile(&name, context.input()).ok(), safe)
        });
        match key {
            Some((Some(key), true)) => Workers::Keyed(key, WORKERS),
            Some((Some(key), false)) => Workers::Keyed(key, 1),
            _ => Workers::One("rows that are equal to the database may differ here (`order = \"any\"` allows more)"),
        }
    }

    /// The column of `conflict` that rows are divided by where a row may take the place of another: both must come to
    /// one worker, so equal values of the table must have equal text here. Whether it is known before the table has
    /// been seen that they have: a column of text may be `citext` there, unless the table is made here.
    pub(super) fn divided_by(&self) -> Option<(&Column, bool)> {
        let made = self.layout.create == Create::Replace;
        let columns = || self.layout.conflicting().map(|written| &written.column);
        let exact = columns().filter(|column| text_is_exact(&column.column_type)).last();
        let text = || columns().filter(|column| column.column_type == ColumnType::String).last();
        exact.map(|column| (column, true)).or_else(|| text().map(|column| (column, made)))
    }

    /// What `runner plan` says.
    pub(super) fn notes(&self) -> Vec<String> {
        let how = if self.copy { "by COPY" } else { "by INSERT" };
        let mut notes = vec![self.url.note()];
        notes.extend(self.layout.notes(""));
        notes.extend([
            format!("{how}, one connection per worker, one transaction per split"),
            self.retry
                .note(&format!("of {} to connect, {} for a statement", self.retry.timeout, self.statement_timeout)),
        ]);
        if self.constraints == Constraints::Immediate {
            notes.push("deferrable constraints are checked at every row".to_owned());
        }
        for Written { column, .. } in &self.layout.columns {
            if holds_nanoseconds(&column.column_type) {
                notes.push(format!("`{}` is stored to the microsecond", column.name));
            }
        }
        notes
    }
}

/// Do equal values of a column in the database, whatever type takes ours there, have equal text here?
fn text_is_exact(column_type: &ColumnType) -> bool {
    column_type.is_integer() || matches!(column_type, ColumnType::Bool | ColumnType::Date | ColumnType::Timestamp)
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
            if context.knows("table") {
                context.problem("table", "table", message);
            }
            None
        }
    }
}

/// Records keys that do not go together.
fn combinations(spec: &Spec, context: &mut Context<'_>) {
    if spec.method == Method::Copy && (spec.mode != WriteMode::Insert || spec.returning.is_some()) {
        context.problem("method", "method", "`copy` can only insert, and gives nothing back");
    }
    context.limits(&[("retry.timeout", spec.retry.timeout), ("statement_timeout", spec.statement_timeout)]);
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
