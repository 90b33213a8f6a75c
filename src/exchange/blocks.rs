//! A part that is blocks of bytes instead of rows: written once, each of them read as often as it is asked for, in any
//! order. What is looked up in it lies in small blocks, which are not compressed: most of the time goes into reading one.

use std::{
    hash::BuildHasher,
    io::{self, BufWriter, Write},
    sync::Arc,
};

use hashbrown::DefaultHashBuilder;

use super::{Exchange, Part, ReadAt, part::BUFFER};
use crate::{failure::Failure, pulse};

/// Bytes behind each block that tell whether it is the one that was written: a hash of its number and its bytes.
const CHECK: usize = 8;

/// Blocks that are being written.
pub struct BlockWriter {
    file: BufWriter<Box<dyn Write + Send>>,
    part: Part,
    ends: Vec<u64>,
    hasher: DefaultHashBuilder,
}

/// Blocks that can be read. Their bytes are given back when they are dropped.
pub struct Blocks {
    file: Box<dyn ReadAt>,
    part: Part,
    /// Where each block ends.
    ends: Vec<u64>,
    /// Nobody else reads them, so the hash need not be the same in another run.
    hasher: DefaultHashBuilder,
}

impl Exchange {
    /// Begins a part of blocks; `what` says for people whose it is.
    ///
    /// # Errors
    /// The store cannot make it.
    pub fn write_blocks(self: &Arc<Self>, what: &str) -> Result<BlockWriter, Failure> {
        let (part, file) = self.create(what)?;
        let file = BufWriter::with_capacity(BUFFER, file);
        Ok(BlockWriter { file, part, ends: Vec::new(), hasher: DefaultHashBuilder::default() })
    }
}

impl BlockWriter {
    /// Puts a block behind those that are there. It stands for so many rows.
    ///
    /// # Errors
    /// The store is full, cannot be written, or has as much as it may.
    pub fn add(&mut self, block: &[u8], rows: u64) -> Result<(), Failure> {
        let check = self.hasher.hash_one((self.ends.len(), block)).to_le_bytes();
        let written = self.file.write_all(block).and_then(|()| self.file.write_all(&check));
        written.map_err(|error| self.failed(&error))?;
        let more = (block.len() + CHECK) as u64;
        self.part.rows += rows;
        self.part.unpacked += block.len() as u64;
        self.part.bytes += more;
        self.ends.push(self.part.bytes);
        pulse::heartbeat();
        self.part.exchange.take(more)
    }

    /// That was all.
    ///
    /// # Errors
    /// The store is full, or the blocks cannot be written or opened.
    pub fn finish(mut self) -> Result<Blocks, Failure> {
        fail::fail_point!("spill-write", |_| Err(self.failed(&io::Error::from(io::ErrorKind::StorageFull))));
        self.file.flush().map_err(|error| self.failed(&error))?;
        let BlockWriter { part, mut ends, hasher, .. } = self;
        ends.shrink_to_fit();
        let opened = part.exchange.store.open_at(&part.name);
        let file = opened.map_err(|error| part.exchange.failed("read", &part.name, &error))?;
        Ok(Blocks { file, part, ends, hasher })
    }

    fn failed(&self, error: &io::Error) -> Failure {
        self.part.exchange.failed("write", &self.part.name, error)
    }
}

impl Blocks {
    /// What there is of it in the store.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of memory that it takes to find them.
    pub fn size(&self) -> usize {
        self.ends.capacity() * 8
    }

    /// Reads the block with this number in place of what is in `into`.
    ///
    /// # Errors
    /// The store cannot read it, or what it reads is not what was written.
    pub fn read(&self, number: usize, into: &mut Vec<u8>) -> Result<(), Failure> {
        fail::fail_point!("spill-read", |_| Err(self.failed(&io::Error::from(io::ErrorKind::NotFound))));
        pulse::heartbeat();
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        into.resize((self.ends[number] - start) as usize, 0);
        self.file.read_exact_at(into, start).map_err(|error| self.failed(&error))?;
        let Some((block, check)) = into.split_last_chunk::<CHECK>() else { return Err(self.damaged()) };
        if self.hasher.hash_one((number, block)) != u64::from_le_bytes(*check) {
            return Err(self.damaged());
        }
        into.truncate(into.len() - CHECK);
        Ok(())
    }

    /// What was read is not what was written.
    pub fn damaged(&self) -> Failure {
        self.failed(&io::Error::new(io::ErrorKind::InvalidData, "a block of it was changed"))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        self.part.exchange.failed("read", &self.part.name, error)
    }
}
