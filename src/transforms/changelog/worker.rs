//! One thread's half: applies the operations of a batch, row after row.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringViewArray,
    builder::{Int64Builder, StringViewBuilder},
    cast::AsArray,
    types::Int64Type,
};
use arrow_buffer::Buffer;

use super::{
    Columns, Emit, Shared,
    document::{Operation, Refusal},
    documents::Documents,
};
use crate::{
    batch::{Batch, RejectCode, Rejects},
    failure::{Exit, Failure},
    keyed::{self, Evaluation, text},
    stage::{Made, TransformWorker},
};

/// Documents of a batch stand in buffers of about this size.
const BUFFER: usize = 1 << 20;

pub(super) struct Worker {
    shared: Arc<Shared>,
    documents: Documents,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, documents: Documents) -> Self {
        Worker { shared, documents }
    }
}

/// The values of a batch that operations are made of.
struct Values {
    key: ArrayRef,
    op: ArrayRef,
    id: Option<ArrayRef>,
    record: ArrayRef,
}

/// The same as what they are.
struct Rows<'a> {
    key: &'a StringViewArray,
    op: &'a StringViewArray,
    id: Option<&'a Int64Array>,
    record: &'a StringViewArray,
    auto_id: bool,
}

/// An operation that was applied.
struct Applied {
    row: u32,
    /// The place of its document.
    at: u32,
    id: i64,
}

impl TransformWorker for Worker {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let mut evaluation = Evaluation::of(&batch);
        let values = Values::of(&self.shared.columns, &mut evaluation);
        let rows = values.rows(self.shared.columns.auto_id)?;
        let refused = evaluation.refuse(rejects);
        let mut changes = (self.shared.emit == Emit::Change).then(Changes::default);
        for row in (0..batch.rows()).filter(|row| !refused.contains(*row)) {
            match self.row(&rows, row)? {
                Ok(applied) => {
                    if let Some(changes) = &mut changes {
                        changes.add(&applied, &rows, &mut self.documents);
                    }
                }
                Err((code, why)) => rejects.push(&batch, row, code, why),
            }
        }
        let output = match changes {
            None => Batch::new(RecordBatch::new_empty(self.shared.schema.arrow()), batch.origin.pick(&[])),
            Some(changes) => {
                self.documents.save()?;
                changes.finish(&self.shared, &batch, &rows, &self.documents)?
            }
        };
        self.documents.shrink(self.shared.share())?;
        Ok(output)
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        if self.shared.emit == Emit::Change {
            return Ok(None);
        }
        let (mut keys, mut texts, mut rows) = (StringViewBuilder::new(), StringViewBuilder::new(), 0);
        let size = self.shared.batch;
        self.documents.hand_out(size.rows, size.bytes, |key, document| {
            keys.append_value(key);
            texts.append_value(document);
            rows += 1;
        })?;
        if rows == 0 {
            return Ok(None);
        }
        records(&self.shared, vec![Arc::new(keys.finish()), Arc::new(texts.finish())])
            .map(|records| Some(records.into()))
    }
}

impl Worker {
    /// Applies the operation of a row. The outer failure is the store's, the inner one the row's.
    fn row(&mut self, rows: &Rows<'_>, row: usize) -> Result<Result<Applied, Refusal>, Failure> {
        let (key, operation) = match rows.operation(row) {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let at = self.documents.find(key)?;
        let done = self.documents.change(at, |document| document.apply(operation));
        Ok(done.map(|id| Applied { row: row as u32, at, id }))
    }
}

impl Values {
    fn of(columns: &Columns, evaluation: &mut Evaluation<'_>) -> Values {
        Values {
            key: evaluation.column(&columns.key),
            op: evaluation.column(&columns.op),
            id: columns.id.as_ref().map(|id| evaluation.column(id)),
            record: evaluation.column(&columns.record),
        }
    }

    fn rows(&self, auto_id: bool) -> Result<Rows<'_>, Failure> {
        let wrong = || Failure::new(Exit::Bug, "an id is not int64, as it was compiled to be");
        let id = self.id.as_ref().map(|id| id.as_primitive_opt::<Int64Type>().ok_or_else(wrong)).transpose()?;
        Ok(Rows { key: text(&self.key)?, op: text(&self.op)?, id, record: text(&self.record)?, auto_id })
    }
}

