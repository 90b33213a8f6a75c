//! The sink from spec to bytes, and back through the source's decoder.

use std::{fs, process::Command, sync::Arc};

use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int8Array, Int64Array, ListArray,
    RecordBatch, StringViewArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array, types::UInt32Type,
};
use serde_json::{Value as Json, json};

use super::{FilesSpec, build};
use crate::{
    batch::{Batch, Block, Column, ColumnType, Origin, Rejects, Schema, SplitId, json as row_json},
    failure::Exit,
    formats::{
        Chunk, Decoder, Start, blocks::LineEnd, columns::ColumnSpec, csv, ndjson::NdjsonDecoder, testing::Folder,
        tsv::TsvDecoder,
    },
    kind::{Compiled, Context, Workers},
    spec::{Problems, Table, Value},
    stage::{Delivery, Mode, Sink, SinkWorker},
};

fn schema(columns: &[&str]) -> Schema {
    let column = |text: &&str| {
        let (name, column_type) = text.split_once(' ').expect("name and type");
        let nullable = column_type.ends_with('?');
        let column_type = column_type.trim_end_matches('?').parse().expect("a type");
        Column { name: name.to_owned(), column_type, nullable }
    };
    Schema::new(columns.iter().map(column).collect())
}

fn compile(spec: &Json, input: &Schema, table: &Value) -> Result<Compiled<dyn Sink>, Vec<String>> {
    let decoded: FilesSpec = serde_json::from_value(spec.clone()).map_err(|error| vec![error.to_string()])?;
    let mut problems = Problems::default();
    let mut context = Context::of("sinks.out", table, Some(input), &mut problems);
    let compiled = build(decoded, &mut context);
    compiled.ok_or_else(|| problems.iter().map(|problem| problem.message.clone()).collect())
}

fn sink(spec: &Json, input: &Schema) -> Compiled<dyn Sink> {
    compile(spec, input, &Value::Table(Table::new())).expect("a sound spec")
}

fn batch(schema: &Schema, split: u32, seq: u64, columns: Vec<ArrayRef>) -> Batch {
    let records = RecordBatch::try_new(schema.arrow(), columns).expect("columns of the schema");
    let rows = records.num_rows();
    let block = Block { first_record: 1, ..Block::default() };
    Batch::new(records, Origin::new(SplitId(split), seq, block, rows))
}

fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(values))
}

/// One string column per batch: writes and commits.
fn write_all(worker: &mut dyn SinkWorker, batches: &[(u32, &[&str])]) {
    let schema = schema(&["s string"]);
    for (i, (split, values)) in batches.iter().enumerate() {
        let written = worker.write(&batch(&schema, *split, i as u64, vec![strings(values)])).expect("written");
        assert_eq!((written.accepted, written.durable), (values.len() as u64, false));
    }
}

fn all_types() -> (Schema, Batch) {
    let schema = schema(&[
        "s string",
        "b bool?",
        "i8 int8",
        "i64 int64?",
        "u64 uint64",
        "f32 float32",
        "f64 float64",
        "d date",
        "t timestamp?",
        "n timestamp_ns",
        "j json",
        "x binary",
        "l list<uint32>",
    ]);
    let lists = vec![Some(vec![Some(1), Some(4_294_967_295)]), Some(vec![]), Some(vec![Some(7)])];
    let columns: Vec<ArrayRef> = vec![
        strings(&["", "é \"q\"", "a longer text than a view holds"]),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        Arc::new(Int8Array::from(vec![-128, 0, 127])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)])),
        Arc::new(UInt64Array::from(vec![0, 1, u64::MAX])),
        Arc::new(Float32Array::from(vec![0.1, -1e30, f32::INFINITY])),
        Arc::new(Float64Array::from(vec![0.1, 5e-324, 1.797_693_134_862_315_7e308])),
        Arc::new(Date32Array::from(vec![0, -719_162, 2_932_896])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1_704_067_200_000_000)])),
        Arc::new(TimestampNanosecondArray::from(vec![1, i64::MIN + 1, i64::MAX])),
        strings(&["{\"a\": [1, 2]}", "null", "\"x\""]),
        Arc::new(BinaryViewArray::from_iter_values([&b"\xFF\0"[..], b"", b"plain"])),
        Arc::new(ListArray::from_iter_primitive::<UInt32Type, _, _>(lists)),
    ];
    let batch = batch(&schema, 0, 0, columns);
    (schema, batch)
}

