//! Tests of `jobspec::decode`.

use std::num::NonZeroUsize;

use indexmap::IndexMap;
use serde::Deserialize;

use super::*;
use crate::jobspec::{Bytes, Document, Duration, Format, Severity, Table};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sink {
    key: String,
    #[serde(default)]
    ack: Ack,
    #[serde(default)]
    servers: IndexMap<String, String>,
    #[serde(default)]
    fields: Vec<Field>,
    port: Option<u16>,
    ratio: Option<f64>,
    signed: Option<i8>,
    verify: Option<bool>,
    size: Option<Bytes>,
    wait: Option<Duration>,
    workers: Option<NonZeroUsize>,
    any: Option<Value>,
    pair: Option<(u8, String)>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Ack {
    #[default]
    Batch,
    None,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Field {
    name: String,
    of: Of,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Of {
    Uuid,
    Int { min: i64, max: i64 },
    Choice(Vec<String>),
    List(Box<Of>),
}

fn value(toml: &str) -> Value {
    let mut problems = Problems::default();
    let document = Document::parse("test.toml", toml, Format::Toml, &mut problems);
    assert!(problems.is_empty(), "{toml}: {problems:?}");
    document.root
}

fn at() -> Path {
    Path::default().key("sinks.cache")
}

/// Every problem as `code place: message (help)`.
fn shown(problems: &Problems) -> Vec<String> {
    let show = |problem: &Problem| {
        let place = match &problem.place {
            SpecLocation::Key(path) => format!("key {path}"),
            SpecLocation::Value(path) => format!("{path}"),
            other => format!("{other:?}"),
        };
        let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{} {place}: {}{help}", problem.code, problem.message)
    };
    problems.iter().map(show).collect()
}

fn mistakes(value: &Value) -> Vec<String> {
    let mut problems = Problems::default();
    assert_eq!(decode::<Sink>(value, &at(), &["input", "concurrency"], &mut problems), None);
    shown(&problems)
}

#[test]
fn what_is_right_is_decoded() {
    let text = "key = 'k'\nack = 'none'\nservers = { a = 'x' }\nport = 80\nratio = 2\nsigned = -5\nverify = true\n\
        size = '1KiB'\nwait = '1s'\nworkers = 3\nany = [1, 'x', { a = true }]\npair = [1, 'x']\n\
        fields = [{ name = 'a', of = 'uuid' }, { name = 'b', of = { int = { min = 0, max = 9 } } }, \
        { name = 'c', of = { list = { choice = ['x'] } } }, { name = 'd', of = { uuid = {} } }]";
    let mut problems = Problems::default();
    let sink: Sink = decode(&value(text), &at(), &[], &mut problems).unwrap();
    assert!(problems.is_empty());
    assert_eq!((sink.ack, sink.port, sink.ratio, sink.signed), (Ack::None, Some(80), Some(2.0), Some(-5)));
    assert_eq!(sink.fields[1].of, Of::Int { min: 0, max: 9 });
    assert_eq!(sink.fields[2].of, Of::List(Box::new(Of::Choice(vec!["x".into()]))));
    assert_eq!(sink.fields[3].of, Of::Uuid);
    assert_eq!(sink.any, value("a = [1, 'x', { a = true }]").as_table().map(|table| table["a"].clone()));
    assert_eq!(sink.pair, Some((1, "x".into())));
    assert_eq!((sink.size, sink.workers), (Some(Bytes(1024)), NonZeroUsize::new(3)));
}

#[test]
fn each_mistake_has_its_place_and_message() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["missing-key key sinks.cache: missing key `key`"]),
        ("key = 1", &["type sinks.cache.key: expected text, found an integer"]),
        ("kye = ''", &["unknown-key key sinks.cache.kye: unknown key `kye` (did you mean `key`?)"]),
        // A key of the stage's, not of the kind's: the kind's own is missing all the same.
        (
            "concurency = 1",
            &[
                "unknown-key key sinks.cache.concurency: unknown key `concurency` (did you mean `concurrency`?)",
                "missing-key key sinks.cache: missing key `key`",
            ],
        ),
        ("key = ''\nkeyy = 1", &["unknown-key key sinks.cache.keyy: unknown key `keyy` (did you mean `key`?)"]),
        (
            "key = ''\nconcurency = 1",
            &["unknown-key key sinks.cache.concurency: unknown key `concurency` (did you mean `concurrency`?)"],
        ),
        ("key = ''\nack = 'bach'", &["unknown-value sinks.cache.ack: unknown value `bach` (did you mean `batch`?)"]),
        ("key = ''\nack = 5", &["type sinks.cache.ack: expected one of `batch`, `none`, found an integer"]),
        (
            "key = ''\nport = 70000",
            &["value sinks.cache.port: `70000` is out of range: expected an integer from 0 to 65535"],
        ),
        ("key = ''\nport = -1", &["value sinks.cache.port: `-1` is out of range: expected an integer from 0 to 65535"]),
        ("key = ''\nport = '80'", &["type sinks.cache.port: expected an integer from 0 to 65535, found text"]),
        (
            "key = ''\nport = 8.5",
            &["type sinks.cache.port: expected an integer from 0 to 65535, found a number with a point"],
        ),
        ("key = ''\nworkers = 0", &["value sinks.cache.workers: `0` is out of range: expected an integer from 1 on"]),
        ("key = ''\nratio = 'x'", &["type sinks.cache.ratio: expected a number, found text"]),
        ("key = ''\nverify = 1", &["type sinks.cache.verify: expected `true` or `false`, found an integer"]),
        ("key = ''\nservers = ['a']", &["type sinks.cache.servers: expected a table, found a list"]),
        ("key = ''\nservers = { 'a.b' = 1 }", &["type sinks.cache.servers.a.b: expected text, found an integer"]),
        ("key = ''\nfields = {}", &["type sinks.cache.fields: expected a list, found a table"]),
        ("key = ''\nfields = [1]", &["type sinks.cache.fields[0]: expected a table, found an integer"]),
        (
            "key = ''\nwait = '5'",
            &["value sinks.cache.wait: expected a duration such as `20ms`, `3s`, `12h` or `1h30m` \
            (the units are `us`, `ms`, `s`, `m`, `h`, `d`)"],
        ),
        ("key = ''\npair = [1]", &["type sinks.cache.pair: expected a list of 2, found a list of 1"]),
        ("key = ''\npair = [1, 'a', 2]", &["type sinks.cache.pair: expected a list of 2, found a list of 3"]),
        (
            "key = ''\nfields = [{ name = 'a', of = { int = { min = 1 } } }]",
            &["missing-key key sinks.cache.fields[0].of.int: missing key `max`"],
        ),
        (
            "key = ''\nfields = [{ name = 'a', of = { inr = { min = 1 } } }]",
            &["unknown-key key sinks.cache.fields[0].of.inr: unknown key `inr` (did you mean `int`?)"],
        ),
        (
            "key = ''\nfields = [{ name = 'a', of = 'int' }]",
            &["type sinks.cache.fields[0].of: expected a table: `{ int = … }`, found the word alone"],
        ),
        (
            "key = ''\nfields = [{ name = 'a', of = { uuid = {}, int = {} } }]",
            &["type sinks.cache.fields[0].of: expected a table with exactly one key, one of `uuid`, `int`, `choice`, \
                `list`, found a table with 2 keys"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(mistakes(&value(text)), *expected, "{text}");
    }
    let yaml = Document::parse("a.yaml", "key: ~", Format::Yaml, &mut Problems::default());
    assert_eq!(mistakes(&yaml.root), ["type sinks.cache.key: expected text, found null"]);
}

#[test]
fn all_mistakes_are_found_at_once() {
    let text = "rout = 1\nack = 'x'\nport = 'y'\nwait = 5\nworkers = 0\nservers = { a = 1, b = 2 }\n\
        fields = [{ nam = 'a', of = { int = { min = 'x', mx = 1 } } }, 7, { name = 'b', of = { list = { choice = [1, 'a', 2] } } }]";
    let mut found = mistakes(&value(text));
    found.sort();
    let places: Vec<&str> = found.iter().map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(
        places,
        [
            "missing-key key sinks.cache",
            "type sinks.cache.fields[0].of.int.min",
            "type sinks.cache.fields[1]",
            "type sinks.cache.fields[2].of.list.choice[0]",
            "type sinks.cache.fields[2].of.list.choice[2]",
            "type sinks.cache.port",
            "type sinks.cache.servers.a",
            "type sinks.cache.servers.b",
            "type sinks.cache.wait",
            "unknown-key key sinks.cache.fields[0].nam",
            "unknown-key key sinks.cache.fields[0].of.int.mx",
            "unknown-key key sinks.cache.rout",
            "unknown-value sinks.cache.ack",
            "value sinks.cache.workers",
        ]
    );
}

/// A type made from text by its own code does not know unknown values; the rest is checked all the same.
#[test]
fn mistakes_behind_a_type_of_its_own_are_found_too() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "String")]
    struct Even;
    impl TryFrom<String> for Even {
        type Error = &'static str;
        fn try_from(text: String) -> Result<Self, &'static str> {
            if !text.is_empty() && text.len().is_multiple_of(2) { Ok(Even) } else { Err("not even") }
        }
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code)]
    struct All {
        one: Even,
        list: Vec<Even>,
        named: IndexMap<String, Vec<(u8, Even)>>,
        two: Even,
        port: u16,
    }
    let text = "one = 'a'\nlist = ['ab', 'b', 'c', 5, 'cd', 'd']\ntwo = 'x'\nport = 'p'\nother = 1\n\
        named = { a = [[1, 'x'], ['y', 'ab']], b = [[1, 'ab'], [2, 'x']] }";
    let mut problems = Problems::default();
    assert!(decode::<All>(&value(text), &at(), &[], &mut problems).is_none());
    let mut found = shown(&problems);
    found.sort();
    let expected = [
        "type sinks.cache.list[3]: expected text, found an integer",
        "type sinks.cache.named.a[1][0]: expected an integer from 0 to 255, found text",
        "type sinks.cache.port: expected an integer from 0 to 65535, found text",
        "unknown-key key sinks.cache.other: unknown key `other` (legal here: `one`, `list`, `named`, `two`, `port`)",
        "value sinks.cache.list[1]: not even",
        "value sinks.cache.list[2]: not even",
        "value sinks.cache.list[5]: not even",
        "value sinks.cache.named.a[0][1]: not even",
        "value sinks.cache.named.b[1][1]: not even",
        "value sinks.cache.one: not even",
        "value sinks.cache.two: not even",
    ];
    assert_eq!(found, expected);
}

