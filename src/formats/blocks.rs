//! Cuts a stream of text into blocks of whole records, without looking into the records.
//!
//! A record that a block ends in the middle of is carried over to the next. Memory is bounded by the block
//! size and the longest record allowed: of a longer one, only the start is kept.

use std::io::{self, Read};

use arrow_buffer::Buffer;
use memchr::memchr2;

use super::HEAD;
pub(super) use super::newline::before_crs;
pub use super::newline::{LOOK, LineEnd, Newline, line_end};

/// What was cut off a stream.
#[derive(Debug)]
pub enum Piece {
    /// Whole records; only the last of a file may lack its line end.
    Records(Buffer),
    /// A record that is too long: its first bytes. The rest has been passed over.
    TooLong(Vec<u8>),
}

/// A stream, cut into blocks.
pub struct Blocks<R> {
    input: R,
    block_bytes: usize,
    max_record: usize,
    line_end: Option<LineEnd>,
    /// The bytes after the last whole record.
    carry: Vec<u8>,
    /// Has the start of the stream been looked at?
    started: bool,
    /// Did its start not tell how records end?
    looked: bool,
    /// Are blocks handed out as they are, whether or not a record ends with them? Then this stands between fields.
    ragged: Option<u8>,
    /// Where the next record begins, counted from the start of the stream. The first begins with the BOM.
    position: u64,
    /// Bytes at the start of the next record that are not handed out: a BOM.
    mark: u64,
    /// Records that begin here or later are another's.
    limit: Option<u64>,
    end: End,
}

/// How the stream ended.
enum End {
    NotYet,
    Clean,
    Broken(Option<io::Error>),
}

/// So much is read beyond a limit at first, for the end of the last record.
const BEYOND: u64 = 64 << 10;

/// Offsets into a block are 32 bits wide, with room for a carried record.
const MAX_BLOCK: usize = 1 << 29;

impl<R: Read> Blocks<R> {
    /// Blocks of about `block_bytes`, of records of at most `max_record` bytes.
    pub fn new(input: R, newline: Newline, block_bytes: usize, max_record: usize) -> Self {
        Blocks {
            input,
            block_bytes: block_bytes.clamp(1, MAX_BLOCK),
            max_record: max_record.clamp(1, MAX_BLOCK),
            line_end: newline.line_end(),
            carry: Vec::new(),
            started: false,
            looked: false,
            ragged: None,
            position: 0,
            mark: 0,
            limit: None,
            end: End::NotYet,
        }
    }

    /// The same for the records that begin in the first `limit` bytes only; the last of them is read to its end.
    pub fn limited(self, limit: u64) -> Self {
        Blocks { limit: Some(limit), ..self }
    }

    /// Passes over the record, or the part of one, that the stream begins with. It is the middle of a file, so
    /// nothing there is a mark of its encoding, and how records end is known: by `line_end`.
    pub fn skip_first(&mut self, line_end: LineEnd) {
        self.started = true;
        self.line_end = Some(line_end);
        let bytes = self.read_more();
        self.pass_over(bytes);
    }

    /// The same without looking for the ends of records, as fields between such separators may hold line ends in
    /// quotes: a block may end in the middle of one. What is not used of it must be given back before the next piece
    /// is asked for.
    pub fn ragged(self, separator: Option<u8>) -> Self {
        Blocks { ragged: separator, ..self }
    }

    /// Takes back the end of the piece handed out last, which then begins the next one.
    pub fn give_back(&mut self, rest: &[u8]) {
        self.carry = rest.to_vec();
    }

    /// Has the stream come to its end? Then nothing follows the piece handed out last.
    pub fn ended(&self) -> bool {
        matches!(self.end, End::Clean)
    }

