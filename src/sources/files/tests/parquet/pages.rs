//! Parquet files with pages that take more memory than the job may use, or more than they say; and footers that hold
//! what only their writer knew.

use std::io::Write;

use ::parquet::{basic::Encoding, file::properties::EnabledStatistics};

use super::*;

/// Thrift's compact protocol: what one writes by hand.
fn number(number: i64) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// Numbers in fields, each with its head.
fn fields(fields: &[(u8, i64)]) -> Vec<u8> {
    fields.iter().flat_map(|(head, value)| [vec![*head], number(*value)].concat()).collect()
}

/// What a test writes into a footer besides what belongs there.
#[derive(Clone, Copy, Default)]
struct More<'a> {
    /// Behind the offset of the dictionary in the eleventh field of a column.
    column: &'a [u8],
    /// Behind the number of rows in the third field of a row group.
    group: &'a [u8],
    /// Behind the row groups in the fourth field of the file.
    file: &'a [u8],
}

/// A file of one column `c` with one row group of these pages.
struct ByHand<'a> {
    /// The number of its type: 2 is an int64, 6 is a text.
    of: i64,
    codec: i64,
    rows: i64,
    /// What its pages take once they are unpacked, as the footer says.
    unpacked: i64,
    pages: &'a [u8],
    more: More<'a>,
}

impl ByHand<'_> {
    fn bytes(&self) -> Vec<u8> {
        let ByHand { of, codec, rows, unpacked, pages, more } = self;
        let len = pages.len() as i64;
        let column = [
            &fields(&[(0x15, *of)])[..],
            &[0x19, 0x25, 0x00, 0x06, 0x19, 0x18, 0x01, b'c'],
            &fields(&[(0x15, *codec), (0x16, *rows), (0x16, *unpacked), (0x16, len), (0x26, 4), (0x26, 0)]),
            more.column,
            &[0],
        ];
        let chunk = [&fields(&[(0x26, 4)])[..], &[0x1C], &column.concat(), &[0]].concat();
        let group = [&[0x19, 0x1C][..], &chunk, &fields(&[(0x16, len), (0x16, *rows)]), more.group, &[0]].concat();
        // An optional column, and text is said to be text.
        let text: &[u8] = if *of == 6 { &[0x25, 0x00] } else { &[] };
        let schema = [
            &[0x19, 0x2C, 0x48, 0x04, b'r', b'o', b'o', b't', 0x15, 0x02, 0x00][..],
            &fields(&[(0x15, *of), (0x25, 1)]),
            &[0x18, 0x01, b'c'],
            text,
            &[0],
        ];
        let footer = [
            &fields(&[(0x15, 1)])[..],
            &schema.concat(),
            &fields(&[(0x16, *rows)]),
            &[0x19, 0x1C],
            &group,
            more.file,
            &[0],
        ];
        let footer = footer.concat();
        [&b"PAR1"[..], pages, &footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat()
    }
}

/// The header of a page of values as they are, and its bytes.
fn data_page(rows: i64, unpacked: i64, bytes: &[u8]) -> Vec<u8> {
    let head = fields(&[(0x15, 0), (0x15, unpacked), (0x15, bytes.len() as i64)]);
    let values = fields(&[(0x15, rows), (0x15, 0), (0x15, 3), (0x15, 3)]);
    [&head[..], &[0x2C], &values, &[0, 0], bytes].concat()
}

/// The same of the second kind; without nulls, so that it has two bytes of levels.
fn data_page_2(rows: i64, unpacked: i64, bytes: &[u8]) -> Vec<u8> {
    // A run of `rows` ones.
    let levels = [number(rows), vec![1]].concat();
    let len = levels.len() as i64;
    let head = fields(&[(0x15, 3), (0x15, unpacked + len), (0x15, bytes.len() as i64 + len)]);
    let values = fields(&[(0x15, rows), (0x15, 0), (0x15, rows), (0x15, 0), (0x15, len), (0x15, 0)]);
    [&head[..], &[0x5C], &values, &[0, 0], &levels, bytes].concat()
}

/// The header of a dictionary, and its bytes.
fn dictionary_page(values: i64, unpacked: i64, bytes: &[u8]) -> Vec<u8> {
    let head = fields(&[(0x15, 2), (0x15, unpacked), (0x15, bytes.len() as i64)]);
    [&head[..], &[0x4C], &fields(&[(0x15, values), (0x15, 0)]), &[0, 0], bytes].concat()
}

/// The level of `rows` values of an optional column that are all there, as a page of the first kind has them.
fn levels(rows: u8) -> Vec<u8> {
    vec![2, 0, 0, 0, rows << 1, 1]
}

fn longs(rows: u8) -> Vec<u8> {
    (0..i64::from(rows)).flat_map(i64::to_le_bytes).collect()
}

