//! What of a table is spilled: rows of groups that it does not hold, and the state of groups that it holds no longer. Both
//! are divided by key in the same way.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::spilled::Layout;
use crate::{
    exchange::{Part, Partitions},
    failure::Failure,
    memory::Share,
    stage::Held,
};

/// Parts that are being written.
pub(super) struct Others {
    level: u32,
    rows: Partitions,
    states: Option<Partitions>,
    /// Parts of states, once all are there.
    saved: Vec<Option<Part>>,
}

/// The groups of one part of the keys: what is known of them, and then the rows that are not in that.
pub(super) struct Rest {
    pub(super) states: Option<Part>,
    pub(super) rows: Option<Part>,
}

impl Others {
    /// No rows yet. `level` says how often they were divided before.
    pub(super) fn new(layout: &Layout, level: u32, share: &Share) -> Others {
        let rows = partitions("groups", layout.rows(), level, share);
        Others { level, rows, states: None, saved: Vec::new() }
    }

    /// Spills rows; `hashes` are those of their keys.
    pub(super) fn add(&mut self, rows: &RecordBatch, hashes: &[u64]) -> Result<(), Failure> {
        self.rows.add(rows, hashes)
    }

    /// Spills states of groups.
    pub(super) fn add_states(
        &mut self,
        layout: &Layout,
        share: &Share,
        states: &RecordBatch,
        hashes: &[u64],
    ) -> Result<(), Failure> {
        let new = || partitions("states", layout.states.schema(), self.level, share);
        self.states.get_or_insert_with(new).add(states, hashes)
    }

    /// No more states come: what is needed to write them is given back.
    pub(super) fn end_states(&mut self) -> Result<(), Failure> {
        if let Some(states) = self.states.take() {
            self.saved = states.finish_all()?;
        }
        Ok(())
    }

    /// All that was spilled.
    pub(super) fn finish(mut self, account: &mut Held) -> Result<Vec<Rest>, Failure> {
        self.end_states()?;
        let rows = self.rows.finish_all()?;
        self.saved.resize_with(rows.len(), || None);
        let rests = self.saved.into_iter().zip(rows).map(|(states, rows)| Rest { states, rows });
        let rests: Vec<Rest> = rests.filter(|rest| rest.states.is_some() || rest.rows.is_some()).collect();
        let parts = rests.iter().flat_map(|rest| rest.states.iter().chain(&rest.rows));
        parts.for_each(|part| account.spilled(part));
        Ok(rests)
    }
}

fn partitions(what: &str, schema: SchemaRef, level: u32, share: &Share) -> Partitions {
    Partitions::new(share.exchange(), &format!("{what}-{level}"), schema, level, 16 * share.block())
}
