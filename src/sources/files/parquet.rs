//! Reads Parquet files: the wanted columns, page by page, a row group or a part of one after the other.
//!
//! A split of a file is a range of its bytes, as for the other formats. Here it stands for a range of rows, in
//! proportion: so splits that meet in a byte meet in a row, wherever they were cut.

mod opened;
mod pages;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use ::parquet::{arrow::arrow_reader::ParquetRecordBatchReader, file::metadata::ParquetMetaData};
use arrow_array::RecordBatch;

use self::{opened::Opened, pages::Pages};
use super::{Setup, list::unchanged};
use crate::{
    batch::{Batch, Block, Origin, Position, Reject, Rejects, SplitId},
    failure::{Exit, Failure},
    formats::{
        Extra, Missing, Shape,
        parquet::{Layout, Projection, Rows, parts, plain, words},
    },
    stage::{Detail, Split, SplitReader},
    values::columns::ColumnSpec,
};

/// The columns that all the files have; where a file may lack some, those of all of them.
///
/// # Errors
/// One cannot be read, or they differ; the sentence says so.
pub(super) fn infer(files: &[PathBuf], shape: Shape) -> Result<Vec<ColumnSpec>, String> {
    let mut columns: Option<Vec<ColumnSpec>> = None;
    for path in files {
        let layout = Opened::new(path).and_then(|opened| opened.layout()).map_err(|failure| failure.message)?;
        let Some(columns) = &mut columns else {
            columns = Some(layout.columns());
            continue;
        };
        // What is not null in any file may still be missing from one.
        let sampled =
            Shape { extra: if shape.missing == Missing::Null { Extra::Ignore } else { shape.extra }, ..shape };
        if let Some(how) = layout.differs(columns, sampled) {
            return Err(format!("`{}` is not like `{}`: {how}", path.display(), files[0].display()));
        }
        merge(columns, layout.columns(), shape);
    }
    Ok(columns.unwrap_or_default())
}

/// Makes columns those of one more file, too.
fn merge(columns: &mut Vec<ColumnSpec>, own: Vec<ColumnSpec>, shape: Shape) {
    let places: HashMap<&str, bool> = own.iter().map(|column| (column.name.as_str(), column.nullable)).collect();
    for column in columns.iter_mut() {
        column.nullable |= places.get(column.name.as_str()).copied().unwrap_or(true);
    }
    if shape.missing == Missing::Null {
        let known: HashSet<String> = columns.iter().map(|column| column.name.clone()).collect();
        let more = own.into_iter().filter(|column| !known.contains(&column.name));
        columns.extend(more.map(|column| ColumnSpec { nullable: true, ..column }));
    }
}

/// The parts that a file is read in by several workers: whole row groups, or parts of one that is very large. One
/// part is the whole file.
pub(super) fn ranges(path: &Path, size: u64, bytes: u64) -> Result<Vec<Range<u64>>, Failure> {
    let metadata = Opened::new(path)?.metadata()?;
    let rows = rows_of(&metadata);
    let mut cuts = vec![0];
    let (mut first, mut last_cut, mut gathered) = (0_u64, 0_u64, 0_u64);
    for group in metadata.row_groups() {
        let (group_rows, group_bytes) = (group.num_rows().max(0) as u64, group.compressed_size().max(0) as u64);
        let parts = (group_bytes / bytes.max(1)).clamp(1, group_rows.max(1));
        for part in 1..=parts {
            gathered += group_bytes / parts;
            let row = first + (u128::from(group_rows) * u128::from(part) / u128::from(parts)) as u64;
            if gathered >= bytes && row > last_cut && row < rows {
                cuts.push((u128::from(row) * u128::from(size) / u128::from(rows)) as u64);
                (last_cut, gathered) = (row, 0);
            }
        }
        first += group_rows;
    }
    cuts.push(size);
    cuts.dedup();
    Ok(cuts.windows(2).map(|ends| ends[0]..ends[1]).collect())
}

/// How many rows come before the range that begins at `start`.
pub(super) fn rows_before(path: &Path, start: u64) -> Result<u64, Failure> {
    let opened = Opened::new(path)?;
    let rows = rows_of(&opened.metadata()?);
    Ok(row_at(start, opened.len(), rows))
}

