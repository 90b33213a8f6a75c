//! Parquet: types, values that do not fit, parts of files.

mod damage;
mod declared;
mod odd;
mod pages;

use std::{fs, sync::Arc};

use ::parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression as PageCompression, ZstdLevel},
    file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion},
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int32Array, Int64Array, ListArray, MapArray, NullArray, RecordBatch, StringArray, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt8Array,
    UInt64Array,
    builder::{Int32Builder, MapBuilder, StringBuilder},
    types::Int64Type,
};
use arrow_schema::{DataType, Field};
use serde_json::json;

use super::*;
use crate::{failure::Exit, stage::Detail};

/// A file of these columns.
fn file(
    columns: Vec<(&str, ArrayRef)>,
    change: impl Fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
) -> Vec<u8> {
    let records =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    bytes(&records.expect("columns of one length"), change)
}

fn bytes(records: &RecordBatch, change: impl Fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder) -> Vec<u8> {
    let properties = change(WriterProperties::builder()).build();
    let options = ArrowWriterOptions::new().with_properties(properties);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), records.schema(), options).expect("a writer");
    writer.write(records).expect("written");
    writer.into_inner().expect("written")
}

fn plain(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    file(columns, |properties| properties)
}

fn spec(columns: Json) -> Json {
    json!({ "format": "parquet", "columns": columns })
}

fn read(folder: &Folder, bytes: &[u8], columns: Json) -> Read {
    read_bytes(folder, "a.parquet", bytes, &spec(columns), LIMITS)
}

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// Texts of many lengths and numbers, in 10 row groups of 100 rows, with small pages.
fn numbered(change: impl Fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder) -> Vec<u8> {
    let texts: Vec<Option<String>> =
        (0..1000).map(|i| (i % 7 != 0).then(|| "text ".repeat(i % 9) + &i.to_string())).collect();
    let lists = (0..1000).map(|i| (i % 5 != 0).then(|| (0..i % 4).map(|j| Some(j + i)).collect::<Vec<_>>()));
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    file(vec![("n", ints(0..1000)), ("t", Arc::new(StringArray::from(texts))), ("l", Arc::new(lists))], |properties| {
        let properties = properties.set_max_row_group_row_count(Some(100)).set_data_page_size_limit(200);
        change(properties.set_write_batch_size(16))
    })
}

const NUMBERED: [&str; 2] = ["n int64", "n int64"];

fn numbered_columns() -> Json {
    json!(["n int64", { "name": "t", "type": "string", "nullable": true },
        { "name": "l", "type": "list<int64>", "nullable": true }])
}

