//! Parquet: what is written, that it is the same whatever the batches, and where files and row groups end.

use ::parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    basic::{Compression as PageCompression, LogicalType},
    file::metadata::ParquetMetaDataReader,
};
use arrow_array::types::Int64Type;

use super::*;
use crate::{
    formats::{
        Format,
        parquet::{CREATED_BY, Layout, PageCodec, ParquetStyle},
    },
    sinks::files::{
        leftovers::Leftovers,
        packing::{Codec, Packing},
        parquet::{GroupSize, Pages},
        published::Published,
        target::Target,
        writer::{Form, Order, Writer},
    },
};

fn metadata(folder: &Folder, name: &str) -> ::parquet::file::metadata::ParquetMetaData {
    let bytes = bytes::Bytes::from(fs::read(folder.path(name)).expect("there"));
    ParquetMetaDataReader::new().parse_and_finish(&bytes).expect("a footer")
}

/// Rows of each row group.
fn groups(folder: &Folder, name: &str) -> Vec<i64> {
    metadata(folder, name).row_groups().iter().map(|group| group.num_rows()).collect()
}

/// All rows as the crate reads them, as text.
fn rows(folder: &Folder, name: &str) -> Vec<String> {
    let bytes = bytes::Bytes::from(fs::read(folder.path(name)).expect("there"));
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a footer").build().expect("a reader");
    reader
        .flat_map(|batch| {
            let batch = batch.expect("rows");
            (0..batch.num_rows()).map(|row| row_json::row(&batch, row)).collect::<Vec<_>>()
        })
        .collect()
}

fn write(spec: &Json, schema: &Schema, batches: &[Batch]) -> u64 {
    let mut worker = sink(spec, schema).stage.worker(Mode::Write).expect("a worker");
    let mut bytes = 0;
    for batch in batches {
        let written = worker.write(batch).expect("written");
        assert_eq!((written.accepted, written.rejects.len(), written.durable), (batch.rows() as u64, 0, false));
        bytes += written.bytes;
    }
    worker.commit().expect("committed");
    bytes
}

fn spec(folder: &Folder, name: &str) -> Json {
    json!({ "path": folder.text(name), "format": "parquet" })
}

#[test]
fn every_type_is_one_that_other_readers_know() {
    let folder = Folder::new("parquet-sink-types");
    let (schema, batch) = all_types();
    write(&spec(&folder, "a.parquet"), &schema, std::slice::from_ref(&batch));
    let metadata = metadata(&folder, "a.parquet");
    assert_eq!(metadata.file_metadata().created_by(), Some(CREATED_BY));
    assert_eq!(metadata.file_metadata().key_value_metadata(), None);
    let columns = metadata.file_metadata().schema_descr();
    let logical = |name: &str| {
        let column = columns.columns().iter().find(|column| column.path().string() == name);
        column.expect("a column").logical_type_ref().cloned()
    };
    assert_eq!(logical("j"), Some(LogicalType::Json));
    assert_eq!(logical("i8"), Some(LogicalType::integer(8, true)));
    assert_eq!(logical("t"), Some(LogicalType::timestamp(true, ::parquet::basic::TimeUnit::MICROS)));
    assert_eq!(logical("l.list.element"), Some(LogicalType::integer(32, false)));

    let layout = Layout::new(Arc::new(metadata)).expect("a layout");
    let back: Vec<String> = layout
        .columns()
        .iter()
        .map(|column| format!("{} {}{}", column.name, column.column_type, if column.nullable { "?" } else { "" }))
        .collect();
    assert_eq!(back.join(", "), schema.to_string());
    let bytes = bytes::Bytes::from(fs::read(folder.path("a.parquet")).expect("there"));
    let projection =
        layout.project(&layout.columns(), &schema, crate::formats::Missing::Reject, false).expect("all columns");
    let mut reader = projection.reader(bytes, 0, (0, 3), (1000, 1 << 20)).expect("a reader");
    let read = reader.next().expect("a batch").expect("rows");
    assert_eq!(projection.rows(&read, 1 << 20).expect("rows").records, batch.records);
}

