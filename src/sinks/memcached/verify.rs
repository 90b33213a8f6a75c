//! Reads the sample of a run back from the servers.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    sync::{
        PoisonError,
        atomic::Ordering,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use memcache::{Client, MemcacheError};

use super::{
    identity::Identities,
    server::{Server, Shared},
    stream::MetaStream,
};
use crate::{
    failure::{Exit, Failure},
    jobspec::Retry,
    service::{Patience, Sample, Sampled, ServiceError, count, questions, verified},
    stage::{Attempt, Verified},
};

/// Reads the sample back, if the spec asks for it or a server has pushed values out. A server that was given up while
/// writing is not asked: the run has failed because of it, and every attempt would take its whole time.
///
/// # Errors
/// A server cannot be read, after all attempts.
pub(super) fn verify(shared: &Shared) -> Result<Option<Verified>, Failure> {
    let Shared { servers, retry, sample, .. } = shared;
    if shared.verify.is_none() && shared.pushed_out.load(Ordering::Relaxed) == 0 {
        return Ok(None);
    }
    let sample = sample.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(sample) = &*sample else { return Ok(None) };
    let (mut all_found, mut checked) = (0, 0);
    for (index, server) in servers.iter().enumerate().filter(|(_, server)| server.patience.down().is_none()) {
        let keys = sample.of(index);
        if !keys.is_empty() {
            all_found += found_with_retries(sample, server, &keys, retry)?;
            checked += keys.len() as u64;
        }
    }
    Ok(Some(verified(all_found, checked, shared.verification().min.0)))
}

fn found_with_retries(sample: &Sample, server: &Server, keys: &[&Sampled], retry: &Retry) -> Result<u64, Failure> {
    let patience = Patience::new(format!("cannot verify {server}"), retry, Exit::InputMissing);
    patience.reached();
    let lost = |error: MemcacheError| ServiceError::lost(error.to_string());
    patience.persist(|| found(sample, server, keys, patience.timeout()).map_err(lost))
}

impl Shared {
    /// Asks every server that took rows in this run whether it still holds them; before an attempt at a run that is
    /// resumed, which `attempt` is then, and at the end. Values that a server has pushed out to make room may be anybody's:
    /// a sample tells of those that this attempt has stored. No sample tells of an earlier attempt's: they count as lost.
    ///
    /// # Errors
    /// A server does not answer.
    pub(super) fn check(&self, attempt: Option<&Attempt>) -> Result<Option<String>, Failure> {
        if let Some(loss) = self.identities.lost() {
            return Ok(Some(loss));
        }
        let met = match attempt {
            Some(attempt) => Identities::of(attempt)?,
            None => self.identities.met(),
        };
        for server in self.servers.iter().filter(|server| server.patience.down().is_none()) {
            let Some(first) = met.get(&server.address) else { continue };
            let patience = &server.patience;
            let now = patience.persist(|| {
                let opened = MetaStream::open(&server.address, Instant::now() + patience.timeout());
                opened.map(|stream| stream.identity()).map_err(ServiceError::from)
            })?;
            if let Some(loss) = first.lost(&now, attempt.is_some() || self.identities.is_resumed()) {
                return Ok(Some(format!("{server} {loss}")));
            }
            let values = now.evictions.saturating_sub(first.evictions);
            if values > 0 {
                tracing::warn!(
                    "{server} has pushed {} out to make room: a sample is read back",
                    count(values, "value")
                );
                self.pushed_out.fetch_add(values, Ordering::Relaxed);
            }
        }
        Ok(None)
    }
}

/// How many of `keys` a server has with a value that was written.
fn found(sample: &Sample, server: &Server, keys: &[&Sampled], timeout: Duration) -> Result<u64, MemcacheError> {
    let questions = questions(keys);
    let names = questions.iter().map(|asked| asked.iter().map(|sampled| sampled.key.to_string()).collect());
    let answers = ask(server.address.clone(), timeout, names.collect());
    let holds = |values: &HashMap<String, Vec<u8>>, sampled: &Sampled| {
        values.get(&*sampled.key).is_some_and(|value| sample.matches(sampled, value))
    };
    let mut found = 0;
    for asked in questions {
        let values = match answers.recv_timeout(timeout) {
            Ok(values) => values?,
            Err(_) => return Err(io::Error::new(ErrorKind::TimedOut, "no answer within the timeout").into()),
        };
        found += asked.iter().filter(|sampled| holds(&values, sampled)).count() as u64;
    }
    Ok(found)
}

/// What a server has under some keys, or why it does not say.
type Answer = Result<HashMap<String, Vec<u8>>, MemcacheError>;

/// Asks a server for the values of each list of keys. The client knows a timeout for each read only, which a
/// server that trickles never meets: so it asks on a thread of its own, and the receiver need not wait for it.
fn ask(address: String, timeout: Duration, questions: Vec<Vec<String>>) -> Receiver<Answer> {
    let (sender, answers) = mpsc::channel();
    thread::spawn(move || {
        let client = match client(&address, timeout) {
            Ok(client) => client,
            // A receiver that is gone has seen its timeout.
            Err(error) => return sender.send(Err(error)).unwrap_or_default(),
        };
        for keys in questions {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            if sender.send(client.gets(&keys)).is_err() {
                return;
            }
        }
    });
    answers
}

/// A client of another make, so that our own mistakes do not confirm themselves.
fn client(address: &str, timeout: Duration) -> Result<Client, MemcacheError> {
    let url = format!("memcache://{address}?protocol=ascii&timeout={}", timeout.as_secs_f64());
    Client::builder().add_server(url)?.with_connection_timeout(timeout).with_read_timeout(timeout).build()
}
