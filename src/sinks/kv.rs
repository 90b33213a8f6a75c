//! `kv`: documents into a store, one per key: a folder of JSON files, or one SQLite file.
//!
//! Rows of one key are written by one worker in input order. Of several documents for a key in a batch only the
//! last is written: nobody could have seen the others. All documents of a batch are made durable together.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use arrow_array::{Array, StringViewArray};
use schemars::JsonSchema;
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    batch::{Batch, ColumnType, RejectCode, Rejects},
    expr::Expr,
    failure::Failure,
    keyed::{self, Evaluation, Refused, text},
    kind::{Compiled, Context, Kind, Order, Workers},
    service::count,
    stage::{Attempt, Mode, Sink, SinkProperties, SinkWorker, Written},
    stores::{self, Access, Backend, Change, Session, Store},
};

/// The `kv` sink.
pub(super) const KIND: Kind<dyn Sink> = Kind::new::<KvSpec>("kv", compile);

/// Keeps one JSON document per key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KvSpec {
    /// The folder, or the SQLite file.
    path: String,
    /// How documents are kept.
    #[serde(default)]
    backend: Backend,
    /// Expression for the key: any string, the empty one too.
    key: String,
    /// Expression for the document: `json`, or a string that is JSON. Null deletes the key's document.
    value: String,
    /// In which order rows with equal keys are stored.
    #[serde(default)]
    order: Order,
    /// When a row counts as stored.
    #[serde(default)]
    ack: Ack,
}

/// When a row counts as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "KvAck")]
enum Ack {
    /// When its document is durable; the sender waits for that.
    #[default]
    Each,
    /// At the end of the run. Until then the newest document of each key waits in memory that is bounded, and
    /// is written when that is full.
    None,
}

/// Bytes of documents that may wait in a worker where the sender does not: its mailbox.
const MAILBOX: usize = 4 << 20;

/// Workers unless the spec says otherwise: while one waits for the disk another can prepare its documents.
const WORKERS: usize = 2;

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Sink>> {
    let spec: KvSpec = context.decode()?;
    let keyed = context.keyed("key", &spec.key);
    let value = context.typed("value", &spec.value, &[ColumnType::Json, ColumnType::String]);
    let empty = spec.path.is_empty() && context.knows("path");
    if empty {
        context.problem("path", "path", "`path` names nothing");
    }
    let ((key, divide), value) = (keyed?, value?);
    if empty {
        return None;
    }
    let what = match spec.backend {
        Backend::Folder => format!("one file per key in `{}`", spec.path),
        Backend::Sqlite => format!("table `kv` of `{}`, SQLite", spec.path),
    };
    let when = match spec.ack {
        Ack::Each => "every batch durable before the next",
        Ack::None => "durable at the end",
    };
    let parse = *value.column_type() == ColumnType::String;
    let path = PathBuf::from(&spec.path);
    let store = stores::open(spec.backend, &path);
    let kv = Kv { path, store, columns: Arc::new(Columns { key, value, parse }), order: spec.order, ack: spec.ack };
    let workers = Workers::Keyed(divide, WORKERS);
    Some(Compiled {
        stage: Box::new(kv),
        output: None,
        workers,
        notes: vec![what, when.to_owned(), spec.order.note().to_owned()],
    })
}

struct Kv {
    path: PathBuf,
    store: Arc<dyn Store>,
    columns: Arc<Columns>,
    order: Order,
    ack: Ack,
}

struct Columns {
    key: Expr,
    value: Expr,
    /// Is the value text of which nobody has seen yet whether it is JSON?
    parse: bool,
}

impl Sink for Kv {
    fn properties(&self) -> SinkProperties {
        SinkProperties::of_files(self.order.guarantee(), vec![self.path.clone()])
    }

    fn columns(&self) -> Option<Vec<usize>> {
        Some(keyed::columns([&self.columns.key, &self.columns.value]))
    }

    fn begin(&self, attempt: &Attempt) -> Result<(), Failure> {
        self.store.begin(&attempt.run)
    }

    fn check(&self, attempt: Option<&Attempt>) -> Result<Option<String>, Failure> {
        let Some(attempt) = attempt else { return Ok(None) };
        let known = self.store.is_of(&attempt.run)?;
        Ok((!known).then(|| format!("`{}` is not what run {} has written to", self.path.display(), attempt.run)))
    }

    fn end(&self, attempt: &Attempt) -> Result<(), Failure> {
        self.store.end(&attempt.run)
    }

    fn worker(&self, mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        let session = match mode {
            Mode::Write => Some(self.store.session(Access::Write)?),
            Mode::Rehearse => None,
        };
        let columns = Arc::clone(&self.columns);
        let (ack, mailbox) = (self.ack, Mailbox::default());
        Ok(Box::new(Worker { columns, session, ack, mailbox, shown: false }))
    }
}

