//! The sample of a run that `verify` reads back, and what the share found says of the whole.
//!
//! Keys are sampled, not writes: every key has a fixed random number, and the keys with the smallest
//! numbers are the sample. So a key that is written again is recognised wherever it comes from, samples of
//! several workers merge into an exact sample of all, and every write to a sampled key has been seen from
//! the first on. One worker's writes reach a server in order, therefore what a server holds in the end is
//! the last value of one of the workers: those are kept, as hashes, and any of them counts as found.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use memcache::{Client, MemcacheError};

use super::{Retry, Server, worker::count};
use crate::{
    failure::{Exit, Failure},
    stage::Verified,
};

/// At most so many keys and bytes of values are asked for at once.
const ASK_KEYS: usize = 100;
const ASK_BYTES: usize = 4 << 20;

/// One key of the sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sampled {
    /// The server's place among the servers.
    pub(super) server: usize,
    /// The key.
    pub(super) key: Box<str>,
    /// Hashes of the values it may have now: the last one of each worker.
    values: Vec<u64>,
    /// Length of the longest of these values.
    bytes: usize,
}

/// A bounded sample of the keys written.
#[derive(Debug)]
pub(super) struct Sample {
    limit: usize,
    random: RandomState,
    /// By the key's random number.
    keys: BTreeMap<u64, Sampled>,
}

impl Sample {
    /// An empty sample of at most `limit` keys. Samples that are to be merged need the same `random`.
    pub(super) fn new(limit: usize, random: RandomState) -> Self {
        Sample { limit, random, keys: BTreeMap::new() }
    }

    /// A key has been written. Nothing is allocated unless it is in the sample.
    pub(super) fn wrote(&mut self, server: usize, key: &str, value: &[u8]) {
        let number = self.random.hash_one((server, key));
        if self.keys.len() == self.limit && self.keys.last_key_value().is_none_or(|(last, _)| number > *last) {
            return;
        }
        let hash = self.random.hash_one(value);
        let sampled = self.keys.entry(number).or_insert_with(|| Sampled {
            server,
            key: key.into(),
            values: Vec::with_capacity(1),
            bytes: 0,
        });
        sampled.values.clear();
        sampled.values.push(hash);
        sampled.bytes = value.len();
        self.trim();
    }

    /// Adds another worker's sample.
    pub(super) fn merge(&mut self, other: Sample) {
        for (number, sampled) in other.keys {
            match self.keys.entry(number) {
                Entry::Vacant(place) => {
                    place.insert(sampled);
                }
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    known.values.extend(sampled.values);
                    known.bytes = known.bytes.max(sampled.bytes);
                }
            }
        }
        while self.keys.len() > self.limit {
            self.keys.pop_last();
        }
    }

    /// Reads the sample back from `servers`. One that was given up while writing is not asked: the run has
    /// failed because of it, and every attempt would take its whole time.
    ///
    /// # Errors
    /// A server cannot be read, after all attempts.
    pub(super) fn verify(&self, servers: &[Server], retry: &Retry) -> Result<Verified, Failure> {
        let (mut found, mut checked) = (0, 0);
        for (index, server) in servers.iter().enumerate().filter(|(_, server)| server.down.get().is_none()) {
            let keys: Vec<&Sampled> = self.keys.values().filter(|sampled| sampled.server == index).collect();
            if !keys.is_empty() {
                found += self.found_with_retries(server, &keys, retry)?;
                checked += keys.len() as u64;
            }
        }
        let (low, high) = wilson(found, checked);
        Ok(Verified { checked, found, low, high })
    }

    fn found_with_retries(&self, server: &Server, keys: &[&Sampled], retry: &Retry) -> Result<u64, Failure> {
        let mut attempt = 1;
        loop {
            match self.found(server, keys, retry.timeout.0) {
                Ok(found) => return Ok(found),
                Err(error) if attempt >= retry.attempts => {
                    let message = format!("cannot verify {server} after {}: {error}", count(attempt.into(), "attempt"));
                    return Err(Failure::new(Exit::Unavailable, message));
                }
                Err(error) => {
                    tracing::warn!(retries = %server, "verifying {server}, attempt {attempt} of {}: {error}", retry.attempts);
                    thread::sleep(retry.pause(attempt));
                    attempt += 1;
                }
            }
        }
    }

    /// How many of `keys` a server has with a value that was written.
    fn found(&self, server: &Server, mut keys: &[&Sampled], timeout: Duration) -> Result<u64, MemcacheError> {
        let mut questions = Vec::new();
        while !keys.is_empty() {
            let (asked, rest) = keys.split_at(one_question(keys));
            questions.push(asked);
            keys = rest;
        }
        let names = questions.iter().map(|asked| asked.iter().map(|sampled| sampled.key.to_string()).collect());
        let answers = ask(server.address.clone(), timeout, names.collect());
        let mut found = 0;
        for asked in questions {
            let values = match answers.recv_timeout(timeout) {
                Ok(values) => values?,
                Err(_) => return Err(io::Error::new(ErrorKind::TimedOut, "no answer within the timeout").into()),
            };
            found += asked.iter().filter(|sampled| self.matches(sampled, &values)).count() as u64;
        }
        Ok(found)
    }

    fn matches(&self, sampled: &Sampled, values: &HashMap<String, Vec<u8>>) -> bool {
        let value = values.get(&*sampled.key).map(|value| self.random.hash_one(&value[..]));
        value.is_some_and(|hash| sampled.values.contains(&hash))
    }

    fn trim(&mut self) {
        if self.keys.len() > self.limit {
            self.keys.pop_last();
        }
    }
}

