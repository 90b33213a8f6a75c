//! The rows of a batch into messages, by what its fields are bound to.

use std::ops::Range;

use arrow_array::{BinaryViewArray, RecordBatch, StringViewArray, builder::make_view};
use arrow_buffer::{Buffer, ScalarBuffer};

use super::{
    bound::{Bound, BoundMessage},
    column::{Column, Values},
    json::{JsonWriter, Oneofs},
    message::{Enum, Field, Kind, Scalar, Shape},
    raw,
    refusal::Refusal,
    scalar::{Native, put_double, put_float, put_int, put_ints},
    wellknown::Seconds,
    wire::{Out, Tag},
};
use crate::failure::{Exit, Failure};

/// A view holds a value of so many bytes in itself.
const INLINE: usize = 12;

const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// How output is laid out; belongs to one worker.
#[derive(Debug)]
pub(super) struct Layout {
    /// Once a buffer has so many bytes, the next record starts a new one: offsets are 32 bits wide.
    pub(super) block: usize,
    /// Bytes per row as seen in the last batch, to make the next buffer large enough at once.
    pub(super) row_bytes: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Layout { block: 1 << 30, row_bytes: 64 }
    }
}

impl BoundMessage {
    /// Encodes every row; a row that cannot be is told to `refuse` and has no value in the answer.
    ///
    /// # Errors
    /// The batch is not of the schema that its fields were bound for: a bug.
    pub(super) fn encode(
        &self,
        records: &RecordBatch,
        layout: &mut Layout,
        mut refuse: impl FnMut(usize, Refusal),
    ) -> Result<BinaryViewArray, Failure> {
        let columns = self.columns(records)?;
        let rows = records.num_rows();
        let capacity = |rows: usize, layout: &Layout| (rows * layout.row_bytes).min(layout.block) + INLINE * 2;
        let mut out = Out::with_capacity(capacity(rows, layout));
        let mut blocks: Vec<Buffer> = Vec::new();
        let mut views: Vec<u128> = Vec::with_capacity(rows);
        let mut oneofs = Oneofs::default();
        for row in 0..rows {
            if out.len() >= layout.block {
                let next = Out::with_capacity(capacity(rows - row, layout));
                blocks.push(Buffer::from_vec(std::mem::replace(&mut out, next).into_vec()));
            }
            let start = out.len();
            oneofs.clear();
            let done = self.record(&columns, row, &mut out, &mut oneofs);
            let len = out.len() - start;
            match done {
                Ok(()) if len <= i32::MAX as usize => {
                    views.push(make_view(out.since(start), blocks.len() as u32, start as u32));
                    if len <= INLINE {
                        out.truncate(start);
                    }
                }
                Ok(()) => {
                    out.truncate(start);
                    refuse(row, Refusal::new("the message is longer than 2 GiB"));
                }
                Err(refusal) => {
                    out.truncate(start);
                    refuse(row, refusal);
                }
            }
        }
        blocks.push(Buffer::from_vec(out.into_vec()));
        let bytes: usize = blocks.iter().map(Buffer::len).sum();
        layout.row_bytes = (bytes + bytes / 16) / rows.max(1) + 1;
        BinaryViewArray::try_new(ScalarBuffer::from(views), blocks, None)
            .map_err(|error| Failure::new(Exit::Bug, format!("encoded values are not laid out well: {error}")))
    }

