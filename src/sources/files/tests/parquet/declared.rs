//! Columns that nobody declared, and keys that make no sense.

use super::*;

#[test]
fn columns_that_nobody_declared_are_those_of_all_files() {
    let folder = Folder::new("parquet-inferred");
    let required = |array: ArrayRef| {
        let schema = arrow_schema::Schema::new(vec![Field::new("n", DataType::Int64, false)]);
        bytes(&RecordBatch::try_new(Arc::new(schema), vec![array]).expect("a column"), |properties| properties)
    };
    folder.write("a.parquet", &required(ints([1])));
    let spec = json!({ "path": folder.text("*.parquet"), "format": "parquet" });
    let columns = |spec: &Json| source(spec).output.expect("columns").to_string();
    assert_eq!(columns(&spec), "n int64");
    folder.write("b.parquet", &plain(vec![("n", Arc::new(Int64Array::from(vec![None, Some(2)])))]));
    assert_eq!(columns(&spec), "n int64?");

    // A file that comes later must be like the others.
    let compiled = source(&spec);
    for (later, how) in [
        (plain(vec![("n", Arc::new(Int32Array::from(vec![1])))]), "its column `n` is int32, not int64"),
        (plain(vec![("m", ints([1]))]), "it has no column `n`"),
        (plain(vec![("n", ints([1])), ("m", ints([1]))]), "it has a column `m` more"),
    ] {
        folder.write("c.parquet", &later);
        let splits = compiled.stage.splits().expect("splits");
        let failure = read_split_only(compiled.stage.as_ref(), &splits[2]).expect("not like the others");
        let message = format!("c.parquet` is not like the files when the job was compiled: {how}");
        assert!(failure.message.ends_with(&message), "{failure}");
        let problems = compile(&spec, LIMITS).err().expect("they differ");
        assert!(problems[0].contains("c.parquet` is not like `") && problems[0].contains(how), "{problems:?}");
    }
    fs::remove_file(folder.path("c.parquet")).expect("removed");
    let rows: Vec<String> = compiled.stage.splits().expect("splits")[..2]
        .iter()
        .flat_map(|split| read_split(compiled.stage.as_ref(), split).rows)
        .collect();
    assert_eq!(rows, ["1:0 {\"n\":1}", "1:0 {\"n\":null}", "2:0 {\"n\":2}"]);
}

fn read_split_only(source: &dyn Source, split: &Split) -> Option<Failure> {
    source.worker().expect("a worker").open(SplitId(0), split).err()
}

#[test]
fn types_are_inferred() {
    let folder = Folder::new("parquet-infer-types");
    let bytes = plain(vec![
        ("decimal", decimal(1, 10, 2)),
        ("whole", decimal(1, 18, 0)),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![1]))),
        ("ms", Arc::new(TimestampMillisecondArray::from(vec![1]))),
        ("ns", Arc::new(TimestampNanosecondArray::from(vec![1]))),
        ("bytes", Arc::new(BinaryArray::from(vec![&b"x"[..]]))),
        ("f", Arc::new(Float32Array::from(vec![1.0]))),
        ("u", Arc::new(UInt8Array::from(vec![1]))),
        ("l", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1)])]))),
        ("nothing", Arc::new(NullArray::new(1))),
    ]);
    folder.write("a.parquet", &bytes);
    let compiled = source(&json!({ "path": folder.text("a.parquet"), "format": "parquet" }));
    assert_eq!(
        compiled.output.as_ref().expect("columns").to_string(),
        "decimal string?, whole int64?, time string?, ms timestamp?, ns timestamp_ns?, bytes binary?, f float32?, \
         u uint8?, l list<int64>?, nothing string?"
    );
    let splits = compiled.stage.splits().expect("a split");
    let read = read_split(compiled.stage.as_ref(), &splits[0]);
    assert_eq!((read.rows.len(), read.failure), (1, None));
    assert!(read.rows[0].contains("\"decimal\":\"0.01\",\"whole\":1,"), "{:?}", read.rows);
}

#[test]
fn keys_that_make_no_sense_are_problems() {
    let folder = Folder::new("parquet-spec");
    let path = folder.text("a.parquet");
    folder.write("a.parquet", &plain(vec![("n", ints([1]))]));
    let columns = json!(["n int64"]);
    for (key, value, expected) in [
        ("header", json!(true), "`header` has no effect on parquet"),
        ("null", json!("-"), "`null` has no effect on parquet: it has a null of its own"),
        ("separator", json!(";"), "`separator` has no effect on parquet"),
        ("multiline", json!(true), "`multiline` has no effect on parquet"),
        ("newline", json!("cr"), "`newline` has no effect on parquet: its records are not lines"),
        ("compression", json!("gzip"), "`compression` has no effect on parquet: its pages say how they are compressed"),
        ("compression", json!("none"), "`compression` has no effect on parquet"),
        ("max_ratio", json!(10), "`max_ratio` has no effect on parquet"),
        ("path", json!("-"), "parquet cannot be read from standard input: its footer comes last"),
        ("path", json!("a.parquet.gz"), "`a.parquet.gz` is gzip by its name, and parquet is not read through that"),
        ("columns", json!([{ "name": "l", "type": "list<int8>", "separator": ";" }]), "parquet has lists of its own"),
    ] {
        for with_columns in [true, false] {
            let mut spec = json!({ "path": path, "format": "parquet" });
            if with_columns {
                spec["columns"] = columns.clone();
            }
            spec[key] = value.clone();
            let problems = compile(&spec, LIMITS).err().expect(expected);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
        }
    }
    let problems = compile(&json!({ "path": folder.text("b.parquet"), "format": "parquet" }), LIMITS);
    let problems = problems.err().expect("no file");
    assert!(problems[0].contains("`columns` cannot be inferred: no file matches"), "{problems:?}");
    assert!(
        compile(&json!({ "path": folder.text("b.parquet"), "format": "parquet", "columns": columns }), LIMITS).is_ok()
    );
}
