//! `memcached`: records as keys and values into one or more memcached servers, by plain `set`.
//!
//! ```text
//! batch ─▶ key, value, route ─▶ a lane per server ─▶ quiet sets + one barrier ─▶ servers, all at once
//!          (expressions)        (one buffer each)    (connection)                     │
//! accepted, rejects, failed ◀── verdict per row ◀── replies ◀─────────────────────────┘
//! ```
//!
//! The guarantee is at least once, and convergent: a part of a batch that is in doubt is sent again as a
//! whole. With `ack = "batch"` a row is accepted once the barrier behind it came back without an error. With
//! `ack = "none"` that is asked for once, at commit, which fails if any row sent is in doubt.
//!
//! No attempt takes longer than `retry.timeout`, however the server behaves. A server on which all attempts
//! fail is down for the rest of the run: its rows fail at once, the other servers go on.

mod connection;
mod lane;
mod sample;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    fmt,
    hash::RandomState,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time,
};

use arrow_array::{ArrayRef, StringViewArray, cast::AsArray};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    sample::Sample,
    worker::{Core, Rows, Values},
};
use crate::{
    batch::{Batch, ColumnType, RejectCode, Rejects},
    expr::{Expr, RowError},
    failure::{Exit, Failure},
    jobspec::{Bytes, Duration, Path, Place, Problem, Retry, Text, Value},
    kind::{Compiled, Context, Kind, Workers},
    stage::{Guarantee, Mode, Sink, SinkProperties, SinkWorker, Verified, Written},
};

/// The kind `memcached`.
pub(super) const KIND: Kind<dyn Sink> = Kind::new::<Spec>("memcached", compile);

/// What memcached itself needs of an item's 1 MiB for a key of one byte: no larger value fits, whatever the key.
const ITEM_OVERHEAD: u64 = 60;

/// memcached counts time in 32 bits; beyond this it would soon be wrong.
const LONGEST_EXPIRE: u64 = 10 * 365 * 24 * 60 * 60;

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
    /// Servers by name, as `host:port`.
    servers: IndexMap<String, Text>,
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

/// When a row counts as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "MemcachedAck")]
enum Ack {
    /// Every batch is confirmed by the servers.
    #[default]
    Batch,
    /// Nothing is confirmed until the end of the run.
    None,
}

/// How to check what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Verify {
    /// How many keys to read back.
    sample: u32,
}

fn default_expire() -> Duration {
    Duration(time::Duration::ZERO)
}

fn default_max_value_bytes() -> Bytes {
    Bytes((1 << 20) - ITEM_OVERHEAD)
}

/// A server, and whether it is still worth trying.
#[derive(Debug)]
struct Server {
    name: String,
    /// `host:port`
    address: String,
    /// Why it was given up for the rest of the run.
    down: OnceLock<String>,
}

impl Server {
    /// Gives the server up, unless another worker has. Returns the reason that holds.
    fn mark_down(&self, reason: String) -> String {
        let held = self.down.get_or_init(|| {
            tracing::error!("{reason}");
            reason
        });
        held.clone()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memcached server `{}` ({})", self.name, self.address)
    }
}

/// What the workers of a sink share.
#[derive(Debug)]
struct Shared {
    servers: Vec<Server>,
    /// Each server's place by its name.
    routes: IndexMap<String, usize>,
    ack: Ack,
    retry: Retry,
    /// Seconds; 0 is for ever.
    expire: u64,
    flags: u32,
    max_value_bytes: u64,
    verify: Option<Verify>,
    /// One seed for the samples of all workers.
    random: RandomState,
    /// The samples of the workers that have committed.
    sample: Mutex<Option<Sample>>,
}

