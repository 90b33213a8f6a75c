//! Finds where a field ends, in quotes or not.

use std::ops::Range;

use crate::formats::blocks::{LineEnd, before_crs};

/// How fields are written.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) separator: u8,
    pub(super) line_end: LineEnd,
    /// Does nothing follow the bytes?
    pub(super) last: bool,
}

/// A field as it lies in a block.
pub(super) struct Cut {
    /// Its text, without the quotes around it.
    pub(super) text: Range<usize>,
    /// Did it stand in quotes?
    pub(super) quoted: bool,
    /// Are there doubled quotes in it?
    pub(super) doubled: bool,
    /// Is there text between its closing quote and its end?
    pub(super) behind_quote: bool,
    /// Line ends in it.
    pub(super) line_ends: u32,
    /// Where it ends, its closing quote included.
    pub(super) end: usize,
    /// Where the next field or record begins.
    pub(super) next: usize,
    pub(super) ending: Ending,
}

/// What ends a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Field,
    Record,
}

/// The bytes end before the field does.
pub(super) struct Unfinished {
    /// The quote that is open.
    pub(super) quote: Option<usize>,
}

impl Form {
    /// The field at `at`.
    #[inline]
    pub(super) fn field(&self, bytes: &[u8], at: usize) -> Result<Cut, Unfinished> {
        if bytes.get(at) == Some(&b'"') {
            return self.quoted(bytes, at);
        }
        let (end, next, ending) = self.plain(bytes, at).ok_or(Unfinished { quote: None })?;
        let text = at..end;
        Ok(Cut { text, quoted: false, doubled: false, behind_quote: false, line_ends: 0, end, next, ending })
    }

    /// Where text without quotes ends that begins at `from`.
    #[inline]
    fn plain(&self, bytes: &[u8], from: usize) -> Option<(usize, usize, Ending)> {
        let mark = self.line_end.mark();
        let mut at = from;
        loop {
            let stop = find(bytes, at, self.separator, mark);
            match bytes.get(stop) {
                None if self.last => return Some((self.line_end.content_end(bytes, from), stop, Ending::Record)),
                None => return None,
                Some(byte) if *byte == self.separator => return Some((stop, stop + 1, Ending::Field)),
                Some(_) => {}
            }
            let after_cr = stop > from && bytes[stop - 1] == b'\r';
            match self.line_end {
                LineEnd::Any if after_cr => return Some((before_crs(bytes, from, stop), stop + 1, Ending::Record)),
                LineEnd::CrLf if after_cr => return Some((stop - 1, stop + 1, Ending::Record)),
                LineEnd::CrLf => at = stop + 1,
                _ => return Some((stop, stop + 1, Ending::Record)),
            }
        }
    }

    #[inline]
    fn quoted(&self, bytes: &[u8], quote: usize) -> Result<Cut, Unfinished> {
        let open = || Unfinished { quote: Some(quote) };
        let (mut doubled, mut line_ends) = (false, 0);
        let mut at = quote + 1;
        let close = loop {
            let stop = find(bytes, at, b'"', self.line_end.mark());
            at = stop + 1;
            match (bytes.get(stop), bytes.get(stop + 1)) {
                (None, _) => return Err(open()),
                (Some(b'"'), Some(b'"')) => {
                    doubled = true;
                    at += 1;
                }
                // It may be the first of two.
                (Some(b'"'), None) if !self.last => return Err(open()),
                (Some(b'"'), _) => break stop,
                _ => line_ends += 1,
            }
        };
        let (end, next, ending) = self.plain(bytes, close + 1).ok_or(Unfinished { quote: None })?;
        let behind_quote = end > close + 1;
        Ok(Cut { text: quote + 1..close, quoted: true, doubled, behind_quote, line_ends, end, next, ending })
    }
}

/// Where one of two bytes is first, or the end. Eight bytes are looked at at once, since most fields are short:
/// of each, the highest bit is set where it is one of the two. A borrow can set it wrongly only behind one that
/// is.
#[inline]
fn find(bytes: &[u8], mut at: usize, one: u8, other: u8) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (ones, others) = (LOW * u64::from(one), LOW * u64::from(other));
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let (a, b) = (word ^ ones, word ^ others);
        let found = ((a.wrapping_sub(LOW) & !a) | (b.wrapping_sub(LOW) & !b)) & HIGH;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| *byte != one && *byte != other) {
        at += 1;
    }
    at
}

/// Appends the inside of a field in quotes, every two quotes as one.
pub(super) fn undouble(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=quote]);
        rest = rest.get(quote + 2..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}
