//! What each generator makes: its range, its distribution.

use std::collections::{HashMap, HashSet};

use serde_json::{Value as Json, json};

use super::{BATCH, compile, job, rows_of, values};

fn numbers(field: &str) -> Vec<f64> {
    values(field, 100_000).iter().map(|value| value.as_f64().expect("a number")).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn stddev(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

#[test]
fn numbers_keep_to_their_range_and_mean() {
    for (field, low, high, middle, spread) in [
        ("{ int = { min = 0, max = 9999 } }", 0.0, 9999.0, 4999.5, 2886.8),
        ("{ int = { min = -3, max = 3 } }", -3.0, 3.0, 0.0, 2.0),
        ("{ float = {} }", 0.0, 1.0, 0.5, 0.2887),
        ("{ float = { min = -180.0, max = 180.0 } }", -180.0, 180.0, 0.0, 103.92),
        ("{ float = { min = 1, max = 2, decimals = 1 } }", 1.0, 2.0, 1.5, 0.3162),
        ("{ normal = { mean = 20, stddev = 5 } }", -10.0, 50.0, 20.0, 5.0),
        ("{ normal = { mean = 20, stddev = 5, decimals = 1 } }", -10.0, 50.0, 20.0, 5.0),
        ("{ normal = {} }", -6.0, 6.0, 0.0, 1.0),
        ("{ zipf = { n = 4, s = 1 } }", 1.0, 4.0, 1.92, 1.0735),
        ("{ choice = { values = [1, 10], weights = [3, 1] } }", 1.0, 10.0, 3.25, 3.897),
        ("{ choice = [0, 1.5, 3] }", 0.0, 3.0, 1.5, 1.2247),
    ] {
        let made = numbers(field);
        let bounds = made.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
        assert!(bounds.0 >= low && bounds.1 <= high, "{field}: {bounds:?}");
        assert!((mean(&made) - middle).abs() < spread * 0.015, "{field}: mean {}", mean(&made));
        assert!((stddev(&made) - spread).abs() < spread * 0.02, "{field}: stddev {}", stddev(&made));
    }
}

#[test]
fn the_ends_of_a_range_are_met() {
    let made: HashSet<i64> = values("{ int = { min = -1, max = 2 } }", 1000).iter().filter_map(Json::as_i64).collect();
    assert_eq!(made, HashSet::from([-1, 0, 1, 2]));
    let field = format!("{{ int = {{ min = {}, max = {} }} }}", i64::MIN, i64::MAX);
    let wide = values(&field, 1000);
    assert!(wide.iter().any(|x| x.as_i64() < Some(0)) && wide.iter().any(|x| x.as_i64() > Some(0)));
    let days: HashSet<String> = values("{ date = { from = \"2024-02-28\", to = \"2024-03-01\" } }", 1000)
        .iter()
        .map(|day| day.as_str().expect("text").to_owned())
        .collect();
    assert_eq!(days, ["2024-02-28", "2024-02-29", "2024-03-01"].map(str::to_owned).into());
}

#[test]
fn decimals_are_exact() {
    for value in numbers("{ float = { min = 0, max = 10, decimals = 2 } }") {
        assert_eq!(format!("{value:.2}").parse::<f64>(), Ok(value));
    }
    let tenths = numbers("{ float = { min = 0.05, max = 0.29, decimals = 1 } }");
    assert!(tenths.iter().all(|value| [0.1, 0.2].contains(value)));
    assert!(numbers("{ float = { min = 0.28, max = 0.29, decimals = 2 } }").contains(&0.29));
    for value in numbers("{ normal = { decimals = 3 } }") {
        assert_eq!(format!("{value:.3}").parse::<f64>(), Ok(value));
    }
}

#[test]
fn sequences_count() {
    assert_eq!(values("{ sequence = {} }", 3), [json!(1), json!(2), json!(3)]);
    assert_eq!(values("{ sequence = { start = 7, step = -2 } }", 3), [json!(7), json!(5), json!(3)]);
}

#[test]
fn chances_and_weights_are_kept() {
    for (field, wanted) in [
        ("{ bool = {} }", 0.5),
        ("{ bool = { p = 0.1 } }", 0.1),
        ("{ bool = { p = 1 } }", 1.0),
        ("{ bool = { p = 0 } }", 0.0),
    ] {
        let yes = values(field, 100_000).iter().filter(|value| **value == json!(true)).count() as f64 / 100_000.0;
        assert!((yes - wanted).abs() < 0.005, "{field}: {yes}");
    }
    let mut counts: HashMap<String, u32> = HashMap::new();
    let towns = values("{ choice = { values = [\"Earth\", \"Moon\", \"Antarctica\"], weights = [5, 3, 2] } }", 100_000);
    towns.iter().for_each(|town| *counts.entry(town.to_string()).or_default() += 1);
    for (town, wanted) in [("\"Earth\"", 50_000), ("\"Moon\"", 30_000), ("\"Antarctica\"", 20_000)] {
        assert!(counts[town].abs_diff(wanted) < 800, "{counts:?}");
    }
}

#[test]
fn uuids_are_of_version_4_and_different() {
    let made = values("{ uuid = {} }", 10_000);
    let different: HashSet<String> = made.iter().map(Json::to_string).collect();
    assert_eq!(different.len(), made.len());
    for uuid in &made {
        let uuid = uuid.as_str().expect("text");
        let shape: String =
            uuid.chars().map(|c| if c.is_ascii_hexdigit() && !c.is_uppercase() { 'x' } else { c }).collect();
        assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
        assert!(uuid.as_bytes()[14] == b'4' && ['8', '9', 'a', 'b'].contains(&uuid.chars().nth(19).unwrap()), "{uuid}");
    }
}

#[test]
fn patterns_put_characters_where_they_belong() {
    for value in values(r##"{ pattern = 'é??-##\#\?^' }"##, 1000) {
        let text = value.as_str().expect("text").to_owned();
        let chars: Vec<char> = text.chars().collect();
        assert_eq!(chars.len(), 9, "{text}");
        assert!(chars[0] == 'é' && chars[1..3].iter().all(char::is_ascii_lowercase) && chars[3] == '-', "{text}");
        assert!(chars[4..6].iter().all(char::is_ascii_digit) && chars[6..8] == ['#', '?'], "{text}");
        assert!(chars[8].is_ascii_hexdigit() && !chars[8].is_ascii_uppercase(), "{text}");
    }
}

#[test]
fn unique_values_use_up_their_domain() {
    for (field, count) in [
        ("{ int = { min = 1, max = 5000 }, unique = true }", 5000),
        ("{ pattern = \"a-###\", unique = true }", 1000),
        ("{ pattern = \"^^??\", unique = true }", 20_000),
        ("{ choice = [\"a\", \"b\", \"c\"], unique = true }", 3),
        ("{ choice = [true, false], unique = true }", 2),
        ("{ date = { from = \"2024-01-01\", to = \"2024-12-31\" }, unique = true }", 366),
        ("{ timestamp = { from = \"2024-01-01\", to = \"2024-01-02\" }, unique = true }", 20_000),
        ("{ float = { min = 0, max = 9.99, decimals = 2 }, unique = true }", 1000),
        ("{ sequence = {}, unique = true }", 100),
        ("{ uuid = {}, unique = true }", 100),
        ("{ pattern = \"####################\", unique = true }", 20_000),
        ("{ int = { min = -9223372036854775808, max = 9223372036854775807 }, unique = true }", 20_000),
    ] {
        let made = values(field, count);
        let different: HashSet<String> = made.iter().map(Json::to_string).collect();
        assert_eq!(different.len(), count, "{field}");
        assert!(count == 100 || count < 4 || !made.is_sorted_by_key(Json::to_string), "{field}");
    }
}

#[test]
fn lists_have_the_length_and_the_items_they_should() {
    let lengths: HashSet<usize> = values("{ list = { of = { fake = \"word\" }, min = 1, max = 3 } }", 1000)
        .iter()
        .map(|list| list.as_array().expect("a list").len())
        .collect();
    assert_eq!(lengths, HashSet::from([1, 2, 3]));
    // `unique` and `sequence` in a list are about the list's own items.
    for list in values("{ list = { of = { int = { min = 1, max = 5 }, unique = true }, count = 5 } }", 100) {
        let mut items: Vec<i64> = list.as_array().expect("a list").iter().filter_map(Json::as_i64).collect();
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4, 5]);
    }
    assert_eq!(values("{ list = { of = { sequence = {} }, count = 3 } }", 1), [json!([1, 2, 3])]);
    assert_eq!(values("{ list = { of = { list = { of = 7, count = 1 } }, count = 2 } }", 1), [json!([[7], [7]])]);
    assert_eq!(values("{ list = { of = \"a\", count = 0 } }", 1), [json!([])]);
    // Items of one list differ from those of the next.
    let lists: HashSet<String> = values("{ list = { of = { int = { min = 0, max = 999 } }, count = 3 } }", 500)
        .iter()
        .map(Json::to_string)
        .collect();
    assert_eq!(lists.len(), 500);
}

