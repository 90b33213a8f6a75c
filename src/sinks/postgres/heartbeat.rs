//! Says every few seconds, by the server's own clock, that the process of a run lives, so that no other host takes
//! it for dead while its workers wait for their input.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::receipts::Ledger;
use crate::{
    failure::{Exit, Failure},
    postgres::{Server, Session},
};

/// Four of these may be missed.
const PAUSE: Duration = Duration::from_secs(12);

/// Beats until it is dropped.
pub(super) struct Heartbeat(Arc<(Mutex<bool>, Condvar)>);

impl Heartbeat {
    pub(super) fn start(server: Arc<Server>, ledger: Arc<Ledger>) -> Result<Heartbeat, Failure> {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let heard = Arc::clone(&ended);
        let spawned = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            let mut session: Option<Session> = None;
            while !wait(&heard) {
                let beat = match session.take() {
                    Some(session) => Ok(session),
                    None => server.try_connect(),
                };
                // What does not answer now may do so the next time; the workers say what is wrong.
                session = beat.and_then(|session| ledger.beat(&session).map(|()| session)).ok();
            }
        });
        spawned.map_err(|error| Failure::new(Exit::Unavailable, format!("cannot start a thread: {error}")))?;
        Ok(Heartbeat(ended))
    }
}

/// Waits for the next beat. Is it over?
fn wait((ended, told): &(Mutex<bool>, Condvar)) -> bool {
    let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = told.wait_timeout_while(ended, PAUSE, |ended| !*ended);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}
