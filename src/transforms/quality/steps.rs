//! The steps from one time to the next: extremes, median, jitter, in bounded memory.

/// Different steps that are counted one by one; beyond that they are counted by bucket.
const EXACT: usize = 64;

/// A bucket is 1/128 of the power of two below it: its middle is off by 0.4 % at most.
const PRECISION: u32 = 7;

/// Steps in nanoseconds, all above 0. What it answers follows from the steps and not from the order in which they were
/// added, so steps may be counted apart and merged.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    counts: Counts,
    least: i64,
    most: i64,
    /// Count, sum and sum of squares of those that are not gaps.
    regular: u64,
    sum: u128,
    squares: u128,
    /// The step that was added last, and how often in a row; not in anything else yet.
    run: (i64, u64),
}

/// How often each step occurs.
#[derive(Clone, Debug)]
enum Counts {
    /// One by one, ascending.
    Each(Vec<(i64, u64)>),
    /// By bucket, from the bucket `first` on.
    Buckets { first: usize, counts: Vec<u64> },
}

impl Default for Counts {
    fn default() -> Self {
        Counts::Each(Vec::new())
    }
}

impl Steps {
    /// The step that was added last; 0 where there is none.
    pub(super) fn last(&self) -> i64 {
        self.run.0
    }

    /// Adds a step `times` times. Those above `longest` are gaps, which are not part of the jitter.
    pub(super) fn add(&mut self, step: i64, times: u64, longest: i64) {
        if step == self.run.0 {
            self.run.1 += times;
        } else {
            self.settle(longest);
            self.run = (step, times);
        }
    }

    /// Takes in the run that is under way.
    pub(super) fn settle(&mut self, longest: i64) {
        let (step, times) = std::mem::take(&mut self.run);
        if times == 0 {
            return;
        }
        self.least = if self.least == 0 { step } else { self.least.min(step) };
        self.most = self.most.max(step);
        self.counts.add(step, times);
        if step <= longest {
            self.regular += times;
            let (step, times) = (u128::from(step.unsigned_abs()), u128::from(times));
            self.sum = self.sum.saturating_add(step * times);
            self.squares = self.squares.saturating_add((step * step).saturating_mul(times));
        }
    }

    /// Bytes of memory on top of its own size.
    pub(super) fn size(&self) -> usize {
        match &self.counts {
            Counts::Each(counts) => counts.capacity() * 16,
            Counts::Buckets { counts, .. } => counts.capacity() * 8,
        }
    }

    /// Adds what another one has counted; both are settled.
    pub(super) fn merge(&mut self, other: &Steps) {
        match &other.counts {
            Counts::Each(counts) => counts.iter().for_each(|(step, times)| self.counts.add(*step, *times)),
            Counts::Buckets { first, counts } => self.counts.add_buckets(*first, counts),
        }
    }

    /// The shortest and the longest step, once it is settled.
    pub(super) fn extremes(&self) -> Option<(i64, i64)> {
        (self.most > 0).then_some((self.least, self.most))
    }

    /// Twice the median step, once it is settled: twice, for the median of an even number of steps is the mean of the
    /// middle two. Exact where there are 64 different steps at most, else within 0.4 %.
    pub(super) fn doubled_median(&self) -> Option<i128> {
        self.counts.doubled_median()
    }

    /// The standard deviation of the steps that are not gaps, in nanoseconds, once it is settled.
    pub(super) fn jitter(&self) -> Option<f64> {
        if self.regular < 2 {
            return None;
        }
        let count = u128::from(self.regular);
        let squares = match (self.squares.checked_mul(count), self.sum.checked_mul(self.sum)) {
            (Some(all), Some(square)) => all.saturating_sub(square) as f64,
            // Steps of years: what rounding loses is far below what such a deviation is good for.
            _ => (self.squares as f64 * count as f64 - self.sum as f64 * self.sum as f64).max(0.0),
        };
        Some((squares / (count as f64 * (count - 1) as f64)).sqrt())
    }
}

impl Counts {
    fn add(&mut self, step: i64, times: u64) {
        match self {
            Counts::Each(counts) => match counts.binary_search_by_key(&step, |(step, _)| *step) {
                Ok(place) => counts[place].1 += times,
                Err(place) if counts.len() < EXACT => counts.insert(place, (step, times)),
                Err(_) => {
                    self.count_by_bucket();
                    self.add(step, times);
                }
            },
            Counts::Buckets { .. } => self.add_buckets(bucket(step), &[times]),
        }
    }

    fn count_by_bucket(&mut self) {
        if let Counts::Each(counts) = self {
            let counts = std::mem::take(counts);
            *self = Counts::Buckets { first: 0, counts: Vec::new() };
            counts.into_iter().for_each(|(step, times)| self.add(step, times));
        }
    }

