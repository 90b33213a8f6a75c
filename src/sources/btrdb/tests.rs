//! Keys of the source and what they compile to; what it reads is tested with a server.

use super::*;
use crate::jobspec::{Document, Format, Problems, Value};

fn value(toml: &str) -> Value {
    let mut problems = Problems::default();
    let document = Document::parse("job.toml", toml, Format::Toml, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    document.root
}

fn compiled(toml: &str) -> Result<Compiled<dyn Source>, Vec<String>> {
    let (table, mut problems) = (value(toml), Problems::default());
    let made = compile(&mut Context::of("sources.s", &table, None, &mut problems));
    made.ok_or_else(|| problems.iter().map(|problem| problem.message.clone()).collect())
}

const SOUND: &str = "endpoint = 'h:4410'\ncollection = 'c'\nwindow = '12h'\n";

#[test]
fn mistakes_are_found_offline() {
    let cases = [
        ("endpoint = 'h'\ncollection = 'c'\nwindow = '1h'", "expected `host:port`"),
        ("endpoint = 'h:1;i:1'\ncollection = 'c'\nwindow = '1h'", "expected `host:port`"),
        ("endpoint = 'h:1'\ncollection = ''\nwindow = '1h'", "a collection has a name"),
        ("endpoint = 'h:1'\ncollection = 'c'", "missing key `window`"),
        ("endpoint = 'h:1'\ncollection = 'c'\nwindow = '0s'", "no point lies in a window of 0"),
        ("SOUND\nca = 'roots.pem'", "`ca` has no effect without TLS"),
        ("SOUND\napi_key = 'text'", "unknown value"),
        ("SOUND\nmode = 'points'", "unknown value `points`"),
        ("SOUND\nfrom = '1704067200'", "`1704067200` is not a time"),
        ("SOUND\nto = 'tomorrow'", "`tomorrow` is not a time"),
        ("SOUND\nfrom = '1933-06-18'", "`1933-06-18` is not a time that BTrDB has"),
        (
            "SOUND\nto = '2100-01-01'",
            "is not a time that BTrDB has: they go from 1933-06-20T00:01:35.393153024Z to 2079-08-08T",
        ),
        ("SOUND\nfrom = '2024-01-02'\nto = '2024-01-02'", "no time lies between `from` and `to`"),
        ("SOUND\ncolumns = []", "no column is named"),
        ("SOUND\ncolumns = ['time', 'valu']", "there is no column `valu`"),
        ("SOUND\ncolumns = ['time', 'count']", "there is no column `count`"),
        ("SOUND\nmode = 'stat'\ncolumns = ['time']", "there is no column `time`"),
        ("SOUND\ncolumns = ['time', 'value', 'time']", "column `time` is named twice"),
        ("SOUND\ntimeout = '0s'", "nothing is done within a `timeout` of 0"),
        ("SOUND\nretry = { timeout = '0s' }", "nothing is done within a `timeout` of 0"),
        ("SOUND\nretry = { attempts = 0 }", ""),
        ("SOUND\ntags = { unit = 7 }", ""),
    ];
    for (toml, message) in cases {
        let problems = compiled(&toml.replace("SOUND", SOUND)).err().unwrap_or_default();
        assert!(problems.iter().any(|found| found.contains(message)), "{toml}: {problems:?}");
    }
}

#[test]
fn the_plan_says_what_is_read() {
    let notes = |toml: &str| compiled(&format!("{SOUND}{toml}")).map(|compiled| compiled.notes).unwrap();
    let expected = [
        "BTrDB at `h:4410`, without TLS",
        "collection `c`, points in windows of 12h from each stream's first point",
        "one connection per worker",
    ];
    assert_eq!(notes(""), expected);
    let other = notes("tls = true\nprefix = true\nmode = 'stat'\nca = 'roots.pem'");
    assert_eq!(other[0], "BTrDB at `h:4410`, with TLS");
    assert!(other[1].starts_with("collections that begin with `c`, statistics in windows of 12h"), "{other:?}");
    let secure = compiled("endpoint = 'h:4411'\ncollection = ''\nprefix = true\nwindow = '1h'").unwrap();
    assert_eq!(secure.notes[0], "BTrDB at `h:4411`, with TLS");
}

#[test]
fn columns_are_those_of_the_mode_or_those_that_are_named() {
    let schema = |toml: &str| compiled(&format!("{SOUND}{toml}")).unwrap().output.unwrap().to_string();
    let raw = "uuid string, collection string, name string?, version uint64, time timestamp_ns, value float64, \
               window_start timestamp_ns, window_end timestamp_ns";
    assert_eq!(schema(""), raw);
    let stat = "uuid string, collection string, name string?, version uint64, window_start timestamp_ns, \
                window_end timestamp_ns, count uint64, min float64?, mean float64?, max float64?, stddev float64?";
    assert_eq!(schema("mode = 'stat'"), stat);
    assert_eq!(schema("columns = ['value', 'uuid', 'time']"), "value float64, uuid string, time timestamp_ns");
}

#[test]
fn what_only_a_run_knows_is_no_mistake() {
    let known =
        value(&format!("{SOUND}ca = 'x'\nfrom = 'x'\nto = 'x'\nmode = 'raw'\ncolumns = ['time', 'x']\ntls = true"));
    let messages = |hide: &[&str]| -> Vec<String> {
        let mut table = known.as_table().unwrap().clone();
        for key in hide {
            let hidden = match table[*key] {
                Value::List(_) => Value::List(vec![Value::Text("time".to_owned()), Value::Unknown]),
                _ => Value::Unknown,
            };
            table.insert((*key).to_owned(), hidden);
        }
        let (table, mut problems) = (Value::Table(table), Problems::default());
        assert!(compile(&mut Context::of("sources.s", &table, None, &mut problems)).is_none());
        problems.iter().map(|problem| problem.message.clone()).collect()
    };
    assert_eq!(messages(&[]).len(), 3);
    let all = ["endpoint", "collection", "window", "ca", "from", "to"];
    let unchecked = ["the columns cannot be checked before its value is known"];
    assert_eq!(messages(&[&all[..], &["columns"]].concat()), unchecked);
    assert_eq!(messages(&[&all[..], &["mode"]].concat()), unchecked);
}
