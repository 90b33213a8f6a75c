//! What ends the records of a stream, and how that is found out.

use memchr::{memchr, memrchr};
use schemars::JsonSchema;
use serde::Deserialize;

/// What ends a record, as a spec says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Newline {
    /// By the first 64 KiB of each file, fields in quotes left aside. Where there is an LF, every LF ends a record,
    /// CRs right before it or at the very end of the file belong to the line end, and any other CR is data. Where
    /// there are CRs only, every CR ends a record and LF is data.
    #[default]
    Auto,
    /// LF; CR is data.
    Lf,
    /// CR followed by LF; either of them alone is data.
    Crlf,
    /// CR; LF is data.
    Cr,
}

impl Newline {
    /// What ends a record, where that does not depend on the file.
    pub fn line_end(self) -> Option<LineEnd> {
        match self {
            Newline::Auto => None,
            Newline::Lf => Some(LineEnd::Lf),
            Newline::Crlf => Some(LineEnd::CrLf),
            Newline::Cr => Some(LineEnd::Cr),
        }
    }
}

/// What ends a record of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// LF, with any CRs right before it.
    Any,
    /// LF.
    Lf,
    /// CR and LF.
    CrLf,
    /// CR.
    Cr,
}

impl LineEnd {
    /// Where the record that starts at `from` ends, and where the next one starts.
    #[inline]
    pub fn find(self, bytes: &[u8], from: usize) -> Option<(usize, usize)> {
        let rest = bytes.get(from..)?;
        let one = |end: usize| (from + end, from + end + 1);
        match self {
            LineEnd::Lf => memchr(b'\n', rest).map(one),
            LineEnd::Cr => memchr(b'\r', rest).map(one),
            LineEnd::Any => memchr(b'\n', rest).map(|end| (before_crs(bytes, from, from + end), from + end + 1)),
            LineEnd::CrLf => memchr::memmem::find(rest, b"\r\n").map(|end| (from + end, from + end + 2)),
        }
    }

    /// The same, where the end of `bytes` ends the last record if no line end does. A line end of which only the CR is
    /// left there, as when a program cuts the last byte off, is no more part of the record than a whole one.
    #[inline]
    pub fn find_or_end(self, bytes: &[u8], from: usize) -> (usize, usize) {
        self.find(bytes, from).unwrap_or_else(|| (self.content_end(bytes, from), bytes.len()))
    }

    /// Where the content ends of a record that begins at `from` and that the end of `bytes` ends.
    pub(super) fn content_end(self, bytes: &[u8], from: usize) -> usize {
        if self == LineEnd::Any { before_crs(bytes, from, bytes.len()) } else { bytes.len() }
    }

    /// The byte that it is recognised by.
    pub fn mark(self) -> u8 {
        if self == LineEnd::Cr { b'\r' } else { b'\n' }
    }

    /// How many there are.
    pub fn count(self, bytes: &[u8]) -> u32 {
        memchr::memchr_iter(self.mark(), bytes).count() as u32
    }

    /// Its bytes, where they matter for finding where it ends.
    pub fn width(self) -> usize {
        match self {
            LineEnd::Any | LineEnd::Lf | LineEnd::Cr => 1,
            LineEnd::CrLf => 2,
        }
    }

    /// Where the last whole record ends, its line end included.
    pub(super) fn last(self, bytes: &[u8]) -> Option<usize> {
        match self {
            LineEnd::Any | LineEnd::Lf => memrchr(b'\n', bytes).map(|end| end + 1),
            LineEnd::Cr => memrchr(b'\r', bytes).map(|end| end + 1),
            LineEnd::CrLf => memchr::memmem::rfind(bytes, b"\r\n").map(|end| end + 2),
        }
    }
}

/// Where the CRs begin that stand right before `end`, not before `from`.
#[inline]
pub(super) fn before_crs(bytes: &[u8], from: usize, mut end: usize) -> usize {
    while end > from && bytes[end - 1] == b'\r' {
        end -= 1;
    }
    end
}

/// So much of the start of a stream tells how its records end.
pub const LOOK: usize = 64 << 10;

/// How records end by the start of a stream: `head` is its first [`LOOK`] bytes, or all of it where it is `whole`.
/// `separator` stands between fields that may be in quotes. `None`: there is no line end yet.
pub fn line_end(head: &[u8], separator: Option<u8>, whole: bool) -> Option<LineEnd> {
    // Behind a CR at the very end there may be an LF.
    let head = if whole { head } else { &head[..before_crs(head, 0, head.len())] };
    let plain = || (memchr(b'\n', head).is_some(), memchr(b'\r', head).is_some());
    let found = match separator.map(|separator| outside_quotes(head, separator)) {
        // A quote that is never closed may hide all of them.
        None | Some((false, false)) => plain(),
        Some(found) => found,
    };
    match found {
        (true, _) => Some(LineEnd::Any),
        (false, true) => Some(LineEnd::Cr),
        (false, false) => None,
    }
}

/// Are there LFs, and CRs, that are not in a field in quotes? A quote is one only where a field begins.
fn outside_quotes(head: &[u8], separator: u8) -> (bool, bool) {
    let (mut at, mut crs) = (0, false);
    loop {
        if head.get(at) == Some(&b'"') {
            at += 1;
            loop {
                let Some(len) = memchr(b'"', &head[at..]) else { return (false, crs) };
                at += len + 1;
                if head.get(at) != Some(&b'"') {
                    break;
                }
                at += 1;
            }
        }
        let Some(len) = memchr::memchr3(separator, b'\n', b'\r', &head[at..]) else { return (false, crs) };
        match head[at + len] {
            b'\n' => return (true, crs),
            byte => crs |= byte == b'\r',
        }
        at += len + 1;
    }
}
