//! What a stage held and spilled, as the report says it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::stage::Held;

/// What a stage held in memory, and what it spilled, all its workers together.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeldReport {
    /// The most bytes of memory.
    pub peak_bytes: u64,
    /// Rows, or keys of them, that were spilled; what was spilled twice counts twice.
    pub spilled_rows: u64,
    /// Bytes of them on disk.
    pub spilled_bytes: u64,
    /// Files that they were spilled to: sorted runs, partitions.
    pub spilled_parts: u64,
    /// How often spilled rows were read.
    pub passes: u64,
}

impl HeldReport {
    /// Of a stage that held something.
    pub(super) fn of(held: Held) -> Option<HeldReport> {
        let Held { peak, rows, bytes, parts, passes } = held;
        (peak > 0).then_some(HeldReport {
            peak_bytes: peak,
            spilled_rows: rows,
            spilled_bytes: bytes,
            spilled_parts: parts,
            passes,
        })
    }
}
