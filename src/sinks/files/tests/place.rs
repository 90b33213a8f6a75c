//! Files whose path depends on the day, the size, or values of rows.

use super::*;

/// Rows of a name and a number, in batches of so many.
fn named(rows: &[(&str, i8)], size: usize) -> (Schema, Vec<Batch>) {
    let schema = schema(&["k string?", "n int8"]);
    let make = |(i, rows): (usize, &[(&str, i8)])| {
        let keys = rows.iter().map(|(key, _)| (*key != "NULL").then_some(*key));
        let numbers: Vec<i8> = rows.iter().map(|(_, number)| *number).collect();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringViewArray::from_iter(keys)), Arc::new(Int8Array::from(numbers))];
        batch(&schema, 0, i as u64, columns)
    };
    let batches = rows.chunks(size).enumerate().map(make).collect();
    (schema, batches)
}

fn write_files(spec: &Json, schema: &Schema, batches: &[Batch]) -> u64 {
    let mut worker = sink(spec, schema).stage.worker(Mode::Write).expect("a worker");
    let accepted = batches.iter().map(|batch| worker.write(batch).expect("written").accepted).sum();
    worker.commit().expect("committed");
    accepted
}

#[test]
fn values_name_files_that_stay_in_their_folder() {
    let rows = [("SE", 1), ("NULL", 2), ("..", 3), ("SE", 4), ("a/b", 5), ("", 6), ("..", 7)];
    for size in [1, 2, 7] {
        let folder = Folder::new("by-value");
        let (schema, batches) = named(&rows, size);
        let spec = json!({ "path": folder.text("{k}/n-{n}/x{k}.tsv"), "format": "tsv" });
        assert_eq!(write_files(&spec, &schema, &batches), 7);
        assert_eq!(
            folder.names(),
            [
                "%2E./n-3/x%2E..tsv",
                "%2E./n-7/x%2E..tsv",
                "%empty/n-6/x%empty.tsv",
                "%null/n-2/x%null.tsv",
                "SE/n-1/xSE.tsv",
                "SE/n-4/xSE.tsv",
                "a%2Fb/n-5/xa%2Fb.tsv",
            ]
        );
        let spec = json!({ "path": folder.text("all/{k}.csv"), "format": "csv" });
        write_files(&spec, &schema, &batches);
        assert_eq!(fs::read_to_string(folder.path("all/SE.csv")).expect("there"), "k,n\nSE,1\nSE,4\n");
        assert_eq!(fs::read_to_string(folder.path("all/%null.csv")).expect("there"), "k,n\n,2\n");
    }
}

#[test]
fn more_files_than_may_be_open_are_written_whole() {
    let keys: Vec<String> = (0..100).map(|i| format!("key {i:03}")).collect();
    let rows: Vec<(&str, i8)> = (0..5).flat_map(|round| keys.iter().map(move |key| (key.as_str(), round))).collect();
    let (schema, batches) = named(&rows, 33);
    for ending in ["", ".gz", ".zst"] {
        let folder = Folder::new("many");
        let spec = json!({ "path": folder.text(&format!("{{k}}.tsv{ending}")), "format": "tsv", "header": true });
        let mut worker = sink(&spec, &schema).stage.worker(Mode::Write).expect("a worker");
        for batch in &batches {
            worker.write(batch).expect("written");
            #[cfg(target_os = "linux")]
            {
                let root = folder.text("");
                let open = fs::read_dir("/proc/self/fd")
                    .expect("a folder")
                    .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
                assert!(open.filter(|path| path.starts_with(&root)).count() <= 64);
            }
        }
        worker.commit().expect("committed");
        assert_eq!(folder.names().len(), 100);
        for key in &keys {
            let bytes = fs::read(folder.path(&format!("{key}.tsv{ending}"))).expect("there");
            let mut text = String::new();
            match ending {
                ".gz" => {
                    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(bytes.as_slice()), &mut text)
                        .expect("gzip");
                }
                ".zst" => text = String::from_utf8(zstd::decode_all(bytes.as_slice()).expect("zstd")).expect("UTF-8"),
                _ => text = String::from_utf8(bytes).expect("UTF-8"),
            }
            let lines: String = (0..5).map(|round| format!("{key}\t{round}\n")).collect();
            assert_eq!(text, format!("k\tn\n{lines}"), "{key}{ending}");
        }
    }
}

