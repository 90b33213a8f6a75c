//! Where windows begin and end.

use super::{
    super::span::{MAX_TIME, MIN_TIME},
    *,
};

fn raw(first: i64, last: i64, window: i64, to: i64) -> Vec<i64> {
    let (count, ends) = ends(Mode::Raw, first, last, window, to);
    let ends: Vec<i64> = ends.collect();
    assert_eq!(count, ends.len() as u64);
    ends
}

#[test]
fn windows_exclude_their_end_and_the_last_point_is_in() {
    let cases = [
        ((5, 5), vec![15]),
        ((5, 14), vec![15]),
        // The span is a whole number of windows: the last point has one of its own.
        ((5, 15), vec![15, 25]),
        ((5, 24), vec![15, 25]),
        ((-12, 9), vec![-2, 8, 18]),
    ];
    for ((first, last), expected) in cases {
        assert_eq!(raw(first, last, 10, 1_000), expected, "{first} to {last}");
    }
    assert_eq!(raw(0, 24, 10, 25), [10, 20, 25]);
    assert_eq!(raw(0, 29, 10, 30), [10, 20, 30]);
    assert_eq!(raw(MIN_TIME, MAX_TIME - 1, i64::MAX, MAX_TIME), [MAX_TIME]);
    assert_eq!(raw(MAX_TIME - 1, MAX_TIME - 1, 10, MAX_TIME), [MAX_TIME]);
}

#[test]
fn statistics_are_asked_for_in_whole_windows() {
    let stat = |last, to| -> Vec<i64> { ends(Mode::Stat, 0, last, 10, to).1.collect() };
    assert_eq!(stat(0, 1_000_000), [10]);
    assert_eq!(stat(29, 1_000_000), [30]);
    assert_eq!(stat(40_959, 1_000_000), [40_960]);
    assert_eq!(stat(40_960, 1_000_000), [40_960, 40_970]);
    assert_eq!(stat(90_000, 1_000_000), [40_960, 81_920, 90_010]);
    // What `to` cuts short stands alone.
    assert_eq!(stat(24, 25), [20, 25]);
    assert_eq!(stat(3, 4), [4]);
    assert_eq!(stat(40_962, 40_963), [40_960, 40_963]);
}
