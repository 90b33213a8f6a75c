//! JSON that becomes protobuf: each row is a message that prost-reflect reads, or a reject.

use std::{fs, path::PathBuf, sync::Arc};

use arrow_array::{Array, ArrayRef, RecordBatch, StringViewArray, cast::AsArray};
use proptest::{
    collection::vec,
    option,
    prelude::any,
    prop_assert, prop_assert_eq, prop_oneof, sample,
    strategy::{BoxedStrategy, Just, Strategy},
    test_runner::TestCaseResult,
};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use runner::{
    batch::{Batch, Block, Column, ColumnType, Origin, Rejects, Schema, SplitId},
    exchange::{Exchange, Folder},
    jobspec::{Definitions, Path, Problems, Table, Value},
    kind::Context,
    memory::Memory,
    stage::Transform,
    transforms,
};
use serde_json::json;

use crate::{
    bytes::{Change, damage},
    fuzz,
};

const PROTO: &str = r#"
syntax = "proto3";
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
message Row { Thing value = 1; repeated Thing things = 2; map<string, int32> counts = 3; int64 number = 4; }
message Thing {
    int32 a = 1; uint64 b = 2; sint32 c = 3; fixed64 d = 4; float e = 5; double f = 6; bool g = 7; string h = 8; bytes i = 9;
    Color k = 10; repeated int32 l = 11; repeated string m = 12; map<int32, Thing> n = 13; Thing o = 14; optional int32 p = 15;
    google.protobuf.Timestamp q = 16; google.protobuf.Duration r = 17; google.protobuf.Struct s = 18;
    google.protobuf.Value t = 19; google.protobuf.Int64Value u = 20; oneof which { int32 v = 21; string w = 22; }
}
enum Color { NONE = 0; RED = 1; }
"#;

const NAMES: &[&str] = &[
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x",
    "1", "-2",
];

const LEAVES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "2147483648",
    "18446744073709551616",
    "1.5",
    "1e300",
    "-0",
    "\"\"",
    "\"1\"",
    "\"x\"",
    "\"RED\"",
    "\"NaN\"",
    "\"-Infinity\"",
    "\"aGk=\"",
    "\"aGk\"",
    "\"%\"",
    "\"2024-02-29T10:00:00.123456789Z\"",
    "\"9999-12-31T23:59:59Z\"",
    "\"1.5s\"",
    "\"-315576000001s\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"ü\"",
];

/// A JSON value of the shape of a thing, more or less.
fn values() -> BoxedStrategy<String> {
    let leaf = sample::select(LEAVES).prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 6, |inner| {
        let member = (sample::select(NAMES), inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            3 => vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
            1 => vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(", "))),
        ]
    })
    .boxed()
}

/// The same, sometimes changed in places so that it may be no JSON; of objects nested too deep, a few.
fn texts() -> BoxedStrategy<String> {
    let changed = |(text, changes): (String, Vec<Change>)| {
        let mut bytes = text.into_bytes();
        changes.iter().for_each(|change| change.apply(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let deep = |depth: usize| format!("{}{}", "{\"o\":".repeat(depth), "}".repeat(depth));
    prop_oneof![
        6 => values(),
        2 => (values(), vec(damage(), 0..3)).prop_map(changed),
        1 => (1..300_usize).prop_map(deep),
        1 => any::<String>(),
    ]
    .boxed()
}

fn column(len: usize) -> BoxedStrategy<Vec<Option<String>>> {
    vec(option::weighted(0.9, texts()), len).boxed()
}

type Rows = (Vec<Option<String>>, Vec<Option<String>>, Vec<Option<String>>, Vec<Option<String>>);

/// The transform, the message it makes and what it reads.
struct Rig {
    transform: Box<dyn Transform>,
    message: MessageDescriptor,
    schema: Schema,
}

impl Rig {
    fn new() -> Self {
        let folder: PathBuf = std::env::temp_dir().join(format!("runner-fuzz-proto-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("row.proto");
        fs::write(&path, PROTO).unwrap();
        let files = protox::compile([&path], [&folder]).unwrap();
        let message = DescriptorPool::from_file_descriptor_set(files).unwrap().get_message_by_name("Row").unwrap();
        let column = |name: &str| Column { name: name.into(), column_type: ColumnType::Json, nullable: true };
        let schema = Schema::new(["value", "things", "counts", "number"].map(column).to_vec());
        let table: Value =
            serde_json::from_value(json!({ "schema": path, "message": "Row", "into": "bytes" })).unwrap();
        let (definitions, tables, mut problems) = (Definitions::new(), Table::new(), Problems::default());
        let mut context = Context {
            path: Path::default().key("proto"),
            table: &table,
            common: &[],
            input: Some(&schema),
            side: None,
            batch: runner::jobspec::BatchSize::default(),
            max_record_bytes: 16 << 20,
            memory: 1 << 20,
            held: Memory::new(1 << 20, Exchange::new(Box::new(Folder::new(&std::env::temp_dir())), None)),
            seed: 0,
            definitions: &definitions,
            sources: &tables,
            sinks: &tables,
            problems: &mut problems,
        };
        let kind = transforms::KINDS.iter().find(|kind| kind.name == "protobuf").unwrap();
        let compiled = (kind.compile)(&mut context).unwrap_or_else(|| panic!("{problems:?}"));
        fs::remove_dir_all(&folder).unwrap();
        Rig { transform: compiled.stage, message, schema }
    }

    fn check(&self, rows: &Rows) -> TestCaseResult {
        let strings =
            |texts: &Vec<Option<String>>| Arc::new(texts.iter().cloned().collect::<StringViewArray>()) as ArrayRef;
        let columns = [&rows.0, &rows.1, &rows.2, &rows.3].map(strings).to_vec();
        let records = RecordBatch::try_new(self.schema.arrow(), columns).unwrap();
        let len = records.num_rows();
        let batch = Batch::new(records, Origin::new(SplitId(0), 0, Block::default(), len));
        let mut rejects = Rejects::default();
        let out = self.transform.worker().unwrap().apply(batch, &mut rejects).unwrap();
        prop_assert_eq!(out.rows() + rejects.take().len(), len);
        let made = out.records.column_by_name("bytes").unwrap().as_binary_view();
        for row in 0..out.rows() {
            prop_assert!(made.is_valid(row));
            let read = DynamicMessage::decode(self.message.clone(), made.value(row));
            prop_assert!(read.is_ok(), "{:?}", read);
        }
        Ok(())
    }
}

#[test]
fn json_values() {
    let rig = Rig::new();
    let rows = prop_oneof![Just(1_usize), 1..5_usize]
        .prop_flat_map(|len| (column(len), column(len), column(len), column(len)));
    fuzz("protobuf", 400, &rows, |rows| rig.check(&rows));
}
