//! Keys on disk in the order of their hashes, in which keys are looked up.
//!
//! A block has the hashes of its keys, where each key ends, and the keys. Blocks are small and as they are: a key that is
//! looked up is worth reading one page, not decompressing many.

use std::sync::Arc;

use super::bloom::Filter;
use crate::{
    exchange::{BlockWriter, Blocks, Exchange, Part},
    failure::{Exit, Failure},
};

/// Bytes of a block, about.
const BLOCK: usize = 4 << 10;

/// A row whose key is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    pub(super) hash: u64,
    pub(super) row: u32,
}

/// Different keys on disk.
pub(super) struct Run {
    blocks: Blocks,
    /// The hash of the first key of each block. Keys of one hash lie in one block.
    firsts: Vec<u64>,
    /// None where there was no memory for it: then all keys are looked up on disk.
    pub(super) filter: Option<Filter>,
}

/// A block that was read.
#[derive(Default)]
pub(super) struct Page {
    number: Option<usize>,
    bytes: Vec<u8>,
}

/// What is in it.
struct View<'a> {
    hashes: &'a [[u8; 8]],
    ends: &'a [[u8; 4]],
    keys: &'a [u8],
}

impl Run {
    /// What of it lies on disk.
    pub(super) fn part(&self) -> &Part {
        self.blocks.part()
    }

    /// Bytes of memory, without the filter.
    pub(super) fn index(&self) -> usize {
        self.blocks.size() + self.firsts.capacity() * 8
    }

