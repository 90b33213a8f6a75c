//! What the compiler says of a spec, and what it makes of one.

use super::{super::*, rig::*};
use crate::{
    jobspec::{Problems, Severity, Value},
    kind::Workers,
    stage::Guarantee,
    testing::{schema, table},
};

/// Runs `work` in the context of a sink with this table, and says what problems there were.
fn with_context<T>(table: &Value, work: impl FnOnce(&mut Context<'_>) -> T) -> (T, Vec<String>) {
    let input = schema("k string?, v binary?, r string?, n int64?");
    let mut problems = Problems::default();
    let mut context = Context::of("sinks.cache", table, Some(&input), &mut problems);
    let result = work(&mut context);
    let told = problems.iter().map(|problem| {
        let place = match &problem.place {
            SpecLocation::Value(path) | SpecLocation::Key(path) | SpecLocation::Inside(path, _) => path.to_string(),
            other => format!("{other:?}"),
        };
        let note = if problem.severity == Severity::Note { "note " } else { "" };
        format!("{note}{} at {place}: {}", problem.code, problem.message)
    });
    (result, told.collect())
}

const SOUND: &str = "key = 'k'\nvalue = 'v'\n";

#[test]
fn each_bad_value_is_a_problem_in_its_place() {
    for (toml, expected) in [
        ("servers = { a = 'h:1' }", &[][..]),
        ("servers = { a = '[::1]:11211' }\nverify = { sample = 1 }\nexpire = '3650d'", &[]),
        ("servers = { a = 'unix:run/m.sock' }", &[]),
        (
            "servers = { a = 'unix:' }",
            &["value at sinks.cache.servers.a: expected the path of a socket file after `unix:`"],
        ),
        ("servers = {}", &["value at sinks.cache.servers: `servers` names no server"]),
        (
            "route = 'r'\nservers = { a = 'h', b = 'h:1', c = 'h:0', d = ':1', e = 'h:70000', f = 'a b:1', g = '::1:1', h = 'h:+1' }",
            &[
                "value at sinks.cache.servers.a: expected `host:port`, an IPv6 address in brackets, or `unix:` and the path of a socket file",
                "value at sinks.cache.servers.c: expected `host:port`, an IPv6 address in brackets, or `unix:` and the path of a socket file",
                "value at sinks.cache.servers.d: expected `host:port`, an IPv6 address in brackets, or `unix:` and the path of a socket file",
                "value at sinks.cache.servers.e: expected `host:port`, an IPv6 address in brackets, or `unix:` and the path of a socket file",
                "value at sinks.cache.servers.f: expected `host:port`, an IPv6 address in brackets, or `unix:` and the path of a socket file",
                "value at sinks.cache.servers.g: expected `host:port`, an IPv6 address in brackets, or `unix:` and the path of a socket file",
                "value at sinks.cache.servers.h: expected `host:port`, an IPv6 address in brackets, or `unix:` and the path of a socket file",
            ],
        ),
        ("servers = ['h:1', 'unix:m.sock', 'h:2']", &[]),
        ("servers = []", &["value at sinks.cache.servers: `servers` names no server"]),
        (
            "servers = ['h:1', 'h:2', 'h:1', 'h']",
            &[
                "value at sinks.cache.servers[2]: `h:1` is in the list twice",
                "value at sinks.cache.servers[3]: expected `host:port`, an IPv6 address in brackets, or `unix:` and the path of a socket file",
            ],
        ),
        (
            "servers = ['h:1']\nroute = 'r'",
            &["value at sinks.cache.route: `route` names a server, and the servers of a list have no names"],
        ),
        (
            "servers = ['unix:m.sock']\ntls = true",
            &["value at sinks.cache.servers[0]: a socket file is reached without TLS: name a port, or leave `tls` out"],
        ),
        (
            "servers = ['h:1']\nca = 'a'\nclient_certificate = 'b'",
            &[
                "value at sinks.cache.ca: `ca` has no effect without TLS: write `tls = true`",
                "value at sinks.cache.client_certificate: `client_certificate` has no effect without TLS: write `tls = true`",
                "missing-key at sinks.cache: missing key `client_key`: it goes with `client_certificate`",
            ],
        ),
        (
            "servers = ['h:1']\nusername = 'a b'",
            &[
                "value at sinks.cache.username: memcached knows no user whose name is empty or has a space, a colon or a control character in it",
                "missing-key at sinks.cache: missing key `password`: it goes with `username`",
            ],
        ),
        (
            "servers = ['h:1']\npassword = { env = 'X' }",
            &["missing-key at sinks.cache: missing key `username`: it goes with `password`"],
        ),
        ("servers = ['h:1']\nusername = 'a'\npassword = { env = 'X' }\ntls = true\nca = 'x'", &[]),
        (
            "servers = { a = 'h:1', b = 'h:2' }",
            &["missing-key at sinks.cache: missing key `route`: it picks one of the 2 servers"],
        ),
        (
            "servers = { a = 'h:1' }\nverify = { sample = 0 }\nretry = { timeout = '0s' }\nexpire = '3651d'",
            &[
                "value at sinks.cache.verify.sample: a sample of 0 keys verifies nothing",
                "value at sinks.cache.expire: memcached keeps no value longer than ten years",
                "value at sinks.cache.retry.timeout: nothing is done within a `timeout` of 0",
            ],
        ),
    ] {
        let table = table(&format!("{SOUND}{toml}"));
        let (sound, problems) = with_context(&table, |context| {
            let spec: Spec = context.decode().expect("the table decodes");
            check(&spec, context)
        });
        assert_eq!(problems, expected, "{toml}");
        assert_eq!(sound, expected.is_empty(), "{toml}");
    }
}

#[test]
fn what_is_not_known_yet_is_no_problem() {
    let mut table = table(&format!("{SOUND}servers = {{ a = 'h:1' }}\nverify = {{ sample = 1 }}\nexpire = '1s'"));
    for path in ["servers.a", "verify.sample", "expire"] {
        *table.get_mut(&Path::default().key(path)).expect("it is there") = Value::Unknown;
    }
    let (sound, problems) = with_context(&table, |context| {
        let spec: Spec = context.decode().expect("the table decodes");
        check(&spec, context)
    });
    assert_eq!((sound, problems), (true, vec![]));
}

#[test]
fn unknown_keys_and_words_are_problems() {
    for (toml, expected) in [
        ("ack = 'each'", "unknown-value at sinks.cache.ack: unknown value `each`"),
        ("routes = 'r'", "unknown-key at sinks.cache.routes: unknown key `routes`"),
        ("verify = { samples = 1, sample = 1 }", "unknown-key at sinks.cache.verify.samples: unknown key `samples`"),
    ] {
        let table = table(&format!("{SOUND}{toml}\nservers = {{ a = 'h:1' }}"));
        let (_, problems) = with_context(&table, |context| context.decode::<Spec>().is_some());
        assert_eq!(problems, [expected]);
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let table = table(&format!("{SOUND}servers = {{ only = 'h:1' }}"));
    let (decoded, problems) = with_context(&table, |context| context.decode::<Spec>());
    assert_eq!(problems, [""; 0]);
    let shared = shared(&decoded.expect("the table decodes"));
    assert_eq!((shared.ack, shared.verify, shared.expire, shared.flags), (Ack::Batch, None, 0, 0));
    assert_eq!(shared.max_value_bytes, 1_048_516);
    assert_eq!(
        shared.notes(),
        ["servers only → h:1", "every batch acknowledged", "attempts of 3s, 30s in all, backoff 20ms doubling"]
    );
}

#[test]
fn a_plan_tells_of_every_option() {
    let toml = "route = 'r'\nservers = { b = 'h:2', a = 'h:1' }\nack = 'none'\nverify = { sample = 9 }\nexpire = '90s'
        flags = 7\nmax_value_bytes = '1KiB'\nretry = { attempts = 5, backoff = '1s', timeout = '2s' }";
    let table = table(&format!("{SOUND}{toml}"));
    let (decoded, _) = with_context(&table, |context| context.decode::<Spec>());
    let shared = shared(&decoded.expect("the table decodes"));
    assert_eq!((shared.flags, shared.max_value_bytes, shared.route("a"), shared.route("c")), (7, 1024, Some(1), None));
    let notes = [
        "servers b → h:2, a → h:1",
        "acknowledged once, at the end",
        "5 attempts of 2s, 30s in all, backoff 1s doubling",
        "verify a sample of 9 keys, 99% of them at least",
        "values expire after 1m30s",
    ];
    assert_eq!(shared.notes(), notes);
    let toml = "servers = ['h:1', 'h:2']\ntls = true\nusername = 'boss'\npassword = { env = 'TANGO' }";
    let table = self::table(&format!("{SOUND}{toml}"));
    let (decoded, _) = with_context(&table, |context| context.decode::<Spec>());
    let notes = self::shared(&decoded.expect("the table decodes")).notes();
    assert_eq!(notes[0], "servers h:1, h:2, keys spread over them by ketama");
    assert_eq!(notes[3..], ["with TLS", "user `boss`"]);
}

#[test]
fn types_are_checked() {
    for (toml, expected) in [
        ("key = 'n'\nvalue = 'v'", "type at sinks.cache.key: `key` must be `string`, and this is `int64`"),
        ("key = 'v'\nvalue = 'v'", "type at sinks.cache.key: `key` must be `string`, and this is `binary`"),
        (
            "key = 'k'\nvalue = 'n'",
            "type at sinks.cache.value: `value` must be `binary` or `string`, and this is `int64`",
        ),
        (
            "key = 'k'\nvalue = 'k'\nroute = 'n'",
            "type at sinks.cache.route: `route` must be `string`, and this is `int64`",
        ),
    ] {
        let table = table(&format!("{toml}\nservers = {{ a = 'h:1' }}"));
        let (compiled, problems) = with_context(&table, |context| (KIND.compile)(context).is_some());
        assert_eq!((compiled, &problems[..]), (false, &[expected.to_owned()][..]));
    }
}

#[test]
fn all_mistakes_come_at_once() {
    let table = table("key = 'kk'\nvalue = 'n'\nservers = { a = 'h' }");
    let (_, problems) = with_context(&table, |context| (KIND.compile)(context).is_some());
    let codes: Vec<&str> = problems.iter().filter_map(|problem| problem.split(": ").next()).collect();
    let expected = ["value at sinks.cache.servers.a", "expression at sinks.cache.key", "type at sinks.cache.value"];
    assert_eq!(codes, expected);
}

#[test]
fn an_expression_that_is_not_known_yet_is_only_noted() {
    let mut table = table(&format!("{SOUND}servers = {{ a = 'h:1' }}"));
    *table.get_mut(&Path::default().key("key")).expect("it is there") = Value::Unknown;
    let (compiled, problems) = with_context(&table, |context| (KIND.compile)(context).is_some());
    let expected = "note unchecked at sinks.cache.key: this cannot be checked before its value is known";
    assert_eq!((compiled, &problems[..]), (false, &[expected.to_owned()][..]));
}

#[test]
fn a_compiled_sink_writes_what_its_expressions_say() {
    let server = TestServer::start(&[]);
    let toml = format!(
        "key = \"'k' || (10 % n)\"\nvalue = 'v'\nroute = 'r'\nservers = {{ a = '{}' }}\nverify = {{ sample = 9 }}",
        server.address
    );
    let table = table(&toml);
    let (compiled, problems) = with_context(&table, |context| (KIND.compile)(context));
    let compiled = compiled.unwrap_or_else(|| panic!("{problems:?}"));
    assert_eq!(compiled.output, None);
    assert!(matches!(&compiled.workers, Workers::Keyed(key, 2) if key.to_string().contains("10 % n")));
    assert_eq!(compiled.stage.properties().guarantee, Guarantee::LastWins);

    let mut batch = batch(&[
        (None, Some(b"one"), Some("a")),
        (None, Some(b"two"), Some("a")),
        (None, Some(b"three"), Some("b")),
        (None, Some(b"four"), Some("a")),
    ]);
    let numbers: arrow_array::ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![7, 0, 2, 4]));
    let columns = batch.records.columns().iter().cloned().chain([numbers]);
    let columns = ["k", "v", "r", "n"].into_iter().zip(columns).map(|(name, column)| (name, column, true));
    batch.records = arrow_array::RecordBatch::try_from_iter_with_nullable(columns).expect("columns of equal length");

    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker needs no server yet");
    let written = worker.write(&batch).expect("the sink can go on");
    let rejects: Vec<_> = written.rejects.iter().map(|reject| (reject.code.0, reject.position.record)).collect();
    assert_eq!((written.accepted, rejects), (2, vec![("expression", 2), ("no_route", 3)]));
    assert_eq!((server.get("k3"), server.get("k2")), (Some(b"one".to_vec()), Some(b"four".to_vec())));
    assert_eq!(worker.commit(), Ok(()));
    let verified = compiled.stage.verify().expect("the server answers").expect("the spec asks for it");
    assert_eq!((verified.checked, verified.found), (2, 2));
}

