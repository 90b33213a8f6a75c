//! Reads the sample of a run back from the servers.

use std::{
    io,
    sync::{PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    access::Ready,
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
            all_found += found_with_retries(sample, (server, shared.access.ready()?), &keys, retry)?;
            checked += keys.len() as u64;
        }
    }
    Ok(Some(verified(all_found, checked, shared.verification().min.0)))
}

fn found_with_retries(
    sample: &Sample,
    (server, ready): (&Server, &Ready),
    keys: &[&Sampled],
    retry: &Retry,
) -> Result<u64, Failure> {
    let patience = Patience::new(format!("cannot verify {server}"), retry, Exit::InputMissing);
    patience.reached();
    patience.persist(|| found(sample, (server, ready), keys, patience.timeout()).map_err(ServiceError::from))
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
            Some(attempt) => match Identities::of(attempt)? {
                Some(met) => met,
                None => return Ok(Some(format!("which servers run {} has met is not known any more", attempt.run))),
            },
            None => self.identities.met(),
        };
        for server in self.servers.iter().filter(|server| server.patience.down().is_none()) {
            let Some(first) = met.get(server.address.text()) else { continue };
            let patience = &server.patience;
            let ready = self.access.ready()?;
            let now = patience.persist(|| {
                let opened = MetaStream::open(&server.address, ready, Instant::now() + patience.timeout());
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

/// How many of `keys` a server has with a value that was written. No question takes longer than `timeout`.
fn found(sample: &Sample, (server, ready): (&Server, &Ready), keys: &[&Sampled], timeout: Duration) -> io::Result<u64> {
    let mut stream = MetaStream::open_to_read_back(&server.address, ready, Instant::now() + timeout)?;
    let mut found = 0;
    for asked in questions(keys) {
        stream.until(Instant::now() + timeout);
        let names: Vec<&str> = asked.iter().map(|sampled| &*sampled.key).collect();
        let values = stream.get(&names)?;
        let holds = |sampled: &&&Sampled| values.get(&*sampled.key).is_some_and(|value| sample.matches(sampled, value));
        found += asked.iter().filter(holds).count() as u64;
    }
    Ok(found)
}
