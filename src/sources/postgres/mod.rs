//! The `postgres` source: a table or the answer to a query, read in one transaction per split, a piece at a
//! time. With a `key` the rows are divided into ranges of it, which workers read on connections of their own.
//!
//! Each split sees the database as it is when the split is opened; rows that others change during the run may
//! be seen before or after the change.

mod reader;

use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;

use self::reader::Reader;
use super::ranges::Keys;
use crate::{
    batch::{Schema, SplitId},
    failure::{Exit, Failure},
    jobspec::{BatchSize, Duration, Problem, Retry, SpecLocation, bounds, nearest},
    kind::{Compiled, Context, Kind, Workers},
    postgres::{STATEMENT_TIMEOUT, Server, Session, TableName, Url, gives, quoted, wire_type},
    service::ServiceError,
    stage::{Detail, Repeats, Source, SourceProperties, SourceWorker, Split, SplitReader},
    values::columns::{self, ColumnSpec},
};

/// The kind `postgres`.
pub(super) const KIND: Kind<dyn Source> = Kind::new::<Spec>("postgres", compile);

/// Workers, and so connections, unless the spec says otherwise.
const WORKERS: usize = 2;

/// More splits than this are not listed: their ranges are made larger.
const MAX_SPLITS: u64 = 1_000_000;

/// Keys of a `postgres` source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Spec {
    /// The server and database.
    url: Url,
    /// The table, perhaps with its schema; or give a `query`.
    table: Option<String>,
    /// A `select` whose rows are read; or give a `table`.
    query: Option<String>,
    /// The columns that are read, by their names there.
    columns: Vec<ColumnSpec>,
    /// A column of whole numbers, never null, by whose ranges the rows are divided into splits.
    key: Option<String>,
    /// About how many rows a split has where there is a `key`.
    #[serde(default = "split_rows")]
    split_rows: u64,
    /// How often and how patiently a connection, and the opening of a split, are tried; `timeout` is of connecting.
    #[serde(default)]
    retry: Retry,
    /// Limit of one statement: to count and divide the rows, to fetch a piece of a split.
    #[serde(default = "statement_timeout", deserialize_with = "bounds::wait")]
    statement_timeout: Duration,
}

fn split_rows() -> u64 {
    100_000
}

fn statement_timeout() -> Duration {
    STATEMENT_TIMEOUT
}

