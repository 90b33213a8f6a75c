//! The `sqlite` sink: rows into a table of a SQLite database, a transaction per split.
//!
//! ```text
//! batch ─▶ parameters ─▶ INSERT of 32 rows ─▶ transaction ─▶ committed at the end of the split
//!                          │ refused?                              │
//!                          └─▶ row by row: rejects                 ▼
//!                               accepted rows, with what the database gave them, to the stages behind
//! ```
//!
//! Where the run can be gone on with, a receipt of each split is committed with its rows, in a table `_runner_ledger`
//! of the same database (`receipts`). A split whose receipt is there is not written again: its rows go to the stages
//! behind as the database gave them back the first time. The table goes when the run is over.
//!
//! A database file has one writer at a time. Sinks on one file share a connection and take turns; other
//! processes are waited for.

mod bind;
mod database;
mod receipts;
mod rehearse;
mod statement;
mod table;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time,
};

use schemars::{JsonSchema, Schema as JsonSchemaText, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use self::{database::Member, receipts::Receipts, rehearse::Rehearsal, worker::Writer};
use crate::{
    batch::{Column, ColumnType, Schema},
    failure::Failure,
    jobspec::{Duration, Place, Problem, Value, bounds, nearest},
    kind::{Compiled, Context, Kind, Workers},
    sqlite::ticked,
    stage::{Attempt, Delivery, Mode, Sink, SinkWorker},
};

/// The `sqlite` sink.
pub(super) const KIND: Kind<dyn Sink> = Kind::new::<SqliteSpec>("sqlite", compile);

/// Writes to a table of a SQLite database.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SqliteSpec {
    /// The database file.
    database: String,
    /// The table.
    table: String,
    /// What becomes of the table before the first row.
    #[serde(default)]
    create: Create,
    /// The columns of the input that are written; all of them unless given.
    columns: Option<Vec<String>>,
    /// The columns that the database gives back, as a name or "name type". A name alone that is not among
    /// `columns` is a key that the database makes, an `int64`.
    returning: Option<Vec<Returned>>,
    /// What becomes of a row that is there already.
    #[serde(default)]
    mode: WriteMode,
    /// The columns by which a row is found to be there already.
    conflict: Option<Vec<String>>,
    /// How long another process that holds the file's lock is waited for.
    #[serde(default = "default_busy", deserialize_with = "bounds::wait")]
    busy_timeout: Duration,
}

/// What becomes of the table before the first row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SqliteCreate")]
enum Create {
    /// It is made if it is not there.
    #[default]
    IfMissing,
    /// It must be there, and so must the database.
    Never,
    /// It is dropped and made anew.
    Replace,
}

/// What becomes of a row that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SqliteWrite")]
enum WriteMode {
    /// It is a reject.
    #[default]
    Insert,
    /// It takes the values of the new one.
    Upsert,
    /// It stays as it is, and counts as stored.
    Ignore,
}

fn default_busy() -> Duration {
    Duration(time::Duration::from_secs(5))
}

/// A column that the database gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Returned {
    name: String,
    column_type: Option<ColumnType>,
}

impl<'de> Deserialize<'de> for Returned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ReturnedVisitor)
    }
}

struct ReturnedVisitor;

impl Visitor<'_> for ReturnedVisitor {
    type Value = Returned;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column, as a name or \"name type\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Returned, E> {
        let Some((name, column_type)) = text.trim().split_once(char::is_whitespace) else {
            return Ok(Returned { name: text.trim().to_owned(), column_type: None });
        };
        let parsed = column_type.parse::<ColumnType>().map_err(|error| {
            let help = nearest(&error.unknown, ColumnType::names().chain(["list<T>"]));
            E::custom(format!("`{}` is no column type; {}", error.unknown, help.unwrap_or_default()))
        })?;
        Ok(Returned { name: name.to_owned(), column_type: Some(parsed) })
    }

    /// Stands for a value that is not known while a spec is only checked.
    fn visit_unit<E: de::Error>(self) -> Result<Returned, E> {
        Ok(Returned { name: String::new(), column_type: None })
    }
}

