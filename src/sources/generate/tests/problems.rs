//! What is wrong with a definition, and where it is said.

use super::{BATCH, EVERYTHING, compile, compile_values, job};
use crate::jobspec::{Table, Value};

fn problems(text: &str) -> Vec<String> {
    compile(text, "rows", BATCH, 0).err().unwrap_or_default()
}

/// Compiles a job whose field `x` is this; `count` is 5000.
fn of_field(field: &str) -> Vec<String> {
    problems(&job(&format!("x = {field}\ny = 1"), "count = 5000"))
}

#[test]
fn every_mistake_in_a_field_is_named_at_its_place() {
    const X: &str = "definitions.d.fields.x";
    for (field, wanted) in [
        ("{ uiud = {} }", "unknown-generator key X.uiud: there is no generator `uiud` (did you mean `uuid`?)"),
        ("{ null_rate = 0.5 }", "unknown-generator X: this names no generator"),
        ("{ uuid = {}, int = { min = 0, max = 1 } }", "two-generators key X.int: "),
        (
            "{ uuid = {}, nullrate = 0.5 }",
            "unknown-key key X.nullrate: unknown key `nullrate` (did you mean `null_rate`?)",
        ),
        ("{ uuid = {}, locale = \"en\" }", "unknown-key key X.locale: "),
        (
            "{ uuid = { version = 4 } }",
            "unknown-key key X.uuid.version: unknown key `version` (this generator has no keys",
        ),
        ("{ uuid = {}, null_rate = 1.5 }", "range X.null_rate: a rate lies between 0 and 1, not at 1.5"),
        ("{ uuid = {}, null_rate = \"half\" }", "type X.null_rate: expected a number from 0 to 1, found text"),
        ("{ uuid = {}, unique = 1 }", "type X.unique: expected a boolean, found an integer"),
        ("{ int = { min = 5, max = 4 } }", "range X.int.min: `min` is 5 and `max` is 4"),
        ("{ int = { min = 5 } }", "missing-key key X.int: missing key `max`"),
        (
            "{ int = { min = 1.5, max = 4 } }",
            "type X.int.min: expected an integer of 64 bits, found a number with a point",
        ),
        ("{ int = { min = 1, mx = 4, max = 5 } }", "unknown-key key X.int.mx: unknown key `mx` (did you mean `max`?)"),
        ("{ int = 5 }", "type X.int: expected a table, found an integer"),
        ("{ float = { min = 2 } }", "range X.float.min: `min` is 2 and `max` is 1"),
        ("{ float = { min = 2, decimals = 1 } }", "range X.float.min: `min` is 2 and `max` is 1"),
        ("{ float = { decimals = 16 } }", "range X.float.decimals: "),
        ("{ float = { max = 1e14, decimals = 5 } }", "range X.float.decimals: "),
        ("{ float = { max = inf } }", "type X.float.max: expected a finite number"),
        ("{ normal = { stddev = -1 } }", "range X.normal.stddev: "),
        ("{ zipf = { n = 0 } }", "range X.zipf.n: "),
        ("{ zipf = { n = 10, s = 0 } }", "range X.zipf.s: "),
        ("{ bool = { p = 2 } }", "range X.bool.p: a chance lies between 0 and 1, not at 2"),
        (
            "{ sequence = { step = 9223372036854775807 } }",
            "range X.sequence.step: the last value does not fit into 64 bits",
        ),
        ("{ sequence = { step = 0 }, unique = true }", "unique X.unique: "),
        ("{ choice = [] }", "empty X.choice: an empty list has no type"),
        ("{ choice = [1, \"a\"] }", "type X.choice[1]: text among values that begin with an integer"),
        ("{ choice = [[1], [2]] }", "type X.choice[0]: expected a boolean, a number or text, found a list"),
        ("{ choice = [1, { a = 1 }] }", "type X.choice[1]: expected a boolean, a number or text, found a table"),
        ("{ choice = { values = [1, 2], weights = [1] } }", "weights X.choice.weights: 1 weights for 2 values"),
        (
            "{ choice = { values = [1, 2], weights = [1, -2] } }",
            "weights X.choice.weights[1]: a weight is not negative, as -2 is",
        ),
        (
            "{ choice = { values = [1, 2], weights = [0, 0] } }",
            "weights X.choice.weights: the sum of the weights is a number above 0",
        ),
        (
            "{ choice = { values = [1, 2], weights = [1, \"a\"] } }",
            "type X.choice.weights[1]: expected a finite number, found text",
        ),
        ("{ choice = { weights = [1] } }", "missing-key key X.choice: missing key `values`"),
        ("{ date = { from = \"2024-02-30\", to = \"2024-12-31\" } }", "time X.date.from: `2024-02-30` is not a date"),
        (
            "{ date = { from = \"2024-01-02\", to = \"2024-01-01\" } }",
            "range X.date.from: `from` is 2024-01-02 and `to` is 2024-01-01",
        ),
        ("{ date = { to = \"2024-12-31\" } }", "missing-key key X.date: missing key `from`"),
        ("{ timestamp = { from = \"noon\", to = \"2024-12-31\" } }", "time X.timestamp.from: `noon` is not a time"),
        ("{ timestamp = { from = \"2024-01-02\", to = \"2024-01-01T00:00:00Z\" } }", "range X.timestamp.from: "),
        ("{ pattern = 'ab\\' }", "pattern X.pattern[2..3]: "),
        ("{ pattern = 5 }", "type X.pattern: expected a pattern such as `??-####`, found an integer"),
        ("{ template = \"a {name\" }", "template X.template[2..3]: this `{` is never closed"),
        (
            "{ template = \"a {nmae}\" }",
            "unknown-name X.template[3..7]: `nmae` is neither a field of the record nor a fake (did you mean `name`?)",
        ),
        ("{ template = \"{x}\" }", "cycle X: `x` depends on itself: x ← x"),
        ("{ fake = \"compnay\" }", "unknown-fake X.fake: there is no fake `compnay` (did you mean `company`?)"),
        (
            "{ fake = \"quintessence\" }",
            "unknown-fake X.fake: there is no fake `quintessence` (`runner generators` lists them all)",
        ),
        (
            "{ fake = \"name\", locale = \"fr_fx\" }",
            "unknown-locale X.locale: there is no locale `fr_fx` (did you mean `fr_fr`?)",
        ),
        (
            "{ fake = \"health_insurance_code\" }",
            "unknown-locale X.fake: there is no fake `health_insurance_code` for the locale `en` (`locale` may be fr_fr)",
        ),
        ("{ list = { count = 3 } }", "missing-key key X.list: missing key `of`"),
        ("{ list = { of = 1 } }", "missing-key key X.list: a list needs `count`, or `min` and `max`"),
        ("{ list = { of = 1, min = 3, max = 2 } }", "range X.list.min: `min` is 3 and `max` is 2"),
        ("{ list = { of = 1, count = 3, max = 2 } }", "conflict key X.list.max: "),
        (
            "{ list = { of = 1, count = -3 } }",
            "type X.list.count: expected an integer that is not negative, found an integer",
        ),
        (
            "{ list = { of = { list = { of = 1, count = 2000 } }, count = 1000 } }",
            "range X.list.count: a value has at most 1000000 items",
        ),
        ("{ list = { of = { uuidd = {} }, count = 3 } }", "unknown-generator key X.list.of.uuidd: "),
        ("{ list = { of = { expr = \"y\" }, count = 3 } }", "placement key X.list.of.expr: "),
        (
            "{ list = { of = { choice = [1, 2], unique = true }, count = 3 } }",
            "unique X.list.of.unique: 3 different values are wanted and there are only 2",
        ),
        ("{ object = { a = { int = { min = 2, max = 1 } } } }", "range X.object.a.int.min: "),
        ("{ object = 1 }", "type X.object: expected a table, found an integer"),
        ("{ expr = \"yy + 1\" }", "expression X.expr[0..2]: "),
        ("{ expr = \"y +\" }", "expression X.expr["),
        ("{ expr = \"x + 1\" }", "cycle X: `x` depends on itself: x ← x"),
        (
            "{ ref = { source = \"row\", column = \"y\" } }",
            "unknown-source X.ref.source: there is no source of type `generate` named `row` (did you mean `rows`?)",
        ),
        (
            "{ ref = { source = \"rows\", column = \"yy\" } }",
            "unknown-column X.ref.column: `rows` has no column `yy` (did you mean `y`?)",
        ),
        ("{ ref = { source = \"rows\", column = \"x\" } }", "cycle X.ref: this refers to itself: rows.x ← rows.x"),
        (
            "{ ref = { source = \"rows\", column = \"y\" }, unique = true }",
            "unique X.unique: `y` of `rows` is not unique itself",
        ),
        ("{ ref = { source = \"rows\" } }", "missing-key key X.ref: missing key `column`"),
        ("[]", "empty X: an empty list has no type"),
        ("[1, \"a\"]", "type X[1]: text among values that begin with an integer"),
        ("[[1], [\"a\"]]", "type X[1]: the items of a list are all of one type"),
        ("[[1], 2]", "type X[1]: an integer among values that begin with a list"),
        ("9223372036854775808", "type X: "),
    ] {
        let found = of_field(field);
        assert_eq!(found.len(), 1, "{field}: {found:#?}");
        let wanted = wanted.replacen('X', X, 1);
        assert!(found[0].starts_with(&wanted), "{field}:\n  {}\n  {wanted}", found[0]);
    }
}

