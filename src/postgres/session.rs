//! One connection, owned by one thread. The client is asynchronous; each session drives it with a runtime of
//! its own, which runs only while the thread waits for an answer, and every wait has a limit.
//!
//! Between the server and us there may be a pool that hands every transaction to another of its connections. So nothing
//! is left on a connection from one transaction to the next: what values mean is set in each
//! ([`Session::begin`]), statements that are asked once have no name, and a prepared one is closed before its
//! transaction ends.

use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{
    Client, Config, NoTls, Row, Statement,
    types::{ToSql, Type},
};

use super::{Url, url};
use crate::{
    failure::{Exit, Failure},
    jobspec::{self, Retry},
    service::{ClientRuntime, Patience, ServiceError, Tries},
};

/// Grace beyond the server's own limit of a statement, so that it is the server that says why.
const GRACE: Duration = Duration::from_secs(2);

/// COPY data goes to the client in pieces of this size.
const PIECE: usize = 256 << 10;

/// Where to connect, and how patiently.
pub(crate) struct Server {
    config: Config,
    patience: Patience,
    /// Limit of one statement.
    statement_timeout: Duration,
}

impl Server {
    /// The server that `url` names.
    ///
    /// # Errors
    /// The URL cannot be found or understood.
    pub(crate) fn new(
        url: &Url,
        retry: &Retry,
        statement_timeout: jobspec::Duration,
        missing: Exit,
    ) -> Result<Server, Failure> {
        let mut config = url.resolve(&|name| std::env::var(name).ok())?;
        let patience = Patience::new(url::describe(&config), retry, missing);
        let statement_timeout = Patience::limit(statement_timeout);
        config.connect_timeout(patience.timeout()).tcp_user_timeout(statement_timeout + GRACE);
        if config.get_application_name().is_none() {
            config.application_name("runner");
        }
        Ok(Server { config, patience, statement_timeout })
    }

    /// Connects, trying again what can heal.
    ///
    /// # Errors
    /// No attempt succeeded.
    pub(crate) fn connect(&self) -> Result<Session, Failure> {
        self.persist(|| self.try_connect())
    }

    /// Connects, or does not.
    pub(crate) fn try_connect(&self) -> Result<Session, ServiceError> {
        Session::open(self).inspect(|_| self.patience.reached())
    }

    /// Calls until it succeeds, the error is not one that passes, or all attempts are used up.
    ///
    /// # Errors
    /// The last error.
    pub(crate) fn persist<T>(&self, call: impl FnMut() -> Result<T, ServiceError>) -> Result<T, Failure> {
        self.patience.persist(call)
    }

    /// After a try has failed: waits, or gives up.
    ///
    /// # Errors
    /// It was the last one, or the error does not pass.
    pub(crate) fn after(&self, tries: &mut Tries, error: &ServiceError) -> Result<(), Failure> {
        self.patience.after(tries, error)
    }

    /// The failure that an error of this server leads to.
    pub(crate) fn failure(&self, error: &ServiceError) -> Failure {
        self.patience.failure(error)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patience.fmt(f)
    }
}

/// A value for a statement, and the type that it has there.
pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// Why a transaction does not begin.
const NO_CONNECTION_FREE: &str = "a pool before the server may have no connection free, as every worker of a `postgres` \
     stage holds one; give the pool more, or the stages a lower `concurrency`";

/// One open connection.
pub(crate) struct Session {
    runtime: ClientRuntime,
    client: Client,
    limit: Duration,
    /// What every transaction begins with: times are in UTC, floats keep all digits.
    settings: String,
}

impl Session {
    /// Connects once.
    fn open(server: &Server) -> Result<Session, ServiceError> {
        let runtime = ClientRuntime::new()?;
        let connecting = async {
            let (client, connection) = server.config.connect(NoTls).await?;
            // Its end shows as an error of whatever is asked of the client next.
            tokio::spawn(async {
                let _ = connection.await;
            });
            Ok::<_, tokio_postgres::Error>(client)
        };
        let client = runtime.wait(server.patience.timeout(), connecting)?;
        let settings = format!(
            "set local statement_timeout = {}; set local timezone = 'UTC'; set local datestyle = 'ISO, YMD'; \
             set local bytea_output = 'hex'; set local extra_float_digits = 3; \
             set local standard_conforming_strings = on",
            server.statement_timeout.as_millis().max(1),
        );
        Ok(Session { runtime, client, limit: server.statement_timeout + GRACE, settings })
    }

    /// Begins a transaction, in which `also` is run at once: statements, each with a `;` before it.
    pub(crate) fn begin(&self, how: &str, also: &str) -> Result<(), ServiceError> {
        // What the client knows of types it asked by statements that may not be there any more.
        self.client.clear_type_cache();
        let begun = self.run(&format!("begin {how}; {}{also}", self.settings));
        begun.map_err(|error| match error.answered || self.is_closed() {
            true => error,
            // A server begins at once; a pool between makes a client wait until a connection is free.
            false => ServiceError { message: format!("{}: {NO_CONNECTION_FREE}", error.message), ..error },
        })
    }

    /// Is the connection gone?
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements that give no rows.
    pub(crate) fn run(&self, sql: &str) -> Result<(), ServiceError> {
        self.wait(self.client.batch_execute(sql))
    }

    /// Prepares a statement. It is closed when the value is dropped: before the transaction ends.
    pub(crate) fn prepare(&self, sql: &str) -> Result<Statement, ServiceError> {
        self.wait(self.client.prepare(sql))
    }

    /// Runs a statement and takes all its rows.
    pub(crate) fn ask(&self, sql: &str, values: &[Param<'_>]) -> Result<Vec<Row>, ServiceError> {
        self.wait(self.client.query_typed(sql, values))
    }

    /// Runs a statement that gives no rows. Answers with the number of rows that it wrote, as the server counts them.
    pub(crate) fn count(&self, sql: &str, values: &[Param<'_>]) -> Result<u64, ServiceError> {
        self.wait(self.client.execute_typed(sql, values))
    }

    /// Runs `COPY … FROM STDIN` on this text. Answers with the number of rows that the server has stored.
    pub(crate) fn copy(&self, statement: &Statement, text: &Bytes) -> Result<u64, ServiceError> {
        self.wait(async {
            let sink = self.client.copy_in(statement).await?;
            let mut sink = std::pin::pin!(sink);
            let mut start = 0;
            while start < text.len() {
                let end = text.len().min(start + PIECE);
                sink.feed(text.slice(start..end)).await?;
                start = end;
            }
            sink.finish().await
        })
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, ServiceError> {
        self.runtime.wait(self.limit, answer)
    }
}
