//! Parts, partitions and merging, in a folder of their own.

use std::{
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringViewArray, cast::AsArray, types::Int64Type};
use proptest::prelude::*;

use super::{
    merge::{FAN_IN, merged},
    *,
};
use crate::testing::Folder as Scratch;

fn rows(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers: Vec<i64> = numbers.into_iter().collect();
    let texts = numbers.iter().map(|number| (number % 3 != 0).then(|| format!("a text that is not short, {number}")));
    // The sign is turned, so that bytes compare as numbers do.
    let keys = numbers.iter().map(|number| ((number / 10) as u64 ^ 1 << 63).to_be_bytes());
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("n", Arc::new(Int64Array::from(numbers.clone())), false),
        ("t", Arc::new(texts.collect::<StringViewArray>()), true),
        ("key", Arc::new(BinaryArray::from_iter_values(keys)), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of equal length")
}

fn numbers(rows: &RecordBatch) -> Vec<i64> {
    rows.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn exchange(scratch: &Scratch, most: Option<u64>) -> Arc<Exchange> {
    Exchange::new(Box::new(Folder::new(&scratch.path(""))), most)
}

fn part(exchange: &Arc<Exchange>, batches: &[RecordBatch]) -> Part {
    let mut writer = exchange.write("rows", &rows([]).schema()).expect("a part can be made");
    batches.iter().for_each(|batch| writer.add(batch).expect("there is room"));
    writer.finish().expect("there is room")
}

fn files(scratch: &Scratch) -> usize {
    let folders = fs::read_dir(scratch.path("")).expect("the folder is there").flatten();
    folders.map(|folder| fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
}

#[test]
fn a_part_gives_back_what_was_put_in_and_is_gone_then() {
    let scratch = Scratch::new("exchange-part");
    let exchange = exchange(&scratch, None);
    assert_eq!(files(&scratch), 0, "nothing is made before a part is");
    let batches = [rows(0..100), rows(100..20_000)];
    let part = part(&exchange, &batches);
    assert_eq!((part.rows, files(&scratch)), (20_000, 2), "a part and the lock");
    assert_eq!(exchange.held.load(Ordering::Relaxed), part.bytes);
    let mut reader = part.read().expect("it is there");
    for batch in &batches {
        assert_eq!(reader.next_rows().expect("it can be read").as_ref(), Some(batch));
    }
    assert_eq!(reader.next_rows().expect("it can be read"), None);
    drop(reader);
    assert_eq!((exchange.held.load(Ordering::Relaxed), files(&scratch)), (0, 1));
    drop(exchange);
    assert_eq!(fs::read_dir(scratch.path("")).expect("the folder is there").count(), 0);
}

#[test]
fn no_more_is_spilled_than_is_allowed() {
    let scratch = Scratch::new("exchange-most");
    let exchange = exchange(&scratch, Some(100_000));
    let mut writer = exchange.write("rows", &rows([]).schema()).expect("a part can be made");
    let failure = (0..100).find_map(|n| writer.add(&rows(n * 10_000..(n + 1) * 10_000)).err()).expect("that is more");
    assert_eq!(failure.exit, Exit::Io);
    assert!(
        failure
            .message
            .ends_with("`limits.spill.max` allows 97.7 KiB: allow more, or give the job more `limits.memory`"),
        "{failure}"
    );
    drop(writer);
    assert_eq!((exchange.held.load(Ordering::Relaxed), files(&scratch)), (0, 1));
}

#[test]
fn what_a_killed_run_left_is_removed_and_what_another_holds_is_not() {
    let scratch = Scratch::new("exchange-orphans");
    let dead = scratch.path("").join("spill-123-4-0");
    fs::create_dir(&dead).expect("the folder is there");
    fs::write(dead.join("lock"), "").expect("there is room");
    fs::write(dead.join("rows.0"), "rows").expect("there is room");
    fs::write(scratch.path("").join("spill-of-a-person"), "").expect("there is room");
    // One that was killed before it had locked its folder, long ago; and one that is about to.
    let [old, new] = [".spill-123-5-0", ".spill-123-6-0"].map(|name| scratch.path(name));
    [&old, &new].iter().for_each(|path| fs::create_dir(path).expect("the folder is there"));
    let long_ago = SystemTime::now() - Duration::from_secs(2 * 3600);
    fs::File::open(&old).and_then(|folder| folder.set_modified(long_ago)).expect("it is ours");
    let alive = exchange(&scratch, None);
    let held = part(&alive, &[rows(0..10)]);
    let other = exchange(&scratch, None);
    drop(part(&other, &[rows(0..10)]));
    assert!(!old.exists() && new.exists());
    assert!(!dead.exists() && scratch.path("").join("spill-of-a-person").exists());
    let mut reader = held.read().expect("it is still there");
    assert_eq!(reader.next_rows().expect("it can be read"), Some(rows(0..10)));
}

#[test]
fn a_part_that_was_changed_is_not_read() {
    let scratch = Scratch::new("exchange-changed");
    let exchange = exchange(&scratch, None);
    let part = part(&exchange, &[rows(0..10_000)]);
    let path = exchange.store.place(&part.name);
    let bytes = fs::read(&path).expect("it is there");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("there is room");
    let read = |part: Part| {
        let mut reader = part.read()?;
        while reader.next_rows()?.is_some() {}
        Ok::<(), Failure>(())
    };
    let failure = read(part).expect_err("half of it is missing");
    assert_eq!(failure.exit, Exit::Io);
    assert!(failure.message.starts_with(&format!("cannot read the spilled rows in `{path}`: ")), "{failure}");
}

fn blocks(exchange: &Arc<Exchange>, count: u8) -> Blocks {
    let mut writer = exchange.write_blocks("keys").expect("a part can be made");
    (0..count).for_each(|n| writer.add(&vec![n; 1000 * usize::from(n)], 1).expect("there is room"));
    writer.finish().expect("there is room")
}

#[test]
fn blocks_are_read_in_any_order_and_gone_with_their_owner() {
    let scratch = Scratch::new("exchange-blocks");
    let exchange = exchange(&scratch, None);
    let blocks = blocks(&exchange, 20);
    assert_eq!((blocks.len(), blocks.part().rows, files(&scratch)), (20, 20, 2), "a part and the lock");
    let on_disk = fs::metadata(exchange.store.place(&blocks.part().name)).expect("it is there").len();
    assert_eq!([blocks.part().bytes, exchange.held.load(Ordering::Relaxed)], [on_disk; 2]);
    let mut block = Vec::new();
    for n in [19_u8, 0, 7, 7, 18, 1] {
        blocks.read(n.into(), &mut block).expect("it can be read");
        assert_eq!(block, vec![n; 1000 * usize::from(n)]);
    }
    drop(blocks);
    assert_eq!((exchange.held.load(Ordering::Relaxed), files(&scratch)), (0, 1));
}

#[test]
fn blocks_that_were_changed_are_not_read() {
    let scratch = Scratch::new("exchange-blocks-changed");
    let exchange = exchange(&scratch, None);
    let blocks = blocks(&exchange, 5);
    let path = exchange.store.place(&blocks.part().name);
    let bytes = fs::read(&path).expect("it is there");
    let read = |bytes: &[u8], number| {
        fs::write(&path, bytes).expect("there is room");
        blocks.read(number, &mut Vec::new())
    };
    // One bit of the second block, of its check; the first two blocks one in place of the other.
    let changed = |place: usize| bytes.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == place)).collect();
    let swapped = [&bytes[8..1016], &bytes[..8], &bytes[1016..]].concat();
    for (number, bytes) in [(1, changed(500)), (1, changed(1010)), (0, swapped.clone()), (4, bytes[..9000].to_vec())] {
        let failure = read(&bytes, number).expect_err("it was changed");
        assert_eq!(failure.exit, Exit::Io);
        assert!(failure.message.starts_with(&format!("cannot read the spilled rows in `{path}`: ")), "{failure}");
        assert!(read(&bytes, 2).is_ok(), "that one is whole");
    }
    assert!(read(&bytes, 1).is_ok());
}

#[test]
fn no_more_blocks_are_written_than_is_allowed() {
    let scratch = Scratch::new("exchange-blocks-most");
    let exchange = exchange(&scratch, Some(10_000));
    let mut writer = exchange.write_blocks("keys").expect("a part can be made");
    let failure = (0..100).find_map(|_| writer.add(&[0; 1000], 1).err()).expect("that is more");
    assert!(failure.exit == Exit::Io && failure.message.contains("`limits.spill.max` allows 9.8 KiB"), "{failure}");
    drop(writer);
    assert_eq!((exchange.held.load(Ordering::Relaxed), files(&scratch)), (0, 1));
}

#[test]
fn rows_of_one_hash_come_to_one_part_in_order() {
    let scratch = Scratch::new("exchange-partitions");
    let exchange = exchange(&scratch, None);
    for level in [0, 15, 16] {
        let mut partitions = Partitions::new(&exchange, "rows", rows([]).schema(), level, 1 << 16);
        for start in (0..10_000_i64).step_by(1000) {
            let hashes: Vec<u64> =
                (start..start + 1000).map(|n| (n as u64 % 100).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
            partitions.add(&rows(start..start + 1000), &hashes).expect("there is room");
        }
        let mut found: BTreeMap<i64, Vec<(usize, i64)>> = BTreeMap::new();
        let parts = partitions.finish().expect("there is room");
        assert!(parts.len() > PARTITIONS / 2, "{}", parts.len());
        for (place, part) in parts.into_iter().enumerate() {
            let mut reader = part.read().expect("it is there");
            while let Some(rows) = reader.next_rows().expect("it can be read") {
                numbers(&rows).into_iter().for_each(|n| found.entry(n % 100).or_default().push((place, n)));
            }
        }
        for (hash, rows) in &found {
            let place = rows[0].0;
            let expected: Vec<(usize, i64)> = (0..100).map(|n| (place, n * 100 + hash)).collect();
            assert_eq!(rows, &expected);
        }
        assert_eq!(found.len(), 100);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn merged_parts_are_one_sorted_part(
        runs in prop::collection::vec(prop::collection::vec(-500_i64..500, 0..60), 0..90),
        batch in 1_usize..20,
        block in 1_usize..5000,
    ) {
        let scratch = Scratch::new("exchange-merged");
        let exchange = exchange(&scratch, None);
        // Rows of equal keys are told apart by their last digit, and come in the order of the runs.
        let mut expected: Vec<i64> = Vec::new();
        let parts: Vec<Part> = runs.into_iter().map(|mut run| {
            run.sort_by_key(|n| n / 10);
            expected.extend(&run);
            let batches: Vec<RecordBatch> = run.chunks(batch).map(|chunk| rows(chunk.iter().copied())).collect();
            part(&exchange, &batches)
        }).collect();
        expected.sort_by_key(|n| n / 10);
        let (schema, many) = (rows([]).schema(), parts.len() > FAN_IN);
        let (parts, passes) = merged(&exchange, "rows", parts, &schema, block).expect("there is room");
        prop_assert!(parts.len() <= FAN_IN && many == (passes > 0));
        let mut merge = Merge::new(parts, schema, block).expect("all are there");
        let mut found = Vec::new();
        while let Some(batch) = merge.next_rows().expect("it can be read") {
            prop_assert_eq!(&batch, &rows(numbers(&batch)));
            found.extend(numbers(&batch));
        }
        prop_assert_eq!(found, expected);
    }
}
