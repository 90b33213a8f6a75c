//! Servers that fail: what heals is tried again, what does not is told, and nothing is half stored.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{
    KEYED, LOOKUP, NAME,
    database::{Database, Server},
    fill, job, lines, reading, rows,
};
use crate::{running::Running, servers::service, work::until};

/// A table that fails as often as its sequence is asked before it says 3, with this code.
fn failing(code: &str) -> String {
    format!(
        "create table t (k bigint, v text); create sequence tries; \
         create function fail() returns trigger language plpgsql as $$ begin \
         if new.v = 'bad' and nextval('tries') < 3 then raise exception 'not now' using errcode = '{code}'; end if; \
         return new; end $$; create trigger fail before insert on t for each row execute function fail()"
    )
}

#[test]
fn a_transaction_that_was_lost_is_done_again() {
    // The bad row is in the third batch: the two before it must be written again.
    let text = "1\ta\n2\tb\n3\tc\n4\td\n5\tbad\n";
    for code in ["40001", "40P01"] {
        for (attempts, exit, stored) in [(3, 0, "5|5"), (2, 69, "0|0")] {
            let keys = format!(
                "create = 'never'\nbatch = {{ rows = 2 }}\nretry = {{ attempts = {attempts}, backoff = '1ms' }}"
            );
            let database = Database::new();
            fill(&database, &job(KEYED, &keys), &[text]);
            database.ask(&failing(code));
            let ran = database.work.expect(exit, &["job.toml"]);
            assert_eq!(database.ask("select count(*), count(distinct k) from t"), stored, "{}", ran.stderr);
            if exit == 69 {
                assert!(ran.stderr.contains("given up after 2 attempts: not now"), "{}", ran.stderr);
            }
        }
    }
}

#[test]
fn ids_that_others_know_are_not_given_twice() {
    let keys = "create = 'never'\nreturning = ['k']\nretry = { attempts = 9, backoff = '1ms' }\n";
    let job = job(KEYED, keys) + LOOKUP + "table = 'reference'\n";
    let database = Database::new();
    // In the first batch nothing is known to others yet; later it is.
    fill(&database, &job, &["1\tbad\n2\tb\n"]);
    database.ask(&failing("40001"));
    database.work.expect(0, &["job.toml"]);
    assert_eq!(database.list("select k from t order by k"), "1,2");
    assert_eq!(database.list("select k from reference order by k"), "1,2");
    database.ask("truncate t, reference; alter sequence tries restart");
    database.work.file("in/0.tsv", "1\ta\n2\tbad\n");
    let small = ["job.toml", "--set", "sources.rows.batch.rows=1"];
    let report = database.work.report(69, &small);
    assert_eq!(database.ask("select count(*) from t") + &database.ask("select count(*) from reference"), "00");
    assert_eq!(rows(&report, "lookup")[1], 0);
    let said = report.to_string();
    assert!(said.contains("its ids are known to others; 1 rows of split number 0 are not stored"), "{said}");
}

/// A table on which a row `slow` waits for the lock of another session.
const SLOW: &str = "create table t (name text); create table gate (n int); \
    create function wait() returns trigger language plpgsql as $$ begin \
    if new.name = 'slow' then perform * from gate for update; end if; return new; end $$; \
    create trigger wait before insert on t for each row execute function wait(); insert into gate values (1)";

/// Holds the gate until it is dropped.
struct Gate(Child);

