//! Rows to Parquet files. What a file looks like depends on its rows alone, not on how they came in batches: so they
//! are gathered to windows of one size first, and everything is decided window by window.

use std::mem;

use ::parquet::errors::ParquetError;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::{concat::concat_batches, take::take_record_batch};

use super::writer::{Form, State, Writer};
use crate::{
    batch::{Batch, SplitId},
    failure::{Exit, Failure},
    formats::parquet::{ParquetEncoder, ParquetStyle, compact, row_bytes, words},
    stage::Written,
    values::json,
};

/// Rows of a window.
const WINDOW_ROWS: usize = 8192;
/// A window is full when its values take so many bytes, too.
const WINDOW_BYTES: u64 = 16 << 20;
/// Of so many files row groups are under way at once; of others they are ended, however small.
const GROUPS: usize = 64;

/// Where a row group ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupSize {
    rows: u64,
    bytes: u64,
    /// All that are under way take no more memory than this.
    memory: u64,
}

impl GroupSize {
    /// So many rows, or as many as is good to read in parallel, as long as all that are under way take no more than a
    /// quarter of `limits.memory`: the rest is for the queues and sources. The number of workers does not count, so
    /// that the bytes of a file do not depend on it.
    pub(super) fn of(rows: Option<u32>, memory: usize) -> Self {
        const ROWS: u32 = 1 << 18;
        const BYTES: u64 = 64 << 20;
        let memory = memory as u64 / 4;
        GroupSize { rows: u64::from(rows.unwrap_or(ROWS)), bytes: BYTES.min(memory), memory }
    }

    /// The bytes of rows at which a window is full.
    fn window_bytes(self) -> u64 {
        WINDOW_BYTES.min(self.memory)
    }
}

/// What the writer of Parquet files knows.
pub(super) struct Parquet {
    style: ParquetStyle,
    group: GroupSize,
    /// Rows of the window that is being filled, and the bytes of each.
    rows: Vec<RecordBatch>,
    sizes: Vec<u64>,
    bytes: u64,
    /// In a rehearsal: what the rows would be written with, so that they are encoded all the same.
    rehearsal: Option<Pages>,
}

impl Form {
    /// Parquet in this style.
    pub(super) fn parquet(style: ParquetStyle, group: GroupSize) -> Self {
        let (rows, sizes) = (Vec::new(), Vec::new());
        Form::Parquet(Box::new(Parquet { style, group, rows, sizes, bytes: 0, rehearsal: None }))
    }
}

/// The inside of one file.
pub(super) struct Pages {
    encoder: ParquetEncoder,
    /// What is in the row group under way.
    rows: u64,
    bytes: u64,
}

impl Pages {
    fn new(style: &ParquetStyle) -> Result<Self, Failure> {
        Ok(Pages { encoder: ParquetEncoder::new(style).map_err(|error| bug(&error))?, rows: 0, bytes: 0 })
    }

    /// The memory that the row group under way takes.
    pub(super) fn memory(&self) -> u64 {
        self.encoder.memory() as u64
    }

    fn end_group(&mut self) -> Result<Vec<u8>, Failure> {
        (self.rows, self.bytes) = (0, 0);
        self.encoder.end_group().and_then(|()| self.encoder.take()).map_err(|error| bug(&error))
    }

    /// Ends the file; its last bytes.
    pub(super) fn finish(self) -> Result<Vec<u8>, Failure> {
        self.encoder.finish().map_err(|error| bug(&error))
    }
}

/// Every batch of the sink's schema can be encoded, into memory.
fn bug(error: &ParquetError) -> Failure {
    Failure::new(Exit::Bug, format!("parquet cannot be encoded: {}", words(error)))
}

impl Writer {
    /// The inside of a new file, where its format has one.
    pub(super) fn pages(&self) -> Result<Option<Pages>, Failure> {
        match &self.order.form {
            Form::Text(_) => Ok(None),
            Form::Parquet(parquet) => Pages::new(&parquet.style).map(Some),
        }
    }

    /// Takes rows. They count as accepted, though they may only be written with later ones: none of them is durable
    /// before the end in any case.
    pub(super) fn gather(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let split = batch.origin.split;
        let records = compact(batch.records.clone());
        let sizes = row_bytes(&records);
        let mut start = 0;
        for (row, size) in sizes.iter().enumerate() {
            let Form::Parquet(parquet) = &mut self.order.form else { break };
            parquet.sizes.push(*size);
            parquet.bytes += size;
            if parquet.sizes.len() >= WINDOW_ROWS || parquet.bytes >= parquet.group.window_bytes() {
                parquet.rows.push(records.slice(start, row + 1 - start));
                start = row + 1;
                self.write_window(split)?;
            }
        }
        if let Form::Parquet(parquet) = &mut self.order.form
            && start < sizes.len()
        {
            parquet.rows.push(records.slice(start, sizes.len() - start));
        }
        Ok(Written { accepted: sizes.len() as u64, bytes: sizes.iter().sum(), ..Written::default() })
    }

