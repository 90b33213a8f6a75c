//! Calls into stages that no worker makes: opening them, `done` actions, reading back. They have a thread of their
//! own, which can be left behind: whoever waits for the answer must be free to look around, and to go.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use crossbeam_channel::{Receiver, Sender};

use super::activity::WorkerState;
use crate::failure::{Exit, Failure};

type Call = Box<dyn FnOnce() + Send>;

/// The way to that thread, which ends with it.
#[derive(Debug)]
pub(super) struct BlockingCalls {
    calls: Sender<Call>,
    pub(super) state: Arc<WorkerState>,
}

impl BlockingCalls {
    /// Starts the thread.
    pub(super) fn start() -> Result<BlockingCalls, Failure> {
        let (calls, received) = crossbeam_channel::unbounded::<Call>();
        let state = Arc::new(WorkerState::default());
        let own = Arc::clone(&state);
        let run = move || {
            own.enter();
            received.iter().for_each(|call| call());
        };
        let started = std::thread::Builder::new().name("blocking-calls".to_owned()).spawn(run);
        started.map_err(|error| Failure::new(Exit::Unavailable, format!("cannot start threads: {error}")))?;
        Ok(BlockingCalls { calls, state })
    }

    /// Begins a call; its answer comes once. A panic becomes a failure.
    pub(super) fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Receiver<Result<T, Failure>> {
        let (answer, received) = crossbeam_channel::bounded(1);
        let call = move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(bug(&*panic)));
            // Whoever asked may have gone.
            let _ = answer.send(result);
        };
        // The thread ends only once this sender is gone.
        let _ = self.calls.send(Box::new(call));
        received
    }
}

fn bug(panic: &(dyn Any + Send)) -> Failure {
    Failure::new(Exit::Bug, format!("panicked: {}", super::worker::words(panic)))
}
