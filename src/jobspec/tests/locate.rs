//! Tests of `jobspec::locate`.

use super::*;
use crate::jobspec::{Mode, Problems};

const TOML: &str = r#"name = "a"
limits = { rejects = 5, memory = "1MiB" }
"quoted key".x.y = 1

[sources.installs]
path = "ü/x.tsv"
columns = [
  "a int8",
  { name = "b", type = "int8" },
]

[sinks.cache.servers]
idfa = "h:1"

[[list.items]]
n = 1
[[list.items]]
n = 2
"#;

const YAML: &str = "name: a
limits: { rejects: 5, memory: 1MiB }
quoted key: { x: { y: 1 } }
sources:
  installs:
    path: 'ü/x.tsv'
    columns:
      - a int8
      - { name: b, type: int8 }
sinks:
  cache:
    servers:
      idfa: \"h:1\"
    empty:
list:
  items:
    - n: 1
    - n: 2
shared: &s { a: 1 }
copy: *s
";

/// `a.b[1]` as a path; a key with a space or a dot in quotes is written `'…'`.
fn path(text: &str) -> Path {
    let mut path = Path::default();
    for part in text.split('.').filter(|part| !part.is_empty()) {
        let (key, rest) = part.split_once('[').unwrap_or((part, ""));
        path = path.entry(key);
        for index in rest.split('[').filter(|index| !index.is_empty()) {
            path = path.index(index.trim_end_matches(']').parse().unwrap());
        }
    }
    path
}

