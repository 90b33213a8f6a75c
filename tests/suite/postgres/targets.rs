//! A database that others change between two attempts, that several hosts or roles share, or that is behind a pool.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
};

use super::{KEYED, LOOKUP, NAME, database::Database, fill, job, lines, with};
use crate::{
    running::Running,
    servers::service,
    work::{Work, is_root, until},
};

/// Makes every insert into a table fail, for now, where a condition holds.
fn failing(table: &str, condition: &str) -> String {
    format!(
        "create or replace function fail() returns trigger language plpgsql as $$ begin \
         if {condition} then raise exception 'not now' using errcode = '55000'; end if; return new; end $$; \
         create trigger fail before insert on {table} for each row execute function fail()"
    )
}

/// People out of a table, their ids from another, and the pairs in a third.
fn people(columns: &str) -> String {
    format!(
        "name = 'move'\n[sources.people]\ntype = 'postgres'\nurl = {{ env = 'DATABASE_URL' }}\ntable = 'people'\n\
         columns = [{columns}]\n[sinks.main]\ntype = 'postgres'\ninput = 'people'\nurl = {{ env = 'DATABASE_URL' }}\n\
         table = 't'\ncolumns = ['name']\nreturning = ['pk']\n{LOOKUP}table = 'ids'\ncreate = 'never'\n\
         columns = ['name', 'pk']\n"
    )
}

#[test]
fn rows_that_an_update_moved_keep_their_ids() {
    let database = with(&people("'id int32', 'name string'"), &[]);
    database.ask(
        "create table people (id int primary key, name text); \
         insert into people select i, 'person ' || i % 400 from generate_series(1, 1000) i; \
         create table ids (name text, pk bigint)",
    );
    database.ask(&failing("ids", "true"));
    let ran = database.work.run(&["job.toml"]);
    assert_ne!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(database.ask("select (select count(*) from t), (select count(*) from ids)"), "1000|0");
    database.ask("drop trigger fail on ids; update people set name = name where id % 3 = 0");
    database.ask("vacuum full people");
    let main = database.ask("select pk, name from t order by pk");
    database.work.expect(0, &["job.toml"]);
    assert_eq!(database.ask("select pk, name from t order by pk"), main);
    assert!(database.ask("select pk, name from ids order by pk") == main, "every id is with its name");
}

#[test]
fn rows_that_are_others_are_missed() {
    let changes = [
        "update people set name = 'other' where id = 500",
        "delete from people where id = 1",
        "insert into people values (0, 'one more')",
    ];
    for change in changes {
        let database = with(&people("'id int32', 'name string'"), &[]);
        database.ask(
            "create table people (id int primary key, name text); \
             insert into people select i, 'person ' || i from generate_series(1, 1000) i; \
             create table ids (name text, pk bigint)",
        );
        database.ask(&failing("ids", "true"));
        assert_ne!(database.work.run(&["job.toml"]).code, 0);
        database.ask(&format!("drop trigger fail on ids; {change}"));
        let ran = database.work.expect(66, &["job.toml"]);
        assert!(ran.stderr.contains("split `table `people`` of `people`, which `main` has stored"), "{}", ran.stderr);
        assert_eq!(database.ask("select (select count(*) from t), (select count(*) from ids)"), "1000|0", "{change}");
    }
}

/// A job of several files that has stored those without a bad row.
fn interrupted(sink: &str) -> Database {
    let texts = ["a", "b", "c"].map(|prefix| lines(prefix, 100));
    let database = with(
        &job(NAME, &format!("concurrency = 1\nretry = {{ attempts = 1 }}\n{sink}")),
        &[&texts[0], &texts[1], &format!("{}bad\n", texts[2])],
    );
    database.ask("create table t (name text)");
    database.ask(&failing("t", "new.name = 'bad'"));
    let ran = database.work.run(&["job.toml"]);
    assert_ne!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(database.ask("select count(*) from t"), "200", "{}", ran.stderr);
    database.ask("drop trigger fail on t");
    database
}

