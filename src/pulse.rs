//! Signs of life from inside a call. Whoever reads for long without handing a batch on says here that something
//! came, or that it waits for another program; the executor tells by it a slow run from one that hangs.
//!
//! A thread has a pulse once the executor has given it one; elsewhere all this does nothing.

use std::{
    cell::RefCell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

/// The signs of one thread.
#[derive(Debug, Default)]
pub struct Pulse {
    beats: AtomicU64,
    external: AtomicBool,
    /// When the run's time is over.
    deadline: OnceLock<Instant>,
}

thread_local! {
    static OWN: RefCell<Option<Arc<Pulse>>> = const { RefCell::new(None) };
}

/// Something came or went: bytes were read, a row was stepped to.
pub fn heartbeat() {
    with(|pulse| _ = pulse.beats.fetch_add(1, Ordering::Relaxed));
}

/// Waits for something that another program does when it likes, such as writing to our standard input: however
/// long that takes, it is not this run that hangs.
pub fn external_wait<T>(wait: impl FnOnce() -> T) -> T {
    with(|pulse| pulse.external.store(true, Ordering::Relaxed));
    let came = wait();
    with(|pulse| pulse.external.store(false, Ordering::Relaxed));
    heartbeat();
    came
}

/// When the run's time is over, where it has a limit: nothing should be waited for beyond that.
pub fn deadline() -> Option<Instant> {
    OWN.with(|own| own.borrow().as_deref().and_then(|pulse| pulse.deadline.get().copied()))
}

/// Makes this the pulse of the calling thread.
pub fn give(pulse: Arc<Pulse>) {
    OWN.with(|own| *own.borrow_mut() = Some(pulse));
}

fn with(act: impl FnOnce(&Pulse)) {
    OWN.with(|own| own.borrow().as_deref().map(act));
}

impl Pulse {
    /// Sets when the run's time is over, once.
    pub fn set_deadline(&self, deadline: Instant) {
        let _ = self.deadline.set(deadline);
    }

    /// How many signs there were.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Does the thread wait for another program?
    pub fn waits_externally(&self) -> bool {
        self.external.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_counts_for_itself() {
        heartbeat();
        let pulse = Arc::new(Pulse::default());
        let own = Arc::clone(&pulse);
        let inside = std::thread::spawn(move || {
            give(Arc::clone(&own));
            heartbeat();
            external_wait(|| own.waits_externally())
        });
        assert!(inside.join().expect("it does not panic"));
        heartbeat();
        assert_eq!((pulse.beats(), pulse.waits_externally()), (2, false));
    }
}