impl JsonSchema for Returned {
    fn schema_name() -> Cow<'static, str> {
        "ReturnedColumn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaText {
        json_schema!({ "type": "string", "minLength": 1, "description": "A column, as a name or \"name type\"." })
    }
}

/// What is written where.
#[derive(Debug)]
struct Layout {
    table: String,
    create: Create,
    mode: WriteMode,
    /// The columns by which a row is found to be there already, and their places in the input.
    conflict: Vec<String>,
    conflict_places: Vec<usize>,
    /// The columns that are written, and their places in the input.
    written: Vec<Column>,
    places: Vec<usize>,
    returned: Vec<Column>,
}

/// How rows can be written to the table, once it has been seen.
struct Ways {
    /// The table, as the database spells it.
    table: String,
    /// What is given back is the key of the row inserted last.
    by_row_key: bool,
    /// Many rows may go in one statement.
    several: bool,
}

impl Layout {
    /// The column that a new table makes keys for.
    fn made_by_database(&self) -> Option<&Column> {
        self.returned.iter().find(|column| !self.written.iter().any(|w| w.name == column.name))
    }
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Sink>> {
    let spec = context.decode::<SqliteSpec>()?;
    let before = context.problems.iter().count();
    check_names(&spec, context);
    let layout = Layout::of(&spec, context);
    check_mode(&spec, context);
    check_new_table(&spec, &layout, context);
    if context.problems.iter().count() > before {
        return None;
    }
    let output = layout.returned.iter().fold(context.input().clone(), |schema, column| schema.with(column.clone()));
    let notes = notes(&spec, &layout);
    let plan =
        Plan { database: PathBuf::from(spec.database), busy: spec.busy_timeout.0, layout, output: output.clone() };
    let workers = Workers::One("a database file has one writer");
    Some(Compiled {
        stage: Box::new(Sqlite { plan: Arc::new(plan), attempt: Mutex::new(None) }),
        output: Some(output),
        workers,
        notes,
    })
}

/// Is the value at a key known? While a spec is only checked, one from the environment may not be.
fn is_known(context: &Context<'_>, key: &str) -> bool {
    context.table.as_table().is_none_or(|table| table.get(key) != Some(&Value::Unknown))
}

fn check_names(spec: &SqliteSpec, context: &mut Context<'_>) {
    if is_known(context, "database") {
        match spec.database.as_str() {
            "" => context.problem("database", "database", "no file is named"),
            ":memory:" => {
                context.problem("database", "database", "`:memory:` is no file: it would be gone with the run")
            }
            path if path.ends_with('/') || path.contains('\0') => {
                context.problem("database", "database", format!("`{}` names no file", path.replace('\0', "\\0")));
            }
            _ => {}
        }
    }
    if is_known(context, "table") {
        let table = &spec.table;
        if table.is_empty() || table.contains('\0') {
            context.problem("table", "table", "no table is named");
        } else if table.to_ascii_lowercase().starts_with("sqlite_") {
            context.problem("table", "table", format!("`{table}`: SQLite keeps names with `sqlite_` for itself"));
        }
    }
}

impl Layout {
    /// The columns by their roles; those that are not there are recorded.
    fn of(spec: &SqliteSpec, context: &mut Context<'_>) -> Layout {
        let input = context.input().clone();
        let all: Vec<String> = input.columns().iter().map(|column| column.name.clone()).collect();
        let places = match &spec.columns {
            Some(names) => places(names, &all, "columns", "the input has no column", context),
            None => (0..all.len()).collect(),
        };
        let written: Vec<Column> = places.iter().map(|place| input.columns()[*place].clone()).collect();
        let names: Vec<String> = written.iter().map(|column| column.name.clone()).collect();
        let conflict: Vec<String> = spec.conflict.clone().unwrap_or_default();
        let found = places_of_conflict(spec, &names, context);
        let conflict_places = found.iter().map(|at| places[*at]).collect();
        let returned = spec.returning.iter().flatten().map(|returned| {
            let known = written.iter().find(|column| column.name == returned.name);
            let column_type = returned.column_type.as_ref().or(known.map(|column| &column.column_type));
            // A key that the database makes is there; anything else may be null.
            let nullable = column_type.is_some();
            let column_type = column_type.cloned().unwrap_or(ColumnType::Int64);
            Column { name: returned.name.clone(), column_type, nullable }
        });
        let returned = returned.collect();
        check_returning(spec, context);
        let (table, create, mode) = (spec.table.clone(), spec.create, spec.mode);
        Layout { table, create, mode, conflict, conflict_places, written, places, returned }
    }
}

fn places_of_conflict(spec: &SqliteSpec, written: &[String], context: &mut Context<'_>) -> Vec<usize> {
    match &spec.conflict {
        Some(names) => places(names, written, "conflict", "nothing is written to a column", context),
        None => Vec::new(),
    }
}

/// The places of names among others; what is missing, double or nothing at all is recorded.
fn places(names: &[String], among: &[String], key: &str, missing: &str, context: &mut Context<'_>) -> Vec<usize> {
    if names.is_empty() {
        context.problem(key, "columns", format!("`{key}` names no column"));
    }
    let mut found = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let at = Place::value(context.path.key(key).index(i));
        if names[..i].contains(name) {
            context.problems.push(Problem::new("columns", at, format!("column `{name}` is named twice")));
            continue;
        }
        match among.iter().position(|other| other == name) {
            Some(place) => found.push(place),
            None => {
                let help = nearest(name, among.iter().map(String::as_str));
                context.problems.push(Problem::new("columns", at, format!("{missing} `{name}`")).help(help));
            }
        }
    }
    found
}

