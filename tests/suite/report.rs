//! The report of a run: its schema, its sums, what must not be in it, and where it goes.

use serde_json::Value;

use crate::{
    apps::{apps, text},
    servers::{Servers, nobody},
    work::{Work, errors, oracle, stage, timeless},
};

/// Reads a column of numbers, drops those below 10 and copies the rest.
const JOB: &str = r#"
name = "sieve"

[limits]
rejects = 5

[sources.rows]
type = "files"
path = "in/*.tsv"
format = "tsv"
columns = ["word string", "number int64"]

[transforms.large]
type = "filter"
input = "rows"
where = "number >= 10"

[sinks.copy]
type = "files"
input = "large"
path = "out/copy.tsv"
format = "tsv"
"#;

/// A folder with the job in a folder of its own, and input with a reject in it.
fn sieve() -> Work {
    let work = Work::new();
    work.file("specs/sieve.toml", JOB);
    work.file("in/a.tsv", "apple\t1\nbanana\t20\ncherry\tmany\n");
    work.file("in/b.tsv", "damson\t30\n");
    work
}

const SPEC: &str = "specs/sieve.toml";
const USUAL: &str = "specs/.runner/sieve.report.json";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Asserts that for every stage rows in are accounted for, and what is sent is taken.
fn balances(report: &Value) {
    let mut sent = None;
    for stage in report["stages"].as_array().unwrap() {
        let [input, made, output, rejected, filtered, gathered, failed] =
            ["rows_in", "made", "rows_out", "rejected", "filtered", "gathered", "failed"]
                .map(|key| stage[key].as_u64().unwrap());
        assert_eq!(input + made, output + rejected + filtered + gathered + failed, "{stage}");
        assert_eq!(sent.unwrap_or(input), input, "{stage}");
        sent = Some(output);
    }
}

#[test]
fn reports_of_all_kinds_of_runs_fit_the_published_schema() {
    let work = sieve();
    let sets = |work: &Work, code: i32, name: &str, more: &[&str]| {
        let path = format!("reports/{name}.json");
        work.expect(code, &[&[SPEC, "--report", &path], more].concat());
        balances(&json(&work.read(&path)));
        path
    };
    let rejected = ["--set", "limits.rejects=0", "--set", "report.samples=true"];
    let mut reports = vec![
        sets(&work, 0, "done", &[]),
        sets(&work, 0, "rehearsed", &["--dry-run"]),
        sets(&work, 0, "limited", &["--limit", "2"]),
        sets(&work, 65, "rejects", &rejected),
        sets(&work, 66, "missing", &["--set", "sources.rows.path=nosuch"]),
    ];
    let all = apps("r", 40);
    let (memc, servers) = (Work::with_memc(), Servers::start());
    let memc = servers.in_env(memc).env("MEMC_ADID", &nobody());
    memc.gzip("data/appsinstalled/part.tsv.gz", text(&all, "\n"));
    memc.expect(69, &["jobs/memc.toml"]);
    let text = memc.read("jobs/.runner/memc.report.json");
    balances(&json(&text));
    work.file("reports/memc.json", text);
    reports.push("reports/memc.json".to_owned());

    work.file("report.schema.json", work.expect(0, &["schema", "report"]).stdout);
    let paths: Vec<&str> = reports.iter().map(String::as_str).collect();
    let checked = oracle(&work, "validate.py", &[&["report.schema.json"], &paths[..]].concat());
    assert_eq!((checked.code, checked.stdout.as_str(), checked.stderr.as_str()), (0, "", ""));

    work.file("bad.json", work.read("reports/done.json").replace("\"exit_code\": 0", "\"exit_code\": \"zero\""));
    let checked = oracle(&work, "validate.py", &["report.schema.json", "bad.json"]);
    assert_eq!(
        (checked.code, checked.stdout.as_str()),
        (1, "bad.json: $.exit_code: 'zero' is not of type 'integer'\n")
    );
}