/// The columns of a schema as a source declares them.
fn specs(schema: &Schema) -> Vec<ColumnSpec> {
    schema
        .columns()
        .iter()
        .map(|column| {
            let Column { name, column_type, nullable } = column;
            json!({ "name": name, "type": column_type.to_string(), "nullable": nullable })
        })
        .map(|spec| serde_json::from_value(spec).expect("a column"))
        .collect()
}

/// Decodes what the sink wrote.
fn read_back(schema: &Schema, text: Vec<u8>, absent: &str, header: bool) -> RecordBatch {
    let mut decoder = TsvDecoder::new(&specs(schema), schema, Some(absent), 1000, 1000);
    let mut chunk = Chunk { bytes: text.into(), line_end: LineEnd::Any, utf8: false, last: true };
    if header {
        let end = chunk.bytes.iter().position(|byte| *byte == b'\n').expect("a header");
        decoder.header(&chunk.bytes[..end]).expect("the header fits");
        chunk.bytes = chunk.bytes.slice(end + 1);
    }
    let mut rejects = Rejects::default();
    let decoded = decoder.decode(&chunk, Start { split: SplitId(0), record: 1, line: 1 }, &mut rejects);
    assert!(rejects.is_empty(), "{:?}", rejects.take());
    decoded.expect("decodes").records
}

#[test]
fn what_is_written_reads_back_equal() {
    let folder = Folder::new("roundtrip");
    let (schema, batch) = all_types();
    for header in [false, true] {
        let spec = json!({ "path": folder.text("a.tsv"), "format": "tsv", "header": header, "null": "\\N" });
        let mut worker = sink(&spec, &schema).stage.worker(Mode::Write).expect("a worker");
        let written = worker.write(&batch).expect("written");
        assert_eq!((written.accepted, written.rejects.len(), written.failed), (3, 0, 0));
        worker.commit(true).expect("committed");
        let text = fs::read(folder.path("a.tsv")).expect("there");
        assert_eq!(text.starts_with(b"s\tb\ti8\t"), header);
        let head = if header { text.iter().position(|byte| *byte == b'\n').expect("a header") + 1 } else { 0 };
        assert_eq!(written.bytes, (text.len() - head) as u64);
        assert_eq!(read_back(&schema, text, "\\N", header), batch.records);
    }
}

#[test]
fn values_are_written_plainly() {
    let folder = Folder::new("plainly");
    let (schema, batch) = all_types();
    let spec = json!({ "path": folder.text("a.tsv"), "format": "tsv", "list_separator": "|" });
    let mut worker = sink(&spec, &schema).stage.worker(Mode::Write).expect("a worker");
    worker.write(&batch).expect("written");
    worker.commit(true).expect("committed");
    let text = fs::read(folder.path("a.tsv")).expect("there");
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "\ttrue\t-128\t-9223372036854775808\t0\t0.1\t0.1\t1970-01-01\t1969-12-31T23:59:59.999999Z\
         \t1970-01-01T00:00:00.000000001Z\t{\"a\": [1, 2]}\t\u{fffd}\0\t1|4294967295"
    );
    assert_eq!(lines[1], "é \"q\"\t\t0\t\t1\t-1e+30\t5e-324\t0001-01-01\t\t1677-09-21T00:12:43.145224193Z\tnull\t\t");
    assert!(lines[2].contains("\t2024-01-01T00:00:00Z\t"), "{}", lines[2]);
}

#[test]
fn what_tsv_cannot_hold_is_a_reject() {
    let folder = Folder::new("unrepresentable");
    let schema = schema(&["n int8", "s string", "l list<string>", "d date"]);
    let mut lists = arrow_array::builder::ListBuilder::new(arrow_array::builder::StringViewBuilder::new());
    for item in ["a", "a", "a", "a,b", "a\tb", "a", "last"] {
        lists.values().append_value(item);
        lists.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from(vec![1, 2, 3, 4, 5, 6, 7])),
        strings(&["a\tb", "a\nb", "a\rb", "x", "x", "x", "x"]),
        Arc::new(lists.finish()),
        Arc::new(Date32Array::from(vec![0, 0, 0, 0, 0, 3_000_000, 0])),
    ];
    let spec = json!({ "path": folder.text("a.tsv"), "format": "tsv" });
    let mut worker = sink(&spec, &schema).stage.worker(Mode::Write).expect("a worker");
    let written = worker.write(&batch(&schema, 0, 0, columns)).expect("written");
    worker.commit(true).expect("committed");
    assert_eq!(fs::read_to_string(folder.path("a.tsv")).expect("there"), "7\tx\tlast\t1970-01-01\n");
    assert_eq!(written.accepted, 1);
    let messages: Vec<(u64, &str, &str)> =
        written.rejects.iter().map(|reject| (reject.position.record, reject.code.0, reject.message.as_str())).collect();
    let line_end = "column `s`: tsv cannot hold a tab or line end";
    assert_eq!(
        messages,
        [
            (1, "unrepresentable", line_end),
            (2, "unrepresentable", line_end),
            (3, "unrepresentable", line_end),
            (4, "unrepresentable", "column `l`: an item holds the separator"),
            (5, "unrepresentable", "column `l`: tsv cannot hold a tab or line end"),
            (6, "unrepresentable", "column `d`: the year is not between 0 and 9999"),
        ]
    );
}