fn check_returning(spec: &SqliteSpec, context: &mut Context<'_>) {
    let Some(returning) = &spec.returning else { return };
    if returning.is_empty() {
        context.problem("returning", "columns", "`returning` names no column");
    }
    for (i, returned) in returning.iter().enumerate() {
        let name = &returned.name;
        let message = match name.is_empty() {
            true if is_known(context, "returning") => "no column is named".to_owned(),
            false if returning[..i].iter().any(|other| other.name == *name) => {
                format!("column `{name}` is named twice")
            }
            _ => continue,
        };
        let at = Place::value(context.path.key("returning").index(i));
        context.problems.push(Problem::new("columns", at, message));
    }
}

fn check_mode(spec: &SqliteSpec, context: &mut Context<'_>) {
    match (spec.mode, &spec.conflict) {
        (WriteMode::Upsert, None) => {
            let message = "an upsert needs `conflict`: the columns by which a row is found to be there already";
            context.problem("mode", "conflict", message);
        }
        (WriteMode::Ignore, None) if spec.returning.is_some() => {
            let message = "to give back rows that were there already, `conflict` must name the columns that find them";
            context.problem("mode", "conflict", message);
        }
        (WriteMode::Insert, Some(_)) if spec.create == Create::Never => {
            context.problem("conflict", "conflict", "`conflict` has no effect: rows are only inserted");
        }
        _ => {}
    }
}

