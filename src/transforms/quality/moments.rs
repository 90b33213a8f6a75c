//! Mean and spread of the values of a window, whatever batches they come in.

/// Running means side by side: value *i* of a window belongs to lane *i* mod this.
const LANES: usize = 8;

/// Count, mean and sum of squared deviations after Welford, in lanes.
///
/// The lane of a value follows from its place among the values of its window and from nothing else, and lanes are put
/// together in one order at the end: so the last bit is the same for every batch size and number of workers.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    count: u64,
    mean: [f64; LANES],
    squares: [f64; LANES],
}

impl Moments {
    /// How many values there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds values that are all finite.
    pub(super) fn add(&mut self, values: &[f64]) {
        let head = (LANES as u64 - self.count % LANES as u64) as usize % LANES;
        let (head, rest) = values.split_at(head.min(values.len()));
        head.iter().for_each(|value| self.add_one(*value));
        let (chunks, tail) = rest.as_chunks::<LANES>();
        let mut rounds = self.count / LANES as u64;
        self.count += (rest.len() - tail.len()) as u64;
        // Copies that stay in registers.
        let (mut means, mut squares) = (self.mean, self.squares);
        for chunk in chunks {
            rounds += 1;
            let share = 1.0 / rounds as f64;
            for ((value, mean), square) in chunk.iter().zip(&mut means).zip(&mut squares) {
                let from_old = value - *mean;
                *mean += from_old * share;
                *square += from_old * (value - *mean);
            }
        }
        (self.mean, self.squares) = (means, squares);
        tail.iter().for_each(|value| self.add_one(*value));
    }

    fn add_one(&mut self, value: f64) {
        let lane = (self.count % LANES as u64) as usize;
        let share = 1.0 / (self.count / LANES as u64 + 1) as f64;
        let from_old = value - self.mean[lane];
        self.mean[lane] += from_old * share;
        self.squares[lane] += from_old * (value - self.mean[lane]);
        self.count += 1;
    }

    /// Mean and standard deviation of a sample; absent where there are too few values, or where they are so large that
    /// the result is not a number.
    pub(super) fn mean_and_deviation(&self) -> (Option<f64>, Option<f64>) {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for lane in 0..LANES {
            let more = self.count / LANES as u64 + u64::from((lane as u64) < self.count % LANES as u64);
            if more == 0 {
                break;
            }
            let (more, apart) = (more as f64, self.mean[lane] - mean);
            let sum = count + more;
            mean += apart * more / sum;
            squares += self.squares[lane] + apart * apart * count * more / sum;
            count = sum;
        }
        let finite = |number: f64| Some(number).filter(|number| number.is_finite());
        let mean = if self.count == 0 { None } else { finite(mean) };
        let deviation = if self.count < 2 { None } else { finite((squares / (count - 1.0)).sqrt()) };
        (mean, deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Vec<f64> {
        (0..1000_u64).map(|n| 1e6 + (n * 7919 % 1000) as f64 / 7.0).collect()
    }

    #[test]
    fn batches_of_any_size_give_the_same_bits() {
        let values = values();
        let told = |size: usize| {
            let mut moments = Moments::default();
            values.chunks(size).for_each(|chunk| moments.add(chunk));
            let (mean, deviation) = moments.mean_and_deviation();
            (moments.count(), mean.map(f64::to_bits), deviation.map(f64::to_bits))
        };
        for size in [1, 3, 7, 8, 9, 64, 333, 1000] {
            assert_eq!(told(size), told(1000), "{size}");
        }
    }

    #[test]
    fn mean_and_deviation_are_those_of_the_definition() {
        let values = values();
        let mut moments = Moments::default();
        moments.add(&values);
        let mean = values.iter().sum::<f64>() / 1000.0;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let (found, deviation) = moments.mean_and_deviation();
        assert!((found.expect("a mean") - mean).abs() < 1e-6);
        assert!((deviation.expect("a deviation") - (squares / 999.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn too_few_or_too_large_values_have_none() {
        let told = |values: &[f64]| {
            let mut moments = Moments::default();
            moments.add(values);
            moments.mean_and_deviation()
        };
        assert_eq!(told(&[]), (None, None));
        assert_eq!(told(&[2.5]), (Some(2.5), None));
        assert_eq!(told(&[2.0, 4.0]), (Some(3.0), Some(2_f64.sqrt())));
        assert_eq!(told(&[f64::MAX, f64::MIN]), (None, None));
    }
}
