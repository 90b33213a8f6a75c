//! JSON text to typed values.

use std::ops::Range;

use arrow_array::builder::make_view;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::scan::{NoJson, Scanner, unescape};
use crate::values::{
    RejectCode,
    builder::{ListStore, Store, match_store},
    scalar::{self, Scalar},
};

/// What is wrong with a value.
pub(crate) enum Bad {
    /// It is not JSON.
    Json(NoJson),
    /// A value of another kind.
    Kind(Range<usize>),
    /// Of the right kind, but no such value.
    Value(RejectCode, Range<usize>),
    /// There is none.
    Null,
}

impl From<NoJson> for Bad {
    fn from(error: NoJson) -> Self {
        Bad::Json(error)
    }
}

/// Makes values of text. What is text in JSON becomes views: into the text that is scanned, which is buffer 0, or
/// into `side`, which is buffer 1, where it had to be written anew.
pub(crate) struct Reader<'a, 'b> {
    pub(crate) scanner: &'a mut Scanner<'b>,
    pub(crate) side: &'a mut Vec<u8>,
    /// Are bad items of a list left out of it?
    pub(crate) drop_items: bool,
    /// Objects and lists around the value.
    pub(crate) depth: u32,
    /// Are 0 and 1 booleans? To databases that have none, they are.
    pub(crate) bits: bool,
}

impl Reader<'_, '_> {
    /// Appends the value that begins here.
    #[inline]
    pub(crate) fn push(&mut self, store: &mut Store) -> Result<(), Bad> {
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
            b'0' | b'1' if self.bits => {
                let range = self.scanner.number()?;
                scalar::bool(&self.scanner.text[range.clone()]).ok_or(Bad::Kind(range))
            }
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
        if self.scanner.token() == b'n' {
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
