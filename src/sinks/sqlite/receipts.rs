//! Receipts of splits, in the database that the rows are in.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::table::{Place, Receipts},
    Plan,
};
use crate::{
    batch::RejectCode,
    failure::{Exit, Failure},
    sqlite,
    stage::Attempt,
};

pub(super) const CONSTRAINT: RejectCode = RejectCode("constraint");
pub(super) const UNFIT: RejectCode = RejectCode("bad_value");

/// The reasons for rejects.
const CODES: &[RejectCode] = &[CONSTRAINT, UNFIT];

const CREATE: &str = "CREATE TABLE IF NOT EXISTS _runner_ledger (job TEXT NOT NULL, run TEXT NOT NULL, \
                      sink TEXT NOT NULL, split INTEGER NOT NULL, part INTEGER NOT NULL, answers BLOB NOT NULL, \
                      PRIMARY KEY (job, run, sink, split, part))";
const NOTE: &str = "INSERT INTO _runner_ledger (job, run, sink, split, part, answers) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const PART: &str =
    "SELECT answers FROM _runner_ledger WHERE job = ?1 AND run = ?2 AND sink = ?3 AND split = ?4 AND part = ?5";
const SPLITS: &str = "SELECT DISTINCT split FROM _runner_ledger WHERE job = ?1 AND run = ?2 AND sink = ?3";

/// In place of a split's number: the table has been made for this run.
const TABLE: i64 = -1;

/// What the database has of a run.
pub(super) struct Found {
    pub(super) receipts: Arc<Receipts>,
    /// Has an earlier attempt made the table?
    pub(super) table_made: bool,
}

impl Found {
    /// Finds out what earlier attempts of the run have committed; what other runs of the job have left goes.
    pub(super) fn open(connection: &Connection, path: &Path, attempt: Attempt, plan: &Plan) -> Result<Self, Failure> {
        let Attempt { job, run, stage, .. } = &attempt;
        let open = || -> rusqlite::Result<BTreeSet<i64>> {
            connection.execute_batch(CREATE)?;
            let others = "DELETE FROM _runner_ledger WHERE job = ?1 AND run <> ?2";
            connection.execute(others, params![job, run])?;
            connection.prepare(SPLITS)?.query_map(params![job, run, stage], |row| row.get(0))?.collect()
        };
        let mut splits = open().map_err(|error| failed(path, &error))?;
        let table_made = splits.remove(&TABLE);
        let stored = splits.into_iter().filter_map(|split| Some((u32::try_from(split).ok()?, 0)));
        let receipts = Arc::new(Receipts::new(attempt, stored, &plan.layout, CODES));
        Ok(Found { receipts, table_made })
    }

    /// Notes that the table has been made, or found, for this run.
    pub(super) fn note_table(&self, connection: &Connection, path: &Path) -> Result<(), Failure> {
        if self.table_made {
            return Ok(());
        }
        write(&self.receipts.attempt, (TABLE, 0), &[], connection, path)
    }
}

/// Writes a part of a receipt in the transaction that is open.
pub(super) fn note(
    receipts: &Receipts,
    Place { split, part, .. }: Place,
    answers: &[u8],
    connection: &Connection,
    path: &Path,
) -> Result<(), Failure> {
    write(&receipts.attempt, (i64::from(split.0), part), answers, connection, path)
}

fn write(
    Attempt { job, run, stage, .. }: &Attempt,
    (split, part): (i64, u32),
    answers: &[u8],
    connection: &Connection,
    path: &Path,
) -> Result<(), Failure> {
    let written = connection
        .prepare_cached(NOTE)
        .and_then(|mut note| note.execute(params![job, run, stage, split, part, answers]));
    written.map(drop).map_err(|error| failed(path, &error))
}

/// A part of a receipt.
pub(super) fn load(
    receipts: &Receipts,
    Place { split, part, .. }: Place,
    connection: &Connection,
    path: &Path,
) -> Result<Option<Vec<u8>>, Failure> {
    let Attempt { job, run, stage, .. } = &receipts.attempt;
    let found = connection.query_row(PART, params![job, run, stage, split.0, part], |row| row.get(0)).optional();
    found.map_err(|error| failed(path, &error))
}

/// Removes the receipts of a sink, and their table with the last of them.
pub(super) fn clear(connection: &Connection, path: &Path, attempt: &Attempt) -> Result<(), Failure> {
    let clear = || {
        if sqlite::real_name(connection, "_runner_ledger")?.is_none() {
            return Ok(());
        }
        let own = "DELETE FROM _runner_ledger WHERE job = ?1 AND sink = ?2";
        connection.execute(own, params![attempt.job, attempt.stage])?;
        let left = "SELECT EXISTS (SELECT 1 FROM _runner_ledger)";
        if !connection.query_row(left, [], |row| row.get::<_, bool>(0))? {
            connection.execute_batch("DROP TABLE _runner_ledger")?;
        }
        Ok(())
    };
    clear().map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &rusqlite::Error) -> Failure {
    sqlite::failure(path, "keep receipts in", error, Exit::Io)
}
