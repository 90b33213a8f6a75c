//! The columns that the source emits, and batches of them.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, RecordBatch, StringViewArray, TimestampNanosecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow_select::take::take;

use super::{
    Mode, Title,
    span::{Span, hyphenated},
};
use crate::{
    batch::{Batch, Block, ColumnType, Origin, Schema, SplitId},
    failure::{Exit, Failure},
};

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Uuid,
    Collection,
    Name,
    Version,
    Time,
    Value,
    WindowStart,
    WindowEnd,
    Count,
    Min,
    Mean,
    Max,
    Stddev,
}

use Column::{Collection, Count, Max, Mean, Min, Name, Stddev, Time, Uuid, Value, Version, WindowEnd, WindowStart};

/// What a point is emitted as.
const RAW: &[Column] = &[Uuid, Collection, Name, Version, Time, Value, WindowStart, WindowEnd];

/// What a window is emitted as.
const STAT: &[Column] = &[Uuid, Collection, Name, Version, WindowStart, WindowEnd, Count, Min, Mean, Max, Stddev];

impl Column {
    fn all(mode: Mode) -> &'static [Column] {
        match mode {
            Mode::Raw => RAW,
            Mode::Stat => STAT,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Uuid => "uuid",
            Collection => "collection",
            Name => "name",
            Version => "version",
            Time => "time",
            Value => "value",
            WindowStart => "window_start",
            WindowEnd => "window_end",
            Count => "count",
            Min => "min",
            Mean => "mean",
            Max => "max",
            Stddev => "stddev",
        }
    }

    fn column_type(self) -> ColumnType {
        match self {
            Uuid | Collection | Name => ColumnType::String,
            Version | Count => ColumnType::UInt64,
            Time | WindowStart | WindowEnd => ColumnType::TimestampNs,
            Value | Min | Mean | Max | Stddev => ColumnType::Float64,
        }
    }

    /// A stream need not have a tag `name`, and a window without points has no statistics.
    fn nullable(self) -> bool {
        matches!(self, Name | Min | Mean | Max | Stddev)
    }

    /// Bytes of a value; what a text column refers to is there once.
    fn bytes(self) -> usize {
        if self.column_type() == ColumnType::String { 16 } else { 8 }
    }
}

/// The columns that a source emits, in order.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    list: Vec<Column>,
    schema: Schema,
}

impl Columns {
    /// All there are in a mode.
    pub(super) fn all(mode: Mode) -> Columns {
        Columns::new(Column::all(mode).to_vec())
    }

    /// Those of these names; others are left out.
    pub(super) fn of(mode: Mode, names: &[String]) -> Columns {
        let find = |name: &String| Column::all(mode).iter().find(|column| column.name() == name).copied();
        Columns::new(names.iter().filter_map(find).collect())
    }

    /// Is there one of this name?
    pub(super) fn has(mode: Mode, name: &str) -> bool {
        Columns::names(mode).any(|known| known == name)
    }

    /// The names of all columns in a mode.
    pub(super) fn names(mode: Mode) -> impl Iterator<Item = &'static str> {
        Column::all(mode).iter().map(|column| column.name())
    }

    fn new(list: Vec<Column>) -> Columns {
        let column = |column: &Column| crate::batch::Column {
            name: column.name().to_owned(),
            column_type: column.column_type(),
            nullable: column.nullable(),
        };
        let schema = Schema::new(list.iter().map(column).collect());
        Columns { list, schema }
    }

    /// The columns as others see them.
    pub(super) fn schema(&self) -> Schema {
        self.schema.clone()
    }

    /// Bytes of a row.
    pub(super) fn row_bytes(&self) -> usize {
        self.list.iter().map(|column| column.bytes()).sum::<usize>().max(1)
    }

    /// Does any of them show what the stream is called?
    pub(super) fn need_title(&self) -> bool {
        self.list.iter().any(|column| matches!(column, Collection | Name))
    }

    /// What makes the batches of a split.
    pub(super) fn rows(&self, id: SplitId, span: &Span, title: Option<Title>) -> Rows<'_> {
        let (collection, name) = title.map_or((None, None), |title| (Some(title.collection), title.name));
        let text = |text: Option<String>| Arc::new(StringViewArray::from_iter([text])) as ArrayRef;
        Rows {
            columns: self,
            id,
            uuid: text(Some(hyphenated(&span.uuid))),
            collection: text(collection),
            name: text(name),
            version: span.version,
            start: span.start,
            end: span.end,
            seq: 0,
            made: 0,
        }
    }
}

/// Makes the batches of one split.
pub(super) struct Rows<'a> {
    columns: &'a Columns,
    id: SplitId,
    /// One value each.
    uuid: ArrayRef,
    collection: ArrayRef,
    name: ArrayRef,
    version: u64,
    start: i64,
    end: i64,
    seq: u64,
    made: u64,
}

impl Rows<'_> {
    /// A batch of so many rows with these columns; those that are the same in all rows are filled in.
    ///
    /// # Errors
    /// The columns do not fit together: a bug.
    pub(super) fn batch(&mut self, len: usize, own: &[(Column, ArrayRef)]) -> Result<Batch, Failure> {
        let bug = |error: arrow_schema::ArrowError| Failure::new(Exit::Bug, error.to_string());
        let array = |column: &Column| match own.iter().find(|(own, _)| own == column) {
            Some((_, array)) => Ok(Arc::clone(array)),
            None => self.same(*column, len),
        };
        let arrays = self.columns.list.iter().map(array).collect::<Result<Vec<_>, _>>().map_err(bug)?;
        let records = RecordBatch::try_new(self.columns.schema.arrow(), arrays).map_err(bug)?;
        let block = Block { first_record: self.made + 1, ..Block::default() };
        let origin = Origin::new(self.id, self.seq, block, len);
        self.seq += 1;
        self.made += len as u64;
        Ok(Batch::new(records, origin))
    }

    fn same(&self, column: Column, len: usize) -> Result<ArrayRef, arrow_schema::ArrowError> {
        let text = |value: &ArrayRef| take(value, &UInt32Array::from_value(0, len), None);
        let time = |time: i64| Arc::new(TimestampNanosecondArray::from_value(time, len)) as ArrayRef;
        Ok(match column {
            Uuid => text(&self.uuid)?,
            Collection => text(&self.collection)?,
            Name => text(&self.name)?,
            Version => Arc::new(UInt64Array::from_value(self.version, len)),
            WindowStart => time(self.start),
            WindowEnd => time(self.end),
            _ => new_null_array(&column.column_type().to_arrow(), len),
        })
    }
}
