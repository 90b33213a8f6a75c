//! Rejects given to their job again. The oracle of most of these is a run whose input was good from the start: what
//! a first run and a replay of the mended rejects store together must be the same.

use std::fs;

use serde_json::{Value, json};

use crate::{
    apps::{apps, text},
    servers::Servers,
    work::{Work, stage},
};

/// Rewrites the lines of a reject file; `None` takes one out.
fn mend(work: &Work, path: &str, mut change: impl FnMut(Value) -> Option<Value>) {
    let lines: Vec<String> =
        work.json_lines(path).into_iter().filter_map(|line| Some(change(line)?.to_string() + "\n")).collect();
    work.file(path, lines.concat());
}

/// The one file in a folder whose name has `.replay-` in it and ends so.
fn replayed(work: &Work, folder: &str, ending: &str) -> String {
    let (start, ending) = ending.rsplit_once('*').unwrap_or(("", ending));
    let is_it = |name: &String| name.contains(".replay-") && name.starts_with(start) && name.ends_with(ending);
    let found: Vec<String> = work.list(folder).into_iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    format!("{folder}/{}", found[0])
}

/// The rows that a run's sources read, and its rejects.
fn counts(report: &Value) -> (u64, u64) {
    let stages = report["stages"].as_array().unwrap();
    let read = stages.iter().filter(|stage| stage["role"] == "source").map(|stage| stage["rows_in"].as_u64().unwrap());
    (read.sum(), report["rejects"]["total"].as_u64().unwrap())
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn memcached_gets_what_was_mended_and_keeps_the_rest() {
    let servers = Servers::start();
    let all = apps("r", 40);
    let good = text(&all, "\n");
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    // Line 4 cannot be read, line 8 has no id, the devices of 12 and 16 have no server.
    let broken = [lines[3].replacen('\t', "\t\u{1}\t", 1), lines[7].replacen(all[7].id.as_str(), "", 1)];
    (lines[3], lines[7]) = (broken[0].clone(), broken[1].clone());
    for i in [11, 15] {
        lines[i] = format!("watch{}", &lines[i][4..]);
    }
    let work = servers.in_env(Work::with_memc());
    work.gzip("data/appsinstalled/part.tsv.gz", lines.join("\n") + "\n");
    let args = ["jobs/memc.toml", "--set", "limits.rejects=10"];
    let before = work.report(0, &args);
    assert_eq!(counts(&before), (40, 4), "{before}");
    assert_eq!(servers.items().iter().sum::<usize>(), 36);
    mend(&work, "out/memc.rejects.ndjson", |mut line| {
        match line["line"].as_u64() {
            Some(4) => line["record"] = json!(good.lines().nth(3)),
            Some(8) => line["row"]["dev_id"] = json!(all[7].id),
            Some(12) => {
                assert_eq!(line["row"]["apps"], json!(all[11].apps), "the sink does not read it, and it is kept");
                line["row"]["dev_type"] = json!(all[11].device);
            }
            _ => {}
        }
        Some(line)
    });
    let kept = work.read("out/memc.rejects.ndjson");
    let report = work.report(0, &["replay", "jobs/memc.toml", "out/memc.rejects.ndjson"]);
    assert_eq!(counts(&report), (4, 1), "{report}");
    assert_eq!(servers.items().iter().sum::<usize>(), 39);
    for i in [3, 7, 11] {
        assert_eq!(servers.of(all[i].device).get(&all[i].key()), Some(all[i].value()), "{i}");
    }
    assert_eq!(work.read("out/memc.rejects.ndjson"), kept, "what is read is left alone");
    let [anew] = &work.json_lines(&replayed(&work, "out", ".ndjson"))[..] else { panic!("one is left") };
    let place = (&anew["file"], &anew["line"], &anew["number"], &anew["stage"]);
    assert_eq!(place, (&json!("data/appsinstalled/part.tsv.gz"), &json!(16), &json!(16), &json!("cache")));
    assert_eq!(work.list("data/appsinstalled"), [".part.tsv.gz"], "no `done` action is run");

    // Now the spec is mended instead.
    let path = replayed(&work, "out", ".ndjson");
    let server = format!("sinks.cache.servers.watch={}", servers.0[1].address);
    let report = work.report(0, &["replay", "jobs/memc.toml", &path, "--set", &server]);
    assert_eq!(counts(&report), (1, 0), "{report}");
    assert_eq!(servers.items().iter().sum::<usize>(), 40);
}

const CSV: &str = r#"
name = "csv"
limits.rejects = 100
rejects.path = "out/rejects.ndjson"

[sources.rows]
type = "files"
path = "in/*.csv"
format = "csv"
columns = ["id int64", "note string", { name = "score", type = "float64", nullable = true }]

[transforms.known]
type = "filter"
input = "rows"
where = "id > 0"
otherwise = "reject"

[sinks.copy]
type = "files"
input = "known"
path = "out/copy.tsv"
format = "tsv"
"#;

/// Files of csv with their fields in different orders, some in quotes with line ends in them; the rows that `bad`
/// names are broken.
fn csv(work: &Work, bad: impl Fn(usize) -> bool) {
    for file in 0..3 {
        let header = ["score,id,note", "id,note,score", "note,score,other,id"][file];
        let mut text = format!("{header}\n");
        for row in file * 20..file * 20 + 20 {
            let id = if bad(row) { format!("x{row}") } else { (row + 1).to_string() };
            let note = if row % 3 == 0 { format!("\"two, \"\"lines\"\" {row}\"") } else { format!("n{row}") };
            text += &match file {
                0 => format!("{row}.5,{id},{note}\n"),
                1 => format!("{id},{note},\n"),
                _ => format!("{note},,-,{id}\n"),
            };
        }
        work.file(&format!("in/{file}.csv"), text);
    }
}

#[test]
fn records_of_files_with_headers_are_read_again() {
    let (work, oracle) = (Work::new(), Work::new());
    for work in [&work, &oracle] {
        work.file("csv.toml", CSV);
    }
    let bad = |row: usize| row % 7 == 2 || row == 40;
    csv(&work, bad);
    csv(&oracle, |_| false);
    work.expect(0, &["csv.toml"]);
    oracle.expect(0, &["csv.toml"]);
    let rejects = work.json_lines("out/rejects.ndjson");
    assert_eq!(rejects.len(), (0..60).filter(|row| bad(*row)).count());
    // The header is kept, so that the files may be gone by now.
    fs::remove_dir_all(work.path("in")).unwrap();
    mend(&work, "out/rejects.ndjson", |mut line| {
        let text = line["record"].as_str().unwrap();
        let at = text.find('x').unwrap();
        let digits: String = text[at + 1..].chars().take_while(char::is_ascii_digit).collect();
        let id = digits.parse::<usize>().unwrap() + 1;
        line["record"] = json!(text.replacen(&format!("x{digits}"), &id.to_string(), 1));
        Some(line)
    });
    let report = work.report(0, &["replay", "csv.toml", "out/rejects.ndjson"]);
    assert_eq!(counts(&report), (rejects.len() as u64, 0), "{report}");
    let both = work.read("out/copy.tsv") + &work.read(&replayed(&work, "out", ".tsv"));
    assert_eq!(sorted(&both), sorted(&oracle.read("out/copy.tsv")));
    assert_eq!(work.read(&replayed(&work, "out", ".ndjson")), "", "nothing is left");
}

const TYPES: &str = r#"
name = "types"
limits.rejects = 100
rejects.path = "out/rejects.ndjson"

[sources.rows]
type = "files"
path = "in.ndjson"
format = "ndjson"
columns = ["n int64", "u uint64", "f float64", "b bool", "s string", "y binary", "d date", "t timestamp", "j json", "l list<int32>", { name = "z", type = "string", nullable = true }]

[transforms.few]
type = "filter"
input = "rows"
where = "n % 5 <> 0 or n > ${FROM:-1000}"
otherwise = "reject"

[sinks.some]
type = "files"
input = "few"
path = "out/some.ndjson"
format = "ndjson"

[sinks.all]
type = "files"
input = "rows"
path = "out/all.ndjson"
format = "ndjson"
"#;

#[test]
fn rows_of_every_type_come_to_their_stage_as_they_were_and_to_no_other() {
    let row = |n: i64| {
        json!({
            "n": n, "u": u64::MAX - n as u64, "f": n as f64 / 7.0, "b": n % 2 == 0, "s": format!("\"ü\"\n{n}\t\u{0}"),
            "y": (if n % 2 == 0 { "AAH+/w==" } else { "" }), "d": "2024-02-29", "t": "2024-02-29T23:59:59.123456Z",
            "j": { "a": [1, null, "x"], "b": 1e300 }, "l": ((0..n % 4).collect::<Vec<i64>>()),
            "z": (if n % 3 == 0 { Value::Null } else { json!("") }),
        })
    };
    let (work, oracle) = (Work::new(), Work::new());
    for work in [&work, &oracle] {
        work.file("types.toml", TYPES);
        work.file("in.ndjson", (1..=50).map(|n| row(n).to_string() + "\n").collect::<String>());
    }
    let oracle = oracle.env("FROM", "0");
    oracle.expect(0, &["types.toml"]);
    work.expect(0, &["types.toml"]);
    assert_eq!(work.json_lines("out/rejects.ndjson").len(), 10);
    let work = work.env("FROM", "0");
    work.expect(0, &["replay", "types.toml", "out/rejects.ndjson"]);
    let both = work.read("out/some.ndjson") + &work.read(&replayed(&work, "out", "some*.ndjson"));
    assert_eq!(sorted(&both), sorted(&oracle.read("out/some.ndjson")));
}

const PAIRS: &str = r#"
name = "pairs"
limits.rejects = 100
rejects.path = "out/rejects.ndjson"

[sources.rows]
type = "files"
path = "in.tsv"
format = "tsv"
columns = ["name string", "town string"]

[sinks.main]
type = "sqlite"
input = "rows"
database = "out/main.db"
table = "people"
create = "replace"
columns = ["name", "town"]
returning = ["id"]

[sinks.lookup]
type = "sqlite"
input = "main"
database = "out/lookup.db"
table = "places"
create = "never"
columns = ["id", "town"]
"#;

#[test]
fn databases_get_each_row_once_and_keep_what_they_have() {
    let work = Work::new();
    work.file("pairs.toml", PAIRS);
    work.file("in.tsv", (0..30).map(|n| format!("n{n}\tt{}\n", n % 10)).collect::<String>());
    // The town of three rows is not allowed at first.
    let open = |work: &Work, file: &str| rusqlite::Connection::open(work.path(file)).unwrap();
    fs::create_dir_all(work.path("out")).unwrap();
    let lookup = open(&work, "out/lookup.db");
    lookup.execute_batch("create table places (id integer primary key, town text check (town <> 't4'))").unwrap();
    work.expect(0, &["pairs.toml"]);
    let pairs = || -> Vec<(i64, String)> {
        lookup.execute("attach ?1 as main_db", [work.path("out/main.db").to_str().unwrap()]).unwrap();
        let query = "select id, p.town from places p join main_db.people m using (id) where p.town = m.town order by 1";
        let rows: Vec<_> = lookup
            .prepare(query)
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        lookup.execute_batch("detach main_db").unwrap();
        rows
    };
    assert_eq!(pairs().len(), 27);
    lookup
        .execute_batch(
            "alter table places rename to old; create table places (id integer primary key, town text); \
             insert into places select * from old; drop table old",
        )
        .unwrap();
    let report = work.report(0, &["replay", "pairs.toml", "out/rejects.ndjson"]);
    assert_eq!(counts(&report), (3, 0), "{report}");
    assert_eq!(stage(&report, "lookup.rejects")["rows_out"], 3, "{report}");
    assert_eq!(pairs().len(), 30);
    let people: i64 =
        open(&work, "out/main.db").query_row("select count(*) from people", [], |row| row.get(0)).unwrap();
    assert_eq!(people, 30, "nothing is inserted twice, and `create = \"replace\"` drops nothing");

    // A second time each of them is there already.
    let report = work.report(0, &["replay", "pairs.toml", "out/rejects.ndjson"]);
    assert_eq!(counts(&report), (3, 3));
    assert_eq!(pairs().len(), 30);
}

#[test]
fn what_cannot_be_tried_again_is_counted_named_and_kept() {
    let work = Work::new();
    work.file("csv.toml", CSV);
    work.file("in/a.csv", format!("id,note,score\n1,a,\nx,{},\ny,b,\nz,b,\n", "long".repeat(100)));
    let sets = ["--set", "limits.max_record_bytes=100"];
    work.expect(0, &["csv.toml", sets[0], sets[1]]);
    let mut lines = work.json_lines("out/rejects.ndjson");
    assert_eq!(lines.len(), 3);
    lines[1]["header"].take();
    lines[1].as_object_mut().unwrap().remove("header");
    lines[2]["record"] = json!("2,b,\n3,c,");
    let with = |line: &Value, key: &str, value: Value| {
        let mut line = line.clone();
        line[key] = value;
        line
    };
    lines.push(with(&lines[2], "stage", json!("gone")));
    lines.push(with(&lines[2], "stage", json!("known")));
    let text: String = lines.iter().map(|line| line.to_string() + "\n").collect();
    work.file("broken.ndjson", text + "{\"time\":\"2024-01-0");
    let ran = work.expect(0, &["replay", "csv.toml", "broken.ndjson"]);
    assert!(ran.stderr.contains("× not_replayable"), "{}", ran.stderr);
    let kept = work.json_lines("out/rejects.ndjson");
    let mut said: Vec<(String, String)> = kept
        .iter()
        .map(|line| {
            assert_eq!(line["reason"], "not_replayable");
            (line["stage"].as_str().unwrap().to_owned(), line["message"].as_str().unwrap().to_owned())
        })
        .collect();
    said.sort();
    let expected = [
        ("-", "the line is none of a reject file"),
        ("gone", "the job has no stage `gone`"),
        ("known.rejects", "the reject file does not hold what its stage was given"),
        ("rows", "the header of its file was not kept"),
        ("rows", "the record is too long, and only its start was kept"),
        ("rows", "what is kept of it is not one record"),
    ];
    assert_eq!(said, expected.map(|(stage, why)| (stage.to_owned(), why.to_owned())));
    let copy = replayed(&work, "out", "copy*.tsv");
    assert_eq!(work.list("out"), [&copy[4..], "copy.tsv", "rejects.ndjson"]);
    // Tried again, they stay what they are, with the places they had.
    let report = work.report(0, &["replay", "csv.toml", "out/rejects.ndjson"]);
    assert_eq!(counts(&report), (6, 6), "{report}");
    let again = work.json_lines(&replayed(&work, "out", ".ndjson"));
    let places = |lines: &[Value]| {
        let mut places: Vec<String> =
            lines.iter().map(|line| format!("{} {} {}", line["file"], line["line"], line["message"])).collect();
        places.sort();
        places
    };
    assert_eq!(places(&again), places(&kept));
}

#[test]
fn a_replay_that_would_be_wrong_is_refused() {
    let work = Work::new();
    work.file("csv.toml", CSV);
    csv(&work, |row| row == 5);
    work.expect(0, &["csv.toml"]);
    let refused = |code: i32, args: &[&str], said: &str| {
        let ran = work.expect(code, &[&["replay"], args].concat());
        assert!(ran.stderr.contains(said), "{args:?}: {}", ran.stderr);
    };
    let sum = "\n[transforms.sum]\ntype = \"aggregate\"\ninput = \"known\"\ncolumns = { n = \"count(*)\" }\n\n\
               [sinks.sums]\ntype = \"files\"\ninput = \"sum\"\npath = \"out/sum.tsv\"\nformat = \"tsv\"\n";
    work.file("sum.toml", CSV.to_owned() + sum);
    refused(64, &["sum.toml", "out/rejects.ndjson"], "come to `sum`, but what it emits depends on all of its input");
    let once = sum.replace("aggregate", "dedup").replace("columns = { n = \"count(*)\" }", "by = [\"id\"]");
    work.file("once.toml", CSV.to_owned() + &once);
    refused(64, &["once.toml", "out/rejects.ndjson"], "come to `sum`, but it does not know which keys");
    work.file("other.toml", CSV.replace("\"csv\"\nlimits", "\"other\"\nlimits"));
    refused(64, &["other.toml", "out/rejects.ndjson"], "holds rejects of the job `csv`, not of `other`");
    refused(66, &["csv.toml", "nosuch.ndjson"], "cannot read `nosuch.ndjson`");
    work.file("bad.toml", CSV.replace("id > 0", "idd > 0"));
    refused(78, &["bad.toml", "out/rejects.ndjson"], "idd");
    work.file("empty.ndjson", "\n");
    refused(0, &["csv.toml", "empty.ndjson"], "csv: `empty.ndjson` holds no rejects\n");
    refused(64, &["csv.toml"], "<REJECTS>");
    let before = work.list("out");
    refused(0, &["csv.toml", "out/rejects.ndjson", "--dry-run"], "dry run, nothing was written");
    assert_eq!(work.list("out"), before);
}

const JOIN: &str = r#"
name = "join"
limits.rejects = 100
rejects.path = "rejects.ndjson"

[sources.orders]
type = "files"
path = "orders/*.tsv"
format = "tsv"
columns = ["id int64", "town string"]
done = { rename = ".{name}" }

[sources.towns]
type = "files"
path = "towns/*.tsv"
format = "tsv"
columns = ["town string", "people int64"]
done = "delete"

[transforms.both]
type = "join"
input = "orders"
with = "towns"
on = ["town"]
how = "inner"

[sinks.out]
type = "files"
input = "both"
path = "out.tsv"
format = "tsv"
"#;

#[test]
fn a_second_input_is_read_as_ever_and_its_own_rejects_lead_nowhere() {
    let work = Work::new();
    let files = || {
        work.file("towns/a.tsv", "Rome\t3\nBonn\tx\n");
        work.file("orders/a.tsv", "1\tRome\nx\tRome\n");
    };
    files();
    work.file("join.toml", JOIN);
    work.expect(0, &["join.toml"]);
    assert!(!work.path("towns/a.tsv").exists() && work.path("orders/.a.tsv").exists());
    files();
    mend(&work, "rejects.ndjson", |mut line| {
        if line["stage"] == "orders" {
            line["record"] = json!("2\tRome");
        }
        Some(line)
    });
    let report = work.report(0, &["replay", "join.toml", "rejects.ndjson"]);
    assert_eq!(work.read(&replayed(&work, "", ".tsv")[1..]), "2\tRome\t3\n", "{report}");
    let left = work.json_lines(&replayed(&work, "", ".ndjson")[1..]);
    let said: Vec<&Value> = left.iter().map(|line| &line["message"]).collect();
    assert!(said.contains(&&json!("the rows of `towns` are only looked up by a join")), "{said:?}");
    assert!(work.path("towns/a.tsv").exists() && work.path("orders/a.tsv").exists(), "no `done` action is run");
}
