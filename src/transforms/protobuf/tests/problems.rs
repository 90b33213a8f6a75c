//! What can be wrong with a spec of this kind: each problem with its place, its sentence and its hint.

use std::collections::BTreeMap;

use super::Folder;
use crate::{
    batch::{Column, Schema},
    jobspec::{Problem, Problems, SpecLocation, Value},
    kind::{Compiled, Context, Workers},
    stage::Transform,
    transforms::protobuf::{Spec, build},
};

/// Compiles `spec` for an input of `columns`, written as `name type`.
fn compile(spec: &Spec, columns: &[&str]) -> (Option<Compiled<dyn Transform>>, Vec<Problem>) {
    let columns = columns.iter().map(|column| {
        let (name, column_type) = column.split_once(' ').unwrap();
        Column { name: name.into(), column_type: column_type.parse().unwrap(), nullable: true }
    });
    let input = Schema::new(columns.collect());
    let mut problems = Problems::default();
    let mut context = Context::of("transforms.packed", &Value::Null, Some(&input), &mut problems);
    let compiled = build(&mut context, spec);
    (compiled, problems.iter().cloned().collect())
}

fn spec(folder: &Folder, schema: &str, message: &str) -> Spec {
    Spec {
        schema: folder.path(schema).display().to_string(),
        message: message.into(),
        into: "value".into(),
        include: Vec::new(),
        fields: BTreeMap::new(),
    }
}

fn mapping(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(field, column)| ((*field).to_owned(), (*column).to_owned())).collect()
}

/// The problems, one line each: code, place, sentence, hint.
fn lines(spec: &Spec, columns: &[&str]) -> Vec<String> {
    let (compiled, problems) = compile(spec, columns);
    assert!(compiled.is_none());
    let line = |problem: &Problem| {
        let place = match &problem.place {
            SpecLocation::Key(path) => format!("key {path}"),
            SpecLocation::Value(path) => path.to_string(),
            SpecLocation::File(path, text, range) => {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                format!("{name} {}..{} <{}>", range.start, range.end, &text[range.clone()])
            }
            other => format!("{other:?}"),
        };
        let help = problem.help.as_ref().map_or(String::new(), |help| format!(" | {help}"));
        format!("{} | {place} | {}{help}", problem.code, problem.message)
    };
    problems.iter().map(line).collect()
}

const APPS: &str = include_str!("../../../../proto/appsinstalled.proto");

#[test]
fn a_good_spec_says_what_it_does() {
    let folder = Folder::new(&[("apps.proto", APPS)]);
    let mut good = spec(&folder, "apps.proto", "UserApps");
    good.fields = mapping(&[("lat", "latitude")]);
    let (compiled, problems) = compile(&good, &["apps list<uint32>", "latitude float64", "other string"]);
    assert_eq!(problems, []);
    let compiled = compiled.unwrap();
    let output = compiled.output.unwrap().to_string();
    assert_eq!(output, "apps list<uint32>?, latitude float64?, other string?, value binary");
    assert!(matches!(compiled.workers, Workers::Threads));
    let notes = [
        format!("message `UserApps` of `{}` into `value`", good.schema),
        "fields from columns: `apps`, `lat` from `latitude`".to_owned(),
        "left out, having no column: `lon`".to_owned(),
    ];
    assert_eq!(compiled.notes, notes);
}

#[test]
fn files_and_folders_that_cannot_be_read() {
    let folder = Folder::new(&[("folder/x", "")]);
    let mut bad = spec(&folder, "no.proto", "M");
    bad.include = vec![folder.path("folder").display().to_string(), folder.path("none").display().to_string()];
    let expected = [
        format!(
            "file | transforms.packed.schema | cannot read `{}`: No such file or directory (os error 2)",
            folder.path("no.proto").display()
        ),
        format!(
            "file | transforms.packed.include[1] | cannot read folder `{}`: No such file or directory (os error 2)",
            folder.path("none").display()
        ),
    ];
    assert_eq!(lines(&bad, &["a int32"]), expected);
    let directory = lines(&spec(&folder, "folder", "M"), &["a int32"]);
    assert!(directory[0].contains("Is a directory"), "{directory:?}");
}