#[test]
fn files_that_are_full_are_followed_by_others() {
    let rows: Vec<(&str, i8)> = (10..40).map(|n| (if n == 20 { "a key that fills a file" } else { "k" }, n)).collect();
    let mut before = None;
    for size in [1, 4, 30] {
        let folder = Folder::new("rolling");
        let (schema, batches) = named(&rows, size);
        let spec = json!({ "path": folder.text("out.tsv"), "format": "tsv", "header": true, "max_bytes": "24B" });
        assert_eq!(write_files(&spec, &schema, &batches), 30);
        let files: Vec<(String, String)> = folder
            .names()
            .into_iter()
            .map(|name| (fs::read_to_string(folder.path(&name)).expect("there"), name))
            .map(|(text, name)| (name, text))
            .collect();
        assert_eq!(files[0], ("out-00000.tsv".to_owned(), "k\tn\nk\t10\nk\t11\nk\t12\nk\t13\n".to_owned()));
        assert_eq!(files[3].1, "k\tn\na key that fills a file\t20\n", "a row that is too large has a file of its own");
        assert!(files.iter().all(|(_, text)| text.len() <= 24 || text.lines().count() == 2));
        assert_eq!(before.get_or_insert_with(|| files.clone()), &files, "in batches of {size}");
        // Without rows there is one file, too.
        let spec = json!({ "path": folder.text("none/out"), "format": "lines", "max_bytes": "1KiB" });
        let strings = schema_of_one();
        write_files(&spec, &strings, &[]);
        assert_eq!(fs::read(folder.path("none/out-00000")).expect("there"), b"");
    }
}

fn schema_of_one() -> Schema {
    schema(&["s string"])
}

#[test]
fn the_day_of_the_run_can_stand_in_a_path() {
    let folder = Folder::new("date");
    let today = super::super::day(std::time::SystemTime::now());
    assert!(chrono::NaiveDate::parse_from_str(&today, "%Y-%m-%d").is_ok(), "{today}");
    let (schema, batches) = named(&[("x", 1)], 1);
    write_files(&json!({ "path": folder.text("{date}/{k}.tsv"), "format": "tsv" }), &schema, &batches);
    // Around midnight the sink's day may be the next one.
    assert!(
        [today, super::super::day(std::time::SystemTime::now())]
            .iter()
            .any(|day| folder.names() == [format!("{day}/x.tsv")]),
        "{:?}",
        folder.names()
    );
}

#[test]
fn places_in_a_path_are_checked() {
    let schema = schema(&["name string", "score float64"]);
    let cases = [
        ("{nam}.tsv", "`{nam}` is not a column, split or date; did you mean `name`?"),
        ("{score}.tsv", "column `score` cannot stand in a path: float64"),
        ("{}.tsv", "`{}` is not a column, split or date; legal here: `name`, `score`, `split`, `date`"),
    ];
    for (path, message) in cases {
        let spec = json!({ "path": path, "format": "tsv" });
        let problems = compile(&spec, &schema, &Value::Table(Table::new())).err().expect(message);
        assert_eq!(problems, [message]);
    }
    let spec = json!({ "path": "-", "format": "tsv", "max_bytes": "1MiB" });
    let problems = compile(&spec, &schema, &Value::Table(Table::new())).err().expect("standard output");
    assert_eq!(problems, ["`max_bytes` has no effect on standard output"]);
    let spec = json!({ "path": "{split}/{name}.tsv", "format": "tsv", "max_bytes": "1MiB" });
    assert_eq!(
        sink(&spec, &schema).notes,
        ["tsv to `{split}/{name}.tsv`, one file per split and value", "not compressed", "files of at most 1MiB"]
    );
}
