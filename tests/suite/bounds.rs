//! Absurd values for every number, size and time that a spec may hold, as the job schema lists them: `check` answers at
//! once, and what it lets through runs to an exit code that says how it went. Nothing is aborted, and nothing hangs.

use std::{
    collections::HashSet,
    fs,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use runner::{
    jobspec::{Document, Format, Mode, Problems},
    plan,
};
use serde_json::Value;

use crate::work::{Work, project};

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Integer,
    Number,
    Time,
    Size,
}

// A thousand workers are legal, and take a build without optimisation a minute to start: a hundred show as much.
const INTEGERS: &[&str] = &[
    "-9223372036854775808",
    "-1",
    "0",
    "1",
    "100",
    "1048576",
    "1000000000",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999999",
    "1e300",
];
const NUMBERS: &[&str] = &["-1", "0", "0.5", "1", "5e-324", "1.7976931348623157e308", "nan", "inf", "-inf"];
const TIMES: &[&str] = &["0s", "1us", "1d", "36500d", "36501d", "213503982334601d", "99999999999999999999999s"];
const SIZES: &[&str] = &["0", "1", "1KiB", "1GiB", "1024TiB", "16777216TiB", "18446744073709551615", "-1"];

impl Holds {
    fn values(self) -> &'static [&'static str] {
        match self {
            Holds::Integer => INTEGERS,
            Holds::Number => NUMBERS,
            Holds::Time => TIMES,
            Holds::Size => SIZES,
        }
    }
}

/// A job with every kind that needs no server.
const JOB: &str = r#"
name = "bounds"
rejects = { path = "rejects.ndjson" }
limits = { rejects = "100%", deadline = "3s" }

[definitions.row.fields]
n = { sequence = { start = 1, step = 1 } }
k = { int = { min = 1, max = 3 } }
x = { float = { min = 0.0, max = 1.0, decimals = 2 } }
normal = { normal = { mean = 0.0, stddev = 1.0 } }
zipf = { zipf = { n = 10, s = 1.1 } }
b = { bool = { p = 0.5 } }
t = { expr = "cast('2024-01-01' as timestamp) + interval '1 hour'" }
list = { list = { of = { int = { min = 1, max = 9 } }, min = 0, max = 3 } }
maybe = { int = { min = 1, max = 9 }, null_rate = 0.5 }

[sources.rows]
type = "generate"
definition = "row"
count = 3
splits = 2

[sources.others]
type = "generate"
definition = "row"
count = 5

[sources.text]
type = "files"
path = "in.csv.gz"
format = "csv"
columns = ["n int64", "x float64"]

[sources.table]
type = "sqlite"
database = "in.db"
table = "t"
columns = ["n int64"]

[sources.stored]
type = "kv"
path = "store"

[transforms.filter]
type = "filter"
input = "rows"
where = "n > 0"
queue = 2

[transforms.select]
type = "select"
input = "filter"
columns = { n = "n", k = "k", x = "x", t = "t", list = "list" }

[transforms.explode]
type = "explode"
input = "select"
column = "list"

[transforms.sort]
type = "sort"
input = "explode"
by = ["n"]

[transforms.dedup]
type = "dedup"
input = "select"
by = ["n"]

[transforms.sample]
type = "sample"
input = "select"
rows = 5

[transforms.aggregate]
type = "aggregate"
input = "select"
by = ["k"]
window = { time = "t", every = "1h" }
columns = { n = "count(*)" }

[transforms.numbers]
type = "select"
input = "others"
columns = { n = "n", twice = "n * 2" }

[transforms.join]
type = "join"
input = "select"
with = "numbers"
on = ["n"]

[transforms.protobuf]
type = "protobuf"
input = "select"
schema = "n.proto"
message = "M"
into = "bytes"

[transforms.quality]
type = "quality"
input = "select"
by = ["k"]
time = "t"
value = "x"
window = "12h"
expect = { interval = "1s", max_gap = "10s", range = [0.0, 1.0], flatline = { for = "5m" }, spike = { threshold = 2.0 }, rate = { max = 1.0 } }

[sinks.sorted]
type = "files"
input = "sort"
path = "out-{n}.csv"
format = "csv"

[sinks.packed]
type = "files"
input = "dedup"
path = "out.parquet"
format = "parquet"

[sinks.small]
type = "files"
input = "text"
path = "out.csv.gz"
format = "csv"
level = 1

[sinks.database]
type = "sqlite"
input = "table"
database = "out.db"
table = "t"

[sinks.none]
type = "discard"
input = ["sample"]

[sinks.none2]
type = "discard"
input = "aggregate"

[sinks.none3]
type = "discard"
input = "join"

[sinks.none4]
type = "discard"
input = "protobuf"

[sinks.none5]
type = "discard"
input = "quality"

[sinks.none6]
type = "discard"
input = "stored"

[transforms.texts]
type = "select"
input = "sample"
columns = { key = "'k' || n", text = "'x' || x" }

[sinks.store]
type = "kv"
input = "texts"
path = "store-out"
key = "key"
value = "text"
"#;

