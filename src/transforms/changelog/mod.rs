//! `changelog`: applies inserts, updates and deletes to one document per key, in the order of the input.
//!
//! ```text
//! rows ─▶ worker of the key ─▶ document (from the store when the key is first met)
//!                                  │ emit = "document": each changed key once, after the last row
//!                                  └ emit = "change": each operation, with what became of it
//! ```
//!
//! What is emitted goes to the `kv` sink that `store` names; this stage itself writes nothing there. With
//! `emit = "document"` the store is as it was until all of the input has been applied, and a run that cannot
//! finish changes nothing. With `emit = "change"` documents are stored while the run goes on: `document` of a
//! row is the key's document with all operations of the row's batch applied, one text for all of the rows.
//!
//! No operation is applied twice: where the run can be resumed should it be interrupted, a document is kept as it
//! was when its key is first met, durably before anything is emitted that could change it in the store. An attempt
//! that goes on begins from those, with the first operation.

mod document;
mod documents;
mod patch;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use schemars::JsonSchema;
use serde::Deserialize;

use self::{documents::Documents, worker::Worker};
use crate::{
    batch::{Column, ColumnType, Schema},
    expr::Expr,
    failure::Failure,
    jobspec::{BatchSize, Problem, SpecLocation, Table, Value, nearest},
    kind::{Compiled, Context, Kind, Workers},
    stage::{Attempt, Transform, TransformProperties, TransformWorker},
    stores::{self, Access, Address, Store, UndoLog},
};

/// The `changelog` kind.
pub(super) const KIND: Kind<dyn Transform> = Kind::new::<ChangelogSpec>("changelog", compile);

/// Applies inserts, updates and deletes to one document per key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangelogSpec {
    /// Expression for the key of the document, a string. A column's name is the name of the key in the output,
    /// too; that of any other expression is `key`.
    key: String,
    /// Expression for what is to be done: `insert`, `update` or `delete`.
    op: String,
    /// Expression for the entry's id, `int64`.
    id: Option<String>,
    /// Expression for the new entry, or for the merge patch (RFC 7396) that changes one: `json`, or a string
    /// that is JSON.
    record: String,
    /// Does an insert without an id take the document's next one? Else it is a reject.
    #[serde(default)]
    auto_id: bool,
    /// The `kv` sink that keeps the documents: each is read from there when its key is first met. Without one,
    /// every document is empty at first.
    store: Option<String>,
    /// What is emitted.
    #[serde(default)]
    emit: Emit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Emit {
    /// Each changed key with its document, once, after the last row.
    #[default]
    Document,
    /// Each operation that was applied: the key, `op`, `id`, `record` (the entry after it) and `document`.
    Change,
}

/// Workers unless the spec says otherwise.
const WORKERS: usize = 2;

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Transform>> {
    use ColumnType::{Int64, Json, String as Text};
    let spec: ChangelogSpec = context.decode()?;
    let key = context.keyed("key", &spec.key);
    let op = context.typed("op", &spec.op, &[Text]);
    let id = match &spec.id {
        Some(text) => context.typed("id", text, &[Int64]).map(Some),
        None => Some(None),
    };
    let record = context.typed("record", &spec.record, &[Json, Text]);
    let name = key_name(context, &spec);
    let address = match &spec.store {
        Some(store) => store_of(context, store, name.as_deref()).map(Some),
        None => Some(None),
    };
    let (name, (key, divide), address) = (name?, key?, address?);
    let columns = Arc::new(Columns { key, op: op?, id: id?, record: record?, auto_id: spec.auto_id });
    let schema = schema(&name, spec.emit);
    let shared = Shared {
        columns,
        emit: spec.emit,
        schema: schema.clone(),
        batch: context.batch,
        store: address.flatten().map(|address| address.store()),
        sink: spec.store.clone().unwrap_or_default(),
        before: Mutex::new(None),
        memory: context.memory,
        workers: AtomicUsize::new(0),
    };
    let notes = notes(&spec);
    let stage = Box::new(Changelog(Arc::new(shared)));
    Some(Compiled { stage, output: Some(schema), workers: Workers::Keyed(divide, WORKERS), notes })
}

/// What `runner plan` says.
fn notes(spec: &ChangelogSpec) -> Vec<String> {
    let ids = if spec.auto_id { ", ids given where there are none" } else { "" };
    let from = match &spec.store {
        Some(store) => format!("documents go on from `{store}`{ids}"),
        None => format!("documents are empty at first{ids}"),
    };
    let emit = match spec.emit {
        Emit::Document => "each changed document once, at the end",
        Emit::Change => "each operation",
    };
    vec![from, format!("emits {emit}")]
}

