//! Kills the program at random instants, runs the same command again with other numbers of workers and other sizes of
//! batches, and compares what is there in the end with what an undisturbed run leaves: nothing lost, nothing twice.
//!
//! `RUNNER_KILLS` says how many kills the jobs of each test must survive, `RUNNER_SEED` where chance begins. With the feature
//! `failpoints` half of the kills come at a named point of the program, not at a random time.

pub mod case;
mod killing;
pub mod left;
mod operator;

use std::{fs, path::Path};

use self::{
    case::Case,
    killing::Chance,
    left::{Left, database, files, rejects},
};
use crate::{
    apps::{App, apps, text},
    postgres::Database,
    servers::{Servers, service},
    spilling,
    work::{Work, project},
};

const WORKERS: &[&str] = &["1", "2", "3"];
const ROWS: &[&str] = &["7", "50", "333", "5000"];
const QUEUE: &[&str] = &["1", "4"];

/// Copies what is in a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        match path.is_dir() {
            true => copy(&path, &to.join(name)),
            false => drop(fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}

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
    Case { name: "memc", args: &args, vary: &vary, folder: &folder, left: &left }.survives(1);
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
    let one_file = [
        ["--set", "sinks.lookup.database=out/main.db"],
        ["--set", "sinks.main.journal_mode=delete"],
        ["--set", "sinks.lookup.journal_mode=delete"],
    ];
    let one_file = one_file.concat();
    let empty = ["--set", "sinks.main.create=truncate", "--set", "sinks.lookup.create=truncate"];
    let ways = [("sample_tables", &[][..]), ("replaced", &replace), ("emptied", &empty), ("in one file", &one_file)];
    for (name, more) in ways {
        let args = [&[job][..], &count, more].concat();
        let left = |work: &Work| {
            if !work.path("out/tracking.db").exists() {
                let mut left = Left::new();
                database(&mut left, work, "out/main.db");
                return left;
            }
            left(work)
        };
        Case { name, args: &args, vary: &vary, folder: &folder, left: &left }.survives(4);
    }
}