#[test]
fn uniqueness_that_cannot_be_met_is_refused_with_both_numbers() {
    for (field, domain) in [
        ("{ choice = [\"Earth\", \"Moon\", \"Antarctica\"], unique = true }", "3"),
        ("{ int = { min = 1, max = 4999 }, unique = true }", "4999"),
        ("{ pattern = \"a-###\", unique = true }", "1000"),
        ("{ date = { from = \"2024-01-01\", to = \"2024-12-31\" }, unique = true }", "366"),
        ("{ float = { decimals = 2 }, unique = true }", "101"),
    ] {
        let wanted = format!(
            "unique definitions.d.fields.x.unique: 5000 different values are wanted and there are only {domain}"
        );
        assert_eq!(of_field(field), [wanted], "{field}");
    }
    for field in [
        "{ fake = \"name\", unique = true }",
        "{ template = \"{name}\", unique = true }",
        "{ float = {}, unique = true }",
        "{ normal = {}, unique = true }",
        "{ zipf = { n = 100000 }, unique = true }",
        "{ bool = {}, unique = true }",
        "{ list = { of = 1, count = 1 }, unique = true }",
        "{ object = { a = 1 }, unique = true }",
        "{ expr = \"y\", unique = true }",
        "{ choice = { values = [1, 2], weights = [1, 1] }, unique = true }",
    ] {
        let found = of_field(field);
        assert_eq!(found.len(), 1, "{field}: {found:#?}");
        assert!(found[0].starts_with("unique definitions.d.fields.x.unique: "), "{field}: {}", found[0]);
    }
    let found = of_field("{ choice = [1, 2, 1], unique = true }");
    assert!(found[0].starts_with("unique definitions.d.fields.x.choice[2]: "), "{found:?}");
}