    /// The stream.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// How records end; known once a piece has been cut off.
    pub fn line_end(&self) -> LineEnd {
        self.line_end.unwrap_or(LineEnd::Any)
    }

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// The stream broke; whatever whole records came before have been returned. A part of a record has not.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        loop {
            if self.limit.is_some_and(|limit| self.position >= limit) {
                return Ok(None);
            }
            let carried = self.carry.len();
            let mut bytes = self.read_more();
            self.decide(&bytes);
            if self.must_look(&bytes) {
                self.carry = bytes;
                continue;
            }
            let news = self.ended() || (self.line_end.is_some() && bytes.len() > carried);
            if self.ragged.is_some() && !bytes.is_empty() && news {
                return Ok(Some(Piece::Records(Buffer::from_vec(bytes))));
            }
            let ended = matches!(self.end, End::Clean);
            let whole = if ended { Some(bytes.len()) } else { self.line_end.and_then(|end| end.last(&bytes)) };
            if let Some(whole) = whole.filter(|whole| *whole > 0) {
                let whole = self.own(&bytes, whole);
                self.carry = bytes.split_off(whole);
                self.pass(whole);
                return Ok(Some(Piece::Records(Buffer::from_vec(bytes))));
            }
            match &mut self.end {
                End::Clean => return Ok(None),
                End::Broken(error) => return error.take().map_or(Ok(None), Err),
                End::NotYet if content_len(&bytes) > self.max_record => {
                    let head = bytes[..bytes.len().min(HEAD)].to_vec();
                    self.pass_over(bytes);
                    return Ok(Some(Piece::TooLong(head)));
                }
                End::NotYet => self.carry = bytes,
            }
        }
    }

    /// Goes on behind so many bytes.
    fn pass(&mut self, bytes: usize) {
        self.position += self.mark + bytes as u64;
        self.mark = 0;
    }

    /// How much of `whole` bytes of whole records is not another's.
    fn own(&self, bytes: &[u8], whole: usize) -> usize {
        let room = self.limit.map(|limit| limit.saturating_sub(self.position + self.mark));
        let Some(room) = room.filter(|room| *room < whole as u64) else { return whole };
        let line_end = self.line_end();
        let from = (room as usize).saturating_sub(line_end.width());
        line_end.find(&bytes[..whole], from).map_or(whole, |(_, next)| next)
    }

    /// What was carried over and as much again as a block takes, or as was carried over if that is more: so
    /// a long record is not copied over and over.
    fn read_more(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.carry);
        if !matches!(self.end, End::NotYet) {
            return bytes;
        }
        let carried = bytes.len();
        let left = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.position + carried as u64));
        let useful = usize::try_from(left.saturating_add(BEYOND)).unwrap_or(usize::MAX);
        let wanted = self.block_bytes.min(useful).max(carried).max(BOM.len());
        let mut block = vec![0; carried + wanted];
        block[..carried].copy_from_slice(&bytes);
        let mut len = carried;
        while len < block.len() {
            match self.input.read(&mut block[len..]) {
                Ok(0) => {
                    self.end = End::Clean;
                    break;
                }
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.end = End::Broken(Some(error));
                    break;
                }
            }
        }
        block.truncate(len);
        if !self.started && block.starts_with(BOM) {
            block.drain(..BOM.len());
            self.mark = BOM.len() as u64;
        }
        self.started = true;
        if block.len() < block.capacity() / 2 {
            block.shrink_to_fit();
        }
        block
    }

    /// Must more be read before it can be told how records end? That must not depend on how much is read at a time.
    fn must_look(&self, bytes: &[u8]) -> bool {
        self.line_end.is_none() && !self.looked && bytes.len() < LOOK && matches!(self.end, End::NotYet)
    }

    /// Tells how records end, where that is not known yet: by the start of the stream or, where that has no line
    /// end, by the first one that there is.
    fn decide(&mut self, bytes: &[u8]) {
        if self.line_end.is_some() || self.must_look(bytes) {
            return;
        }
        if !self.looked {
            self.looked = true;
            let whole = self.ended() && bytes.len() <= LOOK;
            self.line_end = line_end(&bytes[..bytes.len().min(LOOK)], self.ragged, whole);
            if self.line_end.is_some() {
                return;
            }
        }
        let Some(at) = memchr2(b'\n', b'\r', bytes) else {
            if self.ragged.is_some() && bytes.len() > self.max_record {
                self.line_end = Some(LineEnd::Any);
            }
            return;
        };
        self.line_end = match bytes[at..].iter().find(|byte| **byte != b'\r') {
            Some(b'\n') => Some(LineEnd::Any),
            Some(_) => Some(LineEnd::Cr),
            None if self.ended() => Some(LineEnd::Cr),
            // The LF may be still to come.
            None => None,
        };
    }

    /// Passes over the rest of the record that `bytes` is the start of; what comes after is carried over.
    pub fn pass_over(&mut self, mut bytes: Vec<u8>) {
        if self.ragged.is_some() {
            self.line_end.get_or_insert(LineEnd::Any);
        }
        loop {
            self.decide(&bytes);
            if let Some((_, next)) = self.line_end.and_then(|end| end.find(&bytes, 0)) {
                self.carry = bytes.split_off(next);
                self.pass(next);
                return;
            }
            // Half of a line end may be at the very end.
            self.carry = if bytes.ends_with(b"\r") { vec![b'\r'] } else { Vec::new() };
            self.pass(bytes.len() - self.carry.len());
            if !matches!(self.end, End::NotYet) {
                self.carry.clear();
                return;
            }
            bytes = self.read_more();
        }
    }
}

