//! The `btrdb` source: the streams of a collection in BTrDB, a time-series database, by its version 5 service.
//!
//! ```text
//! collection ─▶ streams, in order ─▶ version of each ─▶ first and last point ─▶ windows: the splits
//!               (one session lists them, before the run)                          │
//! batches ◀── points, as the version has them ◀── one session per worker ◀────────┘
//! ```
//!
//! A stream's version is taken once, and all that is read of the stream is read at that version: its bounds and
//! its points. So what others insert during the run is either in no split or in none of its windows. Points that
//! the server still buffers have no version yet and are not seen.
//!
//! Windows begin at the stream's first point and exclude their end; the last window is the one that has the last
//! point. A window in which nothing lies is a split too. A stream without points has no splits; a line in the log
//! says so.
//!
//! A read that breaks off goes on behind the points that were passed on: at the time of the last of them, of
//! which as many are skipped as were seen. A version does not change, so no point is lost or doubled.

mod columns;
mod endpoint;
mod errors;
mod gone;
mod list;
mod reader;
mod session;
mod span;
#[cfg(test)]
mod tests;
mod windows;
mod wire;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time,
};

use arrow_array::types::TimestampNanosecondType;
use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    columns::Columns,
    endpoint::Address,
    gone::{Gone, UntilGone},
    reader::PointReader,
    session::{Server, Session},
    span::{MAX_TIME, MIN_TIME, Span},
    windows::WindowReader,
    wire::{StreamInfo, StreamInfoParams},
};
use crate::{
    batch::SplitId,
    failure::Failure,
    jobspec::{Duration, Path, Problem, Retry, Secret, SpecLocation, Text, Value, bounds, nearest},
    kind::{Compiled, Context, Kind, Workers},
    service::{ServiceError, port},
    stage::{Source, SourceWorker, Split, SplitReader},
    values::scalar::Scalar,
};

/// The kind `btrdb`.
pub(super) const KIND: Kind<dyn Source> = Kind::new::<Spec>("btrdb", compile);

/// Workers, and so connections, unless the spec says otherwise.
const WORKERS: usize = 4;

/// Keys of a `btrdb` source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Spec {
    /// The server, as `host:port`.
    endpoint: Text,
    /// Where the key is that the server wants.
    api_key: Option<Secret>,
    /// Speak TLS; at port 4411 it is spoken in any case.
    #[serde(default)]
    tls: bool,
    /// A file of certificates (PEM) that vouch for the server's. Without it, the file that the variable
    /// `BTRDB_CA_BUNDLE` names, or else the system's.
    ca: Option<PathBuf>,
    /// The collection whose streams are read.
    collection: Text,
    /// Read all collections whose names begin with `collection`.
    #[serde(default)]
    prefix: bool,
    /// Only streams with these tags.
    #[serde(default)]
    tags: BTreeMap<String, Text>,
    /// Only streams with these annotations.
    #[serde(default)]
    annotations: BTreeMap<String, Text>,
    /// Points or statistics?
    #[serde(default)]
    mode: Mode,
    /// How long a window is; windows begin at the first point of each stream.
    window: Duration,
    /// Only points from this time on: `2024-01-31`, `2024-01-31T12:00:00Z`.
    from: Option<Text>,
    /// Only points before this time.
    to: Option<Text>,
    /// The columns that are emitted, in this order; all of them where this is left out.
    columns: Option<Vec<String>>,
    /// How often and how patiently a connection, a question and a read are tried; `timeout` is of connecting.
    #[serde(default)]
    retry: Retry,
    /// Limit of an answer, and of each next piece of one.
    #[serde(default = "default_timeout", deserialize_with = "bounds::wait")]
    timeout: Duration,
    /// What becomes of a stream that is deleted while the job runs?
    #[serde(default)]
    gone: Gone,
}

/// What is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "BtrdbMode")]
enum Mode {
    /// One row per point.
    #[default]
    Raw,
    /// One row per window, with statistics that the server makes. A window without points has a row too.
    Stat,
}

fn default_timeout() -> Duration {
    Duration(time::Duration::from_secs(60))
}