    fn columns<'a>(&self, records: &'a RecordBatch) -> Result<Vec<Column<'a>>, Failure> {
        let column = |bound: &Bound| {
            let array = records.columns().get(bound.column);
            array.and_then(|array| Column::new(array, &bound.column_type)).ok_or_else(|| {
                let message = format!("column `{}` is not a {} as planned", bound.column_name, bound.column_type);
                Failure::new(Exit::Bug, message)
            })
        };
        self.fields.iter().map(column).collect()
    }

    fn record<'a>(
        &'a self,
        columns: &[Column<'_>],
        row: usize,
        out: &mut Out,
        oneofs: &mut Oneofs<'a>,
    ) -> Result<(), Refusal> {
        for (Bound { field, .. }, column) in self.fields.iter().zip(columns) {
            let present = !column.is_null(row)
                && self.field(field, column, row, out).map_err(|refusal| refusal.within(&field.name))?;
            if present {
                oneofs.set(field)?;
            } else if field.required {
                return Err(Refusal::required().within(&field.name));
            }
        }
        Ok(())
    }

    /// Writes a field from row `row`, which is not null. Answers whether there was a value: JSON has a null
    /// of its own.
    fn field(&self, field: &Field, column: &Column<'_>, row: usize, out: &mut Out) -> Result<bool, Refusal> {
        match &column.values {
            Values::Json(texts) => {
                let value = raw::whole(texts.value(row))?;
                return JsonWriter { types: &self.types, out, depth: 0 }.field(field, value);
            }
            Values::List { offsets, items } => {
                self.list(field, items, offsets[row] as usize..offsets[row + 1] as usize, out)?;
            }
            _ => self.values(field, &field.tag, column, row..row + 1, out).map_err(|(_, refusal)| refusal)?,
        }
        Ok(true)
    }

    fn list(&self, field: &Field, items: &Column<'_>, range: Range<usize>, out: &mut Out) -> Result<(), Refusal> {
        if let Some(null) = range.clone().find(|item| items.is_null(*item)) {
            return Err(Refusal::new("a list's item cannot be null").item(null - range.start));
        }
        if range.is_empty() {
            return Ok(());
        }
        let packed = (field.shape == Shape::Packed).then(|| out.open(&field.tag));
        match &items.values {
            Values::Json(texts) => self.json_items(field, texts, range, out),
            _ => self.values(field, &field.item_tag, items, range, out),
        }
        .map_err(|(item, refusal)| refusal.item(item))?;
        if let Some(start) = packed {
            out.close(start);
        }
        Ok(())
    }

    fn json_items(
        &self,
        field: &Field,
        texts: &StringViewArray,
        range: Range<usize>,
        out: &mut Out,
    ) -> Result<(), (usize, Refusal)> {
        let mut writer = JsonWriter { types: &self.types, out, depth: 0 };
        range.enumerate().try_for_each(|(i, at)| {
            raw::whole(texts.value(at)).and_then(|value| writer.item(field, value)).map_err(|refusal| (i, refusal))
        })
    }

    /// Writes the values in `range`, none of which is null, each under `tag`. An error has the place within
    /// the range.
    fn values(
        &self,
        field: &Field,
        tag: &Tag,
        column: &Column<'_>,
        range: Range<usize>,
        out: &mut Out,
    ) -> Result<(), (usize, Refusal)> {
        match &field.kind {
            Kind::Scalar(scalar) => scalars(*scalar, tag, &column.values, range, field.implicit, out),
            Kind::Enum(index) => enums(&self.types.enums[*index], tag, &column.values, range, field.implicit, out),
            _ => range
                .enumerate()
                .try_for_each(|(i, at)| self.single(field, tag, column, at, out).map_err(|refusal| (i, refusal))),
        }
    }

    /// Writes one value that is a message: from JSON, a time, or what a wrapper wraps.
    fn single(&self, field: &Field, tag: &Tag, column: &Column<'_>, at: usize, out: &mut Out) -> Result<(), Refusal> {
        let time = match (&column.values, &field.kind) {
            (Values::Date(days), _) => Seconds::timestamp(i128::from(days[at]) * NANOS_PER_DAY)?,
            (Values::Micros(micros), _) => Seconds::timestamp(i128::from(micros[at]) * 1000)?,
            (Values::Nanos(nanos), _) => Seconds::timestamp(i128::from(nanos[at]))?,
            (_, Kind::Message(index)) => {
                let wrapped = &self.types.messages[*index].fields[0];
                let start = out.open(tag);
                self.values(wrapped, &wrapped.tag, column, at..at + 1, out).map_err(|(_, refusal)| refusal)?;
                out.close(start);
                return Ok(());
            }
            _ => return Err(unplanned()),
        };
        let start = out.open(tag);
        time.put(out);
        out.close(start);
        Ok(())
    }
}

/// The planner lets no such pair through; a record that meets one is refused rather than written wrong.
fn unplanned() -> Refusal {
    Refusal::new("its column is not of a type that was planned for")
}