/// Texts and lists of many lengths.
fn many(from: i64, count: i64, split: u32, seq: u64) -> (Schema, Batch) {
    let schema = schema(&["n int64", "t string?", "l list<int64>", "k int8"]);
    let text = |n: i64| (n % 11 != 0).then(|| format!("{}{n}", "text ".repeat((n % 17) as usize)));
    let all = from..from + count;
    let texts: StringViewArray = all.clone().map(text).collect();
    let lists = all.clone().map(|n| Some((0..n % 5).map(|i| Some(i * n)).collect::<Vec<_>>()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(all.clone())),
        Arc::new(texts),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
        Arc::new(Int8Array::from_iter_values(all.map(|n| (n % 100) as i8))),
    ];
    let batch = batch(&schema, split, seq, columns);
    (schema, batch)
}

#[test]
fn equal_rows_give_equal_bytes_whatever_the_batches() {
    let folder = Folder::new("parquet-sink-same");
    let (schema, all) = many(0, 20_000, 0, 0);
    for (path, more) in [
        ("a.parquet", json!({})),
        ("a.parquet", json!({ "row_group_rows": 5000, "compression": "snappy" })),
        ("k={k}/a.parquet", json!({ "row_group_rows": 50 })),
        ("a.parquet", json!({ "max_bytes": 300_000, "row_group_rows": 1700 })),
    ] {
        let mut expected: Vec<(String, Vec<u8>)> = Vec::new();
        for size in [20_000, 8192, 1000, 333, 7] {
            let batches: Vec<Batch> =
                (0..20_000).step_by(size).map(|start| all.slice(start, size.min(20_000 - start))).collect();
            let folder = Folder::new("parquet-sink-same-one");
            let mut spec = spec(&folder, path);
            more.as_object().expect("keys").iter().for_each(|(key, value)| spec[key] = value.clone());
            write(&spec, &schema, &batches);
            let files: Vec<(String, Vec<u8>)> = folder
                .names()
                .into_iter()
                .map(|name| (name.clone(), fs::read(folder.path(&name)).expect("there")))
                .collect();
            if expected.is_empty() {
                expected = files;
            } else {
                assert!(files == expected, "{path} {more} in batches of {size}");
            }
        }
        assert_eq!(expected.len() > 1, path.contains("{k}") || more.get("max_bytes").is_some());
    }
    drop(folder);
}

#[test]
fn row_groups_end_after_so_many_rows_or_bytes() {
    let folder = Folder::new("parquet-sink-groups");
    let (schema, all) = many(0, 20_000, 0, 0);
    let mut spec = spec(&folder, "a.parquet");
    spec["row_group_rows"] = json!(9000);
    write(&spec, &schema, std::slice::from_ref(&all));
    assert_eq!(groups(&folder, "a.parquet"), [9000, 9000, 2000]);
    spec["row_group_rows"] = json!(20_000);
    write(&spec, &schema, &[all]);
    assert_eq!(groups(&folder, "a.parquet"), [20_000]);

    let schema = self::schema(&["s string"]);
    let long = "x".repeat(10 << 20);
    let batches: Vec<Batch> = (0..14).map(|seq| batch(&schema, 0, seq, vec![strings(&[&long])])).collect();
    spec = self::spec(&folder, "b.parquet");
    let bytes = write(&spec, &schema, &batches);
    assert_eq!(bytes, 14 * ((10 << 20) + 4));
    assert_eq!(groups(&folder, "b.parquet"), [6, 6, 2]);
}

#[test]
fn files_end_before_the_row_that_would_make_them_too_large() {
    let folder = Folder::new("parquet-sink-parts");
    let schema = schema(&["s string"]);
    let mut spec = spec(&folder, "a.parquet");
    spec["max_bytes"] = json!(20);
    let batches = [batch(&schema, 0, 0, vec![strings(&["abcdef", "ghijkl", "m", "a text that is too long", "n"])])];
    write(&spec, &schema, &batches);
    let names = folder.names();
    assert_eq!(names, ["a-00000.parquet", "a-00001.parquet", "a-00002.parquet", "a-00003.parquet"]);
    let texts: Vec<Vec<String>> = names.iter().map(|name| rows(&folder, name)).collect();
    assert_eq!(texts[0].len(), 2);
    assert_eq!(texts[1], ["{\"s\":\"m\"}"]);
    assert_eq!(texts[3], ["{\"s\":\"n\"}"]);
}

