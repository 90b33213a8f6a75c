//! Receipts of splits, in a table beside the one that is written to, or where the spec says.
//!
//! A table that another role has made may be out of bounds; then there is one with the role's name. Nobody is granted
//! anything.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio_postgres::types::Type;

use super::{
    super::table::{OLD_RECEIPTS, PartPlace, RECEIPTS, Receipts},
    refuse::CODES,
    spec::Setup,
};
use crate::{
    failure::{Exit, Failure},
    postgres::{Param, Server, Session, quoted},
    receipt::Part,
    service::{ErrorClass, ServiceError},
    stage::{Attempt, Inspection, Kept, OtherRun},
};

/// An identifier may have so many bytes.
const LONGEST: usize = 63;

/// The table of receipts, and the run that keeps some there.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Its name, quoted.
    pub(super) table: String,
    pub(super) receipts: Arc<Receipts>,
}

/// A part of a receipt on its way into a transaction.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) place: PartPlace,
    pub(super) part: Part,
}

fn text(value: &String) -> Param<'_> {
    (value, Type::TEXT)
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''").replace('\0', ""))
}

/// The tables in which receipts may be.
struct Home {
    /// The one that is there, where one is that may be used.
    found: Option<String>,
    /// The one to make else.
    make: String,
}

impl Home {
    fn find(setup: &Setup, session: &Session) -> Result<Home, ServiceError> {
        let broken = |message| ServiceError::answer(ErrorClass::Permanent, message);
        let (schema, name) = setup.layout.receipts.clone().unwrap_or((None, quoted(RECEIPTS).map_err(broken)?));
        let beside =
            setup.table.written.split_once('.').map(|(schema, _)| quoted(schema)).transpose().map_err(broken)?;
        let within = |name: &str| match schema.as_ref().or(beside.as_ref()) {
            Some(schema) => format!("{schema}.{name}"),
            None => name.to_owned(),
        };
        let user = session.ask("select current_user::text", &[])?;
        let user: &str = user.first().map(|row| row.get(0)).unwrap_or_default();
        let default = within(&name);
        let own = within(&quoted(&of_role(&name, user)).map_err(broken)?);
        if usable(&own, session)? == Some(true) {
            return Ok(Home { found: Some(own.clone()), make: own });
        }
        Ok(match usable(&default, session)? {
            Some(true) => Home { found: Some(default.clone()), make: default },
            Some(false) => Home { found: None, make: own },
            None => Home { found: None, make: default },
        })
    }
}

/// The name of a role's own table; the name of the other is quoted.
fn of_role(name: &str, role: &str) -> String {
    let name = name.trim_matches('"').replace("\"\"", "\"");
    let mut own = format!("{name}_{role}");
    while own.len() > LONGEST {
        own.pop();
    }
    own
}

/// Is there such a table, and may we write to it?
fn usable(table: &String, session: &Session) -> Result<Option<bool>, ServiceError> {
    let may = ["select", "insert", "update", "delete"].map(|what| format!("has_table_privilege(t, '{what}')"));
    let sql = format!("select {} from (select to_regclass($1) as t) r where t is not null", may.join(" and "));
    Ok(session.ask(&sql, &[text(table)])?.first().map(|row| row.get(0)))
}

impl Ledger {
    /// Begins an attempt: from now on no other can commit. Finds out what earlier ones have committed.
    pub(super) fn open(setup: &Setup, attempt: Attempt, server: &Server, session: &Session) -> Result<Self, Failure> {
        let open = || -> Result<Ledger, ServiceError> {
            let table = Ledger::make(setup, &attempt, session)?;
            let Attempt { ledger, run, stage, .. } = &attempt;
            let sql = format!(
                "select distinct split, worker from {table} where ledger = $1 and run = $2 and sink = $3 and split <> ''"
            );
            let rows = session.ask(&sql, &[text(ledger), text(run), text(stage)])?;
            let stored = rows.iter().map(|row| (row.get(0), row.get::<_, i32>(1).unsigned_abs()));
            let receipts = Arc::new(Receipts::new(attempt.clone(), stored, &setup.layout, CODES));
            Ok(Ledger { table, receipts })
        };
        open().map_err(|trouble| {
            let what = "cannot keep receipts, without which no row is known to be there only once \
                        (`receipts` says where, `receipts = \"none\"` goes without)";
            trouble.failure(Exit::CantCreate, &format!("{server}: {what}"))
        })
    }

