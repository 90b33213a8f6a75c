//! JSON values to one typed column.

use std::ops::Range;

use arrow_array::{ArrayRef, builder::make_view};
use arrow_buffer::{Buffer, NullBufferBuilder};
use arrow_schema::ArrowError;
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    batch::{ColumnType, RejectCode},
    formats::{
        columns::{ColumnSpec, Invalid},
        fields::shown,
        json::{NoJson, Scanner, unescape},
        scalar::Scalar,
        store::{ListStore, Store, match_store},
    },
};

/// One column that is being filled.
pub(super) struct JsonColumn {
    name: String,
    column_type: ColumnType,
    store: Store,
    /// Which values are there; only where some may not be.
    nulls: Option<NullBufferBuilder>,
    invalid: Invalid,
    rows: usize,
}

/// Why a record is refused.
pub(super) enum Wrong {
    /// It is no JSON.
    Json(NoJson),
    /// It is no object.
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

/// What is wrong with a value; the column says it in a sentence.
enum Bad {
    Json(NoJson),
    /// A value of another kind.
    Kind(Range<usize>),
    /// Of the right kind, but no such value.
    Value(RejectCode, Range<usize>),
    Null,
}

impl From<NoJson> for Bad {
    fn from(error: NoJson) -> Self {
        Bad::Json(error)
    }
}

const KIND: RejectCode = RejectCode("bad_type");

impl JsonColumn {
    pub(super) fn new(spec: &ColumnSpec) -> Self {
        JsonColumn {
            name: spec.name.clone(),
            column_type: spec.column_type.clone(),
            store: Store::new(&spec.column_type),
            nulls: spec.nullable.then(|| NullBufferBuilder::new(0)),
            invalid: spec.invalid,
            rows: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// May a value be absent?
    pub(super) fn is_nullable(&self) -> bool {
        self.nulls.is_some()
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
        if scanner.token() == b'n' && !(matches!(self.store, Store::Json(_)) && self.nulls.is_none()) {
            scanner.word("null")?;
            return if self.push_null() { Ok(first) } else { Err(self.explain(scanner, Bad::Null)) };
        }
        let start = scanner.at;
        let mut reader = Reader { scanner, side, drop_items: self.invalid == Invalid::DropItems, depth: 1 };
        match reader.push(&mut self.store) {
            Ok(()) => {
                self.rows += 1;
                if let Some(nulls) = &mut self.nulls {
                    nulls.append_non_null();
                }
            }
            Err(Bad::Json(error)) => return Err(error.into()),
            Err(_) if self.invalid == Invalid::Null => {
                self.store.truncate(rows);
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
        let Some(nulls) = &mut self.nulls else { return false };
        nulls.append_null();
        self.store.push_nothing();
        self.rows += 1;
        true
    }

    /// Takes back all but the first `rows` values.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.store.truncate(rows);
        if let Some(nulls) = &mut self.nulls {
            nulls.truncate(rows);
        }
        self.rows = self.rows.min(rows);
    }

    /// The column so far, whose text lies in `buffers`; the next one starts empty.
    pub(super) fn finish(&mut self, buffers: &[Buffer]) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.as_mut().and_then(NullBufferBuilder::finish);
        self.rows = 0;
        self.store.finish(buffers, nulls)
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
                (code, format!("column `{name}`: `{}` is no {wanted}", text(&range)))
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

/// Makes values of text.
struct Reader<'a, 'b> {
    scanner: &'a mut Scanner<'b>,
    side: &'a mut Vec<u8>,
    drop_items: bool,
    /// Objects and lists around the value.
    depth: u32,
}

impl Reader<'_, '_> {
    /// Appends the value that begins here.
    #[inline]
    fn push(&mut self, store: &mut Store) -> Result<(), Bad> {
        match_store!(store, values: T => values.push(self.scalar::<T>()?),
            Store::Bool(values) => values.push(self.bool()?),
            Store::String(views) => views.push(self.string()?),
            Store::Json(views) => views.push(self.raw()?),
            Store::Binary(views) => views.push(self.binary()?),
            Store::List(list) => self.list(list)?,
        );
        Ok(())
    }

    fn scalar<T: Scalar>(&mut self) -> Result<T::Native, Bad> {
        let first = self.scanner.token();
        let range = if T::IN_QUOTES {
            if first != b'"' {
                return self.other_kind();
            }
            self.scanner.string()?.range()
        } else {
            if first != b'-' && !first.is_ascii_digit() {
                return self.other_kind();
            }
            self.scanner.number()?
        };
        T::parse_finite(&self.scanner.text[range.clone()]).ok_or(Bad::Value(T::CODE, range))
    }

    fn bool(&mut self) -> Result<bool, Bad> {
        match self.scanner.token() {
            b't' => self.scanner.word("true").map(|()| true).map_err(Bad::from),
            b'f' => self.scanner.word("false").map(|()| false).map_err(Bad::from),
            _ => self.other_kind(),
        }
    }

    #[inline]
    fn string(&mut self) -> Result<u128, Bad> {
        if self.scanner.token() != b'"' {
            return self.other_kind();
        }
        let text = self.scanner.string()?;
        let bytes = &self.scanner.text[text.range()];
        if !text.escaped {
            return Ok(make_view(bytes, 0, text.start as u32));
        }
        let start = self.side.len();
        unescape(bytes, self.side).map_err(|()| Bad::Value(RejectCode("bad_string"), text.range()))?;
        Ok(make_view(&self.side[start..], 1, start as u32))
    }

    /// The text of any value.
    #[inline]
    fn raw(&mut self) -> Result<u128, Bad> {
        self.scanner.token();
        let start = self.scanner.at;
        self.scanner.skip(self.depth)?;
        Ok(make_view(&self.scanner.text[start..self.scanner.at], 0, start as u32))
    }

    /// Bytes, which stand in JSON as base64.
    fn binary(&mut self) -> Result<u128, Bad> {
        if self.scanner.token() != b'"' {
            return self.other_kind();
        }
        let text = self.scanner.string()?;
        let bad = || Bad::Value(RejectCode("bad_base64"), text.range());
        let start = self.side.len();
        // What is escaped is unescaped behind the room for the result, and decoded from a copy.
        let plain;
        let mut bytes = &self.scanner.text[text.range()];
        if text.escaped {
            unescape(bytes, self.side).map_err(|()| bad())?;
            plain = self.side.split_off(start);
            bytes = &plain;
        }
        STANDARD.decode_vec(bytes, self.side).map_err(|_| bad())?;
        Ok(make_view(&self.side[start..], 1, start as u32))
    }

    fn list(&mut self, list: &mut ListStore) -> Result<(), Bad> {
        if self.scanner.token() != b'[' {
            return self.other_kind();
        }
        self.depth += 1;
        self.scanner.at += 1;
        if self.scanner.token() == b']' {
            self.scanner.at += 1;
        } else {
            loop {
                self.item(list)?;
                match self.scanner.token() {
                    b',' => self.scanner.at += 1,
                    b']' => break,
                    _ => return Err(self.scanner.expected("`,` or `]`").into()),
                }
            }
            self.scanner.at += 1;
        }
        self.depth -= 1;
        list.close();
        Ok(())
    }

    #[inline]
    fn item(&mut self, list: &mut ListStore) -> Result<(), Bad> {
        if self.scanner.token() == b'n' && !matches!(list.items, Store::Json(_)) {
            self.scanner.word("null")?;
            list.push_null_item();
            return Ok(());
        }
        let (start, before, depth) = (self.scanner.at, list.items.len(), self.depth);
        match self.push(&mut list.items) {
            Err(Bad::Kind(_) | Bad::Value(..)) if self.drop_items => {
                list.truncate_items(before);
                self.depth = depth;
                self.scanner.at = start;
                Ok(self.scanner.skip(self.depth)?)
            }
            result => result,
        }
    }

    /// Passes over a value of another kind than the column's.
    #[cold]
    fn other_kind<T>(&mut self) -> Result<T, Bad> {
        let start = self.scanner.at;
        self.scanner.skip(self.depth)?;
        Err(Bad::Kind(start..self.scanner.at))
    }
}
