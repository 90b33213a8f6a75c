//! How patiently a server is tried.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{ErrorClass, ServiceError, count};
use crate::{
    failure::{Exit, Failure},
    jobspec::{self, Retry},
    pulse,
};

/// A server by name, how patiently it is tried, and the exit code for what is not there. All workers share it.
#[derive(Debug)]
pub(crate) struct Patience {
    server: String,
    retry: Retry,
    missing: Exit,
    reached: AtomicBool,
    /// Why it was given up for the rest of the run.
    down: OnceLock<Failure>,
}

/// The tries of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tries {
    failed: u32,
    /// When the first one failed.
    since: Option<Instant>,
}

impl Patience {
    /// Patience with `server`. Times without sense become the nearest ones that have some.
    pub(crate) fn new(server: String, retry: &Retry, missing: Exit) -> Self {
        let limit = |wait: jobspec::Duration| jobspec::Duration(wait.0.min(Retry::LONGEST_WAIT));
        let retry = Retry {
            attempts: retry.attempts,
            backoff: limit(retry.backoff),
            timeout: jobspec::Duration(Patience::limit(retry.timeout)),
            total: limit(retry.total),
        };
        Patience { server, retry, missing, reached: AtomicBool::new(false), down: OnceLock::new() }
    }

    /// A limit for a wait: at least a millisecond, and short enough that sums of such do not overflow.
    pub(crate) fn limit(wait: jobspec::Duration) -> Duration {
        wait.0.clamp(Duration::from_millis(1), Retry::LONGEST_WAIT)
    }

    /// Limit of one attempt.
    pub(crate) fn timeout(&self) -> Duration {
        self.retry.timeout.0
    }

    /// The server has answered: it is worth waiting for.
    pub(crate) fn reached(&self) {
        self.reached.store(true, Ordering::Relaxed);
    }

    /// Calls until it succeeds, the error is not one that passes, or patience is at its end.
    ///
    /// # Errors
    /// The last error.
    pub(crate) fn persist<T>(&self, mut call: impl FnMut() -> Result<T, ServiceError>) -> Result<T, Failure> {
        let mut tries = Tries::default();
        loop {
            match call() {
                Ok(done) => return Ok(done),
                Err(error) => self.after(&mut tries, &error)?,
            }
        }
    }

    /// Why the server is down for the rest of the run.
    pub(crate) fn down(&self) -> Option<&Failure> {
        self.down.get()
    }

    /// The failure after the last try. A server that answered so may take the next batch; any other is down for the rest
    /// of the run, for all workers: each would only learn the same, and wait as long for it.
    pub(crate) fn give_up(&self, tries: &Tries, error: &ServiceError) -> Failure {
        if error.class == ErrorClass::Retry {
            return self.given_up("", tries, error);
        }
        let down = self.down.get_or_init(|| {
            let failure = match error.is_transient() {
                true => self.given_up(" is down", tries, error),
                false => self.failure(error),
            };
            tracing::error!("{}", failure.message);
            failure
        });
        down.clone()
    }

    fn given_up(&self, state: &str, tries: &Tries, error: &ServiceError) -> Failure {
        let what = format!("{self}{state}, given up after {}", count(tries.failed.into(), "attempt"));
        error.failure(self.missing, &what)
    }

    /// After a try has failed: waits, or gives up.
    ///
    /// # Errors
    /// Patience is at its end, or the error does not pass.
    pub(crate) fn after(&self, tries: &mut Tries, error: &ServiceError) -> Result<(), Failure> {
        if !error.is_transient() {
            return Err(self.failure(error));
        }
        match self.pause(tries, error) {
            None => Err(self.given_up("", tries, error)),
            Some(pause) => {
                rest(pause);
                Ok(())
            }
        }
    }

    /// After a try has failed: says so, and how long to wait before the next one. `None` where that was the last one, or
    /// the error does not pass.
    pub(crate) fn pause(&self, tries: &mut Tries, error: &ServiceError) -> Option<Duration> {
        if !error.is_transient() {
            return None;
        }
        tries.failed = tries.failed.saturating_add(1);
        let since = *tries.since.get_or_insert_with(Instant::now);
        if self.retry.attempts.is_some_and(|attempts| tries.failed >= attempts) {
            return None;
        }
        let total = match self.reached.load(Ordering::Relaxed) {
            true => self.retry.total.0,
            false => self.retry.total.0.min(Retry::NEVER_REACHED),
        };
        let end = pulse::deadline().map_or(since + total, |deadline| deadline.min(since + total));
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let of = self.retry.attempts.map_or(String::new(), |attempts| format!(" of {attempts}"));
        tracing::warn!(retries = %self, "{self}, attempt {}{of}: {}", tries.failed, error.message);
        Some(self.retry.pause(tries.failed).min(left))
    }