#[test]
fn mistakes_of_the_source_and_the_definition_are_named_at_their_places() {
    let text = |definition: &str, source: &str| {
        format!("[definitions.d]\n{definition}\n[sources.rows]\ntype = \"generate\"\n{source}\n")
    };
    let sound = "definition = \"d\"\ncount = 5";
    for (definition, source, wanted) in [
        (
            "fields = { x = 1 }",
            "definition = \"dd\"\ncount = 5",
            "unknown-definition sources.rows.definition: there is no definition named `dd` (did you mean `d`?)",
        ),
        ("fields = { x = 1 }", "count = 5", "missing-key key sources.rows: missing key `definition`"),
        ("fields = { x = 1 }", "definition = \"d\"", "missing-key key sources.rows: missing key `count`"),
        (
            "fields = { x = 1 }",
            "definition = \"d\"\ncount = -1",
            "type sources.rows.count: expected an integer that is not negative, found an integer",
        ),
        ("fields = { x = 1 }", "definition = \"d\"\ncount = 9223372036854775808", "range sources.rows.count: "),
        ("fields = { x = 1 }", "definition = \"d\"\ncount = 5\nsplits = 0", "range sources.rows.splits: "),
        (
            "fields = { x = 1 }",
            "definition = \"d\"\ncount = 5\nconcurency = 2",
            "unknown-key key sources.rows.concurency: unknown key `concurency` (did you mean `concurrency`?)",
        ),
        (
            "fields = { x = 1 }",
            "definition = \"d\"\ncount = 5\noverrides = 1",
            "type sources.rows.overrides: expected a table, found an integer",
        ),
        (
            "fields = { x = 1, name = 2 }",
            "definition = \"d\"\ncount = 5\noverrides = { nmae = 1 }",
            "unknown-field key sources.rows.overrides.nmae: the definition has no field `nmae` to override (did you mean `name`?)",
        ),
        (
            "fields = { x = 1 }",
            "definition = \"d\"\ncount = 5\noverrides = { x = { uiud = {} } }",
            "unknown-generator key sources.rows.overrides.x.uiud: ",
        ),
        ("", sound, "missing-key key definitions.d: missing key `fields`"),
        ("fields = {}", sound, "empty definitions.d.fields: a record has at least one field"),
        ("fields = 1", sound, "type definitions.d.fields: expected a table, found an integer"),
        (
            "primary_key = [\"x\", \"id\"]\nfields = { x = 1, idd = 2 }",
            sound,
            "unknown-field definitions.d.primary_key[1]: the definition has no field `id` (did you mean `idd`?)",
        ),
        (
            "primary_key = [1]\nfields = { x = 1 }",
            sound,
            "type definitions.d.primary_key[0]: expected the name of a field, found an integer",
        ),
        (
            "primary_key = \"x\"\nfields = { x = 1 }",
            sound,
            "type definitions.d.primary_key: expected a list, found text",
        ),
        (
            "primarykey = [\"x\"]\nfields = { x = 1 }",
            sound,
            "unknown-key key definitions.d.primarykey: unknown key `primarykey` (did you mean `primary_key`?)",
        ),
    ] {
        let found = problems(&text(definition, source));
        assert_eq!(found.len(), 1, "{definition} / {source}: {found:#?}");
        assert!(found[0].starts_with(wanted), "{definition} / {source}:\n  {}\n  {wanted}", found[0]);
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let fields =
        "a = { uiud = {} }\nb = { int = { min = 2, max = 1, mx = 3 }, null_rate = 7 }\nc = { template = \"{a}{foo}\" }";
    let found = problems(&job(fields, "count = 5\nsplit = 2\noverrides = { d = 1 }"));
    let codes: Vec<&str> = found.iter().filter_map(|problem| problem.split(' ').next()).collect();
    assert_eq!(codes, ["unknown-key", "unknown-field", "unknown-generator", "range", "unknown-name"], "{found:#?}");
}

#[test]
fn cycles_are_found_whatever_their_length() {
    let found = problems(&job(
        "a = { template = \"{b}\" }\nb = { expr = \"c || 'a'\" }\nc = { list = { of = { template = \"{a}\" }, count = 1 } }",
        "count = 5",
    ));
    assert_eq!(found, ["cycle definitions.d.fields.a: `a` depends on itself: a ← b ← c ← a"]);
    let two = format!(
        "{}[definitions.e.fields]\nz = {{ ref = {{ source = \"rows\", column = \"x\" }} }}\n\
         [sources.others]\ntype = \"generate\"\ndefinition = \"e\"\ncount = 5\n",
        job("x = { ref = { source = \"others\", column = \"z\" } }", "count = 5")
    );
    let found = problems(&two);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("cycle definitions.d.fields.x.ref: this refers to itself: others.z ← rows.x ← others.z"),
        "{found:?}"
    );
    let long: String = (0..300).map(|i| format!("f{i} = {{ template = \"{{f{}}}\" }}\n", i + 1)).collect();
    let found = problems(&job(&format!("{long}f300 = 1"), "count = 5"));
    assert!(found.iter().any(|problem| problem.starts_with("nesting definitions.d.fields.f100: ")), "{found:?}");
}

