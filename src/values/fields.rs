//! The fields of text formats to typed columns: one vector per column, appended to field by field, taken
//! back when a later field of the same record turns out to be bad.

use std::ops::Range;

use arrow_array::{ArrayRef, builder::make_view};
use arrow_buffer::Buffer;
use arrow_schema::ArrowError;
use memchr::{memchr, memchr_iter};
use serde::de::IgnoredAny;

use super::{
    ColumnType, RejectCode,
    builder::{Builder, ListStore, Store, match_store},
    columns::{ColumnSpec, Invalid},
    scalar::{self, Scalar},
};

/// One column that is being filled.
pub struct FieldColumn {
    name: String,
    column_type: ColumnType,
    builder: Builder,
    /// The text that means that there is no value.
    null: Option<Box<[u8]>>,
    /// Does an empty field mean that, too?
    empty_is_null: bool,
    /// Does it do so in quotes? Where no value is empty text, it can mean nothing else.
    quoted_is_null: bool,
    invalid: Invalid,
    separator: u8,
}

/// A field of a block.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// Its bytes.
    pub text: &'a [u8],
    /// Where it starts in its buffer.
    pub offset: usize,
    /// Its buffer: 0 is the block, 1 what had to be written anew.
    pub buffer: u32,
    /// Did it stand in quotes? Then it is not the text that means that there is no value.
    pub quoted: bool,
    /// Is it known to be UTF-8?
    pub utf8: bool,
}

/// A value that is not what its column declares.
#[derive(Debug, PartialEq, Eq)]
pub struct Bad {
    /// The reason in one word.
    pub code: RejectCode,
    /// The part of the field that is bad.
    part: Range<usize>,
}

const NULL: RejectCode = RejectCode("unexpected_null");
const UTF8: RejectCode = RejectCode("invalid_utf8");
const BOOL: RejectCode = RejectCode("bad_bool");
const JSON: RejectCode = RejectCode("bad_json");

impl FieldColumn {
    /// An empty column. `null` is the text that means that there is no value; where there is none, an empty
    /// field means that in nullable columns other than text.
    pub fn new(spec: &ColumnSpec, null: Option<&str>) -> Self {
        let text = matches!(spec.column_type, ColumnType::String | ColumnType::Binary | ColumnType::List(_));
        FieldColumn {
            name: spec.name.clone(),
            column_type: spec.column_type.clone(),
            builder: Builder::new(&spec.column_type, spec.nullable),
            null: null.map(|null| null.as_bytes().into()),
            empty_is_null: spec.nullable && null.is_none() && !text,
            quoted_is_null: spec.nullable && null.is_none_or(str::is_empty) && !text,
            invalid: spec.invalid,
            separator: spec.separator(),
        }
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Must the block be UTF-8 for this column?
    pub fn is_text(&self) -> bool {
        self.builder.values.is_text()
    }

    /// Appends a field.
    ///
    /// # Errors
    /// It is not of the column's type; what was appended of it is taken back by [`FieldColumn::truncate`].
    #[inline]
    pub fn push(&mut self, field: Field<'_>) -> Result<(), Bad> {
        if self.is_null(field) {
            if !self.builder.is_nullable() {
                return Err(Bad { code: NULL, part: 0..field.text.len() });
            }
            self.builder.push_null();
            return Ok(());
        }
        let before = self.builder.values.len();
        let pushed = match &mut self.builder.values {
            Store::List(list) => list.push(field, self.separator, self.invalid == Invalid::DropItems),
            store => store.push(field),
        };
        match pushed {
            Ok(()) => {
                self.builder.end_value();
                Ok(())
            }
            Err(_) if self.invalid == Invalid::Null => {
                self.builder.values.truncate(before);
                self.builder.push_null();
                Ok(())
            }
            Err(bad) => Err(bad),
        }
    }

    #[inline]
    fn is_null(&self, Field { text, quoted, .. }: Field<'_>) -> bool {
        if quoted {
            return self.quoted_is_null && text.is_empty();
        }
        self.null.as_deref() == Some(text) || (self.empty_is_null && text.is_empty())
    }

    /// Appends that there is no value, where the file lacks the column. It is nullable.
    pub fn push_absent(&mut self) {
        self.builder.push_null();
    }

    /// May a value be absent?
    pub fn is_nullable(&self) -> bool {
        self.builder.is_nullable()
    }

    /// Takes back all but the first `rows` values.
    pub fn truncate(&mut self, rows: usize) {
        self.builder.truncate(rows);
    }

    /// The column so far, whose text lies in `buffers`; the next one starts empty.
    ///
    /// # Errors
    /// Never, as long as all fields came from there.
    pub fn finish(&mut self, buffers: &[Buffer]) -> Result<ArrayRef, ArrowError> {
        self.builder.finish(buffers)
    }

    /// What is wrong with a field, in a sentence.
    #[cold]
    pub fn explain(&self, text: &[u8], bad: &Bad) -> String {
        let name = &self.name;
        let value = shown(&text[bad.part.clone()]);
        let (place, wanted) = match &self.column_type {
            ColumnType::List(item) if bad.code != NULL => {
                let before = memchr_iter(self.separator, &text[..bad.part.start]).count();
                (format!("column `{name}`, item {}", before + 1), item.as_ref())
            }
            column_type => (format!("column `{name}`"), column_type),
        };
        match bad.code {
            NULL => format!("{place}: `{value}` means null, but the column is not nullable"),
            UTF8 => format!("{place}: `{value}` is not UTF-8"),
            _ if bad.part.is_empty() => format!("{place}: empty, expected {wanted}"),
            _ => {
                let hint = match wanted {
                    ColumnType::Date | ColumnType::Timestamp => other_date(&value).unwrap_or_default(),
                    _ => String::new(),
                };
                format!("{place}: `{value}` is not a valid {wanted}{hint}")
            }
        }
    }
}

/// What a date in the order of another country looks like, and the way out.
fn other_date(text: &str) -> Option<String> {
    let (day, rest) = text.split_once(['/', '.', '-'])?;
    let sign = text[day.len()..].chars().next()?;
    let (month, rest) = rest.split_once(sign)?;
    let year: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let (first, second) = (day.parse::<u8>().ok()?, month.parse::<u8>().ok()?);
    if year.len() != 4 || first > 31 || second > 31 {
        return None;
    }
    let order = if second > 12 { format!("MM{sign}DD{sign}YYYY") } else { format!("DD{sign}MM{sign}YYYY") };
    let order = match first <= 12 && second <= 12 {
        true => format!("{order} or MM{sign}DD{sign}YYYY"),
        false => order,
    };
    Some(format!(
        ": dates are YYYY-MM-DD, and this looks like {order}; read it as string, and reorder it with `split_part`"
    ))
}

/// A value for a message: its first 64 characters.
pub fn shown(text: &[u8]) -> String {
    const CHARACTERS: usize = 64;
    // A character takes at most four bytes; a record may be large.
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * CHARACTERS + 4)]);
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

