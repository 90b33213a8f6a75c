//! The messages against `proto/btrdb.proto`: names, numbers and types of all fields, and the calls.

use std::fmt::Debug;

use prost_reflect::{DescriptorPool, DynamicMessage, Value};

use super::*;

fn pool() -> DescriptorPool {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let files = protox::compile([format!("{folder}/btrdb.proto")], [folder]).unwrap();
    DescriptorPool::from_file_descriptor_set(files).unwrap()
}

/// `versionMajor` as Rust has it.
fn snake(name: &str) -> String {
    let parts =
        name.chars().map(|c| if c.is_ascii_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.into() });
    parts.collect()
}

/// A scalar as `Debug` shows it in Rust; `None` for what is shown on several lines.
fn shown(value: &Value) -> Option<String> {
    Some(match value {
        Value::Bool(value) => format!("{value:?}"),
        Value::I64(value) => format!("{value:?}"),
        Value::U64(value) => format!("{value:?}"),
        Value::U32(value) => format!("{value:?}"),
        Value::F64(value) => format!("{value:?}"),
        Value::String(value) => format!("{value:?}"),
        _ => return None,
    })
}

/// Compares a message in which every field is set with what a reader of the file makes of it, both ways.
fn agrees<M: Message + Default + PartialEq + Debug>(seen: &mut Vec<String>, full: &M) {
    let debug = format!("{full:#?}");
    let name = debug.split(' ').next().unwrap();
    let descriptor = pool().get_message_by_name(&format!("v5api.{name}")).unwrap();
    let read = DynamicMessage::decode(descriptor.clone(), full.encode_to_vec().as_slice()).unwrap();
    assert_eq!(read.unknown_fields().count(), 0, "{name}");
    let fields: Vec<(String, String)> = debug
        .lines()
        .filter_map(|line| line.strip_prefix("    ").filter(|line| line.starts_with(char::is_alphabetic)))
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.trim_end_matches(',').to_owned()))
        .collect();
    assert_eq!(fields.len(), descriptor.fields().len(), "{name}: {fields:?}");
    for (field, (ours, value)) in descriptor.fields().zip(&fields) {
        assert!(read.has_field(&field), "{name}.{}", field.name());
        assert_eq!(&snake(field.name()), ours, "{name}");
        if let Some(shown) = shown(&read.get_field(&field)) {
            assert_eq!(&shown, value, "{name}.{ours}");
        }
    }
    assert_eq!(&M::decode(read.encode_to_vec().as_slice()).unwrap(), full, "{name}");
    seen.push(name.to_owned());
}

/// Bytes that are not text.
const ID: [u8; 3] = [0, 255, 7];
/// A number that only an unsigned type holds.
const LARGE: u64 = u64::MAX - 5;

#[test]
fn the_messages_are_those_of_the_proto_file() {
    let mut seen = Vec::new();
    let status = Status { code: 404, msg: "no".into() };
    let value = OptValue { value: "v".into() };
    let pair = KeyOptValue { key: "k".into(), val: Some(value.clone()) };
    let point = RawPoint { time: -2, value: 1.5 };
    let stat_point = StatPoint { time: -2, min: 1.5, mean: 2.5, max: 3.5, count: LARGE, stddev: 0.5 };
    let uuid = ID.to_vec();
    let stream = StreamDescriptor {
        uuid: uuid.clone(),
        collection: "c".into(),
        tags: vec![pair.clone(); 2],
        annotations: vec![pair.clone()],
        property_version: LARGE,
    };
    let (stat, minor, major) = (Some(status.clone()), LARGE - 1, LARGE);
    agrees(&mut seen, &status);
    agrees(&mut seen, &value);
    agrees(&mut seen, &pair);
    agrees(&mut seen, &point);
    agrees(&mut seen, &stat_point);
    agrees(&mut seen, &stream);
    agrees(
        &mut seen,
        &LookupStreamsParams {
            collection: "c".into(),
            is_collection_prefix: true,
            tags: vec![pair.clone()],
            annotations: vec![pair; 2],
        },
    );
    agrees(&mut seen, &LookupStreamsResponse { stat: stat.clone(), results: vec![stream.clone(); 2] });
    agrees(&mut seen, &StreamInfoParams { uuid: uuid.clone(), omit_version: true, omit_descriptor: true });
    agrees(
        &mut seen,
        &StreamInfoResponse {
            stat: stat.clone(),
            version_major: major,
            version_minor: minor,
            descriptor: Some(stream),
        },
    );
    agrees(&mut seen, &NearestParams { uuid: uuid.clone(), time: -3, version_major: major, backward: true });
    agrees(
        &mut seen,
        &NearestResponse { stat: stat.clone(), version_major: major, version_minor: minor, value: Some(point.clone()) },
    );
    agrees(&mut seen, &RawValuesParams { uuid: uuid.clone(), start: -3, end: -1, version_major: major });
    agrees(
        &mut seen,
        &RawValuesResponse { stat: stat.clone(), version_major: major, version_minor: minor, values: vec![point; 3] },
    );
    agrees(&mut seen, &WindowsParams { uuid, start: -3, end: -1, version_major: major, width: LARGE, depth: u32::MAX });
    agrees(
        &mut seen,
        &WindowsResponse { stat, version_major: major, version_minor: minor, values: vec![stat_point; 3] },
    );
    let mut all: Vec<String> = pool().all_messages().map(|message| message.name().to_owned()).collect();
    all.sort();
    seen.sort();
    assert_eq!(seen, all);
}

/// Path of a call, its question and its answer, and whether that comes in pieces.
fn call<C: Call>() -> (&'static str, String, String)
where
    C::Question: Default + Debug,
    C::Answer: Debug,
{
    let name = |debug: String| debug.split(' ').next().unwrap_or_default().to_owned();
    (C::PATH, name(format!("{:?}", C::Question::default())), name(format!("{:?}", C::Answer::default())))
}

#[test]
fn the_calls_are_those_of_the_proto_file() {
    let service = pool().get_service_by_name("v5api.BTrDB").unwrap();
    let listed: Vec<(String, String, String)> = service
        .methods()
        .map(|method| {
            let path = format!("/{}/{}", service.full_name(), method.name());
            (path, method.input().name().to_owned(), method.output().name().to_owned())
        })
        .collect();
    let ours =
        [call::<LookupStreams>(), call::<StreamInfo>(), call::<Nearest>(), call::<RawValues>(), call::<Windows>()];
    assert_eq!(listed, ours.map(|(path, question, answer)| (path.to_owned(), question, answer)));
}
