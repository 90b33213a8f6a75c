//! Messages from `json` columns, against the reading of the same JSON by `prost-reflect`.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringViewArray};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::{encode, list, message};

const PROTO: &str = r#"
syntax = "proto3";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message M { Thing value = 1; }
message Thing {
  int32 i32 = 1; int64 i64 = 2; uint32 u32 = 3; uint64 u64 = 4; sint32 s32 = 5; sint64 s64 = 6;
  fixed32 f32 = 7; fixed64 f64 = 8; sfixed32 sf32 = 9; sfixed64 sf64 = 10;
  float float_value = 11; double double_value = 12; bool truth = 13; string text = 14; bytes blob = 15;
  optional int32 maybe = 16;
  Color color = 17; repeated Color colors = 18; repeated int32 packed = 19; repeated string texts = 20;
  map<string, int32> by_name = 21; map<int64, Thing> by_number = 22; map<bool, Color> by_truth = 23;
  Thing child = 24; repeated Thing children = 25;
  oneof which { int32 left = 26; string right = 27; Thing both = 28; }
  google.protobuf.Timestamp at = 30; google.protobuf.Duration lasts = 31;
  google.protobuf.Int64Value wrapped = 32; google.protobuf.BytesValue wrapped_bytes = 33;
  google.protobuf.Struct free = 34; google.protobuf.Value any_value = 35; google.protobuf.ListValue any_list = 36;
  google.protobuf.FieldMask mask = 37; google.protobuf.Empty empty = 38; google.protobuf.Any any = 39;
  google.protobuf.NullValue none = 40; repeated google.protobuf.Value values = 41;
  repeated float floats = 42;
}
enum Color { RED = 0; GREEN = 1; COLD = -5; }
"#;

fn column(texts: &[&str]) -> ArrayRef {
    Arc::new(StringViewArray::from(texts.to_vec()))
}

