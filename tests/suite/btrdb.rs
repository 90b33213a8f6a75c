//! The `btrdb` source against a server of the official client's protocol. That client reads the same server and
//! says what is right.

mod faults;
mod server;

use std::{collections::BTreeSet, fs, sync::atomic::Ordering};

use serde_json::Value;

use self::server::{Server, counting};
use crate::work::{Work, oracle, project, stage};

/// A job that reads a source `points` with these keys into `rows.ndjson`.
fn job(keys: &str) -> String {
    format!(
        "name = 'job'\n[sources.points]\ntype = 'btrdb'\nendpoint = '${{BTRDB_ENDPOINTS}}'\n\
         api_key = {{ env = 'BTRDB_API_KEY' }}\nwindow = '12h'\n{keys}\n\
         [sinks.rows]\ntype = 'files'\ninput = 'points'\npath = 'rows.ndjson'\nformat = 'ndjson'\n"
    )
}

/// A folder with the job, whose runs see the server that `scripts/with-services` started.
fn with(keys: &str) -> Work {
    let work = Work::new();
    work.file("job.toml", job(keys));
    work
}

/// Runs a job to its end and gives its rows.
fn rows(work: &Work, keys: &str) -> Vec<Value> {
    work.file("job.toml", job(keys));
    work.expect(0, &["job.toml"]);
    work.json_lines("rows.ndjson")
}

const EDGES: &str = "collection = 'staging/edges'";

