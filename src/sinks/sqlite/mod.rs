//! The `sqlite` sink: rows into a table of a SQLite database, a transaction per split.
//!
//! ```text
//! batch ─▶ parameters ─▶ INSERT of 32 rows ─▶ transaction ─▶ committed at the end of the split
//!                          │ refused?                              │
//!                          └─▶ row by row: rejects                 ▼
//!                               accepted rows, with what the database gave them, to the stages behind
//! ```
//!
//! Where the run can be resumed, a receipt of each split is committed with its rows, in a table `_runner_receipts`
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
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time,
};

use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    bind::Timestamps,
    database::{Journal, Member},
    receipts::Ledger,
    rehearse::Rehearsal,
    worker::Writer,
};
use super::table::{Create, Dialect, Keys, Layout, ReceiptsKey, Returning, TableWorker, WriteMode};
use crate::{
    batch::{Column, ColumnType},
    failure::{Exit, Failure},
    jobspec::{Duration, bounds},
    kind::{Compiled, Context, Kind, Order, Workers},
    sqlite::{self, quote},
    stage::{Attempt, Inspection, Mode, Sink, SinkProperties, SinkWorker},
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
    returning: Option<Vec<Returning>>,
    /// What becomes of a row that is there already.
    #[serde(default)]
    mode: WriteMode,
    /// The columns by which a row is found to be there already.
    conflict: Option<Vec<String>>,
    /// With `upsert` and `ignore`: must rows with equal keys be written in the order of the input? With `"any"`, rows
    /// after a split that could not be read are stored all the same.
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
    /// How values of type `timestamp` and `timestamp_ns` are written.
    #[serde(default)]
    timestamps: Timestamps,
    /// How the database keeps what is under way, so that a commit is there as a whole or not at all.
    #[serde(default)]
    journal_mode: Journal,
    /// How long another process that holds the file's lock is waited for.
    #[serde(default = "default_busy", deserialize_with = "bounds::wait")]
    busy_timeout: Duration,
}

fn default_busy() -> Duration {
    Duration(time::Duration::from_secs(5))
}

/// SQLite's names and types.
struct Sql;

impl Dialect for Sql {
    const NAME: &'static str = "SQLite";
    const FOLDS_CASE: bool = true;
    const KEYS: &'static str = "int64";
    const SCHEMAS: bool = false;

    fn quote(name: &str) -> Result<String, String> {
        if name.contains('\0') { Err("a column's name holds a NUL".to_owned()) } else { Ok(quote(name)) }
    }

    fn makes_key(column_type: &ColumnType) -> bool {
        *column_type == ColumnType::Int64
    }

    /// The column may have been declared to hold nulls, by whoever made the table.
    fn comes_back_null(_written: &Column) -> bool {
        true
    }
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Sink>> {
    let spec = context.decode::<SqliteSpec>()?;
    let before = context.problems.iter().count();
    check_names(&spec, context);
    let SqliteSpec { database, table, create, columns, returning, mode, conflict, order, receipts, .. } = spec;
    let SqliteSpec { journal_mode: journal, busy_timeout, timestamps, before: first, after, .. } = spec;
    let keys = Keys { table, create, columns, returning, mode, conflict, order, receipts, before: first, after };
    let layout = Layout::new::<Sql>(keys, context);
    if context.problems.iter().count() > before {
        return None;
    }
    let (output, notes) = (Some(layout.output.clone()), notes(&database, busy_timeout, &layout));
    let (database, layout) = (PathBuf::from(database), Arc::new(layout));
    let setup = Setup { database, journal, busy: busy_timeout.0, timestamps, layout };
    let workers = Workers::One("a database file has one writer");
    let stage = Box::new(Sqlite { setup: Arc::new(setup), attempt: Mutex::new(None) });
    Some(Compiled { stage, output, workers, notes })
}

fn check_names(spec: &SqliteSpec, context: &mut Context<'_>) {
    if context.knows("database") {
        match spec.database.as_str() {
            "" => context.problem("database", "database", "no file is named"),
            ":memory:" => {
                context.problem("database", "database", "`:memory:` is not a file: it would be gone with the run")
            }
            path if path.ends_with('/') || path.contains('\0') => {
                context.problem("database", "database", format!("`{}` names no file", path.replace('\0', "\\0")));
            }
            _ => {}
        }
    }
    if context.knows("table") {
        let table = &spec.table;
        if table.is_empty() || table.contains('\0') {
            context.problem("table", "table", "no table is named");
        } else if table.to_ascii_lowercase().starts_with("sqlite_") {
            context.problem("table", "table", format!("`{table}`: SQLite keeps names with `sqlite_` for itself"));
        }
    }
}

/// What `runner plan` says.
fn notes(database: &str, busy: Duration, layout: &Layout) -> Vec<String> {
    let mut notes = layout.notes(&format!(" of `{database}`"));
    let how = format!("one writer per database file; a transaction per split; waits {busy} for other processes");
    notes.insert(1, how);
    notes
}

/// What the sink's parts share.
#[derive(Debug)]
struct Setup {
    database: PathBuf,
    journal: Journal,
    busy: time::Duration,
    timestamps: Timestamps,
    layout: Arc<Layout>,
}

struct Sqlite {
    setup: Arc<Setup>,
    /// Where the run can be resumed.
    attempt: Mutex<Option<Attempt>>,
}

impl Sink for Sqlite {
    fn properties(&self) -> SinkProperties {
        let Setup { database, layout, .. } = &*self.setup;
        let mut table = database.clone().into_os_string();
        table.push(format!(".{}", layout.table));
        SinkProperties { targets: vec![table.into()], ..layout.guarantee().into() }
    }

