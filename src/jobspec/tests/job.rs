//! Tests of `jobspec::job`.

use super::*;
use crate::jobspec::{Document, Format, Mode};

fn decode(toml: &str) -> (Option<JobSpec>, Vec<String>) {
    let mut problems = Problems::default();
    let mut document = Document::parse("job.toml", toml, Format::Toml, &mut problems);
    document.interpolate(Mode::Check, &|_| None, &mut problems);
    let job = JobSpec::decode(&document.root, &mut problems);
    let show = |problem: &Problem| {
        let place = match &problem.place {
            SpecLocation::Key(path) => format!("key {path}"),
            SpecLocation::Value(path) | SpecLocation::Inside(path, _) => format!("{path}"),
            other => format!("{other:?}"),
        };
        let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{} {place}: {}{help}", problem.code, problem.message)
    };
    (job, problems.iter().map(show).collect())
}

#[test]
fn a_whole_job_is_decoded() {
    let (job, problems) = decode(
        r#"
        name = "memc"
        description = "text"
        seed = 42
        state.path = "state"
        [limits]
        rejects = "1%"
        deadline = "2h"
        stall = "90s"
        threads = 4
        memory = "64MiB"
        spill = { path = "fast", max = "50GiB" }
        max_record_bytes = 1000
        [rejects]
        path = "out/rejects.ndjson"
        [report]
        path = "out/report.json"
        [definitions.movie]
        primary_key = ["id"]
        [sources.a]
        type = "files"
        path = "x"
        concurrency = 2
        batch = { rows = 10, bytes = "1KiB" }
        [transforms.b]
        type = "filter"
        input = "a"
        where = "x > 1"
        queue = 3
        partition_by = "x"
        [sinks.c]
        type = "discard"
        input = ["a", "b"]
        batch.rows = 5
        "#,
    );
    assert_eq!(problems, [""; 0]);
    let job = job.unwrap();
    assert_eq!((job.name.as_str(), job.description.as_deref(), job.seed), ("memc", Some("text"), 42));
    let expected = Limits {
        spill: Spill { path: Some("fast".into()), max: Some(Bytes(50 << 30)) },
        rejects: RejectLimit::Share(0.01),
        deadline: Some(Duration(std::time::Duration::from_secs(7200))),
        stall: Duration(std::time::Duration::from_secs(90)),
        threads: NonZeroUsize::new(4),
        memory: Bytes(64 << 20),
        max_record_bytes: Bytes(1000),
    };
    assert_eq!(job.limits, expected);
    let path = |path: &Option<PathBuf>| path.as_ref().and_then(|path| path.to_str().map(str::to_owned));
    assert_eq!(path(&job.rejects).as_deref(), Some("out/rejects.ndjson"));
    assert_eq!(path(&job.report).as_deref(), Some("out/report.json"));
    assert_eq!(path(&job.state).as_deref(), Some("state"));
    assert!(job.definitions.contains_key("movie"));
    let stages: Vec<_> = job.stages().map(|stage| (stage.name.as_str(), stage.kind.as_deref(), stage.broken)).collect();
    let expected = [("a", Some("files"), false), ("b", Some("filter"), false), ("c", Some("discard"), false)];
    assert_eq!(stages, expected);
    let source = &job.sources["a"];
    assert_eq!(source.table.as_table().unwrap().keys().collect::<Vec<_>>(), ["path"]);
    assert_eq!((source.common.concurrency, source.common.batch), (Some(2), Some(BatchSize { rows: 10, bytes: 1024 })));
    let transform = &job.transforms["b"];
    assert_eq!(transform.table.as_table().unwrap().keys().collect::<Vec<_>>(), ["where"]);
    assert_eq!((transform.common.queue, transform.common.partition_by.as_deref()), (Some(3), Some("x")));
    assert_eq!(transform.inputs, [("a".to_owned(), Path::default().key("transforms.b.input"))]);
    let sink = &job.sinks["c"];
    assert_eq!(sink.inputs[1], ("b".to_owned(), Path::default().key("sinks.c.input").index(1)));
    assert_eq!(sink.common.batch, Some(BatchSize { rows: 5, bytes: 1 << 20 }));
    assert_eq!((sink.section, sink.path.to_string().as_str()), (Section::Sinks, "sinks.c"));
}