impl<'a> Rows<'a> {
    /// The key and the operation of a row.
    fn operation(&self, row: usize) -> Result<(&'a str, Operation<'a>), Refusal> {
        let key = keyed::key(self.key, row)?;
        let id = self.id.filter(|ids| ids.is_valid(row)).map(|ids| ids.value(row));
        let op = if self.op.is_null(row) { None } else { Some(self.op.value(row)) };
        let needed = |op: &str| id.ok_or_else(|| (RejectCode("no_id"), format!("{op} of no id")));
        let operation = match op {
            Some("insert") if id.is_none() && !self.auto_id => {
                let why = "insert without an id, and there is no `auto_id`".to_owned();
                return Err((RejectCode("no_id"), why));
            }
            Some("insert") => Operation::Insert(id, self.record(row)?),
            Some("update") => Operation::Update(needed("update")?, self.record(row)?),
            Some("delete") => Operation::Delete(needed("delete")?),
            Some(other) => return Err((RejectCode("unknown_op"), format!("there is no operation `{other}`"))),
            None => return Err((RejectCode("unknown_op"), "the operation is null".to_owned())),
        };
        Ok((key, operation))
    }

    /// A row's record. An entry is never null: that is what `delete` is for.
    fn record(&self, row: usize) -> Result<&'a str, Refusal> {
        let record = if self.record.is_null(row) { "null" } else { self.record.value(row) };
        match record.trim_ascii() {
            "null" => Err((RejectCode("no_record"), "the record is null".to_owned())),
            record => Ok(record),
        }
    }
}

/// What is emitted of a batch's operations.
#[derive(Default)]
struct Changes {
    applied: Vec<Applied>,
    records: StringViewBuilder,
}

impl Changes {
    /// Notes an operation and what it made of its entry.
    fn add(&mut self, applied: &Applied, rows: &Rows<'_>, documents: &mut Documents) {
        let Applied { row, at, id } = *applied;
        let deleted = rows.op.value(row as usize) == "delete";
        self.records.append_option(documents.entry(at, id).filter(|_| !deleted));
        self.applied.push(Applied { row, at, id });
    }

    /// The rows, each with its document as it is after all operations of the batch.
    fn finish(
        mut self,
        shared: &Shared,
        batch: &Batch,
        rows: &Rows<'_>,
        documents: &Documents,
    ) -> Result<Batch, Failure> {
        let (mut keys, mut ops) = (StringViewBuilder::new(), StringViewBuilder::new());
        let mut ids = Int64Builder::new();
        for Applied { row, id, .. } in &self.applied {
            keys.append_value(rows.key.value(*row as usize));
            ops.append_value(rows.op.value(*row as usize));
            ids.append_value(*id);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(keys.finish()),
            Arc::new(ops.finish()),
            Arc::new(ids.finish()),
            Arc::new(self.records.finish()),
            Arc::new(texts(&self.applied, documents)?),
        ];
        let picked: Vec<u32> = self.applied.iter().map(|applied| applied.row).collect();
        Ok(Batch::new(records(shared, columns)?, batch.origin.pick(&picked)))
    }
}

/// The document of each operation; operations on one document share its text.
fn texts(applied: &[Applied], documents: &Documents) -> Result<StringViewArray, Failure> {
    let mut texts = StringViewBuilder::new();
    let (mut buffers, mut text) = (Vec::new(), String::new());
    let mut places: HashMap<u32, (u32, u32, u32)> = HashMap::new();
    for Applied { at, .. } in applied {
        if !places.contains_key(at) {
            let start = text.len();
            documents.write(*at, &mut text);
            let [start, len] = [start, text.len() - start].map(u32::try_from);
            let too_large = |_| Failure::new(Exit::Io, "a document has more than 4 GiB");
            places.insert(*at, (buffers.len() as u32, start.map_err(too_large)?, len.map_err(too_large)?));
            if text.len() > BUFFER {
                buffers.push(std::mem::take(&mut text));
            }
        }
    }
    buffers.push(text);
    let blocks: Vec<u32> =
        buffers.into_iter().map(|text| texts.append_block(Buffer::from_vec(text.into_bytes()))).collect();
    for Applied { at, .. } in applied {
        let (buffer, start, len) = places[at];
        let appended = texts.try_append_view(blocks[buffer as usize], start, len);
        appended.map_err(|error| Failure::new(Exit::Bug, format!("a document got lost: {error}")))?;
    }
    Ok(texts.finish())
}

fn records(shared: &Shared, columns: Vec<ArrayRef>) -> Result<RecordBatch, Failure> {
    let made = RecordBatch::try_new(shared.schema.arrow(), columns);
    made.map_err(|error| Failure::new(Exit::Bug, format!("the documents make no batch: {error}")))
}
