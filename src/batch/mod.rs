//! Records in motion: a batch of typed columns, where each row came from, and rows that were refused.
//!
//! Pure data. Nothing here knows of threads, files or job specs.

mod origin;
mod reject;

pub use origin::{Block, Origin, Position, Raw, SplitId};
pub use reject::{Reject, Rejects};

pub use crate::values::{Column, ColumnType, Family, RejectCode, Schema, TypeError};

use std::{collections::HashSet, sync::Arc};

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_buffer::Buffer;
use arrow_cast::cast;
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field};
use arrow_select::{
    concat::concat_batches,
    take::{take, take_record_batch},
};

/// Typed columns plus the origin of every row.
///
/// `origin.len() == records.num_rows()` always holds.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The columns.
    pub records: RecordBatch,
    /// Where each row came from.
    pub origin: Origin,
    /// What was computed of the rows already.
    computed: Option<Computed>,
}

/// The value of an expression for every row of a batch.
#[derive(Clone, Debug)]
struct Computed {
    of: ExprMark,
    values: ArrayRef,
}

impl Computed {
    fn with(&self, values: ArrayRef) -> Computed {
        Computed { of: self.of.clone(), values }
    }
}

/// Tells an expression, and copies of it, from all others.
#[derive(Clone, Debug, Default)]
pub struct ExprMark(Arc<()>);

impl Batch {
    /// A batch; `origin` describes exactly the rows of `records`.
    pub fn new(records: RecordBatch, origin: Origin) -> Self {
        debug_assert_eq!(records.num_rows(), origin.len());
        Batch { records, origin, computed: None }
    }

    /// The same with the value of an expression for every row, which stays with the rows: nobody needs to compute it
    /// again.
    pub fn with_computed(self, of: ExprMark, values: ArrayRef) -> Batch {
        debug_assert_eq!(values.len(), self.rows());
        Batch { computed: Some(Computed { of, values }), ..self }
    }

    /// The value of an expression for every row, where it was computed already.
    pub fn computed(&self, of: &ExprMark) -> Option<&ArrayRef> {
        let computed = self.computed.as_ref().filter(|computed| Arc::ptr_eq(&computed.of.0, &of.0));
        computed.map(|computed| &computed.values)
    }

    /// The same for a stage that reads only the columns at `read`. The lists of the others become views of their items
    /// ([`DataType::ListView`]), of which rows can be picked without copying items. A reject gets them back as lists.
    pub fn for_reader_of(self, read: &[usize]) -> Batch {
        let as_views = |place: usize, field: &Field| match field.data_type() {
            DataType::List(item) if !read.contains(&place) => Some(DataType::ListView(Arc::clone(item))),
            _ => None,
        };
        Batch { records: retyped(&self.records, as_views), ..self }
    }

