//! One connection, owned by one thread. The client is asynchronous; each session drives it with a runtime of
//! its own, which runs only while the thread waits for an answer, and every wait has a limit.

use std::{fmt, future::Future, thread, time::Duration};

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, NoTls, Row, Statement, types::ToSql};

use super::{Nature, Trouble, Url, url};
use crate::{
    failure::{Exit, Failure},
    jobspec::{self, Retry},
};

/// Grace beyond the server's own limit of a statement, so that it is the server that says why.
const GRACE: Duration = Duration::from_secs(2);

/// COPY data goes to the client in pieces of this size.
const PIECE: usize = 256 << 10;

/// Where to connect, and how patiently.
pub(crate) struct Server {
    config: Config,
    /// How often and how patiently.
    pub(crate) retry: Retry,
    /// Limit of one statement.
    statement_timeout: Duration,
    /// The exit code for what is not there.
    missing: Exit,
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
        let limit = |wait: Duration| wait.clamp(Duration::from_millis(1), Retry::LONGEST_WAIT);
        let retry = Retry {
            attempts: retry.attempts.max(1),
            backoff: retry.backoff,
            timeout: jobspec::Duration(limit(retry.timeout.0)),
        };
        config.connect_timeout(retry.timeout.0).tcp_user_timeout(limit(statement_timeout.0) + GRACE);
        if config.get_application_name().is_none() {
            config.application_name("runner");
        }
        Ok(Server { config, retry, statement_timeout: limit(statement_timeout.0), missing })
    }

    /// Connects, trying again what can heal.
    ///
    /// # Errors
    /// No attempt succeeded.
    pub(crate) fn connect(&self) -> Result<Session, Failure> {
        self.persist(|| self.try_connect())
    }

    /// Connects, or does not.
    pub(crate) fn try_connect(&self) -> Result<Session, Trouble> {
        Session::open(self)
    }

    /// Calls until it succeeds, the trouble cannot heal, or all attempts are used up.
    ///
    /// # Errors
    /// The last trouble.
    pub(crate) fn persist<T>(&self, mut call: impl FnMut() -> Result<T, Trouble>) -> Result<T, Failure> {
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
    pub(crate) fn after(&self, attempt: u32, trouble: &Trouble) -> Result<(), Failure> {
        if trouble.nature != Nature::Heals {
            return Err(self.failure(trouble));
        }
        if attempt >= self.retry.attempts {
            let plural = if attempt == 1 { "" } else { "s" };
            return Err(trouble.failure(self.missing, &format!("{self}, given up after {attempt} attempt{plural}")));
        }
        tracing::warn!(retries = %self, "{self}, attempt {attempt} of {}: {}", self.retry.attempts, trouble.message);
        thread::sleep(self.retry.pause(attempt));
        Ok(())
    }

    /// The failure that trouble with this server leads to.
    pub(crate) fn failure(&self, trouble: &Trouble) -> Failure {
        trouble.failure(self.missing, &self.to_string())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&url::describe(&self.config))
    }
}

/// One open connection.
pub(crate) struct Session {
    runtime: Runtime,
    client: Client,
    limit: Duration,
}

impl Session {
    /// Connects once, and sets what values mean here: times are in UTC, floats keep all digits.
    fn open(server: &Server) -> Result<Session, Trouble> {
        let broken = |error: std::io::Error| Trouble::silent(Nature::Broken, error.to_string());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(broken)?;
        let connecting = async {
            let (client, connection) = server.config.connect(NoTls).await?;
            // Its end shows as an error of whatever is asked of the client next.
            tokio::spawn(async {
                let _ = connection.await;
            });
            Ok(client)
        };
        let client = wait(&runtime, server.retry.timeout.0, connecting)?;
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
    pub(crate) fn run(&self, sql: &str) -> Result<(), Trouble> {
        self.wait(self.client.batch_execute(sql))
    }

    /// Prepares a statement.
    pub(crate) fn prepare(&self, sql: &str) -> Result<Statement, Trouble> {
        self.wait(self.client.prepare(sql))
    }

    /// Runs a prepared statement and takes all its rows.
    pub(crate) fn query(&self, statement: &Statement, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Trouble> {
        self.wait(self.client.query(statement, values))
    }

    /// Prepares and runs a statement that is asked once.
    pub(crate) fn ask(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Trouble> {
        self.wait(self.client.query(sql, values))
    }

    /// Runs `COPY … FROM STDIN` on this text.
    pub(crate) fn copy(&self, statement: &Statement, text: &Bytes) -> Result<(), Trouble> {
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

    fn wait<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Trouble> {
        wait(&self.runtime, self.limit, answer)
    }
}

/// Drives the client until the answer is there, but no longer than `limit`.
fn wait<T>(
    runtime: &Runtime,
    limit: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Trouble> {
    // The timer must be made inside the runtime that drives it.
    match runtime.block_on(async { tokio::time::timeout(limit, answer).await }) {
        Ok(answer) => answer.map_err(Trouble::from),
        Err(_) => Err(Trouble::silent(Nature::Heals, "no answer within the timeout")),
    }
}