fn document(text: &str, format: Format) -> Document {
    let mut problems = Problems::default();
    let document = Document::parse("job", text, format, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    document
}

/// `line:column underlined text`
fn shown(document: &Document, place: &SpecLocation) -> String {
    let located = locate(document, place);
    format!("{}:{} {}", located.line, located.column, &located.text[located.range])
}

#[test]
fn keys_and_values_are_found_in_toml() {
    let document = document(TOML, Format::Toml);
    let cases = [
        ("name", "1:1 name", "1:8 \"a\""),
        ("limits", "2:1 limits", "2:10 { rejects = 5, memory = \"1MiB\" }"),
        ("limits.rejects", "2:12 rejects", "2:22 5"),
        ("limits.memory", "2:25 memory", "2:34 \"1MiB\""),
        ("quoted key", "3:1 \"quoted key\"", "3:1 \"quoted key\""),
        ("quoted key.x", "3:14 x", "3:14 x"),
        ("quoted key.x.y", "3:16 y", "3:20 1"),
        ("sources", "5:2 sources", "5:2 sources"),
        ("sources.installs", "5:10 installs", "5:1 [sources.installs]"),
        ("sources.installs.path", "6:1 path", "6:8 \"ü/x.tsv\""),
        ("sources.installs.columns", "7:1 columns", "7:1 columns"),
        ("sources.installs.columns[0]", "8:3 \"a int8\"", "8:3 \"a int8\""),
        ("sources.installs.columns[1].type", "9:17 type", "9:24 \"int8\""),
        ("sinks.cache", "12:8 cache", "12:8 cache"),
        ("sinks.cache.servers", "12:14 servers", "12:1 [sinks.cache.servers]"),
        ("list.items[0]", "15:1 [[list.items]]", "15:1 [[list.items]]"),
        ("list.items[1].n", "18:1 n", "18:5 2"),
        // What is not there is found at the nearest table around it.
        ("limits.none", "2:1 limits", "2:1 limits"),
        ("sinks.cache.servers.none.x", "12:14 servers", "12:14 servers"),
        ("sources.installs.columns[7]", "7:1 columns", "7:1 columns"),
        ("none", "1:1 ", "1:1 "),
        ("", "1:1 ", "1:1 "),
    ];
    check(&document, &cases);
}

#[test]
fn keys_and_values_are_found_in_yaml() {
    let document = document(YAML, Format::Yaml);
    let cases = [
        ("name", "1:1 name", "1:7 a"),
        ("limits", "2:1 limits", "2:9 { rejects: 5, memory: 1MiB }"),
        ("limits.memory", "2:23 memory", "2:31 1MiB"),
        ("quoted key.x.y", "3:20 y", "3:23 1"),
        ("sources", "4:1 sources", "4:1 sources"),
        ("sources.installs", "5:3 installs", "5:3 installs"),
        ("sources.installs.path", "6:5 path", "6:11 'ü/x.tsv'"),
        ("sources.installs.columns[0]", "8:9 a int8", "8:9 a int8"),
        ("sources.installs.columns[1]", "9:9 { name: b, type: int8 }", "9:9 { name: b, type: int8 }"),
        ("sources.installs.columns[1].type", "9:20 type", "9:26 int8"),
        ("sinks.cache.servers.idfa", "13:7 idfa", "13:13 \"h:1\""),
        ("sinks.cache.empty", "14:5 empty", "14:5 empty"),
        ("list.items[1].n", "18:7 n", "18:10 2"),
        ("copy.a", "20:1 copy", "20:1 copy"),
        ("limits.none", "2:1 limits", "2:1 limits"),
        ("", "1:1 ", "1:1 "),
    ];
    check(&document, &cases);
}

fn check(document: &Document, cases: &[(&str, &str, &str)]) {
    for (at, key, value) in cases {
        assert_eq!(shown(document, &SpecLocation::Key(path(at))), *key, "{at}");
        assert_eq!(shown(document, &SpecLocation::Value(path(at))), *value, "{at}");
    }
}

/// In each text, the value of `a` holds the word `here`; it must be found to the byte.
#[test]
fn places_inside_texts_are_found() {
    let toml = [
        "a = \"x here\"",
        "a = 'x \\ here'",
        "a = \"\\u00fc\\t\\\" here ü\"",
        "a = \"\\x41\\U0001F600\\e here\"",
        "a = \"\"\"\nline\n  here \"quoted\" \\\n     on\"\"\"",
        "a = '''\nline\n  here'''",
        "a = '''x here'''",
        "a = \"\"\"\r\nx\r\nhere\"\"\"",
        "a = \"${X:-y} here\"",
    ];
    let yaml = [
        "a: x here",
        "a: x\n  y\n\n  here\nb: 1",
        "a: 'it''s\n  here'",
        "a: \"\\u00fc \\\"\\x41 \\\n  here\"",
        "a: \"x  \n  \\  here\"",
        "a: |\n  line\n    deeper\n\n  here\nb: 1",
        "a: |-\n  ü here\n",
        "a: |+\n  here\n\nb: 1",
        "a: >\n  folded\n  here\n\n  more\n",
        "a: >-\n  x\n\n\n  y here",
        "a: [1, here]",
        "a: { b: x here }",
        "a: here # not this",
    ];
    for (texts, format) in [(&toml[..], Format::Toml), (&yaml[..], Format::Yaml)] {
        for text in texts {
            let document = document(text, format);
            let (at, value) = ["a", "a[1]", "a.b"]
                .iter()
                .find_map(|at| Some((path(at), document.root.get(&path(at))?.as_text()?)))
                .unwrap();
            let start = value.find("here").unwrap_or_else(|| panic!("{value:?}"));
            let place = SpecLocation::inside(at.clone(), start..start + 4);
            let located = locate(&document, &place);
            assert_eq!(&text[located.range.clone()], "here", "{text:?} at {:?}", located.range);
            assert_eq!(Some(located.range.start), text.find("here"), "{text:?}");
            let place = SpecLocation::inside(at, start + 4..start + 4);
            let end = locate(&document, &place);
            assert_eq!(end.range, located.range.end..located.range.end, "{text:?}");
        }
    }
}

#[test]
fn where_bytes_cannot_be_mapped_the_whole_value_is_meant() {
    let mut problems = Problems::default();
    let text = "a = 'x ${Y} here'\nb = 'p $$ q'\nc = 5\nd = '${Z} and ${'\ne = '${W} x'";
    let mut document = document(text, Format::Toml);
    let env = |name: &str| (name == "Y").then(|| "long value".to_owned());
    document.interpolate(Mode::Check, &env, &mut problems);
    let inside = |key: &str, range: Range<usize>| shown(&document, &SpecLocation::inside(path(key), range));
    assert_eq!(inside("a", 0..1), "1:5 'x ${Y} here'");
    assert_eq!(inside("b", 0..1), "2:5 'p $$ q'");
    assert_eq!(inside("c", 0..1), "3:5 5");
    assert_eq!(inside("e", 5..6), "5:11 x");
    assert_eq!(inside("e", 5..99), "5:5 '${W} x'");
    #[expect(clippy::reversed_empty_ranges, reason = "even that must not panic")]
    let reversed = inside("e", 5..2);
    assert_eq!(reversed, "5:11 ");
    // Problems of interpolation count in the text as it was written.
    let found: Vec<String> = problems.iter().map(|problem| shown(&document, &problem.place)).collect();
    assert_eq!(found, ["4:6 ${Z}", "4:15 ${", "5:6 ${W}"]);
}

#[test]
fn places_in_overrides_are_found_on_the_command_line() {
    let mut document = document(TOML, Format::Toml);
    for typed in ["limits.rejects=7", "sinks.'n w'.at={ x = [1, 'abc'] }", "name=a b", "name=${c}"] {
        document.set(typed).unwrap();
    }
    let in_override = |place: SpecLocation| {
        let located = locate(&document, &place);
        assert_eq!((located.name.as_ref(), located.line), (COMMAND_LINE, 1));
        format!("{} {}", located.text, &located.text[located.range.clone()])
    };
    assert_eq!(in_override(SpecLocation::Value(path("limits.rejects"))), "--set limits.rejects=7 7");
    assert_eq!(in_override(SpecLocation::Key(path("limits.rejects"))), "--set limits.rejects=7 rejects");
    let table = "--set sinks.'n w'.at={ x = [1, 'abc'] }";
    assert_eq!(in_override(SpecLocation::Key(path("sinks.n w"))), format!("{table} 'n w'"));
    assert_eq!(in_override(SpecLocation::Value(path("sinks.n w"))), format!("{table} 'n w'"));
    assert_eq!(in_override(SpecLocation::Value(path("sinks.n w.at"))), format!("{table} {{ x = [1, 'abc'] }}"));
    assert_eq!(in_override(SpecLocation::Value(path("sinks.n w.at.x[0]"))), format!("{table} 1"));
    assert_eq!(in_override(SpecLocation::Key(path("sinks.n w.at.x"))), format!("{table} x"));
    assert_eq!(in_override(SpecLocation::inside(path("sinks.n w.at.x[1]"), 1..2)), format!("{table} b"));
    assert_eq!(in_override(SpecLocation::Value(path("sinks.n w.at.y"))), format!("{table} at"));
    assert_eq!(in_override(SpecLocation::Value(path("name"))), "--set name=${c} ${c}");
    assert_eq!(in_override(SpecLocation::inside(path("name"), 2..3)), "--set name=${c} c");
    assert_eq!(shown(&document, &SpecLocation::Key(path("limits.memory"))), "2:25 memory");
}

#[test]
fn places_outside_the_values_are_found() {
    let document = document("a = 1\nb = 2", Format::Toml);
    assert_eq!(shown(&document, &SpecLocation::Text(6..7)), "2:1 b");
    assert_eq!(shown(&document, &SpecLocation::Text(100..200)), "2:6 ");
    let other = SpecLocation::File("x.proto".into(), "ü here".to_owned(), 3..7);
    assert_eq!(shown(&document, &other), "1:3 here");
    assert_eq!(locate(&document, &other).name, "x.proto");
    // A place within a character is moved to its start.
    assert_eq!(shown(&document, &SpecLocation::File("x".into(), "ü".to_owned(), 1..2)), "1:1 ü");
}
