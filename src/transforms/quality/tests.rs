//! The transform from spec to rows.

use serde_json::{Value as Json, json};

use super::{KIND, profile};
use crate::{
    batch::ColumnType,
    failure::Exit,
    kind::Workers,
    transforms::testing::{Input, compile, input, problems, run, schema},
};

const COLUMNS: &str = "k string?, t timestamp, v float64?";

/// A spec with these keys besides the necessary ones.
fn spec(more: &Json) -> Json {
    let mut spec = json!({ "time": "t", "value": "v", "window": "1h" });
    let (Some(spec_keys), Some(more)) = (spec.as_object_mut(), more.as_object()) else { panic!("tables") };
    spec_keys.extend(more.clone());
    spec
}

/// The values of some columns of each record.
fn told(more: &Json, rows: &Input, columns: &[&str]) -> Vec<Json> {
    let spec = spec(more);
    let output = compile(&KIND, &spec, (&rows.schema, None), 1 << 20).expect("it is right").output.expect("records");
    let ran = run(&KIND, &spec, rows, None, 1 << 20).expect("nothing fails");
    assert_eq!(ran.rejects, Vec::<String>::new());
    let record = |row: &String| {
        let values: Vec<Json> = serde_json::from_str(row).expect("JSON");
        let value = |name: &&str| values[output.find(name).expect("a column").0].clone();
        Json::Array(columns.iter().map(value).collect())
    };
    ran.rows.iter().map(record).collect()
}

fn at(minute: u32) -> String {
    format!("2024-05-01T{:02}:{:02}:00Z", 10 + minute / 60, minute % 60)
}

fn points(points: &[(&str, u32, Json)]) -> Input {
    let rows: Vec<Json> = points.iter().map(|(key, minute, value)| json!([key, at(*minute), value])).collect();
    // Batches of two, so that what crosses their edges is seen in every test.
    let batches: Vec<&[Json]> = rows.chunks(2).collect();
    input(COLUMNS, &batches)
}

#[test]
fn a_record_for_each_stream_and_window() {
    let rows = points(&[
        ("b", 7, json!(1.0)),
        ("a", 0, json!(2.0)),
        ("b", 67, json!(3.0)),
        ("b", 66, json!(null)),
        ("a", 240, json!(4.0)),
        ("b", 68, json!(5.0)),
    ]);
    let columns = ["k", "window_start", "window_end", "partial", "count", "out_of_order", "mean"];
    let by_first = [
        json!(["b", at(7), at(67), false, 2, 1, 1.0]),
        json!(["b", at(67), at(127), true, 2, 0, 4.0]),
        json!(["a", at(0), at(60), false, 1, 0, 2.0]),
        json!(["a", at(60), at(120), false, 0, 0, null]),
        json!(["a", at(120), at(180), false, 0, 0, null]),
        json!(["a", at(180), at(240), false, 0, 0, null]),
        json!(["a", at(240), at(300), false, 1, 0, 4.0]),
    ];
    assert_eq!(told(&json!({ "by": ["k"] }), &rows, &columns), by_first);
    let by_epoch = [json!(["b", at(0), at(60), true, 1, 0, 1.0]), json!(["b", at(60), at(120), true, 3, 1, 4.0])];
    assert_eq!(told(&json!({ "by": ["k"], "align": "epoch" }), &rows, &columns)[..2], by_epoch);
    let all = told(&json!({}), &rows, &["window_start", "count"]);
    // Without `by` all are one stream; the point at 0 lies in the window before that of the first one.
    assert_eq!(all[1..], [json!([at(7), 2]), json!([at(67), 2]), json!([at(127), 0]), json!([at(187), 1])]);
    assert_eq!(all[0][1], json!(1));
}

