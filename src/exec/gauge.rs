//! What lies in a queue, by batches, rows and bytes, with high-water marks.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::message::Message;
use crate::event::HighWater;

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

impl Gauge {
    /// Of a queue for so many bytes.
    pub(super) fn new(limit: usize) -> Arc<Gauge> {
        Arc::new(Gauge { limit: limit as u64, level: Mutex::default(), freed: Condvar::new() })
    }

    /// Counts a message, once there is room.
    pub(super) fn wait(&self, message: &Message) {
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