#[test]
fn sample_tables_postgres() {
    let job = "jobs/sample_tables_postgres.toml";
    let text = fs::read_to_string(project(job)).unwrap();
    let server = Database::new();
    let folder = || {
        server.ask("drop table if exists sample_table; drop table if exists _runner_receipts");
        let work = Work::new().env("DATABASE_URL", &server.url());
        work.file(job, &text);
        work
    };
    // Which ids were given depends on which connection was faster.
    let left = |work: &Work| {
        let mut left = Left::new();
        left.insert("rows".into(), server.ask("select name, town from sample_table order by name"));
        if server.ask("select to_regclass('_runner_receipts') is not null") == "t" {
            left.insert("_runner_receipts".into(), "there".into());
        }
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
        [("sinks.main.concurrency", WORKERS), ("sources.rows.concurrency", WORKERS), ("sources.rows.batch.rows", ROWS)];
    let count = ["--set", "sources.rows.count=2000", "--set", "sources.rows.splits=9"];
    let args = [&[job][..], &count].concat();
    Case { name: "sample_tables_postgres", args: &args, vary: &vary, folder: &folder, left: &left }.survives(2);
    // Who has which rows is not for an attempt to change: the number of workers stays.
    let keyed = ["--set", "sinks.main.partition_by=name", "--set", "sinks.main.concurrency=2"];
    let (name, args) = ("sample_tables_postgres, divided by key", [&args[..], &keyed].concat());
    Case { name, args: &args, vary: &vary[1..], folder: &folder, left: &left }.survives(2);
}

#[test]
fn todo() {
    let job = "todo.yaml";
    let text = fs::read_to_string(project("jobs/todo.yaml")).unwrap();
    let before = {
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
    let folder = || {
        let work = Work::new();
        copy(&before.path(""), &work.path(""));
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
        Case { name, args: &args, vary: &vary, folder: &folder, left: &left }.survives(4);
    }
}

/// All files of the folder `out`.
fn out(work: &Work) -> Left {
    let mut left = Left::new();
    files(&mut left, work, "out");
    left
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
    let vary = [
        ("movies:sources.movies.concurrency", WORKERS),
        ("movies:sources.movies.batch.rows", ROWS),
        ("movie_list:sources.movies.batch.rows", ROWS),
        ("movie_list:sources.movies.concurrency", WORKERS),
    ];
    let args = ["movies.toml", "movie_list.toml", "--set", "movies:sources.movies.count=400"];
    Case { name: "movies, movie_list", args: &args, vary: &vary, folder: &folder, left: &out }.survives(1);
}

#[test]
fn quality() {
    let jobs = ["series_quality.toml", "stream_quality.toml"];
    let texts = jobs.map(|job| fs::read_to_string(project("jobs").join(job)).unwrap());
    let folder = || {
        let work = Work::new();
        jobs.iter().zip(&texts).for_each(|(job, text)| work.file(job, text));
        // Three sensors, whose points go on from file to file.
        for file in 0..5 {
            let line = |n: i64| {
                let (sensor, minute) = (n % 3, file * 600 + n / 3);
                let time = format!("2024-03-{:02}T{:02}:{:02}:00Z", 1 + minute / 1440, minute / 60 % 24, minute % 60);
                format!("s{sensor},1,{time},{}.5\n", (n * 7919) % 60)
            };
            let lines: String = (0..1800).map(line).collect();
            work.file(&format!("in/{file}.csv"), format!("uuid,version,time,value\n{lines}"));
        }
        work
    };
    let vary = [
        ("sources.sensors.concurrency", WORKERS),
        ("sources.sensors.batch.rows", ROWS),
        ("transforms.quality.concurrency", WORKERS),
        ("transforms.quality.batch.rows", ROWS),
    ];
    let csv = ["--set", "sources.sensors.format=csv", "--set", "sources.sensors.path=in/*.csv"];
    let args = [&jobs[..1], &csv].concat();
    Case { name: "series_quality", args: &args, vary: &vary, folder: &folder, left: &out }.survives(2);
    service("BTRDB_ENDPOINTS");
    let edges = ["collection=staging/edges", "from=2024-01-01", "to=2024-01-01T13:00:00Z", "window=2h"]
        .map(|setting| format!("sources.sensors.{setting}"));
    let edges: Vec<&str> = edges.iter().flat_map(|setting| ["--set", setting]).collect();
    let args = [&jobs[1..], &edges].concat();
    Case { name: "stream_quality", args: &args, vary: &vary, folder: &folder, left: &out }.survives(2);
}

/// Rows that go to disk and come back before any of them is stored.
#[test]
fn spilled() {
    let folder = || spilling::folder(4);
    let vary = [
        ("sources.rows.concurrency", WORKERS),
        ("sources.rows.batch.rows", ROWS),
        ("limits.memory", &["128KiB", "256KiB", "1MiB", "64MiB"]),
    ];
    let outer = [&["job.toml", "--set", "transforms.joined.how=full"][..], &spilling::OTHERS].concat();
    for (name, args) in [("spilled", &["job.toml"][..]), ("spilled outer join", &outer)] {
        Case { name, args, vary: &vary, folder: &folder, left: &out }.survives(3);
    }
    let folder = || {
        let work = folder();
        work.file("join.toml", spilling::into_table("full"));
        work
    };
    let left = |work: &Work| {
        let mut left = Left::new();
        database(&mut left, work, "out/t.db");
        rejects(&mut left, work, "out/rejects.ndjson");
        left
    };
    let args = [&["join.toml", "--set", "limits.rejects=100%"][..], &spilling::OTHERS].concat();
    Case { name: "outer join into a table", args: &args, vary: &vary, folder: &folder, left: &left }.survives(3);
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
    Case { name: "all kinds", args: &["all.toml"], vary: &vary, folder: &folder, left: &left }.survives(1);
}
