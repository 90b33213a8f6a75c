//! Targets that are not what an interrupted run left, and state that was lost: the run says so, or ends as if nothing
//! had happened, and no row is there twice. With SQLite files, which any test can look into and change.

use std::fs;

use crate::work::Work;

/// Numbers from files, each row with an id of the database's, and the pairs in another file.
const JOB: &str = "name = 'job'\n[rejects]\npath = 'out/rejects.ndjson'\n[limits]\nrejects = '40%'\n\
    [sources.rows]\ntype = 'files'\npath = 'in/*.tsv'\nformat = 'tsv'\ncolumns = ['n int64']\nconcurrency = 1\n\
    [sinks.table]\ntype = 'sqlite'\ninput = 'rows'\ndatabase = 'out/t.db'\ntable = 't'\n";

/// What makes the interrupted job end well.
const REST: [&str; 3] = ["job.toml", "--set", "limits.rejects=90%"];

/// A run that has stored the first of three files; the second has too many rejects.
fn interrupted(job: &str) -> Work {
    let work = Work::new();
    work.file("job.toml", job);
    work.file("in/0.tsv", "1\n2\n");
    work.file("in/1.tsv", "x\nx\nx\n");
    work.file("in/2.tsv", "3\n");
    work.expect(65, &["job.toml"]);
    work
}

fn run_sql(work: &Work, sql: &str) {
    rusqlite::Connection::open(work.path("out/t.db")).unwrap().execute_batch(sql).unwrap();
}