    /// The failure that an error of this server leads to.
    pub(crate) fn failure(&self, error: &ServiceError) -> Failure {
        error.failure(self.missing, &self.server)
    }
}

/// Waits; whoever watches over this thread sees that it does so on purpose.
pub(crate) fn rest(pause: Duration) {
    thread::sleep(pause);
    pulse::heartbeat();
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(attempts: u32) -> Patience {
        let backoff = jobspec::Duration(Duration::from_millis(1));
        let timeout = jobspec::Duration(Duration::ZERO);
        let retry = Retry { attempts: Some(attempts), backoff, timeout, ..Retry::default() };
        Patience::new("a server".to_owned(), &retry, Exit::InputMissing)
    }

    /// What comes of calls that fail with these classes in turn, and then succeed; and how many calls it took.
    fn persisted(attempts: u32, classes: &[ErrorClass]) -> (Result<(), String>, usize) {
        let mut calls = 0;
        let result = patience(attempts).persist(|| {
            calls += 1;
            classes.get(calls - 1).map_or(Ok(()), |class| Err(ServiceError::answer(*class, "why")))
        });
        (result.map_err(|failure| failure.message), calls)
    }

    #[test]
    fn what_passes_is_tried_again_and_nothing_else() {
        use ErrorClass::{Denied, Permanent, Reconnect, Retry};
        assert_eq!(persisted(3, &[Retry, Reconnect]), (Ok(()), 3));
        let given_up = Err("a server, given up after 2 attempts: why".to_owned());
        assert_eq!(persisted(2, &[Retry, Retry, Retry]), (given_up, 2));
        assert_eq!(persisted(0, &[Reconnect]).0, Err("a server, given up after 1 attempt: why".to_owned()));
        for class in [Denied, Permanent] {
            assert_eq!(persisted(3, &[Retry, class]), (Err("a server: why".to_owned()), 2));
        }
    }

    #[test]
    fn a_server_that_is_given_up_is_down_unless_it_answered() {
        let cases = [
            (ErrorClass::Retry, "a server, given up after 2 attempts: why", false),
            (ErrorClass::Reconnect, "a server is down, given up after 2 attempts: why", true),
            (ErrorClass::Denied, "a server: why", true),
        ];
        for (class, said, down) in cases {
            let (patience, mut tries) = (patience(2), Tries::default());
            let error = ServiceError::silent(class, "why");
            while patience.pause(&mut tries, &error).is_some() {
                assert!(patience.down().is_none());
            }
            let failure = patience.give_up(&tries, &error);
            assert_eq!((&*failure.message, patience.down().is_some()), (said, down));
            // The first reason holds for all.
            let other = patience.give_up(&tries, &ServiceError::lost("another"));
            assert_eq!(other.message == said, down);
        }
    }

    #[test]
    fn times_without_sense_get_some() {
        assert_eq!(patience(1).timeout(), Duration::from_millis(1));
        assert_eq!(Patience::limit(jobspec::Duration(Duration::MAX)), Retry::LONGEST_WAIT);
    }

    /// How long calls that always fail are repeated, with a total of so many milliseconds.
    fn repeated(total: u64, reached: bool) -> Duration {
        let retry = Retry { total: jobspec::Duration(Duration::from_millis(total)), ..Retry::default() };
        let patience = Patience::new("a server".to_owned(), &retry, Exit::InputMissing);
        if reached {
            patience.reached();
        }
        let started = Instant::now();
        patience.persist(|| Err::<(), _>(ServiceError::lost("why"))).expect_err("it never succeeds");
        started.elapsed()
    }

    #[test]
    fn time_is_the_limit_where_attempts_are_not_counted() {
        let took = repeated(300, true);
        assert!((Duration::from_millis(300)..Duration::from_secs(4)).contains(&took), "{took:?}");
    }

    #[test]
    fn a_server_that_was_never_reached_is_given_up_earlier() {
        let took = repeated(60_000, false);
        assert!((Retry::NEVER_REACHED..3 * Retry::NEVER_REACHED).contains(&took), "{took:?}");
    }

    #[test]
    fn nothing_is_waited_for_beyond_the_deadline() {
        let took = std::thread::spawn(|| {
            let pulse = std::sync::Arc::new(pulse::Pulse::default());
            pulse.set_deadline(Instant::now() + Duration::from_millis(200));
            pulse::give(pulse);
            repeated(60_000, true)
        });
        let took = took.join().expect("it does not panic");
        assert!((Duration::from_millis(150)..Duration::from_secs(4)).contains(&took), "{took:?}");
    }
}
