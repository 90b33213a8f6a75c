//! The `sqlite` source: a table, divided by ranges of its row numbers, or the answer to a query.
//!
//! Databases are opened for reading alone. A split is read in one go by one statement, so it is one state of
//! the database; two splits may show two states where another process writes in between.

mod reader;
#[cfg(test)]
mod tests;

use std::{
    num::NonZeroU64,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time,
};

use rusqlite::{Connection, OpenFlags};
use schemars::JsonSchema;
use serde::Deserialize;

use self::reader::Reader;
use super::ranges::Keys;
use crate::{
    batch::{Schema, SplitId},
    failure::{Exit, Failure},
    jobspec::{BatchSize, Duration, Problem, SpecLocation, bounds, nearest},
    kind::{Compiled, Context, Kind, Workers},
    sqlite::{self, TableColumn, quote, quoted},
    stage::{Detail, Repeats, Source, SourceProperties, SourceWorker, Split, SplitReader},
    values::columns::{self, ColumnSpec},
};

/// The `sqlite` source.
pub(super) const KIND: Kind<dyn Source> = Kind::new::<SqliteSpec>("sqlite", compile);

/// Reads a table of a SQLite database, or the answer to a query.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SqliteSpec {
    /// The database file.
    database: String,
    /// The table or view; either this or `query` is given.
    table: Option<String>,
    /// A query; its answer is one split.
    query: Option<String>,
    /// The columns that are read, found by their names.
    columns: Vec<ColumnSpec>,
    /// About so many rows make a split, where the table has row numbers and they have no gaps.
    #[serde(default = "default_split_rows")]
    split_rows: NonZeroU64,
    /// Nothing writes to the file while it is read: no lock is taken, nothing is looked for in a write-ahead log, and no
    /// file is made beside it, so that it may lie where nothing can be written.
    #[serde(default)]
    immutable: bool,
    /// How long another process that holds the file's lock is waited for.
    #[serde(default = "default_busy", deserialize_with = "bounds::wait")]
    busy_timeout: Duration,
}

fn default_busy() -> Duration {
    Duration(time::Duration::from_secs(5))
}

fn default_split_rows() -> NonZeroU64 {
    NonZeroU64::new(100_000).unwrap_or(NonZeroU64::MIN)
}

/// More splits than this are not listed: their ranges are made larger.
const MAX_SPLITS: u64 = 10_000;

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Source>> {
    let spec = context.decode::<SqliteSpec>()?;
    let before = context.problems.iter().count();
    let schema = columns::schema(&spec.columns, &context.path.key("columns"), context.problems);
    check(&spec, context);
    let schema = schema.filter(|_| context.problems.iter().count() == before)?;
    let (batch, max_record, busy) = (context.batch, context.max_record_bytes, spec.busy_timeout.0);
    let how = if spec.immutable { "taken for immutable" } else { "read-only" };
    let (input, note) = match (spec.table, spec.query) {
        (Some(table), _) => {
            let note = format!("table `{table}` of `{}`, {how}, about {} rows a split", spec.database, spec.split_rows);
            (Input::Table { name: table, split_rows: spec.split_rows.get() }, note)
        }
        (None, query) => {
            let order = "rows may come in another order when they are read again";
            (Input::Query(query?), format!("a query on `{}`, {how}, one split; {order}", spec.database))
        }
    };
    let database = PathBuf::from(spec.database);
    let immutable = spec.immutable;
    let setup =
        Setup { database, immutable, input, columns: spec.columns, schema: schema.clone(), batch, max_record, busy };
    let stage = Box::new(Sqlite(Arc::new(setup)));
    Some(Compiled { stage, output: Some(schema), workers: Workers::Threads, notes: vec![note] })
}

/// Records what is wrong with keys by themselves.
fn check(spec: &SqliteSpec, context: &mut Context<'_>) {
    if context.knows("database") && (spec.database.is_empty() || spec.database.contains('\0')) {
        context.problem("database", "database", "no file is named");
    }
    match (&spec.table, &spec.query) {
        (Some(_), Some(_)) => context.problem("query", "query", "a source reads a `table` or a `query`, not both"),
        (None, None) => {
            let place = SpecLocation::key(context.path.clone());
            let message = "what is to be read? A `table` or a `query` is needed";
            context.problems.push(Problem::new("query", place, message));
        }
        (None, Some(_)) if has_key(context, "split_rows") => {
            context.problem("split_rows", "query", "`split_rows` has no effect: a query is one split");
        }
        _ => {}
    }
    for (i, column) in spec.columns.iter().enumerate() {
        if column.separator.is_some() {
            let at = SpecLocation::value(context.path.key("columns").index(i));
            let message = format!("column `{}`: lists stand in SQLite as JSON, without a `separator`", column.name);
            context.problems.push(Problem::new("columns", at, message));
        }
    }
}

