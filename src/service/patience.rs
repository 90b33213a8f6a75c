//! How patiently a server is tried.

use std::{fmt, thread, time::Duration};

use super::{ServiceError, count};
use crate::{
    failure::{Exit, Failure},
    jobspec::{self, Retry},
};

/// A server by name, how patiently it is tried, and the exit code for what is not there.
#[derive(Debug)]
pub(crate) struct Patience {
    server: String,
    retry: Retry,
    missing: Exit,
}

impl Patience {
    /// Patience with `server`. Times without sense become the nearest ones that have some.
    pub(crate) fn new(server: String, retry: &Retry, missing: Exit) -> Self {
        let retry = Retry {
            attempts: retry.attempts.max(1),
            backoff: jobspec::Duration(retry.backoff.0.min(Retry::LONGEST_WAIT)),
            timeout: jobspec::Duration(Patience::limit(retry.timeout)),
        };
        Patience { server, retry, missing }
    }

    /// A limit for a wait: at least a millisecond, and short enough that sums of such do not overflow.
    pub(crate) fn limit(wait: jobspec::Duration) -> Duration {
        wait.0.clamp(Duration::from_millis(1), Retry::LONGEST_WAIT)
    }

    /// Limit of one attempt.
    pub(crate) fn timeout(&self) -> Duration {
        self.retry.timeout.0
    }

    /// Calls until it succeeds, the error is not one that passes, or all attempts are used up.
    ///
    /// # Errors
    /// The last error.
    pub(crate) fn persist<T>(&self, mut call: impl FnMut() -> Result<T, ServiceError>) -> Result<T, Failure> {
        let mut attempt = 1;
        loop {
            match call() {
                Ok(done) => return Ok(done),
                Err(error) => self.after(attempt, &error)?,
            }
            attempt += 1;
        }
    }

    /// After attempt number `attempt` failed: waits, or gives up.
    ///
    /// # Errors
    /// It was the last attempt, or the error does not pass.
    pub(crate) fn after(&self, attempt: u32, error: &ServiceError) -> Result<(), Failure> {
        if !error.is_transient() {
            return Err(self.failure(error));
        }
        if attempt >= self.retry.attempts {
            let what = format!("{self}, given up after {}", count(attempt.into(), "attempt"));
            return Err(error.failure(self.missing, &what));
        }
        tracing::warn!(retries = %self, "{self}, attempt {attempt} of {}: {}", self.retry.attempts, error.message);
        thread::sleep(self.retry.pause(attempt));
        Ok(())
    }

    /// The failure that an error of this server leads to.
    pub(crate) fn failure(&self, error: &ServiceError) -> Failure {
        error.failure(self.missing, &self.server)
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::ErrorClass, *};

    fn patience(attempts: u32) -> Patience {
        let backoff = jobspec::Duration(Duration::from_millis(1));
        let retry = Retry { attempts, backoff, timeout: jobspec::Duration(Duration::ZERO) };
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
    fn times_without_sense_get_some() {
        assert_eq!(patience(1).timeout(), Duration::from_millis(1));
        assert_eq!(Patience::limit(jobspec::Duration(Duration::MAX)), Retry::LONGEST_WAIT);
    }
}
