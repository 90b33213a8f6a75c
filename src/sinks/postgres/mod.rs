//! `postgres`: records into a table of a PostgreSQL database.
//!
//! ```text
//! batch ─▶ values as text ─▶ COPY, or one INSERT over arrays ─▶ savepoint kept
//!          (encode)          (whole batch)                          │ a row is refused:
//!                                                                   ▼ back to the savepoint, halves
//! end of the split ─▶ COMMIT ─▶ durable
//! ```
//!
//! Each worker has a connection of its own, and a split is one transaction: it is stored whole or not at all.
//! A row that the server refuses is a reject with the server's own words; finding it costs a few statements
//! more, not the batch. A transaction that was lost (a broken connection, a deadlock) is done again as long as
//! nothing of it has been told to others: the worker keeps the rows of the open split for that, up to 64 MiB,
//! and not where `returning` is asked for, since other ids would be given. When the connection breaks during
//! COMMIT itself nobody knows the outcome, unless there is a receipt to look for: without one the split counts as not
//! stored, is not written again, and the failure says so.
//!
//! Where the run can be resumed, a receipt of each split is committed with its rows, in a table `_runner_receipts`
//! of the same schema (`receipts`). A split whose receipt is there is not written again: its rows go to the stages
//! behind as the server gave them back the first time. The table goes when the run is over.
//!
//! With `upsert` and `ignore`, rows with equal keys are written in the order of the input: they go to one worker, which
//! commits its share of each split in order. Where two texts may be one key to the database, there is one worker.

mod encode;
mod heartbeat;
mod receipts;
mod refuse;
mod rehearse;
mod spec;
mod table;
mod worker;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use self::{
    heartbeat::Heartbeat,
    receipts::Ledger,
    rehearse::Rehearsal,
    spec::{Setup, Spec},
    table::Target,
    worker::Worker,
};
use super::table::TableWorker;
use crate::{
    failure::{Exit, Failure},
    kind::{Compiled, Context, Kind},
    postgres::{Server, Session},
    stage::{Attempt, Inspection, Mode, Sink, SinkProperties, SinkWorker},
};

/// The kind `postgres`.
pub(super) const KIND: Kind<dyn Sink> = Kind::new::<Spec>("postgres", compile);

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Sink>> {
    let spec: Spec = context.decode()?;
    let setup = Setup::new(spec, context)?;
    let workers = setup.workers(context);
    let (output, notes) = (Some(setup.layout.output.clone()), setup.notes());
    let stage = Postgres {
        setup: Arc::new(setup),
        ready: Mutex::new(None),
        attempt: Mutex::new(None),
        workers: AtomicU32::new(0),
    };
    Some(Compiled { stage: Box::new(stage), output, workers, notes })
}

/// The compiled sink.
struct Postgres {
    setup: Arc<Setup>,
    /// Made by the first worker of a run: the table exists and fits.
    ready: Mutex<Option<Ready>>,
    /// Where the run can be resumed.
    attempt: Mutex<Option<Attempt>>,
    /// Counts the workers.
    workers: AtomicU32,
}

#[derive(Clone)]
struct Ready {
    server: Arc<Server>,
    target: Arc<Target>,
    ledger: Option<Arc<Ledger>>,
    /// Where there are receipts.
    _heartbeat: Option<Arc<Heartbeat>>,
}

impl Postgres {
    fn server(&self) -> Result<Server, Failure> {
        let Setup { url, retry, statement_timeout, .. } = &*self.setup;
        Server::new(url, retry, *statement_timeout, Exit::CantCreate)
    }

    /// The server and the table; the first call creates and checks the table.
    fn ready(&self) -> Result<(Ready, Session), Failure> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = &*ready {
            return Ok((ready.clone(), ready.server.connect()?));
        }
        let server = Arc::new(self.server()?);
        let session = server.connect()?;
        let attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ledger = attempt.map(|attempt| Ledger::open(&self.setup, attempt, &server, &session)).transpose()?;
        let target = Arc::new(table::prepare(&self.setup, ledger.as_ref(), &server, &session)?);
        let ledger = ledger.map(Arc::new);
        let beating = ledger.as_ref().map(|ledger| Heartbeat::start(Arc::clone(&server), Arc::clone(ledger)));
        let made = Ready { server, target, ledger, _heartbeat: beating.transpose()?.map(Arc::new) };
        *ready = Some(made.clone());
        Ok((made, session))
    }
}

impl Sink for Postgres {
    fn properties(&self) -> SinkProperties {
        self.setup.layout.guarantee().into()
    }

    fn inspect(&self, attempt: &Attempt) -> Result<Inspection, Failure> {
        if self.setup.layout.receipts.is_none() {
            return Ok(Inspection::default());
        }
        let server = self.server()?;
        server.persist(|| receipts::inspect(&self.setup, attempt, &server.try_connect()?))
    }

    fn begin(&self, attempt: &Attempt) -> Result<(), Failure> {
        if self.setup.layout.receipts.is_some() {
            *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt.clone());
        }
        Ok(())
    }

    fn after(&self) -> Result<(), Failure> {
        if self.setup.layout.after.is_empty() {
            return Ok(());
        }
        let server = self.server()?;
        let session = server.connect()?;
        self.setup.layout.after.iter().try_for_each(|sql| {
            let what = format!("{server}: cannot run the `after` statement `{sql}`");
            session.run(sql).map_err(|trouble| trouble.failure(Exit::Io, &what))
        })
    }

    fn end(&self, attempt: &Attempt) -> Result<(), Failure> {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = None;
        match self.setup.layout.receipts {
            Some(_) => receipts::clear(&self.setup, attempt, &self.server()?),
            None => Ok(()),
        }
    }

    fn worker(&self, mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        let setup = Arc::clone(&self.setup);
        if mode == Mode::Rehearse {
            return Ok(Box::new(Rehearsal { setup }));
        }
        let (Ready { server, target, ledger, .. }, session) = self.ready()?;
        let number = self.workers.fetch_add(1, Ordering::Relaxed);
        if let Some(why) = target.undivided.as_ref().filter(|_| number > 0) {
            let help = "set `concurrency = 1`, or `order = \"any\"`";
            let message = format!("{server}: table `{}`: {why}; {help}", setup.table.written);
            return Err(Failure::new(Exit::CantCreate, message));
        }
        let receipts = ledger.as_ref().map(|ledger| (Arc::clone(&ledger.receipts), number));
        let layout = Arc::clone(&setup.layout);
        let worker = Worker::new(setup, server, target, ledger, session);
        Ok(Box::new(TableWorker::new(layout, worker, receipts)))
    }
}
