//! Reads the statistics of one split's windows. Nothing is passed on before all of them are there, so what breaks
//! off is asked for again.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, TimestampNanosecondArray, UInt64Array};

use super::{
    Link,
    columns::{Column, Rows},
    session::Session,
    span::{Span, time},
    wire::{self, StatPoint, WindowsParams},
};
use crate::{
    batch::{Batch, Rejects},
    failure::Failure,
    service::{ErrorClass, ServiceError},
    stage::SplitReader,
};

/// The reader of one split, window by window.
pub(super) struct WindowReader<'a> {
    link: &'a mut Link,
    rows: Rows<'a>,
    span: Span,
    /// Most rows of a batch.
    most: usize,
    /// How long a window is, in nanoseconds.
    width: i64,
    /// The windows, once they were asked for, and how many are in batches already.
    windows: Option<Vec<StatPoint>>,
    passed: usize,
}

impl<'a> WindowReader<'a> {
    /// A reader of a split: of whole windows of a width, or of a single one that is cut short.
    pub(super) fn new(link: &'a mut Link, rows: Rows<'a>, span: Span, most: usize, width: i64) -> WindowReader<'a> {
        let width = width.min(span.end.saturating_sub(span.start)).max(1);
        WindowReader { link, rows, span, most, width, windows: None, passed: 0 }
    }
}

/// All windows of a split. The server may leave out those without points: they are put in.
fn ask(session: &mut Session, span: &Span, width: i64) -> Result<Vec<StatPoint>, ServiceError> {
    let question = WindowsParams {
        uuid: span.uuid.to_vec(),
        start: span.start,
        end: span.end,
        version_major: span.version,
        width: width.unsigned_abs(),
        depth: 0,
    };
    let mut pieces = session.begin::<wire::Windows>(question)?;
    let mut windows = Vec::new();
    while let Some(piece) = session.next(&mut pieces)? {
        if piece.version_major != span.version && !piece.values.is_empty() {
            let message = format!("version {} instead of {}", piece.version_major, span.version);
            return Err(ServiceError::silent(ErrorClass::Permanent, message));
        }
        for window in piece.values {
            add(&mut windows, window, span, width)?;
        }
    }
    fill(&mut windows, span.end, span, width);
    Ok(windows)
}

/// Adds a window, and empty ones up to it.
///
/// # Errors
/// It was not asked for, or comes too late.
fn add(windows: &mut Vec<StatPoint>, window: StatPoint, span: &Span, width: i64) -> Result<(), ServiceError> {
    let next = windows.last().map_or(span.start, |last| last.time.saturating_add(width));
    let fits = window.time >= next && window.time < span.end && (window.time - next) % width == 0;
    if !fits {
        let message = format!("a window at {}, which was not asked for", time(window.time));
        return Err(ServiceError::silent(ErrorClass::Permanent, message));
    }
    fill(windows, window.time, span, width);
    windows.push(window);
    Ok(())
}

/// Adds empty windows up to before a time.
fn fill(windows: &mut Vec<StatPoint>, end: i64, span: &Span, width: i64) {
    let mut next = windows.last().map_or(span.start, |last| last.time.saturating_add(width));
    while next < end {
        windows.push(StatPoint { time: next, ..StatPoint::default() });
        next = next.saturating_add(width);
    }
}

/// The columns that windows have of their own.
fn arrays(windows: &[StatPoint], span: &Span, width: i64) -> [(Column, ArrayRef); 7] {
    let end = |window: &StatPoint| window.time.saturating_add(width).min(span.end);
    let starts: TimestampNanosecondArray = windows.iter().map(|window| Some(window.time)).collect();
    let ends: TimestampNanosecondArray = windows.iter().map(|window| Some(end(window))).collect();
    let counts: UInt64Array = windows.iter().map(|window| Some(window.count)).collect();
    let values = |value: fn(&StatPoint) -> f64| {
        let of = |window: &StatPoint| (window.count > 0).then(|| value(window));
        Arc::new(windows.iter().map(of).collect::<Float64Array>()) as ArrayRef
    };
    [
        (Column::WindowStart, Arc::new(starts)),
        (Column::WindowEnd, Arc::new(ends)),
        (Column::Count, Arc::new(counts)),
        (Column::Min, values(|window| window.min)),
        (Column::Mean, values(|window| window.mean)),
        (Column::Max, values(|window| window.max)),
        (Column::Stddev, values(|window| window.stddev)),
    ]
}

impl SplitReader for WindowReader<'_> {
    fn next_batch(&mut self, _rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        let WindowReader { link, rows, span, most, width, windows, passed } = self;
        let windows = match windows {
            Some(windows) => windows,
            none => none.insert(link.persist(|session| ask(session, span, *width))?),
        };
        let left = &windows[*passed..];
        if left.is_empty() {
            return Ok(None);
        }
        let next = &left[..left.len().min(*most)];
        *passed += next.len();
        rows.batch(next.len(), &arrays(next, span, *width)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { uuid: [0; 16], version: 7, start: -10, end: 40 };

    fn windows(times: &[i64]) -> Result<Vec<(i64, u64)>, String> {
        let mut windows = Vec::new();
        for time in times {
            let window = StatPoint { time: *time, count: 3, ..StatPoint::default() };
            add(&mut windows, window, &SPAN, 10).map_err(|trouble| trouble.message)?;
        }
        fill(&mut windows, SPAN.end, &SPAN, 10);
        Ok(windows.iter().map(|window| (window.time, window.count)).collect())
    }

    #[test]
    fn windows_that_the_server_leaves_out_are_put_in() {
        let cases: [(&[i64], [u64; 5]); 4] = [
            (&[-10, 0, 10, 20, 30], [3, 3, 3, 3, 3]),
            (&[], [0, 0, 0, 0, 0]),
            (&[0, 30], [0, 3, 0, 0, 3]),
            (&[-10], [3, 0, 0, 0, 0]),
        ];
        for (times, counts) in cases {
            let expected: Vec<(i64, u64)> = [-10, 0, 10, 20, 30].into_iter().zip(counts).collect();
            assert_eq!(windows(times), Ok(expected), "{times:?}");
        }
    }

    #[test]
    fn windows_that_were_not_asked_for_are_errors() {
        for times in [&[-20][..], &[5], &[40], &[10, 0], &[10, 10]] {
            assert!(windows(times).is_err_and(|message| message.contains("was not asked for")), "{times:?}");
        }
    }

    #[test]
    fn an_empty_window_has_no_statistics() {
        let full = StatPoint { time: 0, min: 1.0, mean: 2.0, max: 3.0, count: 4, stddev: 0.5 };
        let empty = StatPoint { time: 35, min: 9.0, ..StatPoint::default() };
        let found = arrays(&[full, empty], &SPAN, 10);
        let nulls: Vec<usize> = found.iter().map(|(_, array)| array.null_count()).collect();
        assert_eq!(nulls, [0, 0, 0, 1, 1, 1, 1]);
        // The last one ends where the split does.
        assert_eq!(*found[1].1, TimestampNanosecondArray::from(vec![10, 40]));
    }
}
