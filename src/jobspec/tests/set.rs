//! Tests of `jobspec::set`.

use super::*;
use crate::jobspec::{Format, Problems};

fn document() -> Document {
    let text = "name = 'a'\n[limits]\nrejects = 1\n[sources.s]\ncolumns = ['a int8', 'b int8']\n";
    Document::parse("job.toml", text, Format::Toml, &mut Problems::default())
}

fn text(content: &str) -> Value {
    Value::Text(content.into())
}

#[test]
fn overrides_are_applied() {
    let path = |keys: &[&str]| keys.iter().fold(Path::default(), |path, key| path.entry(key));
    let cases = [
        ("limits.rejects=5", path(&["limits", "rejects"]), Value::Int(5)),
        ("limits.rejects=1%", path(&["limits", "rejects"]), text("1%")),
        ("limits.rejects=\"1%\"", path(&["limits", "rejects"]), text("1%")),
        ("limits.memory=1MiB", path(&["limits", "memory"]), text("1MiB")),
        ("name=", path(&["name"]), text("")),
        ("name=a=b", path(&["name"]), text("a=b")),
        ("name=true", path(&["name"]), Value::Bool(true)),
        ("name=1979-05-27", path(&["name"]), text("1979-05-27")),
        ("sinks.new.path=out/x", path(&["sinks", "new", "path"]), text("out/x")),
        ("sources.s.\"a.b\".'c d'=1.5", path(&["sources", "s", "a.b", "c d"]), Value::Float(1.5)),
        ("sources.s.columns[1]=c int8", path(&["sources", "s", "columns"]).index(1), text("c int8")),
        ("sources.s.columns=[1, 2]", path(&["sources", "s", "columns"]).index(1), Value::Int(2)),
        ("sources.s.batch={ rows = 3 }", path(&["sources", "s", "batch", "rows"]), Value::Int(3)),
    ];
    for (typed, path, expected) in cases {
        let mut document = document();
        assert_eq!(document.set(typed), Ok(()), "{typed}");
        assert_eq!(document.root.get(&path), Some(&expected), "{typed}");
    }
}

#[test]
fn overrides_that_cannot_be_are_refused() {
    let usage = "expected `path=value`, such as `limits.rejects=5`";
    let cases = [
        ("", usage),
        ("=5", usage),
        ("limits", usage),
        ("limits.=5", usage),
        ("limits..a=5", usage),
        ("[0]=5", usage),
        ("'limits=5", "the key has no closing `'`"),
        ("\"a\"b=5", usage),
        ("sources.s.columns[x]=5", "a place in a list is written `[0]`"),
        ("sources.s.columns[0=5", "a place in a list is written `[0]`"),
        ("sources.s.columns[2]=5", "`sources.s.columns` has 2 items; the first is `[0]`"),
        ("name.first=5", "`name` is text, not a table"),
        ("limits[0]=5", "`limits` is a table, not a list"),
    ];
    for (typed, expected) in cases {
        assert_eq!(document().set(typed), Err(expected.to_owned()), "{typed}");
    }
}

#[test]
fn an_override_is_meant_for_the_specs_that_have_its_place() {
    let cases = [
        ("limits.rejects=5", true),
        ("limits.nosuch=5", true),
        ("sources.s.path=x", true),
        ("sources.nosuch.path=x", false),
        ("job:limits.rejects=5", true),
        ("job:sources.s.path=a:b", true),
        ("other:limits.rejects=5", false),
        ("sources.s.path=other:x", true),
    ];
    let mut document = document();
    document.set("name=job").expect("a legal override");
    for (typed, expected) in cases {
        assert_eq!(document.has_place_of(typed), Ok(expected), "{typed}");
    }
    document.set("job:sources.s.path=a:b").expect("a legal override");
    let path = Path::default().key("sources.s.path");
    assert_eq!(document.root.get(&path), Some(&Value::Text("a:b".to_owned())));
}
