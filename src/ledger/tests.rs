//! The ledger by itself: what is noted is there for the next one who opens it.

use super::*;
use crate::{stage::Detail, testing::Folder};

fn run(splits: u64) -> Run {
    let parts = BTreeMap::from([("seed".to_owned(), "1".to_owned())]);
    let split = |i| Split { name: format!("rows {i}"), detail: Detail::Rows { start: i, end: i + 1 } };
    Run::new("a ledger", SystemTime::now(), parts, (0..splits).map(|i| ("rows".to_owned(), split(i))))
}

#[test]
fn what_was_noted_is_there_for_the_next_one() {
    let folder = Folder::new("ledger");
    let state = folder.path("state");
    let mut ledger = Ledger::open(&state, "job", false).expect("a new one");
    assert!(ledger.broken().is_none());
    let begun = run(3);
    ledger.begin(&begun).expect("written");
    let stored =
        [Stored { split: SplitId(0), read: 10, rejected: 2 }, Stored { split: SplitId(2), read: 5, rejected: 0 }];
    ledger.note(&stored, &[]).expect("written");
    ledger.note(&[], &[(SplitId(2), Some("renamed".into()))]).expect("written");
    drop(ledger);
    let mut ledger = Ledger::open(&state, "job", false).expect("it is there");
    let broken = ledger.broken().expect("an interrupted run").clone();
    let states: Vec<_> = broken.splits.iter().map(|s| (s.state, s.read, s.rejected, s.action.as_deref())).collect();
    assert_eq!(states, [(State::Stored, 10, 2, None), (State::Left, 0, 0, None), (State::Done, 5, 0, Some("renamed"))]);
    assert_eq!((&broken.id, &broken.parts, broken.attempts), (&begun.id, &begun.parts, 1));
    assert_eq!(broken.splits[1].split, begun.splits[1].split);
    assert!(!broken.all_stored());
    ledger.begin(&broken).expect("again");
    let status = status(&state, "job").expect("readable").expect("a run");
    assert_eq!((status.attempts, status.finished.is_some()), (2, false));
    let rows = &status.sources[0];
    assert_eq!((rows.splits, rows.done, rows.stored, rows.left, rows.rejected), (3, 1, 1, 1, 2));
    assert_eq!(rows.next, ["rows 1"]);
    ledger.note(&[Stored { split: SplitId(1), read: 1, rejected: 0 }], &[]).expect("written");
    drop(ledger);
    let ledger = Ledger::open(&state, "job", false).expect("it is there");
    assert!(ledger.broken().expect("not finished").all_stored());
    drop(ledger);
    let open = || Ledger::open(&state, "job", false).expect("it is there");
    assert_eq!(open().finish("another run").expect("written"), None);
    assert!(open().broken().is_some());
    assert_eq!(open().finish(&begun.id).expect("written").map(|run| run.id), Some(begun.id.clone()));
    let mut ledger = open();
    assert!(ledger.broken().is_none());
    assert_eq!(ledger.uncleared().map(|run| &run.id), Some(&begun.id));
    assert!(ledger.is_beside(&begun.ledger, &begun.id), "what targets keep of it stands in nobody's way");
    ledger.cleared(&begun.id).expect("written");
    assert_eq!((open().uncleared(), open().is_beside(&begun.ledger, &begun.id)), (None, false));
}

#[test]
fn every_run_has_a_name_of_its_own() {
    let mut names: Vec<String> = (0..1000).map(|_| new_id()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 1000);
    assert!(names.iter().all(|name| name.len() == 16));
}

#[test]
fn one_that_cannot_be_used_says_so_and_a_fresh_one_takes_its_place() {
    let folder = Folder::new("ledger-bad");
    let state = folder.path("");
    for bad in [&b"this is not a database at all, but a text that is long enough"[..], b"SQLite format 3\0 and no more"]
    {
        folder.write("job.ledger", bad);
        let failure = Ledger::open(&state, "job", false).expect_err("it is not a ledger");
        assert!(failure.message.contains("job.ledger") && failure.message.contains("--fresh"), "{failure}");
        assert!(status(&state, "job").is_err());
        Ledger::open(&state, "job", true).expect("a new one");
    }
    let ledger = Ledger::open(&state, "job", false).expect("a ledger");
    ledger.connection.pragma_update(None, "user_version", 99).expect("set");
    drop(ledger);
    let failure = Ledger::open(&state, "job", false).expect_err("of another version");
    assert!(failure.message.contains("99, not 2"), "{failure}");
}

#[test]
fn a_forgotten_run_leaves_nothing() {
    let folder = Folder::new("ledger-forget");
    let mut ledger = Ledger::open(&folder.path(""), "job", false).expect("a new one");
    ledger.begin(&run(1)).expect("written");
    ledger.forget().expect("written");
    assert_eq!(status(&folder.path(""), "job"), Ok(None));
}