fn has_key(context: &Context<'_>, key: &str) -> bool {
    context.table.as_table().is_some_and(|table| table.contains_key(key))
}

/// What all workers share.
struct Setup {
    database: PathBuf,
    immutable: bool,
    input: Input,
    columns: Vec<ColumnSpec>,
    schema: Schema,
    batch: BatchSize,
    max_record: usize,
    busy: time::Duration,
}

/// What is read.
enum Input {
    Table { name: String, split_rows: u64 },
    Query(String),
}

struct Sqlite(Arc<Setup>);

impl Source for Sqlite {
    fn splits(&self) -> Result<Vec<Split>, Failure> {
        let setup = &self.0;
        let connection = setup.open()?;
        let whole = |name: String| vec![Split { name, detail: Detail::Whole }];
        let Input::Table { name, split_rows } = &setup.input else {
            // What is wrong with the query is known before the first row.
            setup.statement(&connection, &Detail::Whole)?;
            return Ok(whole("query".to_owned()));
        };
        let table = setup.table(&connection, name)?;
        let Some(key) = &table.key else { return Ok(whole(table.name)) };
        let ranges = setup.ranges(&connection, &table.name, key, *split_rows).map_err(|error| setup.failed(&error))?;
        match ranges.is_empty() {
            true => Ok(whole(table.name)),
            false => Ok(ranges.into_iter().map(|(start, end)| keys(&table.name, key, start, end)).collect()),
        }
    }

    /// The ranges are those that the run began with: rows that are new in one that was not read yet belong to this run,
    /// others to the next.
    fn splits_again(&self, stored: &[&Split], left: &[&Split]) -> Result<Vec<Split>, Failure> {
        let is_range = |split: &&&Split| matches!(split.detail, Detail::Keys { .. });
        match stored.iter().chain(left).all(|split| is_range(&split)) && !(stored.is_empty() && left.is_empty()) {
            true => Ok(left.iter().map(|split| (*split).clone()).collect()),
            false => self.splits(),
        }
    }

    /// A table is read by its row numbers.
    fn properties(&self) -> SourceProperties {
        let repeats = match self.0.input {
            Input::Table { .. } => Repeats::InOrder,
            Input::Query(_) => Repeats::AnyOrder,
        };
        SourceProperties { repeats, ..SourceProperties::default() }
    }

    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure> {
        Ok(Box::new(Worker { setup: Arc::clone(&self.0), connection: self.0.open()? }))
    }
}

fn keys(table: &str, key: &str, start: i64, end: i64) -> Split {
    Split { name: format!("{table}, {key} {start} to {end}"), detail: Detail::Keys { start, end } }
}

/// A table as it is.
struct Table {
    name: String,
    /// Its row numbers' name, where it has them.
    key: Option<String>,
    /// Its primary key, in order.
    primary: Vec<String>,
}

/// The URI of a file that nothing writes to, as SQLite takes it: see <https://www.sqlite.org/uri.html>.
fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}

impl Setup {
    fn open(&self) -> Result<Connection, Failure> {
        let path = self.database.as_path();
        // SQLite's own words do not say what is missing.
        let path = std::fs::canonicalize(path).map_err(|error| Failure::reading(path, &error))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = match self.immutable {
            true => Connection::open_with_flags(immutable(&path), flags | OpenFlags::SQLITE_OPEN_URI),
            false => Connection::open_with_flags(path, flags),
        };
        let connection = opened.map_err(|error| self.failed(&error))?;
        sqlite::prepare(&connection, self.busy).map_err(|error| self.failed(&error))?;
        Ok(connection)
    }

    /// The table of that name, which has all columns.
    fn table(&self, connection: &Connection, name: &str) -> Result<Table, Failure> {
        let found = sqlite::real_name(connection, name).map_err(|error| self.failed(&error))?;
        let Some(name) = found else {
            let tables = sqlite::tables(connection).map_err(|error| self.failed(&error))?;
            return Err(self.missing(&format!("there is no table `{name}`"), name, &tables));
        };
        let columns = sqlite::columns(connection, &name).map_err(|error| self.failed(&error))?;
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        self.check_columns(&format!("table `{name}`"), &names)?;
        let (_, has_rowids) = sqlite::traits(connection, &name).map_err(|error| self.failed(&error))?;
        let key = if has_rowids { row_number(&columns) } else { None };
        let mut primary: Vec<&TableColumn> = columns.iter().filter(|column| column.key > 0).collect();
        primary.sort_by_key(|column| column.key);
        let primary = primary.into_iter().map(|column| column.name.clone()).collect();
        Ok(Table { name, key, primary })
    }

