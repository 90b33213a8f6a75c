//! A bad line between the program and its servers: slow, cut, half closed, silent, full of garbage. Every run ends
//! soon, and either has done all of its work or says with its exit code that it has not; without the trouble, a rerun
//! does.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    apps::{apps, text},
    postgres::database::Database,
    running::Running,
    servers::{Servers, service},
    work::{Ran, Work},
};

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Every piece comes later, both ways.
    Delay(Duration),
    /// So many bytes a hundredth of a second, both ways.
    Throttle(usize),
    /// After so many bytes to the server, both are cut off.
    CutTo(usize),
    /// After so many bytes of answers, both are cut off.
    CutFrom(usize),
    /// After so many bytes of answers no more come, and the server hears an end; the program's side stays open.
    HalfClose(usize),
    /// After so many bytes of answers nothing comes any more.
    Silence(usize),
    /// After so many bytes of answers come others than the server's.
    Garbage(usize),
}

/// An address before `server` whose first `bad` connections have trouble; the others are passed on.
fn before(server: &str, trouble: Trouble, bad: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (server, count) = (server.to_owned(), Arc::new(AtomicUsize::new(0)));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(behind) = TcpStream::connect(&server) else { continue };
            let trouble = (count.fetch_add(1, Ordering::SeqCst) < bad).then_some(trouble);
            let (from, to) = (client.try_clone().unwrap(), behind.try_clone().unwrap());
            thread::spawn(move || pass(from, to, trouble, true));
            thread::spawn(move || pass(behind, client, trouble, false));
        }
    });
    address
}

/// Passes bytes on until the end, or until the trouble is there.
fn pass(mut from: TcpStream, mut to: TcpStream, trouble: Option<Trouble>, up: bool) -> Option<()> {
    let piece = if let Some(Trouble::Throttle(bytes)) = trouble { bytes } else { 1 << 14 };
    let most = match trouble {
        Some(Trouble::CutTo(most)) if up => most,
        Some(Trouble::CutFrom(n) | Trouble::HalfClose(n) | Trouble::Silence(n) | Trouble::Garbage(n)) if !up => n,
        _ => usize::MAX,
    };
    let (mut bytes, mut passed) = (vec![0; piece], 0);
    loop {
        let len = from.read(&mut bytes).ok()?;
        if len == 0 {
            return to.shutdown(Shutdown::Write).ok();
        }
        match trouble {
            Some(Trouble::Delay(by)) => thread::sleep(by),
            Some(Trouble::Throttle(_)) => thread::sleep(Duration::from_millis(10)),
            _ => {}
        }
        let some = len.min(most - passed);
        to.write_all(&bytes[..some]).ok()?;
        passed += some;
        if passed < most {
            continue;
        }
        match trouble {
            Some(Trouble::Garbage(_)) => to.write_all(&[0xfe, 0, 0x5a, b'\r', b'\n', 0xff].repeat(50)).ok()?,
            Some(Trouble::HalfClose(_)) => return from.shutdown(Shutdown::Write).ok(),
            Some(Trouble::Silence(_)) => loop {
                if from.read(&mut bytes).ok()? == 0 {
                    return None;
                }
            },
            _ => {
                let _ = from.shutdown(Shutdown::Both);
                return to.shutdown(Shutdown::Both).ok();
            }
        }
    }
}

/// Troubles of lines whose conversation has about so many bytes.
fn troubles(long: usize) -> Vec<Trouble> {
    let mut all = vec![Trouble::Delay(Duration::from_millis(5)), Trouble::Throttle(4096)];
    for at in [0, 1, long / 4, long / 2, long] {
        all.extend([Trouble::CutTo(at), Trouble::CutFrom(at), Trouble::HalfClose(at), Trouble::Silence(at)]);
        all.push(Trouble::Garbage(at));
    }
    all
}

/// Runs the program, which must end soon.
fn ends(work: &Work, args: &[&str]) -> Ran {
    Running::start(work, args).end()
}