#[test]
fn a_mistake_in_the_proto_is_shown_in_its_own_line() {
    let cases = [
        ("message M { int32 a = 1 }", "t.proto 24..25 <}>", "expected `;` or `[`, but found `}`"),
        ("syntax = \"proto3\"; message M {", "t.proto 30..30 <>", "reached end of file"),
        ("syntax = \"proto3\"; message M { Nope a = 1; }", "t.proto 31..35 <Nope>", "name `Nope` is not defined"),
        (
            "syntax = \"proto3\"; message M { int32 a = 1; int32 b = 1; }",
            "t.proto 54..55 <1>",
            "field number `1` is already used",
        ),
        ("import \"no.proto\";", "t.proto 0..18 <import \"no.proto\";>", "import `no.proto` not found"),
        ("import \"bad.proto\";", "bad.proto 0..4 <oops>", "found `oops`"),
        ("import \"t.proto\";", "transforms.packed.schema", "import cycle detected: t.proto -> t.proto"),
        ("edition = \"2023\"; message M { int32 a = 1; }", "t.proto 0..7 <edition>", "editions are not supported"),
    ];
    for (text, place, sentence) in cases {
        let text = if text.contains("syntax") { text.to_owned() } else { text.replace("int32 a", "optional int32 a") };
        let folder = Folder::new(&[("t.proto", &text), ("bad.proto", "oops")]);
        let lines = lines(&spec(&folder, "t.proto", "M"), &["a int32"]);
        let place = if text.contains("optional") { place.replace("24..25", "33..34") } else { place.to_owned() };
        assert!(lines[0].contains(&format!("| {place} |")) && lines[0].contains(sentence), "{text}: {lines:?}");
    }
}

#[test]
fn every_mistake_in_the_proto_is_shown() {
    let folder = Folder::new(&[("t.proto", "syntax = \"proto3\"; message M { A a = 1; B b = 2; }")]);
    let lines = lines(&spec(&folder, "t.proto", "M"), &["a int32"]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("<A>") && lines[1].contains("<B>"), "{lines:?}");
}

#[test]
fn imports_are_found_beside_the_file_or_in_the_given_folders() {
    let main = "syntax = \"proto3\"; import \"other.proto\"; message M { Other a = 1; }";
    let other = "syntax = \"proto3\"; message Other {}";
    let folder = Folder::new(&[("p/main.proto", main), ("q/other.proto", other), ("r/main.proto", main)]);
    let mut given = spec(&folder, "p/main.proto", "M");
    assert!(lines(&given, &["a json"])[0].contains("import `other.proto` not found"));
    given.include = vec![folder.path("q").display().to_string()];
    assert_eq!(compile(&given, &["a json"]).1, []);
    // The file of the same name in another folder is not the one that was asked for.
    given.include.push(folder.path("r").display().to_string());
    assert!(lines(&given, &["a json"])[0].contains("is shadowed by"));
    let beside = Folder::new(&[("main.proto", main), ("other.proto", other)]);
    assert_eq!(compile(&spec(&beside, "main.proto", "M"), &["a json"]).1, []);
}