/// What all workers share.
struct Setup {
    address: Address,
    collection: String,
    prefix: bool,
    tags: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    mode: Mode,
    /// Nanoseconds.
    window: i64,
    /// The first time that is read.
    from: i64,
    /// The first time after it that is not.
    to: i64,
    columns: Columns,
    /// Rows of a batch.
    rows: usize,
    retry: Retry,
    timeout: Duration,
    gone: Gone,
    /// Made when the splits are listed, or by the first worker.
    server: Mutex<Option<Arc<Server>>>,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Source>> {
    let spec: Spec = context.decode()?;
    let before = context.problems.iter().count();
    let address = address(&spec, context);
    let (from, to) = bounds(&spec, context);
    let window = window(&spec, context);
    let columns = columns(&spec, context);
    if spec.collection.is_empty() && !spec.prefix && is_known(context, "collection") {
        let message = "a collection has a name; for those of all collections, write `prefix = true`";
        context.problem("collection", "value", message);
    }
    context.limits(&[("timeout", spec.timeout), ("retry.timeout", spec.retry.timeout)]);
    if context.problems.iter().count() > before {
        return None;
    }
    let (address, columns) = (address?, columns?);
    let (notes, schema) = (notes(&spec, &address), columns.schema());
    let rows = context.batch.rows.min(context.batch.bytes / columns.row_bytes()).max(1);
    let Spec { collection, prefix, tags, annotations, mode, retry, timeout, gone, .. } = spec;
    let server = Mutex::new(None);
    let setup = Setup {
        address,
        collection,
        prefix,
        tags,
        annotations,
        mode,
        window,
        from,
        to,
        columns,
        rows,
        retry,
        timeout,
        gone,
        server,
    };
    let stage = Box::new(Btrdb { setup: Arc::new(setup) });
    Some(Compiled { stage, output: Some(schema), workers: Workers::Default(WORKERS), notes })
}

/// What `runner plan` says.
fn notes(spec: &Spec, address: &Address) -> Vec<String> {
    let tls = if address.tls { "with TLS" } else { "without TLS" };
    let name = if spec.prefix { "collections that begin with" } else { "collection" };
    let what = match spec.mode {
        Mode::Raw => "points",
        Mode::Stat => "statistics",
    };
    vec![
        format!("BTrDB at `{}`, {tls}", address.text),
        format!("{name} `{}`, {what} in windows of {} from each stream's first point", spec.collection, spec.window),
        "one connection per worker".to_owned(),
    ]
}

fn address(spec: &Spec, context: &mut Context<'_>) -> Option<Address> {
    let known = is_known(context, "endpoint");
    let tls = match port(&spec.endpoint) {
        Ok(port) => spec.tls || endpoint::means_tls(port),
        Err(_) if !known => spec.tls,
        Err(expected) => {
            context.problem("endpoint", "value", expected);
            return None;
        }
    };
    if known && !tls && spec.ca.is_some() {
        let message = "`ca` has no effect without TLS: write `tls = true`, or name port 4411";
        context.problem("ca", "ca", message);
    }
    Some(Address { text: spec.endpoint.clone(), tls, ca: spec.ca.clone(), key: spec.api_key.clone() })
}

/// The times between which points are read.
fn bounds(spec: &Spec, context: &mut Context<'_>) -> (i64, i64) {
    let mut time = |key: &str, text: &Option<Text>, otherwise| {
        let Some(text) = text.as_ref().filter(|_| is_known(context, key)) else { return otherwise };
        match TimestampNanosecondType::parse(text.as_bytes()) {
            Some(time) if (MIN_TIME..=MAX_TIME).contains(&time) => time,
            Some(_) => {
                let [first, last] = [MIN_TIME, MAX_TIME].map(span::time);
                let message = format!("`{text}` is not a time that BTrDB has: they go from {first} to {last}");
                context.problem(key, "value", message);
                otherwise
            }
            None => {
                let message = format!("`{text}` is not a time: expected one such as `2024-01-31T12:00:00Z`");
                context.problem(key, "value", message);
                otherwise
            }
        }
    };
    let (from, to) = (time("from", &spec.from, MIN_TIME), time("to", &spec.to, MAX_TIME));
    if from >= to {
        context.problem("to", "value", "no time lies between `from` and `to`");
    }
    (from, to)
}

/// The width of a window in nanoseconds.
fn window(spec: &Spec, context: &mut Context<'_>) -> i64 {
    let width = i64::try_from(spec.window.0.as_nanos()).unwrap_or(i64::MAX);
    if width == 0 {
        context.problem("window", "value", "no point lies in a window of 0");
    }
    width
}

fn columns(spec: &Spec, context: &mut Context<'_>) -> Option<Columns> {
    for key in ["mode", "columns"] {
        if !is_known(context, key) {
            let place = SpecLocation::value(context.path.key(key));
            let message = "the columns cannot be checked before its value is known";
            context.problems.push(Problem::new("unchecked", place, message).note());
            return None;
        }
    }
    let Some(names) = &spec.columns else { return Some(Columns::all(spec.mode)) };
    if names.is_empty() {
        context.problem("columns", "columns", "no column is named");
    }
    let mut sound = true;
    for (i, name) in names.iter().enumerate() {
        let found = if names[..i].contains(name) {
            Some((format!("column `{name}` is named twice"), None))
        } else if Columns::has(spec.mode, name) {
            None
        } else {
            let help = nearest(name, Columns::names(spec.mode));
            Some((format!("there is no column `{name}`"), help))
        };
        if let Some((message, help)) = found {
            sound = false;
            let place = SpecLocation::value(context.path.key("columns").index(i));
            context.problems.push(Problem::new("columns", place, message).help(help));
        }
    }
    sound.then(|| Columns::of(spec.mode, names))
}

/// Does the value at a key stand there, with all that is in it, or is it known only when the job runs?
fn is_known(context: &Context<'_>, key: &str) -> bool {
    match context.table.get(&Path::default().key(key)) {
        Some(Value::List(items)) => !items.contains(&Value::Unknown),
        value => value != Some(&Value::Unknown),
    }
}

impl Setup {
    fn server(&self) -> Result<Arc<Server>, Failure> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = &*server {
            return Ok(Arc::clone(server));
        }
        let made = Arc::new(Server::new(&self.address, &self.retry, self.timeout)?);
        Ok(Arc::clone(server.insert(made)))
    }
}