fn read(message: &MessageDescriptor, json: &str) -> DynamicMessage {
    let mut reader = serde_json::Deserializer::from_str(json);
    DynamicMessage::deserialize(message.clone(), &mut reader).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn one(message: &MessageDescriptor, json: &str) -> Result<Vec<u8>, String> {
    encode(message, &[("value", "json", column(&[json]))]).remove(0)
}

#[test]
fn json_is_read_as_the_mapping_says() {
    let message = message(PROTO);
    let cases = [
        "{}",
        r#"{"i32": -1, "i64": "-9223372036854775808", "u32": 4294967295, "u64": "18446744073709551615"}"#,
        r#"{"u64": 18446744073709551615, "s32": -3, "s64": "-4", "f32": 5, "f64": "6", "sf32": -7, "sf64": -8}"#,
        r#"{"i32": 1e2, "i64": 5.0, "u32": "12"}"#,
        r#"{"floatValue": 1.5, "double_value": "NaN", "truth": true, "text": "Grüße", "blob": "/+8="}"#,
        r#"{"floatValue": "Infinity", "doubleValue": "-Infinity", "blob": "_-8"}"#,
        r#"{"floatValue": "1.5", "doubleValue": 7, "floats": [0, 1.25, "NaN"]}"#,
        r#"{"i32": 0, "truth": false, "text": "", "blob": "", "color": "RED", "maybe": 0}"#,
        r#"{"i32": null, "text": null, "child": null, "children": null, "byName": null, "left": null}"#,
        r#"{"color": "GREEN", "colors": ["COLD", 1, "RED", 77], "packed": [1, -1, "300"], "texts": ["", "b"]}"#,
        r#"{"byName": {"a": 1, "": 0}, "by_number": {"-5": {"i32": 1}, "6": {}}, "byTruth": {"true": "GREEN"}}"#,
        r#"{"child": {"child": {"child": {"text": "deep"}}}, "children": [{}, {"children": [{"i32": 4}]}]}"#,
        r#"{"left": 0}"#,
        r#"{"right": ""}"#,
        r#"{"both": {"left": 7}, "right": null}"#,
        r#"{"at": "2024-02-29T12:00:00.000000001+01:00", "lasts": "-1.5s"}"#,
        r#"{"at": "1970-01-01T00:00:00Z", "lasts": "0s"}"#,
        r#"{"wrapped": "0", "wrappedBytes": "AAE="}"#,
        r#"{"free": {"a": [1, null, {"b": "c"}], "d": true}, "anyValue": null, "anyList": [null, "x", []]}"#,
        r#"{"anyValue": {"deep": [1.5]}, "values": [null, 1, "two", false]}"#,
        r#"{"mask": "userName.id,at", "empty": {}, "none": null}"#,
        r#"{"mask": ""}"#,
        r#"{"any": {"@type": "type.googleapis.com/Thing", "i32": 5, "text": "in it"}}"#,
        r#"{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "2s"}}"#,
    ];
    for json in cases {
        let bytes = one(&message, json).unwrap_or_else(|refusal| panic!("{json}: {refusal}"));
        let ours = DynamicMessage::decode(message.clone(), bytes.as_slice()).unwrap();
        let theirs = read(&message, &format!("{{\"value\": {json}}}"));
        // As JSON, so that NaN equals itself.
        let [ours, shown] = [&ours, &theirs].map(|message| serde_json::to_value(message).unwrap());
        assert_eq!(ours, shown, "{json}");
        if !json.contains("by_number") {
            assert_eq!(bytes.len(), theirs.encoded_len(), "{json}"); // map entries may leave defaults out
        }
    }
}

#[test]
fn fields_stand_in_the_order_of_their_numbers() {
    let message = message("syntax = \"proto3\"; message M { N value = 1; } message N { int32 b = 2; int32 a = 1; }");
    assert_eq!(one(&message, r#"{"b": 3, "a": 4}"#), Ok(vec![0x0a, 4, 8, 4, 0x10, 3]));
}

#[test]
fn columns_of_json_fill_lists_maps_and_scalars() {
    let text = "syntax = \"proto3\"; message M { repeated N value = 1; map<string, N> map = 2; int32 number = 3;
        oneof which { N x = 4; int32 y = 5; } } message N { int32 a = 1; }";
    let message = message(text);
    assert_eq!(one(&message, r#"[{"a": 1}, {}]"#), Ok(vec![0x0a, 2, 8, 1, 0x0a, 0]));
    let row = list("json", &column(&[r#"{"a": 1}"#, "{}"]));
    assert_eq!(encode(&message, &[("value", "list<json>", row)]), [Ok(vec![0x0a, 2, 8, 1, 0x0a, 0])]);
    let null = list("json", &column(&["{}", "null"]));
    let problem = "protobuf: field `value[1]`: a list's item cannot be null";
    assert_eq!(encode(&message, &[("value", "list<json>", null)]), [Err(problem.into())]);
    let map = column(&[r#"{"k": {"a": 1}}"#]);
    assert_eq!(encode(&message, &[("map", "json", map)]), [Ok(vec![0x12, 7, 0x0a, 1, b'k', 0x12, 2, 8, 1])]);
    assert_eq!(encode(&message, &[("number", "json", column(&["\"300\""]))]), [Ok(vec![0x18, 0xac, 2])]);
    let (x, y) = (column(&["{}", "null"]), column(&["null", "0"]));
    assert_eq!(encode(&message, &[("x", "json", x), ("y", "json", y)]), [Ok(vec![0x22, 0]), Ok(vec![0x28, 0])]);
}

#[test]
fn groups_and_required_fields_of_proto2() {
    let text = "syntax = \"proto2\"; message M { optional N value = 1; }
        message N { required int32 a = 1; optional group Sub = 2 { optional int32 b = 3; }
            optional E e = 4; } enum E { ONE = 1; }";
    let message = message(text);
    assert_eq!(one(&message, r#"{"a": 0, "sub": {"b": 5}}"#), Ok(vec![0x0a, 6, 8, 0, 0x13, 0x18, 5, 0x14]));
    assert_eq!(one(&message, "{}"), Err("required_field: field `value.a`: required, but has no value".into()));
    assert_eq!(one(&message, r#"{"a": 1, "e": 2}"#), Err("protobuf: field `value.e`: `E` has no value 2".into()));
}

#[test]
fn a_null_in_a_required_field_is_refused() {
    let message = message("syntax = \"proto2\"; message M { required N value = 1; } message N {}");
    assert_eq!(one(&message, "null"), Err("required_field: field `value`: required, but has no value".into()));
    assert_eq!(one(&message, "{}"), Ok(vec![0x0a, 0]));
}

#[test]
fn what_does_not_fit_is_refused_with_its_path() {
    let message = message(PROTO);
    let cases = [
        ("{", "`value`: not JSON: EOF while parsing an object at line 1 column 1"),
        ("[]", "`value`: `[]` is not a JSON object, as `Thing` needs"),
        (r#"{"colour": 1}"#, "`value`: `Thing` has no field `colour`"),
        (r#"{"byName": {}, "by_name": {}}"#, "`value.by_name`: is given twice"),
        (r#"{"i32": 1, "i32": 1}"#, "`value.i32`: is given twice"),
        (r#"{"byName": {"a": 1, "a": 2}}"#, "`value.by_name[\"a\"]`: is given twice"),
        (r#"{"i32": 2147483648}"#, "`value.i32`: `2147483648` does not fit an int32"),
        (r#"{"i32": 1.5}"#, "`value.i32`: `1.5` is not an int32"),
        (r#"{"i32": "x"}"#, "`value.i32`: `\"x\"` is not an int32"),
        (r#"{"u64": 18446744073709551616}"#, "`value.u64`: `18446744073709551616` does not fit a uint64"),
        (r#"{"u64": 1e300}"#, "`value.u64`: `1e300` does not fit a uint64"),
        (r#"{"i32": " 1"}"#, "`value.i32`: `\" 1\"` is not an int32"),
        (r#"{"i32": "+1"}"#, "`value.i32`: `\"+1\"` is not an int32"),
        (r#"{"doubleValue": 1e400}"#, "`value.double_value`: `1e400` does not fit a double"),
        (r#"{"doubleValue": " 1"}"#, "`value.double_value`: `\" 1\"` is not a double"),
        (r#"{"anyValue": [1e400]}"#, "`value.any_value[0]`: `1e400` does not fit a double"),
        (
            r#"{"mask": "user_name"}"#,
            "`value.mask`: `user_name` is not a path of a field mask as JSON spells it, such as `userName`",
        ),
        (r#"{"at": "2016-12-31T23:59:60Z"}"#, "`value.at`: `2016-12-31T23:59:60Z` is not a timestamp of RFC 3339"),
        (
            r#"{"any": {"@type": "x/google.protobuf.Duration", "value": "1s", "more": 1}}"#,
            "`value.any`: an `Any` of this type needs a `value`, and nothing else",
        ),
        (r#"{"u32": -1}"#, "`value.u32`: `-1` does not fit a uint32"),
        (r#"{"floatValue": 1e300}"#, "`value.float_value`: `1e300` does not fit a float"),
        (r#"{"doubleValue": "inf"}"#, "`value.double_value`: `\"inf\"` is not a double"),
        (r#"{"truth": "true"}"#, "`value.truth`: `\"true\"` is not a bool"),
        (r#"{"text": 1}"#, "`value.text`: `1` is not a string"),
        (r#"{"blob": "%"}"#, "`value.blob`: `%` is not a base64 text"),
        (r#"{"color": "BLUE"}"#, "`value.color`: `Color` has no value \"BLUE\""),
        (r#"{"packed": 1}"#, "`value.packed`: `1` is not a list"),
        (r#"{"packed": [1, null]}"#, "`value.packed[1]`: a list's item cannot be null"),
        (r#"{"children": [{}, {"i32": true}]}"#, "`value.children[1].i32`: `true` is not an int32"),
        (r#"{"byName": []}"#, "`value.by_name`: `[]` is not a JSON object, as `map` needs"),
        (r#"{"byName": {"a": null}}"#, "`value.by_name[\"a\"]`: a map's value cannot be null"),
        (r#"{"byNumber": {"x": {}}}"#, "`value.by_number[\"x\"]`: `x` is not an int64"),
        (r#"{"byTruth": {"yes": 1}}"#, "`value.by_truth[\"yes\"]`: `yes` is not a bool"),
        (r#"{"byNumber": {"1": {"i32": ""}}}"#, "`value.by_number[\"1\"].i32`: `\"\"` is not an int32"),
        (r#"{"left": 1, "right": ""}"#, "`value.right`: `left` of the same oneof has a value too"),
        (r#"{"at": "yesterday"}"#, "`value.at`: `yesterday` is not a timestamp of RFC 3339"),
        (r#"{"lasts": 1.5}"#, "`value.lasts`: `1.5` is not a duration"),
        (r#"{"wrapped": "x"}"#, "`value.wrapped`: `\"x\"` is not an int64"),
        (r#"{"any": {"i32": 5}}"#, "`value.any`: an `Any` needs its `@type`"),
        (r#"{"any": {"@type": "x/Nothing"}}"#, "`value.any.@type`: `x/Nothing` is not a known message"),
    ];
    for (json, problem) in cases {
        assert_eq!(one(&message, json), Err(format!("protobuf: field {problem}")), "{json}");
    }
}

#[test]
fn nesting_ends_at_a_hundred_messages() {
    let message = message("syntax = \"proto3\"; message M { N value = 1; } message N { N n = 1; }");
    let nested = |depth: usize| format!("{}{{}}{}", "{\"n\":".repeat(depth - 1), "}".repeat(depth - 1));
    let bytes = one(&message, &nested(100)).unwrap();
    assert_eq!(bytes, read(&message, &format!("{{\"value\": {}}}", nested(100))).encode_to_vec());
    assert!(one(&message, &nested(101)).unwrap_err().ends_with("messages are nested more than 100 deep"));
    assert!(one(&message, &nested(50_000)).unwrap_err().ends_with("messages are nested more than 100 deep"));
}

#[test]
fn numbers_keep_their_last_digit() {
    let text = "syntax = \"proto3\"; import \"google/protobuf/struct.proto\";
        message M { Numbers value = 1; } message Numbers { double d = 1; float f = 2; int64 n = 3; google.protobuf.Value v = 4; }";
    let message = message(text);
    let number = |json: &str, at: usize| one(&message, json).unwrap()[at..].to_vec();
    for digits in ["2.22507e-308", "0.1", "1.7976931348623157e308", "4.35e-322", "123456789012345680.0", "5e-324"] {
        let double: f64 = digits.parse().unwrap();
        assert_eq!(number(&format!("{{\"d\": {digits}}}"), 3), double.to_le_bytes(), "{digits}");
        assert_eq!(number(&format!("{{\"d\": \"{digits}\"}}"), 3), double.to_le_bytes(), "{digits}");
        assert_eq!(number(&format!("{{\"v\": {digits}}}"), 5), double.to_le_bytes(), "{digits}");
    }
    assert_eq!(number("{\"f\": 16777217.0000001}", 3), 16_777_218_f32.to_le_bytes());
    assert_eq!(one(&message, "{\"n\": 9007199254740993.0}"), one(&message, "{\"n\": \"9007199254740993\"}"));
}
