//! Profiles of time series: against definitions in numpy, and as jobs.

use std::fs;

use crate::work::{Work, oracle, project, stage};

#[test]
fn profiles_are_those_of_their_definitions() {
    let work = Work::new();
    let ran = oracle(&work, "quality.py", &[env!("CARGO_BIN_EXE_runner")]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

/// A folder with both jobs, and the files of the first.
fn series() -> Work {
    let work = Work::new();
    for job in ["series.toml", "series_quality.toml"] {
        work.file(job, fs::read_to_string(project("jobs").join(job)).unwrap());
    }
    work.expect(0, &["series.toml", "--quiet"]);
    work
}

#[test]
fn the_job_finds_the_faults_that_were_made() {
    let work = series();
    let report = work.report(0, &["series_quality.toml"]);
    let quality = stage(&report, "quality");
    assert_eq!((quality["gathered"].as_u64(), quality["made"].as_u64()), (Some(387_930), Some(11)));
    let args = ["--job", "series_quality.toml", "out/series.parquet", WINDOWS, "out/series_quality.ndjson"];
    let ran = oracle(&work, "quality.py", &[&[env!("CARGO_BIN_EXE_runner")], &args[..]].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    // The span is three windows exactly: the last point of two sensors is alone in a fourth.
    let last = work.json_lines("out/series_quality.ndjson");
    let windows: Vec<u64> = last.iter().filter_map(|sensor| sensor["windows"].as_u64()).collect();
    assert_eq!(windows, [3, 4, 4]);
}

const WINDOWS: &str = "out/series_quality_windows.parquet";

#[test]
fn any_number_of_workers_and_size_of_batches_gives_the_same_bytes() {
    let work = series();
    let written = |sets: &[&str]| {
        let args: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).chain(["series_quality.toml"]).collect();
        work.expect(0, &[&args[..], &["--quiet"]].concat());
        (fs::read(work.path(WINDOWS)).unwrap(), work.read("out/series_quality.ndjson"))
    };
    let once = written(&[]);
    for sets in [
        &["transforms.quality.concurrency=3"][..],
        &["sources.sensors.batch.rows=100"],
        &["limits.threads=1", "sources.sensors.batch.rows=100000"],
        &["transforms.quality.concurrency=2", "transforms.quality.batch.rows=77", "sources.sensors.concurrency=4"],
    ] {
        assert!(written(sets) == once, "{sets:?}");
    }
}

#[test]
fn times_in_another_unit_end_the_job_with_the_value() {
    let work = Work::new();
    work.file("points.csv", "time,value\n1709272800000,1\n1709272801000,2\n");
    let job = |unit: &str| {
        format!(
            r#"
            name = "units"
            [sources.points]
            type = "files"
            path = "points.csv"
            format = "csv"
            columns = ["time int64", "value float64"]
            [transforms.quality]
            type = "quality"
            input = "points"
            time = "time"
            unit = "{unit}"
            value = "value"
            window = "12h"
            [sinks.out]
            type = "files"
            input = "quality"
            path = "out.ndjson"
            format = "ndjson"
            "#
        )
    };
    work.file("job.toml", job("ns"));
    let ran = work.expect(65, &["job.toml"]);
    let message = "`time` is 1709272800000 `ns`: that is 1970-01-01T00:28:29Z, not in the years 1971 to 2200; counted in \
                   `ms` it would be 2024-03-01T06:00:00Z";
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
    assert!(!work.path("out.ndjson").exists());
    work.file("job.toml", job("ms"));
    work.expect(0, &["job.toml"]);
    let records = work.json_lines("out.ndjson");
    assert_eq!((records.len(), records[0]["first"].as_str()), (1, Some("2024-03-01T06:00:00Z")));
}

#[test]
fn streams_beyond_the_memory_fail_the_job() {
    let work = Work::new();
    let lines: String = (0..20_000).map(|n| format!("sensor{n},2024-03-01T06:00:00Z,1\n")).collect();
    let job = fs::read_to_string(project("jobs/series_quality.toml")).unwrap();
    let from_csv = job.replacen("\"parquet\"", "\"csv\"", 1).replace("version int64", "version string");
    work.file("job.toml", from_csv.replace("series.parquet", "series.csv"));
    work.file("out/series.csv", format!("uuid,version,time,value\n{}", lines.replace("sensor", "s,sensor")));
    let ran = work.expect(69, &["--set", "limits.memory=4MiB", "job.toml"]);
    let message = |part| ran.stderr.contains(part);
    assert!(message("the windows take ") && message("`limits.memory` allows 4.0 MiB"), "{}", ran.stderr);
    assert!(!work.path(WINDOWS).exists());
    work.expect(0, &["--set", "limits.memory=64MiB", "job.toml"]);
}
