//! The way into a pool: put messages in input order if the pool asks for it, then hand each to a worker.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::{
    message::{Message, Place},
    partition::Partition,
    queue::QueueSender,
};
use crate::batch::SplitId;

/// The sending end of a pool's input, shared by all pools before it.
#[derive(Debug)]
pub(super) enum Inbox {
    /// As they come.
    Any(QueueSender),
    /// In order, each worker's splits for itself.
    Ordered(Vec<Ordered>),
    /// In order, then divided among the workers by key.
    Keyed(Ordered, Partition, Vec<QueueSender>),
}

/// The way to one worker, or to a partition: messages leave in input order.
#[derive(Debug)]
pub(super) struct Ordered {
    order: Mutex<Reorder>,
    queue: Option<QueueSender>,
}

impl Ordered {
    pub(super) fn new(order: Reorder, queue: Option<QueueSender>) -> Self {
        Ordered { order: Mutex::new(order), queue }
    }

    /// Puts a message in and hands on all that are in order now. They leave under the lock: two senders
    /// must not overtake each other on the way to the queue.
    fn send(&self, message: Message, hand: impl Fn(Message)) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.put(message);
        while let Some(next) = order.take() {
            hand(next);
        }
    }

    fn rest(&mut self) -> Vec<Message> {
        self.order.get_mut().unwrap_or_else(PoisonError::into_inner).drain()
    }

    fn queue(&self) -> &QueueSender {
        self.queue.as_ref().expect("the way to a worker has a queue")
    }
}

impl Inbox {
    /// Hands a message in, waiting for room.
    pub(super) fn send(&self, message: Message) {
        match self {
            Inbox::Any(queue) => queue.send(message),
            Inbox::Ordered(workers) => {
                let worker = &workers[message.place.split.0 as usize % workers.len()];
                worker.send(message, |next| worker.queue().send(next));
            }
            Inbox::Keyed(order, partition, queues) => {
                order.send(message, |next| divide(partition, next, queues));
            }
        }
    }
}

fn divide(partition: &Partition, message: Message, queues: &[QueueSender]) {
    for (part, queue) in partition.divide(message, queues.len()).into_iter().zip(queues) {
        queue.send(part);
    }
}

impl Drop for Inbox {
    /// The last pool before this one has ended. What still waits for a place that will never come, because
    /// the run was stopped, goes on as it is.
    fn drop(&mut self) {
        match self {
            Inbox::Any(_) => {}
            Inbox::Ordered(workers) => {
                for worker in workers {
                    worker.rest().into_iter().for_each(|message| worker.queue().send(message));
                }
            }
            Inbox::Keyed(order, partition, queues) => {
                order.rest().into_iter().for_each(|message| divide(partition, message, queues));
            }
        }
    }
}

/// Puts messages in input order: by split, sequence number and lane.
///
/// How much may wait here is bounded by the gates of the sources, not by this buffer.
#[derive(Debug)]
pub(super) struct Reorder {
    /// How many messages come for each place of a split, for every split that reaches this pool.
    arrivals: BTreeMap<SplitId, u32>,
    waiting: BTreeMap<Place, Message>,
    /// Messages of the current place that have left already.
    passed: u32,
    seq: u64,
    ended: bool,
}

impl Reorder {
    /// `arrivals` says for each split how many messages come per batch: one per way from its source.
    pub(super) fn new(arrivals: BTreeMap<SplitId, u32>) -> Self {
        Reorder { arrivals, waiting: BTreeMap::new(), passed: 0, seq: 0, ended: false }
    }

    fn put(&mut self, message: Message) {
        self.waiting.insert(message.place, message);
    }

    /// The next message in order, if it is there. All lanes of a place leave before the next place.
    fn take(&mut self) -> Option<Message> {
        let (&split, &lanes) = self.arrivals.first_key_value()?;
        let wanted = Place { split, seq: self.seq, lane: self.passed };
        let message = self.waiting.remove(&wanted)?;
        self.ended = message.batch.is_none();
        self.passed += 1;
        if self.passed == lanes {
            self.passed = 0;
            self.seq += 1;
            if self.ended {
                self.arrivals.pop_first();
                self.seq = 0;
            }
        }
        Some(message)
    }

    fn drain(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::ack::Tracker;

    /// Puts places in the given order and lists those that leave after each; `end` marks a split's end.
    fn leave(arrivals: &[u32], places: &[(u32, u64, u32, bool)]) -> Vec<(u32, u64, u32)> {
        let (events, _received) = crossbeam_channel::unbounded();
        let tracker = Tracker::new(arrivals.len(), events);
        let arrivals = arrivals.iter().enumerate().map(|(i, n)| (SplitId(i as u32), *n)).collect();
        let mut order = Reorder::new(arrivals);
        let mut left = Vec::new();
        for &(split, seq, lane, end) in places {
            let split = SplitId(split);
            let batch = (!end).then(crate::exec::partition::tests::empty_batch);
            order.put(Message { place: Place { split, seq, lane }, batch, ack: tracker.open(split), credit: None });
            while let Some(message) = order.take() {
                left.push((message.place.split.0, message.place.seq, message.place.lane));
            }
        }
        left
    }

    #[test]
    fn later_batches_wait_for_earlier_ones() {
        let places = [(0, 1, 0, false), (1, 0, 0, false), (0, 0, 0, false), (0, 2, 0, true), (1, 1, 0, true)];
        assert_eq!(leave(&[1, 1], &places), [(0, 0, 0), (0, 1, 0), (0, 2, 0), (1, 0, 0), (1, 1, 0)]);
    }

    #[test]
    fn all_lanes_of_a_place_leave_before_the_next_place() {
        let places = [(0, 1, 0, false), (0, 0, 1, false), (0, 0, 0, false), (0, 1, 1, false)];
        assert_eq!(leave(&[2], &places), [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)]);
    }
}