/// Rows of all row groups.
fn rows_of(metadata: &ParquetMetaData) -> u64 {
    metadata.row_groups().iter().map(|group| group.num_rows().max(0) as u64).fold(0, u64::saturating_add)
}

/// The first row of a range that begins at `byte`.
fn row_at(byte: u64, size: u64, rows: u64) -> u64 {
    (u128::from(byte) * u128::from(rows)).div_ceil(u128::from(size.max(1))) as u64
}

/// The footer of the file that a worker read last: most often its next split is of the same file.
#[derive(Default)]
pub(super) struct Footer(Option<(Split, Projection)>);

impl Footer {
    /// The wanted columns of the file of a split.
    fn projection(&mut self, setup: &Setup, split: &Split, opened: &Opened) -> Result<Projection, Failure> {
        let whole = whole(split);
        if let Some((known, projection)) = &self.0
            && *known == whole
        {
            return Ok(projection.clone());
        }
        let layout = opened.layout()?;
        if setup.inferred
            && let Some(how) = layout.differs(setup.spec.columns(), setup.shape)
        {
            return Err(opened.failure(&format!("is not like the files when the job was compiled: {how}")));
        }
        let projection = project(setup, &layout, opened, false)?;
        self.0 = Some((whole, projection.clone()));
        Ok(projection)
    }
}

/// What it takes to read the wanted columns; text as bytes where not all of it may be text.
fn project(setup: &Setup, layout: &Layout, opened: &Opened, as_bytes: bool) -> Result<Projection, Failure> {
    let (columns, missing) = (setup.spec.columns(), setup.shape.missing);
    let projection = opened.guard(|| layout.project(columns, &setup.schema, missing, as_bytes));
    projection.map_err(|why| opened.failure(&format!("does not fit: {why}")))
}

/// The file of a split as one split.
fn whole(split: &Split) -> Split {
    let mut whole = split.clone();
    if let Detail::File { range, .. } = &mut whole.detail {
        *range = None;
    }
    whole
}

/// One file, or a part of one, that is being read.
pub(super) struct ParquetReader<'a> {
    setup: &'a Setup,
    split: Split,
    opened: Opened,
    projection: Projection,
    /// Is text read as bytes, because some of it is none?
    as_bytes: bool,
    /// What is still to be read, from the last to the first.
    pieces: Vec<Piece>,
    /// What is being read.
    current: Option<Piece>,
    reader: Option<ParquetRecordBatchReader>,
    /// What of that was read at once and is passed on in parts.
    ready: VecDeque<RecordBatch>,
    /// Rows of the current piece that are still to come.
    left: u64,
    id: SplitId,
    seq: u64,
    read: u64,
    rows: u64,
}

/// Some rows of a row group.
struct Piece {
    group: usize,
    rows: Range<u64>,
}

impl<'a> ParquetReader<'a> {
    /// Opens the file of a split, if it is still what was listed.
    pub(super) fn open(setup: &'a Setup, id: SplitId, split: &Split, footer: &mut Footer) -> Result<Self, Failure> {
        let Detail::File { path, size, range, .. } = &split.detail else {
            return Err(Failure::new(Exit::Bug, format!("split `{}` is not a file", split.name)));
        };
        unchanged(split, path, fs::metadata(path))?;
        let opened = Opened::new(path)?;
        let projection = footer.projection(setup, split, &opened)?;
        let all = rows_of(projection.metadata());
        let range = range.clone().unwrap_or(0..*size);
        let rows = row_at(range.start, *size, all)..row_at(range.end, *size, all);
        let pieces = pieces(projection.metadata(), &rows);
        Ok(ParquetReader {
            setup,
            split: split.clone(),
            opened,
            projection,
            as_bytes: false,
            pieces,
            current: None,
            reader: None,
            ready: VecDeque::new(),
            left: 0,
            id,
            seq: 0,
            read: 0,
            rows: rows.end.saturating_sub(rows.start),
        })
    }

    /// Reads text as bytes from the next row on.
    fn read_as_bytes(&mut self) -> Result<(), String> {
        let projected = self.opened.layout().and_then(|layout| project(self.setup, &layout, &self.opened, true));
        self.projection = projected.map_err(|failure| failure.message)?;
        self.as_bytes = true;
        self.reader = None;
        if let Some(Piece { group, rows }) = self.current.take() {
            self.pieces.push(Piece { group, rows: rows.end - self.left..rows.end });
        }
        Ok(())
    }

