//! Jobs that write files and documents, and an operator who removes these, puts older ones in their place or loses the
//! state directory between a kill and the next attempt.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    super::{
        killing::{Chance, Killed, Point, kills, seed},
        left::{Left, database, difference, files},
    },
    ended, finished,
};
use crate::work::Work;

const POINTS: &[Point] = &[
    ("files-published", 3),
    ("kv-put", 12),
    ("ledger-note", 2),
    ("ledger-noted", 2),
    ("run-stored", 0),
    ("run-finished", 0),
    ("run-cleared", 0),
];

/// A run that was killed so often may end.
const PER_RUN: usize = 4;

const SOURCE: &str = "name = 'job'\n[sources.rows]\ntype = 'files'\npath = 'in/*.tsv'\nformat = 'tsv'\n\
    columns = ['k string', 'v string']\n[sinks.all]\ninput = 'rows'\n";

const SINKS: [&str; 4] = [
    "type = 'files'\npath = 'out/all.csv'\nformat = 'csv'\n",
    "type = 'files'\npath = 'out/part-{split}.ndjson.gz'\nformat = 'ndjson'\n",
    "type = 'kv'\nkey = 'k'\nvalue = 'v'\npath = 'out/store'\n",
    "type = 'kv'\nkey = 'k'\nvalue = 'v'\npath = 'out/store'\nbackend = 'sqlite'\n",
];

/// A folder with the job, its input, and what an earlier job has left.
fn folder(sink: &str) -> Work {
    let work = Work::new();
    work.file("job.toml", format!("{SOURCE}{sink}"));
    for old in [true, false] {
        for file in 0..4 {
            let lines: String = (0..40).map(|n| format!("{file}-{n}\t{}\n", n + 1000 * i32::from(old))).collect();
            work.file(&format!("in/{file}.tsv"), lines);
        }
        if old {
            work.expect(0, &["job.toml"]);
            copy(&work, "out", "before");
        }
    }
    work
}

fn copy(work: &Work, from: &str, to: &str) {
    let mut copy = Command::new("cp");
    copy.arg("-r").args([work.path(from), work.path(to)]);
    assert!(copy.status().unwrap().success());
}

fn left(work: &Work) -> Left {
    let mut left = Left::new();
    match work.path("out/store").is_file() {
        true => database(&mut left, work, "out/store"),
        false => files(&mut left, work, "out"),
    }
    // What a finished run had no more time to remove goes with the next one.
    left.retain(|name, _| !name.contains("_runner_") && !name.contains("/.writing") && !name.contains(".tmp-"));
    left
}

/// Changes one thing. A document more or less in a store may be anybody's doing: stores go as a whole.
fn change(work: &Work, chance: &mut Chance) -> &'static str {
    match chance.below(4) {
        0 => {
            let _ = fs::remove_dir_all(work.path("out"));
            "the output is removed"
        }
        1 => {
            let _ = fs::remove_dir_all(work.path("out"));
            copy(work, "before", "out");
            "the output is put back from before"
        }
        2 => {
            let files = if work.path("out").exists() { work.list("out") } else { Vec::new() };
            let part = files.iter().find(|name| name.starts_with("part") || name.starts_with("all"));
            part.map_or("nothing is changed", |name| {
                fs::remove_file(work.path("out").join(name)).unwrap();
                "a file is removed"
            })
        }
        _ => {
            let _ = fs::remove_dir_all(work.path(".runner"));
            "the state directory is lost"
        }
    }
}

#[test]
fn files_and_documents() {
    let name = "operator, files and documents";
    let (kills, seed, start) = (kills(2), seed(), Instant::now());
    let mut chance = Chance(seed);
    let (mut killed, mut runs, mut acts) = (Killed::default(), 0, BTreeMap::<String, usize>::new());
    let expected = SINKS.map(|sink| {
        let work = folder(sink);
        work.expect(0, &["job.toml"]);
        left(&work)
    });
    while killed.count() < kills {
        let which = chance.below(SINKS.len() as u64) as usize;
        let work = folder(SINKS[which]);
        let log = torment(&work, &mut chance, &mut killed, kills, &mut acts);
        let found = left(&work);
        for name in expected[which].keys().chain(found.keys()) {
            let [expected, found] = [&expected[which], &found].map(|left| left.get(name).map_or("", |text| text));
            let about = format!("RUNNER_SEED={seed}, run {runs}: {name}, see {}\n{log}", work.path("").display());
            assert!(expected == found, "{about}{}", difference(expected, found));
        }
        runs += 1;
    }
    killed.tell(name, runs, start, seed);
    let acts: Vec<String> = acts.iter().map(|(act, times)| format!("{act} {times}")).collect();
    let _ = writeln!(std::io::stderr(), "operator: {}", acts.join(", "));
}

/// Attempts, killed or not, until one is done. Every one that is not killed must be.
fn torment(
    work: &Work,
    chance: &mut Chance,
    killed: &mut Killed,
    kills: usize,
    acts: &mut BTreeMap<String, usize>,
) -> String {
    let enough = kills.min(killed.count() + PER_RUN);
    let (mut log, mut before) = (String::new(), finished(work));
    loop {
        let rows = format!("sources.rows.batch.rows={}", ["7", "50", "333"][chance.below(3) as usize]);
        let args = ["job.toml", "--set", &rows];
        let code = if killed.count() < enough {
            let stderr = work.path("stderr");
            killed.kill(work.command(&args), (&stderr, POINTS), Duration::from_millis(150), chance, &mut |_| ())
        } else {
            let ran = work.run(&args);
            work.file("stderr", &ran.stderr);
            Some(ran.code)
        };
        let code = ended(work, code, &mut before);
        let _ = writeln!(log, "attempt: {code:?}\n{}", work.read("stderr"));
        match code {
            Some(0) => return log,
            Some(code) => panic!("{code}: {log}see {}", work.path("").display()),
            None if chance.below(4) > 0 => {
                let act = change(work, chance);
                let _ = writeln!(log, "{act}");
                *acts.entry(act.to_owned()).or_default() += 1;
                before = finished(work);
            }
            None => {}
        }
    }
}
