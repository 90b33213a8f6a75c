//! Files read in ranges: wherever they are cut, the rows and rejects are those of the whole file.

use std::ops::Range;

use serde_json::json;

use super::*;
use crate::stage::Detail;

/// The parts of a file that these places make.
fn cut(whole: &Split, places: &[u64]) -> Vec<Split> {
    let Detail::File { path, size, modified, .. } = &whole.detail else { panic!("no file") };
    let ends = places.iter().copied().chain([*size]);
    let starts = [0].into_iter().chain(places.iter().copied());
    let part = |range: Range<u64>| {
        let detail = Detail::File { path: path.clone(), size: *size, modified: *modified, range: Some(range) };
        Split { name: whole.name.clone(), detail }
    };
    starts.zip(ends).map(|(start, end)| part(start..end)).collect()
}

fn read_all(source: &dyn Source, splits: &[Split]) -> Read {
    let mut all = Read::default();
    for split in splits {
        let read = read_split(source, split);
        all.rows.extend(read.rows);
        all.rejects.extend(read.rejects);
        all.failure = all.failure.or(read.failure);
    }
    all
}

fn everywhere(folder: &Folder, text: &str, spec: &Json, record: usize) {
    let mut spec = spec.clone();
    spec["path"] = json!(folder.write("a", text.as_bytes()));
    for bytes in [3, 1 << 16] {
        let compiled = compile(&spec, Limits { rows: 3, bytes, record, ..LIMITS }).expect("a sound spec");
        let source = compiled.stage.as_ref();
        let whole = source.splits().expect("a split").remove(0);
        let expected = read_split(source, &whole);
        assert!(expected.rows.len() > 3 && expected.failure.is_none());
        let len = text.len() as u64;
        let mut places: Vec<Vec<u64>> = (1..len).map(|at| vec![at]).collect();
        places.extend((2..len).step_by(7).map(|at| vec![at - 1, at, (at + 1).min(len - 1), (at + 7).min(len - 1)]));
        places.push((1..len).collect());
        for places in places {
            // In the order of the splits, and from the last to the first: places are found either way.
            let compiled = compile(&spec, Limits { rows: 3, bytes, record, ..LIMITS }).expect("a sound spec");
            let splits = cut(&whole, &places);
            let last = splits.last().expect("a split");
            let backwards = read_split(compiled.stage.as_ref(), last);
            let read = read_all(compiled.stage.as_ref(), &splits);
            assert_eq!(read, expected, "{spec} cut at {places:?} in blocks of {bytes}");
            assert!(read.rows.ends_with(&backwards.rows) && read.rejects.ends_with(&backwards.rejects));
        }
    }
}

#[test]
fn a_cut_anywhere_changes_nothing() {
    let folder = Folder::new("ranges");
    let tsv = json!({ "format": "tsv", "columns": ["a uint8", "b string"] });
    let with = |key: &str, value: Json| {
        let mut spec = tsv.clone();
        spec[key] = value;
        spec
    };
    let text = "1\tone\n2\ttwo\n\nx\tbad\n3\tthree is longer\n4\n\n\n5\té\n6\tlast";
    everywhere(&folder, text, &tsv, 100);
    everywhere(&folder, &format!("{text}\n"), &tsv, 10);
    everywhere(&folder, &format!("\u{feff}{}", text.replace('\n', "\r\n")), &tsv, 100);
    everywhere(&folder, &text.replace('\n', "\r\n"), &with("newline", json!("crlf")), 100);
    everywhere(
        &folder,
        &text.replace("one", "o\r\rn\ne").replace("\n2", "\r\n2").replace('\n', "\r\n"),
        &with("newline", json!("crlf")),
        12,
    );
    everywhere(&folder, &text.replace('\n', "\r"), &with("newline", json!("cr")), 100);
    everywhere(
        &folder,
        &format!(
            "b\tother\ta\n{}",
            text.replace('\t', "\t\t")
                .replace("1\t\tone", "one\t\t1")
                .replace("2\t\ttwo", "two\t\t2")
                .replace("3\t\tthree", "three\t\t3 ")
                .replace("5\t\té", "é\t\t5")
                .replace("6\t\tlast", "6\t\t7")
        ),
        &with("header", json!(true)),
        100,
    );
    let ndjson = json!({ "format": "ndjson", "columns": ["a uint8"] });
    everywhere(
        &folder,
        "{\"a\":1}\n \r\n{\"a\":2}\n{\"a\":\n{\"a\":3,\"z\":[1,2]}\n{\"a\":4}\n\n{\"a\":5}\n",
        &ndjson,
        100,
    );
    everywhere(&folder, "a\n\nb\n\n\nc\r\nd", &json!({ "format": "lines" }), 100);
    let csv = json!({ "format": "csv", "multiline": false, "columns": ["a uint8", "b string"] });
    everywhere(&folder, "b,a\n\"1,\",2\n\"3\n\n4,5\n6,7\n\"\"\"8\",9\n", &csv, 100);
}

#[test]
fn only_what_can_be_cut_is_cut() {
    let folder = Folder::new("ranges-list");
    let line = format!("{}\n", "x".repeat(999));
    let text = line.repeat(10 << 10);
    let count = |name: &str, bytes: &[u8], spec: Json| {
        folder.write(name, bytes);
        let mut spec = spec;
        spec["path"] = json!(folder.text(name));
        let compiled = source(&spec);
        let splits = compiled.stage.splits().expect("splits");
        let rows: usize = splits.iter().map(|split| read_split(compiled.stage.as_ref(), split).rows.len()).sum();
        (splits.len(), rows)
    };
    let lines = || json!({ "format": "lines" });
    assert_eq!(count("a", text.as_bytes(), lines()), (3, 10 << 10));
    assert_eq!(count("small", &text.as_bytes()[..8 << 20 >> 1], lines()).0, 1);
    assert_eq!(count("cr", text.replace('\n', "\r").as_bytes(), lines()), (1, 10 << 10));
    assert_eq!(
        count("cr", text.replace('\n', "\r").as_bytes(), json!({ "format": "lines", "newline": "cr" })),
        (3, 10 << 10)
    );
    assert_eq!(count("one", "x".repeat(9 << 20).as_bytes(), lines()), (1, 1));
    let csv =
        |multiline: bool| json!({ "format": "csv", "header": false, "multiline": multiline, "columns": ["a string"] });
    assert_eq!(count("a.csv", text.as_bytes(), csv(true)), (1, 10 << 10));
    assert_eq!(count("a.csv", text.as_bytes(), csv(false)), (3, 10 << 10));
    let packed = [text.as_bytes(), text.as_bytes()].concat();
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&packed).expect("into memory");
    let packed = encoder.finish().expect("into memory");
    assert!(packed.len() > 16 << 20);
    assert_eq!(count("a.gz", &packed, lines()), (1, 20 << 10));
}

#[test]
fn a_file_is_done_with_after_its_last_range() {
    let folder = Folder::new("ranges-done");
    folder.write("a", format!("{}\n", "x".repeat(999)).repeat(10 << 10).as_bytes());
    let spec = json!({ "path": folder.text("a"), "format": "lines", "done": "delete" });
    let compiled = source(&spec);
    for complete in [false, true] {
        // A split that was not stored is never reported; the next run lists the file again.
        let splits = compiled.stage.splits().expect("splits");
        for split in splits.iter().skip(usize::from(!complete)) {
            assert!(folder.path("a").exists());
            compiled.stage.done(split).expect("done");
        }
        assert_eq!(folder.path("a").exists(), !complete);
    }
}
