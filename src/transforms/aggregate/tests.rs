//! The aggregate from spec to rows.

use serde_json::{Value as Json, json};

use super::KIND;
use crate::{
    failure::Exit,
    kind::Workers,
    stage::Held,
    transforms::testing::{Input, compile, input, problems, rows_of, run, schema},
};

const COLUMNS: &str = "k string?, i int64?, f float64?, s string?, b bool?, t timestamp?, l list<int64>?";

fn rows() -> Input {
    let long = "a text that is longer than a view";
    input(
        COLUMNS,
        &[
            &[
                json!(["x", 1, 1.5, "b", true, "2020-01-01T01:00:00", [1]]),
                json!([null, 10, null, null, false, "2020-01-01T13:00:00", null]),
                json!(["x", null, 2.5, long, false, "2020-01-01T23:59:59", [2, 3]]),
            ],
            &[],
            &[
                json!([null, 30, 4.0, "z", null, "2020-01-01T12:00:00", []]),
                json!(["x", 1, 0.5, "b", true, "1999-12-31T23:00:00", null]),
            ],
        ],
    )
}

#[test]
fn every_aggregate_of_every_group() {
    let table = [
        ("count(*)", json!([3, 2])),
        ("count(i)", json!([2, 2])),
        ("count(distinct i)", json!([1, 2])),
        ("count_distinct(s)", json!([2, 1])),
        ("sum(i)", json!([2, 40])),
        ("sum(i * 2 + 1)", json!([6, 82])),
        ("sum(f)", json!([4.5, 4.0])),
        ("avg(i)", json!([1.0, 20.0])),
        ("avg(f)", json!([1.5, 4.0])),
        ("stddev(f)", json!([1.0, null])),
        ("stddev(i)", json!([0.0, 200_f64.sqrt()])),
        ("min(i)", json!([1, 10])),
        ("max(f)", json!([2.5, 4.0])),
        ("min(s)", json!(["a text that is longer than a view", "z"])),
        ("max(s)", json!(["b", "z"])),
        ("min(b)", json!([false, false])),
        ("max(b)", json!([true, false])),
        ("min(t)", json!(["1999-12-31T23:00:00Z", "2020-01-01T12:00:00Z"])),
        ("first(i)", json!([1, 10])),
        ("last(i)", json!([1, 30])),
        ("first(s)", json!(["b", null])),
        ("last(l)", json!([null, []])),
        ("array_agg(i)", json!([[1, null, 1], [10, 30]])),
        ("array_agg(l)", json!([[[1], [2, 3], null], [null, []]])),
        ("array_agg(upper(k))", json!([["X", "X", "X"], [null, null]])),
    ];
    for (call, expected) in table {
        let spec = json!({ "by": ["k"], "columns": { "v": call } });
        let expected = [json!(["x", expected[0]]).to_string(), json!([null, expected[1]]).to_string()];
        assert_eq!(rows_of(&KIND, &spec, &rows(), None), expected, "{call}");
    }
}

#[test]
fn types_follow_from_the_calls() {
    let spec = json!({ "by": ["k", "b"], "columns": {
        "a": "count(*)", "c": "sum(i)", "d": "sum(f)", "e": "avg(i)", "f": "min(t)", "g": "array_agg(s)", "h": "last(l)",
    } });
    let Ok(compiled) = compile(&KIND, &spec, (&schema(COLUMNS), None), 1) else { panic!("it is sound") };
    assert_eq!(
        compiled.output.expect("it has output").to_string(),
        "k string?, b bool?, a int64, c int64?, d float64?, e float64?, f timestamp?, g list<string>?, h list<int64>?"
    );
    assert!(matches!(compiled.workers, Workers::Keyed(key, 1) if key.to_string() == "k"));
}

#[test]
fn without_groups_there_is_one_row() {
    let columns = json!({
        "n": "count(*)", "m": "count(i)", "d": "count_distinct(i)", "s": "sum(i)", "g": "sum(f)", "a": "avg(f)",
        "v": "stddev(i)", "lo": "min(i)", "hi": "max(s)", "first": "first(s)", "l": "array_agg(i)",
    });
    let none = "[0,0,0,null,null,null,null,null,null,null,null]";
    for batches in [&[][..], &[&[][..]]] {
        assert_eq!(rows_of(&KIND, &json!({ "columns": columns }), &input(COLUMNS, batches), None), [none]);
        let grouped = json!({ "by": ["k"], "columns": columns });
        assert_eq!(rows_of(&KIND, &grouped, &input(COLUMNS, batches), None), Vec::<String>::new());
    }
    let spec = json!({ "columns": { "n": "count()", "s": "sum(i)" } });
    assert_eq!(rows_of(&KIND, &spec, &rows(), None), ["[5,42]"]);
    let Ok(compiled) = compile(&KIND, &spec, (&schema(COLUMNS), None), 1) else { panic!("it is sound") };
    assert!(matches!(compiled.workers, Workers::One(_)));
}

