//! The sample of a run that a sink reads back to verify it, and what the share found says of the whole.
//!
//! Keys are sampled, not writes: every key has a fixed random number, and the keys with the smallest
//! numbers are the sample. So a key that is written again is recognised wherever it comes from, samples of
//! several workers merge into an exact sample of all, and every write to a sampled key has been seen from
//! the first on. One worker's writes reach a server in order, therefore what a server holds in the end is
//! the last value of one of the workers: those are kept, as hashes, and any of them counts as found.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    hash::{BuildHasher, RandomState},
};

use crate::stage::Verified;

/// At most so many keys and bytes of values are asked for at once.
const ASK_KEYS: usize = 100;
const ASK_BYTES: usize = 4 << 20;

/// One key of the sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sampled {
    /// The server's place among the servers.
    server: usize,
    /// The key.
    pub(crate) key: Box<str>,
    /// Hashes of the values it may have now: the last one of each worker.
    values: Vec<u64>,
    /// Length of the longest of these values.
    bytes: usize,
}

/// A bounded sample of the keys written.
#[derive(Debug)]
pub(crate) struct Sample {
    limit: usize,
    random: RandomState,
    /// By the key's random number.
    keys: BTreeMap<u64, Sampled>,
}

impl Sample {
    /// An empty sample of at most `limit` keys. Samples that are to be merged need the same `random`.
    pub(crate) fn new(limit: usize, random: RandomState) -> Self {
        Sample { limit, random, keys: BTreeMap::new() }
    }

    /// A key has been written. Nothing is allocated unless it is in the sample.
    pub(crate) fn wrote(&mut self, server: usize, key: &str, value: &[u8]) {
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
    pub(crate) fn merge(&mut self, other: Sample) {
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

    /// The sampled keys of a server.
    pub(crate) fn of(&self, server: usize) -> Vec<&Sampled> {
        self.keys.values().filter(|sampled| sampled.server == server).collect()
    }

    /// Is this what was written under the key?
    pub(crate) fn matches(&self, sampled: &Sampled, value: &[u8]) -> bool {
        sampled.values.contains(&self.random.hash_one(value))
    }

    fn trim(&mut self) {
        if self.keys.len() > self.limit {
            self.keys.pop_last();
        }
    }
}

/// Divides keys into questions, each of which a server can be asked at once.
pub(crate) fn questions<'a, 's>(mut keys: &'a [&'s Sampled]) -> Vec<&'a [&'s Sampled]> {
    let mut questions = Vec::new();
    while !keys.is_empty() {
        let (asked, rest) = keys.split_at(one_question(keys));
        questions.push(asked);
        keys = rest;
    }
    questions
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

/// What it means that `found` of `checked` keys had the value that was written, where a share of `required` is wanted.
pub(crate) fn verified(found: u64, checked: u64, required: f64) -> Verified {
    let (low, high) = wilson(found, checked);
    Verified { checked, found, low, high, required }
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
        let held = |value: &[u8]| one.keys.values().all(|sampled| one.matches(sampled, value));
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
