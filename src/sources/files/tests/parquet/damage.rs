//! Parquet files that are damaged, cut short, or none.

use super::*;

#[test]
fn damage_anywhere_is_a_failure_that_names_the_file_or_harmless() {
    let folder = Folder::new("parquet-damage");
    let zstd = PageCompression::ZSTD(ZstdLevel::default());
    for (codec, step) in [(PageCompression::UNCOMPRESSED, 3), (PageCompression::SNAPPY, 11), (zstd, 11)] {
        let good = file(
            vec![
                ("n", ints(0..40)),
                ("t", Arc::new(StringArray::from_iter_values((0..40).map(|i| format!("text number {}", i % 5))))),
                ("l", nested_lists()),
            ],
            |properties| properties.set_max_row_group_row_count(Some(20)).set_compression(codec),
        );
        let columns = || json!(["n int64", "t string", { "name": "l", "type": "list<int64>", "nullable": true }]);
        let all = read(&folder, &good, columns()).rows;
        assert_eq!(all.len(), 40);
        let mut noticed = 0;
        for at in (0..good.len()).step_by(step) {
            for flip in [0x01, 0xFF] {
                let mut damaged = good.clone();
                damaged[at] ^= flip;
                let read = damaged_read(&folder, &damaged, &columns());
                let Some(failure) = read.failure else { continue };
                assert!(failure.exit == Exit::Io && failure.message.contains("a.parquet` "), "{at} {flip}: {failure}");
                noticed += 1;
            }
            let failure = damaged_read(&folder, &good[..at], &columns()).failure.expect("cut short");
            assert!(failure.exit == Exit::Io && failure.message.contains("a.parquet` "), "{at}: {failure}");
        }
        assert!(noticed > good.len() / step / 2, "{noticed} of {}", 2 * good.len() / step);
    }
}

fn nested_lists() -> ArrayRef {
    let lists = (0..40).map(|i| (i % 3 > 0).then(|| (0..i % 4).map(Some).collect::<Vec<_>>()));
    Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
}

/// Reads what may be anything; how far it got is not looked at.
fn damaged_read(folder: &Folder, bytes: &[u8], columns: &Json) -> Read {
    let mut spec = spec(columns.clone());
    spec["path"] = json!(folder.write("a.parquet", bytes));
    let compiled = source(&spec);
    let splits = compiled.stage.splits().expect("a split");
    let mut worker = compiled.stage.worker().expect("a worker");
    let mut rejects = Rejects::default();
    let result = worker.open(SplitId(0), &splits[0]).and_then(|mut reader| {
        while reader.next_batch(&mut rejects)?.is_some() {}
        Ok(())
    });
    Read { failure: result.err(), ..Read::default() }
}

#[test]
fn what_is_no_parquet_is_said_to_be_none() {
    let folder = Folder::new("parquet-none");
    let good = plain(vec![("n", ints(0..10))]);
    let encrypted = [&good[..good.len() - 4], b"PARE"].concat();
    let mut odd = good.clone();
    let end = odd.len();
    odd[end - 8..end - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let cases: [(&[u8], &str); 7] = [
        (b"", "is not a Parquet file: it has 0 bytes"),
        (b"P", "is not a Parquet file: it has 1 byte"),
        (b"a,b,c\n1,2,3\n4,5,6\n", "is not a Parquet file: it does not end with `PAR1`"),
        (&good[..good.len() - 1], "is truncated: it does not end with `PAR1`"),
        (&encrypted, "is encrypted, which is not supported"),
        (&odd, "has a corrupt footer: "),
        (b"PAR1\0\0\0\0\0\0\0\0PAR1", "has a corrupt footer: "),
    ];
    for (bytes, expected) in cases {
        let failure = read(&folder, bytes, json!(["n int64"])).failure.expect(expected);
        assert!(failure.exit == Exit::Io && failure.message.contains(expected), "{failure}");
        let problems = compile(&json!({ "path": folder.text("a.parquet"), "format": "parquet" }), LIMITS);
        let problems = problems.err().expect("no columns");
        assert!(problems[0].contains(expected), "{problems:?}");
    }
}
