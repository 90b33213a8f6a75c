//! Every write, fsync, rename and connect of small jobs fails in turn: the first, the second, and so on, once and for
//! good, until a run does not come that far. Each run has either done all of its work, or says with its exit code
//! what it could not do; then no file that it left is half of one, and the same command does the rest.

use std::io::Write;

use crate::{
    apps::{App, apps, text},
    kills::left::{Left, database, difference, files, litter, rejects},
    running::Running,
    servers::{DEVICES, Servers},
    spilling,
    work::{Ran, Work},
};

/// More faults at one point than any of these jobs can have.
const MOST: usize = 3000;

/// A small job.
struct Case<'a> {
    name: &'a str,
    args: &'a [&'a str],
    /// Points where it fails, and the exit codes that say so.
    points: &'a [(&'a str, &'a [i32])],
    /// A folder with its input.
    folder: &'a dyn Fn() -> Work,
    left: &'a dyn Fn(&Work) -> Left,
}

/// What was found so far.
#[derive(Default)]
struct Count {
    injected: usize,
    rerun: usize,
}

impl Case<'_> {
    fn sweep(&self) {
        let work = (self.folder)();
        let before = whole(&work);
        work.expect(0, self.args);
        let expected = (self.left)(&work);
        let wholes = [before, whole(&work)];
        let mut count = Count::default();
        for (point, codes) in self.points {
            let mut nth = 0;
            while self.fails(&format!("{point}={nth}*off->return"), codes, &expected, &wholes, &mut count) {
                self.fails(&format!("{point}={nth}*off->1*return->off"), codes, &expected, &wholes, &mut count);
                // All of the first, then ever fewer: a job that spills writes hundreds of parts.
                nth += 1 + nth / 32;
                assert!(nth < MOST, "{}: there is no end of `{point}`", self.name);
            }
            assert!(nth > 0, "{} does not come by `{point}`", self.name);
        }
        let Count { injected, rerun } = count;
        let said = format!("faults: {}: {injected} injected, {rerun} runs resumed\n", self.name);
        std::io::stderr().write_all(said.as_bytes()).unwrap();
    }

    /// Runs the job with a fault, and again where that is asked for. Says whether it was.
    fn fails(&self, fault: &str, codes: &[i32], expected: &Left, wholes: &[Left; 2], count: &mut Count) -> bool {
        let work = (self.folder)();
        let ran = Running::spawn(work.command(self.args).env("FAILPOINTS", fault)).end();
        let about = format!("{} with {fault}", self.name);
        assert!(!ran.stderr.contains("panicked"), "{about}: {}", ran.stderr);
        let failed = ran.code != 0;
        if failed {
            assert!(codes.contains(&ran.code), "{about}: exit {}\n{}", ran.code, ran.stderr);
            for (name, text) in whole(&work) {
                let known = wholes.iter().any(|whole| whole.get(&name) == Some(&text));
                assert!(known, "{about}: {name} is not whole: {text}");
            }
            (count.injected, count.rerun) = (count.injected + 1, count.rerun + 1);
            if fault.ends_with("->off") || !self.ends_in_spite(&work, fault, codes, count) {
                let again = Running::start(&work, self.args).end();
                assert_eq!(again.code, 0, "{about}, again: {}\nafter\n{}", again.stderr, ran.stderr);
            }
        } else if fault.ends_with("->off") {
            count.injected += 1;
        }
        self.compare(&work, &about, &ran, expected);
        failed
    }

    /// Runs the job again, which now fails wherever it comes by. Says whether it has ended all the same.
    fn ends_in_spite(&self, work: &Work, fault: &str, codes: &[i32], count: &mut Count) -> bool {
        let (point, _) = fault.split_once('=').unwrap();
        let ran = Running::spawn(work.command(self.args).env("FAILPOINTS", format!("{point}=return"))).end();
        let known = ran.code == 0 || codes.contains(&ran.code);
        assert!(known && !ran.stderr.contains("panicked"), "{} with {fault}, again: {ran:?}", self.name);
        count.injected += usize::from(ran.code != 0);
        ran.code == 0
    }

    fn compare(&self, work: &Work, about: &str, ran: &Ran, expected: &Left) {
        let mut found = (self.left)(work);
        if ran.stderr.contains(CLEARED_LATER) {
            found.retain(|name, _| !name.contains("_runner_") && !name.contains("/.writing"));
        }
        for name in expected.keys().chain(found.keys()) {
            let [expected, found] = [expected, &found].map(|left| left.get(name).map_or("", |text| text));
            assert!(expected == found, "{about}: {name}: {}\n{}", difference(expected, found), ran.stderr);
        }
        assert_eq!(litter(&work.path("")), [""; 0].map(std::path::PathBuf::from), "{about}");
    }
}

/// All is stored, and what targets have kept of the run could not be removed: so it says, and ends well.
const CLEARED_LATER: &str = "goes when the next one begins";

/// The files that are whole or absent, whatever happens.
fn whole(work: &Work) -> Left {
    let mut left = Left::new();
    if work.path("out").exists() {
        files(&mut left, work, "out");
    }
    left.retain(|name, _| !name.contains("/.") && !name.contains(".db") && !name.contains("rejects"));
    left
}