    /// One row, with lists as lists.
    pub fn row(&self, row: usize) -> RecordBatch {
        retyped(&self.records.slice(row, 1), |_, field| match field.data_type() {
            DataType::ListView(item) => Some(DataType::List(Arc::clone(item))),
            _ => None,
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.records.num_rows()
    }

    /// Bytes of memory this batch keeps alive: every buffer in full, and once, however many columns are
    /// views into it.
    pub fn bytes(&self) -> usize {
        let mut seen = HashSet::new();
        let raw = self.origin.raw_buffer().map_or(0, |buffer| size(buffer, &mut seen));
        let columns = self.records.columns().iter().chain(self.computed.as_ref().map(|computed| &computed.values));
        raw + columns.map(|column| sizes(&column.to_data(), &mut seen)).sum::<usize>()
    }

    /// The rows at `rows` (ascending indices into this batch), with their origins.
    pub fn pick(&self, rows: Vec<u32>) -> Batch {
        let origin = self.origin.pick(&rows);
        let indices = UInt32Array::from(rows);
        let records = take_record_batch(&self.records, &indices).expect(TAKEN);
        let computed =
            self.computed.as_ref().map(|computed| computed.with(take(&computed.values, &indices, None).expect(TAKEN)));
        Batch { records, origin, computed }
    }

    /// The batch cut into parts of at most so many rows and about so many bytes, in order; at least one.
    pub fn cut(self, rows: usize, bytes: usize) -> Vec<Batch> {
        let by_bytes = (self.rows() as u128 * bytes as u128 / self.bytes().max(1) as u128) as usize;
        let most = rows.min(by_bytes).max(1);
        if self.rows() <= most {
            return vec![self];
        }
        (0..self.rows()).step_by(most).map(|start| self.slice(start, most.min(self.rows() - start))).collect()
    }

    /// Parts of one batch put together again. They have the same columns.
    pub fn concat(mut parts: Vec<Batch>) -> Option<Batch> {
        if parts.len() <= 1 {
            return parts.pop();
        }
        let origins: Vec<Origin> = parts.iter().map(|part| part.origin.clone()).collect();
        let schema = parts[0].records.schema();
        let records = concat_batches(&schema, parts.iter().map(|part| &part.records)).ok()?;
        Some(Batch::new(records, Origin::concat(&origins)?))
    }

    /// `len` rows from `start` on, without copying values.
    pub fn slice(&self, start: usize, len: usize) -> Batch {
        let computed = self.computed.as_ref().map(|computed| computed.with(computed.values.slice(start, len)));
        Batch { records: self.records.slice(start, len), origin: self.origin.slice(start, len), computed }
    }
}

const TAKEN: &str = "indices lie within the batch and every column type can be taken";

/// The same columns, those for which `wanted` answers with a type as that type: lists as views, or back.
fn retyped(records: &RecordBatch, wanted: impl Fn(usize, &Field) -> Option<DataType>) -> RecordBatch {
    let schema = records.schema();
    let types: Vec<_> = schema.fields().iter().enumerate().map(|(place, field)| wanted(place, field)).collect();
    if types.iter().all(Option::is_none) {
        return records.clone();
    }
    let parts = schema.fields().iter().zip(records.columns()).zip(types);
    let (fields, columns): (Vec<_>, Vec<_>) = parts
        .map(|((field, column), wanted)| match wanted {
            None => (Arc::clone(field), Arc::clone(column)),
            Some(wanted) => {
                let column = cast(column, &wanted).expect("lists and views of their items become one another");
                (Arc::new(field.as_ref().clone().with_data_type(wanted)), column)
            }
        })
        .unzip();
    let schema = arrow_schema::Schema::new_with_metadata(fields, schema.metadata().clone());
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns as long as before, of the types of the schema")
}

/// Bytes of all buffers of an array that are not in `seen` yet.
fn sizes(data: &ArrayData, seen: &mut HashSet<usize>) -> usize {
    let own: usize = data.buffers().iter().map(|buffer| size(buffer, seen)).sum();
    let nulls = data.nulls().map_or(0, |nulls| size(nulls.buffer(), seen));
    own + nulls + data.child_data().iter().map(|child| sizes(child, seen)).sum::<usize>()
}

fn size(buffer: &Buffer, seen: &mut HashSet<usize>) -> usize {
    let start = buffer.data_ptr().as_ptr() as usize;
    if seen.insert(start) { buffer.capacity() } else { 0 }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int32Array, ListArray, StringViewArray, cast::AsArray, types::UInt32Type};

    use super::*;

    /// Rows with a number, a list of which some are null or empty, and a second list.
    fn batch() -> Batch {
        let lists = [Some(vec![1, 2]), None, Some(vec![]), Some(vec![3]), Some(vec![4, 5, 6])];
        let lists = || lists.iter().map(|list| list.as_ref().map(|items| items.iter().map(|item| Some(*item))));
        let list = || Arc::new(ListArray::from_iter_primitive::<UInt32Type, _, _>(lists())) as ArrayRef;
        let columns: [(&str, ArrayRef, bool); 3] =
            [("n", Arc::new(Int32Array::from_iter_values(0..5)), false), ("a", list(), true), ("b", list(), true)];
        let records = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of equal length");
        Batch::new(records, Origin::derived(SplitId(0), 0, 5))
    }

    #[test]
    fn a_row_of_a_batch_with_unread_lists_is_what_it_was() {
        let whole = batch();
        let given = whole.clone().for_reader_of(&[0, 1]);
        let picked = given.pick(vec![0, 1, 2, 4]);
        let types = picked.records.columns().iter().map(|column| column.data_type().clone()).collect::<Vec<_>>();
        assert!(matches!(types[..], [DataType::Int32, DataType::List(_), DataType::ListView(_)]), "{types:?}");
        let (items, before) = (picked.records.column(2).as_list_view::<i32>().values(), whole.records.column(2));
        assert!(items.to_data().ptr_eq(&before.as_list::<i32>().values().to_data()), "items are not copied");
        for (row, was) in [0, 1, 2, 4].into_iter().enumerate() {
            assert_eq!(picked.row(row), whole.records.slice(was, 1), "{was}");
        }
        assert_eq!(picked.slice(1, 3).pick(vec![2]).row(0), whole.records.slice(4, 1));
    }

    #[test]
    fn what_was_computed_stays_with_its_rows() {
        let (mark, other) = (ExprMark::default(), ExprMark::default());
        let values: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b", "c", "d", "e"]));
        let whole = batch().with_computed(mark.clone(), values);
        let texts = |batch: &Batch| {
            let values = batch.computed(&mark).expect("computed").as_string_view();
            values.iter().map(|value| value.unwrap_or_default().to_owned()).collect::<String>()
        };
        assert_eq!((texts(&whole), texts(&whole.pick(vec![1, 3, 4]).slice(1, 2))), ("abcde".into(), "de".into()));
        assert!(whole.computed(&other).is_none());
        let apart = Batch::concat(whole.cut(2, usize::MAX)).expect("three parts");
        assert!(apart.computed(&mark).is_none());
    }
}