fn scalars(
    scalar: Scalar,
    tag: &Tag,
    values: &Values<'_>,
    range: Range<usize>,
    skip: bool,
    out: &mut Out,
) -> Result<(), (usize, Refusal)> {
    match scalar {
        Scalar::Double | Scalar::Float => floats(scalar, tag, values, range, skip, out),
        Scalar::Bool | Scalar::String | Scalar::Bytes => {
            range.enumerate().try_for_each(|(i, at)| plain(tag, values, at, skip, out).map_err(|refusal| (i, refusal)))
        }
        _ => match values {
            Values::Int8(items) => put_ints(out, tag, scalar, &items[range], skip),
            Values::Int16(items) => put_ints(out, tag, scalar, &items[range], skip),
            Values::Int32(items) => put_ints(out, tag, scalar, &items[range], skip),
            Values::Int64(items) => put_ints(out, tag, scalar, &items[range], skip),
            Values::UInt8(items) => put_ints(out, tag, scalar, &items[range], skip),
            Values::UInt16(items) => put_ints(out, tag, scalar, &items[range], skip),
            Values::UInt32(items) => put_ints(out, tag, scalar, &items[range], skip),
            Values::UInt64(items) => put_ints(out, tag, scalar, &items[range], skip),
            _ => Err((0, unplanned())),
        },
    }
}

fn floats(
    scalar: Scalar,
    tag: &Tag,
    values: &Values<'_>,
    range: Range<usize>,
    skip: bool,
    out: &mut Out,
) -> Result<(), (usize, Refusal)> {
    macro_rules! each {
        ($items:expr) => {
            for (i, item) in $items[range].iter().enumerate() {
                match scalar {
                    Scalar::Double => put_double(out, tag, f64::from(*item), skip),
                    _ => put_float(out, tag, f64::from(*item), skip).map_err(|refusal| (i, refusal))?,
                }
            }
        };
    }
    match values {
        Values::Float64(items) => each!(items),
        Values::Float32(items) => each!(items),
        Values::Int8(items) => each!(items),
        Values::Int16(items) => each!(items),
        Values::Int32(items) => each!(items),
        Values::UInt8(items) => each!(items),
        Values::UInt16(items) => each!(items),
        Values::UInt32(items) => each!(items),
        _ => return Err((0, unplanned())),
    }
    Ok(())
}

/// A boolean, text or bytes.
fn plain(tag: &Tag, values: &Values<'_>, at: usize, skip: bool, out: &mut Out) -> Result<(), Refusal> {
    let bytes = match values {
        Values::Bool(truths) => {
            let truth = truths.value(at);
            if truth || !skip {
                out.varint(tag, truth.into());
            }
            return Ok(());
        }
        Values::Text(texts) => texts.value(at).as_bytes(),
        Values::Binary(blobs) => blobs.value(at),
        _ => return Err(unplanned()),
    };
    if !(skip && bytes.is_empty()) {
        out.bytes(tag, bytes);
    }
    Ok(())
}

fn enums(
    described: &Enum,
    tag: &Tag,
    values: &Values<'_>,
    range: Range<usize>,
    skip: bool,
    out: &mut Out,
) -> Result<(), (usize, Refusal)> {
    for (i, at) in range.enumerate() {
        let number = enum_number(described, values, at).map_err(|refusal| (i, refusal))?;
        put_int(out, tag, Scalar::Int32, number.into(), skip).map_err(|refusal| (i, refusal))?;
    }
    Ok(())
}

fn enum_number(described: &Enum, values: &Values<'_>, at: usize) -> Result<i32, Refusal> {
    fn wide<N: Native>(items: &[N], at: usize) -> i128 {
        items[at].into()
    }
    let unknown = |value: &dyn std::fmt::Display| Refusal::new(format!("`{}` has no value `{value}`", described.name));
    let number = match values {
        Values::Text(texts) => {
            let name = texts.value(at);
            return described.numbers.get(name).copied().ok_or_else(|| unknown(&name));
        }
        Values::Int8(items) => wide(items, at),
        Values::Int16(items) => wide(items, at),
        Values::Int32(items) => wide(items, at),
        Values::Int64(items) => wide(items, at),
        Values::UInt8(items) => wide(items, at),
        Values::UInt16(items) => wide(items, at),
        Values::UInt32(items) => wide(items, at),
        Values::UInt64(items) => wide(items, at),
        _ => return Err(unplanned()),
    };
    i32::try_from(number).ok().filter(|number| described.has(*number)).ok_or_else(|| unknown(&number))
}
