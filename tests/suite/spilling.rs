//! Jobs whose rows do not fit into memory: the same files whatever the memory, nothing left on disk, clear limits.

use std::{collections::BTreeSet, fs, io::Write, process::Stdio};

use serde_json::Value;

use crate::work::{Work, stage, until};

/// All that spills, each written to a file in the order in which it comes.
const JOB: &str = r#"
name = "spilled"
[limits]
memory = "128KiB"
[sources.rows]
type = "files"
path = "in/*.tsv"
format = "tsv"
columns = ["k string", "n int64", { name = "f", type = "float64", nullable = true }]
batch = { rows = 50 }
[transforms.sorted]
type = "sort"
input = "rows"
by = ["k desc", "f"]
[transforms.counted]
type = "aggregate"
input = "rows"
by = ["k"]
columns = { rows = "count(*)", total = "sum(f)", last = "last(n)", most = "max(f)" }
[transforms.listed]
type = "aggregate"
input = "rows"
by = ["k"]
columns = { numbers = "array_agg(n)", different = "count_distinct(n % 97)", total = "sum(f)" }
[transforms.latest]
type = "dedup"
input = "rows"
by = ["k"]
keep = "last"
[transforms.firsts]
type = "dedup"
input = "rows"
by = ["k", "f"]
keep = "first"
[sources.others]
type = "files"
path = "in/*.tsv"
format = "tsv"
columns = ["k string", "n int64", { name = "f", type = "float64", nullable = true }]
[transforms.means]
type = "aggregate"
input = "others"
by = ["k"]
columns = { mean = "avg(f)" }
[transforms.names]
type = "select"
input = "means"
columns = { k = "k", mean = "mean", text = "concat('the text of ', k)" }
[transforms.joined]
type = "join"
input = "rows"
with = "names"
on = ["k"]
[sinks.joined_rows]
type = "files"
input = "joined"
path = "out/joined.tsv"
format = "tsv"
[sinks.sorted_rows]
type = "files"
input = "sorted"
path = "out/sorted.tsv"
format = "tsv"
[sinks.counts]
type = "files"
input = "counted"
path = "out/counts.ndjson"
format = "ndjson"
[sinks.lists]
type = "files"
input = "listed"
path = "out/lists.ndjson"
format = "ndjson"
[sinks.latest_rows]
type = "files"
input = "latest"
path = "out/latest.csv"
format = "csv"
[sinks.first_rows]
type = "files"
input = "firsts"
path = "out/firsts.tsv"
format = "tsv"
"#;

/// A folder with the job and so many files of 500 rows; a third of them have the same key.
pub fn folder(files: usize) -> Work {
    let work = Work::new();
    work.file("job.toml", JOB);
    for file in 0..files {
        let line = |row: usize| {
            let n = file * 500 + row;
            let key = if n.is_multiple_of(3) { 0 } else { n * 7919 % 613 };
            let float = if n.is_multiple_of(17) { String::new() } else { format!("{}.25", n * 31 % 1000) };
            format!("the key with number {key}\t{n}\t{float}\n")
        };
        work.file(&format!("in/{file}.tsv"), (0..500).map(line).collect::<String>());
    }
    work
}

/// The left side of the join has rows that the right one has not, and the other way round. The right one alone does not fit
/// into the memory of the job.
pub const OTHERS: [&str; 6] = [
    "--set",
    "sources.rows.path=in/[02].tsv",
    "--set",
    "sources.others.path=in/1.tsv",
    "--set",
    "transforms.names.columns.text=concat('the text of ', k, k, k, k, k, k, k)",
];

const OUT: [&str; 6] =
    ["out/sorted.tsv", "out/counts.ndjson", "out/lists.ndjson", "out/latest.csv", "out/firsts.tsv", "out/joined.tsv"];

fn spilled(report: &Value, name: &str, key: &str) -> u64 {
    stage(report, name)["held"][key].as_u64().unwrap_or_else(|| panic!("no {key} of {name}"))
}

