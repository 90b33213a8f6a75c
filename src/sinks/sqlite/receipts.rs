//! Receipts of splits, in the database that the rows are in.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::super::table::{Layout, OLD_RECEIPTS, PartPlace, RECEIPTS, Receipts, taken_over};
use crate::{
    batch::RejectCode,
    failure::{Exit, Failure},
    receipt::Part,
    sqlite::{self, quote},
    stage::{Attempt, Inspection, Kept, OtherRun},
};

pub(super) const CONSTRAINT: RejectCode = RejectCode("constraint");
pub(super) const UNFIT: RejectCode = RejectCode("bad_value");

/// The reasons for rejects.
const CODES: &[RejectCode] = &[CONSTRAINT, UNFIT];

/// The table of receipts, and the run that keeps some there.
pub(super) struct Ledger {
    /// Its name, quoted.
    table: String,
    pub(super) receipts: Arc<Receipts>,
}

impl Ledger {
    /// Begins an attempt: from now on no other can commit. Finds out what earlier ones have committed, and whether they
    /// made the table that is written to.
    pub(super) fn open(
        connection: &Connection,
        path: &Path,
        attempt: Attempt,
        layout: &Layout,
    ) -> Result<(Ledger, bool), Failure> {
        let table = layout.receipts.as_ref().map_or_else(|| quote(RECEIPTS), |(_, table)| table.clone());
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} (ledger TEXT NOT NULL, run TEXT NOT NULL, sink TEXT NOT NULL, \
             split TEXT NOT NULL, worker INTEGER NOT NULL, part INTEGER NOT NULL, rows INTEGER NOT NULL, \
             answers BLOB NOT NULL, job TEXT, plan TEXT, target TEXT, owner TEXT, beat INTEGER, made INTEGER, \
             PRIMARY KEY (ledger, run, sink, split, worker, part))"
        );
        let begin = format!(
            "INSERT INTO {table} (ledger, run, sink, split, worker, part, rows, answers, job, plan, target, owner, beat) \
             VALUES (?1, ?2, ?3, '', 0, 0, 0, ?4, ?5, ?6, ?7, ?8, unixepoch()) \
             ON CONFLICT DO UPDATE SET owner = excluded.owner, beat = excluded.beat RETURNING made IS NOT NULL"
        );
        let splits = format!(
            "SELECT DISTINCT split, worker FROM {table} WHERE ledger = ?1 AND run = ?2 AND sink = ?3 AND split <> ''"
        );
        let Attempt { ledger, run, stage, job, plan, token, record, .. } = &attempt;
        let open = || -> rusqlite::Result<(bool, Vec<(String, u32)>)> {
            connection.execute_batch(&create)?;
            let marker = params![ledger, run, stage, &record[..], job, plan, layout.table, token];
            let made = connection.query_row(&begin, marker, |row| row.get(0))?;
            let stored = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?));
            let stored = query(connection, &splits, params![ledger, run, stage], stored)?;
            Ok((made, stored))
        };
        let (made, stored) = open().map_err(|error| failed(path, &error))?;
        let receipts = Arc::new(Receipts::new(attempt.clone(), stored.into_iter(), layout, CODES));
        Ok((Ledger { table, receipts }, made))
    }

    /// Notes that the table has been made, or found, for this run.
    pub(super) fn note_table(&self, connection: &Connection, path: &Path) -> Result<(), Failure> {
        let Attempt { ledger, run, stage, .. } = &self.receipts.attempt;
        let sql =
            format!("UPDATE {} SET made = 1 WHERE ledger = ?1 AND run = ?2 AND sink = ?3 AND split = ''", self.table);
        connection.execute(&sql, params![ledger, run, stage]).map(drop).map_err(|error| failed(path, &error))
    }

    /// Writes a part of a receipt in the transaction that is open, unless another attempt has begun.
    pub(super) fn note(
        &self,
        place: &PartPlace,
        part: &Part,
        connection: &Connection,
        path: &Path,
    ) -> Result<(), Failure> {
        let Attempt { ledger, run, stage, token, .. } = &self.receipts.attempt;
        let (table, PartPlace { split, worker, part: number }) = (&self.table, place);
        let run_cached = |sql: &str, values: &dyn Fn(&mut rusqlite::Statement<'_>) -> rusqlite::Result<usize>| {
            connection.prepare_cached(sql).and_then(|mut sql| values(&mut sql)).map_err(|error| failed(path, &error))
        };
        let beat = format!(
            "UPDATE {table} SET beat = unixepoch() WHERE ledger = ?1 AND run = ?2 AND sink = ?3 AND split = '' AND owner = ?4"
        );
        if run_cached(&beat, &|sql| sql.execute(params![ledger, run, stage, token]))? == 0 {
            return Err(taken_over(&self.receipts.attempt));
        }
        let note = format!(
            "INSERT INTO {table} (ledger, run, sink, split, worker, part, rows, answers) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        );
        let rows = part.accepted as i64;
        run_cached(&note, &|sql| sql.execute(params![ledger, run, stage, &**split, worker, number, rows, part.bytes]))
            .map(drop)
    }

    /// A part of a receipt.
    pub(super) fn load(
        &self,
        place: &PartPlace,
        connection: &Connection,
        path: &Path,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let Attempt { ledger, run, stage, .. } = &self.receipts.attempt;
        let sql = format!(
            "SELECT answers FROM {} WHERE ledger = ?1 AND run = ?2 AND sink = ?3 AND split = ?4 AND worker = ?5 AND part = ?6",
            self.table
        );
        let place = params![ledger, run, stage, &*place.split, place.worker, place.part];
        connection.query_row(&sql, place, |row| row.get(0)).optional().map_err(|error| failed(path, &error))
    }
}

