//! A disk that is full and files that may not grow: exit code 74 and nothing under a name that it has not earned; with
//! room for it the same command does the rest.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    kills::left::{Left, database, difference, files, rejects},
    running::Running,
    work::Work,
};

/// A job whose output is larger than its disk.
struct Case {
    name: &'static str,
    /// What stands in `[limits]`.
    limits: &'static str,
    /// What comes after the source.
    job: &'static str,
    left: fn(&Work) -> Left,
}

const SOURCE: &str = "name = 'job'\n[limits]\nrejects = '100%'\n\
    [sources.rows]\ntype = 'files'\npath = 'in/*.tsv'\nformat = 'tsv'\ncolumns = ['k string', 'n int64', 'v string']\n";

const CASES: [Case; 6] = [
    Case {
        name: "files",
        limits: "",
        job: "[sinks.copy]\ntype = 'files'\ninput = 'rows'\npath = 'out/copy.csv'\nformat = 'csv'\n",
        left: in_files,
    },
    Case {
        name: "parquet",
        limits: "",
        job: "[sinks.copy]\ntype = 'files'\ninput = 'rows'\npath = 'out/{split}.parquet'\nformat = 'parquet'\n\
              compression = 'none'\n",
        left: in_files,
    },
    Case {
        name: "kv",
        limits: "",
        job: "[sinks.kv]\ntype = 'kv'\ninput = 'rows'\npath = 'out/kv'\nkey = 'k'\n\
              value = \"concat('{\\\"v\\\":\\\"', v, '\\\"}')\"\n",
        left: in_files,
    },
    Case {
        name: "sqlite",
        limits: "",
        job: "[sinks.table]\ntype = 'sqlite'\ninput = 'rows'\ndatabase = 'out/t.db'\ntable = 't'\n",
        left: in_tables,
    },
    Case {
        name: "rejects",
        limits: "",
        job: "[rejects]\npath = 'out/rejects.ndjson'\n[transforms.none]\ntype = 'filter'\ninput = 'rows'\n\
              where = 'n < 0'\notherwise = 'reject'\n[sinks.nowhere]\ntype = 'discard'\ninput = 'none'\n",
        left: in_rejects,
    },
    Case {
        name: "spill",
        limits: "memory = '2MiB'\nspill = { path = 'out/spilled' }\n",
        job: "[transforms.sorted]\ntype = 'sort'\ninput = 'rows'\nby = ['v']\n\
              [transforms.few]\ntype = 'filter'\ninput = 'sorted'\nwhere = 'n < 5'\n\
              [sinks.copy]\ntype = 'files'\ninput = 'few'\npath = 'out/copy.csv'\nformat = 'csv'\n",
        left: in_files,
    },
];

fn in_files(work: &Work) -> Left {
    let mut left = Left::new();
    files(&mut left, work, "out");
    left.retain(|name, _| !name.contains("/."));
    left
}

fn in_tables(work: &Work) -> Left {
    let mut left = Left::new();
    database(&mut left, work, "out/t.db");
    left
}

fn in_rejects(work: &Work) -> Left {
    let mut left = Left::new();
    rejects(&mut left, work, "out/rejects.ndjson");
    left
}

/// So many KiB of which no format makes less.
fn value(n: usize, kib: usize) -> String {
    let mut state = n as u64 + 1;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:016x}", state ^ (state >> 31))
    };
    (0..kib << 6).map(|_| word()).collect()
}

/// Two files of rows, of about 2 MiB together; the largest value has 300 KiB.
fn folder(case: &Case) -> Work {
    let work = Work::new();
    let source = SOURCE.replace("[limits]\n", &format!("[limits]\n{}", case.limits));
    work.file("job.toml", source + case.job);
    for file in 0..2 {
        let line = |n: usize| format!("k{file}-{n}\t{n}\t{}\n", value(file * 100 + n, if n == 50 { 300 } else { 7 }));
        work.file(&format!("in/{file}.tsv"), (0..100).map(line).collect::<String>());
    }
    work
}

impl Case {
    /// Runs the job without room, which `cramped` starts, then with room, which `relieve` makes.
    fn heals(&self, work: &Work, how: &str, cramped: &mut Command, relieve: impl FnOnce()) {
        let about = format!("{}, {how}", self.name);
        let undisturbed = folder(self);
        undisturbed.expect(0, &["job.toml"]);
        let expected = (self.left)(&undisturbed);
        let ran = Running::spawn(cramped).end();
        assert_eq!(ran.code, 74, "{about}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{about}: {}", ran.stderr);
        if work.path("out").exists() && self.name != "sqlite" && self.name != "rejects" {
            for (name, text) in in_files(work) {
                assert!(expected.get(&name) == Some(&text), "{about}: {name} is not whole");
            }
            assert!(!work.path("out/copy.csv").exists(), "{about}");
        }
        relieve();
        let again = Running::start(work, &["job.toml"]).end();
        assert_eq!(again.code, 0, "{about}, again: {}\nafter {}", again.stderr, ran.stderr);
        let found = (self.left)(work);
        for name in expected.keys().chain(found.keys()) {
            let [expected, found] = [&expected, &found].map(|left| left.get(name).map_or("", |text| text));
            assert!(expected == found, "{about}: {name}: {}", difference(expected, found));
        }
    }
}

#[test]
fn files_that_may_not_grow() {
    for case in CASES {
        let work = folder(&case);
        let mut limited = Command::new("bash");
        limited.args(["-c", "ulimit -c 0; ulimit -f 256; exec \"$0\" job.toml", env!("CARGO_BIN_EXE_runner")]);
        limited.current_dir(work.path(""));
        case.heals(&work, "with a limit", &mut limited, || {});
    }
}

/// A small file system; it goes when the test is over.
struct Disk(PathBuf);

impl Disk {
    /// None where this user cannot mount one.
    fn mount(at: PathBuf) -> Option<Disk> {
        fs::create_dir_all(&at).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&at).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success()).then_some(Disk(at))
    }

    fn grow(&self) {
        let mut command = Command::new("mount");
        assert!(command.args(["-o", "remount,size=64m"]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk() {
    for case in CASES {
        let work = folder(&case);
        let Some(disk) = Disk::mount(work.path("out")) else {
            std::io::stderr().write_all(b"skipped: a full disk, for no file system can be mounted here\n").unwrap();
            return;
        };
        case.heals(&work, "on a full disk", &mut work.command(&["job.toml"]), || disk.grow());
    }
}
