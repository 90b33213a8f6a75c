//! One thread's half of the sink: batches of a split into one transaction, rows that are refused told apart,
//! a transaction that was lost done again where that is right.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use tokio_postgres::{Row, Statement, types::ToSql};

use super::{
    encode::Encoded,
    receipts::{At, Part, Receipts},
    spec::{Plan, Returned},
    table::Target,
};
use crate::{
    batch::{Batch, RejectCode, Rejects, SplitId, json},
    failure::{Exit, Failure},
    postgres::{Raw, Server, Session, Values},
    service::{ErrorClass, ServiceError},
    receipt::{Answers, Refused},
    stage::{SinkWorker, Written},
};

/// Rows of an open split are kept up to so many bytes, to write them again should the transaction be lost.
const REPLAY_BYTES: usize = 64 << 20;

/// Lines that a rehearsal shows of every batch.
const SHOWN: usize = 3;

/// One thread's connection and transaction.
pub(super) struct Worker {
    pub(super) plan: Arc<Plan>,
    pub(super) server: Arc<Server>,
    target: Arc<Target>,
    places: Vec<usize>,
    connection: Option<Connection>,
    /// Is there a transaction on the connection?
    pub(super) open: bool,
    pub(super) split: Split,
    /// Where the run can be gone on with, and the worker's number.
    pub(super) receipts: Option<(Arc<Receipts>, i32)>,
    /// The split whose rows come, there.
    pub(super) at: Option<At>,
}

struct Connection {
    session: Session,
    insert: Statement,
    copy: Option<Statement>,
    find: Option<Statement>,
}

/// What the open split has stored so far, not durably.
#[derive(Default)]
pub(super) struct Split {
    pub(super) id: Option<SplitId>,
    /// Rows accepted.
    rows: u64,
    kept: Vec<RecordBatch>,
    bytes: usize,
    /// Not all of it is kept: a lost transaction cannot be done again.
    pub(super) partly: bool,
    /// What of its receipt is not in the transaction yet.
    pub(super) parts: Vec<Part>,
}

/// What became of the rows of a batch.
#[derive(Default)]
struct Stored {
    accepted: Vec<u32>,
    refused: Vec<(u32, ServiceError)>,
    /// What came back of the accepted rows, in their order.
    returned: Vec<Row>,
}

/// Why a transaction has not ended well.
pub(super) enum Unfinished {
    /// It was rolled back.
    Lost(ServiceError),
    /// The connection broke while it was committed.
    Unknown(ServiceError),
    /// Its receipt is there: another transaction with the same rows, that was taken for lost, has been committed.
    Twice,
}

impl Worker {
    pub(super) fn new(
        plan: Arc<Plan>,
        server: Arc<Server>,
        target: Arc<Target>,
        receipts: Option<(Arc<Receipts>, i32)>,
        session: Session,
    ) -> Worker {
        let (places, split) = (plan.places(), Split::default());
        let (connection, open, at) = (None, false, None);
        let mut worker = Worker { plan, server, target, places, connection, open, split, receipts, at };
        // Should this fail, the connection is made anew for the first row, with retries.
        worker.connection = worker.connection_of(session).ok();
        worker
    }

    fn connection_of(&self, session: Session) -> Result<Connection, ServiceError> {
        let Target { insert, copy, find } = &*self.target;
        let insert = session.prepare(insert)?;
        let copy = copy.as_ref().map(|sql| session.prepare(sql)).transpose()?;
        let find = find.as_ref().map(|sql| session.prepare(sql)).transpose()?;
        Ok(Connection { session, insert, copy, find })
    }

    pub(super) fn connect(&mut self) -> Result<(), ServiceError> {
        if self.connection.is_none() {
            self.connection = Some(self.connection_of(self.server.try_connect()?)?);
        }
        Ok(())
    }

    /// A connection with a transaction that holds all that the split has stored so far.
    fn ready(&mut self) -> Result<(), ServiceError> {
        self.connect()?;
        if self.open {
            return Ok(());
        }
        // What a constraint has against a row is to be known at the row, not at the end.
        self.session()?.run("begin; set constraints all immediate")?;
        self.open = true;
        for records in &self.split.kept {
            let encoded = Encoded::new(records, &self.places);
            let rows: Vec<u32> = (0..records.num_rows() as u32).collect();
            let mut again = Stored::default();
            self.part(&encoded, &rows, &mut again)?;
            if let Some((_, trouble)) = again.refused.pop() {
                let message = format!("a row that was accepted is refused when written again: {}", trouble.message);
                return Err(ServiceError { class: ErrorClass::Permanent, message, ..trouble });
            }
        }
        Ok(())
    }