#[test]
fn what_is_not_given_has_a_default() {
    let (job, problems) = decode("name = 'a'");
    assert_eq!(problems, [""; 0]);
    let job = job.unwrap();
    assert_eq!((job.limits, job.seed, job.rejects, job.state), (Limits::default(), 0, None, None));
    let (job, _) = decode("name = 'a'\n[sources.s]\ntype = 'x'");
    assert_eq!(job.unwrap().sources["s"].common, Common::default());
}

#[test]
fn mistakes_at_the_top_level_are_named() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["missing-key key : missing key `name`"]),
        ("nam = 'a'", &["unknown-key key nam: unknown key `nam` (did you mean `name`?)"]),
        ("name = 'a'\nsnks = {}", &["unknown-key key snks: unknown key `snks` (did you mean `sinks`?)"]),
        ("name = 'a b'", &["value name: a job's name has letters, digits, `-` and `_` only"]),
        ("name = ''", &["value name: a job's name has letters, digits, `-` and `_` only"]),
        ("name = 5", &["type name: expected text, found an integer"]),
        ("name = 'a'\nseed = -1", &["value seed: `-1` is out of range: expected an integer from 0 on"]),
        (
            "name = 'a'\nlimits.reject = 1",
            &["unknown-key key limits.reject: unknown key `reject` (did you mean `rejects`?)"],
        ),
        (
            "name = 'a'\nlimits.threads = 0",
            &["value limits.threads: `0` is out of range: expected an integer from 1 to 256"],
        ),
        ("name = 'a'\nrejects = 'x'", &["type rejects: expected a table, found text"]),
        ("name = 'a'\nrejects = {}", &["missing-key key rejects: missing key `path`"]),
        (
            "name = 'a'\nsources = 1\ndefinitions = []",
            &[
                "type sources: expected a table, found an integer",
                "type definitions: expected a table, found a list (each has its name for a key: write `NAME:` below \
                 `definitions:`, or `[definitions.NAME]` in TOML)",
            ],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(decode(text).1, *expected, "{text}");
    }
}

