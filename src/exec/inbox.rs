//! The way into a pool: divide messages by key if the pool asks for it, then hand each to a worker.

use super::{message::Message, order::OrderedSender, partition::Partition, queue::QueueSender};

/// The sending end of a pool's input, shared by all pools before it.
#[derive(Debug)]
pub(super) enum Inbox {
    /// As they come.
    Any(QueueSender),
    /// In order, each worker's splits for itself.
    Ordered(Vec<OrderedSender>),
    /// Divided among the workers by key, then each worker's in order.
    Keyed(Partition, Vec<OrderedSender>),
}

impl Inbox {
    /// Hands a message in, waiting for room.
    pub(super) fn send(&self, message: Message) {
        let at = message.place;
        match self {
            Inbox::Any(queue) => queue.send(message),
            Inbox::Ordered(workers) => workers[at.split.0 as usize % workers.len()].send(at, message),
            // The thread that made a batch divides it, before it waits for its turn: workers only take their parts.
            Inbox::Keyed(partition, workers) => {
                for (part, worker) in partition.divide(message, workers.len()).into_iter().zip(workers) {
                    worker.send(at, part);
                }
            }
        }
    }
}
