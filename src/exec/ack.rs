//! Which splits are wholly stored.
//!
//! Every message holds an [`Ack`]. Cloning it (a message that goes to two sinks) makes one more that must
//! be answered. Dropping one without [`Ack::acknowledge`] marks its split incomplete: forgetting, failing
//! and panicking all end on the safe side.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crossbeam_channel::Sender;

use crate::{batch::SplitId, event::Event};

/// The state of all splits of a run.
#[derive(Debug)]
pub(super) struct Tracker {
    splits: Vec<SplitState>,
    events: Sender<Event>,
}

#[derive(Debug, Default)]
struct SplitState {
    outstanding: AtomicUsize,
    incomplete: AtomicBool,
}

impl Tracker {
    pub(super) fn new(splits: usize, events: Sender<Event>) -> Arc<Self> {
        let splits = (0..splits).map(|_| SplitState::default()).collect();
        Arc::new(Tracker { splits, events })
    }

    /// The first acknowledgement of a split: the one its reader holds until it has read it all.
    pub(super) fn open(self: &Arc<Self>, split: SplitId) -> Ack {
        self.state(split).outstanding.fetch_add(1, Ordering::Relaxed);
        Ack { split, tracker: Some(Arc::clone(self)), answered: false }
    }

    fn state(&self, split: SplitId) -> &SplitState {
        &self.splits[split.0 as usize]
    }

    /// The last one to be answered tells the coordinator. All that was sent about the split's rows was sent
    /// before, so the coordinator knows of every reject when it hears this.
    fn answer(&self, split: SplitId, good: bool) {
        let state = self.state(split);
        if !good {
            state.incomplete.store(true, Ordering::Release);
        }
        if state.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            let complete = !state.incomplete.load(Ordering::Relaxed);
            // The coordinator outlives every worker unless the run was aborted; then nobody asks any more.
            let _ = self.events.send(Event::Settled { split, complete });
        }
    }
}

/// A promise that part of a split will be answered for.
#[derive(Debug)]
#[must_use = "dropping it marks the split incomplete"]
pub(super) struct Ack {
    split: SplitId,
    /// `None` for what a stage emits at the end: no split of the input stands behind it.
    tracker: Option<Arc<Tracker>>,
    answered: bool,
}

impl Ack {
    /// For rows that no split of the input stands behind.
    pub(super) fn of_none(split: SplitId) -> Ack {
        Ack { split, tracker: None, answered: false }
    }

    fn answer(&self, good: bool) {
        if let Some(tracker) = &self.tracker {
            tracker.answer(self.split, good);
        }
    }

    /// This part is stored, rejected or dropped on purpose.
    pub(super) fn acknowledge(mut self) {
        self.answered = true;
        self.answer(true);
    }

    /// Part of the split is lost, whatever becomes of this one.
    pub(super) fn mark_incomplete(&self) {
        drop(self.clone());
    }

    /// Is some part of the split lost already?
    pub(super) fn is_incomplete(&self) -> bool {
        let state = self.tracker.as_ref().map(|tracker| tracker.state(self.split));
        state.is_some_and(|state| state.incomplete.load(Ordering::Acquire))
    }

    pub(super) fn split(&self) -> SplitId {
        self.split
    }
}

impl Clone for Ack {
    fn clone(&self) -> Self {
        match &self.tracker {
            Some(tracker) => tracker.open(self.split),
            None => Ack::of_none(self.split),
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(answers: &[bool]) -> Vec<bool> {
        let (events, received) = crossbeam_channel::unbounded();
        let tracker = Tracker::new(1, events);
        let reader = tracker.open(SplitId(0));
        let parts: Vec<Ack> = answers.iter().map(|_| reader.clone()).collect();
        reader.acknowledge();
        for (part, good) in parts.into_iter().zip(answers) {
            assert!(received.is_empty(), "settled before the last answer");
            if *good { part.acknowledge() } else { drop(part) }
        }
        received.try_iter().map(|event| matches!(event, Event::Settled { complete: true, .. })).collect()
    }

    #[test]
    fn a_split_settles_once_with_its_last_answer() {
        assert_eq!(settled(&[true, true, true]), [true]);
        assert_eq!(settled(&[]), [true]);
    }

    #[test]
    fn one_dropped_part_makes_the_split_incomplete() {
        assert_eq!(settled(&[true, false, true]), [false]);
    }
}