/// What the sink writes of a batch as ndjson.
fn ndjson(folder: &Folder, schema: &Schema, batch: &Batch) -> (String, Vec<String>) {
    let spec = json!({ "path": folder.text("a.ndjson"), "format": "ndjson" });
    let mut worker = sink(&spec, schema).stage.worker(Mode::Write).expect("a worker");
    let written = worker.write(batch).expect("written");
    assert_eq!(written.accepted + written.rejects.len() as u64, batch.rows() as u64);
    worker.commit(true).expect("committed");
    let text = fs::read_to_string(folder.path("a.ndjson")).expect("UTF-8");
    let rejects = written.rejects.iter().map(|reject| format!("{} {}", reject.code.0, reject.message)).collect();
    (text, rejects)
}

#[test]
fn rows_become_objects() {
    let folder = Folder::new("ndjson");
    let (schema, batch) = all_types();
    let (text, rejects) = ndjson(&folder, &schema, &batch);
    assert_eq!(
        text,
        concat!(
            r#"{"s":"","b":true,"i8":-128,"i64":-9223372036854775808,"u64":0,"f32":0.1,"f64":0.1,"d":"1970-01-01","#,
            r#""t":"1969-12-31T23:59:59.999999Z","n":"1970-01-01T00:00:00.000000001Z","j":{"a": [1, 2]},"x":"/wA=","#,
            r#""l":[1,4294967295]}"#,
            "\n",
            r#"{"s":"é \"q\"","b":null,"i8":0,"i64":null,"u64":1,"f32":-1e+30,"f64":5e-324,"d":"0001-01-01","#,
            r#""t":null,"n":"1677-09-21T00:12:43.145224193Z","j":null,"x":"","l":[]}"#,
            "\n",
        )
    );
    assert_eq!(rejects, ["unrepresentable column `f32`: JSON has no number for NaN and infinities"]);
    for line in text.lines() {
        serde_json::from_str::<Json>(line).expect("JSON");
    }
}

#[test]
fn ndjson_reads_back_as_it_was() {
    let folder = Folder::new("ndjson-back");
    let (schema, batch) = all_types();
    let batch = batch.slice(0, 2);
    let (text, _) = ndjson(&folder, &schema, &batch);
    let mut decoder = NdjsonDecoder::new(&specs(&schema), &schema, 1000, 1000);
    let chunk = Chunk { bytes: text.into_bytes().into(), line_end: LineEnd::Any, utf8: true, last: true };
    let start = Start { split: SplitId(0), record: 1, line: 1 };
    let mut rejects = Rejects::default();
    let decoded = decoder.decode(&chunk, start, &mut rejects).expect("decodes");
    assert!(rejects.is_empty(), "{rejects:?}");
    assert_eq!(decoded.records, batch.records);
}

#[test]
fn json_is_written_on_one_line_and_nested_values_in_their_place() {
    let folder = Folder::new("ndjson-nested");
    let schema = schema(&["a\"b json", "l list<json>", "t list<timestamp>"]);
    let mut json = arrow_array::builder::ListBuilder::new(arrow_array::builder::StringViewBuilder::new())
        .with_field(ColumnType::Json.item_field());
    json.values().append_value("{\"x\":\r\n 1}");
    json.values().append_null();
    json.append(true);
    let mut times = arrow_array::builder::ListBuilder::new(arrow_array::builder::TimestampMicrosecondBuilder::new());
    times.values().append_value(0);
    times.values().append_null();
    times.append(true);
    let columns: Vec<ArrayRef> = vec![strings(&["[1,\n2]"]), Arc::new(json.finish()), Arc::new(times.finish())];
    let (text, rejects) = ndjson(&folder, &schema, &batch(&schema, 0, 0, columns));
    assert_eq!(text, "{\"a\\\"b\":[1, 2],\"l\":[{\"x\":   1},null],\"t\":[\"1970-01-01T00:00:00Z\",null]}\n");
    assert_eq!(rejects, [""; 0]);
}

