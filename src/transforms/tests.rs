//! What a stage emits does not depend on how much of it was spilled: random rows, with little memory and with much.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{
    aggregate, dedup, sort,
    testing::{Ran, input, run},
};
use crate::{
    kind::Kind,
    stage::{Held, Transform},
};

const COLUMNS: &str = "k string?, f float64?, n int64";

/// Keys of rows: all different, all the same, few, many that come again after all others, or most of them one (a hot key).
#[derive(Clone, Copy, Debug)]
enum Skew {
    Different,
    Same,
    Few,
    Again,
    Hot,
}

impl Skew {
    fn key(self, row: i64, random: u32) -> Json {
        let key = match self {
            Skew::Different => row * 7919 % 100_003,
            Skew::Same => 1,
            Skew::Few => i64::from(random % 20),
            Skew::Again => row % 700,
            Skew::Hot => i64::from(if random.is_multiple_of(4) { random / 4 % 1000 } else { 1 }),
        };
        if key % 97 == 13 { Json::Null } else { json!(format!("a key of some length, number {key}")) }
    }
}

fn batches(skew: Skew, randoms: &[u32], size: usize) -> Vec<Vec<Json>> {
    let row = |(row, random): (i64, &u32)| {
        let float = (random % 11 != 0).then(|| f64::from(*random) / 7.0);
        json!([skew.key(row, *random), float, row * 1_000_000_000 * i64::from(random % 3)])
    };
    let rows: Vec<Json> = (0..).zip(randoms).map(row).collect();
    rows.chunks(size).map(<[Json]>::to_vec).collect()
}

/// Runs with much memory and with little, which must do the same.
fn same(kind: &Kind<dyn Transform>, spec: &Json, batches: &[Vec<Json>], little: usize) -> Result<Held, TestCaseError> {
    let parts: Vec<&[Json]> = batches.iter().map(Vec::as_slice).collect();
    let rows = input(COLUMNS, &parts);
    let much = run(kind, spec, &rows, None, 1 << 30).expect("it fits");
    prop_assert_eq!(much.held.parts, 0);
    let less = run(kind, spec, &rows, None, little).expect("the rest is spilled");
    let held = less.held;
    prop_assert_eq!(Ran { held: much.held, ..less }, much, "{}", spec);
    Ok(held)
}

/// A group of its own whose sum is beyond int64 is a reject, wherever it was.
fn aggregate() -> Json {
    json!({ "by": ["k"], "columns": {
        "rows": "count(*)", "floats": "count(f)", "sum": "sum(f)", "big": "sum(n)", "huge": "sum(n * 9000000)",
        "mean": "avg(n)", "dev": "stddev(f)", "least": "min(k)", "most": "max(f)", "first": "first(n)", "last": "last(k)",
    } })
}

/// What grows with the rows of a group, among what does not.
fn growing() -> Json {
    json!({ "by": ["k"], "columns": {
        "sum": "sum(f)", "list": "array_agg(n)", "texts": "array_agg(k)", "floats": "count_distinct(f)", "dev": "stddev(f)",
        "few": "count_distinct(n % 7)", "last": "last(k || '!')", "lists": "array_agg(f)", "huge": "sum(n * 9000000)",
    } })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn little_memory_gives_the_same_rows(
        skew in prop::sample::select(vec![Skew::Different, Skew::Same, Skew::Few, Skew::Again, Skew::Hot]),
        randoms in prop::collection::vec(any::<u32>(), 1..3000),
        size in prop_oneof![1_usize..5, 1_usize..400],
    ) {
        let batches = batches(skew, &randoms, size);
        for by in [json!(["k", "n desc"]), json!(["f"]), json!(["k"]), json!(["n % 2", "k desc"])] {
            same(&sort::KIND, &json!({ "by": by }), &batches, 40_000)?;
        }
        same(&dedup::KIND, &json!({ "by": ["k"], "keep": "last" }), &batches, 200_000)?;
        same(&dedup::KIND, &json!({ "by": ["f", "n"], "keep": "last" }), &batches, 200_000)?;
        same(&dedup::KIND, &json!({ "by": ["k"] }), &batches, 40_000)?;
        same(&dedup::KIND, &json!({ "by": ["f", "n"] }), &batches, 40_000)?;
        same(&aggregate::KIND, &aggregate(), &batches, 200_000)?;
        same(&aggregate::KIND, &json!({ "by": ["f"], "columns": { "n": "count(*)" } }), &batches, 100_000)?;
        // The largest group must fit on its own.
        same(&aggregate::KIND, &growing(), &batches, 700_000)?;
    }
}

/// Lists and sets of groups that are in memory outgrow it: they are spilled as well, and the rows are the same.
#[test]
fn groups_that_outgrow_the_memory_are_spilled() {
    let randoms: Vec<u32> = (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_761) >> 7).collect();
    for (skew, size, little) in [
        (Skew::Few, 500, 1_000_000),
        (Skew::Few, 7, 1_000_000),
        (Skew::Hot, 500, 1_100_000),
        (Skew::Different, 500, 1_000_000),
    ] {
        let batches = batches(skew, &randoms, size);
        let held = same(&aggregate::KIND, &growing(), &batches, little).expect("the same rows");
        assert!(held.parts > 16 && held.peak < little as u64, "{skew:?}: {held:?}");
    }
}

/// More than one level of parts, and many runs.
#[test]
fn spilled_rows_are_divided_again_and_again() {
    let randoms: Vec<u32> = (0..60_000_u32).map(|n| n.wrapping_mul(2_654_435_761)).collect();
    let batches = batches(Skew::Different, &randoms, 500);
    for (kind, spec, little) in [
        (&sort::KIND, json!({ "by": ["k"] }), 100_000),
        (&dedup::KIND, json!({ "by": ["k"], "keep": "last" }), 400_000),
        (&dedup::KIND, json!({ "by": ["k"] }), 100_000),
        (&dedup::KIND, json!({ "by": ["f", "n"] }), 100_000),
        (&aggregate::KIND, json!({ "by": ["k"], "columns": { "n": "sum(n)", "f": "sum(f)" } }), 400_000),
    ] {
        let held = same(kind, &spec, &batches, little).expect("the same rows");
        assert!(held.parts > 0, "{spec} was not spilled");
    }
}
