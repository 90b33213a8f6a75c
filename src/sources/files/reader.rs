//! Reads one file: blocks of whole records, decoded batch by batch.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
};

use super::{Setup, list::unchanged, ranges};
use crate::{
    batch::{Batch, Block, Origin, Position, Rejects, SplitId},
    failure::{Exit, Failure},
    formats::{
        Chunk, Decoder, RecordEnd, Start,
        blocks::{Blocks, Piece},
        compression::{Codec, InFile, Input},
        too_long,
    },
    stage::{Detail, Split, SplitReader},
};

/// One file that is being read.
pub(super) struct FileReader<'a> {
    setup: &'a Setup,
    split: Split,
    /// Is it a pipe or a device?
    piped: bool,
    codec: Codec,
    blocks: Blocks<Input>,
    decoder: Box<dyn Decoder>,
    /// What is left of the block read last.
    chunk: Option<Chunk>,
    start: Start,
    seq: u64,
    /// Is the header still to come?
    header: bool,
    /// The start of a record that is too long.
    head: Option<Vec<u8>>,
    /// The header, once it was read.
    names: Option<Arc<[u8]>>,
}

/// A header is read in blocks of this size where nothing but the header is wanted.
const HEADER_BYTES: usize = 64 << 10;

impl<'a> FileReader<'a> {
    /// Opens the file of a split, if it is still what was listed.
    pub(super) fn open(setup: &'a Setup, id: SplitId, split: &Split) -> Result<Self, Failure> {
        let mut reader = FileReader::at(setup, id, split, setup.batch.bytes)?;
        if let Detail::File { path, size, modified, range: Some(range) } = &split.detail
            && range.start > 0
            && reader.header
        {
            // The header is at the start of the file, which is another split.
            let (path, size, modified) = (path.clone(), *size, *modified);
            let detail = Detail::File { path, size, modified, range: None };
            let mut first = FileReader::at(setup, id, &Split { name: split.name.clone(), detail }, HEADER_BYTES)?;
            while first.header && first.read_block()? {}
            reader.decoder = first.decoder;
            reader.names = first.names;
            reader.header = false;
        }
        Ok(reader)
    }

    /// Opens a split, but for the header where that is in another one.
    fn at(setup: &'a Setup, id: SplitId, split: &Split, block_bytes: usize) -> Result<Self, Failure> {
        let path = match &split.detail {
            Detail::File { path, .. } => path,
            _ => Path::new(&split.name),
        };
        let codec = setup.spec.compression.codec(path);
        let decoder = setup.decoder()?;
        let (from, blocks) = match &split.detail {
            Detail::Stream => (InFile::Stdin(io::stdin()), None),
            Detail::File { path, range, .. } => {
                let (file, metadata) = open(path).map_err(|error| Failure::reading(path, &error))?;
                let is_file = metadata.is_file();
                unchanged(split, path, Ok(metadata))?;
                (if is_file { InFile::File(file) } else { InFile::Pipe(file) }, range.clone())
            }
            _ => return Err(Failure::new(Exit::Bug, format!("split `{}` is not a file", split.name))),
        };
        let piped = matches!(from, InFile::Pipe(_));
        let blocks = match blocks {
            Some(range) => ranges::blocks(setup, from, range, block_bytes),
            None => Input::new(from, codec, setup.spec.max_ratio())
                .map(|input| Blocks::new(input, setup.spec.newline, block_bytes, setup.max_record)),
        };
        let blocks = blocks.map_err(|error| Failure::reading(path, &error))?;
        let blocks = blocks.ragged(decoder.quotes());
        Ok(FileReader {
            setup,
            split: split.clone(),
            piped,
            codec,
            blocks,
            decoder,
            chunk: None,
            start: Start { split: id, record: 1, line: 1 },
            seq: 0,
            header: setup.spec.has_header(),
            names: None,
            head: None,
        })
    }

