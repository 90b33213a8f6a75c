//! Receipts of splits, in a table `_runner_ledger` beside the one that is written to.

use std::sync::Arc;

use super::{
    super::table::{Place, Receipts},
    refuse::CODES,
    spec::Plan,
};
use crate::{
    failure::{Exit, Failure},
    postgres::{Server, Session, quoted},
    service::{ErrorClass, ServiceError},
    stage::Attempt,
};

/// In place of a split's number: the table has been made for this run.
const TABLE: i64 = -1;

/// The table that a sink's receipts are in.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Its name, quoted.
    table: String,
    pub(super) receipts: Arc<Receipts>,
}

/// A part of a receipt on its way into a transaction.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) place: Place,
    pub(super) answers: Vec<u8>,
}

/// The table of receipts beside the one that is written to.
fn table(plan: &Plan) -> Result<String, ServiceError> {
    let name = "\"_runner_ledger\"";
    let Some((schema, _)) = plan.table.written.split_once('.') else { return Ok(name.to_owned()) };
    let broken = |message| ServiceError::answer(ErrorClass::Permanent, message);
    Ok(format!("{}.{name}", quoted(schema).map_err(broken)?))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''").replace('\0', ""))
}

impl Ledger {
    /// Makes the table of receipts where it is missing, removes what other runs of the job have left in it, and finds
    /// out what earlier attempts at this one have committed.
    pub(super) fn open(plan: &Plan, attempt: Attempt, server: &Server, session: &Session) -> Result<Self, Failure> {
        let open = || -> Result<Ledger, ServiceError> {
            let table = table(plan)?;
            Ledger::make(&table, &attempt, session)?;
            let Attempt { job, run, stage, .. } = &attempt;
            session.ask(&format!("delete from {table} where job = $1 and run <> $2"), &[job, run])?;
            let sql = format!("select distinct split, lane from {table} where job = $1 and run = $2 and sink = $3");
            let rows = session.ask(&sql, &[job, run, stage])?;
            let stored = rows.iter().filter_map(|row| {
                let (split, worker): (i64, i32) = (row.get(0), row.get(1));
                Some((u32::try_from(split).ok()?, worker.unsigned_abs()))
            });
            let receipts = Arc::new(Receipts::new(attempt.clone(), stored, &plan.layout, CODES));
            Ok(Ledger { table, receipts })
        };
        open().map_err(|trouble| {
            let what = "cannot keep receipts in table `_runner_ledger`, without which no row is known to be there only once \
                        (`--no-ledger` goes without)";
            trouble.failure(Exit::CantCreate, &format!("{server}: {what}"))
        })
    }

    /// The table, with a row of this run in it: one with rows is not removed by others that end meanwhile.
    fn make(table: &str, Attempt { job, run, stage, .. }: &Attempt, session: &Session) -> Result<(), ServiceError> {
        const TRIES: usize = 5;
        let there = || -> Result<bool, ServiceError> {
            Ok(session.ask("select to_regclass($1) is not null", &[&table])?.iter().any(|row| row.get(0)))
        };
        let create = format!(
            "create table if not exists {table} (job text, run text, sink text, split bigint, lane integer, part integer, \
             answers bytea not null, primary key (job, run, sink, split, lane, part));"
        );
        // Number 1 of what is no split: `made` says whether the table that is written to was.
        let begun = format!(
            "insert into {table} values ({}, {}, {}, {TABLE}, 0, 1, '') on conflict do nothing",
            literal(job),
            literal(run),
            literal(stage)
        );
        let mut tries = 1;
        loop {
            let create = if there()? { "" } else { &create };
            match session.run(&format!("{create}{begun}")) {
                // Another run made it, or removed it, at the same time; or the server goes on with what a killed one
                // has asked for.
                Err(trouble)
                    if tries < TRIES && (trouble.is_there_already() || trouble.code.as_deref() == Some("42P01")) =>
                {
                    tries += 1;
                }
                made => return made,
            }
        }
    }

    /// Has an earlier attempt made the table that is written to?
    pub(super) fn table_made(&self, session: &Session) -> Result<bool, ServiceError> {
        let Attempt { job, run, stage, .. } = &self.receipts.attempt;
        let sql = format!(
            "select 1 from {} where job = $1 and run = $2 and sink = $3 and split = {TABLE} and part = 0",
            self.table
        );
        Ok(!session.ask(&sql, &[job, run, stage])?.is_empty())
    }

    /// A statement that notes, together with those before it, that the table has been made.
    pub(super) fn note_table(&self) -> String {
        let Attempt { job, run, stage, .. } = &self.receipts.attempt;
        let [job, run, stage] = [job, run, stage].map(|text| literal(text));
        format!("insert into {} values ({job}, {run}, {stage}, {TABLE}, 0, 0, '') on conflict do nothing", self.table)
    }

    /// A part of a receipt.
    pub(super) fn load(&self, place: Place, session: &Session) -> Result<Option<Vec<u8>>, ServiceError> {
        let Attempt { job, run, stage, .. } = &self.receipts.attempt;
        let sql = format!(
            "select answers from {} where job = $1 and run = $2 and sink = $3 and split = $4 and lane = $5 and part = $6",
            self.table
        );
        let (split, worker, part) = numbers(place);
        let found = session.ask(&sql, &[job, run, stage, &split, &worker, &part])?;
        Ok(found.first().map(|row| row.get(0)))
    }

    /// Writes parts in the transaction that is open.
    pub(super) fn write(&self, parts: &[Part], session: &Session) -> Result<(), ServiceError> {
        let Attempt { job, run, stage, .. } = &self.receipts.attempt;
        let sql = format!("insert into {} values ($1, $2, $3, $4, $5, $6, $7)", self.table);
        for Part { place, answers } in parts {
            let (split, worker, part) = numbers(*place);
            session.ask(&sql, &[job, run, stage, &split, &worker, &part, answers])?;
        }
        Ok(())
    }
}

/// A place as the table's columns have it.
fn numbers(Place { split, worker, part }: Place) -> (i64, i32, i32) {
    (i64::from(split.0), worker as i32, part as i32)
}

/// Removes the receipts of a sink, and their table with the last of them.
pub(super) fn clear(plan: &Plan, attempt: &Attempt, server: &Server) -> Result<(), Failure> {
    server.persist(|| {
        let session = server.try_connect()?;
        let table = table(plan)?;
        let there = session.ask("select to_regclass($1) is not null", &[&table])?;
        if !there.iter().any(|row| row.get(0)) {
            return Ok(());
        }
        let sql = format!("delete from {table} where job = $1 and sink = $2");
        session.ask(&sql, &[&attempt.job, &attempt.stage])?;
        // Whoever writes to it now needs it, and so does whoever has rows in it; who may not remove it leaves it.
        let drop = format!(
            "do $$ begin lock table {table} in access exclusive mode nowait; \
             if not exists (select 1 from {table}) then drop table {table}; end if; \
             exception when lock_not_available or insufficient_privilege or undefined_table then null; end $$"
        );
        session.run(&drop)
    })
}
