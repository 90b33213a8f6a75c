//! Gzip of many members, cut off and damaged at every place; files that change.

use std::{fs, time::Duration};

use serde_json::json;

use super::*;
use crate::failure::Exit;

fn spec() -> Json {
    json!({ "columns": ["a uint32", "b string"] })
}

/// Sixty rows in three members, one of which ends in the middle of a record.
fn members() -> (Vec<u8>, Vec<u8>) {
    let text: String = (0..60).map(|i| format!("{i}\tvalue {}\n", i * i % 37)).collect();
    let (first, second) = text.as_bytes().split_at(301);
    let (second, third) = second.split_at(150);
    (text.clone().into_bytes(), [gzip(first), gzip(second), gzip(third)].concat())
}

#[test]
fn all_members_are_read() {
    let folder = Folder::new("members");
    let (text, packed) = members();
    let plain = read_bytes(&folder, "a.tsv", &text, &spec(), LIMITS);
    assert_eq!(plain.rows.len(), 60);
    for bytes in [1, 10, 1000] {
        assert_eq!(read_bytes(&folder, "a.tsv.gz", &packed, &spec(), Limits { bytes, ..LIMITS }), plain);
    }
}

#[test]
fn compression_can_be_told() {
    let folder = Folder::new("told");
    let (text, packed) = members();
    let mut spec = spec();
    spec["compression"] = json!("gzip");
    assert_eq!(read_bytes(&folder, "a", &packed, &spec, LIMITS).rows.len(), 60);
    let failure = read_bytes(&folder, "a", &text, &spec, LIMITS).failure.expect("no gzip");
    assert!(failure.message.contains("is corrupt after 0 records"), "{failure}");
    spec["compression"] = json!("none");
    assert_eq!(read_bytes(&folder, "a.gz", &text, &spec, LIMITS).rows.len(), 60);
}

#[test]
fn a_file_cut_off_anywhere_fails_after_its_whole_records() {
    let folder = Folder::new("truncated");
    let (text, packed) = members();
    let all = read_bytes(&folder, "a.tsv", &text, &spec(), LIMITS).rows;
    let ends = [gzip(&text[..301]).len(), gzip(&text[..301]).len() + gzip(&text[301..451]).len()];
    let mut most = 0;
    for len in 0..packed.len() {
        // Small and large blocks: what was read before the damage is delivered either way.
        for bytes in [5, 100_000] {
            let read = read_bytes(&folder, "a.tsv.gz", &packed[..len], &spec(), Limits { bytes, ..LIMITS });
            assert!(all.starts_with(&read.rows) || ends.contains(&len), "cut at {len}: {:?}", read.rows.last());
            match read.failure {
                Some(failure) => {
                    assert_eq!(failure.exit, Exit::Io);
                    assert!(
                        failure.message.contains(&format!("truncated after {} record", read.rows.len())),
                        "{failure}"
                    );
                    assert_eq!(read.rejects, [""; 0]);
                    most = most.max(read.rows.len());
                }
                // A file that ends with a member is whole, as far as gzip can tell.
                None => assert!(ends.contains(&len), "no failure when cut at {len}"),
            }
        }
    }
    assert_eq!(most, 60, "the last member's check sum is missing, but all its records are there");
}

#[test]
fn a_damaged_byte_anywhere_is_noticed_or_harmless() {
    let folder = Folder::new("corrupt");
    let (text, packed) = members();
    let all = read_bytes(&folder, "a.tsv", &text, &spec(), LIMITS);
    let mut noticed = 0;
    for at in 0..packed.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut damaged = packed.clone();
            damaged[at] ^= flip;
            let read = read_bytes(&folder, "a.tsv.gz", &damaged, &spec(), LIMITS);
            match read.failure {
                Some(failure) => {
                    assert_eq!(failure.exit, Exit::Io, "{failure}");
                    noticed += 1;
                }
                None => assert_eq!(read, all, "damage at {at}"),
            }
        }
    }
    assert!(noticed > 2 * packed.len(), "{noticed} of {}", 3 * packed.len());
}

#[test]
fn bytes_after_the_last_member_are_damage() {
    let folder = Folder::new("trailing");
    let (_, mut packed) = members();
    packed.extend_from_slice(b"no gzip");
    let read = read_bytes(&folder, "a.tsv.gz", &packed, &spec(), LIMITS);
    assert_eq!(read.rows.len(), 60);
    assert!(read.failure.is_some());
}

