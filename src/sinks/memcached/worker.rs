//! One thread's half of the sink: rows of a batch to the lanes of their servers, all lanes at once to the
//! servers, and the servers' answers to an account of every row.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arrow_array::{Array, BinaryViewArray, StringViewArray};

use super::{
    Ack, Shared,
    lane::{Lane, Lost, Trouble, Verdict, push_decimal, verdict},
    sample::Sample,
};
use crate::{
    batch::{Batch, RejectCode, Rejects},
    failure::{Exit, Failure},
    stage::{Mode, Written},
};

/// memcached takes longer keys for a mistake.
const LONGEST_KEY: usize = 250;

/// memcached takes a larger number of seconds for a point in time.
const LONGEST_SPAN: u64 = 30 * 24 * 60 * 60;

/// Lines that a rehearsal shows of every batch.
const SHOWN: usize = 3;

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

/// The values: bytes or text.
#[derive(Clone, Copy)]
pub(super) enum Values<'a> {
    /// Bytes
    Binary(&'a BinaryViewArray),
    /// Text
    Text(&'a StringViewArray),
}

impl<'a> Values<'a> {
    fn get(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Values::Binary(array) => (!array.is_null(row)).then(|| array.value(row)),
            Values::Text(array) => (!array.is_null(row)).then(|| array.value(row).as_bytes()),
        }
    }

    /// A few bytes of a value for people.
    fn show(&self, value: &[u8]) -> String {
        let shown = &value[..value.len().min(16)];
        let more = if value.len() > shown.len() { "…" } else { "" };
        match self {
            Values::Binary(_) => crate::values::hex::text(shown) + more,
            Values::Text(_) => format!("{:?}{more}", String::from_utf8_lossy(shown).trim_end_matches('\u{fffd}')),
        }
    }
}

