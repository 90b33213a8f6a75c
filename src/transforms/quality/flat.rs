//! For how long the values before each point have stayed within a tolerance.

use std::collections::VecDeque;

/// The stretch of values that ends at the last point and is as long as the tolerance allows: the difference between
/// its largest and smallest value is no more.
#[derive(Debug)]
pub(super) enum Stretch {
    /// With a tolerance of 0 all values are the same one.
    Same {
        /// When it began.
        start: i64,
        /// The value.
        value: f64,
    },
    /// With another: the values that are larger, or smaller, than all after them.
    Within(Box<Marks>),
}

/// The values that may become the largest or smallest of a stretch, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Marks {
    start: i64,
    high: VecDeque<Mark>,
    low: VecDeque<Mark>,
    points: u64,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Which point it is.
    point: u64,
    value: f64,
    /// When the point after it came: a stretch without it begins there.
    next: i64,
}

impl Stretch {
    /// No points yet.
    pub(super) fn new(tolerance: f64) -> Self {
        match tolerance == 0.0 {
            // No value is equal to this one.
            true => Stretch::Same { start: 0, value: f64::NAN },
            false => Stretch::Within(Box::default()),
        }
    }

    /// Adds points in order and tells of each how long the stretch is that ends there, in nanoseconds.
    pub(super) fn add(&mut self, tolerance: f64, times: &[i64], values: &[f64], mut told: impl FnMut(i64, i64)) {
        let points = times.iter().copied().zip(values.iter().copied());
        match self {
            Stretch::Same { start, value } => {
                for (time, new) in points {
                    if new != *value {
                        (*start, *value) = (time, new);
                    }
                    told(time, time - *start);
                }
            }
            Stretch::Within(marks) => {
                for (time, value) in points {
                    marks.add(tolerance, time, value);
                    told(time, time - marks.start);
                }
            }
        }
    }

    /// Bytes of memory on top of its own size.
    pub(super) fn size(&self) -> usize {
        match self {
            Stretch::Same { .. } => 0,
            Stretch::Within(marks) => {
                size_of::<Marks>() + (marks.high.capacity() + marks.low.capacity()) * size_of::<Mark>()
            }
        }
    }
}

impl Marks {
    fn add(&mut self, tolerance: f64, time: i64, value: f64) {
        let Marks { start, high, low, points } = self;
        let mark = Mark { point: *points, value, next: time };
        if *points == 0 {
            *start = time;
        }
        *points += 1;
        // The point before is the last mark of both.
        for last in [high.back_mut(), low.back_mut()].into_iter().flatten() {
            last.next = time;
        }
        while high.back().is_some_and(|last| last.value <= value) {
            high.pop_back();
        }
        while low.back().is_some_and(|last| last.value >= value) {
            low.pop_back();
        }
        high.push_back(mark);
        low.push_back(mark);
        while let (Some(most), Some(least)) = (high.front().copied(), low.front().copied()) {
            if most.value - least.value <= tolerance {
                break;
            }
            let older = if most.point < least.point { high.pop_front() } else { low.pop_front() };
            *start = older.map_or(*start, |older| older.next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long each stretch is, by its definition.
    fn defined(tolerance: f64, times: &[i64], values: &[f64]) -> Vec<i64> {
        let spread = |values: &[f64]| {
            let most = values.iter().copied().fold(f64::MIN, f64::max);
            most - values.iter().copied().fold(f64::MAX, f64::min)
        };
        let start = |end: usize| (0..=end).find(|start| spread(&values[*start..=end]) <= tolerance);
        (0..values.len()).map(|end| times[end] - times[start(end).expect("one value has no spread")]).collect()
    }

    #[test]
    fn stretches_are_those_of_the_definition() {
        let times: Vec<i64> = (0..300).map(|n| n * 10 + n % 3).collect();
        let kinds: [fn(i64) -> f64; 5] = [
            |_| 1.0,
            |n| n as f64 * 0.25,
            |n| (n * 7919 % 11) as f64,
            |n| (n / 40) as f64 + (n % 3) as f64 / 8.0,
            |n| -((n - 150).abs() as f64) / 16.0,
        ];
        for value in kinds {
            let values: Vec<f64> = (0..300).map(value).collect();
            for tolerance in [0.0, 0.25, 0.5, 3.0, 100.0] {
                for size in [1, 7, 300] {
                    let (mut stretch, mut found) = (Stretch::new(tolerance), Vec::new());
                    for (times, values) in times.chunks(size).zip(values.chunks(size)) {
                        stretch.add(tolerance, times, values, |_, length| found.push(length));
                    }
                    assert_eq!(found, defined(tolerance, &times, &values), "{tolerance} {size}");
                }
            }
        }
    }
}
