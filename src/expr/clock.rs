//! The time that `now()` stands for. All expressions of a plan have the same, and a run that is resumed keeps that of
//! its first attempt: it computes the same values again.

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

thread_local! {
    static STOPPED: Cell<Option<SystemTime>> = const { Cell::new(None) };
}

/// The time at which this thread's clock was stopped, or that of the system, to the millisecond.
pub fn now() -> SystemTime {
    STOPPED.get().unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// Compiles something while `now()` is `time`.
pub fn stopped_at<T>(time: SystemTime, compile: impl FnOnce() -> T) -> T {
    let before = STOPPED.replace(Some(time));
    let compiled = compile();
    STOPPED.set(before);
    compiled
}

/// Microseconds since 1970.
pub(super) fn micros() -> i64 {
    let since = now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_clock_shows_one_time_until_it_goes_on() {
        let time = UNIX_EPOCH + Duration::from_millis(1_500);
        let inside = stopped_at(time, || (micros(), stopped_at(UNIX_EPOCH, micros), micros()));
        assert_eq!(inside, (1_500_000, 0, 1_500_000));
        assert!(now() > time);
    }
}