#[test]
fn files_are_the_same_whatever_the_memory() {
    let work = folder(20);
    for workers in ["1", "2", "4"] {
        let mut expected: Option<Vec<String>> = None;
        for memory in ["16GiB", "1MiB", "128KiB"] {
            let sets = [
                format!("limits.memory={memory}"),
                format!("sources.rows.concurrency={workers}"),
                format!("transforms.counted.concurrency={workers}"),
                format!("transforms.listed.concurrency={workers}"),
                format!("transforms.latest.concurrency={workers}"),
                format!("transforms.firsts.concurrency={workers}"),
                format!("transforms.joined.concurrency={workers}"),
            ];
            let args: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).chain(["job.toml"]).collect();
            let report = work.report(0, &args);
            // A join in memory has no account.
            let joined = (memory == "128KiB").then_some("joined");
            for name in ["sorted", "counted", "listed", "latest", "firsts"].into_iter().chain(joined) {
                let [rows, bytes, parts, passes, peak] =
                    ["spilled_rows", "spilled_bytes", "spilled_parts", "passes", "peak_bytes"]
                        .map(|key| spilled(&report, name, key));
                let all = [rows, bytes, parts, passes].map(|count| count > 0);
                assert!(peak > 0 && (all == [true; 4] || all == [false; 4]), "{name}, {memory}: {report}");
                assert!(all[0] || memory != "128KiB", "{name} did not spill: {report}");
                assert!(!all[0] || memory != "16GiB", "{name} spilled: {report}");
            }
            let found = OUT.map(|path| work.read(path)).to_vec();
            assert!(*expected.get_or_insert_with(|| found.clone()) == found, "{memory}, {workers} workers");
            assert!(!work.list(".runner").iter().any(|name| name.starts_with("spill-")), "{:?}", work.list(".runner"));
        }
    }
}

/// Right rows without a partner come last, with their key and nothing else of the left side.
#[test]
fn an_outer_join_is_the_same_whatever_the_memory() {
    let work = folder(3);
    let key = |line: &str| line.split('\t').next().unwrap().to_owned();
    let [mut left, right, more] =
        [0, 1, 2].map(|n| work.read(&format!("in/{n}.tsv")).lines().map(key).collect::<Vec<_>>());
    left.extend(more);
    let lonely = left.iter().filter(|key| !right.contains(key)).count();
    let groups: BTreeSet<&String> = right.iter().collect();
    let alone: BTreeSet<String> = groups.iter().filter(|key| !left.contains(key)).map(|key| (*key).clone()).collect();
    assert!(lonely > 50 && alone.len() > 50);
    for (how, filtered) in [("right", lonely), ("full", 0)] {
        let mut expected = None;
        for (memory, workers) in [("16GiB", "2"), ("128KiB", "1"), ("128KiB", "4")] {
            let sets = [
                format!("transforms.joined.how={how}"),
                format!("limits.memory={memory}"),
                format!("sources.rows.concurrency={workers}"),
            ];
            let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).chain(["job.toml"]).collect();
            let report = work.report(0, &[&sets[..], &OTHERS].concat());
            let joined = stage(&report, "joined");
            assert_eq!(joined["held"].is_object(), memory == "128KiB", "{report}");
            let counts = ["rows_in", "rows_out", "filtered", "gathered", "made"]
                .map(|key| joined[key].as_u64().unwrap_or(0) as usize);
            let out = 1000 - filtered + alone.len();
            assert_eq!(counts, [1000 + groups.len(), out, filtered, groups.len(), alone.len()], "{how}, {memory}");
            let text = work.read("out/joined.tsv");
            let last: Vec<&str> = text.lines().skip(1000 - filtered).collect();
            assert!(
                last.iter().all(|line| line.split('\t').nth(1) == Some("") && line.contains("\tthe text of the key"))
            );
            assert_eq!(last.len(), alone.len());
            assert_eq!(last.into_iter().map(key).collect::<BTreeSet<_>>(), alone);
            let found = OUT.map(|path| work.read(path));
            assert!(*expected.get_or_insert_with(|| found.clone()) == found, "{how}, {memory}, {workers} workers");
        }
    }
}

#[test]
fn a_plan_says_which_stages_spill() {
    let work = folder(20);
    let plan = work.expect(0, &["plan", "job.toml"]).stdout;
    assert_eq!(plan.matches("spills what does not fit into memory").count(), 7, "{plan}");
}

