//! Kills the program at random instants, runs the same command again with other numbers of workers and other sizes of
//! batches, and compares what is there in the end with what an undisturbed run leaves: nothing lost, nothing twice.
//!
//! `RUNNER_KILLS` says how many kills each job must survive, `RUNNER_SEED` where chance begins. With the feature
//! `failpoints` half of the kills come at a named point of the program, not at a random time.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant, SystemTime},
};

use rusqlite::{Connection, types::Value as SqlValue};
use serde_json::Value;

use crate::{
    apps::{App, apps, text},
    postgres::Database,
    servers::Servers,
    work::{Work, project},
};

/// Kills that each job must survive, unless `RUNNER_KILLS` says otherwise.
const KILLS: usize = 6;
/// A run that was killed so often may end.
const PER_RUN: usize = 6;

/// Points at which a process is stopped and killed, and how often it may pass them before.
const POINTS: &[(&str, u64)] = &[
    ("ledger-note", 4),
    ("ledger-noted", 4),
    ("run-stored", 1),
    ("run-cleared", 1),
    ("files-published", 3),
    ("changelog-saved", 2),
    ("postgres-commit", 4),
    ("done", 4),
    ("sqlite-commit", 6),
    ("sqlite-committed", 6),
    ("kv-put", 6),
];

/// What a job left, by name: rows, documents, files.
type Left = BTreeMap<String, String>;

/// A job in small.
struct Case<'a> {
    name: &'a str,
    args: &'a [&'a str],
    /// Settings, each with the values that an attempt may have.
    vary: &'a [(&'a str, &'a [&'a str])],
    /// A folder with its input.
    folder: &'a dyn Fn() -> Work,
    left: &'a dyn Fn(&Work) -> Left,
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

impl Case<'_> {
    fn survives(&self) {
        let kills = number("RUNNER_KILLS").map_or(KILLS, |kills| kills as usize);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = number("RUNNER_SEED").unwrap_or(now.as_nanos() as u64) | 1;
        let mut chance = Chance(seed);
        let work = (self.folder)();
        let start = Instant::now();
        work.expect(0, self.args);
        let time = start.elapsed();
        let expected = (self.left)(&work);
        let (mut survived, mut runs) = (0, 0);
        while survived < kills {
            let work = (self.folder)();
            survived += self.torment(&work, time, &mut chance, kills - survived, seed);
            runs += 1;
            let found = (self.left)(&work);
            let all: Vec<&String> = expected.keys().chain(found.keys()).collect();
            for name in all {
                let (expected, found) = (expected.get(name), found.get(name));
                if found != expected {
                    let differs = difference(expected.map_or("", |text| text), found.map_or("", |text| text));
                    let root = work.path("").display().to_string();
                    panic!("{} with RUNNER_SEED={seed}, run {runs}: {name}: {differs}\nsee {root}", self.name);
                }
            }
            let litter = litter(&work.path(""));
            assert!(litter.is_empty(), "{} with RUNNER_SEED={seed} leaves {litter:?}", self.name);
        }
        // What is printed by the usual way is not seen where the test is a good one.
        let _ = writeln!(std::io::stderr(), "kills: {}: survived {survived} in {runs} runs, seed {seed}", self.name);
    }

    /// Kills attempts at one run until it ends; says how many were killed.
    fn torment(&self, work: &Work, time: Duration, chance: &mut Chance, kills: usize, seed: u64) -> usize {
        let mut killed = 0;
        // One that made what was there before.
        let before = self.finished(work);
        loop {
            let mut args: Vec<String> = self.args.iter().map(|arg| (*arg).to_owned()).collect();
            for (key, values) in self.vary {
                let value = values[chance.below(values.len() as u64) as usize];
                args.extend(["--set".to_owned(), format!("{key}={value}")]);
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            if killed == kills.min(PER_RUN) {
                work.expect(0, &args);
                return killed;
            }
            let mut command = work.command(&args);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(work.path("stderr")).unwrap());
            let after = time.mul_f64(chance.below(1200) as f64 / 1000.0);
            let (point, passes) = POINTS[chance.below(POINTS.len() as u64) as usize];
            let passes = chance.below(passes + 1);
            if cfg!(feature = "failpoints") && chance.below(2) == 0 {
                // It stays there until it is killed, or never comes by.
                command.env("FAILPOINTS", format!("{point}={passes}*off->sleep(600000)"));
            }
            let mut child = command.spawn().unwrap();
            let start = Instant::now();
            let mut ended = None;
            while start.elapsed() < after && ended.is_none() {
                thread::sleep(Duration::from_millis(1).min(after));
                ended = child.try_wait().unwrap();
            }
            let status = match ended {
                Some(status) => status,
                None => {
                    child.kill().unwrap();
                    child.wait().unwrap()
                }
            };
            match status.code() {
                // Killed at the very end: the last thing that it did is to say so.
                None if self.finished(work).is_some_and(|run| Some(&run) != before.as_ref()) => return killed + 1,
                None => killed += 1,
                Some(0) => return killed,
                Some(code) => {
                    let name = self.name;
                    panic!("{name} with RUNNER_SEED={seed} exits {code} after {killed} kills\n{}", work.read("stderr"))
                }
            }
        }
    }
}