    fn inspect(&self, attempt: &Attempt) -> Result<Inspection, Failure> {
        let Setup { database, busy, layout, .. } = &*self.setup;
        let Some((_, table)) = &layout.receipts else { return Ok(Inspection::default()) };
        let target = Some(format!("`{}`", database::real(database).display()));
        if !database.exists() {
            return Ok(Inspection { target, ..Inspection::default() });
        }
        let member = Member::open(database, *busy, false, Journal::Keep)?;
        let found = member.look(|connection, path| receipts::inspect(connection, path, table, attempt, layout))?;
        Ok(Inspection { target, ..found })
    }

    fn begin(&self, attempt: &Attempt) -> Result<(), Failure> {
        if self.setup.layout.receipts.is_some() {
            *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt.clone());
        }
        Ok(())
    }

    fn end(&self, attempt: &Attempt) -> Result<(), Failure> {
        let Setup { database, busy, layout, .. } = &*self.setup;
        let Some((_, table)) = layout.receipts.as_ref().filter(|_| database.exists()) else { return Ok(()) };
        let mut member = Member::open(database, *busy, false, Journal::Keep)?;
        member.within(|connection, path| receipts::clear(connection, path, table, attempt))?;
        member.finish()
    }

    fn after(&self) -> Result<(), Failure> {
        let Setup { database, busy, layout, .. } = &*self.setup;
        if layout.after.is_empty() {
            return Ok(());
        }
        let member = Member::open(database, *busy, false, Journal::Keep)?;
        layout.after.iter().try_for_each(|sql| {
            member.look(|connection, path| {
                let doing = format!("run the `after` statement `{sql}` on");
                connection.execute_batch(sql).map_err(|error| sqlite::failure(path, &doing, &error, Exit::Io))
            })
        })
    }

    fn worker(&self, mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        let setup = Arc::clone(&self.setup);
        if mode == Mode::Rehearse {
            return Ok(Box::new(Rehearsal::new(setup)));
        }
        let attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let create = setup.layout.create != Create::Never;
        let mut member = Member::open(&setup.database, setup.busy, create, setup.journal)?;
        // The table is made, or not, as a whole.
        let (ways, ledger) = member.within(|connection, path| {
            let found = attempt.map(|attempt| Ledger::open(connection, path, attempt, &setup.layout)).transpose()?;
            // What an earlier attempt has written stays.
            let made = found.as_ref().is_some_and(|(_, made)| *made);
            let ways = table::prepare(connection, path, &setup.layout, made)?;
            let ledger = found.map(|(ledger, _)| ledger);
            ledger.as_ref().map_or(Ok(()), |ledger| ledger.note_table(connection, path))?;
            Ok((ways, ledger))
        })?;
        member.finish()?;
        let layout = Arc::clone(&setup.layout);
        let receipts = ledger.as_ref().map(|ledger| (Arc::clone(&ledger.receipts), 0));
        let writer = Writer { setup, member: Some(member), ways, ledger, text: Vec::new() };
        Ok(Box::new(TableWorker::new(layout, writer, receipts)))
    }
}
