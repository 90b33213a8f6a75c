//! A compiled generator: what it makes, how often it makes nothing, and whole columns of it at a time.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, LargeStringArray, ListArray, StringViewArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_select::{nullif::nullif, take::take};

use super::{
    cells::{Cell, Cells, Parent, Rows},
    pick::Pick,
    record::{Record, records},
    text::{self, Scratch},
    values::{Choice, Floats, Ints, Texts},
};
use crate::{
    batch::{Batch, ColumnType, Origin, Schema, SplitId},
    expr::{Expr, RowError},
    values::json::write::JsonCells,
};

/// One generator with what stands beside it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) make: Make,
    /// A place whose null key is below this has no value; 0 where there is always one.
    pub(super) nulls: u64,
    pub(super) column_type: ColumnType,
    /// May a value be absent, by `nulls` or otherwise?
    pub(super) nullable: bool,
}

/// What a generator makes.
#[derive(Debug)]
pub(super) enum Make {
    /// The one value of this array.
    Constant(ArrayRef),
    Bool(Choice<bool>),
    /// True where the place's key is below this; always where it is `u64::MAX`.
    Chance(u64),
    Int(Ints),
    Float(Floats),
    Date(Ints),
    Timestamp(Ints),
    Text(Texts),
    List(Box<List>),
    Object(Vec<Member>),
    Expr(Box<Bound>),
    Ref(Box<Reference>),
}

/// A list: how many items, and what they are.
#[derive(Debug)]
pub(super) struct List {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) of: Node,
}

/// A member of an object.
#[derive(Debug)]
pub(super) struct Member {
    /// What stands before the value: the key as JSON, and the colon.
    pub(super) key: Box<str>,
    pub(super) salt: u64,
    pub(super) node: Node,
}

/// An expression over other fields of the record.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) expr: Expr,
    /// The fields it reads, in the order of its schema.
    pub(super) inputs: Vec<usize>,
    /// Their columns, of which any may have nulls where another expression failed.
    pub(super) schema: Schema,
}

/// A value of another source's row.
#[derive(Debug)]
pub(super) struct Reference {
    /// The fields of that source which the value depends on, and the value itself.
    pub(super) record: Record,
    /// The value's place among them.
    pub(super) column: usize,
    /// Picks the row.
    pub(super) pick: Pick,
}

/// The columns of a record that have been made so far.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// By field; `None` where it is not made yet, or not wanted.
    pub(super) columns: Vec<Option<ArrayRef>>,
    pub(super) types: Vec<ColumnType>,
    /// Rows on which an expression failed.
    pub(super) errors: Vec<RowError>,
    /// Room for the text of one value.
    pub(super) scratch: Scratch,
}

impl Made {
    /// Appends a field's value as text.
    pub(super) fn write_text(&self, field: usize, row: usize, out: &mut String) {
        if let Some(Some(column)) = self.columns.get(field) {
            text::write(column, &self.types[field], row, &self.scratch, out);
        }
    }
}

impl Node {
    /// The values of all these places.
    pub(super) fn array(&self, cells: &Cells<'_>, made: &mut Made) -> ArrayRef {
        let nulls = self.null_buffer(cells);
        match &self.make {
            Make::Constant(value) => repeat(value, cells.len(), nulls),
            Make::Bool(choice) => Arc::new(BooleanArray::new(collect(cells, |cell| *choice.get(cell)).into(), nulls)),
            Make::Chance(below) => {
                let values = collect(cells, |cell| cell.key() < *below || *below == u64::MAX);
                Arc::new(BooleanArray::new(values.into(), nulls))
            }
            Make::Int(ints) => Arc::new(Int64Array::new(collect(cells, |cell| ints.get(cell)).into(), nulls)),
            Make::Float(floats) => Arc::new(Float64Array::new(collect(cells, |cell| floats.get(cell)).into(), nulls)),
            Make::Date(days) => Arc::new(Date32Array::new(collect(cells, |cell| days.get(cell) as i32).into(), nulls)),
            Make::Timestamp(micros) => {
                let values: ScalarBuffer<i64> = collect(cells, |cell| micros.get(cell)).into();
                Arc::new(TimestampMicrosecondArray::new(values, nulls))
            }
            Make::Text(texts) => strings(cells, nulls, |cell, out| texts.write(cell, made, out)),
            Make::List(list) => list.array(cells, nulls, made),
            Make::Object(members) => object(members, cells, nulls, made),
            Make::Expr(bound) => without(bound.array(cells.len(), made), nulls),
            Make::Ref(reference) => without(reference.array(cells), nulls),
        }
    }

    fn is_null(&self, cell: Cell) -> bool {
        self.nulls > 0 && (cell.null_key() < self.nulls || self.nulls == u64::MAX)
    }

    fn null_buffer(&self, cells: &Cells<'_>) -> Option<NullBuffer> {
        (self.nulls > 0).then(|| NullBuffer::new(BooleanBuffer::from(collect(cells, |cell| !self.is_null(cell)))))
    }

