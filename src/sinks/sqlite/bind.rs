//! Typed columns to the parameters of a statement, value by value.

use arrow_array::{Array, ArrayRef};
use arrow_schema::Field;
use rusqlite::{Statement, types::Null};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::{
    cell::{Cell, CellStyle},
    json::write::{JsonCells, Rule},
};

/// One column of a batch.
pub(super) struct Bound<'a> {
    field: &'a Field,
    column: &'a ArrayRef,
    cell: Cell<'a>,
    /// The same as JSON, which is how a list is stored.
    lists: JsonCells<'a>,
    has_nulls: bool,
    style: CellStyle,
    timestamps: Timestamps,
}

/// How moments are written. Either way they are in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Timestamps {
    /// After ISO 8601: `2024-01-31T12:00:00Z`.
    #[default]
    Iso,
    /// As SQLite's own functions give them: `2024-01-31 12:00:00`. Texts of both kinds do not sort among each other.
    Sqlite,
}

/// Why a value was not bound.
pub(super) enum Unbound {
    /// SQLite cannot hold it; the sentence says why.
    Refused(String),
    /// SQLite failed.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Unbound {
    fn from(error: rusqlite::Error) -> Self {
        Unbound::Failed(error)
    }
}

impl<'a> Bound<'a> {
    pub(super) fn new(field: &'a Field, column: &'a ArrayRef, timestamps: Timestamps) -> Self {
        let style = CellStyle::PLAIN;
        let (cell, lists) = (Cell::new(column), JsonCells::new(field, column));
        Bound { field, column, cell, lists, has_nulls: column.null_count() > 0, style, timestamps }
    }

    /// Binds the value at `row` to parameter `at`, counted from 1. Returns its bytes; `text` is room for it.
    #[inline]
    pub(super) fn bind(
        &self,
        row: usize,
        statement: &mut Statement<'_>,
        at: usize,
        text: &mut Vec<u8>,
    ) -> Result<usize, Unbound> {
        const NUMBER: usize = 8;
        if self.has_nulls && self.column.is_null(row) {
            statement.raw_bind_parameter(at, Null)?;
            return Ok(0);
        }
        macro_rules! number {
            ($values:ident as $native:ty) => {
                statement.raw_bind_parameter(at, <$native>::from($values.value(row)))?
            };
        }
        match &self.cell {
            Cell::String(values) => {
                let value = values.value(row);
                statement.raw_bind_parameter(at, value)?;
                return Ok(value.len());
            }
            Cell::Binary(values) => {
                let value = values.value(row);
                statement.raw_bind_parameter(at, value)?;
                return Ok(value.len());
            }
            Cell::Bool(values) => number!(values as bool),
            Cell::Int8(values) => number!(values as i64),
            Cell::Int16(values) => number!(values as i64),
            Cell::Int32(values) => number!(values as i64),
            Cell::Int64(values) => number!(values as i64),
            Cell::UInt8(values) => number!(values as i64),
            Cell::UInt16(values) => number!(values as i64),
            Cell::UInt32(values) => number!(values as i64),
            Cell::UInt64(values) => {
                let value = values.value(row);
                let signed =
                    i64::try_from(value).map_err(|_| self.refuse(&format!("{value} is more than SQLite holds")));
                statement.raw_bind_parameter(at, signed?)?;
            }
            Cell::Float32(values) => self.float(f64::from(values.value(row)), statement, at)?,
            Cell::Float64(values) => self.float(values.value(row), statement, at)?,
            Cell::List(..) => {
                text.clear();
                self.lists.write(row, Rule::Exact, text).map_err(|why| self.refuse(why))?;
                return self.text(statement, at, text);
            }
            Cell::Date(_) | Cell::Timestamp(_) | Cell::TimestampNs(_) | Cell::Other => {
                text.clear();
                let plain = |_: &[u8], _: &mut Vec<u8>| Ok(());
                self.cell.write(row, &self.style, &plain, text).map_err(|why| self.refuse(why))?;
                if self.timestamps == Timestamps::Sqlite && text.ends_with(b"Z") {
                    text.pop();
                    text.iter_mut().filter(|byte| **byte == b'T').for_each(|byte| *byte = b' ');
                }
                return self.text(statement, at, text);
            }
        }
        Ok(NUMBER)
    }

    fn text(&self, statement: &mut Statement<'_>, at: usize, text: &[u8]) -> Result<usize, Unbound> {
        let value = std::str::from_utf8(text).map_err(|_| self.refuse("it is not text"))?;
        statement.raw_bind_parameter(at, value)?;
        Ok(value.len())
    }

    /// SQLite would make a null of what is not a number.
    fn float(&self, value: f64, statement: &mut Statement<'_>, at: usize) -> Result<(), Unbound> {
        if value.is_nan() {
            return Err(self.refuse("SQLite cannot hold NaN"));
        }
        Ok(statement.raw_bind_parameter(at, value)?)
    }

    fn refuse(&self, why: &str) -> Unbound {
        Unbound::Refused(format!("column `{}`: {why}", self.field.name()))
    }
}