/// What the sink writes of a batch, `spec` lacking only the path.
fn text_of(folder: &Folder, spec: &Json, schema: &Schema, batch: &Batch) -> String {
    let mut spec = spec.clone();
    spec["path"] = json!(folder.text("out"));
    let mut worker = sink(&spec, schema).stage.worker(Mode::Write).expect("a worker");
    let written = worker.write(batch).expect("written");
    assert_eq!(written.rejects.len(), 0);
    worker.commit(true).expect("committed");
    fs::read_to_string(folder.path("out")).expect("UTF-8")
}

#[test]
fn csv_has_quotes_where_they_are_needed() {
    let folder = Folder::new("csv");
    let schema = schema(&["a,b string?", "n int8?", "l list<int8>", "d date", "s string"]);
    let values = [Some("plain"), Some("a,b"), Some("say \"hi\""), Some("two\nlines"), Some(""), None, Some("NA")];
    let list = vec![Some(vec![Some(1), Some(2)]); 7];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter(values)),
        Arc::new(Int8Array::from(vec![Some(-1), None, Some(3), Some(4), Some(5), Some(6), Some(7)])),
        Arc::new(ListArray::from_iter_primitive::<arrow_array::types::Int8Type, _, _>(list)),
        Arc::new(Date32Array::from(vec![0; 7])),
        strings(&["", "x", "\r", ";", "NA", "é", "-"]),
    ];
    let batch = batch(&schema, 0, 0, columns);
    let cases = [
        (
            json!({ "format": "csv" }),
            concat!(
                "\"a,b\",n,l,d,s\n",
                "plain,-1,\"1,2\",1970-01-01,\n",
                "\"a,b\",,\"1,2\",1970-01-01,x\n",
                "\"say \"\"hi\"\"\",3,\"1,2\",1970-01-01,\"\r\"\n",
                "\"two\nlines\",4,\"1,2\",1970-01-01,;\n",
                "\"\",5,\"1,2\",1970-01-01,NA\n",
                ",6,\"1,2\",1970-01-01,é\n",
                "NA,7,\"1,2\",1970-01-01,-\n",
            ),
        ),
        (
            json!({ "format": "csv", "header": false, "separator": "-", "list_separator": ";", "null": "NA" }),
            concat!(
                "plain-\"-1\"-1;2-\"1970-01-01\"-\n",
                "a,b-NA-1;2-\"1970-01-01\"-x\n",
                "\"say \"\"hi\"\"\"-3-1;2-\"1970-01-01\"-\"\r\"\n",
                "\"two\nlines\"-4-1;2-\"1970-01-01\"-;\n",
                "-5-1;2-\"1970-01-01\"-NA\n",
                "NA-6-1;2-\"1970-01-01\"-é\n",
                "\"NA\"-7-1;2-\"1970-01-01\"-\"-\"\n",
            ),
        ),
    ];
    for (spec, expected) in cases {
        let text = text_of(&folder, &spec, &schema, &batch);
        assert_eq!(text, expected);
        // And it reads back, unless the way lists are written cannot be told.
        let separator = csv::separator(spec["separator"].as_str());
        let null = spec["null"].as_str().unwrap_or_default();
        let style = csv::CsvStyle { separator, multiline: true, null: Some(null) };
        let mut specs = specs(&schema);
        specs[2].separator = spec["list_separator"].as_str().map(str::to_owned);
        let mut decoder = csv::CsvDecoder::new(&specs, &schema, style, 1000, 1000);
        let text =
            if spec["header"] == json!(false) { text } else { text.split_once('\n').expect("a header").1.to_owned() };
        let chunk = Chunk { bytes: text.into_bytes().into(), line_end: LineEnd::Lf, utf8: true, last: true };
        let mut rejects = Rejects::default();
        let start = Start { split: SplitId(0), record: 1, line: 1 };
        let decoded = decoder.decode(&chunk, start, &mut rejects).expect("decodes");
        let text = |rejects: &mut Rejects| rejects.take().iter().map(|r| r.message.clone()).collect::<Vec<_>>();
        if null.is_empty() {
            // The empty text of a column that is never null needs no quotes to be told, but the reader was told
            // that empty means null.
            assert_eq!(text(&mut rejects), ["column `s`: `` means null, but the column is not nullable"]);
            assert_eq!(decoded.records.slice(0, 1), batch.records.slice(1, 1));
        } else {
            assert_eq!(text(&mut rejects), ["column `s`: `NA` means null, but the column is not nullable"]);
            assert_eq!(decoded.records.slice(0, 4), batch.records.slice(0, 4));
        }
    }
}

