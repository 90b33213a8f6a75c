//! One part: batches of one schema, written once, read from the first to the last, then removed.
//!
//! A part is a stream of Arrow IPC in an LZ4 frame: the buffers of a batch are small, and compressed better together.

use std::{
    io::{self, BufReader, BufWriter, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow_array::RecordBatch;
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{ArrowError, SchemaRef};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::Exchange;
use crate::{failure::Failure, pulse, values::compact_batch};

/// Bytes that go to the store at once, and come from it.
pub(super) const BUFFER: usize = 128 << 10;

type Sink = FrameEncoder<BufWriter<Counted>>;

/// A part that is being written.
pub struct PartWriter {
    stream: StreamWriter<Sink>,
    written: Arc<AtomicU64>,
    part: Part,
}

/// A part that is whole. Its bytes are given back when it is dropped.
#[derive(Debug)]
pub struct Part {
    pub(super) exchange: Arc<Exchange>,
    pub(super) name: String,
    /// Its rows.
    pub rows: u64,
    /// Bytes of its rows in memory, about.
    pub unpacked: u64,
    /// Bytes in the store.
    pub bytes: u64,
}

/// Reads a part, and removes it at the end where it was not to be read again.
pub struct PartReader {
    exchange: Arc<Exchange>,
    name: String,
    /// Held for its drop.
    _read_once: Option<Part>,
    stream: StreamReader<FrameDecoder<BufReader<Box<dyn Read + Send>>>>,
}

impl Exchange {
    /// Begins a part of rows of a schema; `what` says for people whose it is.
    ///
    /// # Errors
    /// The store cannot make it.
    pub fn write(self: &Arc<Self>, what: &str, schema: &SchemaRef) -> Result<PartWriter, Failure> {
        let (part, file) = self.create(what)?;
        let written = Arc::new(AtomicU64::new(0));
        let file = Counted { inner: file, written: Arc::clone(&written) };
        let info = FrameInfo::new().block_size(BlockSize::Max256KB).block_mode(BlockMode::Linked);
        let packed = FrameEncoder::with_frame_info(info, BufWriter::with_capacity(BUFFER, file));
        let stream =
            StreamWriter::try_new(packed, schema).map_err(|error| self.failed("write", &part.name, &plain(error)))?;
        Ok(PartWriter { stream, written, part })
    }

    /// A part that is empty yet, and its file.
    pub(super) fn create(self: &Arc<Self>, what: &str) -> Result<(Part, Box<dyn Write + Send>), Failure> {
        let name = self.name(what);
        fail::fail_point!("spill-create", |_| Err(self.failed(
            "write",
            &name,
            &io::Error::from(io::ErrorKind::StorageFull)
        )));
        let file = self.store.create(&name).map_err(|error| self.failed("write", &name, &error))?;
        Ok((Part { exchange: Arc::clone(self), name, rows: 0, unpacked: 0, bytes: 0 }, file))
    }
}

impl PartWriter {
    /// Puts rows behind those that are there.
    ///
    /// # Errors
    /// The store is full, cannot be written, or has as much as it may.
    pub fn add(&mut self, rows: &RecordBatch) -> Result<(), Failure> {
        self.stream.write(rows).map_err(|error| self.failed(error))?;
        self.part.rows += rows.num_rows() as u64;
        self.part.unpacked += rows.get_array_memory_size() as u64;
        pulse::heartbeat();
        self.counted()
    }

    /// Puts rows behind those that are there, in batches of about `block` bytes and 8192 rows at most.
    ///
    /// # Errors
    /// As [`PartWriter::add`].
    pub fn add_in_blocks(&mut self, rows: &RecordBatch, block: usize) -> Result<(), Failure> {
        let width = (rows.get_array_memory_size() / rows.num_rows().max(1)).max(1);
        let step = (block / width).clamp(1, 8192);
        for start in (0..rows.num_rows()).step_by(step) {
            self.add(&compact_batch(&rows.slice(start, step.min(rows.num_rows() - start))))?;
        }
        Ok(())
    }

    /// That was all.
    ///
    /// # Errors
    /// As [`PartWriter::add`].
    pub fn finish(mut self) -> Result<Part, Failure> {
        fail::fail_point!("spill-write", |_| Err(self.failed(io::Error::from(io::ErrorKind::StorageFull).into())));
        let ended = (|| {
            self.stream.finish()?;
            let packed = self.stream.get_mut();
            packed.try_finish().map_err(io::Error::from)?;
            packed.get_mut().flush()?;
            Ok(())
        })();
        ended.map_err(|error| self.failed(error))?;
        self.counted()?;
        Ok(self.part)
    }

    fn counted(&mut self) -> Result<(), Failure> {
        let written = self.written.load(Ordering::Relaxed);
        let more = written - self.part.bytes;
        self.part.bytes = written;
        self.part.exchange.take(more)
    }

    fn failed(&self, error: ArrowError) -> Failure {
        self.part.exchange.failed("write", &self.part.name, &plain(error))
    }
}

impl Part {
    /// Reads it from its start, for the last time.
    ///
    /// # Errors
    /// The store cannot read it.
    pub fn read(self) -> Result<PartReader, Failure> {
        let reader = self.read_again()?;
        Ok(PartReader { _read_once: Some(self), ..reader })
    }

    /// Reads it from its start; it stays.
    ///
    /// # Errors
    /// As [`Part::read`].
    pub fn read_again(&self) -> Result<PartReader, Failure> {
        fail::fail_point!("spill-read", |_| Err(self.failed(io::Error::from(io::ErrorKind::NotFound).into())));
        let file = self.exchange.store.open(&self.name).map_err(|error| self.failed(error.into()))?;
        let packed = FrameDecoder::new(BufReader::with_capacity(BUFFER, file));
        let stream = StreamReader::try_new(packed, None).map_err(|error| self.failed(error))?;
        let (exchange, name) = (Arc::clone(&self.exchange), self.name.clone());
        Ok(PartReader { exchange, name, _read_once: None, stream })
    }

    fn failed(&self, error: ArrowError) -> Failure {
        self.exchange.failed("read", &self.name, &plain(error))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // What cannot be removed now goes with the folder.
        let _ = self.exchange.store.remove(&self.name);
        self.exchange.give_back(self.bytes);
    }
}

impl PartReader {
    /// The next rows as they were put in; nothing at the end.
    ///
    /// # Errors
    /// The store cannot read them, or what it reads is not what was written.
    pub fn next_rows(&mut self) -> Result<Option<RecordBatch>, Failure> {
        pulse::heartbeat();
        self.stream.next().transpose().map_err(|error| self.exchange.failed("read", &self.name, &plain(error)))
    }
}

/// The error of the system, without Arrow's words around it.
fn plain(error: ArrowError) -> String {
    match error {
        ArrowError::IoError(_, error) => error.to_string(),
        other => other.to_string(),
    }
}

/// Counts what is written.
struct Counted {
    inner: Box<dyn Write + Send>,
    written: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.inner.write(bytes)?;
        self.written.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
