//! Several sinks on one file, and other processes on it.

use std::{thread, time::Duration};

use super::*;
use crate::failure::Exit;

fn count(home: &Home, table: &str) -> String {
    home.ask(&format!("SELECT count(*) FROM {table}")).remove(0)
}

#[test]
fn sinks_on_one_file_take_turns() {
    let home = Home::new("turns");
    let input = schema(&PEOPLE);
    // Two spellings of one file.
    let other = home.folder.text("./a.db");
    let sinks = [
        home.sink("table = \"one\"\nbusy_timeout = '1ms'", &input),
        compile(&format!("database = \"{other}\"\ntable = 'two'\nbusy_timeout = '1ms'"), &input).expect("sound"),
    ];
    let workers = sinks.map(|sink| sink.stage.worker(Mode::Write).expect("a worker"));
    thread::scope(|scope| {
        for (part, mut worker) in workers.into_iter().enumerate() {
            let input = &input;
            scope.spawn(move || {
                for split in 0..20 {
                    for seq in 0..3 {
                        let written = worker.write(&batch(input, split, seq, &people(40 + part))).expect("written");
                        assert_eq!(written.accepted, 40 + part as u64);
                        thread::yield_now();
                    }
                    worker.commit_split(SplitId(split), true).expect("an answer");
                }
                worker.commit().expect("committed");
            });
        }
    });
    assert_eq!([count(&home, "one"), count(&home, "two")], ["2400", "2460"]);
}

#[test]
fn a_split_is_committed_once_no_sink_is_within_one() {
    let home = Home::new("group");
    let input = schema(&PEOPLE);
    let mut one = home.worker("table = \"one\"", &input).expect("a worker");
    let mut two = home.worker("table = \"two\"", &input).expect("a worker");
    one.write(&batch(&input, 0, 0, &people(1))).expect("written");
    two.write(&batch(&input, 0, 0, &people(2))).expect("written");
    assert!(!one.commit_split(SplitId(0), true).expect("an answer").durable, "the other is within its split");
    assert_eq!(count(&home, "one"), "0");
    // It may go on all the same: nothing waits for ever.
    one.write(&batch(&input, 1, 0, &people(3))).expect("written");
    assert!(!two.commit_split(SplitId(0), true).expect("an answer").durable);
    assert!(one.commit_split(SplitId(1), true).expect("an answer").durable);
    assert_eq!([count(&home, "one"), count(&home, "two")], ["4", "2"]);
    assert!(two.commit_split(SplitId(1), true).expect("an answer").durable, "there is nothing left to commit");
    one.commit().expect("an answer");
    two.commit().expect("an answer");
}

#[test]
fn the_last_commit_waits_for_the_others() {
    let home = Home::new("last");
    let input = schema(&PEOPLE);
    let mut one = home.worker("table = \"one\"", &input).expect("a worker");
    let mut two = home.worker("table = \"two\"", &input).expect("a worker");
    one.write(&batch(&input, 0, 0, &people(1))).expect("written");
    two.write(&batch(&input, 0, 0, &people(2))).expect("written");
    assert!(!one.commit_split(SplitId(0), true).expect("an answer").durable);
    let waits = thread::spawn(move || one.commit().expect("an answer"));
    thread::sleep(Duration::from_millis(20));
    assert!(two.commit_split(SplitId(0), true).expect("an answer").durable);
    waits.join().expect("no panic");
    assert_eq!([count(&home, "one"), count(&home, "two")], ["1", "2"]);
}

#[test]
fn a_sink_that_fails_takes_the_rows_of_the_others_with_it_and_they_hear_of_it() {
    let home = Home::new("lost");
    let input = schema(&PEOPLE);
    let mut one = home.worker("table = \"one\"", &input).expect("a worker");
    let mut two = home.worker("table = \"two\"", &input).expect("a worker");
    let mut three = home.worker("table = \"three\"", &input).expect("a worker");
    one.write(&batch(&input, 0, 0, &people(1))).expect("written");
    two.write(&batch(&input, 0, 0, &people(2))).expect("written");
    assert!(!one.commit_split(SplitId(0), true).expect("an answer").durable);
    drop(two);
    let failure = refused(one.commit());
    assert!(failure.message.starts_with("rolled back with another sink of the same file: "), "{failure}");
    assert_eq!([count(&home, "one"), count(&home, "two")], ["0", "0"]);
    three.write(&batch(&input, 0, 0, &people(3))).expect("one that had no rows in it goes on");
    three.commit().expect("an answer");
    assert_eq!(count(&home, "three"), "3");
}

#[test]
fn another_process_is_waited_for_and_then_it_is_a_failure() {
    let home = Home::new("locked");
    let input = schema(&PEOPLE);
    let keys = "busy_timeout = '100ms'";
    let mut worker = home.worker(keys, &input).expect("a worker");
    let other = home.client();
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let failure = refused(worker.write(&batch(&input, 0, 0, &people(5))));
    assert_eq!(failure.exit, Exit::Unavailable);
    assert!(failure.message.contains("is locked") && failure.message.contains("longer than 100ms"), "{failure}");
    assert!(failure.message.contains(&home.path()), "{failure}");
    let failure = refused(home.worker(keys, &schema(&["x string"])));
    assert_eq!(failure.exit, Exit::Unavailable, "{failure}");
    other.execute_batch("ROLLBACK").expect("no lock");
    drop(worker);
    assert_eq!(count(&home, "t"), "0");
    // A lock that goes away in time does no harm.
    let mut worker = home.worker("busy_timeout = '20s'", &input).expect("a worker");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let frees = thread::spawn(move || {
        thread::sleep(Duration::from_millis(150));
        other.execute_batch("ROLLBACK").expect("no lock");
    });
    assert_eq!(worker.write(&batch(&input, 0, 0, &people(5))).expect("written").accepted, 5);
    frees.join().expect("no panic");
    worker.commit().expect("committed");
    assert_eq!(count(&home, "t"), "5");
}
