//! One connection, owned by one thread. The client is asynchronous; each session drives it with a runtime of
//! its own, which runs only while the thread waits for an answer, and every wait has a limit.

use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{Client, Config, NoTls, Row, Statement, types::ToSql};

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

/// One open connection.
pub(crate) struct Session {
    runtime: ClientRuntime,
    client: Client,
    limit: Duration,
}

impl Session {
    /// Connects once, and sets what values mean here: times are in UTC, floats keep all digits.
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
        let session = Session { runtime, client, limit: server.statement_timeout + GRACE };
        session.run(&format!(
            "set statement_timeout = {}; set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set bytea_output = 'hex'; \
             set extra_float_digits = 3; set standard_conforming_strings = on",
            server.statement_timeout.as_millis().max(1),
        ))?;
        Ok(session)
    }

    /// Is the connection gone?
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements that give no rows.
    pub(crate) fn run(&self, sql: &str) -> Result<(), ServiceError> {
        self.wait(self.client.batch_execute(sql))
    }

    /// Prepares a statement.
    pub(crate) fn prepare(&self, sql: &str) -> Result<Statement, ServiceError> {
        self.wait(self.client.prepare(sql))
    }

    /// Runs a prepared statement and takes all its rows.
    pub(crate) fn query(
        &self,
        statement: &Statement,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ServiceError> {
        self.wait(self.client.query(statement, values))
    }

    /// Prepares and runs a statement that is asked once.
    pub(crate) fn ask(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, ServiceError> {
        self.wait(self.client.query(sql, values))
    }

    /// Runs `COPY … FROM STDIN` on this text.
    pub(crate) fn copy(&self, statement: &Statement, text: &Bytes) -> Result<(), ServiceError> {
        self.wait(async {
            let sink = self.client.copy_in(statement).await?;
            let mut sink = std::pin::pin!(sink);
            let mut start = 0;
            while start < text.len() {
                let end = text.len().min(start + PIECE);
                sink.feed(text.slice(start..end)).await?;
                start = end;
            }
            sink.finish().await.map(|_| ())
        })
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, ServiceError> {
        self.runtime.wait(self.limit, answer)
    }
}
