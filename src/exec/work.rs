//! The loop of a pool of transforms: take a message, apply, pass on.

use std::{sync::Arc, time::Instant};

use super::{
    message::Message,
    queue::QueueReceiver,
    worker::{Chain, Outlet, Shared},
};
use crate::event::{Event, StageId};

/// One thread of a pool of transforms.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) stage: StageId,
    pub(super) queue: QueueReceiver,
    pub(super) chain: Chain,
    pub(super) outlet: Outlet,
}

impl Worker {
    pub(super) fn run(mut self) {
        let mut wait = Instant::now();
        while let Some(Message { place, batch, ack, credit }) = self.queue.recv() {
            let idle = wait.elapsed();
            let batch = batch.map(|batch| {
                self.chain.apply(&self.shared, batch).unwrap_or_else(|lost| {
                    drop(ack.clone());
                    lost
                })
            });
            let start = Instant::now();
            self.outlet.send(&self.shared, Message { place, batch, ack, credit });
            self.shared.send(Event::Waited { stage: self.stage, idle, blocked: start.elapsed() });
            wait = Instant::now();
        }
        self.shared.send(Event::WorkerEnded { stage: self.stage });
    }
}
