//! One connection, owned by one thread. The client is asynchronous; each session drives it with a runtime of
//! its own, which runs only while the thread waits for an answer, and every wait has a limit.

use std::{fmt, future::Future, io, thread, time::Duration};

use tokio::runtime::{Builder, Runtime};
use tonic::{
    Request, Streaming,
    client::Grpc,
    codec::CompressionEncoding,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{
    endpoint::Address,
    trouble::{Nature, Trouble},
    wire::{Answer, Call},
};
use crate::{
    failure::Failure,
    jobspec::{self, Retry},
};

/// Pieces of answers larger than this are refused. The server's pieces have 5,000 points, but how many streams a
/// piece of a list has is its choice; the client's own limit of 4 MiB is too small for that.
const MAX_PIECE: usize = 256 << 20;

/// Where to connect, and how patiently.
pub(super) struct Server {
    name: String,
    endpoint: Endpoint,
    authorization: Option<MetadataValue<Ascii>>,
    /// How often, and how patiently a connection is tried.
    retry: Retry,
    /// Limit of an answer, and of each next piece of one.
    timeout: Duration,
}

impl Server {
    /// The server at an address.
    ///
    /// # Errors
    /// The key or the roots are not to be had.
    pub(super) fn new(address: &Address, retry: &Retry, timeout: jobspec::Duration) -> Result<Server, Failure> {
        let env = |name: &str| std::env::var(name).ok();
        let limit = |wait: Duration| wait.clamp(Duration::from_millis(1), Retry::LONGEST_WAIT);
        let retry = Retry {
            attempts: retry.attempts.max(1),
            backoff: retry.backoff,
            timeout: jobspec::Duration(limit(retry.timeout.0)),
        };
        Ok(Server {
            name: format!("BTrDB at `{}`", address.text),
            endpoint: address.endpoint(retry.timeout.0, &env)?,
            authorization: address.authorization(&env)?,
            retry,
            timeout: limit(timeout.0),
        })
    }

    /// Connects, or does not.
    ///
    /// # Errors
    /// Nobody answers there, or not in this language.
    pub(super) fn try_connect(&self) -> Result<Session, Trouble> {
        let broken = |error: io::Error| Trouble::new(Nature::Broken, error.to_string());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(broken)?;
        let channel = wait(&runtime, self.retry.timeout.0, async { Ok(self.endpoint.connect().await?) })?;
        let grpc = Grpc::new(channel).accept_compressed(CompressionEncoding::Gzip).max_decoding_message_size(MAX_PIECE);
        Ok(Session { runtime, grpc, authorization: self.authorization.clone(), timeout: self.timeout })
    }

    /// Calls until it succeeds, the trouble cannot heal, or all attempts are used up. After trouble the call must
    /// not go on with the same session.
    ///
    /// # Errors
    /// The last trouble.
    pub(super) fn persist<T>(&self, mut call: impl FnMut() -> Result<T, Trouble>) -> Result<T, Failure> {
        let mut attempt = 1;
        loop {
            match call() {
                Ok(done) => return Ok(done),
                Err(trouble) => self.after(attempt, &trouble)?,
            }
            attempt += 1;
        }
    }

    /// After attempt number `attempt` failed: waits, or gives up.
    ///
    /// # Errors
    /// It was the last one, or the trouble cannot heal.
    pub(super) fn after(&self, attempt: u32, trouble: &Trouble) -> Result<(), Failure> {
        if trouble.nature != Nature::Heals {
            return Err(trouble.failure(&self.name));
        }
        if attempt >= self.retry.attempts {
            let plural = if attempt == 1 { "" } else { "s" };
            return Err(trouble.failure(&format!("{self}, given up after {attempt} attempt{plural}")));
        }
        tracing::warn!(retries = %self, "{self}, attempt {attempt} of {}: {}", self.retry.attempts, trouble.message);
        thread::sleep(self.retry.pause(attempt));
        Ok(())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// One open connection.
pub(super) struct Session {
    runtime: Runtime,
    grpc: Grpc<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

/// An answer that comes in pieces. It belongs to the session that asked.
pub(super) struct Pieces<A>(Streaming<A>);

impl Session {
    /// Asks, and takes the one answer.
    ///
    /// # Errors
    /// There is none, or there is an error in it.
    pub(super) fn ask<C: Call>(&mut self, question: C::Question) -> Result<C::Answer, Trouble> {
        let request = self.request(question);
        let Session { runtime, grpc, timeout, .. } = self;
        let answer = wait(runtime, *timeout, async {
            grpc.ready().await?;
            let codec = ProstCodec::<C::Question, C::Answer>::default();
            Ok(grpc.unary(request, PathAndQuery::from_static(C::PATH), codec).await?.into_inner())
        })?;
        good(answer)
    }

    /// Asks for an answer in pieces.
    ///
    /// # Errors
    /// The server does not take the question.
    pub(super) fn begin<C: Call>(&mut self, question: C::Question) -> Result<Pieces<C::Answer>, Trouble> {
        let request = self.request(question);
        let Session { runtime, grpc, timeout, .. } = self;
        wait(runtime, *timeout, async {
            grpc.ready().await?;
            let codec = ProstCodec::<C::Question, C::Answer>::default();
            let answer = grpc.server_streaming(request, PathAndQuery::from_static(C::PATH), codec).await?;
            Ok(Pieces(answer.into_inner()))
        })
    }

    /// The next piece of an answer, or `None` at its end.
    ///
    /// # Errors
    /// It does not come, or there is an error in it.
    pub(super) fn next<A: Answer>(&self, pieces: &mut Pieces<A>) -> Result<Option<A>, Trouble> {
        let piece = wait(&self.runtime, self.timeout, async { Ok(pieces.0.message().await?) })?;
        piece.map(good).transpose()
    }

    fn request<Q>(&self, question: Q) -> Request<Q> {
        let mut request = Request::new(question);
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.clone());
        }
        request
    }
}

/// An answer without an error in it.
fn good<A: Answer>(answer: A) -> Result<A, Trouble> {
    match answer.stat() {
        Some(status) if status.code != 0 => Err(status.into()),
        _ => Ok(answer),
    }
}

/// Drives the client until the answer is there, but no longer than `limit`.
fn wait<T>(runtime: &Runtime, limit: Duration, answer: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    // The timer must be made inside the runtime that drives it.
    match runtime.block_on(async { tokio::time::timeout(limit, answer).await }) {
        Ok(answer) => answer,
        Err(_) => Err(Trouble::new(Nature::Heals, "no answer within the timeout")),
    }
}
