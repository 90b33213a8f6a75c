//! Parquet files as some programs write them: text that is none, offsets that are none, row groups and columns without
//! anything; and files that do not have the same columns.

use ::parquet::{
    basic::Repetition,
    file::metadata::{
        FileMetaData, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader, ParquetMetaDataWriter,
    },
    schema::types::{SchemaDescriptor, Type, TypePtr},
};

use super::*;

/// The file with every `from` in it replaced by `to`, which is as long.
fn patched(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut patched = file.to_vec();
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&patched[at..], from) {
        patched[at + found..at + found + to.len()].copy_from_slice(to);
        at += found + to.len();
    }
    assert_ne!(patched, file, "there is nothing to replace");
    patched
}

fn words(count: usize) -> Vec<u8> {
    let word = |i: usize| if i % 100 == 42 { "cafZ".to_owned() } else { format!("word {i}") };
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..count).map(word)));
    let good = file(vec![("n", ints(0..count as i64)), ("t", texts)], |properties| {
        properties.set_max_row_group_row_count(Some(150)).set_compression(PageCompression::UNCOMPRESSED)
    });
    patched(&good, b"cafZ", b"caf\xE9")
}

#[test]
fn text_that_is_none_costs_its_row_and_no_other() {
    let folder = Folder::new("parquet-text");
    let read = read(&folder, &words(400), json!(["n int64", "t string"]));
    assert_eq!(read.failure, None);
    assert_eq!((read.rows.len(), read.rejects.len()), (396, 4));
    assert_eq!(read.rows[42], r#"44:0 {"n":43,"t":"word 43"}"#);
    for (i, reject) in read.rejects.iter().enumerate() {
        assert!(reject.starts_with(&format!("{}:0 invalid_utf8 column `t`: ", i * 100 + 43)), "{reject}");
    }
}

#[test]
fn text_declared_as_bytes_may_hold_any() {
    let folder = Folder::new("parquet-bytes");
    let read = read(&folder, &words(60), json!(["n int64", "t binary"]));
    assert_eq!((read.rows.len(), read.rejects.len(), read.failure), (60, 0, None));
}

/// The file with its footer changed.
fn footer(file: &[u8], change: impl Fn(ParquetMetaData) -> ParquetMetaData) -> Vec<u8> {
    let metadata =
        ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::copy_from_slice(file)).expect("a footer");
    let len = u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().expect("four bytes")) as usize;
    let mut changed = file[..file.len() - 8 - len].to_vec();
    ParquetMetaDataWriter::new(&mut changed, &change(metadata)).finish().expect("written");
    changed
}

#[test]
fn an_offset_of_zero_is_no_dictionary() {
    let folder = Folder::new("parquet-zero");
    let good = file(vec![("n", ints(0..40))], |properties| properties.set_dictionary_enabled(false));
    let zeros = footer(&good, |metadata| {
        let mut groups = Vec::new();
        for group in metadata.row_groups() {
            let chunks = group.columns().iter().cloned();
            let chunks = chunks.map(|chunk| chunk.into_builder().set_dictionary_page_offset(Some(0)).build());
            let chunks = chunks.collect::<Result<_, _>>().expect("chunks");
            groups.push(group.clone().into_builder().set_column_metadata(chunks).build().expect("a group"));
        }
        ParquetMetaDataBuilder::new_from_metadata(metadata).set_row_groups(groups).build()
    });
    let read = read(&folder, &zeros, json!(["n int64"]));
    assert_eq!((read.rows.len(), read.failure), (40, None));
}