    fn connection(&self) -> Result<&Connection, ServiceError> {
        let gone = || ServiceError::lost("not connected");
        self.connection.as_ref().ok_or_else(gone)
    }

    pub(super) fn session(&self) -> Result<&Session, ServiceError> {
        self.connection().map(|connection| &connection.session)
    }

    /// Ends the transaction after trouble. A connection that did not answer as it should is given up.
    pub(super) fn abandon(&mut self, trouble: &ServiceError) {
        self.open = false;
        let usable = trouble.answered && self.session().is_ok_and(|s| !s.is_closed() && s.run("rollback").is_ok());
        if !usable {
            self.connection = None;
        }
    }

    /// After trouble on attempt number `attempt`: a pause before the next one, or the failure.
    pub(super) fn after(&mut self, attempt: u32, trouble: &ServiceError) -> Result<(), Failure> {
        self.abandon(trouble);
        if self.split.partly && trouble.is_transient() {
            let Split { rows, .. } = self.split;
            let why = if self.plan.returning.is_empty() { "it is too large" } else { "its ids are known to others" };
            let split = self.split.name();
            let message = format!(
                "the transaction was lost and cannot be done again, {why}; {rows} rows of {split} are not stored"
            );
            return Err(Failure::new(Exit::Unavailable, format!("{}: {}: {message}", self.server, trouble.message)));
        }
        self.server.after(attempt, trouble)
    }

    /// Stores rows, or finds out which are refused; tries again what can heal.
    fn store(&mut self, encoded: &Encoded, rows: &[u32]) -> Result<Stored, Failure> {
        let mut attempt = 1;
        loop {
            let mut stored = Stored::default();
            let done = self.ready().and_then(|()| self.part(encoded, rows, &mut stored));
            match done {
                Ok(()) => return Ok(stored),
                Err(trouble) => self.after(attempt, &trouble)?,
            }
            attempt += 1;
        }
    }