impl Shared {
    fn new(spec: &Spec) -> Self {
        let server = |(name, address): (&String, &String)| Server {
            name: name.clone(),
            address: address.clone(),
            down: OnceLock::new(),
        };
        let limit = |wait: Duration| Duration(wait.0.min(Retry::LONGEST_WAIT));
        let expire = spec.expire.0;
        Shared {
            servers: spec.servers.iter().map(server).collect(),
            routes: spec.servers.keys().cloned().zip(0..).collect(),
            ack: spec.ack,
            retry: Retry {
                attempts: spec.retry.attempts.max(1),
                backoff: limit(spec.retry.backoff),
                timeout: limit(spec.retry.timeout),
            },
            expire: expire.as_secs() + u64::from(expire.subsec_nanos() > 0),
            flags: spec.flags,
            max_value_bytes: spec.max_value_bytes.0,
            verify: spec.verify,
            random: RandomState::new(),
            sample: Mutex::new(None),
        }
    }

    fn route(&self, name: &str) -> Option<usize> {
        self.routes.get(name).copied()
    }

    fn empty_sample(&self) -> Option<Sample> {
        self.verify.map(|verify| Sample::new(verify.sample as usize, self.random.clone()))
    }

    fn merge(&self, sample: Sample) {
        let mut merged = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *merged {
            Some(merged) => merged.merge(sample),
            None => *merged = Some(sample),
        }
    }

    fn verify(&self) -> Result<Option<Verified>, Failure> {
        let sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        sample.as_ref().map(|sample| sample.verify(&self.servers, &self.retry)).transpose()
    }

    /// What `runner plan` says.
    fn notes(&self) -> Vec<String> {
        let servers: Vec<String> = self.servers.iter().map(|s| format!("{} → {}", s.name, s.address)).collect();
        let Retry { attempts, backoff, timeout } = &self.retry;
        let mut notes = vec![
            format!("servers {}", servers.join(", ")),
            match self.ack {
                Ack::Batch => "every batch acknowledged".to_owned(),
                Ack::None => "acknowledged once, at the end".to_owned(),
            },
            format!("{attempts} attempts of {timeout}, backoff {backoff} doubling"),
        ];
        if let Some(verify) = self.verify {
            notes.push(format!("verify a sample of {} keys", verify.sample));
        }
        if self.expire > 0 {
            notes.push(format!("values expire after {}", Duration(time::Duration::from_secs(self.expire))));
        }
        notes
    }
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Sink>> {
    let spec: Spec = context.decode()?;
    let sound = check(&spec, context);
    let key = typed(context, "key", &spec.key, &[ColumnType::String]);
    let value = typed(context, "value", &spec.value, &[ColumnType::Binary, ColumnType::String]);
    let route = match &spec.route {
        Some(route) => typed(context, "route", route, &[ColumnType::String]).map(Some),
        None => Some(None),
    };
    if !sound {
        return None;
    }
    let shared = Arc::new(Shared::new(&spec));
    let notes = shared.notes();
    let memcached = Memcached { columns: Arc::new(Columns { key: key?, value: value?, route: route? }), shared };
    Some(Compiled { stage: Box::new(memcached), output: None, workers: Workers::Default(2), notes })
}

/// Checks all but the expressions. What is not known while checking stands for something sound.
fn check(spec: &Spec, context: &mut Context<'_>) -> bool {
    let mut found: Vec<(Path, &str)> = Vec::new();
    let mut problem = |path: Path, message| found.push((path, message));
    let root = Path::default();
    if spec.servers.is_empty() {
        problem(root.entry("servers"), "`servers` names no server");
    }
    for (name, _) in spec.servers.iter().filter(|(_, address)| !is_address(address)) {
        problem(root.entry("servers").entry(name), "expected `host:port`, an IPv6 address in brackets");
    }
    if spec.verify.is_some_and(|verify| verify.sample == 0) {
        problem(root.key("verify.sample"), "a sample of 0 keys verifies nothing");
    }
    if spec.retry.timeout.0.is_zero() {
        problem(root.key("retry.timeout"), "nothing is done within a `timeout` of 0");
    }
    if spec.expire.0 > time::Duration::from_secs(LONGEST_EXPIRE) {
        problem(root.key("expire"), "memcached keeps no value longer than ten years");
    }
    found.retain(|(path, _)| !is_unknown(context.table, path));
    let mut sound = found.is_empty();
    for (path, message) in found {
        let place = Place::value(Path(context.path.0.iter().cloned().chain(path.0).collect()));
        context.problems.push(Problem::new("value", place, message));
    }
    if spec.route.is_none() && spec.servers.len() > 1 {
        let message = format!("missing key `route`: it picks one of the {} servers", spec.servers.len());
        context.problems.push(Problem::new("missing-key", Place::key(context.path.clone()), message));
        sound = false;
    }
    sound
}

/// Is the value at `path`, or a table it stands in, known only when the job runs?
fn is_unknown(root: &Value, path: &Path) -> bool {
    (0..=path.0.len()).any(|steps| matches!(root.get(&Path(path.0[..steps].to_vec())), Some(Value::Unknown)))
}

/// `host:port`, with an IPv6 address in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_ok = match bare {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    host_ok && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The expression at `key`, which must have one of the types.
fn typed(context: &mut Context<'_>, key: &str, text: &str, types: &[ColumnType]) -> Option<Expr> {
    if is_unknown(context.table, &Path::default().entry(key)) {
        let place = Place::value(context.path.entry(key));
        context
            .problems
            .push(Problem::new("unchecked", place, "this cannot be checked before its value is known").note());
        return None;
    }
    let expr = context.expr(key, text)?;
    if types.contains(expr.column_type()) {
        return Some(expr);
    }
    let legal: Vec<String> = types.iter().map(|legal| format!("`{legal}`")).collect();
    let message = format!("`{key}` must be {}, and this is `{}`", legal.join(" or "), expr.column_type());
    context.problem(key, "type", message);
    None
}

/// The compiled sink.
struct Memcached {
    columns: Arc<Columns>,
    shared: Arc<Shared>,
}

/// The expressions.
struct Columns {
    key: Expr,
    value: Expr,
    route: Option<Expr>,
}

impl Sink for Memcached {
    fn properties(&self) -> SinkProperties {
        Guarantee::LastWins.into()
    }