impl Case<'_> {
    /// The last job's run, if its ledger says that it is over.
    fn finished(&self, work: &Work) -> Option<String> {
        let spec = self.args.iter().rfind(|arg| arg.ends_with(".toml") || arg.ends_with(".yaml"));
        let status = work.expect(0, &["status", spec.unwrap(), "--format", "json"]).stdout;
        let status: Value = serde_json::from_str(&status).unwrap();
        (status["state"] == "finished").then(|| status["run"].as_str().unwrap().to_owned())
    }
}

/// The lines that are missing, and those that are too much.
fn difference(expected: &str, found: &str) -> String {
    let lines = |text: &str| {
        let mut lines: BTreeMap<String, i64> = BTreeMap::new();
        text.lines().for_each(|line| *lines.entry(line.to_owned()).or_default() += 1);
        lines
    };
    let mut counts = lines(expected);
    lines(found).into_iter().for_each(|(line, count)| *counts.entry(line).or_default() -= count);
    let some = |sign: i64| {
        let other =
            |(line, count): (&String, &i64)| (count * sign > 0).then(|| line.chars().take(200).collect::<String>());
        counts.iter().filter_map(other).take(3).collect::<Vec<_>>()
    };
    let all: i64 = counts.values().map(|count| count.abs()).sum();
    format!("{all} lines differ; missing, such as {:?}; too much, such as {:?}", some(1), some(-1))
}

/// What should not be there when a run is over.
fn litter(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.contains(".tmp-") || name.ends_with(".run") || name.ends_with("-wal") {
            found.push(path);
        } else if path.is_dir() {
            // What waits there for a name is nothing in the end.
            if name == ".tmp" {
                found.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                found.extend(litter(&path));
            }
        }
    }
    found
}