/// Makes what [`JOB`] reads.
const BEFORE: &str = r#"
name = "before"

[definitions.row.fields]
n = { sequence = {} }
x = { float = { min = 0.0, max = 1.0 } }
key = { template = "k{n}" }
doc = { object = { a = { int = { min = 1, max = 2 } } } }

[sources.rows]
type = "generate"
definition = "row"
count = 20

[transforms.two]
type = "select"
input = "rows"
columns = { n = "n", x = "x" }

[sinks.text]
type = "files"
input = "two"
path = "in.csv.gz"
format = "csv"

[sinks.table]
type = "sqlite"
input = "two"
database = "in.db"
table = "t"

[sinks.store]
type = "kv"
input = "rows"
path = "store"
key = "key"
value = "doc"
"#;

/// A job of the kinds that need a server; it is only checked.
const SERVERS: &str = r#"
name = "servers"

[sources.streams]
type = "btrdb"
endpoint = "127.0.0.1:1"
collection = "a"
window = "1h"

[sources.rows]
type = "postgres"
url = "postgres://a@127.0.0.1:1/a"
table = "t"
columns = ["n int64", "s string"]
key = "n"

[sinks.cache]
type = "memcached"
input = "rows"
route = "s"
servers = { a = "127.0.0.1:1" }
key = "s"
value = "s"
verify = { sample = 10 }

[sinks.table]
type = "postgres"
input = "rows"
url = "postgres://a@127.0.0.1:1/a"
table = "u"

[sinks.none]
type = "discard"
input = "streams"
"#;

/// Keys of generators, which the schema does not list one by one.
const GENERATORS: &[(&str, Holds)] = &[
    ("definitions.row.fields.n.sequence.start", Holds::Integer),
    ("definitions.row.fields.n.sequence.step", Holds::Integer),
    ("definitions.row.fields.k.int.min", Holds::Integer),
    ("definitions.row.fields.k.int.max", Holds::Integer),
    ("definitions.row.fields.x.float.min", Holds::Number),
    ("definitions.row.fields.x.float.max", Holds::Number),
    ("definitions.row.fields.x.float.decimals", Holds::Integer),
    ("definitions.row.fields.normal.normal.mean", Holds::Number),
    ("definitions.row.fields.normal.normal.stddev", Holds::Number),
    ("definitions.row.fields.zipf.zipf.n", Holds::Integer),
    ("definitions.row.fields.zipf.zipf.s", Holds::Number),
    ("definitions.row.fields.b.bool.p", Holds::Number),
    ("definitions.row.fields.list.list.min", Holds::Integer),
    ("definitions.row.fields.list.list.max", Holds::Integer),
    ("definitions.row.fields.maybe.null_rate", Holds::Number),
];

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(project("schemas/job.schema.json")).unwrap()).unwrap()
}

/// The keys below `node` that hold numbers, sizes or times. An item of a list is written `key[]`.
fn keys(schema: &Value, node: &Value, path: &str, found: &mut Vec<(String, Holds)>) {
    if let Some(name) = node["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        match name {
            "Duration" => found.push((path.to_owned(), Holds::Time)),
            "Bytes" => found.push((path.to_owned(), Holds::Size)),
            "RejectLimit" => found.push((path.to_owned(), Holds::Integer)),
            _ => keys(schema, &schema["$defs"][name], path, found),
        }
        return;
    }
    let types: Vec<&str> = match &node["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if types.contains(&"integer") {
        found.push((path.to_owned(), Holds::Integer));
    } else if types.contains(&"number") {
        found.push((path.to_owned(), Holds::Number));
    }
    for (key, below) in node["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        keys(schema, below, &format!("{path}{dot}{key}"), found);
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        node[choice].as_array().into_iter().flatten().for_each(|below| keys(schema, below, path, found));
    }
    if node["items"].is_object() {
        keys(schema, &node["items"], &format!("{path}[]"), found);
    }
}

/// The schema of a kind in a section.
fn kind<'a>(schema: &'a Value, section: &str, kind: &str) -> &'a Value {
    let kinds = schema["properties"][section]["additionalProperties"]["oneOf"].as_array().unwrap();
    kinds.iter().find(|found| found["properties"]["type"]["const"] == kind).unwrap()
}

