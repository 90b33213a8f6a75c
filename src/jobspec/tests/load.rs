//! Tests of `jobspec::load`.

use super::*;
use crate::failure::Exit;

fn parse(text: &str, format: Format) -> (Value, Vec<String>) {
    let mut problems = Problems::default();
    let document = Document::parse("job", text, format, &mut problems);
    let shown = problems
        .iter()
        .map(|problem| {
            let place = crate::jobspec::locate(&document, &problem.place);
            format!("{}:{} {} {}", place.line, place.column, problem.code, problem.message)
        })
        .collect();
    (document.root, shown)
}

#[test]
fn both_spellings_give_one_tree() {
    let toml = r#"
        text = "a"
        int = 0x10
        large = 18446744073709551615
        float = 1e3
        yes = true
        day = 1979-05-27
        list = [1, "two", { three = 3 }]
        z.y.x = 1
        [a]
        [[a.b]]
        c = 1
        [[a.b]]
    "#;
    let yaml = "text: a\nint: 0x10\nlarge: 18446744073709551615\nfloat: 1e3\nyes: true\nday: 1979-05-27\n\
        list: [1, two, { three: 3 }]\nz: { y: { x: 1 } }\na:\n  b:\n  - c: 1\n  - {}\n";
    let (toml, problems) = parse(toml, Format::Toml);
    assert_eq!(problems, [""; 0]);
    let (yaml, problems) = parse(yaml, Format::Yaml);
    assert_eq!(problems, [""; 0]);
    assert_eq!(toml, yaml);
    let keys: Vec<&str> = toml.as_table().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["text", "int", "large", "float", "yes", "day", "list", "z", "a"]);
}

#[test]
fn an_empty_text_is_an_empty_table() {
    for (text, format) in
        [("", Format::Toml), ("# nothing", Format::Toml), ("", Format::Yaml), ("# nothing\n", Format::Yaml)]
    {
        assert_eq!(parse(text, format), (Value::Table(Table::new()), vec![]), "{text:?} {format:?}");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    assert_eq!(parse("\u{feff}a = x", Format::Toml).1.len(), 1);
    assert_eq!(parse("\u{feff}a: 1", Format::Yaml).1, [""; 0]);
}

#[test]
fn yaml_values_are_what_they_look_like() {
    let cases = [
        ("~", Value::Null),
        ("null", Value::Null),
        ("", Value::Null),
        ("yes", Value::Text("yes".into())),
        ("'1'", Value::Text("1".into())),
        ("-5", Value::Int(-5)),
        ("[~]", Value::List(vec![Value::Null])),
        ("&x [1]", Value::List(vec![Value::Int(1)])),
    ];
    for (text, expected) in cases {
        let (root, problems) = parse(&format!("a: {text}"), Format::Yaml);
        assert_eq!((root.as_table().and_then(|table| table.get("a")), problems), (Some(&expected), vec![]), "{text}");
    }
    let (root, _) = parse("a: &x { b: 1 }\nc: *x", Format::Yaml);
    assert_eq!(root.as_table().unwrap()["c"], root.as_table().unwrap()["a"]);
}

#[test]
fn mistakes_of_syntax_have_a_place() {
    let toml: &[(&str, &[&str])] = &[
        ("a = 1\na = 2", &["2:1 duplicate-key `a` is already set"]),
        // The keys of a table that is there twice are no further mistakes; those of the next table are.
        ("[a]\nb = 1\n[a]\nb = 2\n[c]\nd = 1\nd = 2", &["3:2 duplicate-key `a`", "7:1 duplicate-key `d`"]),
        ("a = \nb = ]\n", &["1:5 syntax", "2:5 syntax"]),
        ("a = 'ü\nb = 1", &["1:7 syntax"]),
        ("a = 99999999999999999999999999999999999999999999", &["1:5 syntax the integer is too large"]),
        ("a = 1e999", &["1:5 syntax the number is too large"]),
    ];
    let yaml: &[(&str, &[&str])] = &[
        ("a: 1\nb: 2\na: 3\nb: 4", &["3:1 duplicate-key `a` is already set", "4:1 duplicate-key"]),
        ("a: 1\na: 2\n  b: 3", &["2:1 duplicate-key", "3:4 syntax"]),
        ("a: !x 1", &["1:4 tag tags are not supported: `!x`"]),
        ("a: !!str 1", &["1:4 tag tags"]),
        ("a: &x { b: 1 }\nc:\n  <<: *x", &["3:3 merge-key merge keys are not supported"]),
        ("a: 1\n---\nb: 2", &["2:1 syntax a job spec is one YAML document"]),
        ("? [a]\n: 1", &["1:3 syntax a key must be written out as text"]),
        ("a: &x\n  b: *x", &["2:6 alias an alias cannot stand inside"]),
        ("a: *x", &["1:4 syntax there is no anchor for `*x`"]),
        ("a: [*x]", &["1:5 syntax there is no anchor for `*x`"]),
        ("a: [1, [2]\nb: 3", &["2:1 syntax invalid indentation in flow"]),
        ("a: |\n  \tx\nb:\n\tc: 1", &["4:1 syntax a tab cannot indent"]),
        ("a: 'x", &["syntax"]),
        ("ü: [1,", &["syntax"]),
    ];
    for (cases, format) in [(toml, Format::Toml), (yaml, Format::Yaml)] {
        for (text, expected) in cases {
            let (root, mut found) = parse(text, format);
            found.sort();
            assert_eq!(root, Value::Unknown, "{text:?}");
            assert_eq!(found.len(), expected.len(), "{text:?}: {found:?}");
            for (found, expected) in found.iter().zip(*expected) {
                assert!(found.contains(expected), "{text:?}: {found}");
            }
        }
    }
}

#[test]
fn nesting_is_limited() {
    let deep_dots = |n: usize| vec!["a"; n].join(".");
    let cases = [
        (format!("a = {}{}", "[".repeat(62), "]".repeat(62)), Format::Toml, true),
        (format!("a = {}{}", "[".repeat(70), "]".repeat(70)), Format::Toml, false),
        (format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)), Format::Toml, false),
        (format!("a = {}1{}", "{a = ".repeat(70), "}".repeat(70)), Format::Toml, false),
        (format!("{} = 1", deep_dots(70)), Format::Toml, false),
        (format!("{} = 1", deep_dots(100_000)), Format::Toml, false),
        (format!("[{}]\n{} = 1", deep_dots(60), deep_dots(60)), Format::Toml, false),
        (format!("a: {}1{}", "[".repeat(62), "]".repeat(62)), Format::Yaml, true),
        (format!("a: {}{}", "[".repeat(64), "]".repeat(64)), Format::Yaml, false),
        (format!("a: {}", "[".repeat(100_000)), Format::Yaml, false),
        ("- ".repeat(100_000), Format::Yaml, false),
        (format!("a: {}1{}", "{a: ".repeat(70), "}".repeat(70)), Format::Yaml, false),
    ];
    for (text, format, fine) in cases {
        let (_, found) = parse(&text, format);
        assert_eq!(found.is_empty(), fine, "{} {format:?}: {found:?}", &text[..text.len().min(20)]);
    }
}