#[test]
fn lines_are_written_as_they_are() {
    let folder = Folder::new("lines");
    let schema = schema(&["s string"]);
    let batch = batch(&schema, 0, 0, vec![strings(&["a\tb", "", "\"c\""])]);
    assert_eq!(text_of(&folder, &json!({ "format": "lines" }), &schema, &batch), "a\tb\n\n\"c\"\n");
    let mut worker = sink(&json!({ "path": folder.text("out"), "format": "lines" }), &schema)
        .stage
        .worker(Mode::Write)
        .expect("one");
    let batch = super::tests::batch(&schema, 0, 0, vec![strings(&["a\nb"])]);
    let written = worker.write(&batch).expect("written");
    assert_eq!(written.rejects[0].message, "column `s`: a line cannot hold a line end");
}

#[test]
fn lists_of_numbers_are_written_item_by_item() {
    let folder = Folder::new("lists");
    let schema = schema(&["a list<int32>", "b list<int64>", "c list<uint64>", "d list<int8>", "e list<float64>"]);
    let row = |values: [i32; 2]| vec![Some(values.map(Some).to_vec())];
    let cast = |list: ListArray, index: usize| {
        arrow_cast::cast(&list, schema.arrow().field(index).data_type()).expect("a cast of numbers")
    };
    let columns: Vec<ArrayRef> = (0..5)
        .map(|i| {
            let values = if i == 2 { [1, 2] } else { [-1, 2] };
            cast(ListArray::from_iter_primitive::<arrow_array::types::Int32Type, _, _>(row(values)), i)
        })
        .collect();
    let batch = batch(&schema, 0, 0, columns);
    for (separator, text, refused) in [
        (";", "-1;2\t-1;2\t1;2\t-1;2\t-1.0;2.0\n", None),
        ("-", "", Some("column `a`: an item holds the separator")),
        (".", "", Some("column `e`: an item holds the separator")),
    ] {
        let spec = json!({ "path": folder.text("a.tsv"), "format": "tsv", "list_separator": separator });
        let mut worker = sink(&spec, &schema).stage.worker(Mode::Write).expect("a worker");
        let written = worker.write(&batch).expect("written");
        worker.commit(true).expect("committed");
        assert_eq!(fs::read_to_string(folder.path("a.tsv")).expect("there"), text);
        assert_eq!(written.rejects.first().map(|reject| reject.message.as_str()), refused);
    }
}

#[test]
fn nothing_has_its_name_before_commit() {
    let folder = Folder::new("atomic");
    let schema = schema(&["s string"]);
    folder.write("new/dir/a.tsv", b"old");
    let spec = json!({ "path": folder.text("new/dir/a.tsv"), "format": "tsv" });
    let compiled = sink(&spec, &schema);
    let temporary = format!("new/dir/.a.tsv.tmp-{}", std::process::id());

    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    write_all(worker.as_mut(), &[(0, &["x"])]);
    assert_eq!(folder.names(), [temporary.as_str(), "new/dir/a.tsv"]);
    drop(worker);
    assert_eq!(folder.names(), ["new/dir/a.tsv"]);
    assert_eq!(fs::read(folder.path("new/dir/a.tsv")).expect("there"), b"old");

    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    write_all(worker.as_mut(), &[(0, &["x"])]);
    assert_eq!(worker.commit(false), Ok(false), "a part of the input is not published");
    drop(worker);
    assert_eq!(fs::read(folder.path("new/dir/a.tsv")).expect("there"), b"old");

    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    write_all(worker.as_mut(), &[(0, &["x"]), (1, &["y", "z"])]);
    worker.commit(true).expect("committed");
    drop(worker);
    assert_eq!(folder.names(), ["new/dir/a.tsv"]);
    assert_eq!(fs::read(folder.path("new/dir/a.tsv")).expect("there"), b"x\ny\nz\n");
}

