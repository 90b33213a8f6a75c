//! The loop of a pool of transforms: take a message, apply, pass on.

use std::{sync::Arc, time::Instant};

use super::{
    ack::Ack,
    message::Message,
    queue::QueueReceiver,
    worker::{Chain, Outlet, Shared},
};
use crate::{
    batch::Batch,
    event::{Event, StageId},
    spec::BatchSize,
};

/// One thread of a pool of transforms.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) stage: StageId,
    pub(super) queue: QueueReceiver,
    /// The most it is handed at once.
    pub(super) batch: Option<BatchSize>,
    pub(super) chain: Chain,
    pub(super) outlet: Outlet,
}

impl Worker {
    pub(super) fn run(mut self) {
        let mut wait = Instant::now();
        while let Some(Message { place, batch, ack, credit }) = self.queue.recv() {
            let idle = wait.elapsed();
            let batch = batch.map(|batch| self.apply(batch, &ack));
            let start = Instant::now();
            self.outlet.send(&self.shared, Message { place, batch, ack, credit });
            self.shared.send(Event::Waited { stage: self.stage, idle, blocked: start.elapsed() });
            wait = Instant::now();
        }
        self.shared.send(Event::WorkerEnded { stage: self.stage });
    }

    /// Applies the chain to a batch, in parts where the spec asks for smaller ones.
    fn apply(&mut self, batch: Batch, ack: &Ack) -> Batch {
        let size = self.batch.unwrap_or(BatchSize { rows: usize::MAX, bytes: usize::MAX });
        let parts = batch.cut(size.rows, size.bytes).into_iter().map(|part| {
            self.chain.apply(&self.shared, part).unwrap_or_else(|lost| {
                drop(ack.clone());
                lost
            })
        });
        Batch::concat(parts.collect()).expect("a batch has one part at least, and all have the same columns")
    }
}
