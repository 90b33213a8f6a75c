//! Divides batches by key: equal keys go to the same worker, on every machine and in every run.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_cast::cast;
use arrow_schema::DataType;

use super::message::{BatchPlace, Message};
use crate::{
    batch::Batch,
    plan::{Intake, Plan, PoolId, Role},
};

/// Divides batches by the `partition_by` expression of a pool's first stage.
#[derive(Debug)]
pub(super) struct Partition {
    plan: Arc<Plan>,
    pool: PoolId,
    /// The columns that the stage reads, where it does not read all.
    read: Option<Vec<usize>>,
}

impl Partition {
    pub(super) fn new(plan: Arc<Plan>, pool: PoolId) -> Self {
        let read = match &plan.stages[plan.pools[pool].head].role {
            Role::Sink(sink) => sink.columns(),
            Role::Source(_) | Role::Transform(_) => None,
        };
        Partition { plan, pool, read }
    }

    /// One message per worker, in the order of the workers; some may have no rows. Each part keeps the order
    /// that its rows had.
    pub(super) fn divide(&self, message: Message, workers: usize) -> Vec<Message> {
        if workers == 1 {
            return vec![message];
        }
        let Message { place, batch, ack, permit } = message;
        let parts: Vec<Option<Batch>> = match batch {
            None => vec![None; workers],
            Some(batch) => self.parts(batch, workers),
        };
        let messages = parts.into_iter().enumerate().map(|(worker, batch)| {
            let place = BatchPlace { lane: place.lane * workers as u32 + worker as u32, ..place };
            Message { place, batch, ack: ack.clone(), permit: permit.clone() }
        });
        let messages = messages.collect();
        ack.acknowledge();
        messages
    }

    /// The rows of each worker, with the key that was computed of them. A row whose key is null or cannot be computed
    /// goes to the first: the stage itself decides what becomes of it.
    fn parts(&self, batch: Batch, workers: usize) -> Vec<Option<Batch>> {
        let Intake::Keyed(expr) = &self.plan.pools[self.pool].intake else {
            unreachable!("a partition is made for keyed pools only");
        };
        let (batch, keys) = expr.compute(batch);
        let rows = rows_of(&keys, workers);
        let batch = match &self.read {
            Some(read) => batch.for_reader_of(read),
            None => batch,
        };
        rows.into_iter().map(|rows| Some(batch.pick(rows))).collect()
    }
}

/// The rows that belong to each worker by these keys.
fn rows_of(keys: &ArrayRef, workers: usize) -> Vec<Vec<u32>> {
    // The compiler admits only keys whose type can be shown as text.
    let Ok(keys) = cast(keys, &DataType::Utf8View) else {
        unreachable!("checked when the spec was compiled");
    };
    let keys = keys.as_string_view();
    let mut rows = vec![Vec::new(); workers];
    for row in 0..keys.len() {
        let worker = if keys.is_null(row) { 0 } else { worker_of(keys.value(row).as_bytes(), workers) };
        rows[worker].push(row as u32);
    }
    rows
}

/// The worker that a key belongs to: FNV-1a, 64 bits (Fowler, Noll and Vo), finished with a
/// multiplication, its high bits scaled to the number of workers.
pub(super) fn worker_of(key: &[u8], workers: usize) -> usize {
    let hash = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((u128::from(mixed) * workers as u128) >> 64) as usize
}

#[cfg(test)]
pub(super) mod tests {
    use arrow_array::RecordBatch;

    use super::*;
    use crate::batch::{Origin, Schema, SplitId};

    pub(crate) fn empty_batch() -> Batch {
        let records = RecordBatch::new_empty(Schema::new(Vec::new()).arrow());
        Batch::new(records, Origin::derived(SplitId(0), 0, 0))
    }

    #[test]
    fn keys_keep_their_worker_for_ever() {
        // Recorded once: stores that were divided by these must not be divided differently later.
        let workers: Vec<usize> = ["", "bob", "alice", "Ünal"].iter().map(|key| worker_of(key.as_bytes(), 8)).collect();
        assert_eq!(workers, [4, 0, 2, 7]);
    }

    #[test]
    fn keys_spread_evenly() {
        let mut counts = [0_u32; 7];
        (0..70_000).for_each(|i| counts[worker_of(format!("key{i}").as_bytes(), 7)] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