impl Gate {
    fn shut(database: &Database) -> Gate {
        // The session is idle from then on, so that it ends with its client.
        let program = service("POSTGRES_BIN") + "/psql";
        let mut command = Command::new(program);
        command.args([&database.url(), "-X"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut gate = Gate(command.spawn().unwrap());
        let stdin = gate.0.stdin.as_mut().unwrap();
        stdin.write_all(b"begin; select * from gate for update;\n").unwrap();
        until("the gate is shut", || {
            database.ask("select 1 from pg_locks where relation = 'gate'::regclass limit 1") == "1"
        });
        gate
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a row stands before the gate.
fn until_slow(database: &Database) {
    let waiting = "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'runner' \
                   and query like '%' || current_schema || '%' or wait_event_type = 'Lock' and application_name = 'runner'";
    until("a row waits", || database.ask(waiting) == "t");
}

#[test]
fn a_server_that_dies_in_mid_run_leaves_whole_splits_or_nothing() {
    let mut server = Server::start();
    let database = Database::on(&server.url());
    let keys = "create = 'never'\nbatch = { rows = 100 }\nconcurrency = 1\nretry = { attempts = 2, backoff = '1ms', timeout = '1s' }";
    let slow = lines("b", 250) + "slow\n";
    fill(&database, &job(NAME, keys), &[&lines("a", 300), &slow, &lines("c", 300)]);
    database.ask(SLOW);
    let gate = Gate::shut(&database);
    let running = Running::start(&database.work, &["job.toml"]);
    until_slow(&database);
    server.kill();
    let ran = running.end();
    assert_eq!(ran.code, 69, "{}", ran.stderr);
    assert!(ran.stderr.contains("given up after 2 attempts"), "{}", ran.stderr);
    drop(gate);
    server.resume();
    assert_eq!(database.ask("select count(*), count(*) filter (where name like 'a%') from t"), "300|300");
    // The same command again writes what the first attempt did not store, and nothing twice.
    let ran = database.work.expect(0, &["job.toml"]);
    assert!(ran.stderr.contains(": 1 of 3 splits were done"), "{}", ran.stderr);
    assert_eq!(database.ask("select count(*), count(distinct name) from t"), "851|851");
    assert_eq!(database.ask("select to_regclass('_runner_receipts') is null"), "t");
}

#[test]
fn a_server_that_comes_back_gets_every_row_once() {
    let mut server = Server::start();
    let database = Database::on(&server.url());
    let keys = "create = 'never'\nbatch = { rows = 100 }\nretry = { attempts = 60, backoff = '20ms', timeout = '1s' }";
    fill(&database, &job(NAME, keys), &[&(lines("b", 250) + "slow\n"), &lines("c", 300)]);
    database.ask(SLOW);
    let gate = Gate::shut(&database);
    let running = Running::start(&database.work, &["job.toml"]);
    until_slow(&database);
    server.kill();
    drop(gate);
    // Meanwhile it is asked in vain.
    thread::sleep(Duration::from_millis(500));
    server.resume();
    let ran = running.end();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(database.ask("select count(*), count(distinct name) from t"), "551|551");
}

#[test]
fn a_lock_is_waited_for_no_longer_than_a_statement_may_take() {
    let keys = "create = 'never'\nstatement_timeout = '200ms'\nretry = { attempts = 2, backoff = '1ms' }";
    let database = Database::new();
    fill(&database, &job(NAME, keys), &["a\nslow\n"]);
    database.ask(SLOW);
    let gate = Gate::shut(&database);
    let ran = database.work.expect(69, &["job.toml"]);
    assert!(
        ran.stderr.contains("given up after 2 attempts: canceling statement due to statement timeout"),
        "{}",
        ran.stderr
    );
    drop(gate);
    assert_eq!(database.ask("select count(*) from t"), "0");
    database.work.file(
        "job.toml",
        reading("query = 'select pg_sleep(60)::text as s'\ncolumns = ['s string']\nstatement_timeout = '200ms'"),
    );
    let ran = database.work.expect(69, &["job.toml"]);
    assert!(ran.stderr.contains("canceling statement due to statement timeout"), "{}", ran.stderr);
}

/// Stands before a server and hangs up once COMMIT has gone by, before its answer.
fn hangs_up_at_commit(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, server) = (listener.local_addr().unwrap().to_string(), server.to_owned());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let behind = TcpStream::connect(&server).unwrap();
            thread::spawn(move || forward(client, behind));
        }
    });
    address
}

fn forward(mut client: TcpStream, mut server: TcpStream) -> Option<()> {
    let (mut back, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || std::io::copy(&mut back, &mut to));
    let mut bytes = vec![0; 1 << 16];
    loop {
        let len = client.read(&mut bytes).ok()?;
        if bytes[..len].windows(6).any(|part| part == b"commit") {
            let _ = client.shutdown(Shutdown::Both);
            server.write_all(&bytes[..len]).ok()?;
            // The server takes what it was sent before it sees the end.
            let _ = server.shutdown(Shutdown::Write);
            return None;
        }
        if len == 0 {
            let _ = server.shutdown(Shutdown::Both);
            return None;
        }
        server.write_all(&bytes[..len]).ok()?;
    }
}

#[test]
fn an_unknown_outcome_is_known_by_the_receipt_and_else_neither_stored_nor_done_again() {
    let database = Database::new();
    fill(&database, &job(NAME, "create = 'never'\nretry = { attempts = 9, backoff = '1ms' }"), &["a\nb\n"]);
    database.ask("create table t (name text)");
    let url = database.url();
    let server = url.split(['@', '/']).nth(3).unwrap().to_owned();
    let url = url.replace(&server, &hangs_up_at_commit(&server));
    let run = |more: &[&str]| {
        let args = [&["job.toml", "--format", "json"], more].concat();
        database.work.command(&args).env("DATABASE_URL", &url).output().unwrap()
    };
    assert_eq!(run(&[]).status.code(), Some(0));
    assert_eq!(database.ask("select count(*) from t"), "2", "it was committed, and not done again");
    database.ask("truncate t");
    let url = database.url().replace(&server, &hangs_up_at_commit(&server));
    let args = ["job.toml", "--format", "json", "--no-ledger"];
    let output = database.work.command(&args).env("DATABASE_URL", url).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows(&report, "main")[1], 0);
    let said = report.to_string();
    assert!(
        said.contains("the outcome of COMMIT is unknown, so 2 rows of split number 0 may or may not be stored"),
        "{said}"
    );
    until("the server has committed, once", || database.ask("select count(*) from t") == "2");
}
