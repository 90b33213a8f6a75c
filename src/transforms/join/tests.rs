//! The join from spec to rows.

use serde_json::{Value as Json, json};

use super::KIND;
use crate::{
    failure::Exit,
    transforms::testing::{Input, compile, input, problems, rows_of, run},
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
fn the_four_ways_to_join() {
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
    let semi = vec![json!([2, "b"]), json!([1, "a"]), json!([2, "again"])];
    let anti = vec![json!([null, "n"]), json!([3, "c"])];
    let table: [(&str, Vec<Json>, &str, u64); 4] = [
        ("inner", inner, "id int64?, name string, city string?", 2),
        ("left", outer, "id int64?, name string, city string?", 0),
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
    let spec = json!({ "with": "cities", "on": ["id"], "how": "left" });
    assert_eq!(rows_of(&KIND, &spec, &left(), Some(&input(RIGHT, &[]))).len(), 5);
}

#[test]
fn keys_of_several_columns_and_other_names() {
    let left = input("a string, b float64, c int64", &[&[json!(["x", -0.0, 1]), json!(["x", 1.5, 2])]]);
    let right = input("k float64, l string, d int64", &[&[json!([0.0, "x", 10]), json!([1.5, "y", 20])]]);
    let spec = json!({ "with": "r", "on": { "a": "l", "b": "k" } });
    assert_eq!(rows_of(&KIND, &spec, &left, Some(&right)), [r#"["x",-0.0,1,10]"#]);
}

#[test]
fn a_right_side_beyond_the_memory_is_a_failure_that_names_it() {
    let rows: Vec<Json> = (0..2000).map(|n| json!([n, format!("a city with a long name, number {n}")])).collect();
    let right = input(RIGHT, &[&rows]);
    let spec = json!({ "with": "cities", "on": ["id"] });
    let failure = run(&KIND, &spec, &left(), Some(&right), 64 << 10).expect_err("too large");
    assert_eq!(failure.exit, Exit::Unavailable);
    assert!(failure.message.starts_with("the rows of `cities`, which are held, take "), "{failure}");
    assert!(failure.message.contains(" KiB of memory so far, `limits.memory` allows 64.0 KiB"), "{failure}");
    assert_eq!(run(&KIND, &spec, &left(), Some(&right), 1 << 20).expect("it fits").rows.len(), 4);
    // Rows are not held where only their keys matter.
    let semi = json!({ "with": "cities", "on": ["id"], "how": "semi" });
    assert_eq!(run(&KIND, &semi, &left(), Some(&right), 128 << 10).expect("it fits").rows.len(), 4);
}

#[test]
fn a_batch_that_becomes_too_large_is_a_failure() {
    let left = input("id int64, name string", &[&[json!([1, "a"]), json!([1, "b"]), json!([2, "c"])]]);
    let rows: Vec<Json> = (0..500).map(|n| json!([1, format!("a city with a long name, number {n:03}")])).collect();
    let right = input("id int64, city string", &[&rows]);
    for how in ["inner", "left"] {
        let spec = json!({ "with": "cities", "on": ["id"], "how": how });
        let failure = run(&KIND, &spec, &left, Some(&right), 80 << 10).expect_err("too large");
        assert_eq!(failure.exit, Exit::Unavailable);
        // A row takes 12 bytes, an integer 8, two views 32, and the name of the city 35.
        let (made, size) = if how == "inner" { (1000, "85.0 KiB") } else { (1001, "85.0 KiB") };
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
            vec!["unknown-value | t.how | unknown value `outer` | legal here: `inner`, `left`, `semi`, `anti`"],
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