#[test]
fn splits_and_values_have_files_of_their_own_and_all_rows_are_in_them() {
    let folder = Folder::new("parquet-sink-places");
    let (schema, first) = many(0, 3000, 4, 0);
    let (_, second) = many(3000, 3000, 4, 1);
    let (_, third) = many(6000, 100, 9, 0);
    write(&spec(&folder, "{split}.parquet"), &schema, &[first.clone(), second.clone(), third.clone()]);
    assert_eq!(folder.names(), ["00004.parquet", "00009.parquet"]);
    assert_eq!((rows(&folder, "00004.parquet").len(), rows(&folder, "00009.parquet").len()), (6000, 100));

    // More files than are open at once, and than have row groups under way.
    write(&spec(&folder, "by/{k}.parquet"), &schema, &[first, second, third]);
    let names: Vec<String> = folder.names().into_iter().filter(|name| name.starts_with("by/")).collect();
    assert_eq!(names.len(), 100);
    let rows: Vec<String> = names.iter().flat_map(|name| rows(&folder, name)).collect();
    assert_eq!(rows.len(), 6100);
    let of_seven = self::rows(&folder, "by/7.parquet");
    assert!(of_seven.len() == 61 && of_seven.iter().all(|row| row.ends_with("\"k\":7}")), "{}", of_seven.len());
    assert!(of_seven[1].starts_with("{\"n\":107,"), "rows keep their order: {}", of_seven[1]);
}

/// Row groups of many files at once take no more memory than they may, whatever a column's encoder takes for itself.
#[test]
fn row_groups_under_way_stay_within_their_memory() {
    const MEMORY: usize = 16 << 20;
    const FILES: i64 = 150;
    let folder = Folder::new("parquet-sink-memory");
    let names: Vec<String> = (0..10).map(|i| format!("c{i} string")).chain(["k int64".to_owned()]).collect();
    let schema = schema(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let style = ParquetStyle { codec: PageCodec::Zstd(3), schema: schema.clone() };
    let path = folder.text("{k}.parquet");
    let mut writer = Writer::new(Order {
        form: Form::parquet(style, GroupSize::of(None, MEMORY)),
        target: Target::parse(&path, &schema).expect("a path"),
        date: String::new(),
        header: false,
        packing: Packing { codec: Codec::Plain, level: 0 }.around(Format::Parquet),
        max_bytes: None,
        mode: Mode::Write,
        inputs: Vec::new(),
        leftovers: Leftovers::new(None),
        published: Published::new(None),
    })
    .expect("a writer");
    let (mut most, mut rows) = (0, 0);
    for seq in 0..12 {
        let text = |row: i64| format!("{seq} and {row} make a text of its own, {}", row * 7919);
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..4096).map(text)));
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..4096).map(|row| row % FILES)));
        let columns = (0..10).map(|_| Arc::clone(&texts)).chain([keys]).collect();
        let batch = batch(&schema, 0, seq, columns);
        rows += writer.write(&batch).expect("written").accepted;
        let memory: u64 = writer.files.iter().filter_map(|file| file.pages.as_ref()).map(Pages::memory).sum();
        most = most.max(memory);
    }
    writer.commit().expect("committed");
    assert!(most > 0 && most <= MEMORY as u64 / 4, "{most} of {MEMORY}");
    let written: i64 = (0..FILES).flat_map(|k| groups(&folder, &format!("{k}.parquet"))).sum();
    assert_eq!(written as u64, rows);
}

#[test]
fn a_file_without_rows_has_its_columns() {
    let folder = Folder::new("parquet-sink-empty");
    let (schema, batch) = many(0, 10, 0, 0);
    write(&spec(&folder, "a.parquet"), &schema, &[batch.slice(0, 0)]);
    assert_eq!((groups(&folder, "a.parquet").len(), rows(&folder, "a.parquet").len()), (0, 0));
    let metadata = metadata(&folder, "a.parquet");
    assert_eq!(metadata.file_metadata().schema_descr().root_schema().get_fields().len(), 4);
}