#[test]
fn a_reference_needs_rows_to_refer_to() {
    let none = EVERYTHING.replace("count = 300", "count = 0");
    let found = problems(&none);
    assert_eq!(found, ["range definitions.all.fields.owner.ref.source: `users` has no rows to refer to"]);
    let few = EVERYTHING.replace("column = \"id\" } }", "column = \"id\" }, unique = true }");
    let wanted = "unique definitions.all.fields.owner.unique: 1000 different values are wanted and there are only 300";
    assert_eq!(problems(&few), [wanted]);
}

#[test]
fn a_value_that_is_not_known_while_checking_is_noted() {
    let table = |entries: Vec<(&str, Value)>| {
        Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Table>())
    };
    let text = |text: &str| Value::Text(text.to_owned());
    let root = |count: Value, x: Value| {
        table(vec![
            ("definitions", table(vec![("d", table(vec![("fields", table(vec![("x", x)]))]))])),
            (
                "sources",
                table(vec![(
                    "rows",
                    table(vec![("type", text("generate")), ("definition", text("d")), ("count", count)]),
                )]),
            ),
        ])
    };
    let compile = |root: Value| compile_values(&root, "rows", BATCH, 0);
    let found = compile(root(Value::Unknown, Value::Int(1))).err().expect("not known");
    assert!(found.len() == 1 && found[0].starts_with("note:unchecked sources.rows.count: "), "{found:?}");
    let found = compile(root(Value::Int(1), Value::Unknown)).err().expect("not known");
    assert!(found.len() == 1 && found[0].starts_with("note:unchecked definitions.d.fields.x: "), "{found:?}");
    // Text from the environment may be a number where a number is asked for, and else stays text.
    let substituted = |text: &str| Value::Substituted(text.to_owned());
    let compiled = compile(root(substituted("7"), substituted("12"))).expect("sound");
    assert_eq!(super::read(compiled.stage.as_ref()).0, vec![serde_json::json!({ "x": "12" }); 7]);
    let found = compile(root(Value::Int(1), Value::Null)).err().expect("null has no type");
    assert!(
        found[0].starts_with("type definitions.d.fields.x: expected a boolean, a number or text, found null"),
        "{found:?}"
    );
}