#[test]
fn files_may_lack_columns_where_they_may_be_missing() {
    let folder = Folder::new("parquet-missing");
    folder.write("1.parquet", &plain(vec![("a", ints(0..2))]));
    folder.write("2.parquet", &plain(vec![("b", ints(5..6)), ("a", ints(2..3))]));
    let spec = |missing: Json, extra: Json| json!({ "path": folder.text("*.parquet"), "format": "parquet", "missing": missing, "extra": extra });
    let told = compile(&spec(Json::Null, Json::Null), LIMITS).err().expect("they differ");
    assert!(told[0].contains("2.parquet` is not like `") && told[0].contains("it has a column `b` more"), "{told:?}");
    let rows = |spec: &Json| -> Vec<String> {
        let compiled = source(spec);
        let splits = compiled.stage.splits().expect("splits");
        splits.iter().flat_map(|split| read_split(compiled.stage.as_ref(), split).rows).collect()
    };
    let all = rows(&spec(json!("null"), Json::Null));
    assert_eq!(all, [r#"1:0 {"a":0,"b":null}"#, r#"2:0 {"a":1,"b":null}"#, r#"1:0 {"a":2,"b":5}"#]);
    let first = rows(&spec(Json::Null, json!("ignore")));
    assert_eq!(first, [r#"1:0 {"a":0}"#, r#"2:0 {"a":1}"#, r#"1:0 {"a":2}"#]);
    // Declared, and in no file at all.
    let mut spec = spec(json!("null"), Json::Null);
    spec["columns"] = json!([{ "name": "z", "type": "string", "nullable": true }]);
    assert_eq!(rows(&spec), [r#"1:0 {"z":null}"#, r#"2:0 {"z":null}"#, r#"1:0 {"z":null}"#]);
}

#[test]
fn row_groups_without_rows_are_passed_over() {
    let folder = Folder::new("parquet-empty");
    let good = file(vec![("n", ints(0..4))], |properties| properties.set_max_row_group_row_count(Some(2)));
    let empty = footer(&good, |metadata| {
        let mut groups = metadata.row_groups().to_vec();
        let none = groups[0].clone().into_builder().set_num_rows(0).build().expect("a group");
        groups.insert(1, none);
        ParquetMetaDataBuilder::new_from_metadata(metadata).set_row_groups(groups).build()
    });
    let read = read(&folder, &empty, json!(["n int64"]));
    assert_eq!((read.rows.len(), read.failure), (4, None));
}

/// The footer with another schema of the same leaves, and a number of rows.
fn declares(metadata: &ParquetMetaData, schema: Type, rows: i64) -> ParquetMetaData {
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
    let file = FileMetaData::new(2, rows, None, None, schema, None);
    ParquetMetaDataBuilder::new(file).set_row_groups(metadata.row_groups().to_vec()).build()
}

#[test]
fn the_row_groups_say_how_many_rows_there_are() {
    let folder = Folder::new("parquet-rows");
    let good = file(vec![("n", ints(0..40))], |properties| properties.set_max_row_group_row_count(Some(15)));
    for rows in [0, 1, 39, 41, -1, i64::MAX] {
        let wrong = footer(&good, |metadata| {
            let schema = metadata.file_metadata().schema().clone();
            declares(&metadata, schema, rows)
        });
        let read = read(&folder, &wrong, json!(["n int64"]));
        assert_eq!((read.rows.len(), read.failure), (40, None), "{rows}");
    }
}

#[test]
fn groups_without_fields_are_passed_over() {
    let folder = Folder::new("parquet-groups");
    let inner: ArrayRef = ints([7, 8]);
    let structs = StructArray::from(vec![(Arc::new(Field::new("a", DataType::Int64, true)), inner)]);
    let good = plain(vec![("n", ints(0..2)), ("s", Arc::new(structs)), ("z", ints([5, 6]))]);
    let group = |name: &str, fields: Vec<TypePtr>| -> TypePtr {
        let group = Type::group_type_builder(name).with_repetition(Repetition::OPTIONAL).with_fields(fields);
        Arc::new(group.build().expect("a group"))
    };
    let empty = footer(&good, |metadata| {
        let fields = metadata.file_metadata().schema().get_fields();
        let mut nested = fields[1].get_fields().to_vec();
        nested.insert(0, group("x", vec![group("y", Vec::new())]));
        let fields = vec![
            group("e", Vec::new()),
            Arc::clone(&fields[0]),
            group("s", nested),
            group("f", vec![group("g", Vec::new()), group("h", Vec::new())]),
            Arc::clone(&fields[2]),
        ];
        declares(&metadata, Type::group_type_builder("root").with_fields(fields).build().expect("a schema"), 2)
    });
    let read = read_bytes(&folder, "a.parquet", &empty, &json!({ "format": "parquet" }), LIMITS);
    assert_eq!(read.failure, None);
    assert_eq!(read.rows, [r#"1:0 {"n":0,"s":{"a":7},"z":5}"#, r#"2:0 {"n":1,"s":{"a":8},"z":6}"#]);
}

#[test]
fn every_compression_is_read_or_named() {
    let folder = Folder::new("parquet-codecs");
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..500).map(|i| format!("text {}", i % 9))));
    let with = |codec| file(vec![("t", Arc::clone(&texts))], |properties| properties.set_compression(codec));
    let plain = read(&folder, &with(PageCompression::UNCOMPRESSED), json!(["t string"])).rows;
    assert_eq!(plain.len(), 500);
    for codec in codecs() {
        let read = read(&folder, &with(codec), json!(["t string"]));
        assert!(read.failure.is_none() && read.rows == plain, "{codec}: {:?}", read.failure);
    }
    let lzo = footer(&with(PageCompression::SNAPPY), |metadata| {
        let group = metadata.row_group(0);
        let chunk = group.column(0).clone().into_builder().set_compression(PageCompression::LZO).build();
        let group = group.clone().into_builder().set_column_metadata(vec![chunk.expect("a chunk")]).build();
        ParquetMetaDataBuilder::new_from_metadata(metadata).set_row_groups(vec![group.expect("a group")]).build()
    });
    let failure = read(&folder, &lzo, json!(["t string"])).failure.expect("none");
    assert!(failure.message.contains("is compressed with LZO, which is not supported; Snappy, gzip, "), "{failure}");
}