#[test]
fn the_report_adds_up_and_says_what_was_run() {
    let work = sieve();
    let report = work.report(0, &[SPEC]);
    balances(&report);
    let rows = |name: &str| {
        ["rows_in", "rows_out", "rejected", "filtered", "failed"].map(|key| stage(&report, name)[key].as_u64().unwrap())
    };
    assert_eq!(rows("rows"), [4, 3, 1, 0, 0]);
    assert_eq!(rows("large"), [3, 2, 0, 1, 0]);
    assert_eq!(rows("copy"), [2, 2, 0, 0, 0]);
    assert_eq!(stage(&report, "rows")["bytes"], work.read("in/a.tsv").len() + work.read("in/b.tsv").len());
    assert_eq!(stage(&report, "copy")["bytes"], work.read("out/copy.tsv").len());
    for (key, expected) in [("job", "sieve"), ("spec", SPEC), ("runner", env!("CARGO_PKG_VERSION"))] {
        assert_eq!(report[key], expected);
    }
    assert_eq!([report["format"].as_u64(), report["exit_code"].as_u64()], [Some(1), Some(0)]);
    let plan = work.expect(0, &["plan", SPEC]).stdout;
    assert_eq!(plan.lines().next(), Some(format!("job sieve, plan {}", report["plan"].as_str().unwrap()).as_str()));
    let [started, ended] = ["started", "ended"].map(|key| report[key].as_str().unwrap());
    assert!(started <= ended && started.len() == "2024-01-31T12:00:00.000Z".len() && ended.ends_with('Z'));
    assert!(report["seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!([&report["splits"]["total"], &report["splits"]["done"]], [2, 2]);
}

#[test]
fn the_report_holds_no_values_unless_samples_are_asked_for() {
    let work = sieve();
    let spec = |more: &[&str]| {
        work.expect(0, &[&[SPEC], more].concat());
        work.read(USUAL)
    };
    for value in ["apple", "banana", "cherry", "damson", "many"] {
        assert!(!spec(&[]).contains(value), "{value}");
    }
    let report = json(&spec(&["--set", "report.samples=true"]));
    let samples = &report["rejects"]["reasons"][0]["samples"];
    assert_eq!(*samples, serde_json::json!(["column `number`: `many` is not a valid int64"]));
}

#[test]
fn the_report_goes_beside_the_spec_unless_a_path_is_given() {
    let work = sieve();
    work.expect(0, &[SPEC]);
    assert_eq!(work.list("specs/.runner"), ["sieve.ledger", "sieve.lock", "sieve.report.json"]);
    assert_eq!(work.list(""), ["in", "out", "specs"]);

    let work = sieve();
    work.expect(0, &[SPEC, "--set", "state.path=state/of/jobs"]);
    assert_eq!(work.list("state/of/jobs"), ["sieve.ledger", "sieve.lock", "sieve.report.json"]);
    assert_eq!(work.list("specs"), ["sieve.toml"]);

    let work = sieve();
    work.expect(0, &[SPEC, "--set", "report.path=out/told.json"]);
    assert_eq!(json(&work.read("out/told.json"))["job"], "sieve");
    assert_eq!(work.list("specs/.runner"), ["sieve.ledger", "sieve.lock"]);

    let work = sieve();
    work.expect(0, &[SPEC, "--set", "report.path=out/told.json", "--report", "new/asked.json"]);
    assert_eq!(json(&work.read("new/asked.json"))["job"], "sieve");
    assert_eq!(work.list("out"), ["copy.tsv"], "the command line goes before the spec");
    assert_eq!(work.list("new"), ["asked.json"], "no temporary is left");
}

#[test]
fn a_rehearsal_leaves_the_last_report_alone() {
    let work = sieve();
    work.expect(0, &[SPEC]);
    let before = work.read(USUAL);
    work.expect(0, &[SPEC, "--dry-run"]);
    assert_eq!(work.read(USUAL), before);
    work.expect(0, &[SPEC, "--dry-run", "--report", "asked.json"]);
    assert_eq!(json(&work.read("asked.json"))["dry_run"], true);
}

#[test]
fn standard_output_is_for_the_report_alone() {
    let work = sieve();
    work.file("specs/again.toml", JOB.replace("name = \"sieve\"", "name = \"again\"").replace("copy.tsv", "again.tsv"));
    let ran = work.expect(0, &[SPEC, "specs/again.toml", "--format", "json"]);
    let lines: Vec<Value> = ran.stdout.lines().map(json).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], json(&work.read(USUAL)));
    assert_eq!(lines[1], json(&work.read("specs/.runner/again.report.json")));
    assert!(timeless(&ran.stderr).starts_with("sieve: started, plan "), "{}", ran.stderr);
    let ran = work.expect(0, &[SPEC]);
    assert_eq!(ran.stdout, "");
    let ran = work.expect(65, &[SPEC, "--format", "json", "--quiet", "--set", "limits.rejects=0"]);
    assert_eq!(json(&ran.stdout)["exit_code"], 65);
}

#[test]
fn quiet_says_nothing_as_long_as_all_is_well() {
    let work = sieve();
    let ran = work.expect(0, &[SPEC, "--quiet"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert_eq!(json(&work.read(USUAL))["exit_code"], 0);
    let ran = work.expect(65, &[SPEC, "-q", "--set", "limits.rejects=0"]);
    assert_eq!(ran.stdout, "");
    assert!(!ran.stderr.contains("started"), "{}", ran.stderr);
    assert_eq!(errors(&ran).len(), 1, "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1);
}