    /// The ranges of row numbers that are the splits; none where there is no row. Rows are counted only where the
    /// numbers leave room for more than one split.
    fn ranges(
        &self,
        connection: &Connection,
        table: &str,
        key: &str,
        wanted: u64,
    ) -> rusqlite::Result<Vec<(i64, i64)>> {
        let (key, table) = (quote(key), quote(table));
        // One state of the database for all questions.
        let connection = connection.unchecked_transaction()?;
        let sql = format!("SELECT min({key}), max({key}) FROM {table}");
        let (Some(first), Some(last)) = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))? else {
            return Ok(Vec::new());
        };
        let span = Keys { first, last, rows: 0 }.span();
        if span <= u128::from(wanted) {
            return Ok(vec![(first, last)]);
        }
        let rows = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))?;
        let keys = Keys { first, last, rows: rows.unsigned_abs() };
        let rows = keys.rows_each(wanted, MAX_SPLITS);
        if keys.are_close() {
            return Ok(keys.even(rows).collect());
        }
        let mut statement = connection.prepare(&format!("SELECT {key} FROM {table} ORDER BY {key}"))?;
        let starts = statement.query_map([], |row| row.get(0))?.step_by(usize::try_from(rows).unwrap_or(usize::MAX));
        Ok(keys.at(starts.collect::<rusqlite::Result<_>>()?).collect())
    }

    fn check_columns(&self, what: &str, names: &[String]) -> Result<(), Failure> {
        let here = |spec: &&ColumnSpec| !names.iter().any(|name| name.eq_ignore_ascii_case(&spec.name));
        match self.columns.iter().find(here) {
            None => Ok(()),
            Some(ColumnSpec { name, .. }) => Err(self.missing(&format!("{what} has no column `{name}`"), name, names)),
        }
    }

    fn missing(&self, message: &str, name: &str, legal: &[String]) -> Failure {
        let help = nearest(name, legal.iter().map(String::as_str));
        let help = help.map_or_else(String::new, |help| format!("; {}", help.trim_end_matches('?')));
        Failure::new(Exit::InputMissing, format!("database `{}`: {message}{help}", self.database.display()))
    }

    /// The statement that reads a split, with its parameters bound, and where it has the columns.
    fn statement<'c>(
        &self,
        connection: &'c Connection,
        detail: &Detail,
    ) -> Result<(rusqlite::Statement<'c>, Vec<usize>), Failure> {
        let prepare = |sql: &str| connection.prepare(sql).map_err(|error| self.failed(&error));
        let name = match &self.input {
            Input::Query(query) => {
                let statement = prepare(query)?;
                let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
                self.check_columns("the query's answer", &names)?;
                let place = |spec: &ColumnSpec| names.iter().position(|name| name.eq_ignore_ascii_case(&spec.name));
                return Ok((statement, self.columns.iter().filter_map(place).collect()));
            }
            Input::Table { name, .. } => name,
        };
        let table = self.table(connection, name)?;
        let columns = quoted(self.columns.iter().map(|column| &column.name));
        let mut sql = format!("SELECT {columns} FROM {}", quote(&table.name));
        let places = (0..self.columns.len()).collect();
        let (Some(key), Detail::Keys { start, end }) = (&table.key, detail) else {
            // Without row numbers it is the primary key that gives the same order each time.
            if !table.primary.is_empty() {
                sql.push_str(&format!(" ORDER BY {}", quoted(&table.primary)));
            }
            return Ok((prepare(&sql)?, places));
        };
        sql.push_str(&format!(" WHERE {0} BETWEEN ?1 AND ?2 ORDER BY {0}", quote(key)));
        let mut statement = prepare(&sql)?;
        for (at, bound) in [(1, start), (2, end)] {
            statement.raw_bind_parameter(at, bound).map_err(|error| self.failed(&error))?;
        }
        Ok((statement, places))
    }

    fn failed(&self, error: &rusqlite::Error) -> Failure {
        let failure = sqlite::failure(&self.database, "read", error, Exit::Io);
        // Nothing is created here: a file that cannot be opened is one that cannot be read.
        if failure.exit == Exit::CantCreate { Failure { exit: Exit::Io, ..failure } } else { failure }
    }
}

/// The name by which row numbers can be asked for.
fn row_number(columns: &[TableColumn]) -> Option<String> {
    let free = |name: &&str| !columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    let hidden = || ["rowid", "_rowid_", "oid"].into_iter().find(free).map(str::to_owned);
    sqlite::row_key(columns).map(|key| key.name.clone()).or_else(hidden)
}

struct Worker {
    setup: Arc<Setup>,
    connection: Connection,
}

impl SourceWorker for Worker {
    fn open<'a>(&'a mut self, id: SplitId, split: &Split) -> Result<Box<dyn SplitReader + 'a>, Failure> {
        let (statement, places) = self.setup.statement(&self.connection, &split.detail)?;
        Ok(Box::new(Reader::new(&self.setup, statement, places, id)))
    }
}
