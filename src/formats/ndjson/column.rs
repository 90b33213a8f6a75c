//! JSON values to one typed column.

use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_buffer::Buffer;
use arrow_schema::ArrowError;

use crate::values::{
    ColumnType, RejectCode,
    builder::{Builder, Store},
    columns::{ColumnSpec, Invalid},
    fields::shown,
    json::{
        read::{Bad, Reader},
        scan::{NoJson, Scanner},
    },
};

/// One column that is being filled.
pub(super) struct JsonColumn {
    name: String,
    column_type: ColumnType,
    builder: Builder,
    invalid: Invalid,
    rows: usize,
}

/// Why a record is refused.
pub(super) enum Wrong {
    /// It is not JSON.
    Json(NoJson),
    /// It is not an object.
    Shape,
    /// This column must have a value and has none.
    Missing(usize),
    /// No column is known for the field whose name lies here.
    Unknown(Range<usize>),
    /// A value is not of its column's type.
    Value(Box<BadValue>),
}

/// A value that is not of its column's type.
pub(super) struct BadValue {
    pub(super) code: RejectCode,
    pub(super) message: Box<str>,
}

impl From<NoJson> for Wrong {
    fn from(error: NoJson) -> Self {
        Wrong::Json(error)
    }
}

const KIND: RejectCode = RejectCode("bad_type");

impl JsonColumn {
    pub(super) fn new(spec: &ColumnSpec) -> Self {
        JsonColumn {
            name: spec.name.clone(),
            column_type: spec.column_type.clone(),
            builder: Builder::new(&spec.column_type, spec.nullable),
            invalid: spec.invalid,
            rows: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// May a value be absent?
    pub(super) fn is_nullable(&self) -> bool {
        self.builder.is_nullable()
    }

    /// Values so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Appends the value that begins here, to a column that had `rows` values before this record. False where
    /// it replaces an earlier one of the same record.
    #[inline]
    pub(super) fn value(&mut self, scanner: &mut Scanner<'_>, side: &mut Vec<u8>, rows: usize) -> Result<bool, Wrong> {
        let first = self.rows == rows;
        if !first {
            self.truncate(rows);
        }
        let may_be_null = self.builder.is_nullable() || !matches!(self.builder.values, Store::Json(_));
        if scanner.token() == b'n' && may_be_null {
            scanner.word("null")?;
            return if self.push_null() { Ok(first) } else { Err(self.explain(scanner, Bad::Null)) };
        }
        let start = scanner.at;
        let mut reader =
            Reader { scanner, side, drop_items: self.invalid == Invalid::DropItems, depth: 1, bits: false };
        match reader.push(&mut self.builder.values) {
            Ok(()) => {
                self.rows += 1;
                self.builder.end_value();
            }
            Err(Bad::Json(error)) => return Err(error.into()),
            Err(_) if self.invalid == Invalid::Null => {
                self.builder.values.truncate(rows);
                scanner.at = start;
                scanner.skip(1)?;
                self.push_null();
            }
            Err(bad) => return Err(self.explain(scanner, bad)),
        }
        Ok(first)
    }

    /// Appends null, if the column may hold it.
    pub(super) fn push_null(&mut self) -> bool {
        if !self.builder.is_nullable() {
            return false;
        }
        self.builder.push_null();
        self.rows += 1;
        true
    }

    /// Takes back all but the first `rows` values.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.builder.truncate(rows);
        self.rows = self.rows.min(rows);
    }

    /// The column so far, whose text lies in `buffers`; the next one starts empty.
    pub(super) fn finish(&mut self, buffers: &[Buffer]) -> Result<ArrayRef, ArrowError> {
        self.rows = 0;
        self.builder.finish(buffers)
    }

    #[cold]
    fn explain(&self, scanner: &Scanner<'_>, bad: Bad) -> Wrong {
        let name = &self.name;
        let mut wanted = &self.column_type;
        let text = |range: &Range<usize>| shown(&scanner.text[range.clone()]);
        let (code, message) = match bad {
            Bad::Json(error) => return error.into(),
            Bad::Null => (RejectCode("unexpected_null"), format!("column `{name}`: null, but it is not nullable")),
            Bad::Kind(range) => {
                let found = kind(scanner.text[range.start]);
                (KIND, format!("column `{name}`: expected {wanted}, found {found} `{}`", text(&range)))
            }
            Bad::Value(code, range) => {
                while let ColumnType::List(item) = wanted {
                    wanted = item;
                }
                (code, format!("column `{name}`: `{}` is not a valid {wanted}", text(&range)))
            }
        };
        Wrong::Value(Box::new(BadValue { code, message: message.into() }))
    }
}

/// What begins with this byte.
fn kind(first: u8) -> &'static str {
    match first {
        b'"' => "the string",
        b'{' => "the object",
        b'[' => "the list",
        b't' | b'f' => "the boolean",
        b'n' => "null:",
        _ => "the number",
    }
}