#[test]
fn without_rows_the_file_is_empty_but_there() {
    let folder = Folder::new("empty");
    let spec = json!({ "path": folder.text("dir/a.tsv"), "format": "tsv", "header": true });
    let mut worker = sink(&spec, &schema(&["s string", "t date"])).stage.worker(Mode::Write).expect("a worker");
    worker.commit(true).expect("committed");
    assert_eq!(fs::read(folder.path("dir/a.tsv")).expect("there"), b"s\tt\n");
}

#[test]
fn each_split_can_have_its_file() {
    let folder = Folder::new("split");
    let spec = json!({ "path": folder.text("{split}/out-{split}.tsv"), "format": "tsv", "header": true });
    let compiled = sink(&spec, &schema(&["s string"]));
    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    write_all(worker.as_mut(), &[(0, &["a"]), (0, &["b"]), (3, &[]), (12, &["c"])]);
    let pid = std::process::id();
    let hidden: Vec<String> =
        ["00000", "00003", "00012"].iter().map(|split| format!("{split}/.out-{split}.tsv.tmp-{pid}")).collect();
    assert_eq!(folder.names(), hidden);
    worker.commit(true).expect("committed");
    assert_eq!(folder.names(), ["00000/out-00000.tsv", "00003/out-00003.tsv", "00012/out-00012.tsv"]);
    assert_eq!(fs::read(folder.path("00000/out-00000.tsv")).expect("there"), b"s\na\nb\n");
    assert_eq!(fs::read(folder.path("00003/out-00003.tsv")).expect("there"), b"s\n");
    assert_eq!(fs::read(folder.path("00012/out-00012.tsv")).expect("there"), b"s\nc\n");

    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    write_all(worker.as_mut(), &[(20, &["a"]), (21, &["b"])]);
    drop(worker);
    assert_eq!(folder.names().len(), 3, "nothing is left of files that were not committed");
}

#[test]
fn gzip_is_byte_equal_and_python_reads_it() {
    let folder = Folder::new("gzip");
    let schema = schema(&["s string"]);
    let values: Vec<String> = (0..5000).map(|i| format!("value {i}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let write = |name: &str, spec: Json| {
        let mut full = spec;
        full["path"] = json!(folder.text(name));
        full["format"] = json!("tsv");
        let mut worker = sink(&full, &schema).stage.worker(Mode::Write).expect("a worker");
        write_all(worker.as_mut(), &[(0, &values), (1, &values)]);
        worker.commit(true).expect("committed");
        fs::read(folder.path(name)).expect("there")
    };
    let one = write("a.tsv.gz", json!({}));
    assert_eq!(one, write("b.tsv.gz", json!({ "level": 6 })));
    assert_eq!(one, write("c", json!({ "compression": "gzip" })));
    assert_eq!(&one[3..8], [0; 5], "no name, no time");
    assert!(write("d.gz", json!({ "level": 0 })).len() > 2 * one.len());
    assert!(write("e.gz", json!({ "compression": "none" })).starts_with(b"value 0\n"));
    let script = "import gzip, sys; print(sum(len(line) for line in gzip.open(sys.argv[1])))";
    let length = 2 * values.iter().map(|value| value.len() + 1).sum::<usize>();
    match Command::new("python3").args(["-c", script]).arg(folder.path("a.tsv.gz")).output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), length.to_string()),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "python3 cannot be run"),
    }
}

#[test]
fn zstd_is_byte_equal_and_reads_back() {
    let folder = Folder::new("zstd");
    let schema = schema(&["s string"]);
    let values: Vec<String> = (0..5000).map(|i| format!("value {}", i * i)).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let write = |name: &str, spec: Json| {
        let mut full = spec;
        full["path"] = json!(folder.text(name));
        full["format"] = json!("lines");
        let mut worker = sink(&full, &schema).stage.worker(Mode::Write).expect("a worker");
        write_all(worker.as_mut(), &[(0, &values), (1, &values)]);
        worker.commit(true).expect("committed");
        fs::read(folder.path(name)).expect("there")
    };
    let one = write("a.zst", json!({}));
    assert_eq!(one, write("b", json!({ "compression": "zstd", "level": 3 })));
    assert!(write("c.zst", json!({ "level": 19 })).len() < one.len());
    let text = zstd::decode_all(one.as_slice()).expect("zstd");
    assert_eq!(String::from_utf8_lossy(&text).lines().count(), 10_000);
}

