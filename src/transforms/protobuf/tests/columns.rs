//! Columns into fields: the canonical record, nulls, lists, times, wrappers, oneofs, buffers, rejects.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, Date32Array, Float64Array, Int32Array, ListArray, RecordBatch, StringViewArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt32Array, cast::AsArray, types::UInt32Type,
};
use prost_reflect::DynamicMessage;

use super::{batch, encode, list, message};
use crate::{
    batch::{Batch, Block, Origin, Position, Rejects, SplitId},
    stage::Transform,
    transforms::protobuf::{Layout, Protobuf, Shared, bound},
};

const CANONICAL: &[u8] = &[
    0x08, 0x01, 0x08, 0x02, 0x08, 0x03, 0x11, 0xcd, 0xcc, 0xcc, 0xcc, 0xcc, 0x8c, 0x4b, 0x40, 0x19, 0xcd, 0xcc, 0xcc,
    0xcc, 0xcc, 0x8c, 0x4b, 0x40,
];

fn decoded(message: &prost_reflect::MessageDescriptor, bytes: &[u8]) -> serde_json::Value {
    serde_json::to_value(DynamicMessage::decode(message.clone(), bytes).unwrap()).unwrap()
}

#[test]
fn the_canonical_record() {
    let text = include_str!("../../../../proto/appsinstalled.proto").replace("UserApps", "M");
    let apps: ArrayRef = Arc::new(UInt32Array::from(vec![1, 2, 3]));
    let place: ArrayRef = Arc::new(Float64Array::from(vec![55.1]));
    let columns = [
        ("lon", "float64", Arc::clone(&place)),
        ("lat", "float64", place),
        ("apps", "list<uint32>", list("uint32", &apps)),
    ];
    assert_eq!(encode(&message(&text), &columns), [Ok(CANONICAL.to_vec())]);
}

#[test]
fn a_null_leaves_its_field_out_unless_it_is_required() {
    let message = message("syntax = \"proto2\"; message M { optional int32 a = 1; required int32 b = 2; }");
    let a: ArrayRef = Arc::new(Int32Array::from(vec![None, Some(1), None]));
    let b: ArrayRef = Arc::new(Int32Array::from(vec![Some(2), None, Some(0)]));
    let encoded = encode(&message, &[("a", "int32", a), ("b", "int32", b)]);
    let required = "required_field: field `b`: required, but has no value";
    assert_eq!(encoded, [Ok(vec![0x10, 2]), Err(required.into()), Ok(vec![0x10, 0])]);
}

#[test]
fn lists_may_be_null_or_empty_but_hold_no_null() {
    let message = message("syntax = \"proto3\"; message M { repeated uint32 value = 1; }");
    let rows = vec![None, Some(vec![]), Some(vec![Some(5)]), Some(vec![Some(1), None])];
    let column: ArrayRef = Arc::new(ListArray::from_iter_primitive::<UInt32Type, _, _>(rows));
    let problem = "protobuf: field `value[1]`: a list's item cannot be null";
    let expected = [Ok(vec![]), Ok(vec![]), Ok(vec![0x0a, 1, 5]), Err(problem.to_owned())];
    assert_eq!(encode(&message, &[("value", "list<uint32>", Arc::clone(&column))]), expected);
    // A slice of a batch starts in the middle of its buffers.
    assert_eq!(encode(&message, &[("value", "list<uint32>", column.slice(2, 2))]), expected[2..]);
}

#[test]
fn times_become_timestamps() {
    let text = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\";
        message M { google.protobuf.Timestamp at = 1; repeated google.protobuf.Timestamp all = 2; }";
    let message = message(text);
    let columns: [(&str, ArrayRef, &str); 4] = [
        ("date", Arc::new(Date32Array::from(vec![-1])), "1969-12-31T00:00:00Z"),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![1_500_000])), "1970-01-01T00:00:01.500Z"),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![-1])), "1969-12-31T23:59:59.999999Z"),
        ("timestamp_ns", Arc::new(TimestampNanosecondArray::from(vec![1])), "1970-01-01T00:00:00.000000001Z"),
    ];
    for (column_type, column, expected) in columns {
        let all = ("all", &*format!("list<{column_type}>"), list(column_type, &column));
        let encoded = encode(&message, &[("at", column_type, column), all]);
        let value = decoded(&message, encoded[0].as_ref().unwrap());
        assert_eq!(value, serde_json::json!({ "at": expected, "all": [expected] }));
    }
    let late: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![253_402_300_800_000_000]));
    let problem = "field `at`: lies outside the years 1 to 9999 that a timestamp can hold";
    assert_eq!(encode(&message, &[("at", "timestamp", late)]), [Err(format!("protobuf: {problem}"))]);
}

#[test]
fn wrappers_keep_the_difference_between_default_and_null() {
    let text = "syntax = \"proto3\"; import \"google/protobuf/wrappers.proto\";
        message M { google.protobuf.Int32Value value = 1; }";
    let column: ArrayRef = Arc::new(Int32Array::from(vec![Some(0), None, Some(7)]));
    let encoded = encode(&message(text), &[("value", "int32", column)]);
    assert_eq!(encoded, [Ok(vec![0x0a, 0]), Ok(vec![]), Ok(vec![0x0a, 2, 8, 7])]);
}

