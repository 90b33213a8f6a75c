//! Reads one file: blocks of whole records, decoded batch by batch.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use super::{Plan, unchanged};
use crate::{
    batch::{Batch, Block, Origin, Position, Rejects, SplitId},
    failure::{Exit, Failure},
    formats::{
        Chunk, Decoder, Start,
        blocks::{Blocks, Piece},
        compression::Input,
        too_long,
    },
    stage::{Detail, Split, SplitReader},
};

/// One file that is being read.
pub(super) struct FileReader<'a> {
    plan: &'a Plan,
    split: Split,
    path: PathBuf,
    gzip: bool,
    blocks: Blocks<Input>,
    decoder: Box<dyn Decoder>,
    /// What is left of the block read last.
    chunk: Option<Chunk>,
    start: Start,
    seq: u64,
    /// Is the header still to come?
    header: bool,
}

impl<'a> FileReader<'a> {
    /// Opens the file of a split, if it is still what was listed.
    pub(super) fn open(plan: &'a Plan, id: SplitId, split: &Split) -> Result<Self, Failure> {
        let Detail::File { path, .. } = &split.detail else {
            return Err(Failure::new(Exit::Bug, format!("split `{}` is no file", split.name)));
        };
        let file = File::open(path).map_err(|error| Failure::reading(path, &error))?;
        unchanged(split, path, file.metadata())?;
        let gzip = plan.spec.compression.is_gzip(path);
        let blocks = Blocks::new(Input::new(file, gzip), plan.spec.newline, plan.batch.bytes, plan.max_record);
        Ok(FileReader {
            plan,
            split: split.clone(),
            path: path.clone(),
            gzip,
            blocks,
            decoder: plan.decoder(),
            chunk: None,
            start: Start { split: id, record: 1, line: 1 },
            seq: 0,
            header: plan.spec.header,
        })
    }

    /// Decodes the next batch of the current block; `None` once it is used up.
    fn decode(&mut self, rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        while let Some(chunk) = self.chunk.as_mut().filter(|chunk| !chunk.bytes.is_empty()) {
            let decoded = self.decoder.decode(chunk, self.start, rejects)?;
            chunk.bytes = chunk.bytes.slice(decoded.bytes_read);
            self.start.record += decoded.records_read;
            self.start.line += decoded.lines_read;
            if decoded.records_read > 0 {
                self.seq += 1;
                return Ok(Some(decoded.into_batch(self.start.split, self.seq - 1)));
            }
        }
        self.chunk = None;
        Ok(None)
    }

    /// Takes the header off a block: the first line that is not blank.
    fn take_header(&mut self, chunk: &mut Chunk) -> Result<(), Failure> {
        while self.header && !chunk.bytes.is_empty() {
            let len = chunk.bytes.len();
            let (end, next) = chunk.line_end.find(&chunk.bytes, 0).unwrap_or((len, len));
            if end > self.plan.max_record {
                return Err(self.header_too_long());
            }
            if end > 0 {
                self.decoder.header(&chunk.bytes[..end]).map_err(|why| self.failure(Exit::Io, &why))?;
                self.header = false;
            }
            self.start.line += 1;
            chunk.bytes = chunk.bytes.slice(next);
        }
        Ok(())
    }

    fn header_too_long(&self) -> Failure {
        self.failure(Exit::Io, &format!("its header is longer than {} bytes", self.plan.max_record))
    }

    /// A batch without rows: it carries a reject that stands between two blocks.
    fn empty(&mut self) -> Batch {
        let block = Block { first_record: self.start.record, first_line: self.start.line, ..Block::default() };
        self.seq += 1;
        let records = arrow_array::RecordBatch::new_empty(self.plan.schema.arrow());
        Batch::new(records, Origin::new(self.start.split, self.seq - 1, block, 0))
    }

    fn failure(&self, exit: Exit, what: &str) -> Failure {
        Failure::new(exit, format!("`{}`: {what}", self.path.display()))
    }

    /// The stream broke after all that was read before.
    fn broken(&self, error: &io::Error) -> Failure {
        let how = match error.kind() {
            io::ErrorKind::UnexpectedEof => "truncated",
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => "corrupt",
            _ => return Failure::reading(&self.path, error),
        };
        let records = self.start.record - 1;
        let s = if records == 1 { "" } else { "s" };
        let why = if self.gzip { format!(" (gzip: {error})") } else { String::new() };
        Failure::new(Exit::Io, format!("`{}` is {how} after {records} record{s}{why}", self.path.display()))
    }
}

impl SplitReader for FileReader<'_> {
    fn next_batch(&mut self, rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        loop {
            if let Some(batch) = self.decode(rejects)? {
                return Ok(Some(batch));
            }
            match self.blocks.next_piece().map_err(|error| self.broken(&error))? {
                Some(Piece::Records(bytes)) => {
                    let utf8 = simdutf8::basic::from_utf8(&bytes).is_ok();
                    let mut chunk = Chunk { bytes, line_end: self.blocks.line_end(), utf8 };
                    self.take_header(&mut chunk)?;
                    self.chunk = Some(chunk);
                }
                Some(Piece::TooLong(_)) if self.header => return Err(self.header_too_long()),
                Some(Piece::TooLong(head)) => {
                    let batch = self.empty();
                    let position = Position { record: self.start.record, line: self.start.line };
                    rejects.add(too_long(self.start.split, position, &head, self.plan.max_record));
                    self.start.record += 1;
                    self.start.line += 1;
                    return Ok(Some(batch));
                }
                None => {
                    unchanged(&self.split, &self.path, fs::metadata(&self.path))?;
                    return Ok(None);
                }
            }
        }
    }

    fn bytes_read(&self) -> u64 {
        self.blocks.input().bytes_read()
    }
}
