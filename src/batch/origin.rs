//! Where rows came from: split, sequence number, record and line, and the raw text where it is known.

use std::sync::Arc;

use arrow_buffer::Buffer;

/// A split's number in the plan. Numbers run over all sources of the job; their order is the input's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SplitId(pub u32);

/// A record's place in its split. Both count from 1; `line` is 0 where a split has no lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Record number within the split.
    pub record: u64,
    /// Line number within the file.
    pub line: u64,
}

/// The records that one read produced, before anything was dropped from them.
#[derive(Debug, Default)]
pub struct Block {
    /// Record number of the first record, from 1.
    pub first_record: u64,
    /// Line of the first record, from 1; 0 where there are no lines.
    pub first_line: u64,
    /// Record number of each record less `first_record`; absent where they have no gaps.
    pub records: Option<Box<[u32]>>,
    /// Line of each record less `first_line`; absent where every record is one line.
    pub lines: Option<Box<[u32]>>,
    /// The text of the records, where the source has it.
    pub raw: Option<Raw>,
}

/// The bytes of a block and where each record lies in them.
#[derive(Debug)]
pub struct Raw {
    /// The bytes read; string columns are usually views into the same buffer.
    pub bytes: Buffer,
    /// Record *i* is `bytes[starts[i]..ends[i]]`, without its line end.
    pub starts: Box<[u32]>,
    /// See `starts`.
    pub ends: Box<[u32]>,
}

/// Where the rows of a batch came from.
///
/// Row *i* of the batch is record `picked[i]` of `block`, or record *i* + `skip` while nothing has been
/// dropped. Filters only ever narrow `picked`, so a row rejected three stages later still knows its line.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The split.
    pub split: SplitId,
    /// Number of the batch within the split, from 0, without gaps.
    pub seq: u64,
    block: Arc<Block>,
    rows: Rows,
}

#[derive(Clone, Debug)]
enum Rows {
    Run { skip: u32, len: u32 },
    Picked(Arc<[u32]>),
}

impl Origin {
    /// The origin of a freshly read batch of `len` rows that are all records of `block`, in order.
    pub fn new(split: SplitId, seq: u64, block: Block, len: usize) -> Self {
        Origin { split, seq, block: Arc::new(block), rows: Rows::Run { skip: 0, len: len as u32 } }
    }

    /// The origin of a freshly read batch whose row *i* is record `picked[i]` of `block`: the records
    /// between were rejected while reading.
    pub fn picked(split: SplitId, seq: u64, block: Block, picked: Vec<u32>) -> Self {
        Origin { split, seq, block: Arc::new(block), rows: Rows::Picked(picked.into()) }
    }

    /// The origin of a batch that no input record stands behind: the output of an aggregating stage.
    pub fn derived(split: SplitId, seq: u64, len: usize) -> Self {
        Origin::new(split, seq, Block { first_record: 1, ..Block::default() }, len)
    }

    /// The origin of one of the batches that a gathering stage emits: its rows are counted from `first` on.
    pub fn made(split: SplitId, seq: u64, first: u64, len: usize) -> Self {
        Origin::new(split, seq, Block { first_record: first, ..Block::default() }, len)
    }