#[test]
fn windows_are_equal_spans_of_the_rows_own_time() {
    let spec = json!({ "columns": { "n": "count(*)" }, "window": { "time": "t", "every": "12h" } });
    let expected = [
        json!(["2020-01-01T00:00:00Z", "2020-01-01T12:00:00Z", 1]),
        json!(["2020-01-01T12:00:00Z", "2020-01-02T00:00:00Z", 3]),
        json!(["1999-12-31T12:00:00Z", "2000-01-01T00:00:00Z", 1]),
    ];
    assert_eq!(rows_of(&KIND, &spec, &rows(), None), expected.map(|row| row.to_string()));
    let weeks =
        json!({ "by": ["k"], "columns": { "n": "sum(i)" }, "window": { "time": "cast(t as date)", "every": "7d" } });
    let expected = [
        json!(["x", "2019-12-30T00:00:00Z", "2020-01-06T00:00:00Z", 1]),
        json!([null, "2019-12-30T00:00:00Z", "2020-01-06T00:00:00Z", 40]),
        json!(["x", "1999-12-27T00:00:00Z", "2000-01-03T00:00:00Z", 1]),
    ];
    assert_eq!(rows_of(&KIND, &weeks, &rows(), None), expected.map(|row| row.to_string()));
    let nanos = input("t timestamp_ns", &[&[json!(["2020-01-01T00:00:00.000001999"])]]);
    let spec = json!({ "columns": { "n": "count(*)" }, "window": { "time": "t", "every": "1us" } });
    let expected = json!(["2020-01-01T00:00:00.000001000Z", "2020-01-01T00:00:00.000002000Z", 1]).to_string();
    assert_eq!(rows_of(&KIND, &spec, &nanos, None), [expected]);
}

#[test]
fn a_row_that_cannot_be_taken_is_a_reject() {
    let input = input(
        "i int64, t timestamp?",
        &[&[json!([0, null]), json!([0, "2020-01-01"]), json!([2, null]), json!([5, "2020-01-01"])]],
    );
    let spec = json!({ "columns": { "n": "sum(10 // i)" }, "window": { "time": "t", "every": "1d" } });
    let ran = run(&KIND, &spec, &input, None, 1 << 20).expect("nothing fails as a whole");
    assert_eq!(ran.rows, [json!(["2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", 2]).to_string()]);
    let expected = [
        "1 expression division by zero: `10 // 0`",
        "2 expression division by zero: `10 // 0`",
        "3 window the time of a window, `t`, is null",
    ];
    assert_eq!(ran.rejects, expected);
}

#[test]
fn a_sum_beyond_its_type_is_a_reject_of_its_group() {
    let rows: &[Json] =
        &[json!(["x", i64::MAX]), json!(["y", i64::MAX]), json!(["x", 1]), json!(["y", 1]), json!(["y", -1])];
    let spec = json!({ "by": ["k"], "columns": { "total": "sum(i)" } });
    let ran = run(&KIND, &spec, &input("k string, i int64", &[rows]), None, 1 << 20).expect("nothing fails as a whole");
    assert_eq!(ran.rows, [json!(["y", i64::MAX]).to_string()], "what is exact in the end is exact on the way");
    assert_eq!(ran.rejects, ["made 0 expression `total`: the sum 9223372036854775808 is beyond int64"]);
}

#[test]
fn groups_that_do_not_fit_into_memory_are_spilled() {
    let rows: Vec<Json> = (0..5000).map(|n| json!([format!("a key with a long name, number {n}"), n])).collect();
    let parts: Vec<&[Json]> = rows.chunks(500).collect();
    let rows = input("k string, i int64", &parts);
    for call in ["sum(i)", "array_agg(k)", "min(k)", "first(k)", "last(k)", "count_distinct(k)"] {
        let spec = json!({ "by": ["k"], "columns": { "v": call } });
        let whole = run(&KIND, &spec, &rows, None, 16 << 20).expect("it fits");
        let spilled = run(&KIND, &spec, &rows, None, 500_000).expect("the rest is spilled");
        assert_eq!((whole.rows.len(), whole.held.parts), (5000, 0));
        assert!(spilled.rows == whole.rows && spilled.held.parts > 10, "{call}: {:?}", spilled.held);
    }
}

/// Runs with much memory and with little; what was held and spilled with little.
fn same(spec: &Json, columns: &str, rows: &[Json], size: usize, little: usize) -> Held {
    let parts: Vec<&[Json]> = rows.chunks(size).collect();
    let rows = input(columns, &parts);
    let much = run(&KIND, spec, &rows, None, 64 << 20).expect("it fits");
    let less = run(&KIND, spec, &rows, None, little).expect("the rest is spilled");
    assert_eq!((&less.rows, &less.rejects, much.held.parts), (&much.rows, &much.rejects, 0));
    less.held
}