#[test]
fn values_become_those_of_the_declared_types() {
    let folder = Folder::new("parquet-types");
    let uuid = FixedSizeBinaryArray::try_from_iter([[0x12_u8; 16]].iter()).expect("one length");
    let day = 86_400_000_000;
    let cases: Vec<(ArrayRef, &str, Json)> = vec![
        (Arc::new(BooleanArray::from(vec![true])), "bool", json!(true)),
        (Arc::new(Int32Array::from(vec![-7])), "int64", json!(-7)),
        (Arc::new(Int32Array::from(vec![-7])), "int8", json!(-7)),
        (Arc::new(UInt8Array::from(vec![200])), "int32", json!(200)),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), "uint64", json!(u64::MAX)),
        (Arc::new(Int64Array::from(vec![1 << 53])), "float64", json!(9_007_199_254_740_992.0)),
        (Arc::new(Float32Array::from(vec![0.5])), "float64", json!(0.5)),
        (Arc::new(Float64Array::from(vec![0.1])), "float64", json!(0.1)),
        (Arc::new(StringArray::from(vec!["é"])), "string", json!("é")),
        (Arc::new(StringArray::from(vec!["é"])), "binary", json!("w6k=")),
        (Arc::new(BinaryArray::from(vec![&b"\xC3\xA9"[..]])), "string", json!("é")),
        (Arc::new(BinaryArray::from(vec![&b"\xC3\xA9"[..]])), "binary", json!("w6k=")),
        (Arc::new(StringArray::from(vec!["{\"a\":1}"])), "json", json!({ "a": 1 })),
        (Arc::new(Date32Array::from(vec![1])), "date", json!("1970-01-02")),
        (Arc::new(Date32Array::from(vec![1])), "timestamp", json!("1970-01-02T00:00:00Z")),
        (Arc::new(Date32Array::from(vec![1])), "timestamp_ns", json!("1970-01-02T00:00:00Z")),
        (Arc::new(TimestampMillisecondArray::from(vec![1])), "timestamp", json!("1970-01-01T00:00:00.001000Z")),
        (Arc::new(TimestampMillisecondArray::from(vec![1])), "timestamp_ns", json!("1970-01-01T00:00:00.001000000Z")),
        (Arc::new(TimestampMicrosecondArray::from(vec![day])), "timestamp", json!("1970-01-02T00:00:00Z")),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![day]).with_timezone("+02:00")),
            "timestamp",
            json!("1970-01-02T00:00:00Z"),
        ),
        (Arc::new(TimestampNanosecondArray::from(vec![-1])), "timestamp", json!("1969-12-31T23:59:59.999999Z")),
        (Arc::new(TimestampNanosecondArray::from(vec![-1])), "timestamp_ns", json!("1969-12-31T23:59:59.999999999Z")),
        (decimal(12_345, 10, 2), "float64", json!(123.45)),
        (decimal(12_345, 10, 2), "string", json!("123.45")),
        (decimal(-12_345, 30, 0), "int32", json!(-12_345)),
        (Arc::new(Time64MicrosecondArray::from(vec![1_500_000])), "string", json!("00:00:01.500")),
        (Arc::new(uuid), "binary", json!("EhISEhISEhISEhISEhISEg==")),
        (Arc::new(NullArray::new(1)), "int8", Json::Null),
    ];
    for (values, wanted, expected) in cases {
        let shown = format!("{values:?} as {wanted}");
        let columns = json!([{ "name": "c", "type": wanted, "nullable": true }]);
        let read = read(&folder, &plain(vec![("c", values)]), columns);
        assert_eq!((read.rejects.len(), read.failure), (0, None), "{shown}");
        assert_eq!(read.rows, [format!("1:0 {}", json!({ "c": expected }))], "{shown}");
    }
}

fn decimal(value: i128, precision: u8, scale: i8) -> ArrayRef {
    let decimal = Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale);
    Arc::new(decimal.expect("a sound decimal"))
}

#[test]
fn types_that_do_not_fit_fail_the_file() {
    let folder = Folder::new("parquet-unfit");
    let cases: Vec<(ArrayRef, &str, &str)> = vec![
        (
            Arc::new(Float64Array::from(vec![1.0])),
            "int64",
            "column `c` is float64 in it, which cannot be read as int64",
        ),
        (Arc::new(Float64Array::from(vec![1.0])), "float32", "is float64 in it"),
        (ints([1]), "timestamp", "is int64 in it, which cannot be read as timestamp"),
        (ints([1]), "string", "is int64 in it"),
        (ints([1]), "list<int64>", "cannot be read as list<int64>"),
        (decimal(1, 10, 2), "int64", "column `c` is decimal(10, 2) in it"),
        (Arc::new(Time64MicrosecondArray::from(vec![1])), "int64", "is a time of day in it"),
        (Arc::new(StringArray::from(vec!["1"])), "int64", "is string in it"),
        (nested().remove(0).1, "string", "is a struct in it, which cannot be read as string"),
    ];
    for (values, wanted, expected) in cases {
        let rows = values.len();
        let read = read(&folder, &plain(vec![("c", values)]), json!([format!("c {wanted}")]));
        let failure = read.failure.expect(expected);
        assert_eq!((failure.exit, read.rows.len()), (Exit::Io, 0), "{rows}");
        let message = failure.message;
        assert!(message.contains("a.parquet` does not fit: ") && message.contains(expected), "{message}");
    }
    let failure = read(&folder, &plain(vec![("name", ints([1]))]), json!(["nmae int64"])).failure.expect("no column");
    assert!(failure.message.ends_with("it has no column `nmae`; did you mean `name`?"), "{failure}");
}