#[test]
fn a_table_that_is_gone_empty_or_another_is_missed() {
    let cases = [
        ("drop table t", "which is gone"),
        ("truncate t", "which is empty"),
        ("drop table t; create table t (name text); insert into t values ('x')", "which is another one of that name"),
        ("drop table _runner_receipts", "knows nothing of it"),
    ];
    for (change, words) in cases {
        let database = interrupted("");
        database.ask(change);
        let ran = database.work.expect(78, &["job.toml"]);
        assert!(ran.stderr.contains(words), "{change}: {}", ran.stderr);
        database.ask("create table if not exists t (name text)");
        database.work.expect(0, &["job.toml", "--fresh"]);
    }
    // In another database of the same server there is nothing, either.
    let database = interrupted("");
    let other = format!("other_{}", database.schema);
    database.ask(&format!("create database {other}"));
    let url = database.url();
    let url = url.replacen("/runner?", &format!("/{other}?"), 1);
    let mut command = database.work.command(&["job.toml"]);
    let output = command.env("DATABASE_URL", url).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    database.ask(&format!("drop database {other}"));
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("database `runner`") && said.contains(&format!("database `{other}`")), "{said}");
    // A table that was restored from before the last split was stored, with its receipts.
    let database = interrupted("");
    database.ask("delete from t where name like 'b%'");
    let key = "(select split from _runner_receipts where split <> '' order by xmin::text::bigint desc limit 1)";
    database.ask(&format!("delete from _runner_receipts where split = {key}"));
    let ran = database.work.expect(0, &["job.toml"]);
    assert!(ran.stderr.contains("1 splits that were stored are not there any more"), "{}", ran.stderr);
    assert_eq!(database.ask("select count(*), count(distinct name) from t"), "301|301");
}