    /// Adds the counts of buckets that follow each other.
    fn add_buckets(&mut self, from: usize, more: &[u64]) {
        self.count_by_bucket();
        let Counts::Buckets { first, counts } = self else { return };
        if counts.is_empty() {
            *first = from;
        } else if from < *first {
            counts.splice(0..0, std::iter::repeat_n(0, *first - from));
            *first = from;
        }
        let at = from - *first;
        if counts.len() < at + more.len() {
            counts.resize(at + more.len(), 0);
        }
        counts[at..].iter_mut().zip(more).for_each(|(count, times)| *count += times);
    }

    fn doubled_median(&self) -> Option<i128> {
        let of = |all: &mut dyn Iterator<Item = (i128, u64)>, count: u64| {
            let (low, high) = ((count - 1) / 2, count / 2);
            let (mut before, mut lower) = (0, None);
            for (twice, times) in all {
                before += times;
                if before > low && lower.is_none() {
                    lower = Some(twice);
                }
                if before > high {
                    return lower.map(|lower| (lower + twice) / 2);
                }
            }
            None
        };
        match self {
            Counts::Each(counts) if counts.is_empty() => None,
            Counts::Each(counts) => {
                let count = counts.iter().map(|(_, times)| times).sum();
                of(&mut counts.iter().map(|(step, times)| (i128::from(*step) * 2, *times)), count)
            }
            Counts::Buckets { first, counts } => {
                let all = counts.iter().enumerate().map(|(n, times)| (doubled_middle(first + n), *times));
                of(&mut all.filter(|(_, times)| *times > 0), counts.iter().sum())
            }
        }
    }
}

/// The bucket of a step: small steps have one each, others one per 1/128 of the power of two below them.
fn bucket(step: i64) -> usize {
    let step = step.unsigned_abs().max(1);
    let power = step.ilog2();
    let shift = power.saturating_sub(PRECISION);
    ((shift as usize) << PRECISION) + (step >> shift) as usize
}

/// Twice the middle of the steps in a bucket.
fn doubled_middle(bucket: usize) -> i128 {
    let per_power = 1_usize << PRECISION;
    if bucket < 2 * per_power {
        return bucket as i128 * 2;
    }
    let shift = bucket / per_power - 1;
    let lowest = ((bucket - shift * per_power) as i128) << shift;
    2 * lowest + (1_i128 << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(all: &[i64]) -> Steps {
        let mut steps = Steps::default();
        all.iter().for_each(|step| steps.add(*step, 1, i64::MAX));
        steps.settle(i64::MAX);
        steps
    }

    #[test]
    fn few_different_steps_have_their_exact_median() {
        let table: [(&[i64], Option<i128>); 6] = [
            (&[], None),
            (&[5], Some(10)),
            (&[1, 2], Some(3)),
            (&[7, 7, 1], Some(14)),
            (&[1, 1, 9, 9], Some(10)),
            (&[i64::MAX, i64::MAX], Some(i64::MAX as i128 * 2)),
        ];
        for (all, median) in table {
            assert_eq!(steps(all).doubled_median(), median, "{all:?}");
        }
    }

    #[test]
    fn many_different_steps_have_nearly_their_median() {
        for scale in [1, 1_000, 1_000_000_007] {
            let mut all: Vec<i64> = (0..5001).map(|n| (n * 7919 % 5001 + 1) * scale).collect();
            let found = steps(&all).doubled_median().expect("there are steps") as f64 / 2.0;
            all.sort_unstable();
            let exact = all[2500] as f64;
            assert!((found / exact - 1.0).abs() <= 0.004, "{found} {exact}");
        }
    }

    #[test]
    fn parts_merged_answer_as_the_whole() {
        let all: Vec<i64> = (0..400).map(|n| n * n * 31 % 977 + 5).collect();
        for part in [0, 1, 20, 100, 399] {
            let mut merged = steps(&all[..part]);
            merged.merge(&steps(&all[part..]));
            assert_eq!(merged.doubled_median(), steps(&all).doubled_median(), "{part}");
        }
    }

    #[test]
    fn every_step_lies_near_the_middle_of_its_bucket() {
        for step in (0..62).flat_map(|power| [(1_i64 << power), (1 << power) + (1 << power) / 3, (2 << power) - 1]) {
            let middle = doubled_middle(bucket(step)) as f64 / 2.0;
            assert!((middle / step as f64 - 1.0).abs() <= 0.004, "{step} {middle}");
        }
        assert!((1..100_000).all(|step| bucket(step) <= bucket(step + 1)));
    }

    #[test]
    fn jitter_is_the_deviation_of_steps_that_are_no_gaps() {
        let mut steps = Steps::default();
        for step in [1_000_000_000, 1_000_000_002, 90_000_000_000, 1_000_000_001] {
            steps.add(step, 1, 2_000_000_000);
        }
        steps.settle(2_000_000_000);
        assert_eq!(steps.jitter(), Some(1.0));
        assert_eq!(steps.extremes(), Some((1_000_000_000, 90_000_000_000)));
        let mut far = Steps::default();
        for years in [i64::MAX, i64::MAX - 2] {
            far.add(years, 1 << 40, i64::MAX);
        }
        far.settle(i64::MAX);
        assert!(far.jitter().is_some_and(f64::is_finite));
    }
}