#[test]
fn every_rule_has_its_verdict() {
    let rows: Vec<(&str, u32, Json)> = [(0, 1.0), (1, 1.0), (2, 1.0), (3, 9.0), (4, 2.0), (30, 3.0), (61, 3.5)]
        .into_iter()
        .map(|(minute, value)| ("a", minute, json!(value)))
        .collect();
    let rows = points(&rows);
    let table = [
        (json!({}), "gap", json!(["not_evaluated", "not_evaluated"]), json!({})),
        (json!({ "max_gap": "26m" }), "gap", json!(["fail", "fail"]), json!({})),
        (json!({ "max_gap": "30m" }), "gap", json!(["fail", "fail"]), json!({})),
        (json!({ "max_gap": "31m" }), "gap", json!(["pass", "pass"]), json!({})),
        (json!({ "range": [1, 8] }), "range", json!(["fail", "pass"]), json!({ "range": [at(3)] })),
        (
            json!({ "range": [0, 9], "suspect_range": [2, 9] }),
            "range",
            json!(["suspect", "pass"]),
            json!({
                "range": [at(0), at(1)],
            }),
        ),
        (
            json!({ "flatline": { "for": "2m" } }),
            "flatline",
            json!(["fail", "pass"]),
            json!({
                "flatline": [at(2)],
            }),
        ),
        (json!({ "flatline": { "for": "3m" } }), "flatline", json!(["pass", "pass"]), json!({})),
        (
            json!({ "flatline": { "for": "3m", "suspect_for": "2m" } }),
            "flatline",
            json!(["suspect", "pass"]),
            json!({}),
        ),
        (json!({ "flatline": { "for": "31m", "tolerance": 0.5 } }), "flatline", json!(["pass", "fail"]), json!({})),
        (json!({ "spike": { "threshold": 7.4 } }), "spike", json!(["fail", "pass"]), json!({ "spike": [at(3)] })),
        (
            json!({ "spike": { "threshold": 7.5, "suspect": 7 } }),
            "spike",
            json!(["suspect", "pass"]),
            json!({
                "spike": [at(3)],
            }),
        ),
        (json!({ "rate": { "max": 0.12 } }), "rate", json!(["fail", "pass"]), json!({ "rate": [at(3)] })),
        (
            json!({ "rate": { "max": 0.14, "suspect": 0.12 } }),
            "rate",
            json!(["suspect", "pass"]),
            json!({
                "rate": [at(3)],
            }),
        ),
    ];
    for (expect, rule, verdicts, offences) in table {
        let keys = json!({ "expect": expect, "offences": 2 });
        let column = format!("{rule}_verdict");
        let found = told(&keys, &rows, &[&column, "offences"]);
        assert_eq!(json!([found[0][0], found[1][0]]), verdicts, "{expect}");
        if rule != "gap" {
            assert_eq!(found[0][1], offences, "{expect}");
        }
    }
}

#[test]
fn odd_values_and_times_give_a_verdict() {
    let table = [
        (vec![("a", 0, json!(1.0))], json!([1, 0, 0, "pass", "pass", 1.0])),
        (vec![("a", 0, json!("NaN")), ("a", 1, json!("NaN"))], json!([2, 2, 0, "fail", "pass", 0.0])),
        (vec![("a", 0, json!("inf")), ("a", 1, json!(1.0))], json!([2, 0, 0, "suspect", "pass", 0.5])),
        (vec![("a", 0, json!(null)), ("a", 1, json!(null))], json!([2, 0, 0, "fail", "pass", 0.0])),
        (vec![("a", 5, json!(1.0)), ("a", 4, json!(1.0))], json!([2, 0, 0, "pass", "suspect", 0.75])),
        (vec![("a", 5, json!(1.0)), ("a", 5, json!(1.0))], json!([2, 0, 1, "pass", "suspect", 0.75])),
    ];
    for (rows, expected) in table {
        let columns = ["count", "nans", "duplicates", "values_verdict", "order_verdict", "score"];
        let found = told(&json!({ "align": "epoch" }), &points(&rows), &columns);
        assert_eq!(found, [expected], "{rows:?}");
    }
}

#[test]
fn values_and_times_may_be_of_several_types() {
    let seconds = 1_714_557_600_i64;
    let table = [
        ("t int64, v int32", json!([seconds, 5]), json!({ "unit": "s" }), "2024-05-01T10:00:00Z"),
        ("t int64, v uint8", json!([seconds * 1000, 5]), json!({ "unit": "ms" }), "2024-05-01T10:00:00Z"),
        (
            "t int64, v float32",
            json!([seconds * 1_000_000 + 1, 5]),
            json!({ "unit": "us" }),
            "2024-05-01T10:00:00.000001Z",
        ),
        (
            "t int64, v int64",
            json!([seconds * 1_000_000_000 + 1, 5]),
            json!({ "unit": "ns" }),
            "2024-05-01T10:00:00.000000001Z",
        ),
        (
            "t timestamp_ns, v float64",
            json!(["2024-05-01T10:00:00.000000001", 5]),
            json!({}),
            "2024-05-01T10:00:00.000000001Z",
        ),
    ];
    for (columns, row, keys, start) in table {
        let found = told(&keys, &input(columns, &[&[row]]), &["window_start", "max"]);
        assert_eq!(found, [json!([start, 5.0])], "{columns}");
    }
}