#[test]
fn a_file_that_changes_fails() {
    let folder = Folder::new("changed");
    let path = folder.write("a.tsv", b"1\ta\n");
    let mut spec = spec();
    spec["path"] = json!(path);
    spec["format"] = json!("tsv");
    let compiled = source(&spec);
    let splits = compiled.stage.splits().expect("a split");
    let mut worker = compiled.stage.worker().expect("a worker");

    // While it is read: its rows come, then the failure.
    let mut reader = worker.open(SplitId(0), &splits[0]).expect("opens");
    assert_eq!(reader.next_batch(&mut Rejects::default()).expect("reads").map(|batch| batch.rows()), Some(1));
    fs::write(&path, b"1\ta\n2\tb\n").expect("written");
    let failure = reader.next_batch(&mut Rejects::default()).expect_err("changed");
    drop(reader);
    assert_eq!(failure.exit, Exit::Io);
    assert!(failure.message.contains("a.tsv` has changed since it was listed"), "{failure}");

    // Before it is opened: by its size, or by its time alone.
    assert!(worker.open(SplitId(0), &splits[0]).is_err());
    let file = fs::File::options().write(true).open(&path).expect("opens");
    let splits = compiled.stage.splits().expect("a split");
    assert!(worker.open(SplitId(0), &splits[0]).is_ok());
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(100)).expect("set");
    assert!(worker.open(SplitId(0), &splits[0]).is_err());
}

#[test]
fn a_file_that_is_gone_is_missing_input() {
    let folder = Folder::new("gone");
    let path = folder.write("a.tsv", b"1\ta\n");
    let compiled = source(&json!({ "path": path, "format": "tsv", "columns": ["a string"] }));
    let splits = compiled.stage.splits().expect("a split");
    fs::remove_file(&path).expect("removed");
    let read = read_split(compiled.stage.as_ref(), &splits[0]);
    assert_eq!(read.failure.map(|failure| failure.exit), Some(Exit::InputMissing));
}

#[test]
fn zstd_is_read_and_damage_to_it_noticed() {
    let folder = Folder::new("zstd-source");
    let (text, _) = members();
    let plain = read_bytes(&folder, "a.tsv", &text, &spec(), LIMITS);
    let pack = |bytes: &[u8]| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
        encoder.include_checksum(true).expect("set");
        std::io::Write::write_all(&mut encoder, bytes).expect("into memory");
        encoder.finish().expect("into memory")
    };
    let first = pack(&text[..301]);
    let packed = [first.clone(), pack(&text[301..])].concat();
    assert_eq!(read_bytes(&folder, "a.tsv.zst", &packed, &spec(), LIMITS), plain, "all frames are read");
    for len in (1..packed.len()).filter(|len| *len != first.len()) {
        let read = read_bytes(&folder, "a.tsv.zst", &packed[..len], &spec(), LIMITS);
        let failure = read.failure.expect("truncated");
        assert_eq!(failure.exit, Exit::Io);
        assert!(failure.message.contains("is truncated after") && failure.message.contains("(zstd: "), "{failure}");
    }
    for at in 0..packed.len() {
        let mut damaged = packed.clone();
        damaged[at] ^= 0x55;
        let read = read_bytes(&folder, "a.tsv.zst", &damaged, &spec(), LIMITS);
        match read.failure {
            Some(failure) => assert_eq!(failure.exit, Exit::Io, "{failure}"),
            None => assert_eq!(read, plain, "damage at {at}"),
        }
    }
}

#[test]
fn what_unpacks_to_too_much_fails() {
    let folder = Folder::new("bomb");
    let line = [vec![b'x'; 1 << 20], vec![b'\n']].concat();
    let bomb = line.repeat(20);
    for (name, packed) in [("a.gz", gzip(&bomb)), ("a.zst", zstd::encode_all(bomb.as_slice(), 3).expect("into memory"))]
    {
        let spec = |ratio: u32| json!({ "format": "lines", "max_ratio": ratio });
        let limits = Limits { bytes: 1 << 20, ..LIMITS };
        let read = read_bytes(&folder, name, &packed, &spec(100), limits);
        let failure = read.failure.expect("a bomb");
        assert_eq!(failure.exit, Exit::Io);
        let message = format!("{name}`: it unpacks to more than 100 times its size (`max_ratio`)");
        assert!(failure.message.ends_with(&message), "{failure}");
        assert!(read.rows.len() < 20, "{} rows", read.rows.len());
        assert_eq!(read_bytes(&folder, name, &packed, &spec(1_000_000), limits).rows.len(), 20);
    }
}
