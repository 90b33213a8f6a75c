//! One stream as its points come in: which window each belongs to, and what follows what.
//!
//! ```text
//! points of a batch ──▶ slices: in order, in one window ──▶ counts and moments of the window
//!                       │  late ones apart                  steps, gaps, spikes, rates, flat stretches: from the
//!                       ▼                                   last point of the slice before, whatever its window
//!                     count and values of their window only
//! ```

use std::collections::BTreeMap;

use arrow_buffer::NullBuffer;

use super::{
    flat::Stretch,
    rules::{Flatline, Rules},
    window::{Listed, Window},
};

/// How windows lie and what is asked of points: the same for all streams.
#[derive(Debug)]
pub(super) struct Terms {
    /// How long a window is, in nanoseconds.
    pub(super) every: i64,
    /// Are windows counted from 1970-01-01, or from the first point of each stream?
    pub(super) from_epoch: bool,
    pub(super) rules: Rules,
    /// How many offences against a rule are listed for each window.
    pub(super) cap: usize,
}

/// Points of one stream that follow each other in a batch. Times are nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Points<'a> {
    pub(super) times: &'a [i64],
    pub(super) values: &'a [f64],
    /// Which values there are, from `offset` on; absent where there are all.
    pub(super) valid: Option<(&'a NullBuffer, usize)>,
}

/// Points with a finite value, where not all of a slice have one. Kept from slice to slice for its memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    times: Vec<i64>,
    values: Vec<f64>,
}

/// What is known of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// Where window 0 begins.
    pub(super) origin: i64,
    /// The windows that have points, by number.
    pub(super) windows: BTreeMap<i64, Box<Window>>,
    /// Gaps that end in another window than they begin in: the times before and after, ascending.
    pub(super) long_gaps: Vec<(i64, i64)>,
    /// The latest time so far, which is that of the last point in order.
    latest: Option<i64>,
    /// The last two points in order that have a value, the last one first, each with its window.
    before: [Option<(i64, f64, i64)>; 2],
    stretch: Option<Stretch>,
    /// The window of the last point, where that is flat.
    flat_in: Option<i64>,
    /// Bytes of the windows.
    size: usize,
}

impl<'a> Points<'a> {
    pub(super) fn slice(&self, start: usize, len: usize) -> Points<'a> {
        Points {
            times: &self.times[start..start + len],
            values: &self.values[start..start + len],
            valid: self.valid.map(|(valid, offset)| (valid, offset + start)),
        }
    }

    /// The points with a finite value; the others are counted in their window.
    fn finite<'s>(&self, window: &mut Window, scratch: &'s mut Scratch) -> (&'s [i64], &'s [f64])
    where
        'a: 's,
    {
        if self.valid.is_none() && self.values.iter().fold(true, |all, value| all & value.is_finite()) {
            return (self.times, self.values);
        }
        let Scratch { times, values } = scratch;
        times.clear();
        values.clear();
        for (row, (time, value)) in self.times.iter().zip(self.values).enumerate() {
            if self.valid.is_some_and(|(valid, offset)| valid.is_null(offset + row)) {
                window.nulls += 1;
            } else if value.is_nan() {
                window.nans += 1;
            } else if value.is_infinite() {
                window.infinities += 1;
            } else {
                times.push(*time);
                values.push(*value);
            }
        }
        (times, values)
    }
}

impl Stream {
    /// A stream whose first point has this time.
    pub(super) fn new(first: i64, terms: &Terms) -> Self {
        Stream {
            origin: if terms.from_epoch { 0 } else { first },
            windows: BTreeMap::new(),
            long_gaps: Vec::new(),
            latest: None,
            before: [None; 2],
            stretch: terms.rules.flatline.as_ref().map(|rule| Stretch::new(rule.tolerance)),
            flat_in: None,
            size: 0,
        }
    }

    /// Bytes of memory it takes.
    pub(super) fn size(&self) -> usize {
        let stretch = self.stretch.as_ref().map_or(0, Stretch::size);
        // The tree's nodes have room for 11 numbers and pointers each, and are half full at least.
        size_of::<Stream>() + self.size + self.windows.len() * 32 + 192 + self.long_gaps.capacity() * 16 + stretch
    }

    /// How many windows it has, empty ones in the middle too.
    pub(super) fn span(&self) -> i128 {
        let ends = self.windows.first_key_value().zip(self.windows.last_key_value());
        ends.map_or(0, |((first, _), (last, _))| i128::from(*last) - i128::from(*first) + 1)
    }

    /// The number of the window that a time lies in.
    fn number(&self, time: i64, terms: &Terms) -> i64 {
        let since = i128::from(time) - i128::from(self.origin);
        // It is not larger than the time itself, for a window is one unit long at least.
        since.div_euclid(i128::from(terms.every)) as i64
    }

    /// Where a window begins, and the next one does.
    pub(super) fn bounds(&self, number: i64, terms: &Terms) -> (i64, i64) {
        let start = |number: i128| {
            let start = i128::from(self.origin) + number * i128::from(terms.every);
            start.clamp(i64::MIN.into(), i64::MAX.into()) as i64
        };
        (start(number.into()), start(i128::from(number) + 1))
    }

