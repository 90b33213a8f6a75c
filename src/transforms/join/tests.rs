//! The join from spec to rows.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::KIND;
use crate::{
    batch::{Rejects, SplitId},
    failure::Exit,
    transforms::testing::{Input, Ran, compile, input, problems, rows_of, run},
};

const LEFT: &str = "id int64?, name string";
const RIGHT: &str = "id int64?, city string?";

fn left() -> Input {
    let rows = [json!([2, "b"]), json!([null, "n"]), json!([1, "a"])];
    input(LEFT, &[&rows, &[], &[json!([3, "c"]), json!([2, "again"])]])
}

fn right() -> Input {
    let long = "a city with a name of some length";
    input(RIGHT, &[&[json!([2, "X"]), json!([null, "N"]), json!([1, null])], &[json!([2, long]), json!([9, "Z"])]])
}

#[test]
fn the_six_ways_to_join() {
    let long = "a city with a name of some length";
    let inner = vec![
        json!([2, "b", "X"]),
        json!([2, "b", long]),
        json!([1, "a", null]),
        json!([2, "again", "X"]),
        json!([2, "again", long]),
    ];
    let mut outer = inner.clone();
    outer.insert(2, json!([null, "n", null]));
    outer.insert(4, json!([3, "c", null]));
    let alone = [json!([null, null, "N"]), json!([9, null, "Z"])];
    let [right_too, full] = [&inner, &outer].map(|rows| [rows, &alone[..]].concat());
    let semi = vec![json!([2, "b"]), json!([1, "a"]), json!([2, "again"])];
    let anti = vec![json!([null, "n"]), json!([3, "c"])];
    let table: [(&str, Vec<Json>, &str, u64); 6] = [
        ("inner", inner, "id int64?, name string, city string?", 2),
        ("left", outer, "id int64?, name string, city string?", 0),
        ("right", right_too, "id int64?, name string?, city string?", 2),
        ("full", full, "id int64?, name string?, city string?", 0),
        ("semi", semi, LEFT, 0),
        ("anti", anti, LEFT, 0),
    ];
    for (how, expected, columns, dropped) in table {
        let spec = json!({ "with": "cities", "on": ["id"], "how": how });
        let ran = run(&KIND, &spec, &left(), Some(&right()), 1 << 20).expect("nothing fails");
        let expected: Vec<String> = expected.iter().map(Json::to_string).collect();
        assert_eq!((ran.rows, ran.dropped), (expected, dropped), "{how}");
        let schemas = (&left().schema, Some(&right().schema));
        let Ok(compiled) = compile(&KIND, &spec, schemas, 1) else { panic!("it is sound") };
        assert_eq!(compiled.output.expect("it has output").to_string(), columns);
    }
}

#[test]
fn inner_is_the_default_and_an_empty_side_has_no_partners() {
    let spec = json!({ "with": "cities", "on": ["id"] });
    assert_eq!(rows_of(&KIND, &spec, &left(), Some(&right())).len(), 5);
    for batches in [&[][..], &[&[][..]]] {
        assert_eq!(rows_of(&KIND, &spec, &left(), Some(&input(RIGHT, batches))), Vec::<String>::new());
    }
    for (how, with_left, with_right) in
        [("left", 5, 0), ("right", 0, 5), ("full", 5, 5), ("semi", 0, 0), ("anti", 5, 0)]
    {
        let spec = json!({ "with": "cities", "on": ["id"], "how": how });
        for batches in [&[][..], &[&[][..]]] {
            let (no_left, no_right) = (input(LEFT, batches), input(RIGHT, batches));
            assert_eq!(rows_of(&KIND, &spec, &left(), Some(&no_right)).len(), with_left, "{how}");
            assert_eq!(rows_of(&KIND, &spec, &no_left, Some(&right())).len(), with_right, "{how}");
            assert_eq!(rows_of(&KIND, &spec, &no_left, Some(&no_right)), Vec::<String>::new(), "{how}");
        }
    }
}

