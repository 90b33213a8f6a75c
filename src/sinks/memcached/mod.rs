//! `memcached`: records as keys and values into one or more memcached servers, by plain `set`.
//!
//! ```text
//! batch ─▶ key, value, route ─▶ a connection per server ─▶ quiet sets + one barrier ─▶ servers, all at once
//!          (expressions)        (one buffer each)          (stream)                         │
//! accepted, rejects, failed ◀── answer per row ◀── replies ◀────────────────────────────────┘
//! ```
//!
//! A later row takes the place of an earlier one with its key. Rows of one key are sent by one worker in the order of
//! the input, unless `order = "any"` gives that up. What a server has not confirmed is sent again, from the first
//! such row on, so a repeat ends in the same state. With `ack = "batch"` a row is accepted once the barrier behind it
//! came back without an error. With `ack = "none"` that is asked for once, at commit, which fails if any row sent is
//! in doubt.
//!
//! No attempt takes longer than `retry.timeout`, however the server behaves. A server on which all attempts
//! fail is down for the rest of the run: its rows fail at once, the other servers go on.

mod connection;
mod identity;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod verify;
mod worker;

use std::{
    hash::RandomState,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time,
};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    identity::Identities,
    server::{Ack, Server, Shared, Verify},
    worker::{Core, Rows},
};
use crate::{
    batch::{Batch, ColumnType, Rejects},
    expr::Expr,
    failure::Failure,
    jobspec::{Bytes, Duration, Path, Place, Problem, Retry, Text},
    keyed::{self, Evaluation, Values, text},
    kind::{Compiled, Context, Kind, Order},
    service::Address,
    stage::{Attempt, Inspection, Mode, Sink, SinkProperties, SinkWorker, Verified, Written},
};

/// The kind `memcached`.
pub(super) const KIND: Kind<dyn Sink> = Kind::new::<Spec>("memcached", compile);

/// What memcached itself needs of an item's 1 MiB for a key of one byte: no larger value fits, whatever the key.
const ITEM_OVERHEAD: u64 = 60;

/// memcached counts time in 32 bits; beyond this it would soon be wrong.
const LONGEST_EXPIRE: u64 = 10 * 365 * 24 * 60 * 60;

/// Workers unless the spec says otherwise: while one waits for the servers the other prepares its batch.
const WORKERS: usize = 2;

/// Keys of a `memcached` sink.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Spec {
    /// Expression for the key: a string of 1 to 250 bytes without spaces and control characters.
    key: Text,
    /// Expression for the value: binary or string.
    value: Text,
    /// Expression for the name of the server; may be left out where there is one server.
    route: Option<Text>,
    /// Servers by name: `host:port`, with an IPv6 address in brackets, or `unix:` and the path of a socket file. Where a
    /// host's name has several addresses, each is tried in turn within `retry.timeout`.
    servers: IndexMap<String, Text>,
    /// In which order rows with equal keys are stored.
    #[serde(default)]
    order: Order,
    /// When a row counts as stored.
    #[serde(default)]
    ack: Ack,
    /// Read a random sample back after the run. What has expired or was pushed out by then counts as not found.
    verify: Option<Verify>,
    /// How often and how patiently a part of a batch is tried.
    #[serde(default)]
    retry: Retry,
    /// How long the server keeps a value; 0 means until it needs the room.
    #[serde(default = "default_expire")]
    expire: Duration,
    /// The number kept beside every value for other clients.
    #[serde(default)]
    flags: u32,
    /// Larger values are rejects; raise it together with the servers' `-I`.
    #[serde(default = "default_max_value_bytes")]
    max_value_bytes: Bytes,
}

fn default_expire() -> Duration {
    Duration(time::Duration::ZERO)
}

fn default_max_value_bytes() -> Bytes {
    Bytes((1 << 20) - ITEM_OVERHEAD)
}

/// What the workers share of a sound spec.
fn shared(spec: &Spec) -> Shared {
    let server = |(name, address): (&String, &String)| Server::new(name, address, &spec.retry);
    let expire = spec.expire.0;
    Shared {
        servers: spec.servers.iter().map(server).collect(),
        routes: spec.servers.keys().cloned().zip(0..).collect(),
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

/// Checks all but the expressions. What is not known while checking stands for something sound.
fn check(spec: &Spec, context: &mut Context<'_>) -> bool {
    let mut found = Vec::new();
    if spec.servers.is_empty() {
        found.push(("servers", "`servers` names no server"));
    }
    if spec.verify.is_some_and(|verify| verify.sample == 0) {
        found.push(("verify.sample", "a sample of 0 keys verifies nothing"));
    }
    if spec.expire.0 > time::Duration::from_secs(LONGEST_EXPIRE) {
        found.push(("expire", "memcached keeps no value longer than ten years"));
    }
    let mut sound = context.sound(&found) & context.limits(&[("retry.timeout", spec.retry.timeout)]);
    for (name, address) in &spec.servers {
        let path = Path::default().entry("servers").entry(name);
        if let Err(expected) = Address::check(address)
            && context.is_known(&path)
        {
            let place = Place::value(Path(context.path.0.iter().cloned().chain(path.0).collect()));
            context.problems.push(Problem::new("value", place, expected));
            sound = false;
        }
    }
    if spec.route.is_none() && spec.servers.len() > 1 {
        let message = format!("missing key `route`: it picks one of the {} servers", spec.servers.len());
        context.problems.push(Problem::new("missing-key", Place::key(context.path.clone()), message));
        sound = false;
    }
    sound
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
        let core = Core::new(Arc::clone(&self.shared), mode);
        Ok(Box::new(Worker { columns: Arc::clone(&self.columns), core }))
    }

    fn inspect(&self, attempt: &Attempt) -> Result<Inspection, Failure> {
        let untouched = Identities::of(attempt)?.is_empty();
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