/// What a table that the sink makes itself cannot be.
fn check_new_table(spec: &SqliteSpec, layout: &Layout, context: &mut Context<'_>) {
    if spec.create == Create::Never {
        return;
    }
    let key = if spec.columns.is_some() { "columns" } else { "table" };
    let mut seen = HashSet::new();
    for column in layout.written.iter().chain(layout.made_by_database()) {
        if !seen.insert(column.name.to_ascii_lowercase()) {
            let message = format!("column `{}` is there twice: SQLite takes `A` and `a` for one name", column.name);
            context.problem(key, "columns", message);
        }
        if column.name.contains('\0') {
            context.problem(key, "columns", "a column's name holds a NUL");
        }
    }
    let mut made: Vec<&Column> = Vec::new();
    for column in &layout.returned {
        if !layout.written.iter().chain(made.iter().copied()).any(|other| other.name == column.name) {
            made.push(column);
        }
    }
    if let [_, _, ..] = made[..] {
        let names = ticked(made.iter().map(|column| &column.name));
        context.problem("returning", "columns", format!("a new table can make one column itself, not {names}"));
    } else if let Some(column) = made.iter().find(|column| column.column_type != ColumnType::Int64) {
        let message = format!("a new table makes keys of type int64; `{}` is a {}", column.name, column.column_type);
        context.problem("returning", "columns", message);
    }
}

/// What `runner plan` says.
fn notes(spec: &SqliteSpec, layout: &Layout) -> Vec<String> {
    let by = || ticked(&layout.conflict);
    let verb = match layout.mode {
        WriteMode::Insert => "insert into".to_owned(),
        WriteMode::Upsert => format!("upsert by {} into", by()),
        WriteMode::Ignore if layout.conflict.is_empty() => "insert, unless it is there, into".to_owned(),
        WriteMode::Ignore => format!("insert, unless it is there by {}, into", by()),
    };
    let create = match layout.create {
        Create::IfMissing => "made if missing",
        Create::Never => "which must be there",
        Create::Replace => "made anew",
    };
    let mut notes = vec![
        format!("{verb} table `{}` of `{}`, {create}: {}", layout.table, spec.database, table::described(layout)),
        format!(
            "one writer per database file; a transaction per split; waits {} for other processes",
            spec.busy_timeout
        ),
    ];
    if !layout.returned.is_empty() {
        notes.push(format!("the database gives back {}", ticked(layout.returned.iter().map(|column| &column.name))));
    }
    notes
}

/// What the sink's parts share.
#[derive(Debug)]
struct Plan {
    database: PathBuf,
    busy: time::Duration,
    layout: Layout,
    output: Schema,
}

struct Sqlite {
    plan: Arc<Plan>,
    /// Where the run can be gone on with.
    attempt: Mutex<Option<Attempt>>,
}

impl Sink for Sqlite {
    fn delivery(&self) -> Delivery {
        Delivery::Ordered
    }

    fn by_split(&self) -> bool {
        true
    }

    fn needs_order(&self) -> bool {
        self.plan.layout.mode != WriteMode::Insert
    }

    fn begin(&self, attempt: &Attempt) -> Result<(), Failure> {
        *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt.clone());
        Ok(())
    }

    fn end(&self, attempt: &Attempt) -> Result<(), Failure> {
        let Plan { database, busy, .. } = &*self.plan;
        if !database.exists() {
            return Ok(());
        }
        let mut member = Member::open(database, *busy, false)?;
        member.within(|connection, path| receipts::clear(connection, path, attempt))?;
        member.finish()
    }

    fn worker(&self, mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        let plan = Arc::clone(&self.plan);
        if mode == Mode::Rehearse {
            return Ok(Box::new(Rehearsal::new(plan)));
        }
        let attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut member = Member::open(&plan.database, plan.busy, plan.layout.create != Create::Never)?;
        // The table is made, or not, as a whole.
        let (ways, receipts) = member.within(|connection, path| {
            let receipts = attempt.map(|attempt| Receipts::open(connection, path, attempt, &plan)).transpose()?;
            // What an earlier attempt has written stays.
            let made = receipts.as_ref().is_some_and(|receipts| receipts.table_made);
            let ways = table::prepare(connection, path, &plan.layout, made)?;
            receipts.as_ref().map_or(Ok(()), |receipts| receipts.note_table(connection, path))?;
            Ok((ways, receipts))
        })?;
        member.finish()?;
        Ok(Box::new(Writer { plan, member: Some(member), ways, receipts, text: Vec::new() }))
    }
}