/// A row that is not sent, and why.
type Refusal = (&'static str, String);

/// One thread's connections and buffers.
pub(super) struct Core {
    shared: Arc<Shared>,
    mode: Mode,
    /// One lane per server, in the order of the servers.
    lanes: Vec<Lane>,
    /// What stands behind the length in every set of a batch.
    options: Vec<u8>,
    sample: Option<Sample>,
}

impl Core {
    /// Buffers without connections: those are made when there is something to send.
    pub(super) fn new(shared: Arc<Shared>, mode: Mode) -> Self {
        let lanes = shared.servers.iter().map(|_| Lane::default()).collect();
        let sample = shared.empty_sample();
        Core { shared, mode, lanes, options: Vec::new(), sample }
    }

    /// Writes the rows of `batch` but those that `skip` names, which are neither sent nor in the answer.
    pub(super) fn write(&mut self, batch: &Batch, rows: Rows<'_>, skip: impl Fn(u32) -> bool) -> Written {
        let mut rejects = Rejects::default();
        let mut written = Written { durable: true, ..Written::default() };
        self.lanes.iter_mut().for_each(Lane::clear);
        self.set_options();
        for row in (0..batch.rows() as u32).filter(|row| !skip(*row)) {
            match self.encode(row, rows) {
                Ok(server) if self.mode == Mode::Rehearse && written.samples.len() < SHOWN => {
                    written.samples.push(self.show(row as usize, rows, server));
                }
                Ok(_) => {}
                Err((code, message)) => rejects.push(batch, row as usize, RejectCode(code), message),
            }
        }
        match self.mode {
            Mode::Rehearse => {
                written.accepted = self.lanes.iter().map(|lane| lane.rows.len() as u64).sum();
                written.bytes = self.lanes.iter().map(Lane::all_bytes).sum();
            }
            Mode::Write => {
                self.deliver();
                self.account(batch, rows, &mut rejects, &mut written);
                written.durable = self.shared.ack == Ack::Batch;
            }
        }
        written.rejects = rejects.take();
        written
    }

    /// Waits for the answer to all that was sent without a barrier, and hands over the sample.
    ///
    /// # Errors
    /// Some of it is not confirmed, or was refused.
    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        if self.mode == Mode::Rehearse {
            return Ok(());
        }
        if let Some(sample) = self.sample.take() {
            self.shared.merge(sample);
        }
        let mut troubles = Vec::new();
        if self.shared.ack == Ack::None {
            for (lane, server) in self.lanes.iter_mut().zip(&self.shared.servers) {
                let Lost { rows, error_lines, why } = lane.confirm(self.shared.retry.timeout.0);
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

    /// Adds a row to the lane of its server, which is returned.
    fn encode(&mut self, row: u32, rows: Rows<'_>) -> Result<usize, Refusal> {
        let at = row as usize;
        let null = |what: &str| ("null_value", format!("`{what}` is null"));
        if rows.keys.is_null(at) {
            return Err(null("key"));
        }
        let key = rows.keys.value(at).as_bytes();
        let value = rows.values.get(at).ok_or_else(|| null("value"))?;
        let server = match rows.routes {
            None => 0,
            Some(routes) if routes.is_null(at) => return Err(null("route")),
            Some(routes) => self.shared.route(routes.value(at)).ok_or_else(|| {
                ("no_route", format!("no server for `route` value `{}`", routes.value(at).escape_debug()))
            })?,
        };
        check_key(key)?;
        if value.len() as u64 > self.shared.max_value_bytes {
            let limit = self.shared.max_value_bytes;
            return Err(("too_large", format!("the value has {} bytes, the limit is {limit}", value.len())));
        }
        self.lanes[server].push(row, key, value, &self.options);
        Ok(server)
    }

    fn show(&self, row: usize, rows: Rows<'_>, server: usize) -> String {
        let value = rows.values.get(row).unwrap_or_default();
        let server = &self.shared.servers[server];
        let (key, bytes, shown) = (rows.keys.value(row), value.len(), rows.values.show(value));
        format!("set {key} → {} ({}), {bytes} bytes: {shown}", server.name, server.address)
    }

    /// Delivers the lanes' parts: in every attempt all are sent before the first answer is waited for, so
    /// that the servers work at the same time.
    fn deliver(&mut self) {
        let shared = Arc::clone(&self.shared);
        let Shared { servers, retry, ack, .. } = &*shared;
        for (lane, server) in self.lanes.iter_mut().zip(servers).filter(|(lane, _)| !lane.rows.is_empty()) {
            lane.trouble = server.down.get().cloned().map(Trouble::Broken);
            lane.open = lane.trouble.is_none();
        }
        let timeout = retry.timeout.0;
        for attempt in 1..=retry.attempts {
            for (lane, server) in self.lanes.iter_mut().zip(servers).filter(|(lane, _)| lane.open) {
                let sent = lane.send(&server.address, timeout, *ack);
                lane.trouble = sent.err().map(|error| Trouble::Broken(error.to_string()));
            }
            for lane in self.lanes.iter_mut().filter(|lane| lane.open) {
                if *ack == Ack::Batch && lane.trouble.is_none() {
                    lane.trouble =
                        lane.collect().map_or_else(|e| Some(Trouble::Broken(e.to_string())), |()| later(lane));
                }
                lane.open = lane.trouble.is_some();
            }
            if !self.lanes.iter().any(|lane| lane.open) {
                return;
            }
            self.after(attempt);
        }
    }

    /// After an attempt that left parts open: says so, then waits, or gives the servers up.
    fn after(&mut self, attempt: u32) {
        let Shared { servers, retry, .. } = &*self.shared;
        let last = attempt == retry.attempts;
        for (lane, server) in self.lanes.iter_mut().zip(servers).filter(|(lane, _)| lane.open) {
            match &mut lane.trouble {
                Some(Trouble::Broken(why)) if last => {
                    let attempts = count(attempt.into(), "attempt");
                    let message = format!("{server} is down, given up after {attempts}: {why}");
                    *why = server.mark_down(message);
                }
                Some(Trouble::Broken(why) | Trouble::Refused(why)) if !last => {
                    tracing::warn!(retries = %server, "{server}, attempt {attempt} of {}: {why}", retry.attempts);
                    // Another worker may have given the server up meanwhile.
                    if let Some(down) = server.down.get() {
                        lane.trouble = Some(Trouble::Broken(down.clone()));
                        lane.open = false;
                    }
                }
                _ => {}
            }
        }
        if !last && self.lanes.iter().any(|lane| lane.open) {
            std::thread::sleep(retry.pause(attempt));
        }
    }

    /// Accounts for every row that was to be sent.
    fn account(&mut self, batch: &Batch, rows: Rows<'_>, rejects: &mut Rejects, written: &mut Written) {
        let Shared { servers, ack, .. } = &*self.shared;
        let mut failures = Vec::new();
        for (index, (lane, server)) in self.lanes.iter().zip(servers).enumerate() {
            if let Some(Trouble::Broken(why)) = &lane.trouble {
                written.failed += lane.rows.len() as u64;
                failures.push(why.clone());
                continue;
            }
            // Without acknowledgement, errors are of rows long gone: commit tells of them.
            let errors = if *ack == Ack::Batch { &lane.replies.errors[..] } else { &[] };
            let (mut failed, mut why) = (0, "");
            for (record, row, error) in lane.answers(errors) {
                match error.map(|error| (verdict(error), error)) {
                    None => {
                        written.accepted += 1;
                        written.bytes += lane.bytes(record);
                        if let Some(sample) = &mut self.sample {
                            sample.wrote(index, rows.keys.value(row), rows.values.get(row).unwrap_or_default());
                        }
                    }
                    Some((Verdict::Reject(code), line)) => {
                        rejects.push(batch, row, RejectCode(code), format!("{server} answers `{line}`"));
                    }
                    Some((_, line)) => (failed, why) = (failed + 1, line),
                }
            }
            if failed > 0 {
                written.failed += failed;
                let (rows, attempts) = (count(failed, "row"), count(lane.attempts.into(), "attempt"));
                failures.push(format!("{server} has not stored {rows} after {attempts}: `{why}`"));
            }
        }
        if written.failed > 0 {
            written.failure = Some(Failure::new(Exit::Unavailable, failures.join("; ")));
        }
    }
}

/// `1 row`, `2 rows`.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The trouble with a part of which the server may store more later.
fn later(lane: &Lane) -> Option<Trouble> {
    let error = lane.replies.errors.iter().find(|error| verdict(&error.line) == Verdict::Later)?;
    Some(Trouble::Refused(error.line.clone()))
}

/// What memcached takes for a key: no space, no control character, 1 to 250 bytes.
fn check_key(key: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err(("bad_key", "the key is empty".to_owned()));
    }
    if key.len() > LONGEST_KEY {
        return Err(("bad_key", format!("the key has {} bytes, the limit is {LONGEST_KEY}", key.len())));
    }
    if key.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        let message = format!("the key `{}` has a space or control character in it", key.escape_ascii());
        return Err(("bad_key", message));
    }
    Ok(())
}
