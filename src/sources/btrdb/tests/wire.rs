//! The messages and the calls against `proto/btrdb.proto`.

use std::fmt::Debug;

use prost_build::Module;
use prost_reflect::DescriptorPool;

use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");

/// `UPDATE_EXPECTED=1 cargo test --lib sources::btrdb::wire` writes the messages anew.
#[test]
fn the_messages_are_those_of_the_proto_file() {
    let files = protox::compile([format!("{FOLDER}/btrdb.proto")], [FOLDER]).unwrap().file;
    let files = files.into_iter().map(|file| (Module::from_protobuf_package_name(file.package()), file)).collect();
    let texts: Vec<String> = prost_build::Config::new().generate(files).unwrap().into_values().collect();
    let path = format!("{FOLDER}/btrdb.rs");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, &texts[0]).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(texts == [kept], "{path} differs; UPDATE_EXPECTED=1 writes it anew\n{texts:?}");
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
    let files = protox::compile([format!("{FOLDER}/btrdb.proto")], [FOLDER]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    let service = pool.get_service_by_name("v5api.BTrDB").unwrap();
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
