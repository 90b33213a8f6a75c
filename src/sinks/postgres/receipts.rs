//! Receipts of splits, in a table `_runner_ledger` beside the one that is written to.

use std::collections::BTreeSet;

use arrow_schema::SchemaRef;

use super::spec::Plan;
use crate::{
    batch::{RejectCode, Schema, SplitId},
    failure::{Exit, Failure},
    postgres::{Server, Session, quoted},
    service::{ErrorClass, ServiceError},
    receipt::{Receipt, Recorder},
    stage::Attempt,
};

/// The reasons for rejects.
pub(super) const CODES: &[RejectCode] = &[
    RejectCode("constraint"),
    RejectCode("bad_value"),
    RejectCode("refused"),
    RejectCode("unrepresentable"),
    RejectCode("null_value"),
];

/// In place of a split's number: the table has been made for this run.
const TABLE: i64 = -1;

/// What the workers of a sink know of its receipts.
#[derive(Debug)]
pub(super) struct Receipts {
    attempt: Attempt,
    /// The table's name, quoted.
    table: String,
    /// Splits that were committed by earlier attempts, and by which worker where rows are divided.
    stored: BTreeSet<(i64, i32)>,
    schema: SchemaRef,
}

/// A part of a receipt on its way into a transaction.
#[derive(Debug)]
pub(super) struct Part {
    split: SplitId,
    number: i32,
    answers: Vec<u8>,
}

/// The split whose rows come.
#[derive(Debug)]
pub(super) struct At {
    pub(super) split: SplitId,
    /// Parts that were made so far.
    part: i32,
    pub(super) way: Way,
}

#[derive(Debug)]
pub(super) enum Way {
    /// They are written, and the answers noted.
    Record(Recorder),
    /// They were written, and the answers are known.
    Replay(Receipt),
}

impl At {
    /// A part that is full, or the last.
    pub(super) fn part(&mut self, answers: Vec<u8>) -> Part {
        self.part += 1;
        Part { split: self.split, number: self.part - 1, answers }
    }
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

impl Receipts {
    /// Makes the table of receipts where it is missing, removes what other runs of the job have left in it, and finds
    /// out what earlier attempts at this one have committed.
    pub(super) fn open(plan: &Plan, attempt: Attempt, server: &Server, session: &Session) -> Result<Self, Failure> {
        let open = || -> Result<Receipts, ServiceError> {
            let table = table(plan)?;
            Receipts::make(&table, &attempt, session)?;
            let Attempt { job, run, stage, .. } = &attempt;
            session.ask(&format!("delete from {table} where job = $1 and run <> $2"), &[job, run])?;
            let sql = format!("select distinct split, lane from {table} where job = $1 and run = $2 and sink = $3");
            let rows = session.ask(&sql, &[job, run, stage])?;
            let stored = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            let columns = plan.returning.iter().map(|returned| returned.column.clone()).collect();
            Ok(Receipts { attempt: attempt.clone(), table, stored, schema: Schema::new(columns).arrow() })
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
        let Attempt { job, run, stage, .. } = &self.attempt;
        let sql = format!(
            "select 1 from {} where job = $1 and run = $2 and sink = $3 and split = {TABLE} and part = 0",
            self.table
        );
        Ok(!session.ask(&sql, &[job, run, stage])?.is_empty())
    }

    /// A statement that notes, together with those before it, that the table has been made.
    pub(super) fn note_table(&self) -> String {
        let Attempt { job, run, stage, .. } = &self.attempt;
        let [job, run, stage] = [job, run, stage].map(|text| literal(text));
        format!("insert into {} values ({job}, {run}, {stage}, {TABLE}, 0, 0, '') on conflict do nothing", self.table)
    }

    /// The way of a split's rows that come to a worker, which is counted from 0.
    pub(super) fn enter(&self, split: SplitId, worker: i32) -> At {
        let way = match self.stored.contains(&(i64::from(split.0), self.lane(worker))) {
            true => Way::Replay(Receipt::new(self.schema.clone(), CODES)),
            false => Way::Record(Recorder::new(self.schema.clone())),
        };
        At { split, part: 0, way }
    }

    /// Where whole splits belong to a worker, it does not matter to which.
    fn lane(&self, worker: i32) -> i32 {
        if self.attempt.divided { worker } else { 0 }
    }

    /// A part of a receipt by its number.
    pub(super) fn load(
        &self,
        split: SplitId,
        worker: i32,
        part: u32,
        session: &Session,
    ) -> Result<Option<Vec<u8>>, ServiceError> {
        let Attempt { job, run, stage, .. } = &self.attempt;
        let sql = format!(
            "select answers from {} where job = $1 and run = $2 and sink = $3 and split = $4 and lane = $5 and part = $6",
            self.table
        );
        let place: (i64, i32, i32) = (i64::from(split.0), self.lane(worker), part as i32);
        let found = session.ask(&sql, &[job, run, stage, &place.0, &place.1, &place.2])?;
        Ok(found.first().map(|row| row.get(0)))
    }

    /// Writes parts in the transaction that is open.
    pub(super) fn write(&self, parts: &[Part], worker: i32, session: &Session) -> Result<(), ServiceError> {
        let Attempt { job, run, stage, .. } = &self.attempt;
        let sql = format!("insert into {} values ($1, $2, $3, $4, $5, $6, $7)", self.table);
        for Part { split, number, answers } in parts {
            let (split, lane) = (i64::from(split.0), self.lane(worker));
            session.ask(&sql, &[job, run, stage, &split, &lane, number, answers])?;
        }
        Ok(())
    }

    /// Names the split that a failure is about.
    pub(super) fn named(&self, Failure { exit, message }: Failure, split: SplitId) -> Failure {
        Failure::new(exit, format!("split number {} for `{}`: {message}", split.0, self.attempt.stage))
    }
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
