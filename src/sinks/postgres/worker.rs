//! One thread's half of the sink: batches of a split into one transaction, rows that are refused told apart,
//! a transaction that was lost done again where that is right.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use tokio_postgres::{Row, Statement, types::Type};

use super::{
    super::table::{self, Commit, PartPlace, Put, Returned, WriteMode, bisect, taken_over},
    encode::Encoded,
    receipts::{Ledger, Noted},
    refuse::{code, sound},
    spec::{Constraints, Setup},
    table::Target,
};
use crate::{
    batch::{Batch, SplitId},
    failure::{Exit, Failure},
    postgres::{Param, Raw, Server, Session, Values},
    receipt::{Answers, Part, Refused},
    service::{ErrorClass, ServiceError, Tries},
};

/// Rows of an open split are kept up to so many bytes, to write them again should the transaction be lost.
const REPLAY_BYTES: usize = 64 << 20;

/// One thread's connection and transaction.
pub(super) struct Worker {
    setup: Arc<Setup>,
    server: Arc<Server>,
    target: Arc<Target>,
    places: Vec<usize>,
    session: Option<Session>,
    /// The statement that rows go by, where that is COPY; of the open transaction.
    copy: Option<Statement>,
    /// Is there a transaction on the connection?
    open: bool,
    split: Split,
    /// Is every row checked at once, whatever the table says?
    every_row: bool,
    /// Where the run can be resumed.
    ledger: Option<Arc<Ledger>>,
}

/// What the open split has stored so far, not durably.
#[derive(Default)]
struct Split {
    id: Option<SplitId>,
    /// Rows accepted.
    rows: u64,
    kept: Vec<RecordBatch>,
    bytes: usize,
    /// Not all of it is kept: a lost transaction cannot be done again.
    partly: bool,
    /// What of its receipt is not in the transaction yet.
    parts: Vec<Noted>,
    /// A part of its receipt that is in the transaction.
    noted: Option<PartPlace>,
}

/// What became of the rows of a batch.
#[derive(Default)]
struct Stored {
    accepted: Vec<u32>,
    refused: Vec<(u32, ServiceError)>,
    /// What came back of the accepted rows, in their order.
    returned: Vec<Row>,
    /// How many of the accepted rows the server has not counted among those that it wrote.
    not_confirmed: u64,
}

/// Why a transaction has not ended well.
enum Unfinished {
    /// It was rolled back.
    Lost(ServiceError),
    /// The connection broke while it was committed.
    Unknown(ServiceError),
    /// A constraint that was deferred until then is broken.
    Broken(ServiceError),
    /// Another attempt has begun: this one must not go on.
    TakenOver,
    /// Its receipt is there: another transaction with the same rows, that was taken for lost, has been committed.
    Twice,
}

impl Worker {
    pub(super) fn new(
        setup: Arc<Setup>,
        server: Arc<Server>,
        target: Arc<Target>,
        ledger: Option<Arc<Ledger>>,
        session: Session,
    ) -> Worker {
        let (places, split) = (setup.layout.places(), Split::default());
        let session = Some(session);
        Worker { setup, server, target, places, session, copy: None, open: false, split, every_row: false, ledger }
    }

    fn connect(&mut self) -> Result<(), ServiceError> {
        if self.session.is_none() {
            self.session = Some(self.server.try_connect()?);
        }
        Ok(())
    }

