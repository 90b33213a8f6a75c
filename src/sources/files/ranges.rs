//! Large files that several workers read: each takes the records that begin in its range of bytes.
//!
//! A range begins in the middle of a record, most of the time. That one belongs to the range before: a reader
//! passes over it, and reads on beyond the end of its own range to where its last record ends. So a file can
//! be cut only where every line end ends a record, and where it can be opened in the middle.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{Setup, parquet};
use crate::{
    batch::Position,
    failure::Failure,
    formats::{
        Format,
        blocks::{BOM, Blocks, LOOK, LineEnd, Piece, line_end},
        compression::{Codec, InFile, Input},
    },
    stage::{Detail, Split},
};

/// A file of less is one split.
const CUT_FROM: u64 = 8 << 20;
/// A range has at least so many bytes and, of vast files, at most so many. Output in order waits in memory
/// while the range before is read, so ranges are not large.
const RANGE: Range<u64> = 4 << 20..32 << 20;
/// A file has about so many ranges, as long as these are neither too small nor too large.
const RANGES: u64 = 64;

/// What is known of files of several splits.
#[derive(Default)]
pub(super) struct Ranges {
    /// Splits of each file that are not done with.
    left: Mutex<HashMap<PathBuf, usize>>,
    /// What comes before a range, where somebody asked.
    before: Mutex<BTreeMap<(PathBuf, u64), Before>>,
}

/// What comes in a file before the first record of a range.
#[derive(Clone, Copy, Default)]
struct Before {
    lines: u64,
    records: u64,
}

impl Ranges {
    /// The file as one split or more.
    pub(super) fn cut(&self, setup: &Setup, whole: Split) -> Result<Vec<Split>, Failure> {
        let Detail::File { path, size, .. } = &whole.detail else { return Ok(vec![whole]) };
        if *size < CUT_FROM || !setup.can_be_cut(path) {
            return Ok(vec![whole]);
        }
        if setup.spec.format == Format::Parquet {
            // A footer that makes no sense fails the split, and not the others.
            let ranges = parquet::ranges(path, *size, range_bytes(*size)).unwrap_or_default();
            return Ok(if ranges.len() > 1 { self.parts(&whole, ranges) } else { vec![whole] });
        }
        if setup.spec.newline.line_end().is_none() {
            match first_line_end(path).map_err(|error| Failure::reading(path, &error))? {
                Some(LineEnd::Any) => {}
                _ => return Ok(vec![whole]),
            }
        }
        let ranges = ranges(*size);
        Ok(self.parts(&whole, ranges))
    }

    /// One split for each of these ranges.
    fn parts(&self, whole: &Split, ranges: Vec<Range<u64>>) -> Vec<Split> {
        let part = |range| {
            let mut part = whole.clone();
            if let Detail::File { range: own, .. } = &mut part.detail {
                *own = Some(range);
            }
            part
        };
        if let Detail::File { path, .. } = &whole.detail {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.insert(path.clone(), ranges.len());
        }
        ranges.into_iter().map(part).collect()
    }

    /// Notes that a split is done with. Was it the last of its file?
    pub(super) fn was_last(&self, split: &Split) -> bool {
        let Detail::File { path, range: Some(_), .. } = &split.detail else { return true };
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = left.get_mut(path) else { return false };
        *left = left.saturating_sub(1);
        *left == 0
    }

    /// Where in its file a record is. Where the file cannot be read any more, its line is not known.
    pub(super) fn locate(&self, setup: &Setup, split: &Split, position: Position) -> Position {
        let Detail::File { path, range: Some(range), .. } = &split.detail else { return position };
        if setup.spec.format == Format::Parquet {
            let before = parquet::rows_before(path, range.start).unwrap_or(0);
            return Position { record: position.record + before, ..position };
        }
        match self.before(setup, path, range.start) {
            Ok(Before { lines, records }) => {
                Position { record: position.record + records, line: position.line + lines }
            }
            Err(_) => Position { line: 0, ..position },
        }
    }