/// `key=value` for every key of a job and every absurd value.
fn settings(job: &str) -> Vec<String> {
    let schema = schema();
    let table: Value = toml_of(job);
    let mut found = Vec::new();
    let limits = [("seed", &schema["properties"]["seed"]), ("limits", &schema["properties"]["limits"])];
    limits.iter().for_each(|(name, node)| keys(&schema, node, name, &mut found));
    for section in ["sources", "transforms", "sinks"] {
        for (name, stage) in table[section].as_object().into_iter().flatten() {
            let kind = kind(&schema, section, stage["type"].as_str().unwrap());
            keys(&schema, kind, &format!("{section}.{name}"), &mut found);
        }
    }
    if job == JOB {
        found.extend(GENERATORS.iter().map(|(key, holds)| ((*key).to_owned(), *holds)));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.dedup_by(|a, b| a.0 == b.0);
    let set = |(key, holds): &(String, Holds)| {
        let (key, is_list) = key.strip_suffix("[]").map_or((key.as_str(), false), |key| (key, true));
        let write = |value: &&str| if is_list { format!("{key}=[{value}, {value}]") } else { format!("{key}={value}") };
        holds.values().iter().map(write).collect::<Vec<_>>()
    };
    found.iter().filter(|(key, _)| !key.contains("overrides") && !key.contains("[].")).flat_map(set).collect()
}

/// The spec as a table.
fn toml_of(job: &str) -> Value {
    let parsed: toml::Table = job.parse().unwrap();
    serde_json::to_value(parsed).unwrap()
}

/// Does `check` take the job with this setting? It answers within a second either way.
fn accepted(job: &str, setting: &str) -> bool {
    let started = Instant::now();
    let mut problems = Problems::default();
    let mut document = Document::parse("job.toml", job, Format::Toml, &mut problems);
    document.set(setting).unwrap_or_else(|error| panic!("{setting}: {error}"));
    document.interpolate(Mode::Check, &|_| None, &mut problems);
    let plan = plan::compile(&document, &mut problems);
    assert!(started.elapsed() < Duration::from_secs(1), "{setting}: checked in {:?}", started.elapsed());
    assert!(plan.is_some() || problems.any_error(), "{setting}: neither a plan nor an error");
    !problems.any_error()
}

/// The settings that are run: what all stages have in common, for one stage of each section.
fn representative<'a>(taken: &[&'a String]) -> Vec<&'a String> {
    let mut seen = HashSet::new();
    let common = |setting: &str| {
        let (key, value) = setting.split_once('=').unwrap();
        let (section, rest) = key.split_once('.')?;
        let (_, own) = rest.split_once('.')?;
        let is_common = ["concurrency", "queue", "batch.rows", "batch.bytes"].contains(&own);
        is_common.then(|| format!("{section} {own} {value}"))
    };
    taken.iter().copied().filter(|setting| common(setting).is_none_or(|common| seen.insert(common))).collect()
}

/// Runs the job with a setting, in 32 GiB of addresses and a minute. Says what is wrong with how it ended.
fn run(setting: &str) -> Option<String> {
    let work = prepared();
    let program = env!("CARGO_BIN_EXE_runner");
    let script = "ulimit -v 33554432; exec timeout -s KILL 60 \"$0\" job.toml --fresh --set \"$1\"";
    let mut command = Command::new("sh");
    let ran = command.args(["-c", script, program, setting]).current_dir(work.path(".")).output().unwrap();
    let code = ran.status.code().unwrap_or(-1);
    let documented = [0, 65, 66, 69, 73, 74, 75, 78, 124];
    let said = String::from_utf8_lossy(&ran.stderr);
    (!documented.contains(&code) || said.contains("panicked")).then(|| format!("{setting}: exit code {code}\n{said}"))
}

/// A folder with the job and what it reads.
fn prepared() -> Work {
    let work = Work::new();
    work.file("job.toml", JOB);
    work.file("n.proto", "syntax = \"proto3\"; message M { int64 n = 1; }");
    work.file("before.toml", BEFORE);
    work.expect(0, &["before.toml", "--quiet"]);
    work
}

#[test]
fn absurd_values_are_refused_or_harmless() {
    let work = prepared();
    let job = JOB.replace("\"in.", &format!("\"{}/in.", work.path(".").display()));
    let job = job.replace("\"n.proto\"", &format!("\"{}\"", work.path("n.proto").display()));
    let job = job.replace("\"store\"", &format!("\"{}\"", work.path("store").display()));
    assert!(accepted(&job, "name=bounds"), "the job is sound");
    let all = settings(JOB);
    let taken: Vec<&String> = all.iter().filter(|setting| accepted(&job, setting)).collect();
    assert!(taken.len() > 100 && taken.len() < all.len() / 2, "{} of {}", taken.len(), all.len());
    let all_runs = representative(&taken);
    // Each takes seconds: all of them are run where `BOUNDS_RUNS` asks for so many.
    let most = std::env::var("BOUNDS_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(16);
    let runs_of: Vec<_> = all_runs.iter().step_by(all_runs.len().div_ceil(most).max(1)).collect();
    let next = AtomicUsize::new(0);
    let runs = || {
        let mut wrong = Vec::new();
        while let Some(setting) = runs_of.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrong.extend(run(setting));
        }
        wrong
    };
    let wrong = thread::scope(|scope| {
        let other = scope.spawn(runs);
        let mut wrong = runs();
        wrong.extend(other.join().unwrap());
        wrong
    });
    assert!(wrong.is_empty(), "{} of {} runs:\n{}", wrong.len(), runs_of.len(), wrong.join("\n"));
}

#[test]
fn absurd_values_for_servers_are_answered_at_once() {
    assert!(accepted(SERVERS, "name=servers"), "the job is sound");
    let all = settings(SERVERS);
    let taken = all.iter().filter(|setting| accepted(SERVERS, setting)).count();
    assert!(taken > 30 && taken < all.len() / 2, "{taken} of {}", all.len());
}
