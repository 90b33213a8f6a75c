//! Servers that fail: what heals is tried again without losing or doubling a point, what does not is told.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    EDGES, job,
    server::{KEY, Server, at, saying},
    with,
};
use crate::{
    running::Running,
    servers::{certificate, hangs_up, nobody, silent},
    work::{Ran, Work, errors, oracle, stage},
};

/// Keys of a source that is not patient.
const HASTY: &str = "retry = { attempts = 3, backoff = '1ms', timeout = '1s' }\ntimeout = '300ms'";

/// Runs the job with these keys at an address.
fn run(address: &str, keys: &str) -> Ran {
    let work = at(address);
    work.file("job.toml", job(keys));
    work.run(&["job.toml"])
}

#[track_caller]
fn ends(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "no `{word}` in\n{}", ran.stderr);
    }
}

#[test]
fn what_is_not_there_or_not_allowed_has_its_exit_code() {
    let work = with("collection = 'staging/edgs'");
    ends(&work.run(&["job.toml"]), 66, &["there is no stream in the collection `staging/edgs`"]);
    let work =
        with("collection = 'staging/edgs'\nprefix = true\ntags = { unit = 'volts' }\nannotations = { site = 'x' }");
    let words = ["whose name begins with `staging/edgs` with tag `unit` = `volts`, annotation `site` = `x`"];
    ends(&work.run(&["job.toml"]), 66, &words);
    let work = with(EDGES).env("BTRDB_API_KEY", "tamarind");
    let ran = work.run(&["job.toml"]);
    ends(&ran, 77, &["the API key is not valid", "BTrDB at `127.0.0.1:"]);
    assert!(!ran.stderr.contains("tamarind"), "{}", ran.stderr);
    let work = with(&EDGES.replace("edges'", "edges'\nca = 'x.pem'\ntls = true"));
    ends(&work.run(&["job.toml"]), 66, &["cannot read `x.pem`"]);
    let output = with(EDGES).command(&["job.toml"]).env_remove("BTRDB_API_KEY").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn a_stray_point_makes_no_million_of_splits() {
    let work = Work::new();
    work.file("job.toml", job(EDGES).replace("12h", "50ms"));
    ends(&work.run(&["job.toml"]), 78, &["would make 1399861 splits of this `window`", "at most 1000000"]);
}

#[test]
fn a_server_that_is_not_there_is_given_up_after_all_attempts() {
    let keys = format!("{EDGES}\n{HASTY}");
    let given_up = "given up after 3 attempts";
    ends(&run(&nobody(), &keys), 69, &[given_up, "refused"]);
    ends(&run(&hangs_up(), &keys), 69, &[given_up]);
    let (_listener, address) = silent();
    ends(&run(&address, &keys), 69, &[given_up, "no answer within the timeout"]);
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"-ERR unknown command\r\n", b"\0\0\0\0"] {
        ends(&run(&saying(bytes), &keys), 69, &[]);
    }
    let missing = run("no.such.host.invalid:4410", &keys);
    ends(&missing, 69, &[given_up]);
}

#[test]
fn a_check_asks_nobody() {
    let (listener, address) = silent();
    listener.set_nonblocking(true).unwrap();
    let work = at(&address);
    work.file("job.toml", job(EDGES));
    work.expect(0, &["check", "job.toml"]);
    assert!(listener.accept().is_err(), "somebody came");
}

/// Breaks off: on the first reads of some streams, in the middle of `twins`, whose points come three at a time.
const BREAKS: [&str; 16] = [
    "--fault",
    "break:edge:1:0",
    "--fault",
    "break:even:2:3",
    "--fault",
    "break:twins:1:1",
    "--fault",
    "break:twins:2:1",
    "--fault",
    "break:twins:3:2",
    "--fault",
    "break:twins:4:0",
    "--fault",
    "stat:gap:1:459",
    "--fault",
    "hang:old:1:2",
];

#[test]
fn a_read_that_breaks_off_goes_on_where_it_was() {
    for piece in ["1000", "7"] {
        let server = Server::start(&[&BREAKS[..], &["--piece", piece]].concat());
        let work = server.work();
        let keys = "concurrency = 2\nbatch = { rows = 500 }\nretry = { attempts = 3, backoff = '1ms' }\ntimeout = '2s'";
        work.file("job.toml", job(&format!("{EDGES}\n{keys}")));
        let ran = work.expect(0, &["job.toml"]);
        assert_eq!(errors(&ran), [""; 0], "what heals in time is not told");
        let said = oracle(&work, "btrdb_read.py", &["raw", "staging/edges", "rows.ndjson"]);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    }
}