    /// The next rows as the file has them.
    fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Ok(Some(part));
            }
            let Some(reader) = &mut self.reader else {
                let Some(piece) = self.pieces.pop() else { return Ok(None) };
                self.begin(&piece)?;
                self.current = Some(piece);
                continue;
            };
            let read = self.opened.guard(|| reader.next().transpose().map_err(|error| plain(&error.to_string())));
            let read = match read {
                // One text that is not text must cost its row, not all others.
                Err(why) if !self.as_bytes && why.to_ascii_lowercase().contains("utf-8") => {
                    self.read_as_bytes()?;
                    continue;
                }
                read => read?,
            };
            match read {
                Some(records) if records.num_rows() as u64 <= self.left => {
                    self.left -= records.num_rows() as u64;
                    self.ready = parts(&records, self.setup.batch.bytes).into();
                }
                None if self.left == 0 => self.reader = None,
                _ => return Err("a row group does not have as many rows as the footer says".to_owned()),
            }
        }
    }

    fn begin(&mut self, Piece { group, rows }: &Piece) -> Result<(), String> {
        let place = |row: u64| usize::try_from(row).map_err(|error| error.to_string());
        let part = (place(rows.start)?, place(rows.end - rows.start)?);
        let size = (self.setup.batch.rows, self.setup.batch.bytes);
        let (projection, memory) = (&self.projection, self.setup.memory);
        let reader = self.opened.guard(|| {
            let pages = Pages::new(&self.opened, projection.metadata().row_group(*group), memory);
            projection.reader(pages, *group, part, size).map_err(|error| words(&error))
        })?;
        (self.reader, self.left) = (Some(reader), rows.end - rows.start);
        Ok(())
    }

    /// The batch of these rows, as declared.
    fn batch(&mut self, records: &RecordBatch, rejects: &mut Rejects) -> Result<Batch, String> {
        let Rows { records: sound, kept, refused } = self.projection.rows(records, self.setup.max_record)?;
        for row in refused {
            let position = Position { record: self.read + 1 + u64::from(row.row), line: 0 };
            let (code, message, record) = (row.code, row.message, row.record);
            rejects.add(Reject::unread(code, message, self.id, position, record));
        }
        let block = Block { first_record: self.read + 1, ..Block::default() };
        self.read += records.num_rows() as u64;
        self.seq += 1;
        let origin = match kept {
            Some(kept) => Origin::picked(self.id, self.seq - 1, block, kept),
            None => Origin::new(self.id, self.seq - 1, block, records.num_rows()),
        };
        Ok(Batch::new(sound, origin))
    }
}

/// The rows of a file in `rows`, by row group, from the last to the first.
fn pieces(metadata: &ParquetMetaData, rows: &Range<u64>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut first = 0_u64;
    for (group, end) in metadata.row_groups().iter().enumerate() {
        let end = first.saturating_add(end.num_rows().max(0) as u64);
        let (from, to) = (rows.start.max(first), rows.end.min(end));
        if from < to {
            pieces.push(Piece { group, rows: from - first..to - first });
        }
        first = end;
    }
    pieces.reverse();
    pieces
}

impl SplitReader for ParquetReader<'_> {
    fn next_batch(&mut self, rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        let batch = match self.next() {
            Ok(Some(records)) => self.batch(&records, rejects).map(Some),
            Ok(None) => Ok(None),
            Err(why) => Err(why),
        };
        let batch = batch.map_err(|why| {
            let s = if self.read == 1 { "" } else { "s" };
            self.opened.corrupt(&format!("is corrupt after {} record{s} ({why})", self.read))
        })?;
        if let (None, Detail::File { path, .. }) = (&batch, &self.split.detail) {
            unchanged(&self.split, path, fs::metadata(path))?;
        }
        Ok(batch)
    }

    /// The part of the split's bytes that its rows so far stand for. What lies on disk between them and belongs to
    /// columns that nobody wants is not read.
    fn bytes_read(&self) -> u64 {
        let size = self.split.size().unwrap_or(0);
        let done = u128::from(size) * u128::from(self.read);
        done.checked_div(u128::from(self.rows)).map_or(size, |done| done as u64)
    }
}