#[test]
fn times_that_cannot_be_right_are_rejects() {
    let seconds = 1_714_557_600_i64;
    let refused = |unit: &str, time: Json, more: Json| {
        let rows = input("t int64?, v float64", &[&[json!([time, 1.0]), json!([null, 2.0])]]);
        let mut keys = spec(&more);
        keys["unit"] = json!(unit);
        run(&KIND, &keys, &rows, None, 1 << 20).expect("nothing fails")
    };
    let table = [
        (
            "ns",
            seconds * 1000,
            "`t` is 1714557600000 `ns`: that is 1970-01-01T00:28:34Z, not in the years 1971 to 2200; counted in `ms` it would be 2024-05-01T10:00:00Z",
        ),
        (
            "ms",
            seconds * 1_000_000_000,
            "`t` is 1714557600000000000 `ms`: that is far beyond any calendar, not in the years 1971 to 2200; counted in `ns` it would be 2024-05-01T10:00:00Z",
        ),
        ("s", -1, "`t` is -1 `s`: that is 1969-12-31T23:59:59Z, not in the years 1971 to 2200"),
    ];
    for (unit, time, message) in table {
        let ran = refused(unit, json!(time), json!({}));
        assert_eq!(ran.rejects, [format!("1 time {message}"), "2 time `t` is null".to_owned()]);
        assert_eq!(ran.rows.len(), 0);
    }
    let ran = refused("s", json!(-1), json!({ "years": [1960, 1970] }));
    assert_eq!((ran.rows.len(), ran.rejects.len()), (1, 1));
    let stamps = input("t timestamp, v float64", &[&[json!(["1066-10-14T09:00:00", 1.0])]]);
    let ran = run(&KIND, &spec(&json!({})), &stamps, None, 1 << 20).expect("nothing fails");
    let message = "1 time `t` is -28502722800000000: that is 1066-10-14T09:00:00Z, not in the years 1971 to 2200";
    assert_eq!(ran.rejects, [message]);
}

#[test]
fn what_is_too_much_fails_with_the_reason() {
    let rows: Vec<Json> = (0..60).map(|n| json!([n.to_string(), at(n), 1.0])).collect();
    let rows = input(COLUMNS, &[&rows]);
    let failure = run(&KIND, &spec(&json!({ "by": ["k"] })), &rows, None, 1 << 14).expect_err("little memory");
    assert_eq!(failure.exit, Exit::Unavailable);
    assert!(failure.message.starts_with("the windows take "), "{failure}");
    let rows = points(&[("a", 0, json!(1)), ("a", 240, json!(1))]);
    let failure = run(&KIND, &spec(&json!({ "window": "1ms" })), &rows, None, 1 << 20).expect_err("many windows");
    assert_eq!(failure.exit, Exit::Rejects);
    let message = "the times of a stream, from 2024-05-01T10:00:00Z to 2024-05-01T14:00:00Z, lie in 14400001 windows, more than 10000000: there are wrong times, or the window is too short";
    assert_eq!(failure.message, message);
}

#[test]
fn streams_of_several_workers_come_in_the_order_of_the_input() {
    let rows = points(&[("c", 0, json!(1)), ("a", 0, json!(1)), ("b", 0, json!(1)), ("a", 1, json!(1))]);
    let stage = compile(&KIND, &spec(&json!({ "by": ["k"] })), (&rows.schema, None), 1 << 20).expect("right").stage;
    let mut workers = [stage.worker().expect("one"), stage.worker().expect("another")];
    for batch in &rows.batches {
        let keys: Vec<u32> = (0..batch.rows() as u32).collect();
        let is_a = |row: &u32| batch.records.column(0).as_ref().slice(*row as usize, 1).to_data() == a(&rows);
        let (first, second) = keys.into_iter().partition(is_a);
        for (worker, rows) in workers.iter_mut().zip([first, second]) {
            let out = worker.apply(batch.pick(rows), &mut crate::batch::Rejects::default()).expect("it is taken");
            assert_eq!(out.rows(), 0);
        }
    }
    assert!(workers[0].finish().expect("nothing fails").is_none());
    let made = workers[1].finish().expect("nothing fails").expect("all rows");
    let names: Vec<String> = (0..3).map(|row| crate::values::json::row(&made.records, row)[6..7].to_owned()).collect();
    assert_eq!(names, ["c", "a", "b"]);
    assert!(workers[1].finish().expect("nothing fails").is_none());
}