#[test]
fn at_most_one_of_a_oneof() {
    let message = message("syntax = \"proto3\"; message M { oneof which { int32 a = 1; int32 b = 2; } }");
    let a: ArrayRef = Arc::new(Int32Array::from(vec![Some(0), None, Some(1)]));
    let b: ArrayRef = Arc::new(Int32Array::from(vec![None, Some(3), Some(1)]));
    let encoded = encode(&message, &[("a", "int32", a), ("b", "int32", b)]);
    let both = "protobuf: field `b`: `a` of the same oneof has a value too";
    assert_eq!(encoded, [Ok(vec![8, 0]), Ok(vec![0x10, 3]), Err(both.into())]);
}

#[test]
fn a_full_buffer_is_followed_by_another() {
    let message = message("syntax = \"proto3\"; message M { string value = 1; }");
    let texts: Vec<String> = (0..100).map(|i| "x".repeat(i)).collect();
    let (schema, records) = batch(&[("value", "string", Arc::new(StringViewArray::from_iter_values(&texts)))]);
    let bound = bound::bind(&message, &schema, &BTreeMap::new()).unwrap();
    let mut layout = Layout { block: 256, row_bytes: 0 };
    let values = bound.encode(&records, &mut layout, |_, _| panic!("nothing is refused")).unwrap();
    assert!(values.data_buffers().len() > 10);
    assert!(values.data_buffers().iter().all(|buffer| buffer.len() < 256 + 128));
    for (value, text) in values.iter().zip(&texts) {
        let expected = if text.is_empty() { vec![] } else { [&[0x0a, text.len() as u8], text.as_bytes()].concat() };
        assert_eq!(value.unwrap(), expected);
    }
    let mut layout = Layout::default();
    assert_eq!(bound.encode(&records, &mut layout, |_, _| ()).unwrap().data_buffers().len(), 1);
    assert!((40..80).contains(&layout.row_bytes), "the next buffer is made for {} bytes a row", layout.row_bytes);
}

fn transform(schema: &crate::batch::Schema, into: &str) -> Protobuf {
    let message = message("syntax = \"proto2\"; message M { optional uint32 id = 1; }");
    let bound = bound::bind(&message, schema, &BTreeMap::new()).unwrap();
    let column =
        crate::batch::Column { name: into.into(), column_type: crate::batch::ColumnType::Binary, nullable: false };
    let output = schema.with(column);
    let place = output.find(into).unwrap().0;
    Protobuf(Arc::new(Shared { bound, output, place }))
}

fn ids(records: RecordBatch) -> Batch {
    let rows = records.num_rows();
    let block = Block { first_record: 1, first_line: 1, ..Block::default() };
    Batch::new(records, Origin::new(SplitId(3), 9, block, rows))
}

#[test]
fn refused_rows_leave_the_batch_and_keep_their_line() {
    let id: ArrayRef = Arc::new(Int32Array::from(vec![1, -1, 300, -2]));
    let (schema, records) = batch(&[("id", "int32", id)]);
    let mut worker = transform(&schema, "value").worker().unwrap();
    let mut rejects = Rejects::default();
    let done = worker.apply(ids(records), &mut rejects).unwrap();
    let values = done.records.column_by_name("value").unwrap().as_binary_view();
    assert_eq!(values.iter().flatten().collect::<Vec<_>>(), [&[8, 1][..], &[8, 0xac, 2]]);
    assert_eq!((done.origin.seq, done.origin.position(1).line), (9, 3));
    let rejects = rejects.take();
    assert_eq!(rejects.len(), 2);
    assert_eq!(rejects[1].position, Position { record: 4, line: 4 });
    assert_eq!((rejects[1].code.0, rejects[1].split), ("protobuf", SplitId(3)));
    assert_eq!(rejects[1].message, "field `id`: `-2` does not fit a uint32");
    assert_eq!(rejects[1].record, b"{\"id\":-2}");
}

#[test]
fn the_output_column_replaces_one_of_its_name() {
    let id: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let (schema, records) = batch(&[("id", "int32", Arc::clone(&id)), ("other", "int32", id)]);
    let mut worker = transform(&schema, "id").worker().unwrap();
    let done = worker.apply(ids(records), &mut Rejects::default()).unwrap();
    assert_eq!(done.records.num_columns(), 2);
    assert_eq!(done.records.column(0).as_binary_view().value(0), [8, 1]);
}

#[test]
fn an_empty_batch_stays_a_batch() {
    let (schema, records) = batch(&[("id", "int32", Arc::new(Int32Array::from(vec![1])))]);
    let mut worker = transform(&schema, "value").worker().unwrap();
    let done = worker.apply(ids(records.slice(0, 0)), &mut Rejects::default()).unwrap();
    assert_eq!((done.rows(), done.records.num_columns()), (0, 2));
}

#[test]
fn a_batch_of_another_schema_is_a_bug() {
    let (schema, _) = batch(&[("id", "int32", Arc::new(Int32Array::from(vec![1])))]);
    let (_, records) = batch(&[("id", "string", Arc::new(StringViewArray::from(vec!["1"])))]);
    let mut worker = transform(&schema, "value").worker().unwrap();
    let failure = worker.apply(ids(records), &mut Rejects::default()).unwrap_err();
    assert_eq!(failure.exit, crate::failure::Exit::Bug);
}
