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

#[test]
fn mistakes_are_found_offline() {
    let cases = [
        ("table = 't'", "columns = ['a int64']", "missing key `url`"),
        ("url = 'postgres://u:tango@h/d'", "table = 't'\ncolumns = ['a int64']", "a password does not belong"),
        ("url = 'postgres://u@h/d?sslmode=require'", "table = 't'\ncolumns = ['a int64']", "TLS is not built in"),
        ("url = 'http://h'", "table = 't'\ncolumns = ['a int64']", "expected `postgres://"),
        ("url = { env = 'A' }", "columns = ['a int64']", "missing key `table`, or `query`"),
        ("url = { env = 'A' }", "table = 't'\nquery = 'select 1'\ncolumns = ['a int64']", "exclude each other"),
        ("url = { env = 'A' }", "query = ' ; '\ncolumns = ['a int64']", "the query is empty"),
        ("url = { env = 'A' }", "table = 'a.b.c'\ncolumns = ['a int64']", "is not a table"),
        ("url = { env = 'A' }", "table = 't'\ncolumns = []", "no column is declared"),
        ("url = { env = 'A' }", "table = 't'\ncolumns = ['a list<list<int8>>']", "declare it as `json`"),
        (
            "url = { env = 'A' }",
            "table = 't'\ncolumns = [{ name = 'a', type = 'list<int8>', separator = ';' }]",
            "an array has no `separator`",
        ),
        ("url = { env = 'A' }", "table = 't'\ncolumns = ['a int64']\nsplit_rows = 5", "no effect without a `key`"),
        ("url = { env = 'A' }", "table = 't'\ncolumns = ['a int64']\nkey = 'a'\nsplit_rows = 0", "at least one row"),
        ("url = { env = 'A' }", "table = 't'\ncolumns = ['a int64']\nkey = ''", "an identifier is empty"),
        ("url = { env = 'A' }", "table = 't'\ncolumns = ['a int64']\nstatement_timeout = '0s'", "of 0"),
        ("url = { env = 'A' }", "table = 't'\ncolumns = ['a int64']\nretry = { timeout = '0s' }", "of 0"),
    ];
    for (url, rest, message) in cases {
        let problems = compiled(&format!("{url}\n{rest}")).err().unwrap_or_default();
        assert!(problems.iter().any(|found| found.contains(message)), "{url} {rest}: {problems:?}");
        assert!(!problems.iter().any(|found| found.contains("tango")), "{problems:?}");
    }
}

#[test]
fn the_plan_says_how_it_reads() {
    let toml = "url = { env = 'A' }\ntable = 'public.t'\ncolumns = ['a int64']\nkey = 'a'";
    let notes = compiled(toml).map(|compiled| compiled.notes).unwrap();
    let expected = [
        "server from the variable `A`",
        "table `public.t`, splits of about 100000 rows by `a`",
        "one connection per worker",
        "rows with equal `a` may come in another order when they are read again",
    ];
    assert_eq!(notes, expected);
}