    /// Stores these rows within a savepoint; where one is refused, goes back to it and stores each half.
    fn part(&self, encoded: &Encoded, rows: &[u32], stored: &mut Stored) -> Result<(), ServiceError> {
        if rows.is_empty() {
            return Ok(());
        }
        let session = self.session()?;
        session.run("savepoint part")?;
        match self.put(encoded, rows) {
            Ok(returned) => {
                session.run("release savepoint part")?;
                stored.accepted.extend_from_slice(rows);
                stored.returned.extend(returned);
                Ok(())
            }
            Err(trouble) if trouble.answered && trouble.concerns_row() => {
                session.run("rollback to savepoint part; release savepoint part")?;
                if let [row] = rows {
                    stored.refused.push((*row, trouble));
                    return Ok(());
                }
                let (left, right) = rows.split_at(rows.len() / 2);
                self.part(encoded, left, stored)?;
                self.part(encoded, right, stored)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Sends rows; what comes back is in their order.
    fn put(&self, encoded: &Encoded, rows: &[u32]) -> Result<Vec<Row>, ServiceError> {
        let Connection { session, insert, copy, find } = self.connection()?;
        if let Some(copy) = copy {
            return session.copy(copy, &encoded.lines(rows)).map(|()| Vec::new());
        }
        let arrays: Vec<_> = (0..self.places.len()).map(|at| encoded.array(at, rows)).collect();
        let values: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| array as _).collect();
        let mut returned = session.query(insert, &values)?;
        if let Some(find) = find {
            let keys: Vec<&(dyn ToSql + Sync)> = self.plan.conflict.iter().map(|&at| values[at]).collect();
            returned = session.query(find, &keys)?;
            let there = self.plan.returning.len();
            returned.retain(|row| row.get::<_, bool>(there));
        }
        if !self.plan.returning.is_empty() && returned.len() != rows.len() {
            let message = format!("{} rows came back of {} that were written", returned.len(), rows.len());
            return Err(ServiceError::answer(ErrorClass::Permanent, message));
        }
        Ok(returned)
    }

    /// Remembers rows of the open split until they are durable.
    fn keep(&mut self, batch: &Batch, accepted: &[u32]) {
        let split = &mut self.split;
        split.rows += accepted.len() as u64;
        split.bytes += batch.bytes();
        split.partly |= !self.plan.returning.is_empty() || split.bytes > REPLAY_BYTES;
        match split.partly {
            true => split.kept.clear(),
            false if accepted.len() == batch.rows() => split.kept.push(batch.records.clone()),
            false => split.kept.push(batch.pick(accepted.to_vec()).records),
        }
    }

    /// Makes durable what the split has stored.
    fn finish(&mut self) -> Result<(), Failure> {
        let mut attempt = 1;
        while self.split.rows > 0 {
            match self.try_finish() {
                Ok(()) => break,
                Err(Unfinished::Lost(trouble)) => self.after(attempt, &trouble)?,
                Err(Unfinished::Twice) => {
                    self.undo_transaction();
                    if self.plan.returning.is_empty() {
                        break;
                    }
                    let split = self.split.name();
                    let message = format!("{split} was committed meanwhile, by a run that had been taken for dead");
                    return Err(Failure::new(Exit::TryAgain, format!("{}: {message}", self.server)));
                }
                Err(Unfinished::Unknown(trouble)) => {
                    let ServiceError { message, .. } = &trouble;
                    let known = self.receipts.is_some();
                    if known && !self.split.partly {
                        // Should it be committed after all, doing it again meets its receipt.
                        self.after(attempt, &trouble)?;
                    } else if known && self.is_committed(&trouble)? {
                        break;
                    } else {
                        let (rows, split) = (self.split.rows, self.split.name());
                        let what = format!(
                            "the outcome of COMMIT is unknown, so {rows} rows of {split} may or may not be stored"
                        );
                        return Err(Failure::new(Exit::Unavailable, format!("{}: {what}: {message}", self.server)));
                    }
                }
            }
            attempt += 1;
        }
        // A split of which no row was accepted may have left a transaction with nothing in it: it serves the next.
        self.split = Split::default();
        Ok(())
    }

    fn try_finish(&mut self) -> Result<(), Unfinished> {
        self.ready().map_err(Unfinished::Lost)?;
        self.write_parts(&self.split.parts)?;
        let session = self.session().map_err(Unfinished::Lost)?;
        // A connection that broke before this has taken nothing with it that is not known.
        session.run("select 1").map_err(Unfinished::Lost)?;
        fail::fail_point!("postgres-commit");
        let committed = session.run("commit");
        self.open = false;
        committed
            .map_err(|trouble| if trouble.answered { Unfinished::Lost(trouble) } else { Unfinished::Unknown(trouble) })
    }

    /// Keeps nothing of the open split.
    fn undo(&mut self) {
        self.undo_transaction();
        self.split = Split::default();
        self.at = None;
    }

    fn undo_transaction(&mut self) {
        if self.open && self.session().is_ok_and(|session| session.run("rollback").is_err()) {
            // The server rolls back what a connection leaves open.
            self.connection = None;
        }
        self.open = false;
    }

    /// What came back, by column.
    fn returned(&self, rows: &[Row]) -> Result<Vec<ArrayRef>, Failure> {
        let mut columns = Vec::new();
        for (at, Returned { column, .. }) in self.plan.returning.iter().enumerate() {
            let mut values = Values::new(&column.column_type, column.nullable, false);
            for row in rows {
                let raw: Option<Raw<'_>> = row.try_get(at).map_err(|error| self.server.failure(&error.into()))?;
                values.push(raw.map(|raw| raw.0)).map_err(|(_, why)| {
                    let message = format!("{}: column `{}` came back and {why}", self.server, column.name);
                    Failure::new(Exit::Io, message)
                })?;
            }
            columns.push(values.finish());
        }
        Ok(columns)
    }

    /// What the executor hears of the answers for a batch.
    fn written(&self, batch: &Batch, answers: Answers) -> Result<Written, Failure> {
        let mut rejects = Rejects::default();
        answers.refused.into_iter().for_each(|(row, code, why)| rejects.push(batch, row as usize, code, why));
        let count = answers.accepted.len() as u64;
        let stored = if answers.accepted.len() == batch.rows() { batch.clone() } else { batch.pick(answers.accepted) };
        let output = match self.plan.returning.is_empty() {
            true => stored,
            false => with_columns(&self.plan, &stored, answers.returned)?,
        };
        Ok(Written { accepted: count, rejects: rejects.take(), output: Some(output), ..Written::default() })
    }
}

impl SinkWorker for Worker {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        self.enter(batch.origin.split)?;
        if let Some(answers) = self.answers(batch)? {
            return Ok(Written { durable: true, ..self.written(batch, answers)? });
        }
        self.split.id.get_or_insert(batch.origin.split);
        let encoded = Encoded::new(&batch.records, &self.places);
        let mut unfit = Vec::new();
        let rows = sound(&self.plan, batch, &encoded, &mut unfit);
        let Stored { accepted, refused, returned } = self.store(&encoded, &rows)?;
        let mut refused: Vec<Refused> =
            refused.into_iter().map(|(row, trouble)| (row, code(&trouble), trouble.message)).collect();
        refused.append(&mut unfit);
        refused.sort_by_key(|(row, ..)| *row);
        let bytes = encoded.bytes(&accepted);
        let answers = Answers { accepted, refused, returned: self.returned(&returned)? };
        self.keep(batch, &answers.accepted);
        self.note(batch.rows(), &answers)?;
        Ok(Written { bytes, ..self.written(batch, answers)? })
    }

    fn commit_split(&mut self, _split: SplitId) -> Result<bool, Failure> {
        self.leave()?;
        self.finish()?;
        Ok(true)
    }

    fn discard_split(&mut self, _split: SplitId) -> Result<(), Failure> {
        self.undo();
        Ok(())
    }

    /// Every split has been committed or discarded.
    fn commit(&mut self) -> Result<(), Failure> {
        self.undo();
        Ok(())
    }
}

impl Split {
    fn name(&self) -> String {
        self.id.map_or_else(|| "the split".to_owned(), |id| format!("split number {}", id.0))
    }
}

/// The rows that can be sent at all.
fn sound(plan: &Plan, batch: &Batch, encoded: &Encoded, refused: &mut Vec<Refused>) -> Vec<u32> {
    let mut unfit = encoded.unfit.iter().peekable();
    let mut rows = Vec::with_capacity(batch.rows());
    for row in 0..batch.rows() as u32 {
        let null = plan.conflict.iter().find(|&&at| encoded.is_null(at, row));
        if let Some((_, why)) = unfit.next_if(|(at, _)| *at == row) {
            refused.push((row, RejectCode("unrepresentable"), why.clone()));
        } else if let Some(&at) = null {
            let message = format!("`{}` is null, and `conflict` needs it", plan.columns[at].column.name);
            refused.push((row, RejectCode("null_value"), message));
        } else {
            rows.push(row);
        }
    }
    rows
}

/// The reason for a reject in a word.
fn code(trouble: &ServiceError) -> RejectCode {
    RejectCode(match trouble.code.as_deref().and_then(|code| code.get(..2)) {
        Some("23" | "44") => "constraint",
        Some("22") => "bad_value",
        _ => "refused",
    })
}

/// A batch with columns in place of, or beside, its own.
fn with_columns(plan: &Plan, batch: &Batch, columns: Vec<ArrayRef>) -> Result<Batch, Failure> {
    let mut arrays = batch.records.columns().to_vec();
    for (returned, column) in plan.returning.iter().zip(columns) {
        match plan.output.find(&returned.column.name).filter(|(place, _)| *place < arrays.len()) {
            Some((place, _)) => arrays[place] = column,
            None => arrays.push(column),
        }
    }
    let records = RecordBatch::try_new(plan.output.arrow(), arrays)
        .map_err(|error| Failure::new(Exit::Bug, format!("columns that came back do not fit: {error}")))?;
    Ok(Batch::new(records, batch.origin.clone()))
}

/// A worker that does all but write. In place of a generated id it gives the row's number in its split.
pub(super) struct Rehearsal {
    pub(super) plan: Arc<Plan>,
}

impl SinkWorker for Rehearsal {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let plan = &self.plan;
        let places = plan.places();
        let encoded = Encoded::new(&batch.records, &places);
        let (mut rejects, mut refused) = (Rejects::default(), Vec::new());
        let rows = sound(plan, batch, &encoded, &mut refused);
        refused.into_iter().for_each(|(row, code, why)| rejects.push(batch, row as usize, code, why));
        let bytes = encoded.bytes(&rows);
        let accepted = rows.len() as u64;
        let stored = batch.pick(rows);
        let shown = stored.records.project(&places).map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
        let line = |row| format!("insert into {} {}", plan.table.written, json::row(&shown, row));
        let samples = (0..stored.rows().min(SHOWN)).map(line).collect();
        let columns = plan.returning.iter().map(|returned| stand_in(returned, &stored)).collect::<Result<_, _>>()?;
        let output = Some(with_columns(plan, &stored, columns)?);
        Ok(Written { accepted, rejects: rejects.take(), bytes, samples, output, ..Written::default() })
    }

    fn commit_split(&mut self, _split: SplitId) -> Result<bool, Failure> {
        Ok(true)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// What stands for a column that only the database knows.
fn stand_in(returned: &Returned, batch: &Batch) -> Result<ArrayRef, Failure> {
    if let Some(place) = returned.place.filter(|_| !returned.made) {
        return Ok(Arc::clone(batch.records.column(place)));
    }
    let mut values = Values::new(&returned.column.column_type, true, false);
    for row in 0..batch.rows() {
        let number = batch.origin.position(row).record as i64;
        if returned.wire != "int8" || values.push(Some(&number.to_be_bytes())).is_err() {
            values.push_null();
        }
    }
    Ok(values.finish())
}