#[test]
fn what_a_writer_put_where_another_meaning_came_to_be_is_passed_over() {
    let folder = Folder::new("parquet-fields");
    let content = [levels(40), longs(40)].concat();
    let len = content.len() as i64;
    let pages = data_page(40, len, &content);
    // Headers of pages where the length of a Bloom filter came to be, as one engine wrote them; text, numbers and lists
    // where statistics, ordinals and orders belong; and numbers that came later than this program.
    let headers =
        [&[0x49, 0x1C, 0x1C][..], &fields(&[(0x15, 0), (0x15, 162)]), &[0x00], &fields(&[(0x26, 22)]), &[0]].concat();
    let cases = [
        More::default(),
        More { column: &headers, ..More::default() },
        More { column: &[0x15, 0x05], ..More::default() },
        More { column: &[0x38, 0x03, b'a', b'b', b'c'], ..More::default() },
        More { column: &[0x18, 0x01, b'a', 0x06, 0xC8, 0x01, 0x02], ..More::default() },
        More { column: &[0x0B, 0xC8, 0x01, 0x01, 0x85, 0x01, b'k', 0x02], ..More::default() },
        More { group: &[0x48, 0x02, b'a', b'b'], ..More::default() },
        More { group: &[0x1A, 0x38, 0x01, b'a', 0x01, b'b', 0x01, b'c'], ..More::default() },
        More { file: &[0x38, 0x01, b'a'], ..More::default() },
        More { file: &[0x29, 0x2C, 0x1C, 0x00, 0x00, 0x1C, 0x00, 0x00], ..More::default() },
    ];
    for more in cases {
        let file = ByHand { of: 2, codec: 0, rows: 40, unpacked: len, pages: &pages, more };
        let read = read(&folder, &file.bytes(), json!([{ "name": "c", "type": "int64", "nullable": true }]));
        let shown = (more.column, more.group, more.file);
        assert_eq!((read.rows.len(), read.failure), (40, None), "{shown:?}");
        assert_eq!(read.rows[39], r#"40:0 {"c":39}"#, "{shown:?}");
    }
}

#[test]
fn a_page_larger_than_the_memory_of_the_job_is_refused_before_it_is_unpacked() {
    let folder = Folder::new("parquet-large-pages");
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..4).map(|i| "ab".repeat((3 << 18) + i))));
    for codec in codecs() {
        for (version, dictionary) in [
            (WriterVersion::PARQUET_1_0, false),
            (WriterVersion::PARQUET_2_0, false),
            (WriterVersion::PARQUET_1_0, true),
            (WriterVersion::PARQUET_2_0, true),
        ] {
            let bytes = file(vec![("t", Arc::clone(&texts))], |properties| {
                let properties = properties.set_compression(codec).set_writer_version(version);
                let properties = properties.set_dictionary_enabled(dictionary).set_dictionary_page_size_limit(64 << 20);
                properties.set_data_page_size_limit(64 << 20).set_encoding(Encoding::PLAIN)
            });
            let read = |memory: usize| {
                let limits = Limits { memory, ..LIMITS };
                read_bytes(&folder, "a.parquet", &bytes, &spec(json!(["t string"])), limits)
            };
            let shown = format!("{codec} {version:?} {dictionary}");
            let refused = read(5 << 20);
            let failure = refused.failure.expect(&shown);
            assert_eq!((failure.exit, refused.rows.len()), (Exit::Unavailable, 0), "{shown}: {failure}");
            for part in
                ["a.parquet`: column `t` has a page of 6.0 MiB, ", " in the file; `limits.memory` allows 5.0 MiB: "]
            {
                assert!(failure.message.contains(part), "{shown}: {failure}");
            }
            let large = read(16 << 20);
            assert_eq!((large.rows.len(), large.failure), (4, None), "{shown}");
        }
    }
}

#[test]
fn pages_that_are_read_at_a_time_are_counted_together() {
    let folder = Folder::new("parquet-many-pages");
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(["ab".repeat(8 << 20)]));
    let columns = [("a", Arc::clone(&texts)), ("b", Arc::clone(&texts)), ("c", texts)];
    let bytes = file(columns.to_vec(), |properties| properties.set_dictionary_enabled(false));
    let limits = Limits { memory: 30 << 20, record: 64 << 20, ..LIMITS };
    let all = json!(["a string", "b string", "c string"]);
    let read = |columns: Json| read_bytes(&folder, "a.parquet", &bytes, &spec(columns), limits);
    let failure = read(all).failure.expect("too much");
    let told = "column `c` has a page of 16.0 MiB, 16.0 MiB in the file; with those that are read beside it that makes 48.0 MiB;";
    assert!(failure.exit == Exit::Unavailable && failure.message.contains(told), "{failure}");
    assert_eq!(read(json!(["a string", "c string"])).failure, None);
}

/// The bytes compressed by the codec of this number.
fn packed(codec: i64, bytes: &[u8]) -> Vec<u8> {
    match codec {
        2 => gzip(bytes),
        4 => {
            let mut packer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            packer.write_all(bytes).expect("into memory");
            packer.into_inner()
        }
        5 => {
            let mut packer = lz4_flex::frame::FrameEncoder::new(Vec::new());
            packer.write_all(bytes).expect("into memory");
            packer.finish().expect("into memory")
        }
        6 => zstd::encode_all(bytes, 3).expect("into memory"),
        7 => lz4_flex::block::compress(bytes),
        _ => unreachable!("no codec of the test"),
    }
}

