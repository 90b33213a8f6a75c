//! How one of many is picked: evenly, by weight, by rank (Zipf), or each at most once.

use super::{
    cells::Cell,
    rng::{Rng, hash, mix},
};

/// Picks an index.
#[derive(Clone, Debug)]
pub(super) enum Pick {
    /// Any index below this with equal chance; 0 stands for 2⁶⁴.
    Even(u64),
    /// By weight.
    Weighted(Alias),
    /// Each index at most once.
    Distinct(Permutation),
}

impl Pick {
    /// The index for a cell.
    pub(super) fn index(&self, cell: Cell) -> u64 {
        match self {
            Pick::Even(n) => super::rng::scale(cell.key(), *n),
            Pick::Weighted(alias) => alias.index(&mut cell.rng()),
            Pick::Distinct(permutation) => permutation.index(cell.seed, cell.n),
        }
    }
}

/// Walker's alias method: one draw whatever the number of weights.
#[derive(Clone, Debug)]
pub(super) struct Alias {
    /// For each slot: the chance of its own index, and the index that has the rest.
    slots: Vec<(f64, u32)>,
}

impl Alias {
    /// A table for these weights: finite, none negative, not all 0.
    pub(super) fn new(weights: &[f64]) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut slots: Vec<(f64, u32)> = weights.iter().enumerate().map(|(i, w)| (w / mean, i as u32)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..slots.len()).partition(|&i| slots[i].0 < 1.0);
        while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
            small.pop();
            slots[poor].1 = rich as u32;
            slots[rich].0 -= 1.0 - slots[poor].0;
            if slots[rich].0 < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        // What rounding left over is as good as full, unless its weight is 0.
        for i in small.into_iter().chain(large) {
            if weights[i] > 0.0 {
                slots[i] = (1.0, i as u32);
            }
        }
        Alias { slots }
    }

    fn index(&self, rng: &mut Rng) -> u64 {
        let i = rng.below(self.slots.len() as u64);
        let (own, other) = self.slots[i as usize];
        if rng.unit() < own { i } else { u64::from(other) }
    }
}

/// A seeded one-to-one shuffle of the numbers below `n`, computed for one number at a time: a Feistel
/// network over the next power of four, walked until it lands below `n`.
#[derive(Clone, Debug)]
pub(super) struct Permutation {
    n: u64,
    half: u32,
}

/// Rounds of the network: four mix both halves of any input into all of its output.
const ROUNDS: u64 = 4;

impl Permutation {
    /// The largest domain that is shuffled; a larger one is cut to it.
    pub(super) const MAX: u64 = 1 << 62;

    /// A shuffle of the numbers below `n`, which is not 0.
    pub(super) fn new(n: u64) -> Self {
        let n = n.clamp(1, Self::MAX);
        let bits = u64::BITS - (n - 1).leading_zeros();
        Permutation { n, half: bits.div_ceil(2) }
    }

    /// Where `i` goes under `seed`.
    pub(super) fn index(&self, seed: u64, i: u64) -> u64 {
        if self.half == 0 {
            return 0;
        }
        let mut x = i % self.n;
        loop {
            x = self.round_trip(seed, x);
            if x < self.n {
                return x;
            }
        }
    }

    fn round_trip(&self, seed: u64, x: u64) -> u64 {
        let mask = (1_u64 << self.half) - 1;
        let (mut left, mut right) = (x >> self.half, x & mask);
        for round in 0..ROUNDS {
            let turned = left ^ (mix(hash(seed, round) ^ right) & mask);
            (left, right) = (right, turned);
        }
        (left << self.half) | right
    }
}

/// Ranks 1 to `n` where rank *k* has a chance proportional to *k*⁻ˢ, by rejection-inversion (Hörmann and
/// Derflinger, 1996): no table, about one draw for each rank.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    n: f64,
    s: f64,
    /// The integral of the density at 1.5, less the chance of rank 1.
    from: f64,
    /// The integral of the density at `n` + 0.5.
    to: f64,
    /// Within this distance a rank is taken without a further test.
    near: f64,
}

