//! The pages of a row group for the crate, which is handed none that would take more memory than the job may use.
//!
//! The crate reads the header of a page, then its bytes, makes room for what the header says, and unpacks them there. It
//! reads both through this, so a header is known before its bytes are asked for: a page that is too large is refused
//! instead of its bytes.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::parquet::{
    basic::Compression as Codec,
    errors::{ParquetError, Result as Crate},
    file::{
        metadata::RowGroupMetaData,
        reader::{ChunkReader, Length},
    },
};

use super::opened::Opened;
use crate::{
    failure::{Exit, Failure},
    formats::parquet::{Look, PageHeader},
    jobspec::Bytes,
};

/// The pages of one row group. The crate asks for any of their bytes.
#[derive(Clone)]
pub(super) struct Pages(Arc<Inner>);

struct Inner {
    opened: Opened,
    /// What all pages that are read at one time may take.
    limit: u64,
    /// In the order of the file.
    chunks: Vec<Chunk>,
    read: Mutex<Vec<Held>>,
}

/// A column of the row group.
struct Chunk {
    name: String,
    start: u64,
    codec: Codec,
    /// The size of all of its pages once they are unpacked, as the footer says.
    unpacked: u64,
}

/// The pages of a column that are read at a time.
#[derive(Clone, Copy, Default)]
struct Held {
    dictionary: Option<Page>,
    data: Option<Page>,
}

/// A page whose header was read.
#[derive(Clone, Copy)]
struct Page {
    header: PageHeader,
    /// Where its bytes begin.
    start: u64,
    /// What it takes of the limit.
    memory: u64,
}

/// What a page may take without being counted. Pages that others write have about a MiB, and as many are read at a time
/// as there are columns: files of thousands of columns are read, too.
const USUAL: u64 = 4 << 20;

/// Headers of pages are read in pieces of this size.
const HEADER_BYTES: usize = 1 << 10;
/// A header may have this size: it may hold the least and the largest value, which nobody asks for.
const MAX_HEADER: usize = 16 << 20;

impl Pages {
    /// The pages of this row group of an open file; they may take `limit` bytes at a time.
    pub(super) fn new(opened: &Opened, group: &RowGroupMetaData, limit: usize) -> Pages {
        let chunk = |chunk: &::parquet::file::metadata::ColumnChunkMetaData| Chunk {
            name: chunk.column_path().parts().join("."),
            start: chunk.byte_range().0,
            codec: chunk.compression(),
            unpacked: u64::try_from(chunk.uncompressed_size()).unwrap_or(0),
        };
        let mut chunks: Vec<Chunk> = group.columns().iter().map(chunk).collect();
        chunks.sort_by_key(|chunk| chunk.start);
        let read = Mutex::new(vec![Held::default(); chunks.len()]);
        Pages(Arc::new(Inner { opened: opened.clone(), limit: limit as u64, chunks, read }))
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.0.opened.len()
    }
}

impl ChunkReader for Pages {
    type T = HeaderBytes;

    fn get_read(&self, start: u64) -> Crate<Self::T> {
        Ok(HeaderBytes { inner: Arc::clone(&self.0), at: start, bytes: Vec::new(), taken: 0 })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Crate<bytes::Bytes> {
        let Inner { opened, limit, .. } = &*self.0;
        let (chunk, page) = self.0.admit(start, length)?;
        let bytes = opened.get_bytes(start, length)?;
        if page.header.is_true(chunk.codec, &bytes, *limit) {
            return Ok(bytes);
        }
        let (name, unpacked) = (&chunk.name, page.header.unpacked);
        let what = "unpacks to more than its header says";
        Err(ParquetError::General(format!("a page of column `{name}` {what}, which is {}", Bytes::about(unpacked))))
    }
}

impl Inner {
    /// No code that may panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The column that has a byte.
    fn chunk(&self, at: u64) -> Option<usize> {
        self.chunks.partition_point(|chunk| chunk.start <= at).checked_sub(1)
    }

    /// Notes the header that stands there.
    fn note(&self, at: u64, header: PageHeader) {
        let Some(chunk) = self.chunk(at) else { return };
        let page = Some(Page { header, start: at + header.len as u64, memory: 0 });
        let held = &mut self.lock()[chunk];
        *if header.is_dictionary { &mut held.dictionary } else { &mut held.data } = page;
    }

    /// The page whose bytes are there, if there is memory for it.
    fn admit(&self, start: u64, length: usize) -> Crate<(&Chunk, Page)> {
        let none = || ParquetError::General("the header of a page makes no sense".to_owned());
        let place = self.chunk(start).ok_or_else(none)?;
        let chunk = &self.chunks[place];
        let mut read = self.lock();
        let Held { dictionary, data } = &mut read[place];
        let found = [dictionary, data].into_iter().flatten().find(|page| page.start == start);
        let page = found.filter(|page| page.header.packed == length as u64).ok_or_else(none)?;
        page.memory = page.header.memory(chunk.codec);
        let page = *page;
        let all = || read.iter().flat_map(|held| [held.dictionary, held.data]).flatten().map(|page| page.memory);
        let unusual = all().fold(0_u64, |sum, memory| sum.saturating_add(memory.saturating_sub(USUAL)));
        if page.memory <= USUAL || unusual.max(page.memory) <= self.limit {
            return Ok((chunk, page));
        }
        Err(self.too_large(chunk, page, all().fold(0, u64::saturating_add)))
    }

    /// Why there is no memory for a page, with which all take `sum`.
    fn too_large(&self, chunk: &Chunk, Page { header, memory, .. }: Page, sum: u64) -> ParquetError {
        let Chunk { name, unpacked, .. } = chunk;
        let size = Bytes::about(header.unpacked);
        if header.is_odd(*unpacked) {
            let message = format!("a page of column `{name}` is said to unpack to {size}, more than all of the column");
            return ParquetError::General(message);
        }
        let (packed, limit) = (Bytes::about(header.packed), Bytes::about(self.limit));
        let others = match memory <= self.limit {
            true => format!("; with those that are read beside it that makes {}", Bytes::about(sum)),
            false => String::new(),
        };
        let message = format!(
            "`{}`: column `{name}` has a page of {size}, {packed} in the file{others}; `limits.memory` allows {limit}: \
             give the job more, or leave the column out",
            self.opened.name()
        );
        self.opened.stop(Failure::new(Exit::Unavailable, message))
    }
}

/// The bytes of a header. The crate asks for such a place more often than it reads there, so nothing is read before.
pub(super) struct HeaderBytes {
    inner: Arc<Inner>,
    /// Where in the file the bytes begin.
    at: u64,
    bytes: Vec<u8>,
    taken: usize,
}

impl HeaderBytes {
    /// Reads all of the header, and notes it.
    fn fill(&mut self) -> io::Result<()> {
        loop {
            let len = self.bytes.len();
            self.bytes.resize(len + len.max(HEADER_BYTES), 0);
            let read = self.inner.opened.read_at(&mut self.bytes[len..], self.at + len as u64)?;
            self.bytes.truncate(len + read);
            match PageHeader::look(&self.bytes) {
                Look::Longer if read > 0 && self.bytes.len() < MAX_HEADER => {}
                Look::Whole(header) => {
                    self.inner.note(self.at, header);
                    return Ok(());
                }
                // The crate says what is wrong with it.
                Look::Longer | Look::Wrong => return Ok(()),
            }
        }
    }
}

impl Read for HeaderBytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            self.fill()?;
        }
        let len = (&self.bytes[self.taken..]).read(into)?;
        self.taken += len;
        Ok(len)
    }
}