fn a(rows: &Input) -> arrow_data::ArrayData {
    rows.batches[0].records.column(0).slice(1, 1).to_data()
}

#[test]
fn workers_are_as_many_as_streams_can_be_divided_among() {
    let workers = |keys: &Json| compile(&KIND, &spec(keys), (&schema(COLUMNS), None), 1 << 20).expect("right").workers;
    assert!(matches!(workers(&json!({})), Workers::One("all points are one stream")));
    assert!(matches!(workers(&json!({ "by": ["k"] })), Workers::Keyed(_, 1)));
}

#[test]
fn the_page_names_every_column() {
    let page = json!((KIND.schema)(&mut schemars::SchemaGenerator::default())).to_string();
    for column in profile::columns(&ColumnType::Timestamp) {
        assert!(page.contains(&format!("`{}`", column.name)), "no word of `{}`", column.name);
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let table = [
        (
            json!({ "time": "tt", "value": "k", "by": ["x"] }),
            vec![
                "unknown-column | t.by[0] | there is no column `x` | did you mean `k`?",
                "unknown-column | t.time | there is no column `tt` | did you mean `t`?",
                "type | t.value | a value is a number, not string",
            ],
        ),
        (
            json!({ "time": "k" }),
            vec!["type | t.time | a time is a `timestamp`, a `timestamp_ns` or an `int64`, not string"],
        ),
        (json!({ "unit": "ns" }), vec!["unit | key t.unit | `unit` is for times that are `int64`; `t` is a timestamp"]),
        (
            json!({ "time": "n" }),
            vec![
                "unit | t.time | `n` is an int64, which does not say what it counts | add `unit = \"ns\"`, or \"us\", \"ms\", \"s\"",
            ],
        ),
        (json!({ "window": "0s" }), vec!["range | t.window | must be above 0 and below 292 years"]),
        (json!({ "years": [1900] }), vec!["range | t.years | two years: the first, then the last"]),
        (
            json!({ "years": [1700, 2200] }),
            vec![
                "range | t.years | the first and the last year of a time: from 1678 to 2261, and fewer than 290 apart",
            ],
        ),
        (
            json!({ "by": ["count"] }),
            vec![
                "columns | t.by[0] | two columns would be named `count` | give it another name in a `select` before this stage",
            ],
        ),
        (
            json!({ "expect": {
                "interval": "0s", "max_gap": "0s", "range": [1, 0], "suspect_range": [1],
                "flatline": { "for": "1m", "suspect_for": "2m", "tolerance": -1 },
                "spike": { "threshold": -1, "suspect": 1 }, "rate": { "max": 1, "suspect": 1 },
            } }),
            vec![
                "range | t.expect.flatline.suspect_for | must be below `for`",
                "range | t.expect.flatline.tolerance | must be 0 or more",
                "range | t.expect.spike.threshold | must be 0 or more",
                "range | t.expect.spike.suspect | must be below `threshold`",
                "range | t.expect.rate.suspect | must be below `max`",
                "range | t.expect.interval | must be above 0 and below 292 years",
                "range | t.expect.max_gap | must be above 0 and below 292 years",
                "range | t.expect.range | two numbers: the lowest value, then the highest",
                "range | t.expect.suspect_range | two numbers: the lowest value, then the highest",
            ],
        ),
        (
            json!({ "expect": { "range": [0, 10], "suspect_range": [0, 11] } }),
            vec!["range | t.expect.suspect_range | must lie within `range`"],
        ),
    ];
    for (keys, expected) in table {
        let found = problems(&KIND, &spec(&keys), "k string?, t timestamp, v float64?, n int64, count int64", None);
        assert_eq!(found, expected, "{keys}");
    }
}