#[test]
fn no_more_is_spilled_than_is_allowed_and_only_where_it_can_be() {
    let work = folder(20);
    let ran = work.expect(74, &["--set", "limits.spill.max=50KiB", "job.toml"]);
    let message = "`limits.spill.max` allows 50.0 KiB: allow more, or give the job more `limits.memory`";
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
    assert!(OUT.iter().all(|path| !work.path(path).exists()));
    work.file("a-file", "");
    let ran = work.expect(74, &["--set", "limits.spill.path=a-file/spilled", "job.toml"]);
    assert!(ran.stderr.contains("cannot write the spilled rows in `a-file/spilled/spill-"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`limits.spill.path` names another folder"), "{}", ran.stderr);
    work.expect(0, &["--set", "limits.spill.path=elsewhere", "job.toml"]);
    assert_eq!(work.list("elsewhere"), [""; 0]);
}

const ALL: &str = "select group_concat(concat_ws('|', k, n, f, mean, text, tenth), x'0a') from \
                   (select * from t order by n)";

/// A job of the join alone, whose rows go into a table; a tenth of them with a number are rejects before.
pub fn into_table(how: &str) -> String {
    let (head, tail) = JOB.split_once("[transforms.sorted]").unwrap();
    let (join, _) = tail.split_once("[sources.others]").unwrap().1.split_once("[sinks.joined_rows]").unwrap();
    let job = format!("{head}[sources.others]{join}");
    let rest = r#"
[rejects]
path = "out/rejects.ndjson"
[transforms.checked]
type = "select"
input = "joined"
columns = { k = "k", n = "n", f = "f", mean = "mean", text = "text", tenth = "1 // (n % 10)" }
[sinks.table]
type = "sqlite"
input = "checked"
database = "out/t.db"
table = "t"
"#;
    job.replace("type = \"join\"", &format!("type = \"join\"\nhow = \"{how}\"")) + rest
}

/// Rows that come back from disk are in the split they were in: what a later stage says of them names file, line and text,
/// and a table has them by split.
#[test]
fn rows_that_come_back_are_those_that_went() {
    let work = folder(6);
    work.file("join.toml", into_table("left"));
    let mut expected = None;
    for (memory, workers) in [("16GiB", "2"), ("128KiB", "1"), ("128KiB", "4")] {
        let sets = [
            format!("limits.memory={memory}"),
            format!("sources.rows.concurrency={workers}"),
            format!("transforms.joined.concurrency={workers}"),
        ];
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let report = work.report(0, &[&sets[..], &["--set", "limits.rejects=100%", "join.toml", "--fresh"]].concat());
        let held = stage(&report, "joined")["held"]["spilled_rows"].as_u64();
        assert_eq!(held.is_some_and(|rows| rows >= 3000), memory == "128KiB", "{report}");
        let counts: Vec<&Value> = ["rows_in", "rows_out", "rejected", "filtered", "made", "gathered"]
            .iter()
            .map(|key| &stage(&report, "joined")[*key])
            .collect();
        let mut rejects = work.json_lines("out/rejects.ndjson");
        rejects.sort_by_key(|reject| (reject["split"].to_string(), reject["line"].as_u64()));
        assert_eq!(rejects.len(), 300);
        let known = ["file", "split", "line", "number", "record", "row", "message"];
        let rejects: Vec<String> =
            rejects.iter().map(|reject| format!("{:?}", known.map(|key| &reject[key]))).collect();
        let table: String =
            rusqlite::Connection::open(work.path("out/t.db")).unwrap().query_row(ALL, [], |row| row.get(0)).unwrap();
        let found = (format!("{counts:?}"), rejects, table);
        assert_eq!(*expected.get_or_insert_with(|| found.clone()), found, "{memory}, {workers} workers");
        fs::remove_file(work.path("out/t.db")).unwrap();
    }
}

/// What a run that was killed had spilled goes when the next one begins, also where that one spills nothing.
#[test]
fn what_a_killed_run_had_spilled_goes() {
    let work = folder(20);
    work.expect(0, &["job.toml"]);
    let expected = OUT.map(|path| work.read(path));
    for again in [&["job.toml"][..], &["--set", "limits.memory=16GiB", "job.toml"]] {
        fs::remove_dir_all(work.path("out")).unwrap();
        // Standard input that does not end keeps the run from its end. It is read in large blocks.
        let mut slow =
            work.command(&["--set", "sources.rows.path=-", "--set", "limits.memory=2MiB", "job.toml", "--fresh"]);
        slow.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut run = slow.spawn().unwrap();
        let text: String = (0..20).map(|file| work.read(&format!("in/{file}.tsv"))).collect();
        run.stdin.as_mut().unwrap().write_all(text.repeat(12).as_bytes()).unwrap();
        let folders = || fs::read_dir(work.path(".runner")).unwrap().flatten().map(|entry| entry.path());
        let full = || folders().any(|path| path.is_dir() && fs::read_dir(path).is_ok_and(|files| files.count() > 2));
        until("rows are spilled", full);
        run.kill().unwrap();
        run.wait().unwrap();
        assert!(full());
        work.expect(0, &[again, &["--fresh"]].concat());
        assert!(!full() && OUT.map(|path| work.read(path)) == expected);
    }
}
