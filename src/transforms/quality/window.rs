//! What is known of one window of a stream.

use super::{
    moments::Moments,
    rules::{Limits, Range, Rules},
    steps::Steps,
};

/// The rules whose offences are listed, in the order of the lists.
pub(super) const LISTED: [&str; 5] = ["gap", "range", "flatline", "spike", "rate"];

/// A rule's place in [`LISTED`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Listed {
    Gap,
    Range,
    Flatline,
    Spike,
    Rate,
}

/// Points that a rule has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) fail: u64,
    pub(super) suspect: u64,
}

/// Everything about the points of one window, less than a KiB. Times are nanoseconds.
#[derive(Debug)]
pub(super) struct Window {
    /// Points, whatever their value.
    pub(super) count: u64,
    pub(super) duplicates: u64,
    pub(super) out_of_order: u64,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) steps: Steps,
    /// Gaps that end here.
    pub(super) gaps: u64,
    /// Time within gaps that begin and end here, and the longest of those.
    pub(super) gap_time: i64,
    pub(super) longest_gap: i64,
    pub(super) nulls: u64,
    pub(super) nans: u64,
    pub(super) infinities: u64,
    pub(super) zeros: u64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) moments: Moments,
    pub(super) range: Found,
    /// Stretches with flat points here, flat points, and the longest stretch that ends at a point here.
    pub(super) flatlines: u64,
    pub(super) flat_points: u64,
    pub(super) longest_flat: i64,
    pub(super) spike: Found,
    pub(super) rate: Found,
    pub(super) max_rate: f64,
    /// The first offences of each rule, where there are any.
    pub(super) offences: Option<Box<[Vec<i64>; LISTED.len()]>>,
}

impl Default for Window {
    fn default() -> Self {
        Window {
            count: 0,
            duplicates: 0,
            out_of_order: 0,
            first: i64::MAX,
            last: i64::MIN,
            steps: Steps::default(),
            gaps: 0,
            gap_time: 0,
            longest_gap: 0,
            nulls: 0,
            nans: 0,
            infinities: 0,
            zeros: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            moments: Moments::default(),
            range: Found::default(),
            flatlines: 0,
            flat_points: 0,
            longest_flat: 0,
            spike: Found::default(),
            rate: Found::default(),
            max_rate: 0.0,
            offences: None,
        }
    }
}

impl Window {
    /// Bytes of memory it takes.
    pub(super) fn size(&self) -> usize {
        let lists = self.offences.as_ref().map_or(0, |lists| {
            size_of_val(lists.as_ref()) + lists.iter().map(|list| list.capacity() * 8).sum::<usize>()
        });
        size_of::<Window>() + self.steps.size() + lists
    }

    /// Notes one of the first offences against a rule.
    pub(super) fn offence(&mut self, rule: Listed, time: i64, cap: usize) {
        if cap > 0 {
            let list = &mut self.offences.get_or_insert_default()[rule as usize];
            if list.len() < cap {
                list.push(time);
            }
        }
    }

    /// Counts points by their times alone.
    pub(super) fn times(&mut self, times: &[i64], ascending: bool) {
        self.count += times.len() as u64;
        let (first, last) = match (times, ascending) {
            ([], _) => return,
            ([first, .., last], true) => (*first, *last),
            _ => times.iter().fold((i64::MAX, i64::MIN), |(first, last), time| (first.min(*time), last.max(*time))),
        };
        self.first = self.first.min(first);
        self.last = self.last.max(last);
    }

    /// Adds the steps between points that all lie in this window, in order.
    pub(super) fn steps(&mut self, times: &[i64], rules: &Rules, cap: usize) {
        const PAIRS: usize = 256;
        let longest = rules.longest();
        for start in (0..times.len().saturating_sub(1)).step_by(PAIRS) {
            let times = &times[start..times.len().min(start + PAIRS + 1)];
            let step = self.steps.last();
            let differs = times.windows(2).fold(0, |differs, pair| differs | ((pair[1] - pair[0]) ^ step));
            if differs == 0 && step > 0 && step <= longest {
                self.steps.add(step, times.len() as u64 - 1, longest);
                continue;
            }
            for pair in times.windows(2) {
                self.step(pair[0], pair[1], longest);
                if pair[1] - pair[0] > longest {
                    self.gap_time = self.gap_time.saturating_add(pair[1] - pair[0]);
                    self.longest_gap = self.longest_gap.max(pair[1] - pair[0]);
                    self.gaps += 1;
                    self.offence(Listed::Gap, pair[1], cap);
                }
            }
        }
    }

