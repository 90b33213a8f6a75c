//! What a page takes of memory, known before there is memory for it.
//!
//! The crate makes room for what the header of a page says, and some of its decoders go on for as long as the compressed
//! bytes give more. So a few bytes could fill any memory. Here the header is looked at before the crate acts on it, and
//! what those decoders would make is counted without being kept.

use std::io::{self, Read};

use ::parquet::basic::Compression as Codec;

use super::thrift::{STRUCT, Thrift, is_whole};

/// The header of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageHeader {
    /// Its own bytes.
    pub len: usize,
    /// Bytes of the page in the file.
    pub packed: u64,
    /// Bytes of the page once it is unpacked, as the header says.
    pub unpacked: u64,
    /// Is it a dictionary?
    pub is_dictionary: bool,
    /// How many values it has.
    values: u64,
    /// Bytes at its beginning that are never compressed.
    levels: u64,
    /// Is it not compressed although its column is?
    is_plain: bool,
}

/// What is known of a header from its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// All.
    Whole(PageHeader),
    /// Nothing: it is longer.
    Longer,
    /// That it is none.
    Wrong,
}

/// The kinds of pages, as headers number them.
const DICTIONARY: i64 = 2;

/// A value of a dictionary is found by a view of this size.
const VIEW: u64 = 16;

impl PageHeader {
    /// Reads the header that these bytes begin with.
    pub fn look(bytes: &[u8]) -> Look {
        let mut thrift = Thrift::new(bytes);
        match PageHeader::read(&mut thrift) {
            Some(header) if thrift.at <= bytes.len() => Look::Whole(PageHeader { len: thrift.at, ..header }),
            _ if thrift.at >= bytes.len() => Look::Longer,
            _ => Look::Wrong,
        }
    }

    /// What the crate takes the header to say: where it does not look of what kind a field is, that must be right.
    fn read(thrift: &mut Thrift<'_>) -> Option<PageHeader> {
        let mut header = PageHeader::default();
        let mut id = 0;
        loop {
            match thrift.field(&mut id)? {
                (_, 0) => return Some(header),
                (1, kind) => header.is_dictionary = number(thrift, kind)? == DICTIONARY,
                (2, kind) => header.unpacked = size(thrift, kind)?,
                (3, kind) => header.packed = size(thrift, kind)?,
                (5, STRUCT) => header.details(thrift, 4, 0)?,
                (7, STRUCT) => header.details(thrift, 2, 3)?,
                (8, STRUCT) => header.details(thrift, 6, 7)?,
                (4, kind) if !is_whole(kind) => return None,
                (5..=8, kind) if kind != STRUCT => return None,
                (_, kind) => thrift.skip(kind)?,
            }
        }
    }

    /// Reads what is said of one kind of page: the fields up to `whole` are whole numbers, the field `truth` is a truth
    /// value. Only the second kind for data has more than four of them.
    fn details(&mut self, thrift: &mut Thrift<'_>, whole: i64, truth: i64) -> Option<()> {
        let (mut id, mut levels) = (0, [0; 2]);
        loop {
            match thrift.field(&mut id)? {
                (_, 0) => break,
                (1, kind) => self.values = size(thrift, kind)?,
                (5, kind) if whole > 4 => levels[0] = size(thrift, kind)?,
                (6, kind) if whole > 4 => levels[1] = size(thrift, kind)?,
                (2.., kind) if id <= whole => drop(number(thrift, kind)?),
                (_, kind @ 1..=2) if id == truth => self.is_plain = whole > 4 && kind == 2,
                (_, kind) => thrift.skip(kind)?,
            }
        }
        self.levels = levels.iter().sum();
        Some(())
    }

    /// The bytes that reading it takes at most, if it is what its header says. Its column is compressed so.
    pub fn memory(&self, codec: Codec) -> u64 {
        let page = match codec {
            Codec::UNCOMPRESSED => self.packed,
            _ => self.packed + self.unpacked,
        };
        page + if self.is_dictionary { self.values * VIEW } else { 0 }
    }

    /// Does the header say what cannot be: more bytes than its column has, which unpacks to so many, or more values than
    /// bytes?
    pub fn is_odd(&self, column: u64) -> bool {
        self.unpacked > column || (self.is_dictionary && self.values > self.unpacked)
    }

    /// Is its page no larger than the header says? Asked only of what the crate does not ask itself, and unless no more
    /// than `harmless` bytes could come of it.
    pub fn is_true(&self, codec: Codec, page: &[u8], harmless: u64) -> bool {
        let Some(packed) = usize::try_from(self.levels).ok().and_then(|levels| page.get(levels..)) else { return true };
        let within = |ratio: u64| (packed.len() as u64).saturating_mul(ratio) <= harmless;
        let max = self.unpacked.saturating_sub(self.levels);
        if self.is_plain {
            return true;
        }
        match codec {
            Codec::GZIP(_) => within(DEFLATE_RATIO) || is_within(flate2::read::MultiGzDecoder::new(packed), max),
            Codec::LZ4 => within(LZ4_RATIO) || is_within(lz4_flex::frame::FrameDecoder::new(packed), max),
            Codec::BROTLI(_) => is_within(brotli::Decompressor::new(packed, SCRATCH), max),
            // The crate gives these decoders as much room as the header says, and they end there.
            Codec::UNCOMPRESSED | Codec::SNAPPY | Codec::LZ4_RAW | Codec::ZSTD(_) | Codec::LZO => true,
        }
    }
}

/// A byte can become no more than so many, by how the formats are made.
const DEFLATE_RATIO: u64 = 1032;
const LZ4_RATIO: u64 = 255;

/// What is counted goes through a buffer of this size.
const SCRATCH: usize = 16 << 10;

/// Does no more than so many bytes come of it? Damage is left to the crate to tell.
fn is_within(mut from: impl Read, max: u64) -> bool {
    let mut scratch = [0; SCRATCH];
    let mut count = 0;
    loop {
        match from.read(&mut scratch) {
            Ok(0) => return true,
            Ok(len) => count += len as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
        if count > max {
            return false;
        }
    }
}

/// A whole number of 32 bits, which the crate cuts to that.
fn number(thrift: &mut Thrift<'_>, kind: u8) -> Option<i64> {
    thrift.whole().filter(|number| is_whole(kind) && i32::try_from(*number).is_ok())
}

/// A number that is not negative.
fn size(thrift: &mut Thrift<'_>, kind: u8) -> Option<u64> {
    u64::try_from(number(thrift, kind)?).ok()
}