    /// Writes what has been gathered, which is all of one split where splits have files of their own.
    pub(super) fn write_window(&mut self, split: SplitId) -> Result<(), Failure> {
        let Form::Parquet(parquet) = &mut self.order.form else { return Ok(()) };
        let (rows, sizes) = (mem::take(&mut parquet.rows), mem::take(&mut parquet.sizes));
        parquet.bytes = 0;
        let Some(first) = rows.first() else { return Ok(()) };
        let window = match rows.as_slice() {
            [one] => one.clone(),
            all => concat_batches(&first.schema(), all).map_err(|error| bug(&error.into()))?,
        };
        if !self.order.target.by_value() {
            self.put_rows(0, &window, &sizes)?;
        } else {
            for (i, (file, rows)) in self.groups(&window, split).into_iter().enumerate() {
                if i % GROUPS == GROUPS - 1 {
                    self.end_groups()?;
                }
                let own: Vec<u64> = rows.iter().map(|row| sizes[*row as usize]).collect();
                let picked = take_record_batch(&window, &UInt32Array::from(rows));
                self.put_rows(file, &picked.map_err(|error| bug(&error.into()))?, &own)?;
            }
        }
        self.end_groups()
    }

    /// Adds rows to a target. A file that would grow too large, and a row group, ends before the row that would make
    /// it so.
    fn put_rows(&mut self, file: usize, records: &RecordBatch, sizes: &[u64]) -> Result<(), Failure> {
        self.make_present(file)?;
        let Form::Parquet(parquet) = &self.order.form else { return Ok(()) };
        let (most, max) = (parquet.group, self.order.max_bytes.unwrap_or(u64::MAX));
        let mut start = 0;
        for (row, size) in sizes.iter().enumerate() {
            let keyed = &mut self.files[file];
            let Some(pages) = &mut keyed.pages else { break };
            let file_full = keyed.rows > 0 && keyed.bytes + size > max;
            if file_full || pages.rows >= most.rows || (pages.rows > 0 && pages.bytes + size > most.bytes) {
                pages.encoder.write(&records.slice(start, row - start)).map_err(|error| bug(&error))?;
                start = row;
                self.end_group(file)?;
            }
            if file_full {
                self.end(file)?;
                self.files[file].part += 1;
                self.make_present(file)?;
            }
            let keyed = &mut self.files[file];
            (keyed.rows, keyed.bytes) = (keyed.rows + 1, keyed.bytes + size);
            if let Some(pages) = &mut keyed.pages {
                (pages.rows, pages.bytes) = (pages.rows + 1, pages.bytes + size);
            }
        }
        match &mut self.files[file].pages {
            Some(pages) => pages.encoder.write(&records.slice(start, sizes.len() - start)).map_err(|error| bug(&error)),
            None => Ok(()),
        }
    }

    /// Begins a file that is not there yet. One that is closed may stay so: its pages are in memory.
    fn make_present(&mut self, file: usize) -> Result<(), Failure> {
        self.touch(file);
        match self.files[file].state {
            State::Absent => self.make_open(file),
            State::Open(_) | State::Suspended(_) => Ok(()),
        }
    }

    /// Ends the row group that is under way in a file and writes it there.
    fn end_group(&mut self, file: usize) -> Result<(), Failure> {
        let Some(pages) = &mut self.files[file].pages else { return Ok(()) };
        let bytes = pages.end_group()?;
        self.make_open(file)?;
        match &mut self.files[file].state {
            State::Open(unfinished) => unfinished.write(&bytes),
            State::Absent | State::Suspended(_) => Ok(()),
        }
    }

    /// Ends row groups until so few are under way, and so small ones, that memory can hold them: first those of files
    /// that were left alone for longest.
    fn end_groups(&mut self) -> Result<(), Failure> {
        let pages = |file: &usize| self.files[*file].pages.as_ref().filter(|pages| pages.rows > 0);
        let mut busy: Vec<usize> = (0..self.files.len()).filter(|file| pages(file).is_some()).collect();
        let mut bytes: u64 = busy.iter().filter_map(pages).map(Pages::memory).sum();
        let Form::Parquet(parquet) = &self.order.form else { return Ok(()) };
        let most = parquet.group.memory;
        if busy.len() <= GROUPS && bytes <= most {
            return Ok(());
        }
        busy.sort_by_key(|file| self.files[*file].used);
        let mut left = busy.len();
        for file in busy {
            if left <= GROUPS && bytes <= most {
                break;
            }
            bytes -= self.files[file].pages.as_ref().map_or(0, Pages::memory);
            left -= 1;
            self.end_group(file)?;
        }
        Ok(())
    }

    /// Encodes, and shows the first rows of each file where one target is one file.
    pub(super) fn rehearse_rows(&mut self, batch: &Batch) -> Result<Written, Failure> {
        const ROWS: usize = 3;
        let Form::Parquet(parquet) = &mut self.order.form else { return Ok(Written::default()) };
        let pages = match &mut parquet.rehearsal {
            Some(pages) => pages,
            none => none.insert(Pages::new(&parquet.style)?),
        };
        pages.encoder.write(&batch.records).map_err(|error| bug(&error))?;
        pages.rows += batch.rows() as u64;
        if pages.rows >= parquet.group.rows {
            pages.end_group()?;
        }
        let show = !self.shown && batch.rows() > 0;
        self.shown |= show;
        let shown = if show { ROWS.min(batch.rows()) } else { 0 };
        let samples = (0..shown).map(|row| json::row(&batch.records, row)).collect();
        let bytes = row_bytes(&batch.records).iter().sum();
        Ok(Written { accepted: batch.rows() as u64, bytes, samples, ..Written::default() })
    }
}
