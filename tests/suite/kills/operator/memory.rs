//! A job whose target keeps all in memory, and loses it: between a kill and the next attempt, and while one is under way.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write as _},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    super::killing::{Chance, Killed, Point, kills, seed},
    ended,
};
use crate::{servers::Memcached, work::Work};

const POINTS: &[Point] = &[
    ("ledger-note", 0),
    ("ledger-note", 2),
    ("ledger-noted", 2),
    ("done", 2),
    ("run-stored", 0),
    ("run-finished", 0),
    ("run-cleared", 0),
];

/// A run that was killed so often may end.
const PER_RUN: usize = 4;

const FILES: usize = 4;
const ROWS: usize = 400;

const JOB: &str = "name = 'memory'\n\
    [sources.lines]\ntype = 'files'\npath = 'in/*.tsv'\nformat = 'tsv'\ncolumns = ['k string', 'v string']\nDONE\n\
    [sinks.cache]\ntype = 'memcached'\ninput = 'lines'\nkey = 'k'\nvalue = 'v'\nservers = { only = 'SERVER' }\n";

/// A server that may be restarted at its address.
struct Server {
    running: Memcached,
    port: String,
}

impl Server {
    fn start() -> Server {
        let running = Memcached::start(&[]);
        let port = running.address.rsplit_once(':').unwrap().1.to_owned();
        Server { running, port }
    }

    fn restart(&mut self) {
        self.running.kill();
        self.running = Memcached::start(&["-p", &self.port]);
    }

    /// Loses everything in one way or the other.
    fn lose(&mut self, chance: &mut Chance) -> &'static str {
        match chance.below(2) {
            0 => {
                self.running.flush();
                "flushed"
            }
            _ => {
                self.restart();
                "restarted"
            }
        }
    }

    /// How many connections it has had, this one among them.
    fn connections(&self) -> u64 {
        let mut stream = BufReader::new(TcpStream::connect(&self.running.address).unwrap());
        stream.get_mut().write_all(b"stats\r\n").unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            stream.read_line(&mut line).unwrap();
            if let Some(count) = line.strip_prefix("STAT total_connections ") {
                return count.trim().parse().unwrap();
            }
        }
    }
}

fn signal(process: u32, name: &str) {
    // One that is gone needs none.
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .stderr(std::process::Stdio::null())
        .status();
}

#[test]
fn memcached() {
    let name = "operator, memcached";
    let (kills, seed, start) = (kills(1), seed(), Instant::now());
    let mut chance = Chance(seed);
    let (mut killed, mut runs, mut ends) = (Killed::default(), 0, BTreeMap::<String, usize>::new());
    let mut server = Server::start();
    while killed.count() < kills {
        server.running.flush();
        let work = Work::new();
        let done = ["", "done = { rename = '.{name}' }"][chance.below(2) as usize];
        work.file("job.toml", JOB.replace("SERVER", &server.running.address).replace("DONE", done));
        for file in 0..FILES {
            let lines: String = (0..ROWS).map(|n| format!("{file}-{n}\t{runs}-{n}\n")).collect();
            work.file(&format!("in/{file}.tsv"), lines);
        }
        let log = torment(
            &work,
            &mut server,
            &mut chance,
            &mut killed,
            kills,
            &mut ends,
            &format!("{name} with RUNNER_SEED={seed}"),
        );
        let keys: Vec<String> = (0..FILES).flat_map(|file| (0..ROWS).map(move |n| format!("{file}-{n}"))).collect();
        let right = |(key, value): (&String, Option<Vec<u8>>)| {
            value == Some(format!("{runs}-{}", key.split_once('-').unwrap().1).into_bytes())
        };
        let missing =
            keys.iter().zip(server.running.get_all(&keys)).filter(|(key, value)| !right((key, value.clone()))).count();
        assert_eq!(missing, 0, "of {} values are not there: {log}", keys.len());
        runs += 1;
    }
    killed.tell(name, runs, start, seed);
    let ends: Vec<String> = ends.iter().map(|(end, times)| format!("{end} {times}")).collect();
    let _ = writeln!(std::io::stderr(), "operator: {}", ends.join(", "));
}

/// Attempts, killed or not, until one is done that the server has answered to the end.
fn torment(
    work: &Work,
    server: &mut Server,
    chance: &mut Chance,
    killed: &mut Killed,
    kills: usize,
    ends: &mut BTreeMap<String, usize>,
    name: &str,
) -> String {
    let enough = kills.min(killed.count() + PER_RUN);
    let mut log = format!("{name}, see {}\n", work.path("").display());
    let mut fresh = false;
    // The last run that was over before.
    let mut before = None;
    for _ in 0..60 {
        let mut args = vec!["job.toml".to_owned()];
        for (key, values) in
            [("sources.lines.batch.rows", ["7", "50", "333"]), ("sinks.cache.concurrency", ["1", "2", "3"])]
        {
            args.extend(["--set".to_owned(), format!("{key}={}", values[chance.below(3) as usize])]);
        }
        if fresh {
            args.push("--fresh".to_owned());
            fresh = false;
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // Until it has connected once more, nobody has asked the server again.
        let (mut asked, mut lost) = (0, "");
        let code = if killed.count() < enough {
            let (disturb, again) = (chance.below(3) == 0, Chance(chance.below(u64::MAX) | 1));
            let mut again = again;
            let meanwhile = &mut |process| {
                if disturb {
                    signal(process, "STOP");
                    lost = server.lose(&mut again);
                    asked = server.connections() + 1;
                    signal(process, "CONT");
                }
            };
            let stderr = work.path("stderr");
            killed.kill(work.command(&args), (&stderr, POINTS), Duration::from_millis(200), chance, meanwhile)
        } else {
            let ran = work.run(&args);
            work.file("stderr", &ran.stderr);
            Some(ran.code)
        };
        let code = ended(work, code, &mut before);
        let said = work.read("stderr");
        let _ = writeln!(log, "{lost} attempt: {code:?}\n{said}");
        let end = code.map_or("killed".to_owned(), |code| code.to_string());
        *ends.entry(if lost.is_empty() { end } else { format!("{lost}, {end}") }).or_default() += 1;
        match code {
            Some(0) if lost.is_empty() || server.connections() > asked => return log,
            // Lost after the server had been asked for the last time: that is for the next run, which is a new one.
            Some(0) => input_back(work),
            Some(78) => {
                assert!(said.contains("put it back and start over with `--fresh`"), "{log}");
                input_back(work);
                fresh = true;
            }
            Some(69) => assert!(said.contains("the same command sends it again"), "{log}"),
            Some(code) => panic!("{code}: {log}"),
            None => {}
        }
        if code.is_none() && chance.below(2) == 0 {
            let how = server.lose(chance);
            let _ = writeln!(log, "{how}");
            *ends.entry(how.to_owned()).or_default() += 1;
        }
    }
    panic!("no end is in sight: {log}")
}

/// Files that are done with get their names again.
fn input_back(work: &Work) {
    for name in work.list("in") {
        if let Some(old) = name.strip_prefix('.') {
            fs::rename(work.path("in").join(&name), work.path("in").join(old)).unwrap();
        }
    }
}