/// Every file in a folder.
fn files(left: &mut Left, work: &Work, folder: &str) {
    for name in work.list(folder) {
        let path = format!("{folder}/{name}");
        if work.path(&path).is_dir() {
            files(left, work, &path);
        } else {
            let bytes = fs::read(work.path(&path)).unwrap();
            left.insert(path, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

/// All tables of an SQLite file, row by row.
fn database(left: &mut Left, work: &Work, path: &str) {
    let connection = Connection::open(work.path(path)).unwrap();
    let sql = "select name from sqlite_schema where type = 'table' and name <> 'sqlite_sequence'";
    let tables: Vec<String> =
        connection.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for table in tables {
        let mut statement = connection.prepare(&format!("select * from \"{table}\" order by 1, 2")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        let mut text = String::new();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                text.push_str(&format!("{:?}|", row.get::<_, SqlValue>(column).unwrap()));
            }
            text.push('\n');
        }
        left.insert(format!("{path} {table}"), text);
    }
}

/// The reject file: every line once, in no order, without when and in which run.
fn rejects(left: &mut Left, work: &Work, path: &str) {
    let mut lines: Vec<String> = Vec::new();
    for mut line in work.json_lines(path) {
        let object = line.as_object_mut().unwrap();
        object.remove("time");
        object.remove("run");
        lines.push(line.to_string());
    }
    lines.sort();
    left.insert(path.to_owned(), lines.join("\n"));
}

const WORKERS: &[&str] = &["1", "2", "3"];
const ROWS: &[&str] = &["7", "50", "333", "5000"];
const QUEUE: &[&str] = &["1", "4"];

#[test]
fn memc() {
    let servers = Servers::start();
    let all: Vec<Vec<App>> = (0..6).map(|i| apps(&format!("f{i}x"), 300)).collect();
    let folder = || {
        for (device, _) in crate::servers::DEVICES {
            servers.of(device).flush();
        }
        let work = servers.in_env(Work::with_memc());
        for (i, some) in all.iter().enumerate() {
            let bad = format!("\nidfa\tbad{i}\nnone\tx{i}\t1\t2\t3\n");
            work.gzip(&format!("data/appsinstalled/part-{i}.tsv.gz"), text(some, "\n") + &bad);
        }
        work
    };
    let left = |work: &Work| {
        let mut left = Left::new();
        left.insert("names".into(), work.list("data/appsinstalled").join(" "));
        rejects(&mut left, work, "out/memc.rejects.ndjson");
        for (device, _) in crate::servers::DEVICES {
            let own: Vec<&App> = all.iter().flatten().filter(|app| app.device == device).collect();
            let keys: Vec<String> = own.iter().map(|app| app.key()).collect();
            for (app, value) in own.iter().zip(servers.of(device).get_all(&keys)) {
                left.insert(app.key(), (value.as_ref() == Some(&app.value())).to_string());
            }
        }
        let items: usize = crate::servers::DEVICES.iter().map(|(device, _)| servers.of(device).items()).sum();
        left.insert("items".into(), items.to_string());
        left
    };
    let vary = [
        ("sources.installs.concurrency", WORKERS),
        ("sources.installs.batch.rows", ROWS),
        ("sinks.cache.concurrency", WORKERS),
        ("sinks.cache.batch.rows", ROWS),
    ];
    let args = ["jobs/memc.toml", "--set", "sinks.cache.verify.sample=20"];
    Case { name: "memc", args: &args, vary: &vary, folder: &folder, left: &left }.survives();
}

#[test]
fn sample_tables() {
    let job = "jobs/sample_tables.toml";
    let text = fs::read_to_string(project(job)).unwrap();
    let folder = || {
        let work = Work::new();
        work.file(job, &text);
        work
    };
    let left = |work: &Work| {
        let mut left = Left::new();
        database(&mut left, work, "out/main.db");
        database(&mut left, work, "out/tracking.db");
        left
    };
    let vary =
        [("sources.rows.concurrency", WORKERS), ("sources.rows.batch.rows", ROWS), ("sinks.lookup.queue", QUEUE)];
    let count = ["--set", "sources.rows.count=3000", "--set", "sources.rows.splits=9"];
    let replace = ["--set", "sinks.main.create=replace", "--set", "sinks.lookup.create=replace"];
    let one_file = ["--set", "sinks.lookup.database=out/main.db"];
    for (name, more) in [("sample_tables", &[][..]), ("sample_tables, replaced", &replace), ("in one file", &one_file)]
    {
        let args = [&[job][..], &count, more].concat();
        let left = |work: &Work| {
            if !work.path("out/tracking.db").exists() {
                let mut left = Left::new();
                database(&mut left, work, "out/main.db");
                return left;
            }
            left(work)
        };
        Case { name, args: &args, vary: &vary, folder: &folder, left: &left }.survives();
    }
}

#[test]
fn sample_tables_postgres() {
    let job = "jobs/sample_tables_postgres.toml";
    let text = fs::read_to_string(project(job)).unwrap();
    let server = Database::new();
    let folder = || {
        server.ask("drop table if exists sample_table; drop table if exists _runner_ledger");
        let work = Work::new().env("DATABASE_URL", &server.url());
        work.file(job, &text);
        work
    };
    // Which ids were given depends on which connection was faster.
    let left = |work: &Work| {
        let mut left = Left::new();
        left.insert("rows".into(), server.ask("select name, town from sample_table order by name"));
        left.insert("receipts".into(), server.ask("select to_regclass('_runner_ledger') is null"));
        let mut tracked = Left::new();
        database(&mut tracked, work, "out/tracking.db");
        let main = server.ask("select id, town from sample_table order by id");
        let pairs: String = main
            .lines()
            .map(|line| line.split_once('|').unwrap())
            .map(|(id, town)| format!("Integer({id})|Text({town:?})|\n"))
            .collect();
        let same = tracked["out/tracking.db sample_table_inserted_reference"] == pairs;
        left.insert("every row has its pair".into(), same.to_string());
        left
    };
    let vary =
        [("sources.rows.concurrency", WORKERS), ("sources.rows.batch.rows", ROWS), ("sinks.main.concurrency", WORKERS)];
    let count = ["--set", "sources.rows.count=2000", "--set", "sources.rows.splits=9"];
    let args = [&[job][..], &count].concat();
    let name = "sample_tables_postgres";
    Case { name, args: &args, vary: &vary, folder: &folder, left: &left }.survives();
}

#[test]
fn todo() {
    let job = "todo.yaml";
    let text = fs::read_to_string(project("jobs/todo.yaml")).unwrap();
    let folder = || {
        let work = Work::new();
        work.file(job, &text);
        let mut chance = Chance(99);
        for file in 0..4 {
            let mut lines = String::new();
            for n in 0..400 {
                let (list, id) = (chance.below(60), chance.below(9) + 1);
                let entry = format!("{{\"title\":\"{file} {n}\"}}");
                lines += &match chance.below(3) {
                    0 => format!("{{\"list\":\"l{list}\",\"op\":\"update\",\"id\":{id},\"entry\":{entry}}}\n"),
                    _ => format!("{{\"list\":\"l{list}\",\"op\":\"insert\",\"entry\":{entry}}}\n"),
                };
            }
            work.file(&format!("data/todo/{file}.ndjson"), lines);
        }
        // Some of the documents were there before.
        let some: String =
            (0..40).map(|n| format!("{{\"list\":\"l{n}\",\"op\":\"insert\",\"entry\":{{\"n\":{n}}}}}\n")).collect();
        work.file("before/0.ndjson", some);
        for more in [&[][..], &SQLITE] {
            let input = ["--set", "sources.operations.path=before/*.ndjson", "--quiet"];
            work.expect(0, &[&[job][..], &input, more].concat());
        }
        work
    };
    let left = |work: &Work| {
        let mut left = Left::new();
        files(&mut left, work, "out/persist");
        database(&mut left, work, "out/persist.db");
        rejects(&mut left, work, "out/todo.rejects.ndjson");
        left
    };
    const SQLITE: [&str; 4] = ["--set", "sinks.persist.backend=sqlite", "--set", "sinks.persist.path=out/persist.db"];
    let change = ["--set", "transforms.lists.emit=change"];
    let cast = ["--set", "sinks.persist.ack=none"];
    let vary = [
        ("sources.operations.concurrency", WORKERS),
        ("sources.operations.batch.rows", ROWS),
        ("transforms.lists.concurrency", WORKERS),
        ("sinks.persist.concurrency", WORKERS),
        ("sinks.persist.batch.rows", ROWS),
    ];
    // How many rows go to the sink is how many workers it has no business with.
    let ways: [(&str, Vec<&str>); 4] = [
        ("todo", vec![]),
        ("todo, SQLite", SQLITE.to_vec()),
        ("todo, each change", change.to_vec()),
        ("todo, each change cast to SQLite", [&SQLITE[..], &change, &cast].concat()),
    ];
    for (name, more) in ways {
        let args = [&[job][..], &more].concat();
        Case { name, args: &args, vary: &vary, folder: &folder, left: &left }.survives();
    }
}

#[test]
fn movies() {
    let jobs =
        ["movies.toml", "movie_list.toml"].map(|job| (job, fs::read_to_string(project("jobs").join(job)).unwrap()));
    let folder = || {
        let work = Work::new();
        jobs.iter().for_each(|(job, text)| work.file(job, text));
        work
    };
    let left = |work: &Work| {
        let mut left = Left::new();
        files(&mut left, work, "out");
        left
    };
    let vary = [
        ("movies:sources.movies.concurrency", WORKERS),
        ("movies:sources.movies.batch.rows", ROWS),
        ("movie_list:sources.movies.batch.rows", ROWS),
        ("movie_list:sources.movies.concurrency", WORKERS),
    ];
    let args = ["movies.toml", "movie_list.toml", "--set", "movies:sources.movies.count=400"];
    Case { name: "movies, movie_list", args: &args, vary: &vary, folder: &folder, left: &left }.survives();
}

/// Several sinks, of which some hold rows once and some are whole or absent, and files that are done with.
#[test]
fn sinks_of_all_kinds_at_once() {
    let job = "name = 'all'\n[limits]\nrejects = '100%'\n[rejects]\npath = 'out/rejects.ndjson'\n\
        [sources.rows]\ntype = 'files'\npath = 'in/*.tsv'\nformat = 'tsv'\ncolumns = ['k int64', 'v string']\n\
        done = { move = 'old' }\n\
        [sinks.table]\ntype = 'sqlite'\ninput = 'rows'\ndatabase = 'out/t.db'\ntable = 't'\nconflict = ['k']\n\
        [sinks.each]\ntype = 'files'\ninput = 'table'\npath = 'out/part-{split}.csv'\nformat = 'csv'\n\
        [sinks.rolled]\ntype = 'files'\ninput = 'rows'\npath = 'out/rolled.ndjson.gz'\nformat = 'ndjson'\nmax_bytes = '2KiB'\n\
        [sinks.valued]\ntype = 'files'\ninput = 'rows'\npath = 'out/v/{v}.tsv'\nformat = 'tsv'\n\
        [sinks.kv]\ntype = 'kv'\ninput = 'rows'\npath = 'out/kv'\nkey = 'v'\nvalue = \"concat('{\\\"k\\\":', k, '}')\"\n";
    let folder = || {
        let work = Work::new();
        work.file("all.toml", job);
        for file in 0..5 {
            // Every tenth key has been there, and is refused by the table.
            let line = |n: i32| format!("{}\tv{}\n", if n % 10 == 9 { 0 } else { file * 100 + n }, n % 7);
            work.file(&format!("in/{file}.tsv"), (0..100).map(line).collect::<String>() + "bad\n");
        }
        work
    };
    let left = |work: &Work| {
        let mut left = Left::new();
        database(&mut left, work, "out/t.db");
        let found = (files(&mut left, work, "out"), work.list("old").join(" ")).1;
        left.insert("old".into(), found);
        // Compared row by row above.
        left.remove("out/t.db");
        rejects(&mut left, work, "out/rejects.ndjson");
        left
    };
    let vary = [
        ("sources.rows.concurrency", WORKERS),
        ("sources.rows.batch.rows", ROWS),
        ("sinks.table.batch.rows", ROWS),
        ("sinks.kv.concurrency", WORKERS),
    ];
    Case { name: "all kinds", args: &["all.toml"], vary: &vary, folder: &folder, left: &left }.survives();
}
