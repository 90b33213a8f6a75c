//! A bounded queue to one worker that gives messages out in input order, whatever the order they come in.
//!
//! A sender of the split that is due waits for room, so that the source reads no faster than the worker writes. A message
//! of a later split is buffered, and its sender reads on. When a split ends, the buffered messages of the next one are due
//! at once; the sender of that end does not wait until the worker has taken them. How much is buffered is bounded by the
//! memory that each source has for what is under way (`memory_budget`).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{
    gauge::Gauge,
    message::{BatchPlace, Message},
};
use crate::batch::SplitId;

/// Makes one of at most `batches` batches and about `bytes` bytes; one batch larger than that passes alone.
pub(super) fn ordered(order: Reorder, batches: usize, bytes: usize) -> (OrderedSender, OrderedReceiver) {
    let state = State { order, due: VecDeque::new(), queued: 0, closed: false, abandoned: false };
    let gauge = Gauge::new(bytes);
    let (came, freed, batches) = (Condvar::new(), Condvar::new(), batches.max(1));
    let shared = Arc::new(Shared { state: Mutex::new(state), came, freed, batches, gauge });
    (OrderedSender(Arc::clone(&shared)), OrderedReceiver(shared))
}

/// The way in, shared by all who send. Its drop says that nothing more comes.
#[derive(Debug)]
pub(super) struct OrderedSender(Arc<Shared>);

/// The worker's end.
#[derive(Debug)]
pub(super) struct OrderedReceiver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A message is due, or none will ever be.
    came: Condvar,
    /// There may be room.
    freed: Condvar,
    batches: usize,
    gauge: Arc<Gauge>,
}

#[derive(Debug)]
struct State {
    order: Reorder,
    /// Messages in input order with nothing missing before them.
    due: VecDeque<Message>,
    /// How many of these are in the queue, from the first on; the others wait for room.
    queued: usize,
    /// Nothing more comes.
    closed: bool,
    /// Nobody takes anything any more.
    abandoned: bool,
}

impl OrderedSender {
    /// Puts a message in that stands at `at` among all that come.
    pub(super) fn send(&self, at: BatchPlace, message: Message) {
        let Shared { freed, came, .. } = &*self.0;
        let bytes = message.bytes() as u64;
        let mut state = self.0.lock();
        while !state.abandoned && state.order.is_due(at.split) && !self.0.has_room(&state, bytes) {
            state = freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Receivers drain until every sender is gone; only an aborted run drops them before.
        if !state.abandoned {
            state.order.put(at, message);
            while let Some(next) = state.order.take() {
                state.due.push_back(next);
            }
            self.0.fill(&mut state);
            came.notify_one();
        }
    }

    pub(super) fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.0.gauge)
    }
}

impl Drop for OrderedSender {
    /// The last pool before this one has ended. What still waits for a place that will never come, because the run was
    /// stopped, goes on as it is.
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let rest = state.order.drain();
        state.due.extend(rest);
        state.closed = true;
        self.0.fill(&mut state);
        self.0.came.notify_all();
    }
}

impl OrderedReceiver {
    /// The next message; `None` once all senders are gone and there is none left.
    pub(super) fn recv(&self) -> Option<Message> {
        let mut state = self.0.lock();
        while state.due.is_empty() && !state.closed {
            state = self.0.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let message = state.due.pop_front()?;
        state.queued -= 1;
        self.0.gauge.leave(&message);
        self.0.fill(&mut state);
        self.0.freed.notify_all();
        Some(message)
    }
}

impl Drop for OrderedReceiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.abandoned = true;
        let (due, rest) = (std::mem::take(&mut state.due), state.order.drain());
        state.queued = 0;
        self.0.freed.notify_all();
        drop(state);
        drop((due, rest));
    }
}

impl Shared {
    /// Would a message of so many bytes that is due be in the queue at once?
    fn has_room(&self, state: &State, bytes: u64) -> bool {
        state.queued == state.due.len() && state.queued < self.batches && self.gauge.has_room(bytes)
    }