#[test]
fn a_rehearsal_shows_and_writes_nothing() {
    let folder = Folder::new("rehearse");
    let schema = schema(&["s string"]);
    let rehearse = |path: &str| {
        let spec = json!({ "path": folder.text(path), "format": "tsv" });
        let mut worker = sink(&spec, &schema).stage.worker(Mode::Rehearse).expect("a worker");
        let batches: [(u32, &[&str]); 4] = [(0, &[]), (0, &["a", "b", "c", "d"]), (0, &["e"]), (1, &["f"])];
        let mut samples = Vec::new();
        for (split, values) in batches {
            let written = worker.write(&batch(&schema, split, 0, vec![strings(values)])).expect("rehearsed");
            assert_eq!(written.accepted, values.len() as u64);
            samples.push(written.samples);
        }
        worker.commit(true).expect("nothing to do");
        samples
    };
    assert_eq!(rehearse("new/a.tsv"), [&[][..], &["a", "b", "c"], &[], &[]]);
    assert_eq!(rehearse("new/{split}.tsv"), [&[][..], &["a", "b", "c"], &[], &["f"]]);
    assert!(!folder.path("new").exists());
}

#[test]
fn what_cannot_be_created_or_written_says_so() {
    let folder = Folder::new("fails");
    let schema = schema(&["s string"]);
    folder.write("file", b"");
    folder.write("dir/x", b"");
    for path in ["file/a.tsv", "dir"] {
        let spec = json!({ "path": folder.text(path), "format": "tsv" });
        let failure = sink(&spec, &schema).stage.worker(Mode::Write).err().expect("cannot be created");
        assert_eq!(failure.exit, Exit::CantCreate, "{failure}");
        assert!(failure.message.contains("cannot create `"), "{failure}");
    }
    let spec = json!({ "path": folder.text("a.tsv"), "format": "tsv" });
    let mut worker = sink(&spec, &schema).stage.worker(Mode::Write).expect("a worker");
    fs::create_dir(folder.path("a.tsv")).expect("a folder in the way");
    let failure = worker.commit(true).expect_err("cannot be renamed");
    assert_eq!(failure.exit, Exit::Io);
    assert!(failure.message.contains("a.tsv`"), "{failure}");
    drop(worker);
    assert_eq!(folder.names(), ["dir/x", "file"]);
}

/// A device that is always full stands for a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_io_failure() {
    use crate::formats::compression::{Codec, OutFile, Output};
    for codec in [Codec::Plain, Codec::Gzip, Codec::Zstd] {
        let file = fs::File::options().write(true).open("/dev/full").expect("the device");
        let mut output = Output::new(OutFile::File(file), codec, codec.default_level()).expect("an encoder");
        let result = output.write_all(&[b'x'; 100]).and_then(|()| output.finish());
        assert_eq!(result.expect_err("full").kind(), std::io::ErrorKind::StorageFull);
    }
}

#[test]
fn specs_that_make_no_sense_are_problems() {
    let base = json!({ "path": "a.tsv", "format": "tsv" });
    let cases = [
        ("path", json!("out/"), "`out/` names no file"),
        ("path", json!(""), "`` names no file"),
        ("list_separator", json!("\t"), "a `list_separator` is one ASCII character"),
        ("list_separator", json!(""), "a `list_separator` is one ASCII character"),
        ("separator", json!(";"), "`separator` has no effect on tsv: only csv has a choice"),
        ("null", json!("a\tb"), "`null` must not contain a tab"),
        ("level", json!(3), "`level` has no effect"),
        ("format", json!("cvs"), "unknown variant `cvs`"),
        ("columns", json!([]), "unknown field `columns`"),
    ];
    for (name, level, message) in
        [("a.gz", 10, "level 10 is not between 0 and 9"), ("a.zst", 0, "level 0 is not between 1 and 19")]
    {
        let spec = json!({ "path": name, "format": "tsv", "level": level });
        let problems = compile(&spec, &schema(&["s string"]), &Value::Table(Table::new())).err().expect(name);
        assert_eq!(problems, [message]);
    }
    let others = [
        ("ndjson", "header", json!(true), "`header` has no effect on ndjson: it has no header"),
        ("ndjson", "null", json!(""), "`null` has no effect on ndjson: it has a null of its own"),
        ("ndjson", "list_separator", json!(","), "`list_separator` has no effect on ndjson: it has lists of its own"),
        ("lines", "header", json!(false), "`header` has no effect on lines: it has no header"),
        ("csv", "separator", json!("\""), csv::SEPARATOR_RULE),
        ("csv", "null", json!("a,b"), "`null` must not contain a separator, quote or line end"),
    ];
    for (format, key, value, message) in others {
        let mut spec = json!({ "path": "a", "format": format });
        spec[key] = value;
        let problems = compile(&spec, &schema(&["s string"]), &Value::Table(Table::new())).err().expect(key);
        assert_eq!(problems, [message]);
    }
    let spec = json!({ "path": "a", "format": "lines" });
    let problems = compile(&spec, &schema(&["a string", "b date"]), &Value::Table(Table::new())).err().expect("two");
    assert_eq!(problems, ["lines hold one column, but the input has 2"]);
    for (key, value, message) in cases {
        let mut spec = base.clone();
        spec[key] = value;
        let problems = compile(&spec, &schema(&["s string"]), &Value::Table(Table::new())).err().expect(message);
        assert!(problems.iter().any(|problem| problem.contains(message)), "{message}: {problems:?}");
    }
    let nested = Schema::new(vec![Column {
        name: "a\tb".into(),
        column_type: ColumnType::List(Box::new(ColumnType::Json)),
        nullable: false,
    }]);
    let spec = json!({ "path": "a.tsv", "format": "tsv", "header": true });
    let problems = compile(&spec, &nested, &Value::Table(Table::new())).err().expect("two problems");
    assert_eq!(
        problems,
        ["tsv cannot hold column `a\tb`: list<json>", "column `a\tb` has a tab or line end in its name"]
    );
}

