//! The keys of a `memcached` sink, and what of them can be wrong beside its expressions.

use std::{borrow::Cow, fmt, path::PathBuf, time};

use indexmap::{IndexMap, IndexSet};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{
        self, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::{
    access::{self, Access, TlsFiles},
    server::{Ack, Verify},
};
use crate::{
    jobspec::{Bytes, Duration, Path, Problem, Retry, Secret, SpecLocation, Text},
    kind::{Context, Order},
    service::Address,
};

/// What memcached itself needs of an item's 1 MiB for a key of one byte: no larger value fits, whatever the key.
const ITEM_OVERHEAD: u64 = 60;

/// memcached counts time in 32 bits; beyond this it would soon be wrong.
const LONGEST_EXPIRE: u64 = 10 * 365 * 24 * 60 * 60;

/// Keys of a `memcached` sink. Each row is a plain `set`: it replaces whatever the server holds under the key, whoever
/// stored it, and nothing is compared first (no `add`, no `cas`). A row that is sent again does the same again.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    /// Expression for the key: a string of 1 to 250 bytes without spaces and control characters.
    pub(super) key: Text,
    /// Expression for the value: binary or string.
    pub(super) value: Text,
    /// Expression for the name of the server; may be left out where there is one server, or a list of them.
    pub(super) route: Option<Text>,
    /// Servers by name, of which `route` picks one for each row; or a list of servers, over which ketama spreads the keys.
    /// A server is `host:port`, with an IPv6 address in brackets, or `unix:` and the path of a socket file. Where a host's
    /// name has several addresses, each is tried in turn within `retry.timeout`.
    pub(super) servers: Servers,
    /// The user, where servers ask for a password (memcached's `--auth-file`).
    pub(super) username: Option<Text>,
    /// Where the password is. It is sent only to a server that asks for one.
    pub(super) password: Option<Secret>,
    /// Speak TLS.
    #[serde(default)]
    pub(super) tls: bool,
    /// A file of certificates (PEM) that vouch for the servers'; without it, the system's.
    pub(super) ca: Option<PathBuf>,
    /// A file with our own certificate (PEM), where servers ask for one.
    pub(super) client_certificate: Option<PathBuf>,
    /// A file with the private key (PEM) of our own certificate.
    pub(super) client_key: Option<PathBuf>,
    /// In which order rows with equal keys are stored.
    #[serde(default)]
    pub(super) order: Order,
    /// When a row counts as stored.
    #[serde(default)]
    pub(super) ack: Ack,
    /// Read a random sample back after the run. What has expired or was pushed out by then counts as not found.
    pub(super) verify: Option<Verify>,
    /// How often and how patiently a part of a batch is tried.
    #[serde(default)]
    pub(super) retry: Retry,
    /// How long the server keeps a value; 0 means until it needs the room.
    #[serde(default = "default_expire")]
    pub(super) expire: Duration,
    /// The number kept beside every value for other clients.
    #[serde(default)]
    pub(super) flags: u32,
    /// Larger values are rejects; raise it together with the servers' `-I`.
    #[serde(default = "default_max_value_bytes")]
    pub(super) max_value_bytes: Bytes,
}

pub(super) fn default_expire() -> Duration {
    Duration(time::Duration::ZERO)
}

pub(super) fn default_max_value_bytes() -> Bytes {
    Bytes((1 << 20) - ITEM_OVERHEAD)
}

/// The servers.
#[derive(Clone, Debug)]
pub(super) enum Servers {
    /// By name.
    Named(IndexMap<String, Text>),
    /// Of equal rank.
    Listed(Vec<Text>),
}

impl Servers {
    /// Name and address of each; those of a list are named by their addresses.
    pub(super) fn all(&self) -> Vec<(&String, &Text)> {
        match self {
            Servers::Named(servers) => servers.iter().collect(),
            Servers::Listed(servers) => servers.iter().zip(servers).collect(),
        }
    }

    /// Where in the sink's table each address stands.
    fn paths(&self) -> Vec<Path> {
        let servers = Path::default().entry("servers");
        match self {
            Servers::Named(named) => named.keys().map(|name| servers.entry(name)).collect(),
            Servers::Listed(listed) => (0..listed.len()).map(|place| servers.index(place)).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Servers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ServersVisitor)
    }
}

struct ServersVisitor;

impl<'de> Visitor<'de> for ServersVisitor {
    type Value = Servers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of servers by name, or a list of servers")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Servers, A::Error> {
        IndexMap::deserialize(MapAccessDeserializer::new(map)).map(Servers::Named)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Servers, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Servers::Listed)
    }

    /// Stands for servers that are not known while a spec is only checked.
    fn visit_unit<E: de::Error>(self) -> Result<Servers, E> {
        Ok(Servers::Listed(Vec::new()))
    }
}