    /// Moves those of `asked` to `found` whose keys are here. They are in the order of their hashes, so no block is read
    /// twice.
    pub(super) fn take<'a>(
        &self,
        asked: &mut Vec<Asked>,
        key: &impl Fn(u32) -> &'a [u8],
        found: &mut Vec<Asked>,
        page: &mut Page,
    ) -> Result<(), Failure> {
        page.number = None;
        let mut left = 0;
        for at in 0..asked.len() {
            let one = asked[at];
            let may = self.filter.as_ref().is_none_or(|filter| filter.may_have(one.hash));
            if may && self.has(one.hash, key(one.row), page)? {
                found.push(one);
            } else {
                asked[left] = one;
                left += 1;
            }
        }
        asked.truncate(left);
        Ok(())
    }

    fn has(&self, hash: u64, key: &[u8], page: &mut Page) -> Result<bool, Failure> {
        let Some(number) = self.firsts.partition_point(|first| *first <= hash).checked_sub(1) else {
            return Ok(false);
        };
        page.turn_to(&self.blocks, number)?;
        let view = page.view().ok_or_else(|| self.blocks.damaged())?;
        let first = view.hashes.partition_point(|other| u64::from_le_bytes(*other) < hash);
        for place in first..view.hashes.len() {
            if u64::from_le_bytes(view.hashes[place]) != hash {
                break;
            }
            if view.key(place).ok_or_else(|| self.blocks.damaged())? == key {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Page {
    fn turn_to(&mut self, blocks: &Blocks, number: usize) -> Result<(), Failure> {
        if self.number != Some(number) {
            self.number = None;
            blocks.read(number, &mut self.bytes)?;
            self.number = Some(number);
        }
        Ok(())
    }

    fn view(&self) -> Option<View<'_>> {
        let (count, rest) = self.bytes.split_first_chunk()?;
        let count = u32::from_le_bytes(*count) as usize;
        let (hashes, rest) = rest.split_at_checked(8 * count)?;
        let (ends, keys) = rest.split_at_checked(4 * count)?;
        Some(View { hashes: hashes.as_chunks().0, ends: ends.as_chunks().0, keys })
    }
}

impl<'a> View<'a> {
    fn key(&self, place: usize) -> Option<&'a [u8]> {
        let end = |place: usize| u32::from_le_bytes(self.ends[place]) as usize;
        self.keys.get(place.checked_sub(1).map_or(0, end)..end(place))
    }
}

/// A run that is being written.
pub(super) struct RunWriter {
    file: BlockWriter,
    firsts: Vec<u64>,
    filter: Option<Filter>,
    /// Of the block that is being filled.
    hashes: Vec<u8>,
    ends: Vec<u8>,
    keys: Vec<u8>,
    /// The hash that came last.
    last: u64,
    block: Vec<u8>,
}

impl RunWriter {
    /// Begins a run, with an empty filter for its keys.
    pub(super) fn new(exchange: &Arc<Exchange>, filter: Option<Filter>) -> Result<RunWriter, Failure> {
        let (hashes, ends, keys, block) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let file = exchange.write_blocks("dedup")?;
        Ok(RunWriter { file, firsts: Vec::new(), filter, hashes, ends, keys, last: 0, block })
    }

    /// Puts a key behind the others. Its hash is not below theirs, and it is none of them.
    pub(super) fn add(&mut self, hash: u64, key: &[u8]) -> Result<(), Failure> {
        let full = self.hashes.len() + self.ends.len() + self.keys.len() + key.len() + 12 > BLOCK;
        if full && hash != self.last && !self.hashes.is_empty() {
            self.write()?;
        }
        if self.hashes.is_empty() {
            self.firsts.push(hash);
        }
        self.last = hash;
        self.hashes.extend(hash.to_le_bytes());
        self.keys.extend(key);
        let end = u32::try_from(self.keys.len())
            .map_err(|_| Failure::new(Exit::Unavailable, "a key of more than 4 GiB cannot be spilled"))?;
        self.ends.extend(end.to_le_bytes());
        if let Some(filter) = &mut self.filter {
            filter.add(hash);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Run, Failure> {
        self.write()?;
        self.firsts.shrink_to_fit();
        Ok(Run { blocks: self.file.finish()?, firsts: self.firsts, filter: self.filter })
    }

    fn write(&mut self) -> Result<(), Failure> {
        let count = self.ends.len() / 4;
        if count == 0 {
            return Ok(());
        }
        self.block.clear();
        self.block.extend((count as u32).to_le_bytes());
        for part in [&mut self.hashes, &mut self.ends, &mut self.keys] {
            self.block.append(part);
        }
        self.file.add(&self.block, count as u64)
    }
}

/// Makes one run of several, which have no key in common. Its filter takes no more memory than theirs did.
pub(super) fn merge(exchange: &Arc<Exchange>, mut runs: Vec<Run>) -> Result<Run, Failure> {
    let filters = runs.iter_mut().filter_map(|run| run.filter.take()).map(|filter| filter.size()).sum();
    let mut writer = RunWriter::new(exchange, Filter::new(runs.iter().map(|run| run.part().rows).sum(), filters))?;
    let mut cursors = Vec::new();
    for run in runs {
        cursors.extend(Cursor::new(run)?);
    }
    // They are so few that a tournament would save nothing.
    while let Some(least) = (0..cursors.len()).min_by_key(|place| cursors[*place].hash) {
        let cursor = &mut cursors[least];
        writer.add(cursor.hash, cursor.key()?)?;
        if !cursor.advance()? {
            // Its file goes now.
            cursors.swap_remove(least);
        }
    }
    writer.finish()
}

/// Reads a run from its first key to its last.
struct Cursor {
    run: Run,
    page: Page,
    number: usize,
    place: usize,
    hash: u64,
}

impl Cursor {
    /// At the first key; nothing where there is none.
    fn new(run: Run) -> Result<Option<Cursor>, Failure> {
        let mut cursor = Cursor { run, page: Page::default(), number: 0, place: 0, hash: 0 };
        Ok(cursor.stand()?.then_some(cursor))
    }

    fn key(&self) -> Result<&[u8], Failure> {
        self.page.view().and_then(|view| view.key(self.place)).ok_or_else(|| self.run.blocks.damaged())
    }

    fn advance(&mut self) -> Result<bool, Failure> {
        self.place += 1;
        self.stand()
    }

    /// Is there a key at its place, or at the start of a later block?
    fn stand(&mut self) -> Result<bool, Failure> {
        while self.number < self.run.blocks.len() {
            self.page.turn_to(&self.run.blocks, self.number)?;
            let view = self.page.view().ok_or_else(|| self.run.blocks.damaged())?;
            if let Some(hash) = view.hashes.get(self.place) {
                self.hash = u64::from_le_bytes(*hash);
                return Ok(true);
            }
            (self.number, self.place) = (self.number + 1, 0);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        io::{self, Read, Write},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::{
        exchange::{Folder, ReadAt, Store},
        testing::{Folder as Scratch, memory},
    };

    type Key = (u64, Vec<u8>);

    /// A run of keys with hashes as they are given here.
    fn run(keys: &BTreeSet<Key>, filter: usize) -> Run {
        run_in(&memory(1 << 20).exchange, keys, filter)
    }

    fn run_in(exchange: &Arc<Exchange>, keys: &BTreeSet<Key>, filter: usize) -> Run {
        let mut writer =
            RunWriter::new(exchange, Filter::new(keys.len() as u64, filter)).expect("there is room on disk");
        keys.iter().for_each(|(hash, key)| writer.add(*hash, key).expect("there is room on disk"));
        writer.finish().expect("there is room on disk")
    }

    /// The keys that are there and those that are not.
    fn divided(run: &Run, keys: &BTreeSet<Key>) -> [Vec<Key>; 2] {
        let keys: Vec<&Key> = keys.iter().collect();
        let mut asked: Vec<Asked> = (0..).zip(&keys).map(|(row, key)| Asked { hash: key.0, row }).collect();
        let (mut found, mut page) = (Vec::new(), Page::default());
        run.take(&mut asked, &|row| &keys[row as usize].1, &mut found, &mut page).expect("it can be read");
        [found, asked].map(|some| some.iter().map(|one| keys[one.row as usize].clone()).collect())
    }

    fn key(hash: u64, text: impl Into<Vec<u8>>) -> Key {
        (hash, text.into())
    }

    #[test]
    fn keys_are_told_apart_where_their_hashes_are_equal() {
        let held: BTreeSet<Key> = [
            key(3, "one"),
            key(3, "other"),
            key(3, ""),
            key(4, "one"),
            key(u64::MAX, "last"),
            key(1 << 40, vec![b'x'; 3 * BLOCK]),
            key(1 << 40, vec![b'y'; 3 * BLOCK]),
        ]
        .into();
        let others: BTreeSet<Key> = [
            key(0, "one"),
            key(3, "on"),
            key(3, "one "),
            key(4, "other"),
            key(5, "one"),
            key(1 << 40, vec![b'x'; 3 * BLOCK - 1]),
            key(u64::MAX, ""),
        ]
        .into();
        for filter in [usize::MAX, 0] {
            let run = run(&held, filter);
            let [found, left] = divided(&run, &held.union(&others).cloned().collect());
            assert!(found.iter().eq(&held) && left.iter().eq(&others), "{found:?}, {left:?}");
        }
    }

    /// A folder that counts how often something is read at a place.
    struct Counting {
        folder: Folder,
        reads: Arc<AtomicUsize>,
    }

    impl Store for Counting {
        fn create(&self, name: &str) -> io::Result<Box<dyn Write + Send>> {
            self.folder.create(name)
        }

        fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
            self.folder.open(name)
        }

        fn open_at(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
            Ok(Box::new(CountingFile { file: self.folder.open_at(name)?, reads: Arc::clone(&self.reads) }))
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.folder.remove(name)
        }

        fn place(&self, name: &str) -> String {
            self.folder.place(name)
        }
    }

    struct CountingFile {
        file: Box<dyn ReadAt>,
        reads: Arc<AtomicUsize>,
    }

    impl ReadAt for CountingFile {
        fn read_exact_at(&self, bytes: &mut [u8], place: u64) -> io::Result<()> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            assert!(bytes.len() <= BLOCK + 12, "a block of {} bytes", bytes.len());
            self.file.read_exact_at(bytes, place)
        }
    }

    #[test]
    fn a_block_is_read_once_for_all_that_is_asked_and_hardly_for_what_is_not_there() {
        let scratch = Scratch::new("dedup-reads");
        let reads = Arc::new(AtomicUsize::new(0));
        let store = Counting { folder: Folder::new(&scratch.path("")), reads: Arc::clone(&reads) };
        let exchange = Exchange::new(Box::new(store), None);
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let keys: BTreeSet<Key> = (0..5000).map(|n| key(hash(n), format!("key {n}"))).collect();
        let others: BTreeSet<Key> = (5000..10_000).map(|n| key(hash(n), format!("key {n}"))).collect();
        let mut run = run_in(&exchange, &keys, usize::MAX);
        let blocks = run.blocks.len();
        let asked = |run: &Run, some: &BTreeSet<Key>| {
            let [found, left] = divided(run, some);
            (found.len(), left.len(), reads.swap(0, Ordering::Relaxed))
        };
        assert_eq!(asked(&run, &keys), (5000, 0, blocks));
        let twenty = keys.iter().take(20).cloned().collect();
        assert_eq!(asked(&run, &twenty), (20, 0, 1), "the first block has 200 of them");
        let few = others.iter().take(500).cloned().collect();
        let (found, left, reads) = asked(&run, &few);
        assert!((found, left) == (0, 500) && reads <= 25, "{reads} of {blocks} blocks were read in vain");
        run.filter = None;
        assert_eq!(asked(&run, &others), (0, 5000, blocks));
    }

    #[test]
    fn a_block_of_too_few_bytes_has_no_keys() {
        let view = |bytes: &[u8]| Page { number: None, bytes: bytes.to_vec() }.view().map(|view| view.key(0).is_some());
        let whole = [&[1, 0, 0, 0], &[7; 8][..], &[2, 0, 0, 0], b"ab"].concat();
        assert_eq!(view(&whole), Some(true));
        assert_eq!(view(&whole[..17]), Some(false));
        assert!((0..16).all(|len| view(&whole[..len]).is_none()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn merged_runs_have_the_keys_of_all(
            // Few hashes, so that many keys share one.
            keys in prop::collection::btree_map((0_u64..40, prop::collection::vec(any::<u8>(), 0..40)), 0..10_u8, 0..600),
            filter in prop_oneof![Just(usize::MAX), Just(100_usize), Just(0)],
            spread in prop_oneof![Just(1_u64), Just(1 << 58)],
        ) {
            // In run 9 is what is not there.
            let mut runs: BTreeMap<u8, BTreeSet<Key>> = BTreeMap::new();
            for ((hash, text), place) in keys {
                runs.entry(place).or_default().insert((hash * spread, text));
            }
            let others = runs.remove(&9).unwrap_or_default();
            let all: BTreeSet<Key> = runs.values().flatten().cloned().collect();
            let size = |run: &Run| run.filter.as_ref().map_or(0, Filter::size);
            let written: Vec<Run> = runs.values().map(|keys| run(keys, filter)).collect();
            let before: usize = written.iter().map(size).sum();
            for (part, keys) in written.iter().zip(runs.values()) {
                let expected = all.difference(keys).cloned().collect();
                prop_assert_eq!(divided(part, &all), [keys.iter().cloned().collect::<Vec<_>>(), expected]);
            }
            let merged = merge(&memory(1 << 20).exchange, written).expect("there is room on disk");
            prop_assert!(size(&merged) <= before && merged.part().rows == all.len() as u64);
            // A whole filter is made of whole ones, and none of none.
            prop_assert!(filter == 100 || (filter > 0 && !all.is_empty()) == merged.filter.is_some());
            let asked = all.union(&others).cloned().collect();
            prop_assert_eq!(divided(&merged, &asked), [all, others].map(|keys| keys.into_iter().collect::<Vec<_>>()));
        }
    }
}