/// What the oracle prints: names of streams and points of their windows.
fn counts(said: &str) -> Vec<(Option<String>, Vec<u64>)> {
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn expected(pairs: &[(&str, &[u64])]) -> Vec<(Option<String>, Vec<u64>)> {
    pairs.iter().map(|(name, counts)| (Some((*name).to_owned()), counts.to_vec())).collect()
}

/// The windows of `staging/edges`, by hand: 4,320 points of 10 seconds make 12 hours, and 6,172 of 7 seconds.
const WINDOWS: [(&str, &[u64]); 9] = [
    ("edge", &[6_173, 3_829]),
    ("even", &[4_320, 4_320, 1]),
    ("flat", &[4_320, 3_680]),
    ("gap", &[4_260, 3_560]),
    ("hollow", &[4_320, 0, 1_000]),
    ("old", &[4_320, 3_680]),
    ("single", &[1]),
    ("spiky", &[4_320, 3_680]),
    ("twins", &[12_960, 7_041]),
];

#[test]
fn every_point_is_read_once_as_the_official_client_reads_it() {
    for keys in ["", "concurrency = 1\nbatch = { rows = 777 }", "concurrency = 7"] {
        let work = with(&format!("{EDGES}\n{keys}"));
        let report = work.report(0, &["job.toml"]);
        assert_eq!(stage(&report, "points")["rows_out"], 75_785);
        assert_eq!(report["splits"]["total"].as_u64(), Some(19), "empty windows are splits too: {}", report["splits"]);
        let said = oracle(&work, "btrdb_read.py", &["raw", "staging/edges", "rows.ndjson"]);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{keys}");
        assert_eq!(counts(&said.stdout), expected(&WINDOWS));
    }
}

#[test]
fn statistics_of_windows_are_those_of_their_points() {
    let omits = Server::start(&["--omit-empty", "--piece", "2"]);
    let shared = with("");
    for work in [omits.work(), shared] {
        work.file("job.toml", job(&format!("{EDGES}\nmode = 'stat'")));
        let report = work.report(0, &["job.toml"]);
        assert_eq!(stage(&report, "points")["rows_out"], 19);
        let said = oracle(&work, "btrdb_read.py", &["stat", "staging/edges", "rows.ndjson"]);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
        assert_eq!(counts(&said.stdout), expected(&WINDOWS));
    }
}

#[test]
fn narrow_windows_of_statistics_are_asked_for_many_at_a_time() {
    // 8,641 windows of 10 seconds: three splits of one stream.
    let work = with("collection = 'staging/edges'");
    let keys = "collection = 'staging/edges'\nmode = 'stat'\ncolumns = ['name', 'count', 'window_start']\nbatch = { rows = 1000 }";
    work.file("job.toml", job(keys).replace("12h", "10s"));
    work.expect(0, &["job.toml"]);
    let rows = work.json_lines("rows.ndjson");
    let even: Vec<&Value> = rows.iter().filter(|row| row["name"] == "even").collect();
    assert_eq!(even.len(), 8_641);
    assert!(even.iter().all(|row| row["count"] == 1));
    let hollow: Vec<u64> =
        rows.iter().filter(|row| row["name"] == "hollow").map(|row| row["count"].as_u64().unwrap()).collect();
    assert_eq!((hollow.len(), hollow.iter().sum::<u64>()), (9_640, 5_320));
    let starts: Vec<&str> = even.iter().map(|row| row["window_start"].as_str().unwrap()).collect();
    assert_eq!(starts.iter().collect::<BTreeSet<_>>().len(), 8_641);
    assert!(starts.is_sorted());
}

#[test]
fn a_stream_is_read_at_the_version_that_it_had() {
    for mode in ["raw", "stat"] {
        let server = Server::start(&["--fault", "grow:even:*", "--fault", "grow:twins:2"]);
        let work = server.work();
        let rows = rows(&work, &format!("{EDGES}\nmode = '{mode}'\nconcurrency = 1"));
        let of = |name: &str| rows.iter().filter(|row| row["name"] == name).cloned().collect::<Vec<_>>();
        let total = |name: &str| match mode {
            "raw" => of(name).len() as u64,
            _ => of(name).iter().map(|row| row["count"].as_u64().unwrap()).sum(),
        };
        assert_eq!((total("even"), total("twins")), (8_641, 20_001), "{mode}");
        assert!(of("even").iter().all(|row| row["version"] == 28), "{mode}");
        // Another run sees what was added meanwhile.
        let again = self::rows(&work, "collection = 'staging/edges'\ncolumns = ['version', 'name']");
        let even: Vec<&Value> = again.iter().filter(|row| row["name"] == "even").collect();
        assert!(even.len() > 10_000 && even[0]["version"].as_u64() > Some(28), "{} {}", even.len(), even[0]);
    }
}

#[test]
fn streams_are_chosen_by_collection_tags_and_annotations() {
    let names = |keys: &str| -> Vec<String> {
        let rows = rows(&with(keys), &format!("{keys}\ncolumns = ['name', 'value']"));
        let mut names: Vec<String> = rows.iter().map(|row| row["name"].as_str().unwrap_or("-").to_owned()).collect();
        names.dedup();
        names
    };
    assert_eq!(names("collection = 'staging/edges'\ntags = { unit = 'volts' }"), ["spiky"]);
    assert_eq!(names("collection = 'staging/edges'\nannotations = { site = 'north' }"), ["old", "twins"]);
    assert_eq!(
        names("collection = 'staging/edges'\ntags = { name = 'old' }\nannotations = { site = 'north' }"),
        ["old"]
    );
    assert_eq!(names("collection = 'staging/nameless'"), ["-"]);
    // In order of collection, then name.
    assert_eq!(names("collection = 'staging/d'\nprefix = true"), ["doomed", "survivor"]);
    let all = names("collection = ''\nprefix = true\ntags = { unit = 'celsius' }\nfrom = '2024-01-02T00:00:00Z'");
    assert_eq!(all, ["doomed", "survivor", "even", "hollow", "temperature"]);
}

#[test]
fn a_stream_without_points_is_told_of() {
    let work = with("collection = 'staging/empty'");
    let ran = work.expect(0, &["job.toml"]);
    assert_eq!(work.json_lines("rows.ndjson").len(), 100);
    let told = ran.stderr.lines().filter(|line| line.contains("stream `staging/empty/empty` ")).count();
    assert!(told == 1 && ran.stderr.contains("has no points to read"), "{}", ran.stderr);
    // Nothing at all is an empty file, and no failure.
    let none = rows(&work, "collection = 'staging/empty'\nto = '2023-01-01'");
    assert_eq!(none.len(), 0);
}

#[test]
fn only_points_between_two_times_are_read() {
    let keys = |from: &str, to: &str| {
        format!(
            "{EDGES}\ntags = {{ name = 'even' }}\nfrom = '{from}'\nto = '{to}'\ncolumns = ['time', 'window_start', 'window_end']"
        )
    };
    // `from` is in and `to` is not, to the nanosecond.
    let (from, to) = ("2024-01-01T00:00:10.000000007Z", "2024-01-01T12:00:30.000000007Z");
    let rows = rows(&with(""), &keys(from, to));
    assert_eq!(rows.len(), 4_322);
    let (first, last) = (&rows[0], &rows[4_321]);
    assert_eq!((&first["time"], &first["window_start"]), (&Value::from(from), &Value::from(from)));
    assert_eq!(last["time"], "2024-01-01T12:00:20.000000007Z");
    assert_eq!(
        (&last["window_start"], &last["window_end"]),
        (&Value::from("2024-01-01T12:00:10.000000007Z"), &Value::from(to))
    );
    // What `to` cuts short is a window of its own in statistics as well.
    let work = with("");
    let stat = keys(from, to).replace("'time', ", "'count', ") + "\nmode = 'stat'";
    let windows = self::rows(&work, &stat);
    let found: Vec<(u64, &str)> =
        windows.iter().map(|row| (row["count"].as_u64().unwrap(), row["window_end"].as_str().unwrap())).collect();
    assert_eq!(found, [(4_320, "2024-01-01T12:00:10.000000007Z"), (2, to)]);
}

#[test]
fn each_worker_has_a_connection_of_its_own_and_keeps_it() {
    let server = Server::start(&[]);
    for workers in [1, 3] {
        let (address, count) = counting(&server.address);
        let work = server::at(&address);
        let rows = rows(&work, &format!("{EDGES}\nconcurrency = {workers}"));
        assert_eq!(rows.len(), 75_785);
        // And one that listed the streams. A worker that found no split left had no need of one.
        let connections = count.load(Ordering::SeqCst);
        assert!((2..=workers + 1).contains(&connections), "{connections} connections of {workers} workers");
    }
}

#[test]
fn large_and_compressed_answers_are_taken() {
    // 20,001 points of 18 bytes and more are one piece; so are 600,000, beyond the 4 MiB that clients take by default.
    for args in [&["--piece", "1000000"][..], &["--gzip"], &["--piece", "1000000", "--large", "600000", "--gzip"]] {
        let server = Server::start(args);
        let work = server.work();
        let large = args.contains(&"--large");
        let keys =
            if large { "collection = 'staging/large'\ntags = { name = 'large0' }\ncolumns = ['time']" } else { EDGES };
        work.file(
            "job.toml",
            job(keys).replace("12h", "400d").replace(
                "files'\ninput = 'points'\npath = 'rows.ndjson'\nformat = 'ndjson'",
                "discard'\ninput = 'points'",
            ),
        );
        let report = work.report(0, &["job.toml"]);
        assert_eq!(stage(&report, "points")["rows_out"], if large { 600_000 } else { 75_785 });
    }
}

/// The job of README, and the same points as the official client reads them, from a file.
#[test]
fn the_quality_of_streams_is_that_of_the_same_points_in_a_file() {
    let job = fs::read_to_string(project("jobs/stream_quality.toml")).unwrap();
    let start = job.find("[sources.sensors]").unwrap();
    let end = job.find("[transforms.quality]").unwrap();
    let file = "[sources.sensors]\ntype = 'files'\npath = 'points.csv'\nformat = 'csv'\n\
                columns = ['uuid string', 'version uint64', 'time timestamp_ns', 'value float64']\n\n";
    let work = with(EDGES);
    work.file("jobs/stream_quality.toml", &job);
    work.file("series.toml", job.replace(&job[start..end], file));
    let windows = ["--set", "sinks.windows.format=ndjson", "--set", "sinks.windows.path=out/windows.ndjson"];
    work.expect(0, &["jobs/stream_quality.toml"]);
    assert_eq!(work.list("out"), ["quality.ndjson", "quality_windows.parquet"]);
    // The transform takes times of before 1971 for times in another unit: `old` is left out.
    let from = "2000-01-01";
    for (collection, streams) in [("staging/sensors", 3), ("staging/edges", 8)] {
        let sets = [format!("sources.sensors.collection={collection}"), format!("sources.sensors.from={from}")];
        let args = ["jobs/stream_quality.toml", "--set", &sets[0], "--set", &sets[1]];
        let report = work.report(0, &[&args, &windows[..]].concat());
        assert_eq!(stage(&report, "scores")["rows_out"], streams);
        let of_streams = [work.read("out/quality.ndjson"), work.read("out/windows.ndjson")];
        let said = oracle(&work, "btrdb_points.py", &[collection, from, "points.csv"]);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
        work.expect(0, &[&["series.toml"], &windows[..]].concat());
        let of_file = [work.read("out/quality.ndjson"), work.read("out/windows.ndjson")];
        assert!(of_streams == of_file, "{collection}: {of_streams:?}\n{of_file:?}");
        let counts: Vec<u64> = of_streams[1].lines().map(count).collect();
        match collection {
            "staging/sensors" => assert_eq!(counts.len(), 9),
            _ => {
                let new = WINDOWS.iter().filter(|(name, _)| *name != "old");
                assert_eq!(counts, new.flat_map(|(_, counts)| counts.to_vec()).collect::<Vec<_>>());
            }
        }
    }
}

fn count(line: &str) -> u64 {
    serde_json::from_str::<Value>(line).unwrap()["count"].as_u64().unwrap()
}

#[test]
fn the_proto_file_is_a_part_of_the_official_one() {
    let work = Work::new();
    let said = oracle(&work, "btrdb_proto.py", &[project("proto/btrdb.proto").to_str().unwrap()]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    // 16 messages, their fields, 5 calls and the package.
    assert!(said.stdout.trim().parse::<u32>().unwrap() > 60, "{}", said.stdout);
}
