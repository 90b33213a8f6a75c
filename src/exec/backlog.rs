//! The messages of a pool whose stage keeps all of its batches until the last is in: their places and acknowledgements,
//! which stay here until the batches come back. The worker that is the last to end passes all of them on, in input order.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use super::{ack::Ack, message::BatchPlace};

/// What all workers of a pool have in common.
#[derive(Debug)]
pub(super) struct Waiting {
    next: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    messages: Vec<Waiter>,
    /// Workers that have not ended.
    workers: usize,
    /// Has none of them failed?
    sound: bool,
}

/// A message whose batch is elsewhere.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) place: BatchPlace,
    pub(super) ack: Ack,
    pub(super) batch: Option<Taken>,
}

/// A batch that the stage has taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) number: u32,
    pub(super) rows: usize,
}

impl Waiting {
    /// For so many workers.
    pub(super) fn new(workers: usize) -> Self {
        Waiting { next: AtomicU32::new(0), state: Mutex::new(State { messages: Vec::new(), workers, sound: true }) }
    }

    /// A number for a batch.
    pub(super) fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// One worker has ended, `sound` if it has lost nothing. The last one gets the messages of all, in input order, and
    /// whether all are sound.
    pub(super) fn end(&self, mine: Vec<Waiter>, sound: bool) -> Option<(Vec<Waiter>, bool)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.messages.extend(mine);
        state.sound &= sound;
        state.workers -= 1;
        if state.workers > 0 {
            return None;
        }
        let mut all = std::mem::take(&mut state.messages);
        all.sort_unstable_by_key(|waiter| waiter.place);
        Some((all, state.sound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::SplitId;

    fn waiter(split: u32, seq: u64) -> Waiter {
        let split = SplitId(split);
        Waiter { place: BatchPlace { split, seq, lane: 0 }, ack: Ack::of_none(split), batch: None }
    }

    #[test]
    fn the_last_worker_gets_all_in_input_order() {
        let waiting = Waiting::new(2);
        assert_eq!((waiting.number(), waiting.number()), (0, 1));
        assert!(waiting.end(vec![waiter(1, 0), waiter(0, 2)], true).is_none());
        let (all, sound) = waiting.end(vec![waiter(0, 0), waiter(0, 1)], true).expect("it is the last");
        let places: Vec<(u32, u64)> = all.iter().map(|waiter| (waiter.place.split.0, waiter.place.seq)).collect();
        assert_eq!((places, sound), (vec![(0, 0), (0, 1), (0, 2), (1, 0)], true));
    }

    #[test]
    fn one_that_fails_spoils_all() {
        let waiting = Waiting::new(2);
        assert!(waiting.end(Vec::new(), false).is_none());
        assert!(waiting.end(Vec::new(), true).is_some_and(|(_, sound)| !sound));
    }
}
