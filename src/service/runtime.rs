//! How a thread waits for an asynchronous client: each connection has a runtime of its own, which runs only
//! while its thread waits for an answer, and every wait has a limit.

use std::{future::Future, time::Duration};

use tokio::runtime::{Builder, Runtime};

use super::{ErrorClass, ServiceError};

/// The runtime of one connection.
#[derive(Debug)]
pub(crate) struct ClientRuntime(Runtime);

impl ClientRuntime {
    /// A runtime that starts no thread.
    ///
    /// # Errors
    /// The system gives none.
    pub(crate) fn new() -> Result<Self, ServiceError> {
        let broken = |error: std::io::Error| ServiceError::silent(ErrorClass::Permanent, error.to_string());
        Builder::new_current_thread().enable_all().build().map(ClientRuntime).map_err(broken)
    }

    /// Drives the client until the answer is there, but no longer than `limit`.
    ///
    /// # Errors
    /// The client's own, or no answer in time.
    pub(crate) fn wait<T, E: Into<ServiceError>>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ServiceError> {
        // The timer must be made inside the runtime that drives it.
        match self.0.block_on(async { tokio::time::timeout(limit, answer).await }) {
            Ok(answer) => answer.map_err(E::into),
            Err(_) => Err(ServiceError::lost("no answer within the timeout")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_answer_or_with_its_limit() {
        let runtime = ClientRuntime::new().expect("a runtime");
        let answer = |wait: u64| async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            Ok::<_, ServiceError>(wait)
        };
        assert_eq!(runtime.wait(Duration::from_secs(10), answer(1)), Ok(1));
        let silent = runtime.wait(Duration::from_millis(5), answer(10_000)).expect_err("no answer");
        assert_eq!((silent.class, silent.answered), (ErrorClass::Reconnect, false));
    }
}