/// What all workers share.
struct Setup {
    url: Url,
    /// What stands behind `from`.
    from: String,
    /// What people call it: `table `t``.
    name: String,
    columns: Vec<ColumnSpec>,
    schema: Schema,
    /// Quoted.
    key: Option<String>,
    split_rows: u64,
    retry: Retry,
    statement_timeout: Duration,
    batch: BatchSize,
    max_record: usize,
    /// Made when the splits are listed, or by the first worker.
    server: Mutex<Option<Arc<Server>>>,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Source>> {
    let spec: Spec = context.decode()?;
    let before = context.problems.iter().count();
    spec.url.check(context);
    let from = from(&spec, context);
    let schema = columns::schema(&spec.columns, &context.path.key("columns"), context.problems);
    check_columns(&spec, context);
    let key = key(&spec, context);
    context.limits(&[("retry.timeout", spec.retry.timeout), ("statement_timeout", spec.statement_timeout)]);
    if context.problems.iter().count() > before {
        return None;
    }
    let ((from, name), schema) = (from?, schema?);
    let divided = spec
        .key
        .as_ref()
        .map_or_else(|| "one split".to_owned(), |key| format!("splits of about {} rows by `{key}`", spec.split_rows));
    let order = match &spec.key {
        Some(key) => format!("rows with equal `{key}` may come in another order when they are read again"),
        None => "rows may come in another order when they are read again".to_owned(),
    };
    let notes = vec![spec.url.note(), format!("{name}, {divided}"), "one connection per worker".to_owned(), order];
    let (batch, max_record) = (context.batch, context.max_record_bytes);
    let Spec { url, columns, split_rows, retry, statement_timeout, .. } = spec;
    let output = Some(schema.clone());
    let server = Mutex::new(None);
    let setup = Setup {
        url,
        from,
        name,
        columns,
        schema,
        key,
        split_rows,
        retry,
        statement_timeout,
        batch,
        max_record,
        server,
    };
    // Without a key there is one split: one worker reads it, more would only connect.
    let workers = match setup.key {
        Some(_) => Workers::Default(WORKERS),
        None => Workers::One("without a `key` all is read in one go"),
    };
    Some(Compiled { stage: Box::new(Postgres { setup: Arc::new(setup) }), output, workers, notes })
}

/// What is read, as it stands behind `from`, and what people call it.
fn from(spec: &Spec, context: &mut Context<'_>) -> Option<(String, String)> {
    match (&spec.table, &spec.query) {
        (Some(text), None) => match TableName::parse(text) {
            Ok(table) => Some((format!("{} as q", table.quoted), format!("table `{}`", table.written))),
            Err(message) => {
                if context.knows("table") {
                    context.problem("table", "table", message);
                }
                None
            }
        },
        (None, Some(query)) => {
            let query = query.trim().trim_end_matches(';').trim_end();
            if query.is_empty() && context.knows("query") {
                context.problem("query", "query", "the query is empty");
            }
            // A line of its own ends a comment at the query's end.
            Some((format!("({query}\n) as q"), "a query".to_owned()))
        }
        (Some(_), Some(_)) => {
            context.problem("query", "query", "`table` and `query` exclude each other");
            None
        }
        (None, None) => {
            let place = SpecLocation::key(context.path.clone());
            context.problems.push(Problem::new("missing-key", place, "missing key `table`, or `query`"));
            None
        }
    }
}

/// Records what a database cannot give.
fn check_columns(spec: &Spec, context: &mut Context<'_>) {
    for (i, column) in spec.columns.iter().enumerate() {
        let name = &column.name;
        let wrong = match (wire_type(&column.column_type), quoted(name)) {
            (None, _) => Some(format!("column `{name}`: arrays of arrays are rectangles there; declare it as `json`")),
            (_, Err(message)) => Some(message),
            _ if column.separator.is_some() => Some(format!("column `{name}`: an array has no `separator`")),
            _ => None,
        };
        if let Some(message) = wrong {
            let place = SpecLocation::value(context.path.key("columns").index(i));
            context.problems.push(Problem::new("columns", place, message));
        }
    }
}

fn key(spec: &Spec, context: &mut Context<'_>) -> Option<String> {
    if spec.split_rows == 0 {
        context.problem("split_rows", "value", "a split has at least one row");
    }
    let written = context.table.as_table().is_some_and(|table| table.contains_key("split_rows"));
    if spec.key.is_none() && written {
        context.problem("split_rows", "split_rows", "`split_rows` has no effect without a `key`");
    }
    match quoted(spec.key.as_ref()?) {
        Ok(key) => Some(key),
        Err(message) => {
            context.problem("key", "key", message);
            None
        }
    }
}

impl Setup {
    fn server(&self) -> Result<Arc<Server>, Failure> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = &*server {
            return Ok(Arc::clone(server));
        }
        let made = Arc::new(Server::new(&self.url, &self.retry, self.statement_timeout, Exit::InputMissing)?);
        Ok(Arc::clone(server.insert(made)))
    }

    /// Are the columns there, and of the declared types?
    fn fits(&self, session: &Session) -> Result<Result<(), String>, ServiceError> {
        let all = session.prepare(&format!("select * from {} limit 0", self.from))?;
        let names = || all.columns().iter().map(|column| column.name());
        let find = |name: &str| {
            let found = all.columns().iter().find(|column| column.name() == name);
            found.ok_or_else(|| format!("there is no column `{name}`; {}", nearest(name, names()).unwrap_or_default()))
        };
        let check = || {
            for ColumnSpec { name, column_type, .. } in &self.columns {
                let theirs = find(name)?.type_();
                if !gives(theirs, column_type) {
                    return Err(format!("column `{name}` is `{theirs}` there, which is not read as `{column_type}`"));
                }
            }
            if let Some(key) = &self.key {
                let name = key.trim_matches('"').replace("\"\"", "\"");
                let theirs = find(&name)?.type_();
                if !matches!(theirs.name(), "int2" | "int4" | "int8") {
                    return Err(format!("`key` is a column of whole numbers, and `{name}` is `{theirs}`"));
                }
            }
            Ok(())
        };
        Ok(check())
    }