/// The mark that some programs put before UTF-8 text; it is not data.
pub const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The length of a record without the half of a line end that it may end with.
fn content_len(bytes: &[u8]) -> usize {
    bytes.len() - usize::from(bytes.ends_with(b"\r"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `x` so many times, then an error, and remembers the largest buffer it was asked to fill.
    struct Stream {
        text: Vec<u8>,
        at: usize,
        largest: usize,
    }

    impl Read for Stream {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.largest = self.largest.max(into.len());
            if self.at == self.text.len() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let len = into.len().min(self.text.len() - self.at).min(7);
            into[..len].copy_from_slice(&self.text[self.at..self.at + len]);
            self.at += len;
            Ok(len)
        }
    }

    fn stream(text: &str) -> Stream {
        Stream { text: text.as_bytes().to_vec(), at: 0, largest: 0 }
    }

    #[test]
    fn whole_records_come_before_the_error_and_the_rest_does_not() {
        let mut blocks = Blocks::new(stream("one\ntwo\nthr"), Newline::Auto, 100, 100);
        assert!(matches!(blocks.next_piece(), Ok(Some(Piece::Records(bytes))) if bytes.as_slice() == b"one\ntwo\n"));
        assert_eq!(blocks.next_piece().expect_err("broken").kind(), io::ErrorKind::ConnectionReset);
        assert!(matches!(blocks.next_piece(), Ok(None)));
    }

    #[test]
    fn the_start_of_a_stream_tells_how_records_end() {
        let cases: &[(&str, Option<u8>, Option<LineEnd>)] = &[
            ("a\nb", None, Some(LineEnd::Any)),
            ("a\rb\rc\nd\n", None, Some(LineEnd::Any)),
            ("a\rb\rc", None, Some(LineEnd::Cr)),
            ("a\r\r\nb\r\r\n", None, Some(LineEnd::Any)),
            ("abc", None, None),
            ("a\r", None, Some(LineEnd::Cr)),
            // In quotes, line ends are data; a quote inside of a field is none.
            ("a,\"x\ny\"\rb\r", Some(b','), Some(LineEnd::Cr)),
            ("a,\"x\ny\"\rb\r", Some(b';'), Some(LineEnd::Any)),
            ("5\" pipe,1\n6\" pipe,2\r", Some(b','), Some(LineEnd::Any)),
            ("\"a\"\"\rb\",1\n", Some(b','), Some(LineEnd::Any)),
            ("\"never\rclosed\n", Some(b','), Some(LineEnd::Any)),
            ("\"\"", Some(b','), None),
            ("\"", Some(b','), None),
        ];
        for (text, separator, expected) in cases {
            assert_eq!(line_end(text.as_bytes(), *separator, true), *expected, "{text:?}");
        }
        assert_eq!(line_end(b"a\r", None, false), None, "an LF may follow");
    }

    #[test]
    fn a_line_end_far_behind_the_start_counts() {
        let text = format!("{}\rb\rc", "x".repeat(LOOK + 5));
        let long = text.len() + 10;
        for block in [7, 1000, LOOK, 2 * LOOK] {
            let mut blocks = Blocks::new(stream(&text), Newline::Auto, block, long);
            assert!(
                matches!(blocks.next_piece(), Ok(Some(Piece::Records(bytes))) if bytes.ends_with(b"\r")),
                "{block}"
            );
            assert_eq!(blocks.line_end(), LineEnd::Cr);
        }
    }

    #[test]
    fn a_long_record_takes_no_more_memory_than_allowed() {
        let text = format!("a\n{}\nb\n", "x".repeat(100_000));
        for (block, max, bound) in [(10, 1000, 1100), (500, 10, 600), (64, 64, 140)] {
            let mut blocks = Blocks::new(stream(&text), Newline::Lf, block, max);
            let mut pieces = Vec::new();
            while let Ok(Some(piece)) = blocks.next_piece() {
                assert!(blocks.carry.capacity() <= 2 * bound, "{block} {max}: {}", blocks.carry.capacity());
                pieces.push(match piece {
                    Piece::Records(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    Piece::TooLong(head) => format!("{}…", head.len() > max && head.iter().all(|byte| *byte == b'x')),
                });
            }
            assert_eq!(pieces, ["a\n", "true…", "b\n"], "{block} {max}");
            assert!(blocks.input().largest <= bound, "{block} {max}: {}", blocks.input().largest);
        }
    }
}