    /// The table, with the run's marker in it: one with rows is not removed by others that end meanwhile.
    fn make(setup: &Setup, attempt: &Attempt, session: &Session) -> Result<String, ServiceError> {
        const TRIES: usize = 5;
        let Attempt { ledger, run, stage, job, plan: digest, token, record, .. } = attempt;
        let record = record.to_vec();
        let mut tries = 1;
        loop {
            let Home { found, make } = Home::find(setup, session)?;
            let table = found.clone().unwrap_or(make);
            let create = format!(
                "create table if not exists {table} (ledger text, run text, sink text, split text, worker integer, \
                 part integer, rows bigint not null, answers bytea not null, job text, plan text, target text, \
                 owner text, beat timestamptz, made bigint, primary key (ledger, run, sink, split, worker, part))"
            );
            let begin = format!(
                "insert into {table} as m (ledger, run, sink, split, worker, part, rows, answers, job, plan, target, \
                                           owner, beat) \
                 values ($1, $2, $3, '', 0, 0, 0, $4, $5, $6, $7, $8, clock_timestamp()) \
                 on conflict (ledger, run, sink, split, worker, part) \
                 do update set owner = excluded.owner, beat = excluded.beat"
            );
            let made = if found.is_some() { Ok(()) } else { session.run(&create) };
            let values = [
                text(ledger),
                text(run),
                text(stage),
                (&record as _, Type::BYTEA),
                text(job),
                text(digest),
                text(&setup.table.written),
                text(token),
            ];
            match made.and_then(|()| session.ask(&begin, &values)) {
                Ok(_) => return Ok(table),
                // Another run made it, or removed it, at the same time; or the server goes on with what a killed one
                // has asked for.
                Err(trouble)
                    if tries < TRIES && (trouble.is_there_already() || trouble.code.as_deref() == Some("42P01")) =>
                {
                    tries += 1;
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    fn own(&self) -> [Param<'_>; 3] {
        let Attempt { ledger, run, stage, .. } = &self.receipts.attempt;
        [text(ledger), text(run), text(stage)]
    }

    /// Has an earlier attempt made the table that is written to?
    pub(super) fn table_made(&self, session: &Session) -> Result<bool, ServiceError> {
        let sql = format!(
            "select 1 from {} where ledger = $1 and run = $2 and sink = $3 and split = '' and made is not null",
            self.table
        );
        Ok(!session.ask(&sql, &self.own())?.is_empty())
    }

    /// A statement that notes, together with those before it, which table is written to; it is quoted.
    pub(super) fn noting(&self, table: &str) -> String {
        let Attempt { ledger, run, stage, .. } = &self.receipts.attempt;
        let [ledger, run, stage, target] = [ledger, run, stage, table].map(literal);
        format!(
            "update {} set made = to_regclass({target})::oid::bigint \
             where ledger = {ledger} and run = {run} and sink = {stage} and split = ''",
            self.table
        )
    }

    /// Notes which table is written to, unless that was noted before.
    pub(super) fn note_table(&self, table: &str, session: &Session) -> Result<(), ServiceError> {
        session.run(&format!("{} and made is null", self.noting(table)))
    }

    /// A part of a receipt.
    pub(super) fn load(&self, place: &PartPlace, session: &Session) -> Result<Option<Vec<u8>>, ServiceError> {
        let sql = format!(
            "select answers from {} where ledger = $1 and run = $2 and sink = $3 and split = $4 and worker = $5 and part = $6",
            self.table
        );
        let [ledger, run, stage] = self.own();
        let (split, worker, part) = (&*place.split, place.worker as i32, place.part as i32);
        let place: [Param<'_>; 6] =
            [ledger, run, stage, (&split, Type::TEXT), (&worker, Type::INT4), (&part, Type::INT4)];
        let found = session.ask(&sql, &place)?;
        Ok(found.first().map(|row| row.get(0)))
    }

    /// Writes parts in the transaction that is open.
    pub(super) fn write(&self, parts: &[Noted], session: &Session) -> Result<(), ServiceError> {
        let sql = format!(
            "insert into {} (ledger, run, sink, split, worker, part, rows, answers) values ($1, $2, $3, $4, $5, $6, $7, $8)",
            self.table
        );
        for Noted { place, part: Part { accepted, bytes } } in parts {
            let [ledger, run, stage] = self.own();
            let (split, worker, part, rows) = (&*place.split, place.worker as i32, place.part as i32, *accepted as i64);
            let values: [Param<'_>; 8] = [
                ledger,
                run,
                stage,
                (&split, Type::TEXT),
                (&worker, Type::INT4),
                (&part, Type::INT4),
                (&rows, Type::INT8),
                (bytes, Type::BYTEA),
            ];
            session.ask(&sql, &values)?;
        }
        Ok(())
    }

    /// Is this attempt still the last? Until the open transaction ends no other can begin.
    pub(super) fn is_ours(&self, session: &Session) -> Result<bool, ServiceError> {
        let sql = format!(
            "select 1 from {} where ledger = $1 and run = $2 and sink = $3 and split = '' and owner = $4 for share",
            self.table
        );
        let [ledger, run, stage] = self.own();
        Ok(!session.ask(&sql, &[ledger, run, stage, text(&self.receipts.attempt.token)])?.is_empty())
    }

    /// Says that the process lives.
    pub(super) fn beat(&self, session: &Session) -> Result<(), ServiceError> {
        let sql = format!(
            "update {} set beat = clock_timestamp() \
             where ledger = $1 and run = $2 and sink = $3 and split = '' and owner = $4",
            self.table
        );
        let [ledger, run, stage] = self.own();
        session.ask(&sql, &[ledger, run, stage, text(&self.receipts.attempt.token)]).map(drop)
    }
}

/// What the database has of the run, and of others of the job.
pub(super) fn inspect(setup: &Setup, attempt: &Attempt, session: &Session) -> Result<Inspection, ServiceError> {
    let mut found = Inspection { target: Some(target(session)?), ..Inspection::default() };
    if let Home { found: Some(table), .. } = Home::find(setup, session)? {
        found.run = kept(setup, &table, attempt, session)?;
        found.others = others(setup, &table, attempt, session)?;
    }
    found.others.extend(old(setup, attempt, session)?);
    Ok(found)
}

/// What tells this database from all others, whatever address it is reached by.
fn target(session: &Session) -> Result<String, ServiceError> {
    let name = session.ask("select current_database()::text", &[])?;
    let name: String = name.first().map(|row| row.get(0)).unwrap_or_default();
    // Who may not ask for it is told apart by the name alone.
    let system = session.ask("select system_identifier::text from pg_control_system()", &[]);
    let system: Option<String> = match system {
        Ok(rows) => rows.first().map(|row| row.get(0)),
        Err(trouble) if trouble.answered => None,
        Err(trouble) => return Err(trouble),
    };
    let of = system.map_or_else(String::new, |system| format!(" of PostgreSQL system {system}"));
    Ok(format!("database `{name}`{of}"))
}

/// What there is of this run.
fn kept(setup: &Setup, table: &str, attempt: &Attempt, session: &Session) -> Result<Option<Kept>, ServiceError> {
    let Attempt { ledger, run, stage, .. } = attempt;
    let own = || [text(ledger), text(run), text(stage)];
    let sql = format!(
        "select split, count(distinct worker), sum(rows)::bigint, max(made) from {table} \
         where ledger = $1 and run = $2 and sink = $3 group by split"
    );
    let (mut splits, mut made): (BTreeMap<String, i64>, Option<i64>) = (BTreeMap::new(), None);
    let mut rows = 0;
    for row in session.ask(&sql, &own())? {
        rows += row.get::<_, i64>(2).unsigned_abs();
        made = made.or(row.get(3));
        splits.insert(row.get(0), row.get(1));
    }
    if splits.is_empty() {
        return Ok(None);
    }
    let workers = if attempt.divided { i64::from(attempt.workers) } else { 1 };
    let numbers = attempt.splits.numbers();
    let whole = splits.iter().filter(|(_, of)| **of >= workers);
    let stored = whole.filter_map(|(key, _)| numbers.get(key.as_str()).copied()).collect();
    let lost = match rows {
        0 => None,
        _ => lost(setup, made, session)?,
    };
    let name = &setup.table.written;
    let lost = lost.map(|how| format!("run {run} has stored {rows} rows in table `{name}`, which {how}"));
    Ok(Some(Kept { stored, rows, lost }))
}

/// Why the rows cannot be in the table any more.
fn lost(setup: &Setup, made: Option<i64>, session: &Session) -> Result<Option<&'static str>, ServiceError> {
    let table = &setup.table.quoted;
    let now = session.ask("select to_regclass($1)::oid::bigint", &[text(table)])?;
    let now: Option<i64> = now.first().and_then(|row| row.get(0));
    if now.is_none() || made.is_some_and(|made| now != Some(made)) {
        return Ok(Some(if now.is_none() { "is gone" } else { "is another one of that name now" }));
    }
    let some = session.ask(&format!("select exists (select 1 from {table})"), &[])?;
    let some: bool = some.first().is_none_or(|row| row.get(0));
    Ok((!some).then_some("is empty"))
}

/// Runs of the job other than this one.
fn others(setup: &Setup, table: &str, attempt: &Attempt, session: &Session) -> Result<Vec<OtherRun>, ServiceError> {
    let Attempt { ledger, run, stage, job, .. } = attempt;
    let sql = format!(
        "select ledger, run, greatest(0, extract(epoch from clock_timestamp() - beat))::bigint, answers, \
                (select count(distinct split) from {table} r \
                 where r.ledger = m.ledger and r.run = m.run and r.sink = m.sink and r.rows > 0) \
         from {table} m where split = '' and job = $1 and sink = $2 and target = $3 \
                          and not (ledger = $4 and run = $5) order by ledger, run"
    );
    let own = [text(job), text(stage), text(&setup.table.written), text(ledger), text(run)];
    let other = |row: &tokio_postgres::Row| OtherRun {
        ledger: row.get(0),
        run: row.get(1),
        silent: Duration::from_secs(row.get::<_, Option<i64>>(2).unwrap_or(i64::MAX).unsigned_abs()),
        record: row.get(3),
        splits: row.get::<_, i64>(4).unsigned_abs(),
    };
    Ok(session.ask(&sql, &own)?.iter().map(other).collect())
}

/// Runs of the job that an earlier version of the program has not ended. It named jobs by the paths of their ledgers.
fn old(setup: &Setup, attempt: &Attempt, session: &Session) -> Result<Vec<OtherRun>, ServiceError> {
    let table = match setup.table.written.split_once('.').map(|(schema, _)| quoted(schema)) {
        Some(Ok(schema)) => format!("{schema}.{OLD_RECEIPTS}"),
        _ => OLD_RECEIPTS.to_owned(),
    };
    let may = "select has_table_privilege(t, 'select') from (select to_regclass($1) as t) r where t is not null";
    if !session.ask(may, &[text(&table)])?.first().is_some_and(|row| row.get(0)) {
        return Ok(Vec::new());
    }
    let sql =
        format!("select job, run, count(distinct split) from {table} where sink = $1 and split >= 0 group by job, run");
    let found = session.ask(&sql, &[text(&attempt.stage)])?;
    let found = found.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    Ok(OtherRun::of_old_version(found, &attempt.job))
}

/// Removes the receipts of a sink of this ledger, and their table with the last of all.
pub(super) fn clear(setup: &Setup, attempt: &Attempt, server: &Server) -> Result<(), Failure> {
    server.persist(|| {
        let session = server.try_connect()?;
        let Home { found: Some(table), .. } = Home::find(setup, &session)? else { return Ok(()) };
        let sql = format!("delete from {table} where ledger = $1 and sink = $2");
        session.ask(&sql, &[text(&attempt.ledger), text(&attempt.stage)])?;
        // Whoever writes to it now needs it, and so does whoever has rows in it; who may not remove it leaves it.
        let drop = format!(
            "do $$ begin lock table {table} in access exclusive mode nowait; \
             if not exists (select 1 from {table}) then drop table {table}; end if; \
             exception when lock_not_available or insufficient_privilege or undefined_table then null; end $$"
        );
        session.run(&drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_a_table_of_its_own_name() {
        assert_eq!(of_role("\"_runner_receipts\"", "second"), "_runner_receipts_second");
        assert_eq!(of_role("\"a\"\"b\"", "c"), "a\"b_c");
        let long = of_role("\"_runner_receipts\"", &"ä".repeat(40));
        assert!(long.len() <= 63 && long.ends_with('ä'), "{long}");
    }
}