#[test]
fn a_run_of_another_host_is_waited_for_then_adopted_and_its_zombie_stopped() {
    let texts = ["a", "b", "c"].map(|prefix| lines(prefix, 100));
    let database = with(&job(NAME, "concurrency = 1"), &texts.each_ref().map(String::as_str));
    // The second split waits for a lock that somebody else holds.
    database.ask(
        "create table t (name text); create function wait() returns trigger language plpgsql as $$ begin \
         if new.name = 'b50' then perform pg_advisory_xact_lock_shared(4711); end if; return new; end $$; \
         create trigger wait before insert on t for each row execute function wait()",
    );
    let mut gate = Command::new(std::path::PathBuf::from(service("POSTGRES_BIN")).join("psql"));
    gate.args([&database.url(), "-AtqX"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut gate: Child = gate.spawn().unwrap();
    let mut orders = gate.stdin.take().unwrap();
    std::io::Write::write_all(&mut orders, b"begin; select pg_advisory_xact_lock(4711);\n").unwrap();
    until("the gate is shut", || {
        database.ask("select count(*) from pg_locks where locktype = 'advisory' and granted and objid = 4711") == "1"
    });
    let zombie = Running::start(&database.work, &["job.toml"]);
    until("the first split is stored", || database.ask("select count(*) from t") == "100");
    let elsewhere = ["job.toml", "--set", "state.path=elsewhere", "--set", "rejects.path=elsewhere.ndjson"];
    let ran = database.work.expect(75, &elsewhere);
    assert!(ran.stderr.contains("is under way elsewhere: it was heard of "), "{}", ran.stderr);
    let ran = database.work.expect(75, &[&elsewhere[..], &["--adopt"]].concat());
    assert!(ran.stderr.contains("is under way elsewhere"), "{}", ran.stderr);
    zombie.signal("STOP");
    database.ask("update _runner_receipts set beat = beat - interval '100 s' where split = ''");
    let ran = database.work.expect(78, &elsewhere);
    assert!(ran.stderr.contains("`--adopt` resumes it"), "{}", ran.stderr);
    drop(orders);
    gate.wait().unwrap();
    database.work.expect(0, &[&elsewhere[..], &["--adopt"]].concat());
    zombie.signal("CONT");
    let ran = zombie.end();
    assert_ne!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(database.ask("select count(*), count(distinct name) from t"), "300|300", "{}", ran.stderr);
    assert_eq!(database.ask("select to_regclass('_runner_receipts') is null"), "t");
}

#[test]
fn a_zombie_is_stopped_at_its_next_commit() {
    let database = with(&job(KEYED, "concurrency = 1"), &["1\ta\n"]);
    database.ask("create table t (k bigint, v text); create table gate (n int)");
    // What another host does when it takes the run over, done while the split is under way.
    database.ask(
        "create function rob() returns trigger language plpgsql as $$ begin \
         update _runner_receipts set owner = 'another' where split = ''; return null; end $$; \
         create trigger rob after insert on t for each statement execute function rob()",
    );
    let ran = database.work.expect(75, &["job.toml"]);
    assert!(ran.stderr.contains("was taken over by another process"), "{}", ran.stderr);
    assert_eq!(database.ask("select count(*) from t"), "0");
}

#[test]
fn another_role_keeps_receipts_of_its_own() {
    let database = interrupted("");
    let (schema, role) = (&database.schema, format!("second_{}", database.schema));
    database.ask(&format!(
        "create role {role} login; grant all on schema {schema} to {role}; grant all on t to {role}; \
         create table u (name text); alter table u owner to {role}"
    ));
    let url = format!("postgres://{role}@{}?options=-c%20search_path%3D{schema}", database.address());
    database.work.file("second.toml", job(NAME, "create = 'never'").replace("name = 'job'", "name = 'second'"));
    database.work.file("second.toml", database.work.read("second.toml").replace("table = 't'", "table = 'u'"));
    let own = format!("\"_runner_receipts_{role}\"");
    database.ask(&failing("u", "new.name = 'bad'"));
    let run = |code: i32| {
        let output = database.work.command(&["second.toml"]).env("DATABASE_URL", &url).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code() == Some(0), code == 0, "{said}");
    };
    run(1);
    assert_eq!(database.ask(&format!("select to_regclass('{own}') is not null")), "t");
    let granted = "select count(*) from information_schema.role_table_grants where grantee = 'PUBLIC' \
                   and table_name like '\\_runner%'";
    assert_eq!(database.ask(granted), "0");
    database.ask("drop trigger fail on u");
    // The other's table goes meanwhile: the run is found again all the same.
    database.work.expect(0, &["job.toml"]);
    run(0);
    assert_eq!(database.ask("select count(*), count(distinct name) from u"), "301|301");
    assert_eq!(database.ask(&format!("select to_regclass('{own}') is null")), "t");
    database.ask(&format!("drop owned by {role}; drop role {role}"));
}

#[test]
fn receipts_are_kept_where_the_spec_says() {
    let database = Database::new();
    let schema = format!("ops_{}", database.schema);
    database.ask(&format!("create schema {schema}"));
    let database = {
        drop(database);
        let database = interrupted(&format!("receipts = {{ schema = '{schema}', table = 'Kept' }}"));
        assert_eq!(database.ask(&format!("select count(distinct split) from {schema}.\"Kept\"")), "3");
        database
    };
    assert_eq!(database.ask("select to_regclass('_runner_receipts') is null"), "t");
    database.work.expect(0, &["job.toml"]);
    assert_eq!(database.ask("select count(*), count(distinct name) from t"), "301|301");
    assert_eq!(database.ask(&format!("select to_regclass('{schema}.\"Kept\"') is null")), "t");
    database.ask(&format!("drop schema {schema} cascade"));
    let database = interrupted("receipts = 'none'");
    assert_eq!(database.ask("select to_regclass('_runner_receipts') is null"), "t");
    database.work.expect(0, &["job.toml"]);
    assert_eq!(database.ask("select count(*), count(distinct name) from t"), "301|301");
}

#[test]
fn a_table_that_grows_is_read_in_the_ranges_that_the_run_began_with() {
    let job = "name = 'ev'\n[sources.s]\ntype = 'postgres'\nurl = { env = 'DATABASE_URL' }\ntable = 'ev'\nkey = 'id'\n\
               split_rows = 100\ncolumns = ['id int64', 'v string']\nconcurrency = 1\n\
               [sinks.d]\ntype = 'postgres'\ninput = 's'\nurl = { env = 'DATABASE_URL' }\ntable = 'ev2'\ncreate = 'never'\n\
               concurrency = 1\n";
    let database = with(job, &[]);
    database.ask(
        "create table ev (id bigint primary key, v text); create table ev2 (id bigint, v text); \
         insert into ev select i, 'x' from generate_series(1, 1000) i where i <> 950",
    );
    database.ask(&failing("ev2", "new.id = 901"));
    assert_ne!(database.work.run(&["job.toml"]).code, 0);
    let stored: usize = database.ask("select count(*) from ev2").parse().unwrap();
    assert!((100..1000).contains(&stored), "{stored}");
    // One beyond all ranges, one in a range that was read, one in a range that was not.
    database.ask("drop trigger fail on ev2; insert into ev values (1001, 'new'), (-7, 'new'), (950, 'new')");
    database.work.expect(0, &["job.toml"]);
    assert_eq!(database.ask("select count(*), count(distinct id), max(id), min(id) from ev2"), "1000|1000|1000|1");
    database.ask("truncate ev2");
    database.work.expect(0, &["job.toml"]);
    assert_eq!(database.ask("select count(*), max(id), min(id) from ev2"), "1002|1001|-7");
}

/// A pool that hands every transaction to whichever of its connections is free.
pub struct Pool {
    child: Child,
    _folder: Work,
    pub url: String,
}

impl Pool {
    pub fn before(database: &Database, connections: usize) -> Pool {
        let folder = Work::new();
        fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o777)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = database.address();
        let (place, name) = address.split_once('/').unwrap();
        let (host, server) = place.split_once(':').unwrap();
        folder.file(
            "pool.ini",
            format!(
                "[databases]\n{name} = host={host} port={server} dbname={name} user=runner\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
                 pool_mode = transaction\ndefault_pool_size = {connections}\nserver_reset_query =\n\
                 server_round_robin = 1\n"
            ),
        );
        fs::set_permissions(folder.path("pool.ini"), fs::Permissions::from_mode(0o644)).unwrap();
        let mut command = Command::new("setpriv");
        if is_root() {
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        }
        command.args(["--pdeathsig", "TERM", "--", &service("PGBOUNCER"), "-q"]).arg(folder.path("pool.ini"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let url = format!("postgres://runner@127.0.0.1:{port}/{name}");
        until("the pool answers", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Pool { child, _folder: folder, url }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What reads holds its transaction while what writes wants one, and the pool has one connection.
#[test]
fn a_pool_that_is_too_small_is_named() {
    let database = Database::new();
    let pool = Pool::before(&database, 1);
    let schema = &database.schema;
    database.ask("create table w (id bigint); insert into w select * from generate_series(1, 50000)");
    database.work.file(
        "job.toml",
        format!(
            "name = 'job'\n[sources.s]\ntype = 'postgres'\nurl = {{ env = 'DATABASE_URL' }}\ntable = '{schema}.w'\n\
             columns = ['id int64']\nbatch = {{ rows = 100 }}\n\
             [sinks.t]\nqueue = 1\ntype = 'postgres'\ninput = 's'\nurl = {{ env = 'DATABASE_URL' }}\n\
             table = '{schema}.t'\nstatement_timeout = '1s'\nretry = {{ attempts = 2, backoff = '10ms' }}\n"
        ),
    );
    let mut command = database.work.command(&["job.toml"]);
    let output = command.env("DATABASE_URL", &pool.url).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("a pool before the server may have no connection free"), "{said}");
}

#[test]
fn a_pool_of_transactions_may_stand_between() {
    let database = Database::new();
    let pool = Pool::before(&database, 3);
    let schema = &database.schema;
    let texts = ["a", "b", "c", "d"].map(|prefix| lines(prefix, 500));
    let ways = [
        ("", "t"),
        ("method = 'insert'", "u"),
        ("mode = 'upsert'\nconflict = ['name']\nconcurrency = 2", "v"),
        ("returning = ['id']", "w"),
    ];
    // A type that the client has to ask the server about.
    database.ask(&format!("create domain {schema}.word as text; create type {schema}.mood as enum ('a0', 'b0')"));
    for (keys, table) in ways {
        let text = job(NAME, &format!("{keys}\nbatch = {{ rows = 100 }}"))
            .replace("table = 't'", &format!("table = '{schema}.{table}'"));
        fill(&database, &text, &texts.each_ref().map(String::as_str));
        let mut command = database.work.command(&["job.toml"]);
        let output = command.env("DATABASE_URL", &pool.url).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{keys}: {said}");
        assert_eq!(database.ask(&format!("select count(*), count(distinct name) from {table}")), "2000|2000", "{keys}");
    }
    database.ask("create table x (name word, m mood); insert into x select 'n', 'a0' from generate_series(1, 50)");
    let back = format!(
        "name = 'back'\n[sources.s]\ntype = 'postgres'\nurl = {{ env = 'DATABASE_URL' }}\ntable = '{schema}.w'\n\
         key = 'id'\nsplit_rows = 100\ncolumns = ['id int64', 'name string']\nconcurrency = 3\n\
         [sinks.f]\ntype = 'files'\ninput = 's'\npath = 'back.tsv'\nformat = 'tsv'\n"
    );
    database.work.file("back.toml", back);
    let mut command = database.work.command(&["back.toml"]);
    let output = command.env("DATABASE_URL", &pool.url).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(database.work.read("back.tsv").lines().count(), 2000);
    // What values mean was set for our transactions alone.
    let shown = "select distinct setting from pg_settings where name = 'extra_float_digits'";
    let psql = std::path::PathBuf::from(service("POSTGRES_BIN")).join("psql");
    let output = Command::new(psql).args([&pool.url, "-AtqX", "-c", shown]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), database.ask(shown));
}
