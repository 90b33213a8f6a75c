//! Receipts of splits, in the database that the rows are in.

use std::{collections::BTreeSet, path::Path};

use arrow_schema::SchemaRef;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Plan, database::Member, worker::CODES};
use crate::{
    batch::{Batch, Schema, SplitId},
    failure::{Exit, Failure},
    receipt::{Answers, Receipt, Recorder},
    sqlite,
    stage::Attempt,
};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS _runner_ledger (job TEXT NOT NULL, run TEXT NOT NULL, \
                      sink TEXT NOT NULL, split INTEGER NOT NULL, part INTEGER NOT NULL, answers BLOB NOT NULL, \
                      PRIMARY KEY (job, run, sink, split, part))";
const NOTE: &str = "INSERT INTO _runner_ledger (job, run, sink, split, part, answers) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const PART: &str =
    "SELECT answers FROM _runner_ledger WHERE job = ?1 AND run = ?2 AND sink = ?3 AND split = ?4 AND part = ?5";
const SPLITS: &str = "SELECT DISTINCT split FROM _runner_ledger WHERE job = ?1 AND run = ?2 AND sink = ?3";

/// In place of a split's number: the table has been made for this run.
const TABLE: i64 = -1;

/// The receipts of one sink in one run.
pub(super) struct Receipts {
    attempt: Attempt,
    /// Has an earlier attempt made the table?
    pub(super) table_made: bool,
    /// Splits that were committed by earlier attempts.
    stored: BTreeSet<u32>,
    schema: SchemaRef,
    at: Option<At>,
}

/// The split whose rows come.
struct At {
    split: SplitId,
    /// Rows that came so far.
    part: u32,
    way: Way,
}

enum Way {
    /// They are written, and the answers noted.
    Record(Recorder),
    /// They were written, and the answers are known.
    Replay(Receipt),
}

impl Receipts {
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
        let stored = splits.into_iter().filter_map(|split| u32::try_from(split).ok()).collect();
        let schema = Schema::new(plan.layout.returned.clone()).arrow();
        Ok(Receipts { attempt, table_made, stored, schema, at: None })
    }

    /// Notes that the table has been made, or found, for this run.
    pub(super) fn note_table(&self, connection: &Connection, path: &Path) -> Result<(), Failure> {
        if self.table_made { Ok(()) } else { self.write((TABLE, 0), &[], connection, path) }
    }

    pub(super) fn is_at(&self, split: SplitId) -> bool {
        self.at.as_ref().is_some_and(|at| at.split == split)
    }

    /// The rows that come now are of this split.
    pub(super) fn enter(&mut self, split: SplitId) {
        let way = match self.stored.contains(&split.0) {
            true => Way::Replay(Receipt::new(self.schema.clone(), CODES)),
            false => Way::Record(Recorder::new(self.schema.clone())),
        };
        self.at = Some(At { split, part: 0, way });
    }

    /// The answers for a batch, where it was committed before.
    pub(super) fn answers(&mut self, batch: &Batch, member: &Member) -> Result<Option<Answers>, Failure> {
        let Receipts { attempt, at: Some(At { split, way: Way::Replay(receipt), .. }), .. } = self else {
            return Ok(None);
        };
        let load = |part| member.look(|connection, path| load(attempt, *split, part, connection, path));
        receipt.answers(batch.rows(), load).map(Some).map_err(|failure| named(failure, attempt, *split))
    }

    /// Notes the answers for so many rows, in the transaction that they were written in.
    pub(super) fn note(
        &mut self,
        rows: usize,
        answers: &Answers,
        connection: &Connection,
        path: &Path,
    ) -> Result<(), Failure> {
        let Some(At { split, part, way: Way::Record(recorder) }) = &mut self.at else { return Ok(()) };
        let Some(full) = recorder.add(rows, &answers.refused, &answers.returned)? else { return Ok(()) };
        let place = (i64::from(split.0), *part);
        *part += 1;
        self.write(place, &full, connection, path)
    }

    /// The split has no more rows: the rest of its receipt goes into its transaction.
    pub(super) fn leave(&mut self, member: &mut Member) -> Result<(), Failure> {
        let Some(At { split, part, way }) = self.at.take() else { return Ok(()) };
        match way {
            Way::Record(mut recorder) => match recorder.part()? {
                Some(last) => {
                    member.within(|connection, path| self.write((i64::from(split.0), part), &last, connection, path))
                }
                None => Ok(()),
            },
            Way::Replay(receipt) => {
                let attempt = &self.attempt;
                let load = |part| member.look(|connection, path| load(attempt, split, part, connection, path));
                receipt.end(load).map_err(|failure| named(failure, attempt, split))
            }
        }
    }

    /// The split's rows are not kept, and no more.
    pub(super) fn give_up(&mut self) {
        self.at = None;
    }

    fn write(
        &self,
        (split, part): (i64, u32),
        answers: &[u8],
        connection: &Connection,
        path: &Path,
    ) -> Result<(), Failure> {
        let Attempt { job, run, stage, .. } = &self.attempt;
        let written = connection
            .prepare_cached(NOTE)
            .and_then(|mut note| note.execute(params![job, run, stage, split, part, answers]));
        written.map(drop).map_err(|error| failed(path, &error))
    }
}

fn load(
    Attempt { job, run, stage, .. }: &Attempt,
    split: SplitId,
    part: u32,
    connection: &Connection,
    path: &Path,
) -> Result<Option<Vec<u8>>, Failure> {
    let found = connection.query_row(PART, params![job, run, stage, split.0, part], |row| row.get(0)).optional();
    found.map_err(|error| failed(path, &error))
}

fn named(Failure { exit, message }: Failure, attempt: &Attempt, split: SplitId) -> Failure {
    Failure::new(exit, format!("split number {} for `{}`: {message}", split.0, attempt.stage))
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
