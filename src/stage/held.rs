//! The account of a stage that can spill.

use crate::exchange::Part;

/// What a worker held in memory, and what it spilled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The most bytes of memory at once.
    pub peak: u64,
    /// Rows, or keys of them, that were spilled; what was spilled twice counts twice.
    pub rows: u64,
    /// Bytes of them in the store.
    pub bytes: u64,
    /// Parts that were written: sorted runs, partitions.
    pub parts: u64,
    /// How often spilled rows were read.
    pub passes: u64,
}

impl Held {
    /// So many bytes are held now.
    pub fn note(&mut self, bytes: usize) {
        self.peak = self.peak.max(bytes as u64);
    }

    /// A part was written.
    pub fn spilled(&mut self, part: &Part) {
        self.rows += part.rows;
        self.bytes += part.bytes;
        self.parts += 1;
    }
}