impl Zipf {
    /// `n` is at least 1, `s` is positive and finite.
    pub(super) fn new(n: u64, s: f64) -> Self {
        let n = n as f64;
        let mut zipf = Zipf { n, s, from: 0.0, to: 0.0, near: 0.0 };
        zipf.from = zipf.integral(1.5) - 1.0;
        zipf.to = zipf.integral(n + 0.5);
        zipf.near = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// A rank.
    pub(super) fn rank(&self, rng: &mut Rng) -> u64 {
        loop {
            let u = self.to + rng.unit() * (self.from - self.to);
            let x = self.inverse(u);
            let k = x.round().clamp(1.0, self.n);
            if k - x <= self.near || u >= self.integral(k + 0.5) - self.density(k) {
                return k as u64;
            }
        }
    }

    fn density(&self, x: f64) -> f64 {
        (-self.s * x.ln()).exp()
    }

    /// The integral of the density from 1 to `x`, well behaved where `s` is near 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let t = (1.0 - self.s) * log;
        if t.abs() > 1e-8 { t.exp_m1() / t * log } else { log * (1.0 + t / 2.0) }
    }

    fn inverse(&self, y: f64) -> f64 {
        let t = (y * (1.0 - self.s)).max(-1.0);
        if t.abs() > 1e-8 { (t.ln_1p() / t * y).exp() } else { (y * (1.0 - t / 2.0)).exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_meets_every_number_once() {
        for n in [1, 2, 3, 5, 16, 17, 1000, 4097] {
            let permutation = Permutation::new(n);
            let mut met: Vec<u64> = (0..n).map(|i| permutation.index(99, i)).collect();
            if n == 1000 {
                assert_ne!(met, (0..n).collect::<Vec<_>>());
                assert_ne!(met, (0..n).map(|i| permutation.index(98, i)).collect::<Vec<_>>());
            }
            met.sort_unstable();
            assert_eq!(met, (0..n).collect::<Vec<_>>(), "{n}");
        }
    }

    #[test]
    fn a_huge_domain_is_shuffled_too() {
        let permutation = Permutation::new(u64::MAX);
        let met: std::collections::HashSet<u64> = (0..10_000).map(|i| permutation.index(1, i)).collect();
        assert_eq!(met.len(), 10_000);
        assert!(met.iter().all(|x| *x < Permutation::MAX));
    }

    #[test]
    fn weights_are_kept() {
        let alias = Alias::new(&[1.0, 0.0, 7.0, 2.0]);
        let mut rng = Rng::new(5);
        let mut counts = [0_u32; 4];
        (0..100_000).for_each(|_| counts[alias.index(&mut rng) as usize] += 1);
        for (count, wanted) in counts.into_iter().zip([10_000, 0, 70_000, 20_000]) {
            assert!(count.abs_diff(wanted) < 600, "{counts:?}");
        }
        assert_eq!(counts[1], 0);
    }

    #[test]
    fn ranks_fall_as_the_law_says() {
        for (n, s) in [(100, 1.0), (100, 0.5), (50, 2.0), (1, 1.5)] {
            let zipf = Zipf::new(n, s);
            let mut rng = Rng::new(11);
            let mut counts = vec![0_u32; n as usize + 1];
            (0..200_000).for_each(|_| counts[zipf.rank(&mut rng) as usize] += 1);
            let total: f64 = (1..=n).map(|k| (k as f64).powf(-s)).sum();
            for k in [1, 2.min(n), n.div_ceil(2)] {
                let wanted = 200_000.0 * (k as f64).powf(-s) / total;
                let off = (f64::from(counts[k as usize]) - wanted).abs();
                assert!(off < 5.0 * wanted.sqrt() + 5.0, "n {n} s {s} rank {k}: {} for {wanted}", counts[k as usize]);
            }
            assert_eq!(counts[0], 0);
        }
    }
}