#[test]
fn aliases_cannot_make_a_small_text_large() {
    let mut bomb = String::from("a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n");
    for i in 1..30 {
        let alias = format!("*a{}", i - 1);
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", [alias.as_str(); 9].join(", ")));
    }
    let (root, found) = parse(&bomb, Format::Yaml);
    assert_eq!(root, Value::Unknown);
    assert_eq!(found, ["6:10 alias with every alias replaced, a spec may have 100000 values at most"]);

    let mut tower = String::from("a0: &a0 [1]\n");
    (1..80).for_each(|i| tower.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1)));
    let (_, found) = parse(&tower, Format::Yaml);
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("nesting tables and lists may be nested 64 deep at most"), "{found:?}");
}

#[test]
fn files_are_read_by_their_extension() {
    let folder = std::env::temp_dir().join(format!("runner-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let read = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut problems = Problems::default();
        let document = load(&path, &mut problems).unwrap();
        (document.format, problems.iter().map(|problem| problem.code).collect::<Vec<_>>())
    };
    assert_eq!(read("a.toml", b"a = 1"), (Format::Toml, vec![]));
    assert_eq!(read("a.yaml", b"a: 1"), (Format::Yaml, vec![]));
    assert_eq!(read("a.yml", b"a: 1"), (Format::Yaml, vec![]));
    assert_eq!(read("a.json", b"{}").1, ["format"]);
    assert_eq!(read("a", b"").1, ["format"]);
    assert_eq!(read("bad.toml", b"a = '\xff'").1, ["encoding"]);
    assert_eq!(read("large.toml", &vec![b'#'; 1 << 20]).1, [""; 0]);
    assert_eq!(read("large.toml", &vec![b'#'; (1 << 20) + 1]).1, ["too-large"]);
    let missing = load(&folder.join("none.toml"), &mut Problems::default()).unwrap_err();
    assert_eq!(missing.exit, Exit::InputMissing);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Cutting and mangling a good spec anywhere must never do worse than give problems.
#[test]
fn damaged_texts_never_panic() {
    let toml = "name = \"a\\u00fc\"\n[a.b]\nc = [1, { d = '''x\ny''' }]\n[[e]]\nf.g = 1979-05-27T07:32:00Z # c\n";
    let yaml = "name: \"a\\u00fc\"\na: &x\n  b: [1, {c: 'd', ? e : f}]\n  g: |+\n    x\n\n  h: >-\n    y\n- *x\n%TAG ! x\n--- ...\n";
    for (text, format) in [(toml, Format::Toml), (yaml, Format::Yaml)] {
        for at in 0..text.len() {
            for piece in
                ["", "\"", "'", "[", "{", "}", "\n", "\t", "\\", ": ", "- ", "? ", "*x", "&y", "!", "%", "\0", "ü", "|"]
            {
                let end = (at + 1).min(text.len());
                parse(&format!("{}{piece}{}", &text[..at], &text[end..]), format);
                parse(&format!("{}{piece}", &text[..at]), format);
            }
        }
    }
}