    /// The origin of rows of which row *i* was read at `positions[i]`, with the text of each where the source had it: of
    /// rows that were taken apart from their block and come back.
    pub fn known(split: SplitId, seq: u64, positions: &[Position], raw: Option<Raw>) -> Self {
        let least = |of: fn(&Position) -> u64| positions.iter().map(of).min().unwrap_or(0);
        let (first_record, first_line) = (least(|position| position.record), least(|position| position.line));
        let records = positions.iter().map(|position| (position.record - first_record) as u32).collect();
        let lines = positions.iter().map(|position| (position.line - first_line) as u32).collect();
        let block = Block { first_record, first_line, records: Some(records), lines: Some(lines), raw };
        Origin::new(split, seq, block, positions.len())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Run { len, .. } => *len as usize,
            Rows::Picked(picked) => picked.len(),
        }
    }

    /// True where there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where row `row` of the batch was read.
    pub fn position(&self, row: usize) -> Position {
        let i = self.index(row);
        let behind = self.block.records.as_ref().map_or(i as u64, |records| u64::from(records[i]));
        let record = self.block.first_record + behind;
        let line = match (&self.block.lines, self.block.first_line) {
            (_, 0) => 0,
            (None, first) => first + i as u64,
            (Some(lines), first) => first + u64::from(lines[i]),
        };
        Position { record, line }
    }

    /// The text that row `row` was read from, where the source keeps it.
    pub fn raw(&self, row: usize) -> Option<&[u8]> {
        let i = self.index(row);
        let raw = self.block.raw.as_ref()?;
        Some(&raw.bytes[raw.starts[i] as usize..raw.ends[i] as usize])
    }

    /// The raw text this origin keeps alive.
    pub(super) fn raw_buffer(&self) -> Option<&Buffer> {
        self.block.raw.as_ref().map(|raw| &raw.bytes)
    }

    /// The origin of the rows at `rows`; a row may appear more than once (explode).
    pub fn pick(&self, rows: &[u32]) -> Origin {
        let picked = match &self.rows {
            Rows::Run { skip, .. } => rows.iter().map(|row| row + skip).collect(),
            Rows::Picked(old) => rows.iter().map(|&row| old[row as usize]).collect(),
        };
        Origin { rows: Rows::Picked(picked), ..self.clone() }
    }

    /// The origin of `len` rows from `start` on.
    pub fn slice(&self, start: usize, len: usize) -> Origin {
        let rows = match &self.rows {
            Rows::Run { skip, .. } => Rows::Run { skip: skip + start as u32, len: len as u32 },
            Rows::Picked(old) => Rows::Picked(old[start..start + len].into()),
        };
        Origin { rows, ..self.clone() }
    }

    /// The origin of the rows of `parts`, which are parts of one batch, one after the other.
    pub fn concat(parts: &[Origin]) -> Option<Origin> {
        let first = parts.first()?;
        let rows = parts.iter().flat_map(|part| (0..part.len()).map(|row| part.index(row) as u32)).collect();
        Some(Origin { rows: Rows::Picked(rows), ..first.clone() })
    }

    fn index(&self, row: usize) -> usize {
        match &self.rows {
            Rows::Run { skip, .. } => *skip as usize + row,
            Rows::Picked(picked) => picked[row] as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        let raw = Raw {
            bytes: Buffer::from(b"a\nb\nc\nd".as_slice()),
            starts: [0, 2, 4, 6].into(),
            ends: [1, 3, 5, 7].into(),
        };
        let lines = Some([0, 1, 3, 4].into());
        let block = Block { first_record: 11, first_line: 21, records: None, lines, raw: Some(raw) };
        Origin::new(SplitId(0), 0, block, 4)
    }

    #[test]
    fn picked_rows_keep_their_line_and_text() {
        let once = origin().pick(&[1, 2, 3]);
        let twice = once.pick(&[1, 2]);
        assert_eq!(twice.position(0), Position { record: 13, line: 24 });
        assert_eq!(twice.raw(1), Some(b"d".as_slice()));
        assert_eq!(twice.len(), 2);
    }

    #[test]
    fn parts_of_a_batch_are_put_together_again() {
        let whole = origin().pick(&[0, 2, 3]);
        let again = Origin::concat(&[whole.slice(0, 1), whole.slice(1, 2)]).expect("two parts");
        assert_eq!(
            (0..3).map(|row| again.position(row)).collect::<Vec<_>>(),
            (0..3).map(|row| whole.position(row)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn rows_that_come_back_are_where_they_were() {
        let whole = origin().pick(&[3, 1, 1]);
        let positions: Vec<Position> = (0..3).map(|row| whole.position(row)).collect();
        let raw = Raw { bytes: Buffer::from(b"db".as_slice()), starts: [0, 1, 1].into(), ends: [1, 2, 2].into() };
        let again = Origin::known(SplitId(4), 2, &positions, Some(raw)).pick(&[2, 0]);
        assert_eq!((again.position(0), again.position(1)), (positions[2], positions[0]));
        assert_eq!((again.raw(0), again.raw(1)), (Some(b"b".as_slice()), Some(b"d".as_slice())));
        assert_eq!((again.split, again.seq, again.len()), (SplitId(4), 2, 2));
        // Of a source without lines there are none.
        let none = [Position { record: 7, line: 0 }, Position { record: 9, line: 0 }];
        assert_eq!(Origin::known(SplitId(0), 0, &none, None).position(1), none[1]);
    }

    #[test]
    fn slices_of_runs_and_of_picks_agree() {
        let run = origin().slice(1, 3).slice(1, 1);
        let picked = origin().pick(&[1, 2, 3]).slice(1, 1);
        assert_eq!(run.position(0), picked.position(0));
        assert_eq!(run.raw(0), Some(b"c".as_slice()));
    }
}
