//! gzip and zstd that were changed on the way: what is read is what was packed, or the file fails.

use std::{fs, io::Write};

use flate2::write::GzEncoder;
use proptest::{
    collection::vec, prelude::any, prop_assert, prop_assert_eq, strategy::Strategy, test_runner::TestCaseResult,
};
use serde_json::json;

use crate::{
    bytes::{Change, damage, soup},
    files::{Sizes, TemporaryFile, compile, read},
    fuzz,
};

/// Text in some members, each packed at a level, and what becomes of it.
type Input = (Vec<Vec<u8>>, u8, Vec<Change>, usize);

fn inputs() -> impl Strategy<Value = Input> {
    (vec(soup(40), 1..4), any::<u8>(), vec(damage(), 0..3), 1..300_usize)
}

fn check((members, level, changes, bytes): Input, gzip: bool) -> TestCaseResult {
    let pack = |member: &Vec<u8>| if gzip { gzipped(member, level) } else { zstded(member, level) };
    let mut packed = members.iter().map(pack).collect::<Vec<_>>();
    let ends: Vec<usize> = packed
        .iter()
        .scan(0, |end, member| {
            *end += member.len();
            Some(*end)
        })
        .collect();
    let intact = packed.concat();
    let mut damaged = std::mem::take(&mut packed).concat();
    changes.iter().for_each(|change| change.apply(&mut damaged));
    let sizes = Sizes { rows: 100, bytes, record: 16 << 20 };
    let file = TemporaryFile::new(if gzip { ".gz" } else { ".zst" });
    let spec = json!({ "path": file.0, "format": "lines", "columns": [{ "name": "line", "type": "binary" }] });
    let compiled = compile(&spec, sizes).unwrap();
    fs::write(&file.0, &intact).unwrap();
    let whole = read(compiled.stage.as_ref());
    prop_assert_eq!(&whole.failure, &None);
    fs::write(&file.0, &damaged).unwrap();
    let found = read(compiled.stage.as_ref());
    // Whole members that were left out or doubled are not damage that a reader could see, nor is an empty file of zstd.
    let seams = |len: usize| len == 0 || ends.contains(&len);
    let unseen = intact.starts_with(&damaged) && seams(damaged.len()) || reordered(&damaged, &intact, &ends);
    prop_assert!(
        found.failure.is_some() || unseen || found == whole,
        "{} rows of {}",
        found.rows.len(),
        whole.rows.len()
    );
    Ok(())
}

/// Is it made of whole members, whichever?
fn reordered(damaged: &[u8], intact: &[u8], ends: &[usize]) -> bool {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let members: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &intact[start..*end]).collect();
    let mut rest = damaged;
    while let Some(member) = members.iter().find(|member| rest.starts_with(member)) {
        rest = &rest[member.len()..];
    }
    rest.is_empty()
}

fn gzipped(bytes: &[u8], level: u8) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(u32::from(level % 10)));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstded(bytes: &[u8], level: u8) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), i32::from(level % 4)).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn gzip() {
    fuzz("gzip", 200, &inputs(), |input| check(input, true));
}

#[test]
fn zstd() {
    fuzz("zstd", 200, &inputs(), |input| check(input, false));
}