struct Worker {
    columns: Arc<Columns>,
    /// `None` in a rehearsal.
    session: Option<Box<dyn Session>>,
    ack: Ack,
    mailbox: Mailbox,
    /// In a rehearsal: have some documents been shown?
    shown: bool,
}

/// Documents that were accepted and are not written yet, the newest of each key.
#[derive(Default)]
struct Mailbox {
    waiting: HashMap<String, Option<String>>,
    bytes: usize,
    /// Documents that could not be written, and the first reason.
    lost: Option<(usize, Failure)>,
}

impl SinkWorker for Worker {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let mut evaluation = Evaluation::of(batch);
        let keys = evaluation.column(&self.columns.key);
        let values = evaluation.column(&self.columns.value);
        let (keys, values) = (text(&keys)?, text(&values)?);
        let mut rejects = Rejects::default();
        let mut refused = evaluation.refuse(&mut rejects);
        refused.judge(batch, &mut rejects, |row| {
            keyed::key(keys, row)?;
            match self.columns.parse && !values.is_null(row) {
                true => is_json(values.value(row)),
                false => Ok(()),
            }
        });
        let changes = changes(keys, values, &refused);
        let bytes = changes.iter().map(|change| (change.key.len() + change.document.map_or(0, str::len)) as u64).sum();
        let accepted = (batch.rows() - rejects.len()) as u64;
        let mut written = Written { rejects: rejects.take(), durable: true, ..Written::default() };
        fail::fail_point!("kv-put");
        let stored = match (&mut self.session, self.ack) {
            (None, _) => {
                written.samples = self.samples(&changes);
                Ok(())
            }
            (Some(session), Ack::Each) => session.put(&changes),
            (Some(session), Ack::None) => {
                written.durable = false;
                self.mailbox.take(&changes, session.as_mut());
                Ok(())
            }
        };
        match stored {
            Ok(()) => (written.accepted, written.bytes) = (accepted, bytes),
            Err(failure) => (written.failed, written.failure) = (accepted, Some(failure)),
        }
        Ok(written)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        if let Some(session) = &mut self.session {
            self.mailbox.flush(session.as_mut());
        }
        // Nothing follows: the store may be closed.
        self.session = None;
        match self.mailbox.lost.take() {
            None => Ok(()),
            Some((documents, Failure { exit, message })) => {
                let documents = count(documents as u64, "document");
                Err(Failure::new(exit, format!("{documents} could not be stored: {message}")))
            }
        }
    }
}

impl Worker {
    /// The first documents, in a rehearsal.
    fn samples(&mut self, changes: &[Change<'_>]) -> Vec<String> {
        const LINES: usize = 3;
        const WIDTH: usize = 200;
        if self.shown || changes.is_empty() {
            return Vec::new();
        }
        self.shown = true;
        let line = |change: &Change<'_>| match change.document {
            Some(document) if document.chars().count() > WIDTH => {
                format!("{} = {}…", change.key, document.chars().take(WIDTH).collect::<String>())
            }
            Some(document) => format!("{} = {document}", change.key),
            None => format!("{} is deleted", change.key),
        };
        changes.iter().take(LINES).map(line).collect()
    }
}

impl Mailbox {
    /// Lets documents wait, instead of older ones of the same keys.
    fn take(&mut self, changes: &[Change<'_>], session: &mut dyn Session) {
        let size = |key: &str, document: Option<&str>| key.len() + document.map_or(0, str::len);
        for Change { key, document } in changes {
            self.bytes += size(key, *document);
            if let Some(old) = self.waiting.insert((*key).to_owned(), document.map(str::to_owned)) {
                self.bytes -= size(key, old.as_deref());
            }
        }
        if self.bytes > MAILBOX {
            self.flush(session);
        }
    }

    /// Writes what waits. What cannot be written is remembered: the end of the run says so.
    fn flush(&mut self, session: &mut dyn Session) {
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let mut changes: Vec<Change<'_>> =
            waiting.iter().map(|(key, document)| Change { key, document: document.as_deref() }).collect();
        changes.sort_unstable_by_key(|change| change.key);
        if let Err(failure) = session.put(&changes) {
            let (lost, _) = self.lost.get_or_insert((0, failure));
            *lost += changes.len();
        }
    }
}

fn is_json(text: &str) -> Result<(), keyed::Refusal> {
    let refusal = |error| (RejectCode("bad_json"), format!("the value is not JSON: {error}"));
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(refusal)
}

/// The last document of each key, in the order of their rows.
fn changes<'a>(keys: &'a StringViewArray, values: &'a StringViewArray, refused: &Refused) -> Vec<Change<'a>> {
    let mut seen = HashSet::with_capacity(keys.len());
    let mut changes = Vec::with_capacity(keys.len());
    for row in (0..keys.len()).rev().filter(|row| !refused.contains(*row)) {
        let key = keys.value(row);
        if seen.insert(key) {
            changes.push(Change { key, document: (!values.is_null(row)).then(|| values.value(row)) });
        }
    }
    changes.reverse();
    changes
}