/// What every run that keeps a ledger and a report comes by.
const LEDGER: (&str, &[i32]) = ("ledger-commit", &[74]);
const REPORT: [(&str, &[i32]); 2] = [("report-write", &[73]), ("report-rename", &[73])];
const REJECTS: [(&str, &[i32]); 3] = [("reject-create", &[73]), ("reject-write", &[74]), ("reject-sync", &[74])];

#[test]
fn files_of_all_kinds() {
    const JOB: &str = "name = 'list'\n[limits]\nrejects = '50%'\n[rejects]\npath = 'out/rejects.ndjson'\n\
        [sources.movies]\ntype = 'files'\npath = 'in/*.ndjson'\nformat = 'ndjson'\n\
        columns = ['id int64', 'title string', 'year int64']\nconcurrency = 2\nbatch = { rows = 4 }\n\
        done = { rename = '.{name}' }\n\
        [transforms.recent]\ntype = 'filter'\ninput = 'movies'\nwhere = 'year >= 1990'\n\
        [sinks.list]\ntype = 'files'\ninput = 'recent'\npath = 'out/list.ndjson.gz'\nformat = 'ndjson'\n\
        [sinks.parts]\ntype = 'files'\ninput = 'recent'\npath = 'out/part-{split}.csv'\nformat = 'csv'\n\
        [sinks.years]\ntype = 'files'\ninput = 'recent'\npath = 'out/years/{year}.tsv'\nformat = 'tsv'\n";
    let folder = || {
        let work = Work::new();
        work.file("list.toml", JOB);
        for file in 0..3 {
            let line = |n: i32| format!("{{\"id\":{},\"title\":\"t {n}\",\"year\":{}}}\n", file * 10 + n, 1988 + n % 4);
            work.file(&format!("in/{file}.ndjson"), (0..9).map(line).collect::<String>() + "bad\n");
        }
        work
    };
    let left = |work: &Work| {
        let mut left = Left::new();
        files(&mut left, work, "out");
        rejects(&mut left, work, "out/rejects.ndjson");
        left.insert("in".to_owned(), work.list("in").join(" "));
        left
    };
    let points = [
        ("files-note", &[73][..]),
        ("files-create", &[73]),
        ("files-write", &[74]),
        ("files-sync", &[74]),
        ("files-note-published", &[73]),
        ("files-rename", &[74]),
        ("files-sync-folder", &[74]),
        ("done-rename", &[74]),
        LEDGER,
    ];
    let points = [&points[..], &REPORT, &REJECTS].concat();
    Case { name: "files", args: &["list.toml"], points: &points, folder: &folder, left: &left }.sweep();
}

fn spilled(name: &str, count: usize, args: &[&str]) {
    let folder = || spilling::folder(count);
    let left = |work: &Work| {
        let mut left = Left::new();
        files(&mut left, work, "out");
        left
    };
    let points =
        [&[("spill-create", &[74][..]), ("spill-write", &[74]), ("spill-read", &[74]), LEDGER][..], &REPORT].concat();
    Case { name, args, points: &points, folder: &folder, left: &left }.sweep();
}

/// Rows that go to disk and come back before any of them is stored.
#[test]
fn rows_that_are_spilled() {
    spilled("spilled", 1, &["job.toml"]);
}

/// The same where some come back only after all others.
#[test]
fn an_outer_join_that_is_spilled() {
    let args = [&["job.toml", "--set", "transforms.joined.how=full"][..], &spilling::OTHERS].concat();
    spilled("outer join", 3, &args);
}

#[test]
fn documents_in_a_folder() {
    let job = std::fs::read_to_string(crate::work::project("jobs/todo.yaml")).unwrap();
    let line = |list: &str, n: usize| format!("{{\"list\":\"{list}\",\"op\":\"insert\",\"entry\":{{\"n\":{n}}}}}\n");
    let folder = |store: &[&str]| {
        let work = Work::new();
        work.file("todo.yaml", &job);
        work.file("before/0.ndjson", line("l1", 0) + &line("l3", 0));
        let made = ["todo.yaml", "--set", "sources.operations.path=before/*.ndjson"];
        work.expect(0, &[&made[..], store].concat());
        for file in 0..2 {
            let lines: String = (0..12).map(|n| line(&format!("l{}", n % 7), file * 100 + n)).collect();
            let gone = "{\"list\":\"l2\",\"op\":\"delete\",\"id\":77}\n";
            work.file(&format!("data/todo/{file}.ndjson"), lines + gone);
        }
        work
    };
    let left = |work: &Work| {
        let mut left = Left::new();
        match work.path("out/persist.db").exists() {
            true => database(&mut left, work, "out/persist.db"),
            false => files(&mut left, work, "out/persist"),
        }
        rejects(&mut left, work, "out/todo.rejects.ndjson");
        left
    };
    let points = [("folder-write", &[74][..]), ("folder-rename", &[74]), ("folder-sync-whole", &[74]), LEDGER];
    let many = [&points[..], &[("before-save", &[74])], &REPORT, &REJECTS].concat();
    let few = [points[0], points[1], ("folder-sync", &[74])];
    let one_file = [("store-commit", &[74][..]), LEDGER];
    let sqlite = ["--set", "sinks.persist.backend=sqlite", "--set", "sinks.persist.path=out/persist.db"];
    for (name, workers, rows, store, points) in [
        ("kv, many at once", "1", "100", &[][..], &many[..]),
        ("kv, few at once", "1", "2", &[], &few),
        ("kv, workers beside each other", "3", "2", &[], &[("before-save", &[74][..])]),
        ("kv, SQLite", "2", "2", &sqlite, &one_file),
    ] {
        let sets = [("transforms.lists.concurrency", workers), ("sinks.persist.concurrency", workers)];
        let sets = sets.into_iter().chain([("sinks.persist.batch.rows", rows)]);
        let sets: Vec<String> = sets.map(|(key, value)| format!("{key}={value}")).collect();
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let args: Vec<&str> = ["todo.yaml"].into_iter().chain(store.iter().copied()).chain(sets).collect();
        Case { name, args: &args, points, folder: &|| folder(store), left: &left }.sweep();
    }
}

