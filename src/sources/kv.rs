//! The `kv` source: the documents of a store, with their keys. It only reads.

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, vec};

use arrow_array::{ArrayRef, RecordBatch, builder::StringViewBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    batch::{Batch, Block, Column, ColumnType, Origin, Position, Reject, RejectCode, Rejects, Schema, SplitId},
    failure::{Exit, Failure},
    jobspec::BatchSize,
    kind::{Compiled, Context, Kind, Workers},
    stage::{Detail, Source, SourceWorker, Split, SplitReader},
    stores::{self, Access, Backend, KeyRange, Session, Store},
};

/// The `kv` source.
pub(super) const KIND: Kind<dyn Source> = Kind::new::<KvSpec>("kv", compile);

/// Reads the documents of a store, as columns `key` and `value`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KvSpec {
    /// The folder, or the SQLite file.
    path: String,
    /// How documents are kept.
    #[serde(default)]
    backend: Backend,
    /// Only keys that begin with this.
    #[serde(default)]
    prefix: String,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Source>> {
    let spec: KvSpec = context.decode()?;
    let schema = Schema::new(vec![
        Column { name: "key".into(), column_type: ColumnType::String, nullable: false },
        Column { name: "value".into(), column_type: ColumnType::Json, nullable: false },
    ]);
    let what = match spec.backend {
        Backend::Folder => "a folder of documents",
        Backend::Sqlite => "documents in SQLite",
    };
    let keys = if spec.prefix.is_empty() { String::new() } else { format!(", keys from `{}` on", spec.prefix) };
    let notes = vec![format!("{what}, `{}`{keys}", spec.path)];
    let shared = Shared {
        store: stores::open(spec.backend, Path::new(&spec.path)),
        prefix: spec.prefix,
        schema: schema.clone(),
        batch: context.batch,
        max_record: context.max_record_bytes,
    };
    let stage = Box::new(Kv(Arc::new(shared)));
    Some(Compiled { stage, output: Some(schema), workers: Workers::Threads, notes })
}

struct Kv(Arc<Shared>);

/// What all workers share.
struct Shared {
    store: Arc<dyn Store>,
    prefix: String,
    schema: Schema,
    batch: BatchSize,
    max_record: usize,
}

impl Source for Kv {
    fn splits(&self) -> Result<Vec<Split>, Failure> {
        // A store that is not there is said at once, and so is one that is none.
        drop(self.0.store.session(Access::Read)?);
        let parts = self.0.store.parts()?.into_iter();
        Ok(parts.map(|KeyRange { name, from, to }| Split { name, detail: Detail::Part { from, to } }).collect())
    }

    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure> {
        Ok(Box::new(Worker { shared: Arc::clone(&self.0), session: self.0.store.session(Access::Read)? }))
    }
}

struct Worker {
    shared: Arc<Shared>,
    session: Box<dyn Session>,
}

impl SourceWorker for Worker {
    fn open<'a>(&'a mut self, id: SplitId, split: &Split) -> Result<Box<dyn SplitReader + 'a>, Failure> {
        let Detail::Part { from, to } = split.detail.clone() else {
            return Err(Failure::new(Exit::Bug, format!("`{}` is not part of a store", split.name)));
        };
        let mut keys = self.session.keys(&KeyRange { name: split.name.clone(), from, to })?;
        keys.retain(|key| key.starts_with(&self.shared.prefix));
        let Worker { shared, session } = self;
        Ok(Box::new(Reader { shared, session: session.as_mut(), id, keys: keys.into_iter(), seq: 0, record: 1 }))
    }
}

struct Reader<'a> {
    shared: &'a Shared,
    session: &'a mut dyn Session,
    id: SplitId,
    keys: vec::IntoIter<String>,
    seq: u64,
    /// The number of the next record.
    record: u64,
}

impl SplitReader for Reader<'_> {
    fn next_batch(&mut self, rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        if self.keys.as_slice().is_empty() {
            return Ok(None);
        }
        let BatchSize { rows, bytes } = self.shared.batch;
        let (mut keys, mut values) = (StringViewBuilder::new(), StringViewBuilder::new());
        let (first, mut picked, mut size) = (self.record, Vec::new(), 0);
        while picked.len() < rows && size < bytes {
            let Some(key) = self.keys.next() else { break };
            // Deleted since the keys were listed: then it is not there.
            let Some(document) = self.session.get(&key)? else { continue };
            let place = (self.record - first) as u32;
            self.record += 1;
            match self.checked(&document) {
                Ok(text) => {
                    size += key.len() + text.len();
                    keys.append_value(&key);
                    values.append_value(text);
                    picked.push(place);
                }
                Err((code, why)) => rejects.add(self.reject(&key, code, &why, document, self.record - 1)),
            }
        }
        let columns: [ArrayRef; 2] = [Arc::new(keys.finish()), Arc::new(values.finish())];
        let records = RecordBatch::try_new(self.shared.schema.arrow(), columns.to_vec())
            .expect("both columns have the type and the length of the schema");
        let block = Block { first_record: first, ..Block::default() };
        let origin = Origin::picked(self.id, self.seq, block, picked);
        self.seq += 1;
        Ok(Some(Batch::new(records, origin)))
    }
}

impl Reader<'_> {
    /// The document as text, where it is one.
    fn checked<'d>(&self, document: &'d [u8]) -> Result<&'d str, (RejectCode, String)> {
        if document.len() > self.shared.max_record {
            let message = format!("it has {} bytes, the limit is {}", document.len(), self.shared.max_record);
            return Err((RejectCode("too_long"), message));
        }
        let text = simdutf8::basic::from_utf8(document);
        let text = text.map_err(|_| (RejectCode("invalid_utf8"), "it is not UTF-8".to_owned()))?;
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Ok(text),
            Err(error) => Err((RejectCode("bad_json"), format!("it is not JSON: {error}"))),
        }
    }

    fn reject(&self, key: &str, code: RejectCode, why: &str, document: Vec<u8>, record: u64) -> Reject {
        let message = format!("the document `{}`: {why}", self.shared.store.place(key));
        let position = Position { record, line: 0 };
        Reject::unread(code, message, self.id, position, document)
    }
}
