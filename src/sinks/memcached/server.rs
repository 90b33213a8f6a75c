//! What the workers of a sink share: the servers, and how rows are sent to them.

use std::{
    fmt,
    hash::RandomState,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time,
};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{access::Access, identity::Identities, ketama::Ring};
use crate::{
    failure::Exit,
    jobspec::{Duration, Retry, Share},
    service::{Address, Patience, Sample},
};

/// Keys to read back where servers have pushed values out and the spec asks for no sample.
const UNASKED_SAMPLE: u32 = 1000;

/// When a row counts as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "MemcachedAck")]
pub(super) enum Ack {
    /// Every batch is confirmed by the servers.
    #[default]
    Batch,
    /// Nothing is confirmed until the end of the run.
    None,
}

/// How to check what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    /// How many keys to read back.
    pub(super) sample: u32,
    /// The run fails where fewer of all keys can be there, by the upper end of the sample's 95 % interval.
    #[serde(default = "default_min")]
    pub(super) min: Share,
}

fn default_min() -> Share {
    Share(0.99)
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    /// Where it listens.
    pub(super) address: Address,
    /// How patiently it is tried, and whether it is still worth that.
    pub(super) patience: Patience,
}

impl Server {
    pub(super) fn new(name: &str, address: &str, retry: &Retry) -> Server {
        let called = match name == address {
            true => format!("memcached server `{address}`"),
            false => format!("memcached server `{name}` ({address})"),
        };
        let patience = Patience::new(called, retry, Exit::InputMissing);
        Server { name: name.to_owned(), address: Address::new(address), patience }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patience.fmt(f)
    }
}

/// What the workers of a sink share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) servers: Vec<Server>,
    /// Each server's place by its name.
    pub(super) routes: IndexMap<String, usize>,
    /// Where the servers are a list: which of them a key belongs to.
    pub(super) ring: Option<Ring>,
    pub(super) access: Access,
    pub(super) ack: Ack,
    pub(super) retry: Retry,
    /// Seconds; 0 is for ever.
    pub(super) expire: u64,
    pub(super) flags: u32,
    pub(super) max_value_bytes: u64,
    pub(super) verify: Option<Verify>,
    /// Which processes the servers are.
    pub(super) identities: Identities,
    /// One seed for the samples of all workers.
    pub(super) random: RandomState,
    /// The samples of the workers that have committed.
    pub(super) sample: Mutex<Option<Sample>>,
    /// How many values the servers have pushed out since they were first met, as they said at the last check.
    pub(super) pushed_out: AtomicU64,
}

impl Shared {
    pub(super) fn route(&self, name: &str) -> Option<usize> {
        self.routes.get(name).copied()
    }

    /// How the run is verified: as the spec says, or, should a server push values out, all the same.
    pub(super) fn verification(&self) -> Verify {
        self.verify.unwrap_or(Verify { sample: UNASKED_SAMPLE, min: default_min() })
    }

    pub(super) fn empty_sample(&self) -> Sample {
        Sample::new(self.verification().sample as usize, self.random.clone())
    }

    pub(super) fn merge(&self, sample: Sample) {
        let mut merged = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *merged {
            Some(merged) => merged.merge(sample),
            None => *merged = Some(sample),
        }
    }

    /// What `runner plan` says.
    pub(super) fn notes(&self) -> Vec<String> {
        let named = |server: &Server| format!("{} → {}", server.name, server.address);
        let servers = match self.ring {
            None => self.servers.iter().map(named).collect::<Vec<_>>().join(", "),
            Some(_) => self.servers.iter().map(|server| server.address.text()).collect::<Vec<_>>().join(", "),
        };
        let spread = if self.ring.is_some() { ", keys spread over them by ketama" } else { "" };
        let mut notes = vec![
            format!("servers {servers}{spread}"),
            match self.ack {
                Ack::Batch => "every batch acknowledged".to_owned(),
                Ack::None => "acknowledged once, at the end".to_owned(),
            },
            self.retry.note(&format!("of {}", self.retry.timeout)),
        ];
        notes.extend(self.access.notes());
        if let Some(verify) = self.verify {
            notes.push(format!("verify a sample of {} keys, {} of them at least", verify.sample, verify.min));
        }
        if self.expire > 0 {
            notes.push(format!("values expire after {}", Duration(time::Duration::from_secs(self.expire))));
        }
        notes
    }
}
