//! A bounded queue: so many batches and so many bytes, with high-water marks.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::{
    activity::{Activity, during},
    gauge::Gauge,
    message::Message,
    order::OrderedReceiver,
};

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