#[test]
fn a_page_that_unpacks_to_more_than_its_header_says_is_refused() {
    let folder = Folder::new("parquet-lies");
    let limits = Limits { memory: 16 << 10, ..LIMITS };
    let columns = || spec(json!([{ "name": "c", "type": "int64", "nullable": true }]));
    for codec in [2, 4, 5, 6, 7] {
        let bytes = packed(codec, &vec![0; 4 << 20]);
        let dictionary = [dictionary_page(4, 326, &bytes), data_page(40, 6, &levels(40))].concat();
        for pages in [data_page(40, 326, &bytes), data_page_2(40, 320, &bytes), dictionary] {
            let file = ByHand { of: 2, codec, rows: 40, unpacked: 326, pages: &pages, more: More::default() };
            let failure = read_bytes(&folder, "a.parquet", &file.bytes(), &columns(), limits).failure.expect("a lie");
            assert!(failure.exit == Exit::Io && failure.message.contains("is corrupt after 0 records ("), "{failure}");
            let told =
                failure.message.contains("a page of column `c` unpacks to more than its header says, which is 32");
            assert!(told || codec > 5, "{codec}: {failure}");
        }
    }
    // The same by truth is read.
    for codec in [2, 4, 5, 6, 7] {
        for pages in [
            data_page(40, 326, &packed(codec, &[levels(40), longs(40)].concat())),
            data_page_2(40, 320, &packed(codec, &longs(40))),
        ] {
            let file = ByHand { of: 2, codec, rows: 40, unpacked: 326, pages: &pages, more: More::default() };
            let read = read_bytes(&folder, "a.parquet", &file.bytes(), &columns(), limits);
            assert_eq!((read.rows.len(), read.failure), (40, None), "{codec}");
        }
    }
}

#[test]
fn a_header_that_says_what_cannot_be_is_damage() {
    let folder = Folder::new("parquet-headers");
    let content = [levels(40), longs(40)].concat();
    let len = content.len() as i64;
    let read = |codec: i64, unpacked: i64, pages: &[u8]| {
        let file = ByHand { of: 2, codec, rows: 40, unpacked, pages, more: More::default() };
        let columns = json!([{ "name": "c", "type": "int64", "nullable": true }]);
        read(&folder, &file.bytes(), columns).failure.expect("damage")
    };
    let huge = i64::from(i32::MAX);
    let failure = read(1, len, &data_page(40, huge, &content));
    let told = "a page of column `c` is said to unpack to 2.0 GiB, more than all of the column";
    assert!(failure.exit == Exit::Io && failure.message.contains(told), "{failure}");
    let failure = read(1, huge, &data_page(40, huge, &content));
    let told =
        "column `c` has a page of 2.0 GiB, 326 B in the file; `limits.memory` allows 256.0 MiB: give the job more";
    assert!(failure.exit == Exit::Unavailable && failure.message.contains(told), "{failure}");
    let failure = read(0, len, &[dictionary_page(huge, 326, &content), data_page(40, len, &content)].concat());
    assert!(failure.exit == Exit::Io && failure.message.contains("is corrupt after 0 records"), "{failure}");
}

#[test]
fn values_that_many_rows_share_are_passed_on_in_parts() {
    let folder = Folder::new("parquet-shared");
    let text = "x".repeat(100_000);
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..3000).map(|_| &text)));
    let inner = vec![(Arc::new(Field::new("a", DataType::Utf8, false)), Arc::clone(&texts))];
    let structs: ArrayRef = Arc::new(StructArray::from(inner));
    let fixed = FixedSizeBinaryArray::try_from_iter((0..3000).map(|_| text.as_bytes())).expect("one length");
    for (values, wanted) in [(texts, "string"), (structs, "json"), (Arc::new(fixed), "binary")] {
        let bytes = file(vec![("c", values)], |properties| properties.set_statistics_enabled(EnabledStatistics::None));
        assert!(bytes.len() < 200_000, "{} bytes", bytes.len());
        let mut spec = spec(json!([{ "name": "c", "type": wanted, "nullable": true }]));
        spec["path"] = json!(folder.write("a.parquet", &bytes));
        let compiled = compile(&spec, Limits { bytes: 1 << 20, rows: 8192, ..LIMITS }).expect("a sound spec");
        let splits = compiled.stage.splits().expect("a split");
        let mut worker = compiled.stage.worker().expect("a worker");
        let mut reader = worker.open(SplitId(0), &splits[0]).expect("it opens");
        let (mut rows, mut rejects) = (0, Rejects::default());
        while let Some(batch) = reader.next_batch(&mut rejects).expect("sound") {
            assert!(batch.rows() <= 10, "{wanted}: {} rows of 100 kB", batch.rows());
            rows += batch.rows();
        }
        assert_eq!(rows, 3000, "{wanted}");
    }
}
