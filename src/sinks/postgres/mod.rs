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
//! COMMIT itself nobody knows the outcome: the split then counts as not stored, is not written again, and the
//! failure says so. A run that is repeated writes all of its splits again.

mod encode;
mod spec;
mod table;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;

use self::{
    spec::{Plan, Spec},
    table::Target,
    worker::Worker,
};
use crate::{
    failure::{Exit, Failure},
    kind::{Compiled, Context, Kind, Workers},
    postgres::{Server, Session},
    stage::{Delivery, Mode, Sink, SinkWorker},
};

/// The kind `postgres`.
pub(super) const KIND: Kind<dyn Sink> = Kind {
    name: "postgres",
    schema: |generator| Spec::json_schema(generator),
    check: |context| {
        context.decode::<Spec>();
    },
    side: None,
    compile,
};

/// Workers, and so connections, unless the spec says otherwise.
const WORKERS: usize = 2;

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Sink>> {
    let spec: Spec = context.decode()?;
    let plan = Plan::new(spec, context)?;
    let (output, notes) = (Some(plan.output.clone()), plan.notes());
    let stage = Postgres { plan: Arc::new(plan), ready: Mutex::new(None) };
    Some(Compiled { stage: Box::new(stage), output, workers: Workers::Default(WORKERS), notes })
}

/// The compiled sink.
struct Postgres {
    plan: Arc<Plan>,
    /// Made by the first worker of a run: the table exists and fits.
    ready: Mutex<Option<Ready>>,
}

#[derive(Clone)]
struct Ready {
    server: Arc<Server>,
    target: Arc<Target>,
}

impl Postgres {
    /// The server and the table; the first call creates and checks the table.
    fn ready(&self) -> Result<(Ready, Session), Failure> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = &*ready {
            return Ok((ready.clone(), ready.server.connect()?));
        }
        let Plan { url, retry, statement_timeout, .. } = &*self.plan;
        let server = Arc::new(Server::new(url, retry, *statement_timeout, Exit::CantCreate)?);
        let session = server.connect()?;
        let target = Arc::new(table::prepare(&self.plan, &server, &session)?);
        let made = Ready { server, target };
        *ready = Some(made.clone());
        Ok((made, session))
    }
}

impl Sink for Postgres {
    fn delivery(&self) -> Delivery {
        Delivery::BySplit
    }

    fn by_split(&self) -> bool {
        true
    }

    fn worker(&self, mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        let plan = Arc::clone(&self.plan);
        if mode == Mode::Rehearse {
            return Ok(Box::new(worker::Rehearsal { plan }));
        }
        let (Ready { server, target }, session) = self.ready()?;
        Ok(Box::new(Worker::new(plan, server, target, session)))
    }
}