impl JsonSchema for Servers {
    fn schema_name() -> Cow<'static, str> {
        "MemcachedServers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = generator.subschema_for::<Text>();
        json_schema!({
            "oneOf": [
                { "type": "object", "additionalProperties": text },
                { "type": "array", "items": text },
            ],
        })
    }
}

impl Spec {
    /// Who we are to the servers, and whether TLS is spoken.
    pub(super) fn access(&self) -> Access {
        let login = self.username.clone().zip(self.password.clone());
        let client = self.client_certificate.clone().zip(self.client_key.clone());
        Access::new(login, self.tls.then(|| TlsFiles { ca: self.ca.clone(), client }))
    }
}

/// Checks all but the expressions. What is not known while checking stands for something sound.
pub(super) fn check(spec: &Spec, context: &mut Context<'_>) -> bool {
    let mut found = Vec::new();
    if spec.servers.all().is_empty() {
        found.push(("servers", "`servers` names no server"));
    }
    if spec.verify.is_some_and(|verify| verify.sample == 0) {
        found.push(("verify.sample", "a sample of 0 keys verifies nothing"));
    }
    if spec.expire.0 > time::Duration::from_secs(LONGEST_EXPIRE) {
        found.push(("expire", "memcached keeps no value longer than ten years"));
    }
    if let Some(wrong) = spec.username.as_deref().and_then(access::wrong_user) {
        found.push(("username", wrong));
    }
    let files = [
        ("ca", &spec.ca, "`ca` has no effect without TLS: write `tls = true`"),
        (
            "client_certificate",
            &spec.client_certificate,
            "`client_certificate` has no effect without TLS: write `tls = true`",
        ),
        ("client_key", &spec.client_key, "`client_key` has no effect without TLS: write `tls = true`"),
    ];
    if !spec.tls && context.knows("tls") {
        found.extend(files.iter().filter(|(_, file, _)| file.is_some()).map(|(key, _, message)| (*key, *message)));
    }
    // None of these may keep the others from being found.
    context.sound(&found)
        & context.limits(&[("retry.timeout", spec.retry.timeout)])
        & check_addresses(spec, context)
        & check_route(spec, context)
        & check_pairs(spec, context)
}

fn check_addresses(spec: &Spec, context: &mut Context<'_>) -> bool {
    let mut sound = true;
    let mut seen = IndexSet::new();
    for ((_, address), path) in spec.servers.all().into_iter().zip(spec.servers.paths()) {
        if !context.is_known(&path) {
            continue;
        }
        let wrong = match Address::check(address) {
            Err(expected) => Some(expected.to_owned()),
            Ok(()) if spec.tls && Address::new(address).file().is_some() => {
                Some("a socket file is reached without TLS: name a port, or leave `tls` out".to_owned())
            }
            Ok(()) if !seen.insert(address) && matches!(spec.servers, Servers::Listed(_)) => {
                Some(format!("`{address}` is in the list twice"))
            }
            Ok(()) => None,
        };
        if let Some(message) = wrong {
            let place = SpecLocation::value(Path(context.path.0.iter().cloned().chain(path.0).collect()));
            context.problems.push(Problem::new("value", place, message));
            sound = false;
        }
    }
    sound
}

fn check_route(spec: &Spec, context: &mut Context<'_>) -> bool {
    match (&spec.servers, &spec.route) {
        (Servers::Named(servers), None) if servers.len() > 1 => {
            let message = format!("missing key `route`: it picks one of the {} servers", servers.len());
            let help = "to spread the keys over them, write them as a list: `servers = [\"host:port\", …]`";
            let place = SpecLocation::key(context.path.clone());
            context.problems.push(Problem::new("missing-key", place, message).help(Some(help.to_owned())));
            false
        }
        (Servers::Listed(servers), Some(_)) if !servers.is_empty() => {
            let message = "`route` names a server, and the servers of a list have no names";
            let help =
                "leave `route` out to spread the keys over the list, or write `servers = { name = \"host:port\" }`";
            let place = SpecLocation::value(context.path.key("route"));
            context.problems.push(Problem::new("value", place, message).help(Some(help.to_owned())));
            false
        }
        _ => true,
    }
}

/// Keys that have no sense without each other.
fn check_pairs(spec: &Spec, context: &mut Context<'_>) -> bool {
    let pairs = [
        [("username", spec.username.is_some()), ("password", spec.password.is_some())],
        [("client_certificate", spec.client_certificate.is_some()), ("client_key", spec.client_key.is_some())],
    ];
    let mut sound = true;
    for [one, other] in pairs {
        for ((missing, is_there), (with, goes_with)) in [(one, other), (other, one)] {
            if !is_there && goes_with {
                let message = format!("missing key `{missing}`: it goes with `{with}`");
                context.problems.push(Problem::new("missing-key", SpecLocation::key(context.path.clone()), message));
                sound = false;
            }
        }
    }
    sound
}