impl Store {
    /// Appends a value that is not a list.
    #[inline]
    fn push(&mut self, field: Field<'_>) -> Result<(), Bad> {
        let Field { text, .. } = field;
        let bad = |code| Bad { code, part: 0..text.len() };
        match_store!(self, values: T => values.push(T::parse(text).ok_or_else(|| bad(T::CODE))?),
            Store::Bool(values) => values.push(scalar::bool(text).ok_or_else(|| bad(BOOL))?),
            Store::String(views) => views.push(field.checked().ok_or_else(|| bad(UTF8))?.view()),
            Store::Json(views) => {
                let view = field.checked().ok_or_else(|| bad(UTF8))?.view();
                serde_json::from_slice::<IgnoredAny>(text).map_err(|_| bad(JSON))?;
                views.push(view);
            },
            Store::Binary(views) => views.push(field.view()),
            // No text format nests lists; the compiler refuses them.
            Store::List(_) => return Err(bad(JSON)),
        );
        Ok(())
    }
}

impl Field<'_> {
    /// This field, if it is UTF-8.
    #[inline]
    fn checked(self) -> Option<Self> {
        (self.utf8 || simdutf8::basic::from_utf8(self.text).is_ok()).then_some(self)
    }

    #[inline]
    fn view(self) -> u128 {
        make_view(self.text, self.buffer, self.offset as u32)
    }
}

impl ListStore {
    /// Appends a list. Spaces around items are not part of them, unless a space separates them.
    #[inline]
    fn push(&mut self, field: Field<'_>, separator: u8, drop_items: bool) -> Result<(), Bad> {
        let list = List { field, separator, drop_items };
        if !field.text.is_empty() {
            match_store!(&mut self.items, values: T => list.scalars::<T>(values)?,
                items => list.items(items)?,
            );
        }
        self.close();
        Ok(())
    }
}

/// A field that holds a list.
struct List<'a> {
    field: Field<'a>,
    separator: u8,
    drop_items: bool,
}

impl List<'_> {
    /// Appends items of fixed width. Most are read in one pass, without looking for the separator first.
    fn scalars<T: Scalar>(&self, values: &mut Vec<T::Native>) -> Result<(), Bad> {
        let text = self.field.text;
        let mut at = 0;
        loop {
            if self.separator != b' ' && text.get(at) == Some(&b' ') {
                at += 1;
                continue;
            }
            if let Some((value, len)) = T::lead(&text[at..]) {
                match text.get(at + len) {
                    None => {
                        values.push(value);
                        return Ok(());
                    }
                    Some(byte) if *byte == self.separator => {
                        values.push(value);
                        at += len + 1;
                        continue;
                    }
                    Some(_) => {}
                }
            }
            let (item, end) = self.item(at);
            match T::parse(&text[item.clone()]) {
                Some(value) => values.push(value),
                None if self.drop_items => {}
                None => return Err(Bad { code: T::CODE, part: item }),
            }
            if end == text.len() {
                return Ok(());
            }
            at = end + 1;
        }
    }

    /// Appends items of any other type.
    fn items(&self, items: &mut Store) -> Result<(), Bad> {
        let mut at = 0;
        loop {
            let (item, end) = self.item(at);
            let field =
                Field { text: &self.field.text[item.clone()], offset: self.field.offset + item.start, ..self.field };
            match items.push(field) {
                Err(bad) if !self.drop_items => return Err(Bad { part: item, ..bad }),
                _ => {}
            }
            if end == self.field.text.len() {
                return Ok(());
            }
            at = end + 1;
        }
    }

    /// The item that starts at `at`, without spaces around it, and where it ends with them.
    fn item(&self, at: usize) -> (Range<usize>, usize) {
        let text = self.field.text;
        let end = memchr(self.separator, &text[at..]).map_or(text.len(), |len| at + len);
        if self.separator == b' ' {
            return (at..end, end);
        }
        let lead = text[at..end].iter().take_while(|byte| **byte == b' ').count();
        let trail = text[at + lead..end].iter().rev().take_while(|byte| **byte == b' ').count();
        (at + lead..end - trail, end)
    }
}