    /// Reads a block, and takes the header off it if that is still to come. False at the end, or before a
    /// record that is too long, which is passed over.
    fn read_block(&mut self) -> Result<bool, Failure> {
        match self.blocks.next_piece().map_err(|error| self.broken(&error))? {
            Some(Piece::Records(bytes)) => {
                let last = self.blocks.ended();
                let utf8 = simdutf8::basic::from_utf8(whole_characters(&bytes, last)).is_ok();
                let chunk = Chunk { bytes, line_end: self.blocks.line_end(), utf8, last };
                self.chunk = Some(self.take_header(chunk)?);
                Ok(true)
            }
            Some(Piece::TooLong(_)) if self.header => Err(self.header_too_long()),
            Some(Piece::TooLong(head)) => {
                self.head = Some(head);
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Decodes the next batch of the current block; `None` once it is used up, but for a record that goes on
    /// in the next.
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
            if decoded.bytes_read == 0 {
                break;
            }
        }
        Ok(None)
    }

    /// Deals with what the decoder left of a block: the start of a record.
    fn rest(&mut self, rejects: &mut Rejects) -> Option<Batch> {
        let chunk = self.chunk.take().filter(|chunk| !chunk.bytes.is_empty())?;
        if chunk.bytes.len() > self.setup.max_record {
            let (start, rest) = chunk.bytes.split_at(self.setup.max_record);
            self.blocks.pass_over(rest.to_vec());
            let inside = chunk.line_end.count(start);
            return Some(self.too_long(&chunk.bytes, inside, rejects));
        }
        self.blocks.give_back(&chunk.bytes);
        None
    }

    /// Takes the header off a block: the first record that is not blank. What is left of the block follows.
    fn take_header(&mut self, mut chunk: Chunk) -> Result<Chunk, Failure> {
        while self.header && !chunk.bytes.is_empty() {
            let Some(RecordEnd { end, next, lines }) = self.decoder.first_record(&chunk) else {
                if chunk.bytes.len() > self.setup.max_record {
                    return Err(self.header_too_long());
                }
                if chunk.last {
                    return Err(self.failure(Exit::Io, "its header has a quote that is not closed"));
                }
                break;
            };
            if end > self.setup.max_record {
                return Err(self.header_too_long());
            }
            if end > 0 {
                self.decoder.header(&chunk.bytes[..end]).map_err(|why| self.failure(Exit::Io, &why))?;
                self.names = Some(chunk.bytes[..end].into());
                self.header = false;
            }
            self.start.line += lines;
            chunk.bytes = chunk.bytes.slice(next);
        }
        Ok(chunk)
    }

    /// The reject of a record that is too long, with so many line ends in it, and a batch to carry it.
    fn too_long(&mut self, head: &[u8], inside: u32, rejects: &mut Rejects) -> Batch {
        let batch = self.empty();
        let position = Position { record: self.start.record, line: self.start.line };
        rejects.add(too_long(self.start.split, position, head, self.setup.max_record));
        self.start.record += 1;
        self.start.line += u64::from(inside) + 1;
        batch
    }

    fn header_too_long(&self) -> Failure {
        self.failure(Exit::Io, &format!("its header is longer than {} bytes", self.setup.max_record))
    }

    /// A batch without rows: it carries a reject that stands between two blocks.
    fn empty(&mut self) -> Batch {
        let block = Block { first_record: self.start.record, first_line: self.start.line, ..Block::default() };
        self.seq += 1;
        let records = arrow_array::RecordBatch::new_empty(self.setup.schema.arrow());
        Batch::new(records, Origin::new(self.start.split, self.seq - 1, block, 0))
    }

    fn failure(&self, exit: Exit, what: &str) -> Failure {
        Failure::new(exit, format!("`{}`: {what}", self.split.name))
    }

    /// The stream broke after all that was read before.
    fn broken(&self, error: &io::Error) -> Failure {
        let how = match error.kind() {
            io::ErrorKind::UnexpectedEof => "truncated",
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => "corrupt",
            _ => return Failure::reading(Path::new(&self.split.name), error),
        };
        let records = self.start.record - 1;
        let s = if records == 1 { "" } else { "s" };
        let why = if self.codec == Codec::Plain { String::new() } else { format!(" ({}: {error})", self.codec) };
        Failure::new(Exit::Io, format!("`{}` is {how} after {records} record{s}{why}", self.split.name))
    }
}

/// Opens a file. A pipe opens once another program writes to it: where none does for `limits.stall`, the run ends.
fn open(path: &Path) -> io::Result<(File, fs::Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// The bytes without a character that more bytes would complete.
fn whole_characters(bytes: &[u8], last: bool) -> &[u8] {
    if last {
        return bytes;
    }
    // The last lead byte, at most four bytes from the end, and how long its character is.
    let lead = (1..=bytes.len().min(4)).find(|back| bytes[bytes.len() - back] & 0xC0 != 0x80);
    let long = |lead: u8| match lead {
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
        _ => 1,
    };
    match lead {
        Some(back) if long(bytes[bytes.len() - back]) > back => &bytes[..bytes.len() - back],
        _ => bytes,
    }
}

impl SplitReader for FileReader<'_> {
    fn next_batch(&mut self, rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        loop {
            if !self.header
                && let Some(batch) = self.decode(rejects)?
            {
                return Ok(Some(batch));
            }
            if let Some(batch) = self.rest(rejects) {
                return Ok(Some(batch));
            }
            if self.read_block()? {
                continue;
            }
            if let Some(head) = self.head.take() {
                return Ok(Some(self.too_long(&head, 0, rejects)));
            }
            if let Detail::File { path, .. } = &self.split.detail
                && !self.piped
            {
                unchanged(&self.split, path, fs::metadata(path))?;
            }
            return Ok(None);
        }
    }

    fn header(&self) -> Option<Arc<[u8]>> {
        self.names.clone()
    }

    fn bytes_read(&self) -> u64 {
        // Of a range, a little more is read than is its own.
        let read = self.blocks.input().bytes_read();
        match &self.split.detail {
            Detail::File { range: Some(range), .. } => read.min(range.end - range.start),
            _ => read,
        }
    }
}
