//! Profiles of time series: against definitions in numpy, and as jobs.

use crate::work::{Work, oracle};

#[test]
fn profiles_are_those_of_their_definitions() {
    let work = Work::new();
    let ran = oracle(&work, "quality.py", &[env!("CARGO_BIN_EXE_runner")]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}