#[test]
fn values_that_do_not_fit_are_rejects_or_null() {
    let folder = Folder::new("parquet-values");
    let big = i64::MAX / 1000;
    let cases: Vec<(ArrayRef, &str, &str)> = vec![
        (ints([1, 300, 2]), "uint8", "bad_number column `c`: `300` is not a valid uint8"),
        (ints([1, -1, 2]), "uint64", "bad_number column `c`: `-1` is not a valid uint64"),
        (ints([1, (1 << 53) + 1, 2]), "float64", "bad_number column `c`: `9007199254740993` is not a valid float64"),
        (
            Arc::new(UInt64Array::from(vec![1, u64::MAX, 2])),
            "float32",
            "bad_number column `c`: `18446744073709551615` is not a valid float32",
        ),
        (
            Arc::new(TimestampMillisecondArray::from(vec![1, big + 1, 2])),
            "timestamp",
            "bad_timestamp column `c`: `9223372036854776` is not a valid timestamp",
        ),
        (
            Arc::new(Date32Array::from(vec![1, 200_000, 2])),
            "timestamp_ns",
            "bad_timestamp column `c`: `\"2517-08-01\"` is not a valid timestamp_ns",
        ),
        (
            Arc::new(BinaryArray::from(vec![&b"a"[..], b"\xFF", b"b"])),
            "string",
            "invalid_utf8 column `c`: `\"/w==\"` is not a valid string",
        ),
        (
            Arc::new(StringArray::from(vec!["1", "{\"a\":", "\"x\""])),
            "json",
            "bad_json column `c`: `\"{\\\"a\\\":\"` is not a valid json",
        ),
        (
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
                Some(vec![Some(1), None]),
                Some(vec![Some(2), Some(300)]),
                Some(vec![]),
            ])),
            "list<uint8>",
            "bad_number column `c`: `[2,300]` is not a valid list<uint8>",
        ),
    ];
    for (values, wanted, expected) in cases {
        let bytes = plain(vec![("n", ints([10, 20, 30])), ("c", values)]);
        let columns =
            |invalid: &str| json!(["n int64", { "name": "c", "type": wanted, "nullable": true, "invalid": invalid }]);
        let rejected = read(&folder, &bytes, columns("reject"));
        assert_eq!(rejected.rejects, [format!("2:0 {expected}")], "{wanted}");
        assert_eq!(rejected.rows.len(), 2);
        assert!(rejected.rows[1].starts_with("3:0 {\"n\":30,"), "{:?}", rejected.rows);
        let null = read(&folder, &bytes, columns("null"));
        assert_eq!((null.rejects.len(), null.rows[1].as_str()), (0, "2:0 {\"n\":20,\"c\":null}"));
        if wanted.starts_with("list") {
            let dropped = read(&folder, &bytes, columns("drop_items"));
            assert_eq!(
                dropped.rows,
                ["1:0 {\"n\":10,\"c\":[1,null]}", "2:0 {\"n\":20,\"c\":[2]}", "3:0 {\"n\":30,\"c\":[]}"]
            );
        }
    }
}