#[test]
fn keys_of_all_stages_are_legal_at_the_top_only() {
    let deep = mistakes(&value("key = ''\nfields = [{ name = 'a', of = 'uuid', concurrenc = 1 }]"));
    assert_eq!(
        deep,
        ["unknown-key key sinks.cache.fields[0].concurrenc: unknown key `concurrenc` (legal here: `name`, `of`)"]
    );
}

#[test]
fn a_value_of_the_wrong_shape_gives_nothing() {
    assert_eq!(mistakes(&Value::Int(1)), ["type sinks.cache: expected a table, found an integer"]);
}

#[test]
fn substituted_text_is_read_as_what_is_asked_for() {
    let put = |text: &str| Value::Substituted(text.to_owned());
    let entries = [
        ("key", "5"),
        ("ack", "none"),
        ("port", "80"),
        ("ratio", "0.5"),
        ("signed", "-5"),
        ("verify", "true"),
        ("size", "1KiB"),
        ("workers", "2"),
        ("any", "x"),
    ];
    let table: Table = entries.iter().map(|(key, text)| ((*key).to_owned(), put(text))).collect();
    let mut problems = Problems::default();
    let sink: Sink = decode(&Value::Table(table), &at(), &[], &mut problems).unwrap();
    assert_eq!((sink.key.as_str(), sink.ack, sink.port, sink.ratio), ("5", Ack::None, Some(80), Some(0.5)));
    assert_eq!((sink.signed, sink.verify, sink.size), (Some(-5), Some(true), Some(Bytes(1024))));
    assert_eq!(sink.any, Some(put("x")));
}

