//! Messages against Python's protobuf: which repeated fields are packed, and what of JSON is a message.

use crate::work::{Work, oracle};

#[test]
fn messages_are_those_of_python() {
    let work = Work::new();
    let ran = oracle(&work, "protobuf.py", &[env!("CARGO_BIN_EXE_runner")]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.starts_with("176 repeated fields and 1"), "{}", ran.stdout);
}