    fn worker(&self, mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        let core = Core::new(Arc::clone(&self.shared), mode);
        Ok(Box::new(Worker { columns: Arc::clone(&self.columns), core }))
    }

    fn verify(&self) -> Result<Option<Verified>, Failure> {
        self.shared.verify()
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
        let mut errors = Vec::new();
        let keys = key.evaluate(batch, &mut errors);
        let values = value.evaluate(batch, &mut errors);
        let routes = route.as_ref().map(|route| route.evaluate(batch, &mut errors));
        let values = match values.as_binary_view_opt() {
            Some(values) => Values::Binary(values),
            None => Values::Text(text(&values)?),
        };
        let rows = Rows { keys: text(&keys)?, values, routes: routes.as_ref().map(text).transpose()? };

        let mut rejects = Rejects::default();
        first_per_row(&mut errors);
        for error in &errors {
            rejects.push(batch, error.row as usize, RejectCode("expression"), error.message.clone());
        }
        let is_bad = |row: u32| errors.binary_search_by_key(&row, |error| error.row).is_ok();
        let mut written = self.core.write(batch, rows, is_bad);
        written.rejects.splice(..0, rejects.take());
        Ok(written)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.core.commit()
    }
}

/// Leaves the first error of each row, in order of rows: a row is refused once.
fn first_per_row(errors: &mut Vec<RowError>) {
    errors.sort_by_key(|error| error.row);
    errors.dedup_by_key(|error| error.row);
}

fn text(array: &ArrayRef) -> Result<&StringViewArray, Failure> {
    let wrong = || Failure::new(Exit::Bug, format!("a string was compiled, {} came out", array.data_type()));
    array.as_string_view_opt().ok_or_else(wrong)
}