    /// What comes before the range that begins at `start`: what comes before the last one that is known, and
    /// what comes between.
    fn before(&self, setup: &Setup, path: &Path, start: u64) -> io::Result<Before> {
        let mut known = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (path.to_owned(), start);
        let last = known.range(..=&key).next_back().filter(|((other, _), _)| other == path);
        let (from, mut before) = last.map_or((0, Before::default()), |((_, from), before)| (*from, *before));
        if from < start {
            before = count(setup, path, from..start, before)?;
            known.insert(key, before);
        }
        Ok(before)
    }
}

impl Setup {
    /// Can a file be opened in the middle, and does every line end there end a record?
    fn can_be_cut(&self, path: &Path) -> bool {
        let by_line = self.spec.format != Format::Csv || self.spec.multiline == Some(false);
        by_line && self.spec.compression.codec(path) == Codec::Plain
    }
}

/// About how many bytes of a file of this size a range has.
fn range_bytes(size: u64) -> u64 {
    (size / RANGES).clamp(RANGE.start, RANGE.end)
}

/// Ranges of about one size.
fn ranges(size: u64) -> Vec<Range<u64>> {
    let bytes = range_bytes(size);
    let count = size.div_ceil(bytes).max(1);
    let at = |i: u64| (u128::from(size) * u128::from(i) / u128::from(count)) as u64;
    (0..count).map(|i| at(i)..at(i + 1)).collect()
}

/// How records end, as far as the start of a file tells.
fn first_line_end(path: &Path) -> io::Result<Option<LineEnd>> {
    let mut head = Vec::new();
    File::open(path)?.take((LOOK + BOM.len()) as u64).read_to_end(&mut head)?;
    let head = head.strip_prefix(BOM).unwrap_or(&head);
    Ok(line_end(&head[..head.len().min(LOOK)], None, false))
}

/// The records that begin in a range of a file that is not compressed.
pub(super) fn blocks(setup: &Setup, from: InFile, range: Range<u64>, block_bytes: usize) -> io::Result<Blocks<Input>> {
    let line_end = setup.spec.newline.line_end().unwrap_or(LineEnd::Any);
    // A line end just before the range is part of the look at it: then the first record is the range's own.
    let lead = range.start.min(line_end.width() as u64);
    let from = match from {
        InFile::File(mut file) => {
            file.seek(SeekFrom::Start(range.start - lead))?;
            InFile::File(file)
        }
        stream => stream,
    };
    let input = Input::new(from, Codec::Plain, setup.spec.max_ratio())?;
    let blocks = Blocks::new(input, setup.spec.newline, block_bytes, setup.max_record);
    let mut blocks = blocks.limited(range.end - range.start + lead);
    if range.start > 0 {
        blocks.skip_first(line_end);
    }
    Ok(blocks)
}

/// What has come before once all records have passed that begin in `range`.
fn count(setup: &Setup, path: &Path, range: Range<u64>, mut before: Before) -> io::Result<Before> {
    const BLOCK: usize = 1 << 20;
    let mut header = range.start == 0 && setup.spec.has_header();
    let mut blocks = blocks(setup, InFile::File(File::open(path)?), range, BLOCK)?;
    while let Some(piece) = blocks.next_piece()? {
        let Piece::Records(bytes) = piece else {
            before.lines += 1;
            before.records += 1;
            continue;
        };
        let mut at = 0;
        while at < bytes.len() {
            let (end, next) = blocks.line_end().find_or_end(&bytes, at);
            before.lines += 1;
            if !setup.is_blank(&bytes[at..end]) {
                before.records += u64::from(!header);
                header = false;
            }
            at = next;
        }
    }
    Ok(before)
}

impl Setup {
    /// Is this line passed over, as its format's decoder does?
    fn is_blank(&self, line: &[u8]) -> bool {
        match self.spec.format {
            Format::Ndjson => line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')),
            Format::Tsv | Format::Csv => line.is_empty() && (self.spec.has_header() || self.spec.columns().len() > 1),
            Format::Lines | Format::Parquet => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_a_file_without_overlap() {
        for size in [CUT_FROM, CUT_FROM + 1, 341_000_000, 10 << 30, 1 << 50] {
            let ranges = ranges(size);
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, size));
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            let longest = ranges.iter().map(|range| range.end - range.start).max().unwrap_or(0);
            assert!(longest <= RANGE.end && (size < 9 << 20 || longest >= RANGE.start / 2), "{size}: {longest}");
        }
    }
}
