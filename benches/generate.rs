//! What one core makes: values of single columns, and whole movies as jobs/movies.toml describes them.
//!
//!     cargo bench --bench generate [SECONDS]

#![allow(missing_docs, clippy::print_stdout)]

use std::time::{Duration, Instant};

use runner::{
    batch::{Rejects, SplitId},
    jobspec::{Document, Format, Problems},
    plan::{Plan, compile},
};

const MOVIE: &str = r#"
titleId = { uuid = {} }
ordering = { int = { min = 0, max = 9999 } }
title = { fake = "catch_phrase" }
region = { fake = "locale" }
language = { fake = "language_name" }
types = { list = { of = { fake = "name" }, count = 5 } }
attributes = { list = { of = { fake = "name" }, count = 5 } }
isOriginalTitle = { bool = {} }
titleType = { fake = "domain_name" }
primaryTitle = { fake = "catch_phrase" }
originalTitle = { template = "{company}:{catch_phrase}" }
isAdult = { bool = {} }
startYear = { date = { from = "1970-01-01", to = "2024-12-31" } }
endYear = { fake = "year" }
runtimeMinutes = { int = { min = 0, max = 9999 } }
genres = { list = { of = { fake = "country" }, count = 5 } }
tconst = { fake = "hex_color" }
directors = { list = { of = { fake = "name" }, count = 2 } }
writers = { list = { of = { fake = "name" }, count = 40 } }
actors = { list = { of = { fake = "name" }, count = 120 } }
"#;

fn main() {
    let seconds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1.0);
    let time = Duration::from_secs_f64(seconds);
    for (name, fields) in [
        ("names", "x = { fake = \"name\" }"),
        ("uuids", "x = { uuid = {} }"),
        ("dates", "x = { date = { from = \"1970-01-01\", to = \"2024-12-31\" } }"),
        ("ints", "x = { int = { min = 0, max = 9999 } }"),
        ("unique ints", "x = { int = { min = 1, max = 1000000000000 }, unique = true }"),
        ("normal numbers", "x = { normal = {} }"),
        ("Zipf ranks", "x = { zipf = { n = 1000000, s = 1.1 } }"),
        ("e-mail addresses", "x = { fake = \"email\" }"),
        ("patterns of 32 hexadecimal digits", "x = { pattern = \"^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\" }"),
        ("movies", MOVIE),
    ] {
        let (rows, bytes, busy) = run(fields, time);
        let rate = rows as f64 / busy.as_secs_f64();
        println!("{name:<36} {rate:>12.0}/s  {:>8.1} MB/s in memory", bytes as f64 / busy.as_secs_f64() / 1e6);
    }
}

/// Rows and bytes made within a time, after a warm-up.
fn run(fields: &str, time: Duration) -> (u64, u64, Duration) {
    let plan = plan(fields);
    let (_, source) = plan.sources().next().expect("the job has a source");
    let splits = source.splits().expect("splits");
    let mut worker = source.worker().expect("a worker");
    let (mut rows, mut bytes) = (0, 0);
    let mut start = None;
    for (i, split) in splits.iter().enumerate() {
        let mut reader = worker.open(SplitId(i as u32), split).expect("a reader");
        while let Some(batch) = reader.next_batch(&mut Rejects::default()).expect("rows") {
            match start {
                None => start = Some(Instant::now()),
                Some(start) => {
                    rows += batch.rows() as u64;
                    bytes += batch.bytes() as u64;
                    let busy: Duration = start.elapsed();
                    if busy > time {
                        return (rows, bytes, busy);
                    }
                }
            }
        }
    }
    (rows, bytes, start.map_or(time, |start| start.elapsed()))
}

/// A job with these fields; its sink is never opened.
fn plan(fields: &str) -> Plan {
    let job = "[sources.rows]\ntype = \"generate\"\ndefinition = \"d\"\ncount = 1000000000\n\
               [sinks.none]\ntype = \"discard\"\ninput = \"rows\"\n";
    let text = format!("name = \"bench\"\nseed = 7\n[definitions.d.fields]\n{fields}\n{job}");
    let mut problems = Problems::default();
    let document = Document::parse("bench.toml", &text, Format::Toml, &mut problems);
    compile(&document, &mut problems).unwrap_or_else(|| panic!("{problems:?}"))
}
