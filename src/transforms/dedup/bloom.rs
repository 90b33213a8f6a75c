//! Which keys are certainly not in a run: a split block Bloom filter, as Parquet has it.
//!
//! It takes 10 bits a key and lets one of about 80 keys through that are not there; each costs a look at the disk. Sorted
//! 32-bit prints would let hardly any through, and take three times the memory, which is better used for keys. All bits of
//! a key lie in one line of the processor's cache. Where even that is too much memory, it can be halved once; then it lets
//! one of about 6 through.

/// Bits of a key's share.
const BITS: u64 = 10;

/// Each sets one bit of a word (the odd numbers that Parquet uses).
const SALTS: [u32; WORDS] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

const WORDS: usize = 8;

/// Bytes of one of its blocks.
const BLOCK: usize = WORDS * 4;

/// A filter of hashes.
#[derive(Debug)]
pub(super) struct Filter {
    blocks: Vec<[u32; WORDS]>,
    halved: bool,
}

impl Filter {
    /// For so many keys: a whole one, or half of one where only that takes `most` bytes at most, or none.
    pub(super) fn new(keys: u64, most: usize) -> Option<Filter> {
        let whole = keys.saturating_mul(BITS).div_ceil(8 * BLOCK as u64).max(1).next_multiple_of(2);
        let whole = usize::try_from(whole).ok()?;
        let most = most / BLOCK;
        let (blocks, halved) = if whole <= most { (whole, false) } else { (whole / 2, true) };
        (blocks <= most).then(|| Filter { blocks: vec![[0; WORDS]; blocks], halved })
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        self.blocks.capacity() * BLOCK
    }

    pub(super) fn add(&mut self, hash: u64) {
        let place = self.place(hash);
        self.blocks[place].iter_mut().zip(bits(hash)).for_each(|(word, bit)| *word |= bit);
    }

    /// May a key with this hash be there? If not, it is not.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        let words = self.blocks[self.place(hash)].iter().zip(bits(hash));
        words.fold(0, |missing, (word, bit)| missing | (bit & !word)) == 0
    }

    /// Puts two neighbours into one, where that was not done before.
    pub(super) fn halve(&mut self) -> bool {
        if self.halved {
            return false;
        }
        let pairs = self.blocks.as_chunks().0.iter();
        self.blocks = pairs.map(|[one, other]| std::array::from_fn(|word| one[word] | other[word])).collect();
        self.halved = true;
        true
    }

    /// The block of a hash. Where there are half as many blocks, its number is half of what it was.
    fn place(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.blocks.len() as u128) >> 64) as usize
    }
}

fn bits(hash: u64) -> [u32; WORDS] {
    SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use hashbrown::DefaultHashBuilder;

    use super::*;

    #[test]
    fn what_is_there_passes_and_little_else_does() {
        let hasher = DefaultHashBuilder::default();
        let hashes = |numbers: std::ops::Range<u64>| numbers.map(|n| hasher.hash_one(n.to_be_bytes().as_slice()));
        for keys in [1, 2, 100, 20_000] {
            let mut filter = Filter::new(keys, usize::MAX).expect("there is room");
            hashes(0..keys).for_each(|hash| filter.add(hash));
            let size = filter.size();
            assert!(size as u64 <= keys * BITS / 8 + 2 * BLOCK as u64, "{size}");
            for (most, halved) in [(0.02, false), (0.25, true)] {
                assert!(filter.halved == halved && hashes(0..keys).all(|hash| filter.may_have(hash)));
                let wrong = hashes(1 << 40..(1 << 40) + 100_000).filter(|hash| filter.may_have(*hash)).count();
                assert!(wrong as f64 <= 100_000.0 * most, "{wrong} of 100000 pass with {keys} keys, halved: {halved}");
                assert_eq!(filter.halve(), !halved);
            }
            assert!(filter.size() <= size / 2);
        }
    }

    #[test]
    fn it_takes_no_more_than_it_may() {
        let size = Filter::new(1000, usize::MAX).expect("there is room").size();
        for (most, expected) in [(size, Some(size)), (size - 1, Some(size / 2)), (size / 2 - 1, None)] {
            assert_eq!(Filter::new(1000, most).map(|filter| filter.size()), expected);
        }
        // One that was made by half is one that was halved.
        let [mut whole, mut half] = [usize::MAX, size / 2].map(|most| Filter::new(1000, most).expect("there is room"));
        for hash in (0..1000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            whole.add(hash);
            half.add(hash);
        }
        assert!(whole.halve() && !half.halve() && whole.blocks == half.blocks);
    }
}