#[test]
fn statistics_that_break_off_are_asked_for_again() {
    let faults = ["--fault", "break:hollow:1:1", "--fault", "break:hollow:2:0", "--fault", "stat:even:1:402"];
    let server = Server::start(&[&faults[..], &["--piece", "1"]].concat());
    let work = server.work();
    work.file("job.toml", job(&format!("{EDGES}\nmode = 'stat'\n{HASTY}")));
    work.expect(0, &["job.toml"]);
    let said = oracle(&work, "btrdb_read.py", &["stat", "staging/edges", "rows.ndjson"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
}

#[test]
fn trouble_that_stays_fails_the_splits_of_its_stream() {
    let cases = [
        ("break:even:*:0", 69, "given up after 3 attempts: ordered"),
        ("hang:even:*:0", 69, "given up after 3 attempts: no answer within the timeout"),
        ("stat:even:*:459", 69, "given up after 3 attempts: error 459: ordered"),
        ("stat:even:*:450", 66, "error 450: ordered"),
        ("stat:even:*:413", 74, "error 413: ordered"),
        ("raise:even:*:1", 74, "Exception iterating responses: ordered"),
    ];
    for (fault, code, words) in cases {
        let server = Server::start(&["--fault", fault]);
        let work = server.work();
        work.file("job.toml", job(&format!("{EDGES}\n{HASTY}")));
        let report = work.report(code, &["job.toml"]);
        let states: Vec<(&str, &str)> = splits(&report);
        let failed = states.iter().filter(|(_, state)| *state == "failed").count();
        assert_eq!(failed, 3, "{fault}: {states:?}");
        assert!(states.iter().all(|(name, state)| (*state == "failed") == name.contains("/even ")), "{states:?}");
        let said = report.to_string();
        assert!(said.contains(words), "{fault}: {said}");
        // The rest was read.
        let read = stage(&report, "points")["rows_out"].as_u64().unwrap();
        assert!(read >= 75_785 - 8_641, "{fault}: {read}");
        assert!(!work.path("rows.ndjson").exists(), "{fault}: half a file");
    }
}

/// Name and state of each split.
fn splits(report: &Value) -> Vec<(&str, &str)> {
    let list = report["splits"]["list"].as_array().unwrap();
    list.iter().map(|split| (split["name"].as_str().unwrap(), split["state"].as_str().unwrap())).collect()
}

#[test]
fn a_stream_that_is_deleted_in_mid_run_takes_no_other_with_it() {
    let server = Server::start(&["--fault", "delete:doomed:3"]);
    let work = server.work();
    work.file("job.toml", job("collection = 'staging/doomed'\nconcurrency = 1"));
    let report = work.report(66, &["job.toml"]);
    let states = splits(&report);
    let of = |name: &str| -> Vec<&str> {
        states.iter().filter(|(split, _)| split.contains(name)).map(|(_, state)| *state).collect()
    };
    assert_eq!(of("/doomed ")[2..], ["failed", "failed", "failed"]);
    assert_eq!(of("/survivor ").len(), 5);
    assert!(!of("/survivor ").contains(&"failed"), "{states:?}");
    // Two of its windows, and all of the other stream's.
    assert_eq!(stage(&report, "points")["rows_out"], 2 * 2_160 + 10_000);
    let said = report["failures"].to_string();
    assert!(said.contains("staging/doomed/doomed ") && said.contains("error 404: stream does not exist"), "{said}");
}

#[test]
fn a_stream_that_is_gone_may_be_a_few_rejects_instead() {
    let server = Server::start(&["--fault", "delete:doomed:3"]);
    let work = server.work();
    let keys = "collection = 'staging/doomed'\nconcurrency = 1\ngone = 'reject'";
    work.file("job.toml", format!("limits.rejects = 3\nrejects.path = 'rejects.ndjson'\n{}", job(keys)));
    let report = work.report(0, &["job.toml"]);
    assert_eq!(splits(&report).iter().filter(|(_, state)| *state == "failed").count(), 0);
    // Two of its windows, and all of the other stream's; the other three windows are a reject each.
    assert_eq!(stage(&report, "points")["rows_out"], 2 * 2_160 + 10_000);
    let rejects = fs::read_to_string(work.path("rejects.ndjson")).unwrap();
    let rejects: Vec<Value> = rejects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rejects.len(), 3);
    for reject in &rejects {
        assert_eq!(reject["reason"], "stream_gone", "{reject}");
        assert!(reject["message"].as_str().unwrap().contains("error 404: stream does not exist"), "{reject}");
        assert!(reject["record"].as_str().unwrap().starts_with("staging/doomed/doomed "), "{reject}");
    }
    assert_eq!(fs::read_to_string(work.path("rows.ndjson")).unwrap().lines().count(), 2 * 2_160 + 10_000);
}

#[test]
fn a_server_that_dies_is_given_up_and_one_that_comes_back_goes_on() {
    for comes_back in [false, true] {
        let mut server = Server::start(&["--fault", "hang:even:1:2", "--piece", "1000"]);
        let work = server.work();
        let attempts = if comes_back { 200 } else { 3 };
        let keys = format!("concurrency = 2\nretry = {{ attempts = {attempts}, backoff = '20ms' }}");
        work.file("job.toml", job(&format!("{EDGES}\n{keys}")));
        let running = Running::start(&work, &["job.toml"]);
        server.wait_for_hang();
        server.kill();
        if comes_back {
            // Meanwhile it is asked in vain.
            thread::sleep(Duration::from_millis(500));
            server.restart(&[]);
        }
        let ran = running.end();
        if comes_back {
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            let said = oracle(&work, "btrdb_read.py", &["raw", "staging/edges", "rows.ndjson"]);
            assert_eq!((said.code, said.stderr.as_str()), (0, ""));
        } else {
            ends(&ran, 69, &["given up after 3 attempts", "staging/edges/even "]);
        }
    }
}

/// Of each stream the last point, in a table. A window that cannot be read now is read by the next attempt, and is
/// not stored over the windows after it.
#[test]
fn rows_take_the_place_of_others_in_order_whatever_fails() {
    let keys = format!("{EDGES}\nconcurrency = 1\ncolumns = ['name', 'time', 'value']\n{HASTY}");
    let job = job(&keys);
    let (source, _) = job.split_once("[sinks.rows]").unwrap();
    let table = "[sinks.table]\ntype = 'sqlite'\ninput = 'points'\ndatabase = 't.db'\ntable = 't'\n\
                 mode = 'upsert'\nconflict = ['name']\n";
    let last = |faults: &[&str]| {
        let mut server = Server::start(faults);
        let work = server.work();
        work.file("job.toml", format!("{source}{table}"));
        if !faults.is_empty() {
            ends(&work.run(&["job.toml"]), 74, &["ordered"]);
            server.restart(&[]);
        }
        let report = work.report(0, &["job.toml"]);
        let connection = rusqlite::Connection::open(work.path("t.db")).unwrap();
        let mut found = connection.prepare("select name, time, value from t order by name").unwrap();
        let texts = |row: &rusqlite::Row<'_>| {
            Ok([0, 1, 2].map(|at| format!("{:?}", row.get::<_, rusqlite::types::Value>(at).unwrap())))
        };
        let found: Vec<[String; 3]> = found.query_map([], texts).unwrap().map(Result::unwrap).collect();
        (found, report["run"]["splits_kept"].as_u64().unwrap())
    };
    let (undisturbed, kept) = last(&[]);
    assert_eq!((undisturbed.len(), kept), (9, 0));
    // The first stream has three windows before that of `even`. One window of `hollow` has no row, and so no receipt: it
    // is read again.
    assert_eq!(last(&["--fault", "stat:even:2:500"]), (undisturbed, 3));
}