/// The columns that are emitted.
fn schema(key: &str, emit: Emit) -> Schema {
    let column = |name: &str, column_type, nullable| Column { name: name.to_owned(), column_type, nullable };
    let (key, document) = (column(key, ColumnType::String, false), column("document", ColumnType::Json, false));
    Schema::new(match emit {
        Emit::Document => vec![key, document],
        Emit::Change => vec![
            key,
            column("op", ColumnType::String, false),
            column("id", ColumnType::Int64, false),
            column("record", ColumnType::Json, true),
            document,
        ],
    })
}

/// The name of the key in the output: that of the column it is, where it is one.
fn key_name(context: &mut Context<'_>, spec: &ChangelogSpec) -> Option<String> {
    let text = spec.key.trim();
    let name = if context.input().find(text).is_some() { text } else { "key" };
    let others: &[&str] = if spec.emit == Emit::Change { &["op", "id", "record", "document"] } else { &["document"] };
    if others.contains(&name) {
        let message = format!("the output has a column `{name}` of its own, so the key's column cannot be named so");
        context.problem("key", "columns", message);
        return None;
    }
    Some(name.to_owned())
}

/// The store that a `kv` sink of the job describes; `None` in it where its path is not known while checking.
#[expect(clippy::option_option, reason = "a problem, and a path that is not known yet, are two things")]
fn store_of(context: &mut Context<'_>, name: &str, key: Option<&str>) -> Option<Option<Address>> {
    let sinks = context.sinks;
    let Some((_, sink)) = stores::sinks(sinks).find(|(other, _)| *other == name) else {
        let help = nearest(name, stores::sinks(sinks).map(|(other, _)| other));
        let message = match sinks.contains_key(name) {
            true => format!("the sink `{name}` is not of type `kv`"),
            false => format!("there is no sink named `{name}`"),
        };
        let place = SpecLocation::value(context.path.key("store"));
        context.problems.push(Problem::new("unknown-store", place, message).help(help));
        return None;
    };
    let sound = [("key", key), ("value", Some("document"))].map(|(what, column)| {
        let given = text_of(sink, what);
        let wrong = given.zip(column).filter(|(given, column)| given != column);
        if let Some((given, column)) = wrong {
            let message = format!("the {what} of `{name}` is `{given}`, and that of this stage's documents `{column}`");
            context.problem("store", "store", message);
        }
        wrong.is_none()
    });
    (sound == [true; 2]).then(|| Address::of(sink))
}

fn text_of<'t>(table: &'t Table, key: &str) -> Option<&'t str> {
    table.get(key).and_then(Value::as_text).map(str::trim)
}

struct Changelog(Arc<Shared>);

/// What all workers share.
struct Shared {
    columns: Arc<Columns>,
    emit: Emit,
    schema: Schema,
    batch: BatchSize,
    store: Option<Arc<dyn Store>>,
    /// The sink that it belongs to.
    sink: String,
    /// Documents as they were when the run began, where it can be resumed.
    before: Mutex<Option<Arc<UndoLog>>>,
    /// Bytes that the documents of all workers may take.
    memory: usize,
    /// How many workers there are.
    workers: AtomicUsize,
}

/// The expressions.
struct Columns {
    key: Expr,
    op: Expr,
    id: Option<Expr>,
    record: Expr,
    auto_id: bool,
}

impl Shared {
    /// Bytes that the documents of one worker may take. All workers are made before the first row is read.
    fn share(&self) -> usize {
        self.memory / self.workers.load(Ordering::Relaxed).max(1)
    }
}

impl Transform for Changelog {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        let shared = Arc::clone(&self.0);
        shared.workers.fetch_add(1, Ordering::Relaxed);
        let open = |store: &Arc<dyn Store>| Ok((Arc::clone(store), store.session(Access::ReadIfThere)?));
        let before = shared.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let documents = Documents::new(shared.store.as_ref().map(open).transpose()?, before);
        Ok(Box::new(Worker::new(shared, documents)))
    }

    fn properties(&self) -> TransformProperties {
        TransformProperties {
            pipeline_breaker: self.0.emit == Emit::Document,
            ordered: false,
            // A document depends on all operations on it.
            stateful: true,
            not_replayable: self.0.store.is_none().then_some("without a `store` its documents start over"),
        }
    }

    fn begin(&self, attempt: &Attempt) -> Result<(), Failure> {
        if self.0.store.is_some() {
            let before = UndoLog::open(&attempt.folder, &self.0.sink, &attempt.run)?;
            *self.0.before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(before));
        }
        Ok(())
    }
}
