//! One thread's half of the sink: rows of a batch to the connections of their servers, all connections at once to
//! the servers, and the servers' answers to an account of every row.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arrow_array::{Array, StringViewArray};

use super::{
    connection::{Connection, Lost, push_decimal},
    server::{Ack, Shared},
};
use crate::{
    batch::{Batch, RejectCode, Rejects},
    failure::{Exit, Failure},
    keyed::{self, Refusal, Values},
    service::{Sample, ServiceError, count, rest},
    stage::{Mode, Written},
};

/// memcached takes longer keys for a mistake.
const LONGEST_KEY: usize = 250;

/// memcached takes a larger number of seconds for a point in time.
const LONGEST_SPAN: u64 = 30 * 24 * 60 * 60;

/// The columns of a batch that a record is made of.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// Keys.
    pub(super) keys: &'a StringViewArray,
    /// Values.
    pub(super) values: Values<'a>,
    /// Names of servers; where there is but one server they may be absent.
    pub(super) routes: Option<&'a StringViewArray>,
}

/// One thread's connections and buffers.
pub(super) struct Core {
    shared: Arc<Shared>,
    mode: Mode,
    /// One per server, in the order of the servers.
    connections: Vec<Connection>,
    /// What stands behind the length in every set of a batch.
    options: Vec<u8>,
    sample: Sample,
}

impl Core {
    /// Buffers without connections: those are made when there is something to send.
    pub(super) fn new(shared: Arc<Shared>, mode: Mode) -> Self {
        let connections = shared.servers.iter().map(|_| Connection::default()).collect();
        let sample = shared.empty_sample();
        Core { shared, mode, connections, options: Vec::new(), sample }
    }

    /// Writes the rows of `batch` but those that `skip` names, which are neither sent nor in the answer.
    ///
    /// # Errors
    /// A server has lost what it held: there is no use in going on.
    pub(super) fn write(
        &mut self,
        batch: &Batch,
        rows: Rows<'_>,
        skip: impl Fn(usize) -> bool,
    ) -> Result<Written, Failure> {
        let mut rejects = Rejects::default();
        let mut written = Written { durable: true, ..Written::default() };
        self.connections.iter_mut().for_each(Connection::clear);
        self.set_options();
        for row in (0..batch.rows()).filter(|row| !skip(*row)) {
            match self.encode(row, rows) {
                Ok(server) if self.mode == Mode::Rehearse && written.samples.len() < Written::SAMPLES => {
                    written.samples.push(self.show(row, rows, server));
                }
                Ok(_) => {}
                Err((code, message)) => rejects.push(batch, row, code, message),
            }
        }
        match self.mode {
            Mode::Rehearse => {
                written.accepted = self.connections.iter().map(|connection| connection.requests.len() as u64).sum();
                written.bytes = self.connections.iter().map(|connection| connection.requests.bytes()).sum();
            }
            Mode::Write => {
                // A server that has lost what it held takes what comes: the last check tells, and all is sent again.
                self.deliver()?;
                self.account(batch, rows, &mut rejects, &mut written);
                written.durable = self.shared.ack == Ack::Batch;
            }
        }
        written.rejects = rejects.take();
        Ok(written)
    }