#[test]
fn public_imports_reach_as_far_as_they_go() {
    let public = |name: &str| format!("syntax = \"proto3\"; import public \"{name}.proto\";");
    let deep = "syntax = \"proto3\"; import \"f.proto\"; message Deep { int32 a = 1; }";
    let main = "syntax = \"proto3\"; import \"b.proto\"; message M { Deep a = 1; }";
    let files = [
        ("a.proto", main.to_owned()),
        ("b.proto", public("c")),
        ("c.proto", public("d")),
        ("d.proto", public("e")),
        ("e.proto", deep.to_owned()),
        ("f.proto", "syntax = \"proto3\"; message Hidden {}".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let folder = Folder::new(&files);
    assert_eq!(compile(&spec(&folder, "a.proto", "M"), &["a json"]).1, []);
    // What is imported, but not publicly, stays hidden; the place of the mistake is that in the file.
    std::fs::write(folder.path("a.proto"), main.replace("Deep a", "Hidden a")).unwrap();
    let lines = lines(&spec(&folder, "a.proto", "M"), &["a json"]);
    assert!(lines[0].contains("a.proto 49..55 <Hidden>"), "{lines:?}");
}

#[test]
fn options_of_every_form_do_no_harm() {
    let text = "syntax = \"proto2\"; import \"google/protobuf/descriptor.proto\";
        message Opt { optional int32 a = 1; repeated float f = 2; }
        extend google.protobuf.MessageOptions { optional Opt opt = 50001; optional float f = 50002; }
        message M { option (opt) = { a: 5 f: [-inf, nan] }; option (f) = -inf; optional int32 a = 1;
            optional float b = 2 [default = -inf, deprecated = true];
            extensions 5 [declaration = { number: 5, reserved: true }];
            extensions 100 to 199 [declaration = { number: 100, full_name: \".a.b\", type: \".c\" }, verification = DECLARATION]; }";
    let folder = Folder::new(&[("t.proto", text)]);
    assert_eq!(compile(&spec(&folder, "t.proto", "M"), &["a int32", "b float32"]).1, []);
}

#[test]
fn a_column_called_like_an_extension_is_named() {
    let text = "syntax = \"proto2\"; package q; message M { optional int32 a = 1; extensions 100 to 199; }
        message N { extensions 1 to 9; extend M { optional string inner = 101; } extend N { optional int32 of_n = 1; } }
        extend M { optional string note = 100; }";
    let folder = Folder::new(&[("t.proto", text)]);
    let columns = ["a int32", "[q.note] string", "[q.N.inner] string", "[q.N.of_n] int32", "[other] string"];
    let help = "extensions cannot be filled: leave the column out before, or give it another name";
    let expected = ["q.note", "q.N.inner"].map(|name| {
        format!(
            "extension | transforms.packed.message | column `[{name}]` is called like an extension of `q.M` | {help}"
        )
    });
    assert_eq!(lines(&spec(&folder, "t.proto", "q.M"), &columns), expected);
}

#[test]
fn messages_are_found_by_their_names() {
    let text = "syntax = \"proto3\"; package shop; message Order { message Line { int32 a = 1; } int32 a = 1; }
        message Item { message Line { int32 a = 1; } map<string, int32> tags = 2; }";
    let folder = Folder::new(&[("t.proto", text)]);
    for name in ["Order", "shop.Order", ".shop.Order", "Order.Line", "shop.Order.Line"] {
        assert_eq!(compile(&spec(&folder, "t.proto", name), &["a int32"]).1, [], "{name}");
    }
    let cases = [
        ("Ordr", "`t.proto` has no message `Ordr` | did you mean `Order`?"),
        ("shop.order", "`t.proto` has no message `shop.order` | did you mean `shop.Order`?"),
        ("Item.TagsEntry", "`t.proto` has no message `Item.TagsEntry` | legal here: "),
        ("Line", "there is more than one message `Line` | write one of `shop.Order.Line`, `shop.Item.Line`"),
    ];
    for (name, expected) in cases {
        let lines = lines(&spec(&folder, "t.proto", name), &["a int32"]);
        assert!(
            lines[0].starts_with(&format!("unknown-message | transforms.packed.message | {expected}")),
            "{lines:?}"
        );
    }
}

#[test]
fn columns_that_do_not_fit_are_all_named() {
    let text = "syntax = \"proto2\"; enum E { X = 0; } message N {} message M { required int32 id = 1;
        optional double lat = 2; optional double lon = 3; repeated uint32 apps = 4; map<string, N> map = 5;
        optional N n = 6; optional bool ok = 7; optional E e = 8; optional float f = 9; required int32 gone = 10; }";
    let folder = Folder::new(&[("t.proto", text)]);
    let mut bad = spec(&folder, "t.proto", "M");
    bad.fields = mapping(&[("lon", "longitude"), ("latt", "lat"), ("ok", "okay")]);
    let columns = [
        "id string",
        "lat string",
        "longitude int64",
        "apps uint32",
        "map string",
        "n binary",
        "okey bool",
        "e float64",
        "f int32",
    ];
    let lines = lines(&bad, &columns);
    let message = "transforms.packed.message";
    let integers = "`int8`, `int16`, `int32`, `int64`, `uint8`, `uint16`, `uint32`, `uint64`";
    let doubles = "`int8`, `int16`, `int32`, `uint8`, `uint16`, `uint32`, `float32`, `float64`, `json`";
    let lists = integers.replace("`int", "`list<int").replace("`uint", "`list<uint").replace("`,", ">`,");
    let expected = [
        "unknown-field | key transforms.packed.fields.latt | message `M` has no field `latt` | did you mean `lat`?"
            .into(),
        "unknown-column | transforms.packed.fields.ok | there is no column `okay` | did you mean `okey`?".into(),
        format!(
            "type | {message} | field `id` is an int32, column `id` is a string | it can be filled from: {integers}, `json`"
        ),
        format!(
            "type | {message} | field `lat` is a double, column `lat` is a string | it can be filled from: {doubles}"
        ),
        format!(
            "type | transforms.packed.fields.lon | field `lon` is a double, column `longitude` is an int64 | it can be filled from: {doubles}"
        ),
        format!(
            "type | {message} | field `apps` is a repeated uint32, column `apps` is a uint32 | it can be filled from: `json`, {}>`, `list<json>`",
            lists.trim_end_matches('`')
        ),
        format!(
            "type | {message} | field `map` is a map<string, N>, column `map` is a string | it can be filled from: `json`"
        ),
        format!("type | {message} | field `n` is a N, column `n` is a binary | it can be filled from: `json`"),
        format!(
            "type | {message} | field `e` is an enum E, column `e` is a float64 | it can be filled from: {integers}, `string`, `json`"
        ),
        format!(
            "type | {message} | field `f` is a float, column `f` is an int32 | it can be filled from: `int8`, `int16`, `uint8`, `uint16`, `float32`, `float64`, `json`"
        ),
        format!(
            "required-field | {message} | field `gone` is required, but there is no column `gone` | name its column: `fields = {{ gone = \"…\" }}`"
        ),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_message_that_no_column_fills() {
    let folder = Folder::new(&[("apps.proto", APPS), ("empty.proto", "syntax = \"proto3\"; message M {}")]);
    assert_eq!(
        lines(&spec(&folder, "apps.proto", "UserApps"), &["x int32"]),
        [
            "no-fields | transforms.packed.message | no field of `UserApps` has a column of its name | its fields: `apps`, `lat`, `lon`"
        ]
    );
    let empty = lines(&spec(&folder, "empty.proto", "M"), &["x int32"]);
    assert!(empty[0].ends_with("| the message has no fields"), "{empty:?}");
}

#[test]
fn the_output_column_needs_a_name() {
    let folder = Folder::new(&[("apps.proto", APPS)]);
    let mut nameless = spec(&folder, "apps.proto", "UserApps");
    nameless.into.clear();
    assert_eq!(lines(&nameless, &["lat float64"]), ["empty | transforms.packed.into | a column needs a name"]);
}

#[test]
fn types_that_refer_to_themselves_come_to_an_end() {
    let text = "syntax = \"proto3\"; message M { A a = 1; } message A { B b = 1; } message B { A a = 1; M m = 2; }";
    let folder = Folder::new(&[("t.proto", text)]);
    assert_eq!(compile(&spec(&folder, "t.proto", "M"), &["a json"]).1, []);
}

#[test]
fn a_path_may_be_relative_to_the_working_directory() {
    let file = super::schema::load("proto/appsinstalled.proto".as_ref(), &[]);
    assert!(file.is_ok_and(|file| file.message("UserApps").is_ok()));
}
