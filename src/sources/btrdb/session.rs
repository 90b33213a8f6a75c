//! One connection, owned by one thread. The client is asynchronous; each session drives it with a runtime of
//! its own, which runs only while the thread waits for an answer, and every wait has a limit.

use std::{fmt, time::Duration};

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
    wire::{Answer, Call},
};
use crate::{
    failure::{Exit, Failure},
    jobspec::{self, Retry},
    service::{ClientRuntime, Patience, ServiceError, Tries},
};

/// Pieces of answers larger than this are refused. The server's pieces have 5,000 points, but how many streams a
/// piece of a list has is its choice; the client's own limit of 4 MiB is too small for that.
const MAX_PIECE: usize = 256 << 20;

/// Where to connect, and how patiently.
pub(super) struct Server {
    patience: Patience,
    endpoint: Endpoint,
    authorization: Option<MetadataValue<Ascii>>,
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
        let patience = Patience::new(format!("BTrDB at `{}`", address.text), retry, Exit::InputMissing);
        Ok(Server {
            endpoint: address.endpoint(patience.timeout(), &env)?,
            authorization: address.authorization(&env)?,
            timeout: Patience::limit(timeout),
            patience,
        })
    }

    /// Connects, or does not.
    ///
    /// # Errors
    /// Nobody answers there, or not in this language.
    pub(super) fn try_connect(&self) -> Result<Session, ServiceError> {
        let runtime = ClientRuntime::new()?;
        let channel = runtime.wait(self.patience.timeout(), self.endpoint.connect())?;
        self.patience.reached();
        let grpc = Grpc::new(channel).accept_compressed(CompressionEncoding::Gzip).max_decoding_message_size(MAX_PIECE);
        Ok(Session { runtime, grpc, authorization: self.authorization.clone(), timeout: self.timeout })
    }

    /// Calls until it succeeds, the error is not one that passes, or all attempts are used up. After an error
    /// the call must not go on with the same session.
    ///
    /// # Errors
    /// The last error.
    pub(super) fn persist<T>(&self, call: impl FnMut() -> Result<T, ServiceError>) -> Result<T, Failure> {
        self.patience.persist(call)
    }

    /// After a try has failed: waits, or gives up.
    ///
    /// # Errors
    /// It was the last one, or the error does not pass.
    pub(super) fn after(&self, tries: &mut Tries, error: &ServiceError) -> Result<(), Failure> {
        self.patience.after(tries, error)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patience.fmt(f)
    }
}

/// One open connection.
pub(super) struct Session {
    runtime: ClientRuntime,
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
    pub(super) fn ask<C: Call>(&mut self, question: C::Question) -> Result<C::Answer, ServiceError> {
        let request = self.request(question);
        let Session { runtime, grpc, timeout, .. } = self;
        let answer = runtime.wait(*timeout, async {
            grpc.ready().await?;
            let codec = ProstCodec::<C::Question, C::Answer>::default();
            Ok::<_, ServiceError>(grpc.unary(request, PathAndQuery::from_static(C::PATH), codec).await?.into_inner())
        })?;
        good(answer)
    }

    /// Asks for an answer in pieces.
    ///
    /// # Errors
    /// The server does not take the question.
    pub(super) fn begin<C: Call>(&mut self, question: C::Question) -> Result<Pieces<C::Answer>, ServiceError> {
        let request = self.request(question);
        let Session { runtime, grpc, timeout, .. } = self;
        runtime.wait(*timeout, async {
            grpc.ready().await?;
            let codec = ProstCodec::<C::Question, C::Answer>::default();
            let answer = grpc.server_streaming(request, PathAndQuery::from_static(C::PATH), codec).await?;
            Ok::<_, ServiceError>(Pieces(answer.into_inner()))
        })
    }

    /// The next piece of an answer, or `None` at its end.
    ///
    /// # Errors
    /// It does not come, or there is an error in it.
    pub(super) fn next<A: Answer>(&self, pieces: &mut Pieces<A>) -> Result<Option<A>, ServiceError> {
        let piece = self.runtime.wait(self.timeout, pieces.0.message())?;
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
fn good<A: Answer>(answer: A) -> Result<A, ServiceError> {
    match answer.stat() {
        Some(status) if status.code != 0 => Err(status.into()),
        _ => Ok(answer),
    }
}