    /// Waits for the answer to all that was sent without a barrier, and hands over the sample.
    ///
    /// # Errors
    /// Some of it is not confirmed, or was refused.
    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        if self.mode == Mode::Rehearse {
            return Ok(());
        }
        self.shared.merge(std::mem::replace(&mut self.sample, self.shared.empty_sample()));
        let mut troubles = Vec::new();
        if self.shared.ack == Ack::None {
            for (connection, server) in self.connections.iter_mut().zip(&self.shared.servers) {
                let Lost { rows, error_lines, why } = connection.confirm(server.patience.timeout());
                let why = why.unwrap_or_default();
                if rows > 0 {
                    let rows = count(rows, "row");
                    troubles.push(format!("{server}: {rows} sent since the last barrier unconfirmed: {why}"));
                }
                if error_lines > 0 {
                    let errors = count(error_lines, "error");
                    troubles.push(format!("{server}: {errors} in answer to unacknowledged rows: {why}"));
                }
            }
        }
        match troubles.is_empty() {
            true => Ok(()),
            false => Err(Failure::new(Exit::Unavailable, troubles.join("; "))),
        }
    }

    /// Makes what stands behind the length: quiet, flags, time to live.
    fn set_options(&mut self) {
        self.options.clear();
        self.options.extend_from_slice(b" q");
        if self.shared.flags > 0 {
            self.options.extend_from_slice(b" F");
            push_decimal(&mut self.options, u64::from(self.shared.flags));
        }
        if self.shared.expire > 0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            let start = if self.shared.expire > LONGEST_SPAN { now } else { 0 };
            self.options.extend_from_slice(b" T");
            push_decimal(&mut self.options, start + self.shared.expire);
        }
        self.options.extend_from_slice(b"\r\n");
    }

    /// Adds a row to the connection of its server, which is returned.
    fn encode(&mut self, row: usize, rows: Rows<'_>) -> Result<usize, Refusal> {
        let key = keyed::key(rows.keys, row)?.as_bytes();
        let value = keyed::value(rows.values, row)?;
        let server = match (rows.routes, &self.shared.ring) {
            (_, Some(ring)) => ring.server(key),
            (None, None) => 0,
            (Some(routes), None) if routes.is_null(row) => return Err(keyed::null("route")),
            (Some(routes), None) => self.shared.route(routes.value(row)).ok_or_else(|| {
                let message = format!("no server for `route` value `{}`", routes.value(row).escape_debug());
                (RejectCode("no_route"), message)
            })?,
        };
        check_key(key)?;
        if value.len() as u64 > self.shared.max_value_bytes {
            let limit = self.shared.max_value_bytes;
            return Err((
                RejectCode("too_large"),
                format!("the value has {} bytes, the limit is {limit}", value.len()),
            ));
        }
        self.connections[server].push(row, key, value, &self.options);
        Ok(server)
    }

    fn show(&self, row: usize, rows: Rows<'_>, server: usize) -> String {
        let value = rows.values.get(row).unwrap_or_default();
        let server = &self.shared.servers[server];
        let (key, bytes, shown) = (rows.keys.value(row), value.len(), rows.values.show(value));
        let to = match self.shared.ring {
            None => format!("{} ({})", server.name, server.address),
            Some(_) => server.address.to_string(),
        };
        format!("set {key} → {to}, {bytes} bytes: {shown}")
    }

    /// Delivers the parts: in every attempt all are sent before the first answer is waited for, so that the servers
    /// work at the same time.
    fn deliver(&mut self) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let Shared { servers, ack, .. } = &*shared;
        let ready = shared.access.ready()?;
        let used = self.connections.iter_mut().zip(servers).filter(|(connection, _)| !connection.requests.is_empty());
        for (connection, server) in used {
            connection.error = server.patience.down().map(|down| ServiceError::lost(&*down.message));
            connection.open = connection.error.is_none();
        }
        loop {
            let open = self.connections.iter_mut().zip(servers).filter(|(connection, _)| connection.open);
            for (connection, server) in open {
                connection.error = connection.send(&server.address, ready, server.patience.timeout(), *ack).err();
                if let Some(now) = connection.met.take() {
                    server.patience.reached();
                    shared.identities.meet(&server.to_string(), server.address.text(), now)?;
                }
            }
            for connection in self.connections.iter_mut().filter(|connection| connection.open) {
                if *ack == Ack::Batch && connection.error.is_none() {
                    connection.error = connection.collect().err();
                }
                connection.open = connection.error.is_some();
            }
            match self.after() {
                Some(pause) => rest(pause),
                None => return Ok(()),
            }
        }
    }

    /// After an attempt: gives servers up where that was the last one. Answers how long to wait before the next, where
    /// parts are still open.
    fn after(&mut self) -> Option<Duration> {
        let Shared { servers, .. } = &*self.shared;
        let mut next: Option<Duration> = None;
        for (connection, server) in self.connections.iter_mut().zip(servers).filter(|(connection, _)| connection.open) {
            let Some(error) = &mut connection.error else { continue };
            let pause = server.patience.pause(&mut connection.tries, error);
            connection.open = pause.is_some();
            if let Some(down) = server.patience.down() {
                // Another worker has given the server up meanwhile.
                *error = ServiceError::lost(&*down.message);
                connection.open = false;
            } else if let Some(pause) = pause {
                next = Some(next.map_or(pause, |next| next.min(pause)));
            } else if !error.answered {
                error.message = server.patience.give_up(&connection.tries, error).message;
            }
        }
        next
    }

    /// Accounts for every row that was to be sent.
    fn account(&mut self, batch: &Batch, rows: Rows<'_>, rejects: &mut Rejects, written: &mut Written) {
        let (mut failures, mut exit) = (Vec::new(), Exit::Unavailable);
        for (index, (connection, server)) in self.connections.iter().zip(&self.shared.servers).enumerate() {
            let before = written.failed;
            let why = connection.requests.account(server, batch, rejects, written, |row| {
                self.sample.wrote(index, rows.keys.value(row), rows.values.get(row).unwrap_or_default());
            });
            let failed = written.failed - before;
            match (&connection.error, why) {
                (Some(error), _) if !error.answered => {
                    failures.push(error.message.clone());
                    // What only a change of the spec or the server can mend counts for more than a server that is away.
                    exit = server
                        .patience
                        .down()
                        .map_or(exit, |down| if exit == Exit::Unavailable { down.exit } else { exit });
                }
                (_, Some(why)) => {
                    let (rows, attempts) = (count(failed, "row"), count(connection.attempts.into(), "attempt"));
                    failures.push(format!("{server} has not stored {rows} after {attempts}: `{}`", why.message));
                }
                _ => {}
            }
        }
        if written.failed > 0 {
            written.failure = Some(Failure::new(exit, failures.join("; ")));
        }
    }
}

/// The key is one that memcached does not take.
const BAD_KEY: RejectCode = RejectCode("bad_key");

/// What memcached takes for a key: no space, no control character, 1 to 250 bytes.
fn check_key(key: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err((BAD_KEY, "the key is empty".to_owned()));
    }
    if key.len() > LONGEST_KEY {
        return Err((BAD_KEY, format!("the key has {} bytes, the limit is {LONGEST_KEY}", key.len())));
    }
    if key.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        let message = format!("the key `{}` has a space or control character in it", key.escape_ascii());
        return Err((BAD_KEY, message));
    }
    Ok(())
}
