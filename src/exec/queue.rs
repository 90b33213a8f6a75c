//! A bounded queue: so many batches and so many bytes, with high-water marks.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};

use super::{
    activity::{Activity, during},
    message::Message,
};
use crate::event::HighWater;

/// Makes a queue of at most `batches` batches and about `bytes` bytes; one batch larger than that passes alone.
pub(super) fn queue(batches: usize, bytes: usize) -> (QueueSender, QueueReceiver) {
    let (sender, receiver) = crossbeam_channel::bounded(batches);
    let gauge = Arc::new(Gauge { limit: bytes, level: Mutex::default(), freed: Condvar::new() });
    (QueueSender { sender, gauge: Arc::clone(&gauge) }, QueueReceiver { receiver, gauge })
}

#[derive(Clone, Debug)]
pub(super) struct QueueSender {
    sender: Sender<Message>,
    gauge: Arc<Gauge>,
}

#[derive(Clone, Debug)]
pub(super) struct QueueReceiver {
    receiver: Receiver<Message>,
    gauge: Arc<Gauge>,
}

/// What lies in the queue. A message counts from before it is sent until after it is received, so the marks
/// may name one batch more per sender that waits and per receiver that is taking one.
#[derive(Debug)]
pub(super) struct Gauge {
    limit: usize,
    level: Mutex<Level>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Level {
    now: HighWater,
    high: HighWater,
}

impl QueueSender {
    /// Puts a message in, waiting for room.
    pub(super) fn send(&self, message: Message) {
        self.gauge.enter(&message);
        // Receivers drain until every sender is gone; only an aborted run drops them before.
        let _ = self.sender.send(message);
    }

    pub(super) fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }
}

impl QueueReceiver {
    /// The next message; `None` once all senders are gone and the queue is empty.
    pub(super) fn recv(&self) -> Option<Message> {
        let message = during(Activity::Waits, || self.receiver.recv()).ok()?;
        self.gauge.leave(&message);
        Some(message)
    }
}

impl Gauge {
    fn enter(&self, message: &Message) {
        let (rows, bytes) = (message.rows() as u64, message.bytes() as u64);
        let mut level = self.lock();
        while level.now.bytes > 0 && level.now.bytes + bytes > self.limit as u64 {
            level = self.freed.wait(level).unwrap_or_else(PoisonError::into_inner);
        }
        let Level { now, high } = &mut *level;
        now.batches += 1;
        now.rows += rows;
        now.bytes += bytes;
        high.batches = high.batches.max(now.batches);
        high.rows = high.rows.max(now.rows);
        high.bytes = high.bytes.max(now.bytes);
    }

    fn leave(&self, message: &Message) {
        let mut level = self.lock();
        level.now.batches -= 1;
        level.now.rows -= message.rows() as u64;
        level.now.bytes -= message.bytes() as u64;
        self.freed.notify_all();
    }

    pub(super) fn high(&self) -> HighWater {
        self.lock().high
    }

    /// Batches waiting now.
    pub(super) fn batches(&self) -> u64 {
        self.lock().now.batches
    }

    /// No code that may panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, Level> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