/// All groups are met before there is too much of them.
#[test]
fn groups_that_outgrow_the_memory_are_spilled() {
    let text = |n: usize| json!([format!("key {}", n % 300), "x".repeat(n / 10), n]);
    let rows: Vec<Json> = (0..6000).map(text).collect();
    for call in ["max(s)", "last(s)", "array_agg(s)", "count_distinct(s)", "array_agg(i)"] {
        let spec = json!({ "by": ["k"], "columns": { "n": "count(*)", "v": call, "sum": "sum(i)" } });
        let little = if call == "array_agg(i)" { 120_000 } else { 200_000 };
        let held = same(&spec, "k string, s string, i int64", &rows, 50, little);
        // The room for keys is doubled where it is too small, before anything can be spilled.
        let most = if call == "count_distinct(s)" { 2 * little } else { little };
        assert!(held.parts > 16 && held.peak < most as u64, "{call}: {held:?}");
    }
    // Windows are groups as well.
    let text = |n: usize| json!([format!("key {}", n % 3), format!("2020-01-{:02}T00:00:00", 1 + n % 20), n]);
    let rows: Vec<Json> = (0..9000).map(text).collect();
    let spec = json!({ "by": ["k"], "columns": { "v": "array_agg(i)" }, "window": { "time": "t", "every": "1d" } });
    let held = same(&spec, "k string, t timestamp, i int64", &rows, 50, 160_000);
    assert!(held.parts > 16 && held.peak < 160_000, "{held:?}");
}

/// Values that others have taken the place of are no reason to spill.
#[test]
fn few_groups_with_large_values_are_held() {
    let rows: Vec<Json> = (0..1000).map(|n| json!([format!("key {}", n % 2), format!("{n:010000}")])).collect();
    let spec = json!({ "by": ["k"], "columns": { "first": "first(s)", "last": "last(s)", "most": "max(s)" } });
    let held = same(&spec, "k string, s string", &rows, 10, 400_000);
    assert!(held.parts == 0 && held.peak < 250_000, "{held:?}");
}

/// The lists and sets of one group must fit into memory.
#[test]
fn a_single_group_that_does_not_fit_is_a_failure() {
    // A list that is alone among what is spilled, and does not fit.
    let long: Vec<Json> =
        (0..9000).map(|n| json!([if n % 2 == 0 { "same".to_owned() } else { format!("key {n}") }, n])).collect();
    let parts: Vec<&[Json]> = long.chunks(100).collect();
    let spec = json!({ "by": ["k"], "columns": { "v": "array_agg(i)" } });
    let failure = run(&KIND, &spec, &input("k string, i int64", &parts), None, 60_000).expect_err("it grows on");
    assert!(failure.message.starts_with("the groups take "), "{failure}");
    let rows: Vec<Json> = (0..5000).map(|n| json!([format!("a key with a long name, number {n}"), n])).collect();
    let parts: Vec<&[Json]> = rows.chunks(500).collect();
    let rows = input("k string, i int64", &parts);
    for call in ["array_agg(k)", "count_distinct(k)"] {
        let one = json!({ "columns": { "v": call } });
        let failure = run(&KIND, &one, &rows, None, 200_000).expect_err("one group may be too large");
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.message.starts_with("the groups take "), "{failure}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let table = [
        (json!({ "columns": {} }), vec!["empty | t.columns | there is nothing to compute"]),
        (
            json!({ "by": ["kk"], "columns": { "v": "sum(ii) ", "w": "summ(i)", "x": "i + 1" } }),
            vec![
                "unknown-column | t.by[0] | there is no column `kk` | did you mean `k`?",
                "expression | t.columns.v[4..6] | there is no column `ii` | did you mean `i`?",
                "expression | t.columns.w[0..4] | there is no aggregate `summ` | did you mean `sum`?",
                "expression | t.columns.x[0..5] | expected one aggregate, such as `sum(price)` | compute with aggregates in a `select` behind this stage",
            ],
        ),
        (
            json!({ "columns": { "a": "sum(s)", "b": "max(l)", "c": "sum(*)", "d": "sum(distinct i)", "e": "sum(i) over ()", "f": "sum(i, i)" } }),
            vec![
                "expression | t.columns.a[4..5] | `sum`, `avg` and `stddev` need a number, this is a string",
                "expression | t.columns.b[4..5] | `min` and `max` need values that have an order, this is a list<int64>",
                "expression | t.columns.c[0..6] | `sum` takes one argument",
                "expression | t.columns.d[0..15] | `distinct` is for `count` alone",
                "expression | t.columns.e[0..6] | `over`, `filter` and `order by` are not supported here",
                "expression | t.columns.f[0..9] | `sum` takes one argument",
            ],
        ),
        (
            json!({ "by": ["k"], "columns": { "k": "count(*)", "window_end": "count(*)" }, "window": { "time": "t", "every": "1h" } }),
            vec![
                "columns | key t.columns.k | two columns would be named `k`",
                "columns | key t.columns.window_end | two columns would be named `window_end`",
            ],
        ),
        (
            json!({ "columns": { "n": "count(*)" }, "window": { "time": "s || k", "every": "0s" } }),
            vec!["range | t.window.every | a window is one microsecond long at least"],
        ),
        (
            json!({ "columns": { "n": "count(*)" }, "window": { "time": "i", "every": "1h" } }),
            vec!["type | t.window.time | `time` must be a date or a timestamp, not int64"],
        ),
    ];
    for (spec, expected) in table {
        assert_eq!(problems(&KIND, &spec, COLUMNS, None), expected, "{spec}");
    }
}
