//! The sink from spec to bytes, and back through the source's decoder.

mod parquet;
mod place;
mod whole;

use std::{fs, process::Command, sync::Arc};

use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int8Array, Int64Array, ListArray,
    RecordBatch, StringViewArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array, types::UInt32Type,
};
use serde_json::{Value as Json, json};

use super::{FilesSpec, build};
use crate::{
    batch::{Batch, Block, Column, ColumnType, Origin, Rejects, Schema, SplitId},
    failure::Exit,
    formats::{Chunk, Decoder, Start, blocks::LineEnd, csv, ndjson::NdjsonDecoder, tsv::TsvDecoder},
    jobspec::{Problems, Table, Value},
    kind::{Compiled, Context, Workers},
    stage::{Guarantee, Mode, Sink, SinkWorker},
    testing::Folder,
    values::{columns::ColumnSpec, json as row_json},
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
        worker.commit().expect("committed");
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
    worker.commit().expect("committed");
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
    worker.commit().expect("committed");
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
    worker.commit().expect("committed");
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
    worker.commit().expect("committed");
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
                "-5-1;2-\"1970-01-01\"-\"NA\"\n",
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
            // The text that stands for null was written in quotes.
            assert_eq!(text(&mut rejects), [""; 0]);
            assert_eq!(decoded.records, batch.records);
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
        worker.commit().expect("committed");
        assert_eq!(fs::read_to_string(folder.path("a.tsv")).expect("there"), text);
        assert_eq!(written.rejects.first().map(|reject| reject.message.as_str()), refused);
    }
}