fn numbers(work: &Work) -> Vec<i64> {
    let connection = rusqlite::Connection::open(work.path("out/t.db")).unwrap();
    let mut rows = connection.prepare("select n from t order by n").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Names of what runner keeps in the database for itself.
fn own_tables(work: &Work) -> i64 {
    let connection = rusqlite::Connection::open(work.path("out/t.db")).unwrap();
    let sql = "select count(*) from sqlite_schema where type = 'table' and name like '\\_runner%' escape '\\'";
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_was_stored_and_is_gone_is_missed() {
    type Change<'a> = &'a dyn Fn(&Work);
    let changes: [(Change<'_>, &str); 4] = [
        (
            &|work| {
                for name in work.list("out").iter().filter(|name| name.starts_with("t.db")) {
                    fs::remove_file(work.path("out").join(name)).unwrap();
                }
            },
            "knows nothing of it",
        ),
        (&|work| run_sql(work, "drop table t"), "in table `t`, which is gone"),
        (&|work| run_sql(work, "delete from t"), "in table `t`, which is empty"),
        (&|work| run_sql(work, "drop table _runner_receipts"), "knows nothing of it"),
    ];
    for (change, words) in changes {
        let work = interrupted(JOB);
        change(&work);
        let ran = work.expect(78, &REST);
        assert!(ran.stderr.contains(words) && ran.stderr.contains("t.db"), "{words}: {}", ran.stderr);
        work.expect(0, &[&REST[..], &["--fresh"]].concat());
    }
}

#[test]
fn a_split_that_the_target_has_lost_is_sent_again() {
    // As if the database had been restored from before it was stored: rows and receipt are gone together.
    let work = interrupted(JOB);
    let before = numbers(&work);
    assert!(before.starts_with(&[1, 2]), "{before:?}");
    run_sql(
        &work,
        "insert into t values (0); delete from t where n > 0; delete from _runner_receipts where split <> ''",
    );
    let ran = work.expect(0, &REST);
    assert!(ran.stderr.contains("are not there any more: they are sent again"), "{}", ran.stderr);
    assert_eq!(numbers(&work), [0, 1, 2, 3]);
    assert_eq!(own_tables(&work), 0);
    // Where the input is gone too there is nothing to send.
    let work =
        interrupted(&JOB.replace("concurrency = 1\n", "concurrency = 1\ndone = 'delete'\n").replace("'40%'", "2"));
    assert!(!work.path("in/0.tsv").exists());
    run_sql(
        &work,
        "insert into t values (0); delete from t where n > 0; delete from _runner_receipts where split <> ''",
    );
    let ran = work.expect(78, &REST);
    assert!(ran.stderr.contains("split `in/0.tsv` of `rows` was stored"), "{}", ran.stderr);
}

#[test]
fn from_another_directory_it_is_another_file() {
    let work = interrupted(JOB);
    work.file("elsewhere/in/0.tsv", "1\n2\n");
    for file in ["in/0.tsv", "in/1.tsv", "in/2.tsv"] {
        let time = work.path(file).metadata().unwrap().modified().unwrap();
        work.file(&format!("elsewhere/{file}"), work.read(file));
        fs::File::open(work.path("elsewhere").join(file)).unwrap().set_modified(time).unwrap();
    }
    let args = ["../job.toml", "--set", "limits.rejects=90%"];
    let output = work.command(&args).current_dir(work.path("elsewhere")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    let root = fs::canonicalize(work.path("")).unwrap();
    for file in ["out/t.db", "elsewhere/out/t.db"] {
        assert!(said.contains(&format!("`{}`", root.join(file).display())), "{file}: {said}");
    }
    work.expect(0, &REST);
    assert_eq!(numbers(&work), [1, 2, 3]);
}

/// The state directory is gone, and the process has not been heard of for a while.
fn lose_state(work: &Work, silent: i64) {
    fs::remove_dir_all(work.path(".runner")).unwrap();
    run_sql(work, &format!("update _runner_receipts set beat = beat - {silent} where split = ''"));
}

#[test]
fn a_run_that_only_the_target_knows_of_is_not_started_over_unasked() {
    let work = interrupted(JOB);
    lose_state(&work, 0);
    let ran = work.expect(75, &REST);
    assert!(ran.stderr.contains("is under way elsewhere: it was heard of "), "{}", ran.stderr);
    lose_state(&work, 100);
    let ran = work.expect(78, &REST);
    for words in ["of this job, which the state directory does not know", "--adopt", "--fresh"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert!(numbers(&work).starts_with(&[1, 2]), "nothing was written");
    let report = work.report(0, &[&REST[..], &["--adopt"]].concat());
    assert!(report["run"]["splits_kept"].as_u64().unwrap() >= 1, "{report}");
    assert_eq!((numbers(&work), own_tables(&work)), (vec![1, 2, 3], 0));

    // The spec may say so once for all.
    let work = interrupted(&JOB.replace("name = 'job'\n", "name = 'job'\non_lost_state = 'adopt'\n"));
    lose_state(&work, 100);
    work.expect(0, &REST);
    assert_eq!((numbers(&work), own_tables(&work)), (vec![1, 2, 3], 0));
    work.expect(64, &["job.toml", "--adopt", "--fresh"]);
}

#[test]
fn a_run_that_has_stored_nothing_does_not_go_on_beside_another() {
    // Two hosts in turn: the first one's run was interrupted before anything was stored, the second one's after that.
    let two_hosts = || {
        let work = Work::new();
        work.file("job.toml", JOB);
        ["1\n2\n", "x\nx\nx\n", "3\n"].iter().zip(0..).for_each(|(text, n)| work.file(&format!("in/{n}.tsv"), text));
        fs::create_dir(work.path("out")).unwrap();
        run_sql(
            &work,
            "create table t (n integer); \
             create trigger no before insert on t begin select raise(rollback, 'not now'); end",
        );
        assert_ne!(work.run(&["job.toml"]).code, 65);
        run_sql(&work, "drop trigger no; update _runner_receipts set beat = beat - 100");
        work.expect(65, &["job.toml", "--set", "state.path=second"]);
        assert!(numbers(&work).starts_with(&[1, 2]));
        work.expect(75, &REST);
        run_sql(&work, "update _runner_receipts set beat = beat - 100");
        work
    };
    let work = two_hosts();
    let ran = work.expect(78, &REST);
    for words in ["of this job, which the state directory does not know", "--adopt", "--fresh"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    work.expect(0, &[&REST[..], &["--adopt"]].concat());
    assert_eq!(numbers(&work), [1, 2, 3]);
    let work = two_hosts();
    let stored = numbers(&work).len();
    let ran = work.expect(0, &[&REST[..], &["--fresh"]].concat());
    assert!(ran.stderr.contains("`table` keeps what run "), "{}", ran.stderr);
    assert_eq!(numbers(&work).len(), stored + 3);
}

#[test]
fn a_run_that_has_rows_goes_on_beside_another_and_says_so() {
    // Two hosts in turn: on the second one somebody has started over beside the first one's run, which then goes on.
    let work = interrupted(JOB);
    fs::rename(work.path(".runner"), work.path("first")).unwrap();
    run_sql(&work, "update _runner_receipts set beat = beat - 100 where split = ''");
    let first = numbers(&work).len();
    let ran = work.expect(65, &["job.toml", "--fresh"]);
    assert!(ran.stderr.contains("`table` keeps what run "), "{}", ran.stderr);
    let beside = numbers(&work).len() - first;
    assert!(beside >= 2);
    fs::remove_dir_all(work.path(".runner")).unwrap();
    fs::rename(work.path("first"), work.path(".runner")).unwrap();
    work.expect(75, &REST);
    run_sql(&work, "update _runner_receipts set beat = beat - 100 where split = ''");
    let ran = work.expect(0, &REST);
    assert!(ran.stderr.contains("`table` keeps what run "), "{}", ran.stderr);
    assert!(ran.stderr.contains("resumed run "), "{}", ran.stderr);
    assert_eq!(numbers(&work).len(), 3 + beside);
    // The next run is asked about what is left there.
    let ran = work.expect(78, &REST);
    assert!(ran.stderr.contains("which the state directory does not know"), "{}", ran.stderr);
}

#[test]
fn now_is_the_same_in_a_run_that_is_adopted() {
    let timed = "[transforms.timed]\ntype = 'select'\ninput = 'rows'\ncolumns = { n = 'n', at = 'cast(now() as string)' }\n[sinks";
    let work =
        interrupted(&JOB.replace("[sinks", timed).replace("input = 'rows'\ndatabase", "input = 'timed'\ndatabase"));
    lose_state(&work, 100);
    let ran = work.expect(0, &[&REST[..], &["--adopt"]].concat());
    let connection = rusqlite::Connection::open(work.path("out/t.db")).unwrap();
    let sql = "select count(*), count(distinct at) from t";
    let counts: (i64, i64) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(counts, (3, 1), "{}", ran.stderr);
}

#[test]
fn what_is_left_beside_trips_nobody_up() {
    let work = interrupted(JOB);
    lose_state(&work, 100);
    let ran = work.expect(0, &[&REST[..], &["--fresh"]].concat());
    assert!(ran.stderr.contains("`table` keeps what run "), "{}", ran.stderr);
    let stored = numbers(&work);
    assert!(stored.starts_with(&[1, 1, 2, 2]), "{stored:?}");
    assert_eq!(own_tables(&work), 1, "nobody removes another's receipts");
    work.expect(0, &REST);
    assert!(numbers(&work).len() > stored.len());
    // Another job of another name, or with another table, has nothing to do with it.
    let other = interrupted(JOB);
    lose_state(&other, 100);
    other.file("other.toml", JOB.replace("name = 'job'", "name = 'other'"));
    other.expect(0, &["other.toml", "--set", "limits.rejects=90%"]);
    other.expect(0, &[&REST[..], &["--set", "sinks.table.table=u"]].concat());
}

#[test]
fn adopted_is_only_what_is_the_same() {
    let work = interrupted(JOB);
    lose_state(&work, 100);
    let ran = work.expect(78, &[&REST[..], &["--adopt", "--set", "sinks.table.mode=ignore"]].concat());
    assert!(ran.stderr.contains("`sinks.table` has changed since run "), "{}", ran.stderr);
    work.file("in/3.tsv", "4\n");
    let ran = work.expect(66, &[&REST[..], &["--adopt"]].concat());
    assert!(ran.stderr.contains("`in/3.tsv` is new"), "{}", ran.stderr);
}

#[test]
fn what_another_version_left_is_told() {
    let work = interrupted(JOB);
    rusqlite::Connection::open(work.path(".runner/job.ledger"))
        .unwrap()
        .pragma_update(None, "user_version", 1)
        .unwrap();
    let ran = work.expect(78, &REST);
    assert!(ran.stderr.contains("is of another version of this program (1, not 2)"), "{}", ran.stderr);
    let work = Work::new();
    work.file("job.toml", JOB);
    work.file("in/0.tsv", "1\n");
    work.file("out/keep", "");
    run_sql(
        &work,
        "create table _runner_ledger (job text, run text, sink text, split integer, part integer, answers blob); \
         insert into _runner_ledger values ('/some/where/.runner/job.ledger', 'r', 'table', -1, 0, ''), \
                                           ('/some/where/.runner/job.ledger', 'r', 'table', 7, 0, ''), \
                                           ('/some/where/.runner/not_this_job.ledger', 's', 'table', 7, 0, '')",
    );
    for adopt in [&[][..], &["--adopt"]] {
        let ran = work.expect(78, &[&["job.toml"], adopt].concat());
        assert!(ran.stderr.contains("made by another version of this program"), "{}", ran.stderr);
    }
    work.expect(0, &["job.toml", "--fresh"]);
    work.expect(0, &["job.toml"]);
}

/// Names from a table into one that gives ids, and the pairs into a third, which is locked at first.
const PAIRS: &str = "name = 'pairs'\n\
    [sources.people]\ntype = 'sqlite'\ndatabase = 'in.db'\nquery = 'select name from people'\ncolumns = ['name string']\n\
    [sinks.main]\ntype = 'sqlite'\ninput = 'people'\ndatabase = 'out/t.db'\ntable = 't'\nreturning = ['id']\n\
    [sinks.lookup]\ntype = 'sqlite'\ninput = 'main'\ndatabase = 'out/l.db'\ntable = 'l'\nbusy_timeout = '1ms'\n";

/// The ids have been given, and the pairs are not stored.
fn half_done(names: &[&str]) -> Work {
    half_done_of(PAIRS, names)
}

fn half_done_of(job: &str, names: &[&str]) -> Work {
    let work = Work::new();
    work.file("job.toml", job);
    fill(&work, names);
    fs::create_dir(work.path("out")).unwrap();
    let lookup = rusqlite::Connection::open(work.path("out/l.db")).unwrap();
    lookup
        .execute_batch(
            "create table l (name text, id integer); \
             create trigger no before insert on l begin select raise(rollback, 'not now'); end",
        )
        .unwrap();
    let ran = work.run(&["job.toml"]);
    assert_ne!(ran.code, 0, "{}", ran.stderr);
    lookup.execute_batch("drop trigger no").unwrap();
    work
}

fn fill(work: &Work, names: &[&str]) {
    let input = rusqlite::Connection::open(work.path("in.db")).unwrap();
    input
        .execute_batch(
            "drop table if exists people; drop view if exists shown; \
             create table people (name text); create view shown as select name from people",
        )
        .unwrap();
    for name in names {
        input.execute("insert into people values (?1)", [name]).unwrap();
    }
}

fn pairs(work: &Work, file: &str, table: &str) -> Vec<(String, i64)> {
    let connection = rusqlite::Connection::open(work.path(file)).unwrap();
    let mut rows = connection.prepare(&format!("select name, id from {table} order by id")).unwrap();
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// The rows of a query have no order, nor do those of a view.
#[test]
fn rows_that_come_back_in_another_order_keep_their_ids() {
    for source in ["query = 'select name from people'", "table = 'shown'"] {
        let names = ["Ada", "Grace", "Ada", "Edsger", "Barbara"];
        let work = half_done_of(&PAIRS.replace("query = 'select name from people'", source), &names);
        assert_eq!((pairs(&work, "out/t.db", "t").len(), pairs(&work, "out/l.db", "l").len()), (5, 0));
        fill(&work, &["Barbara", "Ada", "Edsger", "Ada", "Grace"]);
        work.expect(0, &["job.toml"]);
        let main = pairs(&work, "out/t.db", "t");
        assert_eq!(main.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
        assert_eq!(pairs(&work, "out/l.db", "l"), main);
    }
}

/// A table's rows come in the order of their numbers: their answers go by place, whatever the batches are.
#[test]
fn rows_that_come_in_order_keep_their_ids_and_others_are_found_out() {
    let job = PAIRS.replace("query = 'select name from people'", "table = 'people'");
    let names = ["Ada", "Grace", "Ada", "Edsger", "Barbara"];
    let work = half_done_of(&job, &names);
    for others in [
        &["Grace", "Ada", "Ada", "Edsger", "Barbara"][..],
        &["Ada", "Grace", "Ada", "Linus", "Barbara"],
        &["Ada", "Grace", "Ada", "Edsger", "Barbara "],
    ] {
        fill(&work, others);
        let ran = work.expect(66, &["job.toml"]);
        for words in ["of `people`, which `main` has stored", "its rows are not those that were stored"] {
            assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
        }
        assert_eq!((pairs(&work, "out/t.db", "t").len(), pairs(&work, "out/l.db", "l").len()), (5, 0));
    }
    let input = rusqlite::Connection::open(work.path("in.db")).unwrap();
    for change in ["delete from people where rowid = 2", "update people set rowid = 2 where rowid = 3"] {
        input.execute_batch(change).unwrap();
        let ran = work.expect(66, &["job.toml"]);
        assert!(ran.stderr.contains("its rows are not those that were stored"), "{}", ran.stderr);
    }
    assert_eq!(pairs(&work, "out/l.db", "l").len(), 0);
    fill(&work, &names);
    let others = ["sources.people.batch.rows=2", "sources.people.concurrency=3", "sinks.lookup.batch.rows=1"];
    let settings: Vec<&str> = others.iter().flat_map(|other| ["--set", other]).collect();
    work.expect(0, &[&["job.toml"], &settings[..]].concat());
    let main = pairs(&work, "out/t.db", "t");
    assert_eq!(main.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
    assert_eq!(pairs(&work, "out/l.db", "l"), main);
}

/// Rows that were divided by a key on their way come together as the batches have it, and so do those that come by two
/// ways: with batches of other sizes and other numbers of workers they come in another order, from a source that repeats
/// its own.
#[test]
fn rows_that_other_batches_put_in_another_order_keep_their_ids() {
    let table = PAIRS.replace("query = 'select name from people'", "table = 'people'");
    let divided = "[transforms.once]\ntype = 'dedup'\ninput = 'people'\nby = ['name']\nconcurrency = 1\n";
    let two_ways = "[transforms.short]\ntype = 'filter'\ninput = 'people'\nwhere = 'length(name) < 6'\n\
        [transforms.long]\ntype = 'filter'\ninput = 'people'\nwhere = 'length(name) >= 6'\n";
    for (transforms, input) in [(divided, "'once'"), (two_ways, "['short', 'long']")] {
        let job = table.replace("[sinks.main]", &format!("{transforms}[sinks.main]"));
        let job = job.replace("input = 'people'\ndatabase", &format!("input = {input}\ndatabase"));
        let names: Vec<String> = (0..40).map(|number| "x".repeat(number % 12) + &number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let work = half_done_of(&job, &names);
        let before = pairs(&work, "out/t.db", "t");
        assert_eq!((before.len(), pairs(&work, "out/l.db", "l").len()), (40, 0));
        let workers = if input == "'once'" { &["--set", "transforms.once.concurrency=3"][..] } else { &[] };
        work.expect(0, &[&["job.toml", "--set", "sources.people.batch.rows=3"], workers].concat());
        assert_eq!(pairs(&work, "out/t.db", "t"), before);
        assert_eq!(pairs(&work, "out/l.db", "l"), before);
    }
}

#[test]
fn of_a_split_whose_rows_are_others_none_goes_on() {
    for names in [&["Ada", "Grace", "Linus"][..], &["Ada", "Grace"], &["Ada", "Grace", "Edsger", "Ada"]] {
        let work = half_done(&["Ada", "Grace", "Edsger"]);
        fill(&work, names);
        let ran = work.expect(66, &["job.toml"]);
        for words in ["split `query` of `people`, which `main` has stored", "its rows are not those that were stored"] {
            assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
        }
        assert_eq!((pairs(&work, "out/t.db", "t").len(), pairs(&work, "out/l.db", "l").len()), (3, 0));
    }
}

#[test]
fn without_receipts_a_split_may_be_stored_twice_and_the_plan_says_so() {
    let job = JOB.to_owned() + "receipts = 'none'\n";
    let work = interrupted(&job);
    assert_eq!(own_tables(&work), 0);
    let plan = work.expect(0, &["plan", "job.toml"]).stdout;
    assert!(plan.contains("`receipts = \"none\"`: at least once"), "{plan}");
    work.expect(0, &REST);
    assert_eq!(numbers(&work), [1, 2, 3]);
    let named = JOB.to_owned() + "receipts = { table = 'kept here' }\n";
    let work = interrupted(&named);
    let count = |sql: &str| -> i64 {
        rusqlite::Connection::open(work.path("out/t.db")).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert!(count("select count(*) from \"kept here\"") >= 2);
    work.expect(0, &REST);
    assert_eq!(count("select count(*) from sqlite_schema where name = 'kept here'"), 0);
    let ran = Work::new();
    ran.file("job.toml", JOB.to_owned() + "receipts = { schema = 's' }\n");
    assert!(ran.expect(78, &["check", "job.toml"]).stderr.contains("SQLite has no schemas"));
}