#[test]
fn constants_have_the_type_they_are_written_in() {
    let fields =
        "b = true\ni = 12345\nf = 1.5\nt = \"Hello world\"\nl = [1, 2]\nm = [1, 2.5]\nn = [[\"a\"], [\"b\", \"c\"]]";
    let compiled = compile(&job(fields, "count = 2"), "rows", BATCH, 0).expect("sound");
    let wanted = "b bool, i int64, f float64, t string, l list<int64>, m list<float64>, n list<list<string>>";
    assert_eq!(compiled.output.expect("columns").to_string(), wanted);
    let row = json!({ "b": true, "i": 12345, "f": 1.5, "t": "Hello world", "l": [1, 2], "m": [1.0, 2.5],
        "n": [["a"], ["b", "c"]] });
    assert_eq!(rows_of(&job(fields, "count = 2")), [row.clone(), row]);
    let some = values("{ choice = [\"x\"], null_rate = 0.5 }", 1000);
    assert!(some.contains(&Json::Null) && some.contains(&json!("x")));
}

#[test]
fn columns_have_types_and_nulls_as_declared() {
    let compiled = compile(super::EVERYTHING, "rows", BATCH, 0).expect("sound");
    assert_eq!(
        compiled.output.expect("columns").to_string(),
        "line string, id string, seq int64, mail string, doubled int64, int int64?, each int64, float float64, \
         price float64, normal float64, zipf int64, bool bool, town string, weighted float64, day date, \
         moment timestamp, name string?, tags list<string>?, nested list<list<int64>>, object json, owner string, \
         constant string"
    );
    assert_eq!(compiled.notes[0], "1000 rows in 1 split");
}