#[test]
fn rows_in_tables() {
    let job = std::fs::read_to_string(crate::work::project("jobs/sample_tables.toml")).unwrap();
    let folder = || {
        let work = Work::new();
        work.file("tables.toml", &job);
        work
    };
    let left = |work: &Work| {
        let mut left = Left::new();
        for path in ["out/main.db", "out/tracking.db"].into_iter().filter(|path| work.path(path).exists()) {
            database(&mut left, work, path);
        }
        left
    };
    let points = [&[("sqlite-commit", &[74][..]), LEDGER][..], &REPORT].concat();
    let args = ["tables.toml", "--set", "sources.rows.count=300", "--set", "sources.rows.splits=4"];
    for (name, more) in [("sqlite", &[][..]), ("sqlite, one file", &["--set", "sinks.lookup.database=out/main.db"])] {
        let args = [&args[..], more].concat();
        Case { name, args: &args, points: &points, folder: &folder, left: &left }.sweep();
    }
}

#[test]
fn values_in_memcached() {
    let servers = Servers::start();
    let all: Vec<Vec<App>> = (0..2).map(|i| apps(&format!("s{i}x"), 60)).collect();
    let folder = || {
        DEVICES.iter().for_each(|(device, _)| servers.of(device).flush());
        let work = servers.in_env(Work::with_memc());
        for (i, some) in all.iter().enumerate() {
            work.gzip(&format!("data/appsinstalled/{i}.tsv.gz"), text(some, "\n"));
        }
        work
    };
    let left = |work: &Work| {
        let mut left = Left::from([("names".to_owned(), work.list("data/appsinstalled").join(" "))]);
        for (device, _) in DEVICES {
            let own: Vec<&App> = all.iter().flatten().filter(|app| app.device == device).collect();
            let keys: Vec<String> = own.iter().map(|app| app.key()).collect();
            let held = servers.of(device).get_all(&keys);
            let right = own.iter().zip(held).filter(|(app, value)| value.as_ref() == Some(&app.value())).count();
            left.insert(device.to_owned(), right.to_string());
        }
        left
    };
    let points = [&[("memcached-connect", &[69][..]), ("done-rename", &[74]), LEDGER][..], &REPORT].concat();
    let sets = ["sinks.cache.retry.attempts=2", "sinks.cache.retry.backoff=1ms", "sinks.cache.verify.sample=20"];
    let args: Vec<&str> = ["jobs/memc.toml"].into_iter().chain(sets.iter().flat_map(|set| ["--set", *set])).collect();
    Case { name: "memcached", args: &args, points: &points, folder: &folder, left: &left }.sweep();
}

/// What a run that goes on keeps of the reject file is not lost when it cannot be kept.
#[test]
fn rejects_that_are_kept() {
    const JOB: &str = "name = 'job'\n[rejects]\npath = 'out/rejects.ndjson'\n[limits]\nrejects = '40%'\n\
        [sources.rows]\ntype = 'files'\npath = 'in/*.tsv'\nformat = 'tsv'\ncolumns = ['n int64', 'm int64']\nconcurrency = 1\n\
        [sinks.table]\ntype = 'sqlite'\ninput = 'rows'\ndatabase = 'out/t.db'\ntable = 't'\n";
    let folder = || {
        let work = Work::new();
        work.file("job.toml", JOB);
        work.file("in/0.tsv", "1\t1\n2\t2\nx\n");
        work.file("in/1.tsv", "x\nx\nx\n");
        work.expect(65, &["job.toml"]);
        work
    };
    let left = |work: &Work| {
        let mut left = Left::new();
        rejects(&mut left, work, "out/rejects.ndjson");
        database(&mut left, work, "out/t.db");
        left
    };
    let args = ["job.toml", "--set", "limits.rejects=100%"];
    let points = [("reject-keep", &[73][..]), REJECTS[2], LEDGER];
    Case { name: "rejects", args: &args, points: &points, folder: &folder, left: &left }.sweep();
}