struct Btrdb {
    setup: Arc<Setup>,
}

impl Source for Btrdb {
    fn splits(&self) -> Result<Vec<Split>, Failure> {
        list::splits(&self.setup, self.setup.server()?)
    }

    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure> {
        let (setup, server) = (Arc::clone(&self.setup), self.setup.server()?);
        Ok(Box::new(Worker { setup, link: Link { server, session: None }, stream: None }))
    }
}

/// A server and perhaps a connection to it, made when it is needed.
struct Link {
    server: Arc<Server>,
    session: Option<Session>,
}

impl Link {
    /// Does something over the connection. After trouble it is closed: the next call has another.
    fn attempt<T>(&mut self, call: impl FnOnce(&mut Session) -> Result<T, ServiceError>) -> Result<T, ServiceError> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(self.server.try_connect()?),
        };
        let done = call(session);
        if done.as_ref().is_err_and(|trouble| trouble.code.is_none()) {
            self.session = None;
        }
        done
    }

    /// Does it until it succeeds, or all attempts are used up.
    fn persist<T>(&mut self, mut call: impl FnMut(&mut Session) -> Result<T, ServiceError>) -> Result<T, Failure> {
        let server = Arc::clone(&self.server);
        server.persist(|| self.attempt(&mut call))
    }
}

/// What a stream is called, as far as a split does not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Title {
    collection: String,
    /// The tag `name`.
    name: Option<String>,
}

/// One thread's half: a connection, made for the first split.
struct Worker {
    setup: Arc<Setup>,
    link: Link,
    /// The stream that was read last; the next split is likely one of its too.
    stream: Option<(Vec<u8>, Title)>,
}

impl Worker {
    /// What the stream of a split is called, where a column shows it.
    fn title(&mut self, span: &Span) -> Result<Option<Title>, Failure> {
        if !self.setup.columns.need_title() {
            return Ok(None);
        }
        let uuid = span.uuid.as_slice();
        if self.stream.as_ref().is_none_or(|(known, _)| known != uuid) {
            let question = StreamInfoParams { uuid: uuid.to_vec(), omit_version: true, omit_descriptor: false };
            let answer = self.link.persist(|session| session.ask::<StreamInfo>(question.clone()))?;
            self.stream = Some((uuid.to_vec(), list::title(&answer.descriptor.unwrap_or_default())));
        }
        Ok(self.stream.as_ref().map(|(_, title)| title.clone()))
    }
}

impl Worker {
    fn reader<'a>(&'a mut self, id: SplitId, span: Span) -> Result<Box<dyn SplitReader + 'a>, Failure> {
        let title = self.title(&span)?;
        let Worker { setup, link, .. } = self;
        let rows = setup.columns.rows(id, &span, title);
        Ok(match setup.mode {
            Mode::Raw => Box::new(PointReader::new(link, rows, span, setup.rows)),
            Mode::Stat => Box::new(WindowReader::new(link, rows, span, setup.rows, setup.window)),
        })
    }
}

impl SourceWorker for Worker {
    fn open<'a>(&'a mut self, id: SplitId, split: &Split) -> Result<Box<dyn SplitReader + 'a>, Failure> {
        let span = Span::of(split)?;
        let (gone, schema) = (self.setup.gone, self.setup.columns.schema());
        let reader = self.reader(id, span);
        match gone {
            Gone::Fail => reader,
            Gone::Reject => Ok(Box::new(UntilGone::new(reader, id, &split.name, schema)?)),
        }
    }
}