#[test]
fn what_the_environment_does_not_tell_is_not_complained_of() {
    let unknown = ["path", "list_separator"].map(|key| (key.to_owned(), Value::Unknown));
    let table = Value::Table(unknown.into_iter().collect());
    let spec = json!({ "path": "", "list_separator": "", "format": "tsv", "level": 3 });
    assert!(compile(&spec, &schema(&["s string"]), &table).is_ok());
}

#[test]
fn the_plan_says_what_will_be_written() {
    let spec = json!({ "path": "out/{split}.tsv.gz", "format": "tsv", "level": 9 });
    let compiled = sink(&spec, &schema(&["s string"]));
    assert_eq!(compiled.notes, ["tsv to `out/{split}.tsv.gz`, one file per split", "gzip, level 9"]);
    assert!(matches!(compiled.workers, Workers::One("one writer keeps the input's order")));
    assert_eq!(compiled.stage.delivery(), Delivery::Ordered);
    assert!(compiled.output.is_none());
    let mut generator = schemars::SchemaGenerator::default();
    let _ = (super::KIND.schema)(&mut generator);
    let text = serde_json::to_string(generator.definitions()).expect("JSON");
    for key in ["path", "format", "header", "null", "separator", "list_separator", "compression", "level"] {
        assert!(text.contains(&format!("\"{key}\"")), "{key}: {text}");
    }
}

#[test]
fn a_rejected_row_is_told_by_its_columns() {
    let folder = Folder::new("told");
    let schema = schema(&["s string"]);
    let spec = json!({ "path": folder.text("a.tsv"), "format": "tsv" });
    let mut worker = sink(&spec, &schema).stage.worker(Mode::Write).expect("a worker");
    let batch = batch(&schema, 4, 0, vec![strings(&["a\tb"])]);
    let written = worker.write(&batch).expect("written");
    assert_eq!(written.rejects[0].record, row_json::row(&batch.records, 0).as_bytes());
    assert_eq!(written.rejects[0].split, SplitId(4));
}

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
    worker.commit(true).expect("committed");
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
        worker.commit(true).expect("committed");
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
    let today = super::today();
    assert!(chrono::NaiveDate::parse_from_str(&today, "%Y-%m-%d").is_ok(), "{today}");
    let (schema, batches) = named(&[("x", 1)], 1);
    write_files(&json!({ "path": folder.text("{date}/{k}.tsv"), "format": "tsv" }), &schema, &batches);
    // Around midnight the sink's day may be the next one.
    assert!(
        [today, super::today()].iter().any(|day| folder.names() == [format!("{day}/x.tsv")]),
        "{:?}",
        folder.names()
    );
}

#[test]
fn places_in_a_path_are_checked() {
    let schema = schema(&["name string", "score float64"]);
    let cases = [
        ("{nam}.tsv", "`{nam}` is no column, split or date; did you mean `name`?"),
        ("{score}.tsv", "column `score` cannot stand in a path: float64"),
        ("{}.tsv", "`{}` is no column, split or date; legal here: `name`, `score`, `split`, `date`"),
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
