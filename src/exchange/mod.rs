//! Rows that leave memory and come back: parts of Arrow IPC in a store, and what divides rows among parts and puts
//! ordered parts together again.
//!
//! ```text
//! rows ──divide by hash──▶ Partitions ──▶ Part, Part …  ──read one by one──▶ rows, in the order they were put in
//! rows, sorted ─────────────────────────▶ Part, Part …  ──Merge──▶ rows, sorted
//! bytes, by the block ──────────────────▶ Blocks        ──▶ any block, as often as it is asked for
//! ```
//!
//! The room knows neither the stages that use it nor what the rows mean. On one machine the store is a [`Folder`] that
//! is gone with the process; a store that others can read, too, would carry rows between machines.

mod blocks;
mod folder;
mod merge;
mod part;
mod partitions;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

pub use self::{
    blocks::{BlockWriter, Blocks},
    folder::{Folder, remove_orphans},
    merge::{Merge, prefix},
    part::{Part, PartReader, PartWriter},
    partitions::{LEVELS, PARTITIONS, Partitions},
};
use crate::{
    failure::{Exit, Failure},
    jobspec::Bytes,
};

/// Where parts lie.
pub trait Store: Send + Sync {
    /// Makes a part, which is not there yet.
    ///
    /// # Errors
    /// It cannot be made.
    fn create(&self, name: &str) -> io::Result<Box<dyn Write + Send>>;

    /// Opens a part from its start.
    ///
    /// # Errors
    /// It cannot be read.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>>;

    /// Opens a part to be read at any place.
    ///
    /// # Errors
    /// It cannot be read.
    fn open_at(&self, name: &str) -> io::Result<Box<dyn ReadAt>>;

    /// Removes a part.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// What people call the place of a part.
    fn place(&self, name: &str) -> String;
}

/// What can be read at any place.
pub trait ReadAt: Send {
    /// Fills `bytes` with what lies there.
    ///
    /// # Errors
    /// It cannot be read, or there are not so many bytes.
    fn read_exact_at(&self, bytes: &mut [u8], place: u64) -> io::Result<()>;
}

/// All parts of one run, and how many bytes they may take together.
pub struct Exchange {
    store: Box<dyn Store>,
    most: Option<u64>,
    /// Bytes that lie in the store now.
    held: AtomicU64,
    /// The number of the next part.
    next: AtomicU64,
}

impl Exchange {
    /// Parts in `store`, of at most `most` bytes together.
    pub fn new(store: Box<dyn Store>, most: Option<u64>) -> Arc<Exchange> {
        Arc::new(Exchange { store, most, held: AtomicU64::new(0), next: AtomicU64::new(0) })
    }

    /// A name that no other part of the run has: `what` is for people.
    fn name(&self, what: &str) -> String {
        let plain: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("{plain}.{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// So many bytes more lie in the store.
    ///
    /// # Errors
    /// They are more than may lie there.
    fn take(&self, bytes: u64) -> Result<(), Failure> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        match self.most {
            Some(most) if held > most => {
                let message = format!(
                    "what was spilled takes {}, `limits.spill.max` allows {}: allow more, or give the job more \
                     `limits.memory`",
                    Bytes::about(held),
                    Bytes::about(most)
                );
                Err(Failure::new(Exit::Io, message))
            }
            _ => Ok(()),
        }
    }

    fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn failed(&self, verb: &str, name: &str, error: &dyn fmt::Display) -> Failure {
        let help = "`limits.spill.path` names another folder";
        Failure::new(
            Exit::Io,
            format!("cannot {verb} the spilled rows in `{}`: {error}; {help}", self.store.place(name)),
        )
    }
}

/// The columns of a schema, and behind them one of the exchange's own: a number, or a key.
pub fn with_own(schema: &SchemaRef, own: DataType) -> SchemaRef {
    let own = Arc::new(Field::new("", own, false));
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([own]).collect::<Vec<_>>()))
}

/// The first columns of rows, as many as the schema has: without those of the exchange's own.
///
/// # Errors
/// They are too many to be held together.
pub fn without_own(rows: &RecordBatch, schema: SchemaRef) -> Result<RecordBatch, Failure> {
    let columns = rows.columns()[..schema.fields().len()].to_vec();
    fits(RecordBatch::try_new(schema, columns))
}

/// What a kernel answers for arrays that were checked before: an error can only be a size that Arrow's 32-bit offsets
/// cannot hold.
///
/// # Errors
/// It is one.
pub fn fits<T>(answer: Result<T, ArrowError>) -> Result<T, Failure> {
    answer.map_err(|error| Failure::new(Exit::Unavailable, format!("too many rows to be held together: {error}")))
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("most", &self.most).field("held", &self.held).finish_non_exhaustive()
    }
}
