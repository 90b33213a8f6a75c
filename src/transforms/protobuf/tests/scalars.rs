//! Every scalar type, single, repeated and packed, against the encoding of `prost-reflect`. That packing is as Python's
//! protobuf has it is seen in `tests/suite/protobuf.rs`.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, StringViewArray,
    UInt32Array, UInt64Array,
};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};

use super::{encode, list, message};

/// Scalar type, column type, column of all values, the values.
type Case = (&'static str, &'static str, ArrayRef, Vec<Value>);

fn cases() -> Vec<Case> {
    let i32s = [0, 1, -1, 127, 128, i32::MIN, i32::MAX];
    let i64s = [0, 1, -1, 1 << 35, i64::MIN, i64::MAX];
    let u32s = [0, 1, 127, 128, 300, u32::MAX];
    let u64s = [0, 1, 1 << 35, u64::MAX];
    let f64s = [0.0, -0.0, 55.1, f64::MAX, f64::INFINITY, f64::MIN_POSITIVE];
    let f32s = [0.0, -0.0, 0.1, f32::MAX, f32::NEG_INFINITY];
    let texts = ["", "a", "twelve bytes", "thirteen byte", "Grüße"];
    let long = "x".repeat(300);
    let blobs: Vec<&[u8]> = vec![b"", b"\0", b"\xff\xfe", long.as_bytes()];
    let mut cases: Vec<Case> = Vec::new();
    for name in ["int32", "sint32", "sfixed32"] {
        let values = i32s.map(Value::I32).to_vec();
        cases.push((name, "int32", Arc::new(Int32Array::from(i32s.to_vec())), values.clone()));
        let wide: Vec<i64> = i32s.map(i64::from).to_vec();
        cases.push((name, "int64", Arc::new(Int64Array::from(wide)), values));
    }
    for name in ["int64", "sint64", "sfixed64"] {
        cases.push((name, "int64", Arc::new(Int64Array::from(i64s.to_vec())), i64s.map(Value::I64).to_vec()));
    }
    for name in ["uint32", "fixed32"] {
        cases.push((name, "uint32", Arc::new(UInt32Array::from(u32s.to_vec())), u32s.map(Value::U32).to_vec()));
    }
    for name in ["uint64", "fixed64"] {
        cases.push((name, "uint64", Arc::new(UInt64Array::from(u64s.to_vec())), u64s.map(Value::U64).to_vec()));
    }
    let nearest = [0.0, -0.0, 55.1];
    cases.extend::<[Case; 8]>([
        ("double", "float64", Arc::new(Float64Array::from(f64s.to_vec())), f64s.map(Value::F64).to_vec()),
        ("double", "uint32", Arc::new(UInt32Array::from(u32s.to_vec())), u32s.map(|v| Value::F64(v.into())).to_vec()),
        ("float", "float32", Arc::new(Float32Array::from(f32s.to_vec())), f32s.map(Value::F32).to_vec()),
        (
            "float",
            "float64",
            Arc::new(Float64Array::from(nearest.to_vec())),
            nearest.map(|v| Value::F32(v as f32)).to_vec(),
        ),
        ("bool", "bool", Arc::new(BooleanArray::from(vec![false, true])), vec![Value::Bool(false), Value::Bool(true)]),
        (
            "string",
            "string",
            Arc::new(StringViewArray::from(texts.to_vec())),
            texts.map(|v| Value::String(v.into())).to_vec(),
        ),
        (
            "bytes",
            "binary",
            Arc::new(BinaryViewArray::from(blobs.clone())),
            blobs.iter().map(|v| Value::Bytes(v.to_vec().into())).collect(),
        ),
        (
            "bytes",
            "string",
            Arc::new(StringViewArray::from(texts.to_vec())),
            texts.map(|v| Value::Bytes(v.as_bytes().to_vec().into())).to_vec(),
        ),
    ]);
    let colors = [0, 1, -5];
    let enums = colors.map(Value::EnumNumber).to_vec();
    cases.push(("E", "int32", Arc::new(Int32Array::from(colors.to_vec())), enums.clone()));
    cases.push(("E", "string", Arc::new(StringViewArray::from(vec!["RED", "GREEN", "COLD"])), enums));
    cases
}

fn expected(message: &MessageDescriptor, field: &str, value: Value) -> Vec<u8> {
    let mut dynamic = DynamicMessage::new(message.clone());
    dynamic.set_field_by_name(field, value);
    dynamic.encode_to_vec()
}

fn is_negative_zero(value: &Value) -> bool {
    let double = value.as_f64().or(value.as_f32().map(f64::from));
    double.is_some_and(|double| double == 0.0 && double.is_sign_negative())
}

const ENUM: &str = "enum E { RED = 0; GREEN = 1; COLD = -5; }";