#[test]
fn pages_are_compressed_as_told() {
    let folder = Folder::new("parquet-sink-codecs");
    let (schema, batch) = many(0, 1000, 0, 0);
    let is = |found: PageCompression, word: &str| format!("{found:?}").to_lowercase().starts_with(word);
    let mut sizes = Vec::new();
    for (keys, codec, note) in [
        (json!({}), "zstd", "zstd, level 3"),
        (json!({ "compression": "none" }), "uncompressed", "not compressed"),
        (json!({ "compression": "snappy" }), "snappy", "snappy"),
        (json!({ "compression": "lz4" }), "lz4_raw", "lz4"),
        (json!({ "compression": "gzip", "level": 9 }), "gzip", "gzip, level 9"),
        (json!({ "compression": "zstd", "level": 19 }), "zstd", "zstd, level 19"),
    ] {
        let mut spec = spec(&folder, "a.parquet");
        keys.as_object().expect("keys").iter().for_each(|(key, value)| spec[key] = value.clone());
        assert_eq!(sink(&spec, &schema).notes[1], note);
        write(&spec, &schema, std::slice::from_ref(&batch));
        let column = metadata(&folder, "a.parquet").row_group(0).column(1).compression();
        assert!(is(column, codec), "{column:?}");
        assert_eq!(rows(&folder, "a.parquet").len(), 1000);
        sizes.push(fs::metadata(folder.path("a.parquet")).expect("there").len());
    }
    assert!(sizes[5] < sizes[0] && sizes[0] < sizes[1], "levels have an effect: {sizes:?}");
}

#[test]
fn nothing_is_there_unless_the_input_was_whole_and_a_rehearsal_shows_rows() {
    let folder = Folder::new("parquet-sink-whole");
    let (schema, batch) = many(0, 10_000, 0, 0);
    let compiled = sink(&spec(&folder, "a.parquet"), &schema);
    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    worker.write(&batch).expect("written");
    drop(worker);
    assert_eq!(folder.names(), [""; 0]);

    let mut worker = compiled.stage.worker(Mode::Rehearse).expect("a worker");
    let written = worker.write(&batch).expect("rehearsed");
    assert_eq!((written.accepted, written.samples.len()), (10_000, 3));
    assert_eq!(written.samples[0], "{\"n\":0,\"t\":null,\"l\":[],\"k\":0}");
    assert_eq!(worker.write(&batch).expect("rehearsed").samples.len(), 0);
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn keys_that_make_no_sense_are_problems() {
    let schema = schema(&["s string"]);
    let table = Value::Table(Table::new());
    for (keys, expected) in [
        (json!({ "header": true }), "`header` has no effect on parquet"),
        (json!({ "null": "-" }), "`null` has no effect on parquet"),
        (json!({ "separator": ";" }), "`separator` has no effect on parquet"),
        (json!({ "list_separator": ";" }), "`list_separator` has no effect on parquet"),
        (json!({ "row_group_rows": 0 }), "a row group has at least 1 row"),
        (json!({ "format": "csv", "row_group_rows": 1 }), "`row_group_rows` has no effect on csv"),
        (json!({ "format": "csv", "compression": "snappy" }), "csv files are not compressed with snappy"),
        (json!({ "format": "ndjson", "compression": "lz4" }), "ndjson files are not compressed with lz4"),
        (json!({ "compression": "snappy", "level": 3 }), "`level` has no effect: the file is snappy"),
        (json!({ "compression": "none", "level": 3 }), "`level` has no effect: the file is not compressed"),
        (json!({ "level": 20 }), "level 20 is not between 1 and 19"),
        (json!({ "path": "a.parquet.gz" }), "parquet compresses its pages"),
    ] {
        let mut spec = json!({ "path": "a.parquet", "format": "parquet" });
        keys.as_object().expect("keys").iter().for_each(|(key, value)| spec[key] = value.clone());
        let problems = compile(&spec, &schema, &table).err().expect(expected);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
    }
}