#[test]
fn rows_without_a_left_one_have_their_own_keys() {
    let left = input("a string?, b float64, c int64", &[&[json!(["x", -0.0, 1]), json!([null, 1.5, 2])]]);
    let rows = [
        json!([0.0, "x", 10]),
        json!([-0.0, "y", 20]),
        json!([null, "x", 30]),
        json!([1.5, null, 40]),
        json!([null, null, 50]),
        json!([-0.0, "x", 60]),
    ];
    let right = input("k float64?, l string?, d int64", &[&rows[..3], &rows[3..]]);
    let spec = |how: &str| json!({ "with": "r", "on": { "a": "l", "b": "k" }, "how": how });
    let alone = [r#"["y",-0.0,null,20]"#, r#"["x",null,null,30]"#, r#"[null,1.5,null,40]"#, r#"[null,null,null,50]"#];
    let both = [r#"["x",-0.0,1,10]"#, r#"["x",-0.0,1,60]"#];
    assert_eq!(rows_of(&KIND, &spec("right"), &left, Some(&right)), [&both[..], &alone].concat());
    let lonely = [r#"[null,1.5,2,null]"#];
    assert_eq!(rows_of(&KIND, &spec("full"), &left, Some(&right)), [&both[..], &lonely, &alone].concat());
    // Nothing of the right side but its key.
    let ids = input("k int64", &[&[json!([3]), json!([1]), json!([3]), json!([2])]]);
    let spec = json!({ "with": "r", "on": { "id": "k" }, "how": "full" });
    let left = input("id int64, l list<string>", &[&[json!([1, ["a"]]), json!([5, []])]]);
    let expected = [r#"[1,["a"]]"#, "[5,[]]", "[3,null]", "[3,null]", "[2,null]"];
    assert_eq!(rows_of(&KIND, &spec, &left, Some(&ids)), expected);
}

#[test]
fn columns_of_a_side_that_may_be_missing_are_nullable() {
    let table = [
        ("inner", "a int64, b int64?, c int64", "x int64?, y int64, z int64", "a int64, b int64?, c int64, z int64"),
        ("left", "a int64, b int64?, c int64", "x int64?, y int64, z int64", "a int64, b int64?, c int64, z int64?"),
        ("right", "a int64, b int64?, c int64", "x int64?, y int64, z int64", "a int64?, b int64?, c int64?, z int64"),
        ("right", "a int64, b int64, c int64", "x int64, y int64, z int64?", "a int64, b int64, c int64?, z int64?"),
        ("full", "a int64, b int64, c int64", "x int64, y int64?, z int64", "a int64, b int64?, c int64?, z int64?"),
    ];
    for (how, left, right, expected) in table {
        let [left, right] = [left, right].map(crate::transforms::testing::schema);
        let spec = json!({ "with": "r", "on": { "a": "x", "b": "y" }, "how": how });
        let Ok(compiled) = compile(&KIND, &spec, (&left, Some(&right)), 1) else { panic!("it is sound") };
        assert_eq!(compiled.output.expect("it has output").to_string(), expected, "{how}");
    }
}

#[test]
fn keys_of_several_columns_and_other_names() {
    let left = input("a string, b float64, c int64", &[&[json!(["x", -0.0, 1]), json!(["x", 1.5, 2])]]);
    let right = input("k float64, l string, d int64", &[&[json!([0.0, "x", 10]), json!([1.5, "y", 20])]]);
    let spec = json!({ "with": "r", "on": { "a": "l", "b": "k" } });
    assert_eq!(rows_of(&KIND, &spec, &left, Some(&right)), [r#"["x",-0.0,1,10]"#]);
}

const HOW: [&str; 6] = ["inner", "left", "right", "full", "semi", "anti"];

/// The parts that are spilled where the memory is little; the rest is the same as with much memory.
fn spilled(spec: &Json, left: &Input, right: &Input, little: usize) -> u64 {
    let much = run(&KIND, spec, left, Some(right), 1 << 30).expect("it fits");
    assert_eq!(much.held.parts, 0);
    let less = run(&KIND, spec, left, Some(right), little).expect("the rest is spilled");
    let parts = less.held.parts;
    assert_eq!(Ran { held: much.held, ..less }, much, "{spec}");
    parts
}

#[test]
fn a_right_side_beyond_the_memory_is_spilled() {
    let rows: Vec<Json> = (0..2000).map(|n| json!([n, format!("a city with a long name, number {n}")])).collect();
    let right = input(RIGHT, &[&rows[..1000], &rows[1000..]]);
    for (how, little, spills) in HOW
        .map(|how| (how, 64, true))
        .into_iter()
        // Rows are not held where only their keys matter.
        .chain([("inner", 512, false), ("semi", 256, false)])
    {
        let spec = json!({ "with": "cities", "on": ["id"], "how": how });
        assert_eq!(spilled(&spec, &left(), &right, little << 10) > 0, spills, "{how} {little}");
    }
    // Where nothing of the right side is emitted but its key.
    let keys: Vec<Json> = (0..4000).map(|n| json!([n % 2000])).collect();
    for how in HOW {
        let spec = json!({ "with": "cities", "on": ["id"], "how": how });
        assert!(spilled(&spec, &left(), &input("id int64?", &[&keys]), 64 << 10) > 0);
    }
    // Where there is nothing on the left.
    for (how, made) in [("right", 2000), ("full", 2000), ("left", 0)] {
        let spec = json!({ "with": "cities", "on": ["id"], "how": how });
        for batches in [&[][..], &[&[][..]]] {
            assert!(spilled(&spec, &input(LEFT, batches), &right, 64 << 10) > 0);
            let ran = run(&KIND, &spec, &input(LEFT, batches), Some(&right), 64 << 10).expect("the rest is spilled");
            assert_eq!(ran.rows.len(), made);
        }
    }
}

#[test]
fn a_hot_key_beyond_the_memory_is_joined_in_blocks() {
    let rows: Vec<Json> =
        (0..6000).map(|n| json!([if n % 20 < 11 { 2 } else { n }, format!("a city with a long name: {n}")])).collect();
    let parts: Vec<&[Json]> = rows.chunks(100).collect();
    let right = input(RIGHT, &parts);
    for how in HOW {
        let spec = json!({ "with": "cities", "on": ["id"], "how": how });
        // Of the right side only keys are held where no more is emitted.
        let little = if matches!(how, "semi" | "anti") { 1_000 } else { 100_000 };
        let few = input(LEFT, &[&[json!([59, "b"]), json!([null, "n"]), json!([7, "a"])], &[json!([119, "c"])]]);
        assert!(spilled(&spec, &few, &right, little) > 0, "{how}");
        // Partners from several blocks, in the order of the right side; their batch must fit into memory.
        let hot = input(LEFT, &[&[json!([59, "b"]), json!([2, "hot"])]]);
        let little = if matches!(how, "semi" | "anti") { 1_000 } else { 600_000 };
        assert!(spilled(&spec, &hot, &right, little) > 0, "{how}");
    }
    // Nulls are a hot key, too, where rows that have them are emitted.
    let rows: Vec<Json> =
        (0..6000).map(|n| json!([(n % 20 >= 11).then_some(n), format!("a city with a long name: {n}")])).collect();
    let right = input(RIGHT, &rows.chunks(100).collect::<Vec<_>>());
    let few = input(LEFT, &[&[json!([59, "b"]), json!([null, "n"]), json!([7, "a"])]]);
    for (how, made) in [("right", 6000), ("full", 6002)] {
        let spec = json!({ "with": "cities", "on": ["id"], "how": how });
        assert!(spilled(&spec, &few, &right, 100_000) > 0, "{how}");
        assert_eq!(run(&KIND, &spec, &few, Some(&right), 100_000).expect("the rest is spilled").rows.len(), made);
    }
}

#[test]
fn batches_come_back_in_the_order_that_is_asked_for() {
    let rows: Vec<Json> = (0..2000).map(|n| json!([n, format!("a city with a long name, number {n}")])).collect();
    let (left, right) = (left(), input(RIGHT, &[&rows]));
    let spec = json!({ "with": "cities", "on": ["id"], "how": "left" });
    let schemas = (&left.schema, Some(&right.schema));
    let Ok(compiled) = compile(&KIND, &spec, schemas, 64 << 10) else { panic!("it is sound") };
    let mut rejects = Rejects::default();
    let mut side = compiled.stage.side().expect("it has a second input");
    side.add(right.batches[0].clone(), &mut rejects).expect("there is room on the disk");
    side.finish().expect("there is room on the disk");
    // Two workers, of which the one takes the last batch first.
    let mut workers = [0, 1].map(|_| compiled.stage.worker().expect("it can be made"));
    let [one, other] = &mut workers;
    let (one, other) = (one.backlog().expect("it is spilled"), other.backlog().expect("it is spilled"));
    one.put(0, left.batches[2].clone()).expect("there is room on the disk");
    other.put(1, left.batches[0].clone()).expect("there is room on the disk");
    one.put(2, left.batches[1].clone()).expect("there is room on the disk");
    one.end().expect("there is room on the disk");
    other.end().expect("there is room on the disk");
    other.order(&[1, 2, 0]).expect("there is room on the disk");
    let mut lines = Vec::new();
    for batch in &left.batches {
        let out = other.next(SplitId(0), batch.origin.seq, batch.rows(), &mut rejects).expect("it is there");
        lines.push((0..out.rows()).map(|row| out.origin.position(row).line).collect::<Vec<_>>());
    }
    assert_eq!(lines, [vec![1, 2, 3], vec![], vec![4, 5]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn little_memory_gives_the_same_rows(
        randoms in prop::collection::vec(any::<u32>(), 1..1500),
        (few, hot) in (1_u32..3000, any::<bool>()),
        sizes in (1_usize..300, 1_usize..300),
    ) {
        let key = |random: &u32| {
            let key = if hot && !random.is_multiple_of(4) { 1 } else { random % few };
            if key % 97 == 13 { Json::Null } else { json!(key) }
        };
        let row = |(n, random): (usize, &u32)| json!([key(random), format!("a text of some length, number {n}")]);
        let left: Vec<Json> = randoms.iter().enumerate().map(row).collect();
        // Few of them of one key, so that a batch does not grow beyond the memory.
        let others: Vec<u32> = randoms.iter().map(|random| random.rotate_left(16) | 3 << 30).collect();
        let right: Vec<Json> = others.iter().enumerate().map(|(n, random)| match n % 400 {
            0 => row((n, random)),
            _ => json!([random % 100_000, format!("a text, number {n}")]),
        }).collect();
        let (left, right) = (left.chunks(sizes.0).collect::<Vec<_>>(), right.chunks(sizes.1).collect::<Vec<_>>());
        let (left, right) = (input(LEFT, &left), input(RIGHT, &right));
        for how in HOW {
            spilled(&json!({ "with": "cities", "on": ["id"], "how": how }), &left, &right, 200_000);
        }
    }
}

#[test]
fn a_batch_that_becomes_too_large_is_a_failure() {
    let left = input("id int64, name string", &[&[json!([1, "a"]), json!([1, "b"]), json!([2, "c"])]]);
    let rows: Vec<Json> = (0..500).map(|n| json!([1, format!("a city with a long name, number {n:03}")])).collect();
    let right = input("id int64, city string", &[&rows]);
    for how in ["inner", "left", "right", "full"] {
        let spec = json!({ "with": "cities", "on": ["id"], "how": how });
        let failure = run(&KIND, &spec, &left, Some(&right), 80 << 10).expect_err("too large");
        assert_eq!(failure.exit, Exit::Unavailable);
        // A row takes 12 bytes, an integer 8, two views 32, and the name of the city 35.
        let (made, size) = if matches!(how, "inner" | "right") { (1000, "85.0 KiB") } else { (1001, "85.0 KiB") };
        let message = format!("a batch of 3 rows would become {made} rows of {size}, `limits.memory` allows 80.0 KiB");
        assert!(failure.message.starts_with(&message), "{failure}");
        assert_eq!(run(&KIND, &spec, &left, Some(&right), 1 << 20).expect("it fits").rows.len(), made);
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let table = [
        (
            json!({ "with": "r", "on": ["idd"] }),
            RIGHT,
            vec![
                "unknown-column | t.on[0] | there is no column `idd` on the left | did you mean `id`?",
                "unknown-column | t.on[0] | there is no column `idd` on the right | did you mean `id`?",
            ],
        ),
        (
            json!({ "with": "r", "on": { "nam": "id", "id": "cty" } }),
            RIGHT,
            vec![
                "unknown-column | key t.on.nam | there is no column `nam` on the left | did you mean `name`?",
                "unknown-column | t.on.id | there is no column `cty` on the right | did you mean `city`?",
            ],
        ),
        (
            json!({ "with": "r", "on": { "id": "city" } }),
            RIGHT,
            vec![
                "type | t.on.id | `id` is int64 on the left, `city` is string on the right | bring both to one type with `cast` in a `select`",
            ],
        ),
        (json!({ "with": "r", "on": [] }), RIGHT, vec!["empty | t.on | a join needs a column to join on"]),
        (
            json!({ "with": "r", "on": ["id"] }),
            "id int64, name string, x int64",
            vec![
                "columns | t.with | both sides have a column `name` | rename it with a `select` between `r` and this stage, or drop it there",
            ],
        ),
        (
            json!({ "with": "r", "on": ["id"], "how": "outer" }),
            RIGHT,
            vec![
                "unknown-value | t.how | unknown value `outer` | legal here: `inner`, `left`, `right`, `full`, `semi`, `anti`",
            ],
        ),
        (json!({ "on": ["id"] }), RIGHT, vec!["missing-key | key t | missing key `with`"]),
    ];
    for (spec, right, expected) in table {
        let found = problems(&KIND, &spec, LEFT, Some(right));
        assert_eq!(found, expected, "{spec}");
    }
    let semi = json!({ "with": "r", "on": ["id"], "how": "semi" });
    let right = crate::transforms::testing::schema("id int64, name string");
    assert!(compile(&KIND, &semi, (&left().schema, Some(&right)), 1).is_ok(), "its columns are not emitted");
}