#[test]
fn nulls_are_refused_where_none_may_be_and_long_rows_anyway() {
    let folder = Folder::new("parquet-null");
    let long = "x".repeat(5000);
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some(long.as_str()), Some("b")]));
    let bytes = plain(vec![("n", ints(1..=4)), ("t", texts)]);
    let mut spec = spec(json!(["t string", "n int64"]));
    spec["path"] = json!(folder.write("a.parquet", &bytes));
    let compiled = compile(&spec, Limits { record: 4000, ..LIMITS }).expect("a sound spec");
    let splits = compiled.stage.splits().expect("a split");
    let read = read_split(compiled.stage.as_ref(), &splits[0]);
    assert_eq!(read.rows, ["1:0 {\"t\":\"a\",\"n\":1}", "4:0 {\"t\":\"b\",\"n\":4}"]);
    assert_eq!(
        read.rejects,
        [
            "2:0 unexpected_null column `t`: null, but it is not nullable",
            "3:0 too_long the record is longer than 4000 bytes"
        ]
    );
    let mut rejects = Rejects::default();
    let mut worker = compiled.stage.worker().expect("a worker");
    let mut reader = worker.open(SplitId(0), &splits[0]).expect("opens");
    reader.next_batch(&mut rejects).expect("reads");
    let records: Vec<Vec<u8>> = rejects.take().into_iter().map(|reject| reject.record).collect();
    assert_eq!(String::from_utf8_lossy(&records[0]), "{\"n\":2,\"t\":null}");
    assert_eq!(records[1].len(), crate::formats::HEAD);
}

/// A struct, a map, a list of structs and a list of lists, two rows each.
fn nested() -> Vec<(&'static str, ArrayRef)> {
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a\"b", ""]));
    let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_500, 0]).with_timezone("UTC"));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 0.5]));
    let fields = [("i", ints), ("t", texts), ("at", time), ("f", floats)]
        .map(|(name, array)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array));
    let record: StructArray = Vec::from(fields).into();
    let mut map = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    map.keys().append_value(7);
    map.values().append_value("x");
    map.append(true).expect("appended");
    map.append(false).expect("appended");
    let map: MapArray = map.finish();
    let item = Arc::new(Field::new("item", record.data_type().clone(), true));
    let offsets = arrow_buffer::OffsetBuffer::from_lengths([2, 0]);
    let records = ListArray::new(item, offsets, Arc::new(record.clone()), None);
    let inner = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1)]), Some(vec![])]);
    let item = Arc::new(Field::new("item", inner.data_type().clone(), true));
    let lists = ListArray::new(item, arrow_buffer::OffsetBuffer::from_lengths([2, 0]), Arc::new(inner), None);
    vec![("s", Arc::new(record)), ("m", Arc::new(map)), ("r", Arc::new(records)), ("l", Arc::new(lists))]
}

#[test]
fn what_is_nested_becomes_json() {
    let folder = Folder::new("parquet-nested");
    let bytes = plain(nested());
    let expected = [
        "1:0 {\"s\":{\"i\":1,\"t\":\"a\\\"b\",\"at\":\"1970-01-01T00:00:01.500Z\",\"f\":\"NaN\"},\"m\":{\"7\":\"x\"},\
         \"r\":[{\"i\":1,\"t\":\"a\\\"b\",\"at\":\"1970-01-01T00:00:01.500Z\",\"f\":\"NaN\"},\
         {\"i\":null,\"t\":\"\",\"at\":\"1970-01-01T00:00:00Z\",\"f\":0.5}],\"l\":[[1],[]]}",
        "2:0 {\"s\":{\"i\":null,\"t\":\"\",\"at\":\"1970-01-01T00:00:00Z\",\"f\":0.5},\"m\":null,\"r\":[],\"l\":[]}",
    ];
    let json = |name: &str| json!({ "name": name, "type": "json", "nullable": true });
    assert_eq!(read(&folder, &bytes, json!(["s", "m", "r", "l"].map(json))).rows, expected);
    let inferred = source(&json!({ "path": folder.text("a.parquet"), "format": "parquet" }));
    assert_eq!(inferred.output.expect("columns").to_string(), "s json?, m json?, r json?, l json?");
    let lists = json!([{ "name": "l", "type": "list<list<int8>>" }]);
    assert_eq!(read(&folder, &bytes, lists).rows, ["1:0 {\"l\":[[1],[]]}", "2:0 {\"l\":[]}"]);
}