    /// The most values that one value of this generator holds: items of items for nested lists.
    pub(super) fn most_items(&self) -> u64 {
        match &self.make {
            Make::List(list) => list.max.max(1).saturating_mul(list.of.most_items()),
            Make::Object(members) => members.iter().map(|member| member.node.most_items()).max().unwrap_or(1),
            _ => 1,
        }
    }
}

fn collect<T>(cells: &Cells<'_>, get: impl Fn(Cell) -> T) -> Vec<T> {
    let mut values = Vec::with_capacity(cells.len());
    cells.each(|cell| values.push(get(cell)));
    values
}

/// The one value of `value`, `len` times.
fn repeat(value: &ArrayRef, len: usize, nulls: Option<NullBuffer>) -> ArrayRef {
    let indices = UInt32Array::new(vec![0; len].into(), nulls);
    take(value.as_ref(), &indices, None).expect("index 0 lies within an array of one value")
}

/// The array with further nulls.
fn without(array: ArrayRef, nulls: Option<NullBuffer>) -> ArrayRef {
    let Some(nulls) = nulls else { return array };
    let absent = BooleanArray::new(!nulls.inner(), None);
    nullif(array.as_ref(), &absent).expect("both have one value for each cell")
}

/// A column of text: all values one after the other in one buffer, and a view for each.
fn strings(cells: &Cells<'_>, nulls: Option<NullBuffer>, write: impl Fn(Cell, &mut String)) -> ArrayRef {
    let len = cells.len();
    let mut text = String::new();
    let mut ends: Vec<i64> = Vec::with_capacity(len + 1);
    ends.push(0);
    cells.each(|cell| {
        let present = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(ends.len() - 1));
        if present {
            write(cell, &mut text);
        }
        ends.push(text.len() as i64);
        // The first values tell how much room the rest will want.
        if ends.len() == 64 {
            text.reserve(text.len() / 56 * len.saturating_sub(ends.len()));
        }
    });
    let offsets = OffsetBuffer::new(ends.into());
    let column = LargeStringArray::new(offsets, Buffer::from_vec(text.into_bytes()), nulls);
    Arc::new(StringViewArray::from(&column))
}

impl List {
    fn array(&self, cells: &Cells<'_>, nulls: Option<NullBuffer>, made: &mut Made) -> ArrayRef {
        let mut parents = Vec::with_capacity(cells.len());
        let mut ends: Vec<i32> = Vec::with_capacity(cells.len() + 1);
        let mut end = 0_i32;
        ends.push(end);
        cells.each(|cell| {
            let mut rng = cell.rng();
            let present = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(parents.len()));
            let count = self.min + rng.below(self.max - self.min + 1);
            end += if present { count as i32 } else { 0 };
            ends.push(end);
            parents.push(Parent { key: rng.next(), row: cell.row as u32 });
        });
        let items = self.of.array(&Cells::items(&parents, &ends), made);
        let field = Arc::new(self.of.column_type.item_field());
        Arc::new(ListArray::new(field, OffsetBuffer::new(ends.into()), items, nulls))
    }
}

/// JSON objects, their members in the written order.
fn object(members: &[Member], cells: &Cells<'_>, nulls: Option<NullBuffer>, made: &mut Made) -> ArrayRef {
    let columns: Vec<ArrayRef> =
        members.iter().map(|member| member.node.array(&cells.salted(member.salt), made)).collect();
    let types = members.iter().map(|member| member.node.column_type == ColumnType::Json);
    let values: Vec<JsonCells<'_>> =
        columns.iter().zip(types).map(|(column, json)| JsonCells::of(column, json)).collect();
    let (index, scratch) = (std::cell::Cell::new(0), Scratch::default());
    let text = strings(cells, None, |_, out| {
        let i = index.replace(index.get() + 1);
        let mut before = '{';
        for (member, values) in members.iter().zip(&values) {
            out.push(before);
            out.push_str(&member.key);
            text::write_json(values, i, &scratch, out);
            before = ',';
        }
        out.push_str(if members.is_empty() { "{}" } else { "}" });
    });
    without(text, nulls)
}

impl Bound {
    fn array(&self, len: usize, made: &mut Made) -> ArrayRef {
        let columns = self.inputs.iter().map(|field| made.columns[*field].clone()).collect::<Option<Vec<_>>>();
        let columns = columns.expect("a record makes the fields that an expression reads before it");
        let records = records(&self.schema, columns, len);
        let batch = Batch::new(records, Origin::derived(SplitId(0), 0, len));
        self.expr.evaluate(&batch, &mut made.errors)
    }
}

impl Reference {
    fn array(&self, cells: &Cells<'_>) -> ArrayRef {
        let rows = collect(cells, |cell| self.pick.index(cell));
        let mut made = self.record.make(Rows::Picked(&rows));
        made.columns[self.column].take().expect("a record makes all of its fields")
    }
}
