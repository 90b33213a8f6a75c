//! Divides rows among parts by a hash of their key: rows of equal keys come to one part, in the order they came in.

use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::{concat::concat_batches, take::take_record_batch};

use super::{Exchange, Part, PartWriter, fits};
use crate::{failure::Failure, values::compact_batch};

/// How many parts rows are divided among.
pub const PARTITIONS: usize = 1 << BITS;

const BITS: u32 = 4;

/// How often rows can be divided: then all bits of a hash are used up, and it begins with the first again.
pub const LEVELS: u32 = u64::BITS / BITS;

/// Parts that are being written.
pub struct Partitions {
    exchange: Arc<Exchange>,
    what: String,
    schema: SchemaRef,
    level: u32,
    /// Bytes of a part that are gathered before they are written.
    block: usize,
    parts: Vec<Partition>,
}

#[derive(Default)]
struct Partition {
    writer: Option<PartWriter>,
    waiting: Vec<RecordBatch>,
    bytes: usize,
}

impl Partitions {
    /// Parts for rows of a schema. What was divided before is divided anew at the next level: by other bits of the hash.
    /// About `memory` bytes are used for rows that wait to be written.
    pub fn new(exchange: &Arc<Exchange>, what: &str, schema: SchemaRef, level: u32, memory: usize) -> Self {
        let parts = (0..PARTITIONS).map(|_| Partition::default()).collect();
        let (block, level) = (memory / PARTITIONS, level % LEVELS);
        Partitions { exchange: Arc::clone(exchange), what: what.to_owned(), schema, level, block, parts }
    }

    /// Puts rows into parts by their hashes, one for each row.
    ///
    /// # Errors
    /// A part cannot be written.
    pub fn add(&mut self, rows: &RecordBatch, hashes: &[u64]) -> Result<(), Failure> {
        let mut places: [Vec<u32>; PARTITIONS] = std::array::from_fn(|_| Vec::new());
        let shift = self.level * BITS;
        for (row, hash) in (0_u32..).zip(hashes) {
            places[(hash >> shift) as usize % PARTITIONS].push(row);
        }
        for (partition, places) in places.into_iter().enumerate().filter(|(_, places)| !places.is_empty()) {
            // Few of many rows must not keep the block alive that all of them were read in.
            let rows = compact_batch(&fits(take_record_batch(rows, &UInt32Array::from(places)))?);
            let part = &mut self.parts[partition];
            part.bytes += rows.get_array_memory_size();
            part.waiting.push(rows);
            if part.bytes >= self.block {
                self.write(partition)?;
            }
        }
        Ok(())
    }

    /// The parts that have rows.
    ///
    /// # Errors
    /// A part cannot be written.
    pub fn finish(self) -> Result<Vec<Part>, Failure> {
        Ok(self.finish_all()?.into_iter().flatten().collect())
    }

    /// All parts, nothing in place of one without rows: parts of one place have the rows of the same keys, where hashes
    /// and level are the same.
    ///
    /// # Errors
    /// A part cannot be written.
    pub fn finish_all(mut self) -> Result<Vec<Option<Part>>, Failure> {
        (0..PARTITIONS).try_for_each(|partition| self.write(partition))?;
        self.parts.into_iter().map(|part| part.writer.map(PartWriter::finish).transpose()).collect()
    }

    fn write(&mut self, partition: usize) -> Result<(), Failure> {
        let part = &mut self.parts[partition];
        if part.waiting.is_empty() {
            return Ok(());
        }
        let rows = fits(concat_batches(&self.schema, &part.waiting))?;
        (part.waiting, part.bytes) = (Vec::new(), 0);
        let writer = match &mut part.writer {
            Some(writer) => writer,
            empty => empty.insert(self.exchange.write(&format!("{}-{partition}", self.what), &self.schema)?),
        };
        writer.add(&rows)
    }
}
