//! Randomness without state between values: a hash of the place of a value seeds a small generator on the
//! stack, so that any value can be made alone, in any order, on any thread.

use std::convert::Infallible;

use fake::rand::rand_core::{TryRng, utils::fill_bytes_via_next_word};

/// The golden ratio in 64 bits: an odd number whose multiples are spread well.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes 64 bits so that each bit of the answer depends on every bit given. One to one.
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The hash of number `n` under `seed`. For one seed, different numbers have different hashes.
pub(super) fn hash(seed: u64, n: u64) -> u64 {
    mix(seed.wrapping_add(n.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// The hash of a name under `seed`.
pub(super) fn hash_name(seed: u64, name: &str) -> u64 {
    name.bytes().fold(hash(seed, name.len() as u64), |state, byte| hash(state, u64::from(byte)))
}

/// SplitMix64: one addition and one mixing for each number.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// The generator that follows from `key`.
    pub(super) fn new(key: u64) -> Self {
        Rng(key)
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number below `n`; 0 stands for 2⁶⁴. The bias is at most `n` in 2⁶⁴.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        scale(self.next(), n)
    }

    /// A number from 0 (included) to 1 (excluded), in steps of 2⁻⁵³.
    pub(super) fn unit(&mut self) -> f64 {
        unit(self.next())
    }
}

/// 64 random bits to a number below `n`; 0 stands for 2⁶⁴.
pub(super) fn scale(bits: u64, n: u64) -> u64 {
    match n {
        0 => bits,
        n => ((u128::from(bits) * u128::from(n)) >> 64) as u64,
    }
}

/// 64 random bits to a number from 0 (included) to 1 (excluded).
pub(super) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// The `fake` crate's own fakers draw from it too.
impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill_bytes_via_next_word(bytes, || self.try_next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_different_numbers_differ() {
        let mut seen: Vec<u64> = (0..100_000).map(|n| hash(7, n)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 100_000);
    }

    #[test]
    fn names_and_seeds_change_the_hash() {
        let all = [hash_name(1, "ab"), hash_name(1, "ba"), hash_name(1, "a"), hash_name(2, "ab"), hash_name(1, "")];
        let different: std::collections::HashSet<u64> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn numbers_below_a_bound_are_spread_evenly() {
        let mut rng = Rng::new(3);
        let mut counts = [0_u32; 7];
        (0..70_000).for_each(|_| counts[rng.below(7) as usize] += 1);
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 400), "{counts:?}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&rng.unit())));
    }
}