    /// Adds the step from one time to the next, which lies here.
    pub(super) fn step(&mut self, from: i64, to: i64, longest: i64) {
        match to - from {
            0 => self.duplicates += 1,
            step => self.steps.add(step, 1, longest),
        }
    }

    /// Adds values that are all finite.
    pub(super) fn values(&mut self, times: &[i64], values: &[f64], rules: &Rules, cap: usize) {
        let (min, max) = extremes(values);
        (self.min, self.max) = (self.min.min(min), self.max.max(max));
        self.zeros += values.iter().map(|value| u64::from(*value == 0.0)).sum::<u64>();
        self.moments.add(values);
        if let Some(range) = &rules.range
            && (min < range.suspect[0] || max > range.suspect[1])
        {
            self.out_of_range(times, values, range, cap);
        }
    }

    fn out_of_range(&mut self, times: &[i64], values: &[f64], range: &Range, cap: usize) {
        let outside = |value: f64, [low, high]: [f64; 2]| value < low || value > high;
        for (time, value) in times.iter().zip(values) {
            if outside(*value, range.suspect) {
                match outside(*value, range.fail) {
                    true => self.range.fail += 1,
                    false => self.range.suspect += 1,
                }
                self.offence(Listed::Range, *time, cap);
            }
        }
    }

    /// Judges the middle one of three values that follow each other.
    pub(super) fn spike(&mut self, time: i64, [before, value, after]: [f64; 3], limits: &Limits, cap: usize) {
        let apart = apart(before, value, after);
        if apart > limits.suspect {
            match apart > limits.fail {
                true => self.spike.fail += 1,
                false => self.spike.suspect += 1,
            }
            self.offence(Listed::Spike, time, cap);
        }
    }

    /// Judges all values but the first and the last.
    pub(super) fn spikes(&mut self, times: &[i64], values: &[f64], limits: &Limits, cap: usize) {
        const VALUES: usize = 256;
        for start in (0..values.len().saturating_sub(2)).step_by(VALUES) {
            let part = &values[start..values.len().min(start + VALUES + 2)];
            let any = part.windows(3).fold(false, |any, of| any | (apart(of[0], of[1], of[2]) > limits.suspect));
            if any {
                for (place, of) in part.windows(3).enumerate() {
                    self.spike(times[start + place + 1], [of[0], of[1], of[2]], limits, cap);
                }
            }
        }
    }

    /// Judges the change from one point to the next, which lies here.
    pub(super) fn rate(&mut self, (from, before): (i64, f64), (to, value): (i64, f64), limits: &Limits, cap: usize) {
        if to == from {
            return;
        }
        let rate = (value - before).abs() / ((to - from) as f64 / 1e9);
        self.max_rate = self.max_rate.max(rate);
        if rate > limits.suspect {
            match rate > limits.fail {
                true => self.rate.fail += 1,
                false => self.rate.suspect += 1,
            }
            self.offence(Listed::Rate, to, cap);
        }
    }
}

/// How far a value is from the mean of its neighbours.
fn apart(before: f64, value: f64, after: f64) -> f64 {
    (value - (before * 0.5 + after * 0.5)).abs()
}

/// The smallest and the largest value.
fn extremes(values: &[f64]) -> (f64, f64) {
    const LANES: usize = 8;
    let (mut min, mut max) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
    let (chunks, tail) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for ((value, min), max) in chunk.iter().zip(&mut min).zip(&mut max) {
            *min = if value < min { *value } else { *min };
            *max = if value > max { *value } else { *max };
        }
    }
    let min = min.iter().chain(tail).copied().fold(f64::INFINITY, f64::min);
    // Adding 0 makes one of both zeros, which are equal and might come in any order.
    (min + 0.0, max.iter().chain(tail).copied().fold(f64::NEG_INFINITY, f64::max) + 0.0)
}
