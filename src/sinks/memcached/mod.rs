//! `memcached`: records as keys and values into one or more memcached servers, by plain `set`.
//!
//! ```text
//! batch ─▶ key, value, route ─▶ a connection per server ─▶ quiet sets + one barrier ─▶ servers, all at once
//!          (expressions)        (one buffer each)          (stream)                         │
//! accepted, rejects, failed ◀── answer per row ◀── replies ◀────────────────────────────────┘
//! ```
//!
//! A row goes to the server that `route` names, or to the one of a list that its key belongs to ([`ketama`]).
//!
//! A later row takes the place of an earlier one with its key. Rows of one key are sent by one worker in the order of
//! the input, unless `order = "any"` gives that up. What a server has not confirmed is sent again, from the first
//! such row on, so a repeat ends in the same state. With `ack = "batch"` a row is accepted once the barrier behind it
//! came back without an error. With `ack = "none"` that is asked for once, at commit, which fails if any row sent is
//! in doubt.
//!
//! No attempt takes longer than `retry.timeout`, however the server behaves. A server on which all attempts
//! fail is down for the rest of the run: its rows fail at once, the other servers go on.

mod access;
mod connection;
mod identity;
mod ketama;
mod server;
mod spec;
mod stream;
#[cfg(test)]
mod tests;
mod verify;
mod worker;

use std::{
    hash::RandomState,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use self::{
    identity::Identities,
    ketama::Ring,
    server::{Server, Shared},
    spec::{Servers, Spec, check},
    worker::{Core, Rows},
};
use crate::{
    batch::{Batch, ColumnType, Rejects},
    expr::Expr,
    failure::Failure,
    keyed::{self, Evaluation, Values, text},
    kind::{Compiled, Context, Kind, Order},
    stage::{Attempt, Inspection, Mode, Sink, SinkProperties, SinkWorker, Verified, Written},
};

/// The kind `memcached`.
pub(super) const KIND: Kind<dyn Sink> = Kind::new::<Spec>("memcached", compile);

/// Workers unless the spec says otherwise: while one waits for the servers the other prepares its batch.
const WORKERS: usize = 2;

/// What the workers share of a sound spec.
fn shared(spec: &Spec) -> Shared {
    let all = spec.servers.all();
    let servers: Vec<Server> = all.iter().map(|(name, address)| Server::new(name, address, &spec.retry)).collect();
    let ring = match spec.servers {
        Servers::Named(_) => None,
        Servers::Listed(_) => Some(Ring::new(servers.iter().map(|server| &server.address))),
    };
    let expire = spec.expire.0;
    Shared {
        servers,
        routes: all.into_iter().map(|(name, _)| name.clone()).zip(0..).collect(),
        ring,
        access: spec.access(),
        ack: spec.ack,
        retry: spec.retry.clone(),
        expire: expire.as_secs() + u64::from(expire.subsec_nanos() > 0),
        flags: spec.flags,
        max_value_bytes: spec.max_value_bytes.0,
        verify: spec.verify,
        identities: Identities::default(),
        random: RandomState::new(),
        sample: Mutex::new(None),
        pushed_out: AtomicU64::new(0),
    }
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Sink>> {
    let spec: Spec = context.decode()?;
    let sound = check(&spec, context);
    let key = context.keyed("key", &spec.key);
    let value = context.typed("value", &spec.value, &[ColumnType::Binary, ColumnType::String]);
    let route = match &spec.route {
        Some(route) => context.typed("route", route, &[ColumnType::String]).map(Some),
        None => Some(None),
    };
    if !sound {
        return None;
    }
    let shared = Arc::new(shared(&spec));
    let mut notes = shared.notes();
    notes.push(spec.order.note().to_owned());
    let (key, divide) = key?;
    let columns = Arc::new(Columns { key, value: value?, route: route? });
    let workers = spec.order.workers(divide, WORKERS);
    let memcached = Memcached { columns, shared, order: spec.order };
    Some(Compiled { stage: Box::new(memcached), output: None, workers, notes })
}

/// The compiled sink.
struct Memcached {
    columns: Arc<Columns>,
    shared: Arc<Shared>,
    order: Order,
}

/// The expressions.
struct Columns {
    key: Expr,
    value: Expr,
    route: Option<Expr>,
}

impl Sink for Memcached {
    fn properties(&self) -> SinkProperties {
        SinkProperties { may_lose: true, ..self.order.guarantee().into() }
    }

    fn columns(&self) -> Option<Vec<usize>> {
        let Columns { key, value, route } = &*self.columns;
        Some(keyed::columns([key, value].into_iter().chain(route)))
    }

    fn worker(&self, mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        if mode == Mode::Write {
            self.shared.access.ready()?;
        }
        let core = Core::new(Arc::clone(&self.shared), mode);
        Ok(Box::new(Worker { columns: Arc::clone(&self.columns), core }))
    }

    fn inspect(&self, attempt: &Attempt) -> Result<Inspection, Failure> {
        let untouched = Identities::of(attempt)?.is_some_and(|met| met.is_empty());
        Ok(Inspection { untouched, ..Inspection::default() })
    }

    fn begin(&self, attempt: &Attempt) -> Result<(), Failure> {
        self.shared.identities.begin(attempt)
    }

    fn check(&self, attempt: Option<&Attempt>) -> Result<Option<String>, Failure> {
        self.shared.check(attempt)
    }

    fn verify(&self) -> Result<Option<Verified>, Failure> {
        verify::verify(&self.shared)
    }
}

/// One thread's half: evaluates the expressions and hands the columns to the core.
struct Worker {
    columns: Arc<Columns>,
    core: Core,
}

impl SinkWorker for Worker {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let Columns { key, value, route } = &*self.columns;
        let mut evaluation = Evaluation::of(batch);
        let keys = evaluation.column(key);
        let values = evaluation.column(value);
        let routes = route.as_ref().map(|route| evaluation.column(route));
        let rows =
            Rows { keys: text(&keys)?, values: Values::of(&values)?, routes: routes.as_ref().map(text).transpose()? };
        let mut rejects = Rejects::default();
        let refused = evaluation.refuse(&mut rejects);
        let mut written = self.core.write(batch, rows, |row| refused.contains(row))?;
        written.rejects.splice(..0, rejects.take());
        Ok(written)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.core.commit()
    }
}