#[test]
fn what_came_from_the_environment_is_never_shown() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Chatty(#[serde(deserialize_with = "chatty")] u8);
    fn chatty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(serde::de::Error::custom(format!("`{text}` is bad")))
    }
    #[derive(Debug, Deserialize, PartialEq)]
    struct All {
        ack: Ack,
        port: u16,
        small: u8,
        wait: Duration,
        verify: bool,
        own: Chatty,
        list: Vec<u8>,
    }
    let keys = ["ack", "port", "wait", "verify", "own", "list"];
    let secret = || Value::Substituted("hunter2".to_owned());
    let mut table: Table = keys.iter().map(|key| ((*key).to_owned(), secret())).collect();
    table.insert("small".to_owned(), Value::Substituted("90210".to_owned()));
    let mut problems = Problems::default();
    assert_eq!(decode::<All>(&Value::Table(table), &at(), &[], &mut problems), None);
    let found = shown(&problems);
    assert_eq!(found.len(), 7, "{found:?}");
    assert!(found.iter().all(|line| !line.contains("hunter2") && !line.contains("90210")), "{found:?}");
    assert!(found.contains(&"value sinks.cache.own: the value from the environment is not valid here".to_owned()));
}

#[test]
fn unknown_values_pass_for_anything() {
    let keys = ["key", "ack", "servers", "fields", "port", "ratio", "verify", "size", "wait", "workers", "any", "pair"];
    let table: Table = keys.iter().map(|key| ((*key).to_owned(), Value::Unknown)).collect();
    let mut problems = Problems::default();
    let sink: Option<Sink> = decode(&Value::Table(table), &at(), &[], &mut problems);
    assert!(sink.is_some() && problems.is_empty(), "{problems:?}");
    let list = Value::List(vec![Value::Unknown; 2]);
    assert!(decode::<Vec<Field>>(&list, &at(), &[], &mut problems).is_some(), "{problems:?}");
    assert!(decode::<(Bytes, Duration, Of, u8, String)>(&Value::Unknown, &at(), &[], &mut problems).is_some());
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn a_type_that_cannot_be_unknown_is_left_unchecked_with_a_note() {
    #[derive(Debug, Deserialize)]
    struct Endless {
        #[expect(dead_code)]
        next: Box<Endless>,
    }
    let mut problems = Problems::default();
    assert!(decode::<Endless>(&Value::Unknown, &at(), &[], &mut problems).is_none());
    let list = Value::Table(Table::from([("a".to_owned(), Value::List(vec![Value::Unknown]))]));
    assert!(decode::<IndexMap<String, Vec<Endless>>>(&list, &at(), &[], &mut problems).is_none());
    let severities: Vec<_> = problems.iter().map(|problem| (problem.code, problem.severity)).collect();
    assert_eq!(severities, [("unchecked", Severity::Note); 2]);
}