    /// A connection with a transaction that holds all that the split has stored so far.
    fn ready(&mut self) -> Result<(), ServiceError> {
        self.connect()?;
        if self.open {
            return Ok(());
        }
        let at_once = self.every_row || self.setup.constraints == Constraints::Immediate;
        let also = if at_once { "; set constraints all immediate" } else { "" };
        self.session()?.begin("", also)?;
        self.open = true;
        self.copy = self.target.copy.as_ref().map(|sql| self.session()?.prepare(sql)).transpose()?;
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

    fn session(&self) -> Result<&Session, ServiceError> {
        let gone = || ServiceError::lost("not connected");
        self.session.as_ref().ok_or_else(gone)
    }

    /// Ends the transaction after trouble. A connection that did not answer as it should is given up.
    fn abandon(&mut self, trouble: &ServiceError) {
        (self.open, self.copy) = (false, None);
        let usable = trouble.answered && self.session().is_ok_and(|s| !s.is_closed() && s.run("rollback").is_ok());
        if !usable {
            self.session = None;
        }
    }

    /// After trouble: a pause before the next try, or the failure.
    fn after(&mut self, tries: &mut Tries, trouble: &ServiceError) -> Result<(), Failure> {
        self.abandon(trouble);
        if self.split.partly && trouble.is_transient() {
            let Split { rows, .. } = self.split;
            let why =
                if self.setup.layout.returned.is_empty() { "it is too large" } else { "its ids are known to others" };
            let split = self.split.name();
            let message = format!(
                "the transaction was lost and cannot be done again, {why}; {rows} rows of {split} are not stored"
            );
            return Err(Failure::new(Exit::Unavailable, format!("{}: {}: {message}", self.server, trouble.message)));
        }
        self.server.after(tries, trouble)
    }

    /// Stores rows, or finds out which are refused; tries again what can heal.
    fn store(&mut self, encoded: &Encoded, rows: &[u32]) -> Result<Stored, Failure> {
        let mut tries = Tries::default();
        loop {
            let mut stored = Stored::default();
            let done = self.ready().and_then(|()| self.part(encoded, rows, &mut stored));
            match done {
                Ok(()) => return Ok(stored),
                Err(trouble) => self.after(&mut tries, &trouble)?,
            }
        }
    }

    /// Stores rows, each part within a savepoint; where a row is refused, goes back to it and stores each half.
    fn part(&self, encoded: &Encoded, rows: &[u32], stored: &mut Stored) -> Result<(), ServiceError> {
        let session = self.session()?;
        let mut put = |rows: &[u32]| {
            session.run("savepoint part")?;
            match self.put(encoded, rows) {
                Ok(answer) => session.run("release savepoint part").map(|()| Put::Stored(answer)),
                Err(trouble) if trouble.answered && trouble.concerns_row() => {
                    session.run("rollback to savepoint part; release savepoint part").map(|()| Put::Refused(trouble))
                }
                Err(trouble) => Err(trouble),
            }
        };
        bisect(rows, &mut put, &mut |rows, put| match put {
            Put::Stored((returned, written)) => {
                stored.accepted.extend_from_slice(rows);
                stored.returned.extend(returned);
                stored.not_confirmed += (rows.len() as u64).saturating_sub(written);
            }
            Put::Refused(trouble) => stored.refused.extend(rows.iter().map(|row| (*row, trouble.clone()))),
        })
    }

    /// Sends rows. What comes back is in their order; and how many of them the server has stored, as it counts them.
    fn put(&self, encoded: &Encoded, rows: &[u32]) -> Result<(Vec<Row>, u64), ServiceError> {
        let session = self.session()?;
        if let Some(copy) = &self.copy {
            return session.copy(copy, &encoded.lines(rows)).map(|written| (Vec::new(), written));
        }
        let Target { insert, find, .. } = &*self.target;
        let arrays: Vec<_> = (0..self.places.len()).map(|at| encoded.array(at, rows)).collect();
        let values: Vec<Param<'_>> = arrays.iter().map(|array| (array as _, Type::TEXT_ARRAY)).collect();
        let keys = || -> Vec<Param<'_>> { self.setup.layout.conflict.iter().map(|&at| values[at].clone()).collect() };
        if self.setup.layout.returned.is_empty() {
            let written = session.count(insert, &values)?;
            return self.confirmed(rows.len() as u64, written, keys).map(|confirmed| (Vec::new(), confirmed));
        }
        let mut returned = session.ask(insert, &values)?;
        if let Some(find) = find {
            returned = session.ask(find, &keys())?;
            let there = self.setup.layout.returned.len();
            returned.retain(|row| row.get::<_, bool>(there));
        }
        if returned.len() != rows.len() {
            let message = format!("{} rows came back of {} that were written", returned.len(), rows.len());
            return Err(ServiceError::answer(ErrorClass::Permanent, message));
        }
        Ok((returned, rows.len() as u64))
    }

    /// How many of so many rows are stored, where the server counts `written`: an upsert writes the last row of each key,
    /// and a row that is there already may stay.
    fn confirmed<'a>(&self, rows: u64, written: u64, keys: impl Fn() -> Vec<Param<'a>>) -> Result<u64, ServiceError> {
        match (self.setup.layout.mode, &self.target.keys) {
            (WriteMode::Ignore, _) => Ok(rows),
            (WriteMode::Upsert, Some(count)) if written < rows => {
                let counted = self.session()?.ask(count, &keys())?;
                let keys = counted.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs());
                Ok(rows - keys.saturating_sub(written))
            }
            _ => Ok(written),
        }
    }

    /// Remembers rows of the open split until they are durable.
    fn keep(&mut self, batch: &Batch, accepted: &[u32]) {
        let split = &mut self.split;
        split.rows += accepted.len() as u64;
        split.bytes += batch.bytes();
        split.partly |= !self.setup.layout.returned.is_empty() || split.bytes > REPLAY_BYTES;
        match split.partly {
            true => split.kept.clear(),
            false if accepted.len() == batch.rows() => split.kept.push(batch.records.clone()),
            false => split.kept.push(batch.pick(accepted.to_vec()).records),
        }
    }

    /// Makes durable what the split has stored.
    fn finish(&mut self) -> Result<Commit, Failure> {
        let mut tries = Tries::default();
        while self.split.rows > 0 || !self.split.parts.is_empty() || self.split.noted.is_some() {
            match self.try_finish() {
                Ok(()) => break,
                Err(Unfinished::Lost(trouble)) => self.after(&mut tries, &trouble)?,
                Err(Unfinished::TakenOver) => {
                    self.undo_transaction();
                    return Err(self.taken_over());
                }
                Err(Unfinished::Broken(trouble)) => {
                    let (rows, split, why) = (self.split.rows, self.split.name(), &trouble.message);
                    let what = format!("{split} cannot be committed, and none of its {rows} rows are stored: {why}");
                    let help = "`constraints = \"immediate\"` checks every row, and refuses those that are wrong";
                    let failure = Failure::new(Exit::Rejects, format!("{}: {what}; {help}", self.server));
                    return Ok(Commit::Refused(failure));
                }
                Err(Unfinished::Twice) => {
                    self.undo_transaction();
                    if self.setup.layout.returned.is_empty() {
                        break;
                    }
                    let split = self.split.name();
                    let message = format!("{split} was committed meanwhile, by a run that had been taken for dead");
                    return Err(Failure::new(Exit::TryAgain, format!("{}: {message}", self.server)));
                }
                Err(Unfinished::Unknown(trouble)) => {
                    let ServiceError { message, .. } = &trouble;
                    let known = self.ledger.is_some();
                    if known && !self.split.partly {
                        // Should it be committed after all, doing it again meets its receipt.
                        self.after(&mut tries, &trouble)?;
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
        }
        // A split of which no row was accepted may have left a transaction with nothing in it: it serves the next.
        self.split = Split::default();
        Ok(Commit::Durable)
    }

    fn try_finish(&mut self) -> Result<(), Unfinished> {
        self.ready().map_err(Unfinished::Lost)?;
        self.write_parts(&self.split.parts)?;
        let session = self.session().map_err(Unfinished::Lost)?;
        // A connection that broke before this has taken nothing with it that is not known.
        let ours = match &self.ledger {
            Some(ledger) => ledger.is_ours(session),
            None => session.run("select 1").map(|()| true),
        };
        if !ours.map_err(Unfinished::Lost)? {
            return Err(Unfinished::TakenOver);
        }
        fail::fail_point!("postgres-commit");
        // Closed before the transaction ends.
        self.copy = None;
        let session = self.session().map_err(Unfinished::Lost)?;
        let committed = session.run("commit");
        self.open = false;
        fail::fail_point!("postgres-committed");
        committed.map_err(|trouble| match trouble.answered {
            true if trouble.concerns_row() => Unfinished::Broken(trouble),
            true => Unfinished::Lost(trouble),
            false => Unfinished::Unknown(trouble),
        })
    }

    /// Keeps nothing of the open split.
    fn undo(&mut self) {
        self.undo_transaction();
        self.split = Split::default();
    }

    fn taken_over(&self) -> Failure {
        let gone = || Failure::new(Exit::Bug, "a run without receipts was taken over");
        self.ledger.as_ref().map_or_else(gone, |ledger| taken_over(&ledger.receipts.attempt))
    }

    fn undo_transaction(&mut self) {
        self.copy = None;
        if self.open && self.session().is_ok_and(|session| session.run("rollback").is_err()) {
            // The server rolls back what a connection leaves open.
            self.session = None;
        }
        self.open = false;
    }

    /// What came back, by column.
    fn returned(&self, rows: &[Row]) -> Result<Vec<ArrayRef>, Failure> {
        let mut columns = Vec::new();
        for (at, Returned { column, .. }) in self.setup.layout.returned.iter().enumerate() {
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

    /// Writes parts of receipts in the open transaction.
    fn write_parts(&self, parts: &[Noted]) -> Result<(), Unfinished> {
        let Some(ledger) = &self.ledger else { return Ok(()) };
        let session = self.session().map_err(Unfinished::Lost)?;
        ledger.write(parts, session).map_err(|trouble| match trouble.code.as_deref() {
            Some("23505") => Unfinished::Twice,
            _ => Unfinished::Lost(trouble),
        })
    }

    /// After the connection broke while the split was committed: is its receipt there?
    fn is_committed(&mut self, trouble: &ServiceError) -> Result<bool, Failure> {
        let Some(place) = self.split.parts.first().map(|noted| noted.place.clone()).or(self.split.noted.clone()) else {
            return Ok(false);
        };
        self.abandon(trouble);
        let mut tries = Tries::default();
        loop {
            match self.find_part(&place) {
                Ok(found) => return Ok(found.is_some()),
                Err(trouble) => {
                    self.abandon(&trouble);
                    self.server.after(&mut tries, &trouble)?;
                }
            }
        }
    }

    fn find_part(&mut self, place: &PartPlace) -> Result<Option<Vec<u8>>, ServiceError> {
        let Some(ledger) = self.ledger.clone() else { return Ok(None) };
        self.connect()?;
        ledger.load(place, self.session()?)
    }
}

impl table::Connection for Worker {
    fn write(&mut self, batch: &Batch) -> Result<(Answers, u64), Failure> {
        self.split.id.get_or_insert(batch.origin.split);
        let encoded = Encoded::new(&batch.records, &self.places);
        let mut unfit = Vec::new();
        let rows = sound(&self.setup.layout, batch, &encoded, &mut unfit);
        let Stored { accepted, refused, returned, not_confirmed } = self.store(&encoded, &rows)?;
        let mut refused: Vec<Refused> =
            refused.into_iter().map(|(row, trouble)| (row, code(&trouble), trouble.message)).collect();
        refused.append(&mut unfit);
        refused.sort_by_key(|(row, ..)| *row);
        let bytes = encoded.bytes(&accepted);
        let answers = Answers { accepted, refused, returned: self.returned(&returned)?, not_confirmed };
        self.keep(batch, &answers.accepted);
        Ok((answers, bytes))
    }

    /// Where the split's transaction cannot be done again, its receipt may as well be written on the way.
    fn note(&mut self, place: PartPlace, part: Part) -> Result<(), Failure> {
        self.split.parts.push(Noted { place: place.clone(), part });
        if !(self.split.partly && self.open) {
            return Ok(());
        }
        match self.write_parts(&self.split.parts) {
            Ok(()) => {
                self.split.parts.clear();
                self.split.noted = Some(place);
            }
            Err(Unfinished::Lost(trouble) | Unfinished::Unknown(trouble)) => {
                self.after(&mut Tries::default(), &trouble)?;
            }
            Err(Unfinished::Twice | Unfinished::TakenOver | Unfinished::Broken(_)) => {
                let message = "the split was committed meanwhile, by a run that had been taken for dead";
                return Err(Failure::new(Exit::TryAgain, format!("{}: {message}", self.server)));
            }
        }
        Ok(())
    }

    fn load(&mut self, place: PartPlace) -> Result<Option<Vec<u8>>, Failure> {
        let mut tries = Tries::default();
        loop {
            match self.find_part(&place) {
                Ok(found) => return Ok(found),
                Err(trouble) => self.after(&mut tries, &trouble)?,
            }
        }
    }

    fn commit(&mut self, _split: SplitId) -> Result<Commit, Failure> {
        self.finish()
    }

    fn checks_at_commit(&self) -> bool {
        self.target.deferred && self.setup.constraints == Constraints::Declared && self.setup.layout.returned.is_empty()
    }

    fn check_at_once(&mut self, every_row: bool) {
        self.every_row = every_row;
    }

    fn discard(&mut self) -> Result<(), Failure> {
        self.undo();
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.undo();
        Ok(())
    }
}

impl Split {
    fn name(&self) -> String {
        self.id.map_or_else(|| "the split".to_owned(), |id| format!("split number {}", id.0))
    }
}