fn check(syntax: &str, label: &str, option: &str, repeated: bool) {
    for (scalar, column_type, column, values) in cases() {
        if option.contains("packed=true") && ["string", "bytes"].contains(&scalar) {
            continue;
        }
        let written = |syntax: &str, option: &str| {
            message(&format!("syntax = \"{syntax}\"; {ENUM} message M {{ {label} {scalar} value = 77{option}; }}"))
        };
        let message = written(syntax, option);
        let about = format!("{syntax} {label} {scalar}{option} from {column_type}");
        if repeated {
            let column_type = format!("list<{column_type}>");
            let encoded =
                encode(&message, &[("value", &column_type, list(&column_type[5..column_type.len() - 1], &column))]);
            // The library that we compare with goes by the syntax alone.
            let packs = option.contains("true") || syntax == "proto3" && !option.contains("false");
            let as_packed = written(if packs { "proto3" } else { "proto2" }, "");
            assert_eq!(encoded, [Ok(expected(&as_packed, "value", Value::List(values)))], "{about}");
        } else {
            let encoded = encode(&message, &[("value", column_type, column)]);
            assert_eq!(encoded.len(), values.len());
            for (bytes, value) in encoded.into_iter().zip(values) {
                let bytes = bytes.unwrap();
                if label.is_empty() && is_negative_zero(&value) {
                    // Not the default to protobuf itself, though it is to the library we compare with.
                    assert_eq!(bytes.last(), Some(&0x80), "{about}");
                } else {
                    assert_eq!(bytes, expected(&message, "value", value.clone()), "{about} {value:?}");
                }
                let decoded = DynamicMessage::decode(message.clone(), bytes.as_slice()).unwrap();
                assert_eq!(*decoded.get_field_by_name("value").unwrap(), value, "{about}");
            }
        }
    }
}

#[test]
fn single_values() {
    for (syntax, label) in [("proto2", "optional"), ("proto2", "required"), ("proto3", ""), ("proto3", "optional")] {
        check(syntax, label, "", false);
    }
}

#[test]
fn repeated_values() {
    for syntax in ["proto2", "proto3"] {
        for option in ["", " [packed=true]", " [packed=false]"] {
            check(syntax, "repeated", option, true);
        }
    }
}

#[test]
fn a_long_packed_list_has_a_length_of_two_bytes() {
    let message = message("syntax = \"proto3\"; message M { repeated uint32 value = 1; }");
    let items: Vec<u32> = (0..1000).collect();
    let column: ArrayRef = Arc::new(UInt32Array::from(items.clone()));
    let values = Value::List(items.into_iter().map(Value::U32).collect());
    let encoded = encode(&message, &[("value", "list<uint32>", list("uint32", &column))]);
    assert_eq!(encoded, [Ok(expected(&message, "value", values))]);
}

#[test]
fn values_out_of_range_are_refused() {
    let wide = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let text = |values: Vec<&str>| -> ArrayRef { Arc::new(StringViewArray::from(values)) };
    let float = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let cases: Vec<(&str, &str, ArrayRef, &str)> = vec![
        ("uint32", "int64", wide(vec![-1]), "`-1` does not fit a uint32"),
        ("uint32", "int64", wide(vec![1 << 32]), "`4294967296` does not fit a uint32"),
        ("fixed64", "int64", wide(vec![-1]), "`-1` does not fit a fixed64"),
        ("int32", "int64", wide(vec![1 << 31]), "`2147483648` does not fit an int32"),
        ("sint32", "int64", wide(vec![-(1 << 31) - 1]), "`-2147483649` does not fit a sint32"),
        ("sfixed32", "int64", wide(vec![1 << 31]), "`2147483648` does not fit a sfixed32"),
        ("float", "float64", float(vec![1e300]), "`1e300` does not fit a float"),
        ("E", "string", text(vec!["BLUE"]), "`E` has no value `BLUE`"),
        ("E", "int64", wide(vec![2]), "`E` has no value `2`"),
        ("E", "int64", wide(vec![1 << 40]), "`E` has no value `1099511627776`"),
    ];
    for (scalar, column_type, column, problem) in cases {
        let message = message(&format!(
            "syntax = \"proto2\"; {ENUM} message M {{ optional {scalar} one = 1; repeated {scalar} many = 2; }}"
        ));
        let one = encode(&message, &[("one", column_type, Arc::clone(&column))]);
        assert_eq!(one, [Err(format!("protobuf: field `one`: {problem}"))]);
        let many = encode(&message, &[("many", &format!("list<{column_type}>"), list(column_type, &column))]);
        assert_eq!(many, [Err(format!("protobuf: field `many[0]`: {problem}"))]);
    }
}

#[test]
fn an_open_enum_takes_numbers_without_a_name() {
    let message = message(&format!("syntax = \"proto3\"; {ENUM} message M {{ E value = 1; }}"));
    let column: ArrayRef = Arc::new(Int32Array::from(vec![2, -1]));
    let encoded = encode(&message, &[("value", "int32", column)]);
    assert_eq!(encoded[0], Ok(expected(&message, "value", Value::EnumNumber(2))));
    assert_eq!(encoded[1], Ok(expected(&message, "value", Value::EnumNumber(-1))));
}
