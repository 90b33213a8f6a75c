//! Passwords with any characters, in each place where a job has one: whatever goes well or wrong, nothing that the
//! program prints or writes has them.

use crate::{
    postgres::Database,
    servers::nobody,
    work::{Ran, Work},
};

/// What each of the passwords has in it, also where it is cut at a character that means something in a URL.
const CANARY: &str = "nary";

const PASSWORDS: [&str; 12] = [
    "canary",
    "ca@nary",
    "ca:nary",
    "ca/nary",
    "ca#nary",
    "ca%nary",
    "ca%41nary",
    "ca?nary=1&x=nary",
    "ca\\nary",
    "ca\"nary",
    "ca'nary nary",
    "ca[nary]{nary}$nary",
];

/// The other half of a URL of that user, as whoever does not know of escapes writes it.
fn raw(password: &str, at: &str) -> String {
    format!("postgres://boss:{password}@{at}")
}

/// The same, as it should be written.
fn escaped(password: &str, at: &str) -> String {
    let all: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
    raw(&all, at)
}

/// A job that reads a table, and writes it to another and to a file.
fn job(url: &str) -> String {
    format!(
        "name = 'copy'\n[limits]\nrejects = '100%'\n[rejects]\npath = 'rejects.ndjson'\n\
         [sources.t]\ntype = 'postgres'\nurl = {url}\ntable = 't'\ncolumns = ['n int8']\nretry = {{ attempts = 2, backoff = '1ms', timeout = '2s' }}\n\
         [sinks.u]\ntype = 'postgres'\ninput = 't'\nurl = {url}\ntable = 'u'\nretry = {{ attempts = 2, backoff = '1ms', timeout = '2s' }}\n\
         [sinks.file]\ntype = 'files'\ninput = 't'\npath = 'out.ndjson'\nformat = 'ndjson'\n"
    )
}

/// Every way in which a job is looked at or run.
const COMMANDS: [&[&str]; 9] = [
    &["check", "job.toml"],
    &["check", "job.toml", "--format", "json"],
    &["plan", "job.toml"],
    &["plan", "job.toml", "--format", "json"],
    &["preview", "job.toml"],
    &["job.toml", "--dry-run"],
    &["job.toml", "--format", "json"],
    &["job.toml", "--log-format", "json", "--fresh"],
    &["status", "job.toml"],
];

/// Fails where the secret stands in what was printed, or in a file of the folder but these.
fn is_silent(work: &Work, ran: &Ran, except: &[&str], what: &str) {
    let all = format!("{}{}{}", ran.stdout, ran.stderr, work.texts(except));
    if let Some(at) = all.find(CANARY) {
        let start = all.floor_char_boundary(at.saturating_sub(300));
        panic!("{what}: {}", &all[start..all.ceil_char_boundary(at + 100)]);
    }
}

#[test]
fn a_url_of_the_environment_is_shown_nowhere_whether_it_can_be_used_or_not() {
    let down = format!("{}/d", nobody());
    let mut seen = 0;
    for (first, password) in PASSWORDS.into_iter().enumerate() {
        let urls = [raw(password, &down), escaped(password, &down), raw(password, "h:port/d"), password.to_owned()];
        for (at, url) in urls.into_iter().enumerate() {
            // In a variable, in a file, and put into the text of the spec by its name: in turn.
            let secret = Work::new().env("DB", &url);
            secret.file("job.toml", job("{ env = 'DB' }"));
            secret.file("secret", &url);
            let file = Work::new();
            file.file("job.toml", job("{ file = 'secret' }"));
            file.file("secret", &url);
            let text = Work::new().env("DB", &url);
            text.file("job.toml", job("'${DB}'"));
            let work = [secret, file, text].into_iter().nth((first + at) % 3).unwrap();
            for args in COMMANDS {
                let ran = work.run(args);
                is_silent(&work, &ran, &["secret"], &format!("{url:?}, {args:?}"));
                seen += usize::from(ran.code != 0);
            }
        }
    }
    assert!(seen > PASSWORDS.len() * 4 * 4, "most of these commands fail, and say why: {seen}");
}

#[test]
fn a_password_that_opens_a_database_is_shown_nowhere_either() {
    let database = Database::new();
    let at = database.address();
    let role = format!("boss_{}", database.schema);
    database.ask(&format!("create role {role} login; grant all on schema {} to {role}", database.schema));
    database.ask("create table t (n int); insert into t values (1), (2), (300)");
    database.ask(&format!("grant all on table t to {role}"));
    for password in PASSWORDS {
        database.ask(&format!("alter role {role} password '{}'", password.replace('\'', "''")));
        let search = format!("options=-c%20search_path%3D{}", database.schema);
        let url = escaped(password, &format!("{at}?{search}")).replace("boss", &role);
        let work = Work::new().env("DB", &url);
        work.file("job.toml", job("{ env = 'DB' }"));
        for (args, code) in [(&COMMANDS[4], 0), (&COMMANDS[5], 0), (&COMMANDS[6], 0)] {
            let ran = work.expect(code, args);
            is_silent(&work, &ran, &[], &format!("{password:?}, {args:?}"));
        }
        assert_eq!(database.ask("select count(*) from u; drop table u"), "2", "{password:?}");
        // What is asked for is not there, so the server is quoted.
        let ran = work.expect(66, &["job.toml", "--set", "sources.t.table=nosuch", "--fresh"]);
        is_silent(&work, &ran, &[], &format!("{password:?}, no table"));
    }
    database.ask(&format!("drop owned by {role}; drop role {role}"));
}

#[test]
fn keys_and_passwords_of_other_servers_are_shown_nowhere() {
    const JOB: &str = "name = 'other'\n[sources.s]\ntype = 'btrdb'\nendpoint = 'AT'\napi_key = { env = 'KEY' }\nuuids = []\n\
                       from = '2024-01-01T00:00:00Z'\nto = '2024-01-02T00:00:00Z'\nretry = { attempts = 1, timeout = '1s' }\n\
                       [sinks.c]\ntype = 'memcached'\ninput = 's'\nservers = ['AT']\nusername = 'boss'\n\
                       password = { env = 'KEY' }\nkey = 'uuid'\nvalue = 'uuid'\nretry = { attempts = 1, timeout = '1s' }\n";
    for password in PASSWORDS {
        let work = Work::new().env("KEY", password);
        work.file("job.toml", JOB.replace("AT", &nobody()));
        for args in COMMANDS {
            let ran = work.run(args);
            is_silent(&work, &ran, &[], &format!("{password:?}, {args:?}"));
        }
    }
}