#[test]
fn mistakes_in_a_stage_are_named_and_break_it_alone() {
    let cases: &[(&str, &[&str])] = &[
        ("[sources.s]", &["missing-key key sources.s: missing key `type`"]),
        ("sources.s = 1", &["type sources.s: expected a table, found an integer"]),
        ("[sources.s]\ntype = 5", &["type sources.s.type: expected text, found an integer"]),
        (
            "[sources.s]\ntype = 'x'\ninput = 'a'",
            &["unknown-key key sources.s.input: a source has no `input`: nothing comes before it"],
        ),
        (
            "[sources.s]\ntype = 'x'\nqueue = 1\npartition_by = 'a'",
            &[
                "unknown-key key sources.s.queue: a source has no `queue`: nothing comes before it",
                "unknown-key key sources.s.partition_by: a source has no `partition_by`: nothing comes before it",
            ],
        ),
        (
            "[sources.s]\ntype = 'x'\nconcurrency = 0",
            &["value sources.s.concurrency: a stage has from 1 to 1024 workers"],
        ),
        (
            "[sources.s]\ntype = 'x'\nconcurrency = 1025",
            &["value sources.s.concurrency: a stage has from 1 to 1024 workers"],
        ),
        (
            "[sources.s]\ntype = 'x'\nbatch = { rows = 0, byts = 1 }",
            &[
                "value sources.s.batch.rows: `0` is out of range: expected an integer from 1 to 1048576",
                "unknown-key key sources.s.batch.byts: unknown key `byts` (did you mean `bytes`?)",
            ],
        ),
        (
            "[sources.s]\ntype = 'x'\nbatch.bytes = 0",
            &["value sources.s.batch.bytes: the size is out of range: expected from 1B to 1GiB"],
        ),
        ("[sinks.s]\ntype = 'x'", &["missing-key key sinks.s: missing key `input`"]),
        ("[sinks.s]\ntype = 'x'\ninput = []", &["value sinks.s.input: the list of inputs is empty"]),
        (
            "[sinks.s]\ntype = 'x'\ninput = ['a', 1]",
            &["type sinks.s.input[1]: expected the name of a stage, found an integer"],
        ),
        (
            "[sinks.s]\ntype = 'x'\ninput = 1",
            &["type sinks.s.input: expected the name of a stage, or a list of names, found an integer"],
        ),
        (
            "[sinks.s]\ntype = 'x'\ninput = 'a'\nqueue = 0",
            &["value sinks.s.queue: `0` is out of range: expected an integer from 1 to 4096"],
        ),
        (
            "[sinks.s]\ntype = 'x'\ninput = 'a'\npartition_by = 1",
            &["type sinks.s.partition_by: expected text, found an integer"],
        ),
        (
            "[sinks.'a b']\ntype = 'x'\ninput = 'ok'",
            &[
                "name key sinks.a b: a stage's name starts with a letter or `_` and has letters, digits, `-` and `_` only",
            ],
        ),
        (
            "[sinks.1a]\ntype = 'x'\ninput = 'ok'",
            &[
                "name key sinks.1a: a stage's name starts with a letter or `_` and has letters, digits, `-` and `_` only",
            ],
        ),
        (
            "[sinks.ok]\ntype = 'x'\ninput = 'ok'",
            &["name key sinks.ok: the name `ok` is already taken by `transforms.ok`"],
        ),
        (
            "[sinks.s]\ntype = '${NONE}'\ninput = 'ok'",
            &[
                "variable sinks.s.type: the environment variable `NONE` is not set (set it, or give a default: `${NONE:-…}`)",
            ],
        ),
    ];
    for (text, expected) in cases {
        let (job, problems) = decode(&format!("name = 'a'\n{text}\n[transforms.ok]\ntype = 'x'\ninput = 's'"));
        assert_eq!(problems, *expected, "{text}");
        let job = job.unwrap();
        assert!(!job.transforms["ok"].broken, "{text}");
        let broken = job.stages().filter(|stage| stage.broken).count();
        assert_eq!(broken, 1, "{text}");
    }
}

#[test]
fn a_text_that_was_not_parsed_adds_no_problems() {
    let mut problems = Problems::default();
    problems.push(Problem::new("syntax", SpecLocation::Value(Path::default()), "it was not parsed"));
    assert_eq!(JobSpec::decode(&Value::Unknown, &mut problems), None);
    assert_eq!(problems.iter().count(), 1);
    // All of it is a variable whose value is not known.
    for (value, message) in [
        (Value::Unknown, "a job spec is a table, not text"),
        (Value::List(vec![]), "a job spec is a table, not a list"),
    ] {
        let mut problems = Problems::default();
        assert_eq!(JobSpec::decode(&value, &mut problems), None);
        assert_eq!(problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>(), [message]);
    }
}

#[test]
fn schemas_list_the_keys_that_are_decoded() {
    let mut generator = SchemaGenerator::default();
    let keys = |schema: &Schema| -> Vec<String> {
        schema.get("properties").and_then(|keys| keys.as_object()).unwrap().keys().cloned().collect()
    };
    let top = schema(&mut generator);
    assert_eq!(keys(&top), ["name", "description", "seed", "limits", "rejects", "report", "state", "on_lost_state"]);
    for section in [Section::Sources, Section::Transforms, Section::Sinks] {
        let mut found = keys(&common_schema(section, &mut generator));
        found.insert(0, "type".to_owned());
        assert_eq!(found, section.common_keys(), "{section}");
    }
}