#[test]
fn tls_is_spoken_with_servers_that_are_vouched_for() {
    let files = Work::new();
    let [certificate, key] = certificate(&files);
    let [_, other_key] = self::certificate(&Work::new());
    assert_ne!(key, other_key);
    let server = Server::start(&["--tls", &certificate, &key]);
    let keys = |more: &str| format!("collection = 'staging/nameless'\n{HASTY}\n{more}");
    let run = |more: &str| run(&server.address, &keys(more));
    ends(&run(&format!("tls = true\nca = '{certificate}'")), 0, &[]);
    // The other name of the file is a variable that other clients know.
    let work = server.work().env("BTRDB_CA_BUNDLE", &certificate);
    work.file("job.toml", job(&keys("tls = true")));
    work.expect(0, &["job.toml"]);
    // Nobody vouches for it: told at once.
    let start = Instant::now();
    let distrusted = run("tls = true");
    ends(&distrusted, 69, &["certificate"]);
    assert!(!distrusted.stderr.contains("attempt 1"), "{:?} {}", start.elapsed(), distrusted.stderr);
    let not_pem = files.path("text");
    fs::write(&not_pem, "text").unwrap();
    ends(&run(&format!("tls = true\nca = '{}'", not_pem.display())), 78, &["holds no certificate"]);
    // One side speaks TLS and the other does not.
    ends(&run(""), 69, &[]);
    let plain = Server::start(&[]);
    ends(&self::run(&plain.address, &keys(&format!("tls = true\nca = '{certificate}'"))), 69, &[]);
    // The wrong key is refused here as well.
    let work = server.work().env("BTRDB_API_KEY", &format!("{KEY}o"));
    work.file("job.toml", job(&keys(&format!("tls = true\nca = '{certificate}'"))));
    ends(&work.run(&["job.toml"]), 77, &["the API key is not valid"]);
}
