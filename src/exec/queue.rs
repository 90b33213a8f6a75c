//! A bounded queue: so many batches and so many bytes, with high-water marks.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};

use super::{
    activity::{Activity, during},
    message::Message,
    order::OrderedReceiver,
};
use crate::event::HighWater;

/// Makes a queue of at most `batches` batches and about `bytes` bytes; one batch larger than that passes alone.
pub(super) fn queue(batches: usize, bytes: usize) -> (QueueSender, SharedReceiver) {
    let (sender, receiver) = crossbeam_channel::bounded(batches);
    let gauge = Gauge::new(bytes);
    (QueueSender { sender, gauge: Arc::clone(&gauge) }, SharedReceiver { receiver, gauge })
}

#[derive(Clone, Debug)]
pub(super) struct QueueSender {
    sender: Sender<Message>,
    gauge: Arc<Gauge>,
}

/// An end that several workers may have: each takes what it gets.
#[derive(Clone, Debug)]
pub(super) struct SharedReceiver {
    receiver: Receiver<Message>,
    gauge: Arc<Gauge>,
}

/// One worker's end of the queue before its pool.
#[derive(Debug)]
pub(super) enum QueueReceiver {
    /// Messages as they come.
    Any(SharedReceiver),
    /// Messages in input order.
    Ordered(OrderedReceiver),
}

/// What lies in the queue. A message counts from before it is sent until after it is received, so the marks
/// may name one batch more per sender that waits and per receiver that is taking one.
#[derive(Debug)]
pub(super) struct Gauge {
    limit: u64,
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
        self.gauge.wait(&message);
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
        during(Activity::Waits, || match self {
            QueueReceiver::Any(SharedReceiver { receiver, gauge }) => {
                let message = receiver.recv().ok()?;
                gauge.leave(&message);
                Some(message)
            }
            QueueReceiver::Ordered(ordered) => ordered.recv(),
        })
    }
}

impl Gauge {
    /// Of a queue for so many bytes.
    pub(super) fn new(limit: usize) -> Arc<Gauge> {
        Arc::new(Gauge { limit: limit as u64, level: Mutex::default(), freed: Condvar::new() })
    }

    /// Counts a message, once there is room.
    fn wait(&self, message: &Message) {
        let bytes = message.bytes() as u64;
        let mut level = self.lock();
        while !level.has_room(bytes, self.limit) {
            level = self.freed.wait(level).unwrap_or_else(PoisonError::into_inner);
        }
        level.enter(message.rows() as u64, bytes);
    }

    /// Is there room for so many bytes?
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.lock().has_room(bytes, self.limit)
    }

    /// Counts a message.
    pub(super) fn enter(&self, message: &Message) {
        let (rows, bytes) = (message.rows() as u64, message.bytes() as u64);
        self.lock().enter(rows, bytes);
    }

    pub(super) fn leave(&self, message: &Message) {
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

impl Level {
    /// One message larger than the limit passes alone.
    fn has_room(&self, bytes: u64, limit: u64) -> bool {
        self.now.bytes == 0 || self.now.bytes + bytes <= limit
    }

    fn enter(&mut self, rows: u64, bytes: u64) {
        let Level { now, high } = self;
        now.batches += 1;
        now.rows += rows;
        now.bytes += bytes;
        high.batches = high.batches.max(now.batches);
        high.rows = high.rows.max(now.rows);
        high.bytes = high.bytes.max(now.bytes);
    }
}