#[test]
fn batches_of_any_size_and_encodings_of_any_kind_give_the_same_rows() {
    let folder = Folder::new("parquet-sizes");
    let expected = read(&folder, &numbered(|properties| properties), numbered_columns());
    assert_eq!((expected.rows.len(), expected.failure.is_none()), (1000, true));
    assert_eq!(expected.rows[8], "9:0 {\"n\":8,\"t\":\"text text text text text text text text 8\",\"l\":[]}");
    for limits in [(1, 1 << 20), (7, 1 << 20), (100, 50), (100_000, 1 << 20), (64, 1000)] {
        let limits = Limits { rows: limits.0, bytes: limits.1, ..LIMITS };
        for codec in 0..5 {
            let bytes = numbered(|properties| match codec {
                0 => properties.set_compression(PageCompression::SNAPPY),
                1 => properties
                    .set_compression(PageCompression::ZSTD(ZstdLevel::default()))
                    .set_dictionary_enabled(false),
                2 => properties.set_compression(PageCompression::LZ4_RAW),
                3 => properties.set_writer_version(WriterVersion::PARQUET_2_0).set_dictionary_enabled(false),
                _ => properties.set_writer_version(WriterVersion::PARQUET_2_0),
            });
            let read = read_bytes(&folder, "a.parquet", &bytes, &spec(numbered_columns()), limits);
            assert!(read == expected, "{codec} {}: {:?}", limits.rows, read.failure);
        }
    }
}

#[test]
fn parts_of_a_file_have_its_rows_wherever_it_is_cut() {
    let folder = Folder::new("parquet-parts");
    let bytes = numbered(|properties| properties);
    let path = folder.write("a.parquet", &bytes);
    // Every 50th value does not fit, so that rejects are told by their place in the file, too.
    let columns = json!([{ "name": "l", "type": "list<uint8>", "nullable": true }, "n int64"]);
    let spec = json!({ "path": path, "format": "parquet", "columns": columns });
    let compiled = source(&spec);
    let whole = compiled.stage.splits().expect("a split").remove(0);
    let expected = read_split(compiled.stage.as_ref(), &whole);
    assert!(expected.rows.len() > 300 && expected.rejects.len() > 300 && expected.failure.is_none());
    let len = bytes.len() as u64;
    let cuts = |step: u64| (step..len).step_by(step as usize).collect::<Vec<_>>();
    for places in [vec![1], vec![len / 2], vec![len - 1], cuts(97), cuts(1000), cuts(2111)] {
        let ends = places.iter().copied().chain([len]);
        let starts = [0].into_iter().chain(places.iter().copied());
        let mut read = Read::default();
        for (start, end) in starts.zip(ends) {
            let mut part = whole.clone();
            if let Detail::File { range, .. } = &mut part.detail {
                *range = Some(start..end);
            }
            let part = read_split(compiled.stage.as_ref(), &part);
            read.rows.extend(part.rows);
            read.rejects.extend(part.rejects);
            read.failure = read.failure.or(part.failure);
        }
        assert!(read == expected, "{} places: {:?}", places.len(), read.failure);
    }
}

#[test]
fn large_files_are_cut_between_row_groups_or_inside_of_vast_ones() {
    let folder = Folder::new("parquet-cut");
    let values = || ints((0..1_500_000).map(|i| i * 7919 % 1_000_003 + i));
    for (rows, most) in [(100_000, 4), (10_000_000, 4)] {
        let bytes = file(vec![("n", values())], |properties| {
            let properties = properties.set_dictionary_enabled(false);
            properties.set_max_row_group_row_count(Some(rows)).set_write_batch_size(1024)
        });
        assert!(bytes.len() > 11 << 20, "{}", bytes.len());
        let path = folder.write("a.parquet", &bytes);
        let spec = json!({ "path": path, "format": "parquet", "columns": ["n int64"], "done": "delete" });
        let compiled = compile(&spec, Limits { rows: 8192, bytes: 1 << 20, ..LIMITS }).expect("a sound spec");
        let splits = compiled.stage.splits().expect("splits");
        assert!((2..=most).contains(&splits.len()), "{}", splits.len());
        let mut next = 0;
        for split in &splits {
            let first = next;
            let mut worker = compiled.stage.worker().expect("a worker");
            let mut reader = worker.open(SplitId(0), split).expect("opens");
            let mut rejects = Rejects::default();
            while let Some(batch) = reader.next_batch(&mut rejects).expect("reads") {
                assert!(batch.rows() <= 8192 && batch.bytes() < 1 << 20);
                let place = compiled.stage.locate(split, batch.origin.position(0));
                assert_eq!(place.record, next + 1);
                next += batch.rows() as u64;
            }
            assert_eq!(Some(reader.bytes_read()), split.size());
            assert!(rows > 1_000_000 || first % 100_000 == 0, "{first} is not a start of a row group");
        }
        assert_eq!(next, 1_500_000);
        for split in &splits {
            assert!(path.exists());
            compiled.stage.done(split).expect("done");
        }
        assert!(!path.exists(), "the file is done with after its last part");
    }
}