/// How many of `keys` to ask for at once.
fn one_question(keys: &[&Sampled]) -> usize {
    let mut bytes = 0;
    let fits = keys.iter().take(ASK_KEYS).take_while(|sampled| {
        bytes += sampled.bytes;
        bytes <= ASK_BYTES
    });
    fits.count().max(1)
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

/// The 95 % interval of a share, after Wilson: unlike the usual one it holds for shares close to 0 and 1.
fn wilson(found: u64, checked: u64) -> (f64, f64) {
    if checked == 0 {
        return (0.0, 1.0);
    }
    const Z: f64 = 1.959_963_984_540_054;
    let (n, p) = (checked as f64, found as f64 / checked as f64);
    let scale = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_known_intervals() {
        let cases = [
            ((95, 100), (0.8882, 0.9785)),
            ((100, 100), (0.9630, 1.0)),
            ((0, 10), (0.0, 0.2775)),
            ((1, 1), (0.2065, 1.0)),
            ((0, 0), (0.0, 1.0)),
        ];
        for ((found, checked), (low, high)) in cases {
            let (l, h) = wilson(found, checked);
            assert!((l - low).abs() < 5e-5 && (h - high).abs() < 5e-5, "{found} of {checked}: {l} to {h}");
        }
    }

    fn keys(sample: &Sample) -> Vec<&str> {
        sample.keys.values().map(|sampled| &*sampled.key).collect()
    }

    #[test]
    fn merged_samples_are_the_sample_of_all() {
        let random = RandomState::new();
        let [mut one, mut two, mut all] = [(); 3].map(|()| Sample::new(10, random.clone()));
        for i in 0..1000 {
            let key = format!("k{i}");
            all.wrote(0, &key, b"v");
            if i % 3 > 0 { one.wrote(0, &key, b"v") } else { two.wrote(0, &key, b"v") }
        }
        one.merge(two);
        assert_eq!(keys(&one), keys(&all));
        assert_eq!(keys(&one).len(), 10);
    }

    #[test]
    fn all_keys_are_sampled_alike() {
        let mut hits = [0_u32; 4];
        for _ in 0..400 {
            let mut sample = Sample::new(10, RandomState::new());
            (0..40).for_each(|i| sample.wrote(i / 10, &format!("k{i}"), b"v"));
            sample.keys.values().for_each(|sampled| hits[sampled.server] += 1);
        }
        // 1,000 expected in each quarter, standard deviation below 30.
        assert!(hits.iter().all(|hits| (850..1150).contains(hits)), "{hits:?}");
    }

    #[test]
    fn a_key_keeps_the_last_value_of_each_worker() {
        let random = RandomState::new();
        let [mut one, mut two] = [(); 2].map(|()| Sample::new(5, random.clone()));
        one.wrote(0, "k", b"old");
        one.wrote(0, "k", b"new");
        two.wrote(0, "k", b"other");
        one.merge(two);
        let held = |value: &[u8]| {
            let values = HashMap::from([("k".to_owned(), value.to_vec())]);
            one.keys.values().all(|sampled| one.matches(sampled, &values))
        };
        assert!(held(b"new") && held(b"other") && !held(b"old"));
    }

    #[test]
    fn questions_are_bounded_by_keys_and_bytes() {
        let sampled = |bytes| Sampled { server: 0, key: "k".into(), values: vec![], bytes };
        for (bytes, expected) in [(1, ASK_KEYS), (ASK_BYTES / 2, 2), (ASK_BYTES + 1, 1)] {
            let all: Vec<Sampled> = (0..200).map(|_| sampled(bytes)).collect();
            assert_eq!(one_question(&all.iter().collect::<Vec<_>>()), expected);
        }
    }
}