#[test]
fn templates_see_fields_before_and_after_them() {
    let fields = r##"
line = { template = "{{{seq}}} {day} {when} {list} {some}|{name}|{company}" }
seq = { sequence = {} }
day = { date = { from = "2024-01-01", to = "2024-01-01" } }
when = { timestamp = { from = "2024-01-01T01:02:03.5Z", to = "2024-01-01T01:02:03.5Z" } }
list = ["a\"", "b"]
some = { uuid = {}, null_rate = 1 }
name = "mine"
"##;
    let rows = rows_of(&job(fields, "count = 2"));
    let line = rows[1]["line"].as_str().expect("text");
    let (start, company) = line.rsplit_once('|').expect("three parts");
    assert_eq!(start, r#"{2} 2024-01-01 2024-01-01T01:02:03.500000Z ["a\"","b"] |mine"#);
    assert!(!company.is_empty());
    // Two places of one fake in a template are two values.
    let pairs = values("{ template = \"{uuid4}-{uuid4}\" }".replace("uuid4", "first_name").as_str(), 200);
    assert!(pairs.iter().any(|pair| pair.as_str().and_then(|p| p.split_once('-')).is_some_and(|(a, b)| a != b)));
}

#[test]
fn a_template_in_a_list_sees_the_fields_of_its_row() {
    let fields = "n = { sequence = {} }\nx = { list = { of = { template = \"{n}:{digit}\" }, count = 2 } }";
    for (i, row) in rows_of(&job(fields, "count = 20")).iter().enumerate() {
        let items = row["x"].as_array().expect("a list");
        assert!(items.iter().all(|item| item.as_str().is_some_and(|item| item.starts_with(&format!("{}:", i + 1)))));
    }
}

#[test]
fn objects_are_json_in_the_written_order() {
    let field =
        r#"{ object = { "z\"" = 1, a = { bool = { p = 1 }, null_rate = 1 }, o = { object = {} }, t = "x\ny" } }"#;
    let text = job(&format!("x = {field}"), "count = 1");
    let compiled = compile(&text, "rows", BATCH, 0).expect("sound");
    let batch = compiled
        .stage
        .worker()
        .and_then(|mut worker| {
            let split = compiled.stage.splits()?.remove(0);
            worker.open(crate::batch::SplitId(0), &split)?.next_batch(&mut crate::batch::Rejects::default())
        })
        .expect("rows")
        .expect("a batch");
    use arrow_array::cast::AsArray;
    let made = batch.records.column(0).as_string_view();
    assert_eq!(made.value(0), r#"{"z\"":1,"a":null,"o":{},"t":"x\ny"}"#);
}

#[test]
fn members_and_items_have_values_of_their_own() {
    let field =
        "{ object = { a = { uuid = {} }, b = { uuid = {} }, l = { list = { of = { uuid = {} }, count = 3 } } } }";
    let mut met = HashSet::new();
    for object in values(field, 50) {
        let items = object["l"].as_array().expect("a list").iter();
        for value in [&object["a"], &object["b"]].into_iter().chain(items) {
            assert!(met.insert(value.to_string()), "{value} comes twice");
        }
    }
}

#[test]
fn fakes_go_by_locale() {
    assert!(values("{ fake = \"name\", locale = \"ja_JP\" }", 10).iter().all(|name| !name.to_string().is_ascii()));
    assert!(
        values("{ template = \"{name}\", locale = \"zh-cn\" }", 10).iter().all(|name| !name.to_string().is_ascii())
    );
    assert!(values("{ fake = \"name\" }", 10).iter().all(|name| name.to_string().is_ascii()));
}