#[test]
fn the_schema_names_every_key() {
    let schema = (KIND.schema)(&mut schemars::SchemaGenerator::default());
    let keys = schema.get("properties").and_then(|keys| keys.as_object()).expect("a table's schema");
    let expected = "key value route servers username password tls ca client_certificate client_key order ack verify retry \
                    expire flags max_value_bytes";
    assert_eq!(keys.keys().map(String::as_str).collect::<Vec<_>>().join(" "), expected);
    assert_eq!(schema.get("required"), Some(&serde_json::json!(["key", "value", "servers"])));
    assert_eq!(schema.get("additionalProperties"), Some(&serde_json::json!(false)));
}

#[test]
fn order_is_kept_unless_it_is_given_up() {
    for (order, guarantee, note) in [
        ("", Guarantee::LastWins, "of rows with equal keys the last one of the input stays"),
        ("order = 'input'", Guarantee::LastWins, "of rows with equal keys the last one of the input stays"),
        ("order = 'any'", Guarantee::AnyOrder, "of rows with equal keys any one may stay"),
    ] {
        let table = table(&format!("{SOUND}{order}\nservers = {{ a = 'h:1' }}"));
        let (compiled, problems) = with_context(&table, |context| (KIND.compile)(context));
        let compiled = compiled.unwrap_or_else(|| panic!("{problems:?}"));
        assert_eq!(compiled.stage.properties().guarantee, guarantee);
        assert_eq!(compiled.notes.last().map(String::as_str), Some(note));
        assert_eq!(matches!(compiled.workers, Workers::Keyed(..)), guarantee == Guarantee::LastWins);
    }
}