    /// Adds points, in the order in which they came.
    pub(super) fn add(&mut self, points: Points<'_>, terms: &Terms, scratch: &mut Scratch) {
        let mut at = 0;
        while at < points.times.len() {
            let (rest, time) = (&points.times[at..], points.times[at]);
            let number = self.number(time, terms);
            let (start, end) = self.bounds(number, terms);
            let latest = self.latest.filter(|latest| time < *latest);
            let len = match latest {
                Some(latest) => late(rest, start, end.min(latest)),
                None => ascending(rest, end),
            };
            let slice = points.slice(at, len);
            let before = self.windows.get(&number).map_or(0, |window| window.size());
            match latest {
                Some(_) => self.add_late(slice, number, terms, scratch),
                None => self.add_in_order(slice, number, start, terms, scratch),
            }
            let after = self.windows.get(&number).map_or(0, |window| window.size());
            self.size = (self.size + after).saturating_sub(before);
            at += len;
        }
    }

    fn add_late(&mut self, points: Points<'_>, number: i64, terms: &Terms, scratch: &mut Scratch) {
        let window = self.windows.entry(number).or_default();
        window.times(points.times, false);
        window.out_of_order += points.times.len() as u64;
        let (times, values) = points.finite(window, scratch);
        window.values(times, values, &terms.rules, terms.cap);
    }

    fn add_in_order(&mut self, points: Points<'_>, number: i64, start: i64, terms: &Terms, scratch: &mut Scratch) {
        let Terms { rules, cap, .. } = terms;
        let window = self.windows.entry(number).or_default();
        window.times(points.times, true);
        let first = points.times[0];
        match self.latest {
            None => {}
            Some(latest) if latest >= start => window.steps(&[latest, first], rules, *cap),
            Some(latest) => {
                window.step(latest, first, rules.longest());
                if first - latest > rules.longest() {
                    window.gaps += 1;
                    window.offence(Listed::Gap, first, *cap);
                    self.long_gaps.push((latest, first));
                }
            }
        }
        window.steps(points.times, rules, *cap);
        self.latest = points.times.last().copied();
        let (times, values) = points.finite(window, scratch);
        window.values(times, values, rules, *cap);
        if rules.look_at_neighbours() && !times.is_empty() {
            self.neighbours(times, values, number, terms);
        }
    }

    /// Judges finite values by those beside them. The value before the first one may lie in another window.
    fn neighbours(&mut self, times: &[i64], values: &[f64], number: i64, terms: &Terms) {
        let Terms { rules, cap, .. } = terms;
        let first = (times[0], values[0]);
        let [last, last_but_one] = self.before;
        if let Some(limits) = &rules.spike {
            if let (Some((_, before, _)), Some((time, value, of))) = (last_but_one, last)
                && let Some(window) = self.windows.get_mut(&of)
            {
                window.spike(time, [before, value, first.1], limits, *cap);
            }
            let window = self.windows.entry(number).or_default();
            if let (Some((_, before, _)), Some(after)) = (last, values.get(1)) {
                window.spike(first.0, [before, first.1, *after], limits, *cap);
            }
            window.spikes(times, values, limits, *cap);
        }
        let window = self.windows.entry(number).or_default();
        if let Some(limits) = &rules.rate {
            if let Some((time, value, _)) = last {
                window.rate((time, value), first, limits, *cap);
            }
            for (times, values) in times.windows(2).zip(values.windows(2)) {
                window.rate((times[0], values[0]), (times[1], values[1]), limits, *cap);
            }
        }
        if let (Some(rule), Some(stretch)) = (&rules.flatline, &mut self.stretch) {
            flat(stretch, rule, (times, values), (window, number, &mut self.flat_in), *cap);
        }
        let point = |back: usize| {
            let place = values.len().checked_sub(back)?;
            Some((times[place], values[place], number))
        };
        self.before = [point(1), point(2).or(last)];
    }
}

/// Judges how long values have not changed. `flat_in` is the window of the point before, where that is flat.
fn flat(
    stretch: &mut Stretch,
    rule: &Flatline,
    (times, values): (&[i64], &[f64]),
    (window, number, flat_in): (&mut Window, i64, &mut Option<i64>),
    cap: usize,
) {
    stretch.add(rule.tolerance, times, values, |time, length| {
        window.longest_flat = window.longest_flat.max(length);
        if length < rule.fail {
            *flat_in = None;
            return;
        }
        window.flat_points += 1;
        if flat_in.replace(number) != Some(number) {
            window.flatlines += 1;
            window.offence(Listed::Flatline, time, cap);
        }
    });
}

/// How many times from the first on ascend, or stay, and lie before `end`; the first one does.
fn ascending(times: &[i64], end: i64) -> usize {
    const TIMES: usize = 1024;
    let mut sorted = 1;
    while sorted < times.len() {
        let stop = times.len().min(sorted + TIMES);
        let part = &times[sorted - 1..stop];
        if part.windows(2).fold(true, |all, pair| all & (pair[0] <= pair[1])) {
            sorted = stop;
            if times[stop - 1] >= end {
                break;
            }
        } else {
            sorted += part.windows(2).take_while(|pair| pair[0] <= pair[1]).count();
            break;
        }
    }
    times[..sorted].partition_point(|time| *time < end)
}

/// How many times from the first on lie from `start` on and before `end`; the first one does.
fn late(times: &[i64], start: i64, end: i64) -> usize {
    times.iter().take_while(|time| (start..end).contains(time)).count()
}
