//! Reads one split: rows of a statement into batches.

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_select::take::take;
use rusqlite::{Row, Statement, types::ValueRef};
use serde_json::{Map, Value as Json};

use super::Setup;
use crate::{
    batch::{Batch, Block, Origin, Position, Reject, RejectCode, Rejects, SplitId},
    failure::{Exit, Failure},
    formats::too_long,
    sqlite::ValueColumn,
    stage::SplitReader,
    values::hex,
};

const BAD: RejectCode = RejectCode("bad_value");

/// A split that is being read.
pub(super) struct Reader<'a> {
    setup: &'a Setup,
    statement: Statement<'a>,
    /// Where the statement has each column.
    places: Vec<usize>,
    columns: Vec<ValueColumn>,
    split: SplitId,
    seq: u64,
    /// The next record's number.
    record: u64,
    bytes: u64,
    ended: bool,
}

/// The rows of a batch while they are read.
struct Filling<'r> {
    first: u64,
    rows: usize,
    good: Vec<u32>,
    bytes: usize,
    rejects: &'r mut Rejects,
}

impl<'a> Reader<'a> {
    pub(super) fn new(setup: &'a Setup, statement: Statement<'a>, places: Vec<usize>, split: SplitId) -> Self {
        let column = |spec: &crate::values::columns::ColumnSpec| {
            ValueColumn::new(&spec.name, &spec.column_type, spec.nullable, spec.invalid)
        };
        let columns = setup.columns.iter().map(column).collect();
        Reader { setup, statement, places, columns, split, seq: 0, record: 1, bytes: 0, ended: false }
    }

    /// Reads rows until the batch is full or there is none left.
    fn fill(&mut self, filling: &mut Filling<'_>) -> rusqlite::Result<()> {
        let Reader { setup, statement, places, columns, split, .. } = self;
        let mut rows = statement.raw_query();
        while filling.rows < setup.batch.rows && filling.bytes < setup.batch.bytes {
            let Some(row) = rows.next()? else {
                self.ended = true;
                return Ok(());
            };
            crate::pulse::heartbeat();
            let position = Position { record: filling.first + filling.rows as u64, line: 0 };
            take_row(setup, row, places, columns, (*split, position), filling)?;
            filling.rows += 1;
        }
        // Dropped, it would go back to the first row; the next call goes on where this one ended.
        std::mem::forget(rows);
        Ok(())
    }

    /// The batch of what was read.
    fn batch(&mut self, filling: Filling<'_>) -> Result<Batch, Failure> {
        let Filling { first, rows, good, .. } = filling;
        let bug = |error| Failure::new(Exit::Bug, format!("rows of `{}`: {error}", self.setup.database.display()));
        let mut arrays: Vec<ArrayRef> = self.columns.iter_mut().map(ValueColumn::finish).collect();
        let block = Block { first_record: first, ..Block::default() };
        let origin = if good.len() == rows {
            Origin::new(self.split, self.seq, block, rows)
        } else {
            let indices = UInt32Array::from(good.clone());
            let picked: Result<_, _> = arrays.iter().map(|array| take(array.as_ref(), &indices, None)).collect();
            arrays = picked.map_err(bug)?;
            Origin::picked(self.split, self.seq, block, good)
        };
        let records = RecordBatch::try_new(self.setup.schema.arrow(), arrays).map_err(bug)?;
        self.seq += 1;
        Ok(Batch::new(records, origin))
    }
}

impl SplitReader for Reader<'_> {
    fn next_batch(&mut self, rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let mut filling = Filling { first: self.record, rows: 0, good: Vec::new(), bytes: 0, rejects };
        self.fill(&mut filling).map_err(|error| self.setup.failed(&error))?;
        if filling.rows == 0 {
            return Ok(None);
        }
        self.record += filling.rows as u64;
        self.bytes += filling.bytes as u64;
        self.batch(filling).map(Some)
    }

    fn bytes_read(&self) -> u64 {
        self.bytes
    }
}

/// Appends a row to the columns, or refuses it.
fn take_row(
    setup: &Setup,
    row: &Row<'_>,
    places: &[usize],
    columns: &mut [ValueColumn],
    (split, position): (SplitId, Position),
    filling: &mut Filling<'_>,
) -> rusqlite::Result<()> {
    let mut size = 0;
    for place in places {
        size += bytes(row.get_ref(*place)?);
    }
    filling.bytes += size;
    if size > setup.max_record {
        columns.iter_mut().for_each(ValueColumn::skip);
        let head = record(setup, row, places)?;
        filling.rejects.add(too_long(split, position, &head, setup.max_record));
        return Ok(());
    }
    let mut refused: Option<String> = None;
    for (column, place) in columns.iter_mut().zip(places) {
        match refused {
            Some(_) => column.skip(),
            None => refused = column.push(row.get_ref(*place)?).err(),
        }
    }
    match refused {
        None => filling.good.push(filling.rows as u32),
        Some(message) => {
            let record = record(setup, row, places)?;
            filling.rejects.add(Reject::unread(BAD, message, split, position, record));
        }
    }
    Ok(())
}

fn bytes(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 8,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() + 8,
    }
}

/// A refused row as JSON, for the reject file.
fn record(setup: &Setup, row: &Row<'_>, places: &[usize]) -> rusqlite::Result<Vec<u8>> {
    let mut object = Map::new();
    for (spec, place) in setup.columns.iter().zip(places) {
        let value = match row.get_ref(*place)? {
            ValueRef::Null => Json::Null,
            ValueRef::Integer(value) => Json::from(value),
            ValueRef::Real(value) => Json::from(value),
            ValueRef::Text(text) => Json::from(String::from_utf8_lossy(text)),
            ValueRef::Blob(bytes) => Json::from(hex::text(bytes)),
        };
        object.insert(spec.name.clone(), value);
    }
    Ok(Json::Object(object).to_string().into_bytes())
}