#[test]
fn only_the_wanted_columns_are_read() {
    let folder = Folder::new("parquet-wanted");
    let mut bytes = numbered(|properties| properties);
    let metadata = ::parquet::file::metadata::ParquetMetaDataReader::new()
        .parse_and_finish(&bytes::Bytes::from(bytes.clone()))
        .expect("a footer");
    let all = read(&folder, &bytes, json!(NUMBERED[..1])).rows;
    for group in metadata.row_groups() {
        for column in &group.columns()[1..] {
            let (start, len) = column.byte_range();
            bytes[start as usize..(start + len) as usize].fill(0xAA);
        }
    }
    let read_again = read(&folder, &bytes, json!(NUMBERED[..1]));
    assert_eq!((read_again.rows, read_again.failure), (all, None));
    assert!(read(&folder, &bytes, numbered_columns()).failure.is_some());
}

#[test]
fn files_without_rows_are_read() {
    let folder = Folder::new("parquet-empty");
    let none = plain(vec![("n", ints([]))]);
    let metadata = ::parquet::file::metadata::ParquetMetaDataReader::new()
        .parse_and_finish(&bytes::Bytes::from(none.clone()))
        .expect("a footer");
    assert_eq!(metadata.num_row_groups(), 0);
    assert_eq!(read(&folder, &none, json!(["n int64"])), Read::default());
    let inferred = source(&json!({ "path": folder.text("a.parquet"), "format": "parquet" }));
    assert_eq!(inferred.output.expect("columns").to_string(), "n int64?");
}

#[test]
fn a_file_that_changes_fails() {
    let folder = Folder::new("parquet-changed");
    let path = folder.write("a.parquet", &plain(vec![("n", ints(0..10))]));
    let compiled = source(&json!({ "path": path, "format": "parquet", "columns": ["n int64"] }));
    let splits = compiled.stage.splits().expect("a split");
    let mut worker = compiled.stage.worker().expect("a worker");
    let mut reader = worker.open(SplitId(0), &splits[0]).expect("opens");
    let batch = reader.next_batch(&mut Rejects::default()).expect("reads");
    assert_eq!(batch.map(|batch| batch.rows()), Some(10));
    fs::write(&path, plain(vec![("n", ints(0..20))])).expect("written");
    let failure = reader.next_batch(&mut Rejects::default()).expect_err("changed");
    drop(reader);
    assert!(failure.message.contains("a.parquet` has changed since it was listed"), "{failure}");
    assert!(worker.open(SplitId(0), &splits[0]).is_err());
    fs::remove_file(&path).expect("removed");
    assert_eq!(worker.open(SplitId(0), &splits[0]).err().map(|failure| failure.exit), Some(Exit::InputMissing));
}

/// Every way in which pages are packed.
fn codecs() -> [PageCompression; 7] {
    [
        PageCompression::UNCOMPRESSED,
        PageCompression::SNAPPY,
        PageCompression::GZIP(Default::default()),
        PageCompression::BROTLI(Default::default()),
        PageCompression::LZ4,
        PageCompression::LZ4_RAW,
        PageCompression::ZSTD(ZstdLevel::default()),
    ]
}