/// What the database has of the run, and of others of the job.
pub(super) fn inspect(
    connection: &Connection,
    path: &Path,
    table: &str,
    attempt: &Attempt,
    layout: &Layout,
) -> Result<Inspection, Failure> {
    let look = || -> rusqlite::Result<Inspection> {
        let mut found = Inspection::default();
        if is_there(connection, table)? {
            found.run = kept(connection, table, attempt, layout)?;
            found.others = others(connection, table, attempt, layout)?;
        }
        if sqlite::real_name(connection, OLD_RECEIPTS)?.is_some() {
            found.others.extend(old(connection, attempt)?);
        }
        Ok(found)
    };
    let mut found = look().map_err(|error| failed(path, &error))?;
    if let Some(lost) = found.run.as_mut().and_then(|run| run.lost.as_mut()) {
        lost.push_str(&format!(" (database `{}`)", path.display()));
    }
    Ok(found)
}

/// Is there a table of that name, which is quoted?
fn is_there(connection: &Connection, quoted: &str) -> rusqlite::Result<bool> {
    let name = quoted.trim_matches('"').replace("\"\"", "\"");
    Ok(sqlite::real_name(connection, &name)?.is_some())
}

/// What there is of this run.
fn kept(connection: &Connection, table: &str, attempt: &Attempt, layout: &Layout) -> rusqlite::Result<Option<Kept>> {
    let own = params![attempt.ledger, attempt.run, attempt.stage];
    let sql = format!(
        "SELECT split, count(DISTINCT worker), sum(rows) FROM {table} \
         WHERE ledger = ?1 AND run = ?2 AND sink = ?3 GROUP BY split"
    );
    let splits: BTreeMap<String, (u32, u64)> =
        query(connection, &sql, own, |row| Ok((row.get(0)?, (row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs()))))?;
    if splits.is_empty() {
        return Ok(None);
    }
    let workers = if attempt.divided { attempt.workers } else { 1 };
    let numbers = attempt.splits.numbers();
    let whole = splits.iter().filter(|(_, (of, _))| *of >= workers);
    let stored = whole.filter_map(|(key, _)| numbers.get(key.as_str()).copied()).collect();
    let rows = splits.values().map(|(_, rows)| rows).sum();
    let lost = match (rows, sqlite::real_name(connection, &layout.table)?) {
        (0, _) => None,
        (_, None) => Some("is gone"),
        (_, Some(name)) => {
            let some = format!("SELECT EXISTS (SELECT 1 FROM {})", quote(&name));
            let some: bool = connection.query_row(&some, [], |row| row.get(0))?;
            (!some).then_some("is empty")
        }
    };
    let lost =
        lost.map(|how| format!("run {} has stored {rows} rows in table `{}`, which {how}", attempt.run, layout.table));
    Ok(Some(Kept { stored, rows, lost }))
}

/// Runs of the job other than this one.
fn others(connection: &Connection, table: &str, attempt: &Attempt, layout: &Layout) -> rusqlite::Result<Vec<OtherRun>> {
    let sql = format!(
        "SELECT ledger, run, max(0, unixepoch() - beat), answers, \
                (SELECT count(DISTINCT split) FROM {table} r \
                 WHERE r.ledger = m.ledger AND r.run = m.run AND r.sink = m.sink AND r.rows > 0) \
         FROM {table} m WHERE split = '' AND job = ?1 AND sink = ?2 AND lower(target) = lower(?3) \
                          AND NOT (ledger = ?4 AND run = ?5) ORDER BY ledger, run"
    );
    let own = params![attempt.job, attempt.stage, layout.table, attempt.ledger, attempt.run];
    query(connection, &sql, own, |row| {
        let silent = Duration::from_secs(row.get::<_, i64>(2)?.unsigned_abs());
        let splits = row.get::<_, i64>(4)?.unsigned_abs();
        Ok(OtherRun { ledger: row.get(0)?, run: row.get(1)?, splits, silent, record: row.get(3)? })
    })
}

/// Runs of the job that an earlier version of the program has not ended. It named jobs by the paths of their ledgers.
fn old(connection: &Connection, attempt: &Attempt) -> rusqlite::Result<Vec<OtherRun>> {
    let sql = format!(
        "SELECT job, run, count(DISTINCT split) FROM {OLD_RECEIPTS} WHERE sink = ?1 AND split >= 0 GROUP BY job, run"
    );
    let found: Vec<(String, String, i64)> =
        query(connection, &sql, params![attempt.stage], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(OtherRun::of_old_version(found, &attempt.job))
}

fn query<T, C: FromIterator<T>>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    of: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<C> {
    connection.prepare(sql)?.query_map(values, of)?.collect()
}

/// Removes the receipts of a sink of this ledger, and their table with the last of all.
pub(super) fn clear(connection: &Connection, path: &Path, table: &str, attempt: &Attempt) -> Result<(), Failure> {
    let clear = || {
        if !is_there(connection, table)? {
            return Ok(());
        }
        let own = format!("DELETE FROM {table} WHERE ledger = ?1 AND sink = ?2");
        connection.execute(&own, params![attempt.ledger, attempt.stage])?;
        let left = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        if !connection.query_row(&left, [], |row| row.get::<_, bool>(0))? {
            connection.execute_batch(&format!("DROP TABLE {table}"))?;
        }
        Ok(())
    };
    clear().map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &rusqlite::Error) -> Failure {
    sqlite::failure(path, "keep receipts in", error, Exit::Io)
}