    /// The splits: ranges of the key in which about as many rows lie as a split is to have.
    fn divide(&self, session: &Session) -> Result<Result<Vec<Split>, String>, ServiceError> {
        let Some(key) = &self.key else {
            return Ok(Ok(vec![Split { name: self.name.clone(), detail: Detail::Whole }]));
        };
        let sql = format!(
            "select min(q.{key})::int8, max(q.{key})::int8, count(*), count(*) - count(q.{key}) from {}",
            self.from
        );
        let Some(row) = session.ask(&sql, &[])?.pop() else { return Ok(Ok(Vec::new())) };
        let (rows, nulls): (i64, i64) = (row.get(2), row.get(3));
        if nulls > 0 {
            return Ok(Err(format!("`key` {key} is null in {nulls} rows, which no split would have")));
        }
        let (Some(first), Some(last)) = (row.get::<_, Option<i64>>(0), row.get::<_, Option<i64>>(1)) else {
            return Ok(Ok(Vec::new()));
        };
        let keys = Keys { first, last, rows: rows.unsigned_abs() };
        let rows = keys.rows_each(self.split_rows, MAX_SPLITS);
        let split = |(start, end)| self.split(key, start, end);
        Ok(Ok(match keys.are_close() {
            true => keys.even(rows).map(split).collect(),
            false => keys.at(self.starts(session, key, rows)?).map(split).collect(),
        }))
    }

    /// The key of the first row, and of each that many rows further on.
    fn starts(&self, session: &Session, key: &str, rows: u64) -> Result<Vec<i64>, ServiceError> {
        let numbered =
            format!("select q.{key}::int8 as k, row_number() over (order by q.{key}) - 1 as n from {}", self.from);
        let sql = format!("select k from ({numbered}) r where n % {rows} = 0 order by k");
        Ok(session.ask(&sql, &[])?.iter().map(|row| row.get(0)).collect())
    }

    fn split(&self, key: &str, start: i64, end: i64) -> Split {
        Split { name: format!("{}, {key} {start} to {end}", self.name), detail: Detail::Keys { start, end } }
    }
}

struct Postgres {
    setup: Arc<Setup>,
}

impl Source for Postgres {
    fn splits(&self) -> Result<Vec<Split>, Failure> {
        let setup = &self.setup;
        let server = setup.server()?;
        let listed = server.persist(|| {
            let session = server.try_connect()?;
            session.begin("read only", "")?;
            match setup.fits(&session)? {
                Ok(()) => setup.divide(&session),
                Err(message) => Ok(Err(message)),
            }
        })?;
        listed.map_err(|why| Failure::new(Exit::InputMissing, format!("{server}: {}: {why}", setup.name)))
    }

    /// The ranges are those that the run began with: rows that are new in one that was not read yet belong to this run,
    /// others to the next.
    fn splits_again(&self, _stored: &[&Split], left: &[&Split]) -> Result<Vec<Split>, Failure> {
        match self.setup.key {
            Some(_) => Ok(left.iter().map(|split| (*split).clone()).collect()),
            None => self.splits(),
        }
    }

    fn properties(&self) -> SourceProperties {
        SourceProperties { repeats: Repeats::AnyOrder, ..SourceProperties::default() }
    }

    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure> {
        let (setup, server) = (Arc::clone(&self.setup), self.setup.server()?);
        Ok(Box::new(Worker { setup, server, session: None }))
    }
}

/// One thread's half: a connection, made for the first split.
struct Worker {
    setup: Arc<Setup>,
    server: Arc<Server>,
    session: Option<Session>,
}

impl Worker {
    /// A connection with a cursor over the rows of a split. Nothing has been read, so it may be tried again.
    fn declare(&mut self, split: &Split) -> Result<(), ServiceError> {
        let session = match self.session.take() {
            Some(session) if !session.is_closed() && session.run("rollback").is_ok() => session,
            _ => self.server.try_connect()?,
        };
        session.begin("read only", &format!("; declare rows no scroll cursor for {}", self.setup.select(split)))?;
        self.session = Some(session);
        Ok(())
    }
}

impl SourceWorker for Worker {
    fn open<'a>(&'a mut self, id: SplitId, split: &Split) -> Result<Box<dyn SplitReader + 'a>, Failure> {
        let server = Arc::clone(&self.server);
        server.persist(|| self.declare(split))?;
        let Worker { setup, server, session } = self;
        let session = session.as_ref().ok_or_else(|| Failure::new(Exit::Unavailable, "not connected"))?;
        Ok(Box::new(Reader::new(setup, server, session, id)))
    }
}

impl Setup {
    /// The statement that gives the rows of a split, each column in the form that is expected here.
    fn select(&self, split: &Split) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .filter_map(|column| Some(format!("q.{}::{}", quoted(&column.name).ok()?, wire_type(&column.column_type)?)))
            .collect();
        let range = match (&split.detail, &self.key) {
            (Detail::Keys { start, end }, Some(key)) => {
                format!(" where q.{key} >= {start} and q.{key} <= {end} order by q.{key}")
            }
            _ => String::new(),
        };
        format!("select {} from {}{range}", columns.join(", "), self.from)
    }
}

#[cfg(test)]
mod tests;