fn report(name: &str, runs: usize, done: usize) {
    let said = format!("{name} behind a bad line: {runs} runs, {done} of them did all of their work\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
}

#[test]
fn memcached_behind_a_bad_line() {
    let (mut runs, mut done) = (0, 0);
    for trouble in troubles(20_000) {
        for bad in [1, usize::MAX] {
            let all = apps("p", 400);
            let servers = Servers::start();
            let address = before(&servers.0[0].address, trouble, bad);
            let work = servers.in_env(Work::with_memc()).env("MEMC_IDFA", &address);
            work.gzip("data/appsinstalled/part.tsv.gz", text(&all, "\n"));
            let quick = [
                "sinks.cache.retry.timeout=300ms",
                "sinks.cache.retry.backoff=5ms",
                "sinks.cache.retry.attempts=3",
                "sources.installs.batch.rows=50",
            ];
            let args: Vec<&str> =
                ["jobs/memc.toml"].into_iter().chain(quick.iter().flat_map(|set| ["--set", *set])).collect();
            let ran = ends(&work, &args);
            runs += 1;
            let name = work.list("data/appsinstalled").concat();
            match ran.code {
                0 => {
                    done += 1;
                    assert_eq!(name, ".part.tsv.gz");
                }
                // All was stored, and only reading back failed.
                69 if name == ".part.tsv.gz" => {}
                69 => {
                    let direct = servers.in_env(Work::with_memc());
                    direct.gzip("data/appsinstalled/part.tsv.gz", text(&all, "\n"));
                    direct.expect(0, &["jobs/memc.toml"]);
                }
                code => panic!("{trouble:?} for {bad}: exit {code}\n{}", ran.stderr),
            }
            assert_eq!(servers.items().iter().sum::<usize>(), all.len(), "{trouble:?} for {bad}");
            for app in all.iter().step_by(133) {
                assert_eq!(servers.of(app.device).get(&app.key()), Some(app.value()), "{trouble:?} for {bad}");
            }
        }
    }
    report("memcached", runs, done);
}

const COPY: &str = r#"
name = "copy"

[sources.rows]
type = "files"
path = "in.tsv"
format = "tsv"
columns = ["n int64", "name string"]

[sinks.table]
type = "postgres"
input = "rows"
url = "${DATABASE_URL}"
table = "copied"
statement_timeout = "300ms"
retry = { attempts = 3, backoff = "5ms", timeout = "400ms" }
"#;

#[test]
fn postgres_behind_a_bad_line() {
    let direct = service("DATABASE_URL");
    let server = direct.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let (mut runs, mut done) = (0, 0);
    for trouble in troubles(600) {
        for bad in [1, usize::MAX] {
            let database = Database::new();
            let through = database.url().replace(&server, &before(&server, trouble, bad));
            database.ask("create table copied (n bigint, name text)");
            database.work.file("copy.toml", COPY);
            database.work.file("in.tsv", (0..300).map(|n| format!("{n}\tname {n}\n")).collect::<String>());
            let args = ["copy.toml", "--set", &format!("sinks.table.url={through}")];
            let ran = ends(&database.work, &args);
            runs += 1;
            let stored = database.ask("select count(*), count(distinct n) from copied");
            match ran.code {
                0 => {
                    done += 1;
                    assert_eq!(stored, "300|300", "{trouble:?} for {bad}: {}", ran.stderr);
                }
                69 => assert!(["0|0", "300|300"].contains(&stored.as_str()), "{trouble:?} for {bad}: {stored}"),
                code => panic!("{trouble:?} for {bad}: exit {code}\n{}", ran.stderr),
            }
            if stored == "0|0" {
                database.work.expect(0, &["copy.toml"]);
                assert_eq!(database.ask("select count(*), count(distinct n) from copied"), "300|300");
            }
        }
    }
    report("PostgreSQL", runs, done);
}

const POINTS: &str = r#"
name = "points"

[sources.points]
type = "btrdb"
endpoint = "${BTRDB_ENDPOINTS}"
api_key = { env = "BTRDB_API_KEY" }
collection = "staging/edges"
tags = { name = "even" }
columns = ["time", "value"]
window = "12h"
concurrency = 2
timeout = "300ms"
retry = { attempts = 3, backoff = "5ms", timeout = "400ms" }

[sinks.rows]
type = "files"
input = "points"
path = "rows.ndjson"
format = "ndjson"
"#;

#[test]
fn btrdb_behind_a_bad_line() {
    let direct = service("BTRDB_ENDPOINTS");
    let (undisturbed, mut runs, mut done) = (Work::new(), 0, 0);
    undisturbed.file("points.toml", POINTS);
    undisturbed.expect(0, &["points.toml"]);
    let expected = undisturbed.read("rows.ndjson");
    assert_eq!(expected.lines().count(), 8_641);
    // Of three splits each is about 80,000 bytes.
    for trouble in troubles(60_000) {
        for bad in [1, usize::MAX] {
            let work = Work::new();
            work.file("points.toml", POINTS);
            let through = before(&direct, trouble, bad);
            let mut work = work.env("BTRDB_ENDPOINTS", &through);
            let ran = ends(&work, &["points.toml"]);
            runs += 1;
            match ran.code {
                0 => done += 1,
                69 => {
                    assert!(!work.path("rows.ndjson").exists(), "{trouble:?} for {bad}: half a file");
                    work = work.env("BTRDB_ENDPOINTS", &direct);
                    work.expect(0, &["points.toml"]);
                }
                code => panic!("{trouble:?} for {bad}: exit {code}\n{}", ran.stderr),
            }
            assert!(work.read("rows.ndjson") == expected, "{trouble:?} for {bad}: {}", ran.stderr);
        }
    }
    report("BTrDB", runs, done);
}