    /// Lets into the queue what there is room for.
    fn fill(&self, state: &mut State) {
        while state.queued < self.batches
            && let Some(message) = state.due.get(state.queued)
            && self.gauge.has_room(message.bytes() as u64)
        {
            self.gauge.enter(message);
            state.queued += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts messages in input order: by split, sequence number and lane.
#[derive(Debug)]
pub(super) struct Reorder {
    /// How many messages come for each place of a split, for every split that reaches this pool.
    arrivals: BTreeMap<SplitId, u32>,
    waiting: BTreeMap<BatchPlace, Message>,
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

    /// Is it this split whose messages leave now?
    fn is_due(&self, split: SplitId) -> bool {
        self.arrivals.first_key_value().is_some_and(|(due, _)| *due == split)
    }

    fn put(&mut self, at: BatchPlace, message: Message) {
        self.waiting.insert(at, message);
    }

    /// The next message in order, if it is there. All lanes of a place leave before the next place.
    fn take(&mut self) -> Option<Message> {
        let (&split, &lanes) = self.arrivals.first_key_value()?;
        let wanted = BatchPlace { split, seq: self.seq, lane: self.passed };
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
    use std::sync::atomic::{AtomicU64, Ordering};

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
            let place = BatchPlace { split, seq, lane };
            order.put(place, Message { place, batch, ack: tracker.open(split), permit: None });
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

    /// A queue for so many batches, and what makes messages for it.
    fn queue(arrivals: &[u32], batches: usize) -> (OrderedSender, OrderedReceiver, impl Fn(u32, u64, bool) -> Message) {
        let (events, _) = crossbeam_channel::unbounded();
        let tracker = Tracker::new(arrivals.len(), events);
        let arrivals = arrivals.iter().enumerate().map(|(i, n)| (SplitId(i as u32), *n)).collect();
        let (sender, receiver) = ordered(Reorder::new(arrivals), batches, 1 << 20);
        let message = move |split, seq, end: bool| {
            let (split, lane) = (SplitId(split), 0);
            let batch = (!end).then(crate::exec::partition::tests::empty_batch);
            Message { place: BatchPlace { split, seq, lane }, batch, ack: tracker.open(split), permit: None }
        };
        (sender, receiver, message)
    }

    fn send(sender: &OrderedSender, message: Message) {
        sender.send(message.place, message);
    }

    #[test]
    fn the_sender_of_the_end_of_a_split_does_not_wait_for_the_buffered_messages_of_the_next() {
        let (sender, receiver, message) = queue(&[1, 1], 1);
        let taken = || receiver.recv().map(|message| (message.place.split.0, message.place.seq));
        send(&sender, message(0, 0, false));
        // The queue is full, and none of these waits.
        for (split, seq, end) in [(1, 2, true), (1, 1, false), (1, 0, false)] {
            send(&sender, message(split, seq, end));
        }
        assert_eq!(taken(), Some((0, 0)));
        send(&sender, message(0, 1, true));
        assert_eq!([taken(), taken(), taken()], [Some((0, 1)), Some((1, 0)), Some((1, 1))]);
        assert_eq!(sender.gauge().high().batches, 1);
        drop(sender);
        assert_eq!((taken(), taken()), (Some((1, 2)), None));
    }

    #[test]
    fn who_sends_of_the_split_that_is_due_waits_for_room() {
        let (sender, receiver, message) = queue(&[1], 2);
        let sent = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for seq in 0..100 {
                    send(&sender, message(0, seq, seq == 99));
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            });
            for seq in 0..100 {
                assert!(sent.load(Ordering::SeqCst) <= seq + 2);
                assert_eq!(receiver.recv().map(|message| message.place.seq), Some(seq));
            }
        });
    }

    #[test]
    fn nobody_waits_for_a_worker_that_is_gone() {
        let (sender, receiver, message) = queue(&[1], 1);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..3).for_each(|seq| send(&sender, message(0, seq, false))));
            assert!(receiver.recv().is_some());
            drop(receiver);
        });
    }
}
