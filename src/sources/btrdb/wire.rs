//! The messages and calls of `proto/btrdb.proto`, written down by hand: a build needs no protobuf compiler. Unit
//! tests hold them to that file, field by field.

use prost::Message;

/// A call: its path, and what it asks and answers.
pub(super) trait Call {
    /// What is sent.
    type Question: Message + 'static;
    /// What comes back, once or in pieces.
    type Answer: Message + Default + Answer + 'static;
    /// Where it is sent.
    const PATH: &'static str;
}

/// What every answer has.
pub(super) trait Answer {
    /// Did it go well? An error is in here although the call itself succeeded.
    fn stat(&self) -> Option<&Status>;
}

macro_rules! calls {
    ($($call:ident: $question:ident => $answer:ident;)*) => {$(
        #[doc = concat!("The call `", stringify!($call), "`.")]
        pub(super) struct $call;

        impl Call for $call {
            type Question = $question;
            type Answer = $answer;
            const PATH: &'static str = concat!("/v5api.BTrDB/", stringify!($call));
        }

        impl Answer for $answer {
            fn stat(&self) -> Option<&Status> {
                self.stat.as_ref()
            }
        }
    )*};
}

calls! {
    LookupStreams: LookupStreamsParams => LookupStreamsResponse;
    StreamInfo: StreamInfoParams => StreamInfoResponse;
    Nearest: NearestParams => NearestResponse;
    RawValues: RawValuesParams => RawValuesResponse;
    Windows: WindowsParams => WindowsResponse;
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(uint32, tag = "1")]
    pub(super) code: u32,
    #[prost(string, tag = "2")]
    pub(super) msg: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OptValue {
    #[prost(string, tag = "1")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyOptValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) val: Option<OptValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamDescriptor {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) uuid: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) collection: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) tags: Vec<KeyOptValue>,
    #[prost(message, repeated, tag = "4")]
    pub(super) annotations: Vec<KeyOptValue>,
    #[prost(uint64, tag = "5")]
    pub(super) property_version: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LookupStreamsParams {
    #[prost(string, tag = "1")]
    pub(super) collection: String,
    #[prost(bool, tag = "2")]
    pub(super) is_collection_prefix: bool,
    #[prost(message, repeated, tag = "3")]
    pub(super) tags: Vec<KeyOptValue>,
    #[prost(message, repeated, tag = "4")]
    pub(super) annotations: Vec<KeyOptValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LookupStreamsResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) stat: Option<Status>,
    #[prost(message, repeated, tag = "2")]
    pub(super) results: Vec<StreamDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamInfoParams {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) uuid: Vec<u8>,
    #[prost(bool, tag = "2")]
    pub(super) omit_version: bool,
    #[prost(bool, tag = "3")]
    pub(super) omit_descriptor: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamInfoResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) stat: Option<Status>,
    #[prost(uint64, tag = "2")]
    pub(super) version_major: u64,
    #[prost(uint64, tag = "3")]
    pub(super) version_minor: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) descriptor: Option<StreamDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RawPoint {
    #[prost(sfixed64, tag = "1")]
    pub(super) time: i64,
    #[prost(double, tag = "2")]
    pub(super) value: f64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NearestParams {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) uuid: Vec<u8>,
    #[prost(sfixed64, tag = "2")]
    pub(super) time: i64,
    #[prost(uint64, tag = "3")]
    pub(super) version_major: u64,
    #[prost(bool, tag = "4")]
    pub(super) backward: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NearestResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) stat: Option<Status>,
    #[prost(uint64, tag = "2")]
    pub(super) version_major: u64,
    #[prost(uint64, tag = "3")]
    pub(super) version_minor: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) value: Option<RawPoint>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RawValuesParams {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) uuid: Vec<u8>,
    #[prost(sfixed64, tag = "2")]
    pub(super) start: i64,
    #[prost(sfixed64, tag = "3")]
    pub(super) end: i64,
    #[prost(uint64, tag = "4")]
    pub(super) version_major: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RawValuesResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) stat: Option<Status>,
    #[prost(uint64, tag = "2")]
    pub(super) version_major: u64,
    #[prost(uint64, tag = "3")]
    pub(super) version_minor: u64,
    #[prost(message, repeated, tag = "4")]
    pub(super) values: Vec<RawPoint>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WindowsParams {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) uuid: Vec<u8>,
    #[prost(sfixed64, tag = "2")]
    pub(super) start: i64,
    #[prost(sfixed64, tag = "3")]
    pub(super) end: i64,
    #[prost(uint64, tag = "4")]
    pub(super) version_major: u64,
    #[prost(uint64, tag = "5")]
    pub(super) width: u64,
    #[prost(uint32, tag = "6")]
    pub(super) depth: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatPoint {
    #[prost(sfixed64, tag = "1")]
    pub(super) time: i64,
    #[prost(double, tag = "2")]
    pub(super) min: f64,
    #[prost(double, tag = "3")]
    pub(super) mean: f64,
    #[prost(double, tag = "4")]
    pub(super) max: f64,
    #[prost(fixed64, tag = "5")]
    pub(super) count: u64,
    #[prost(double, tag = "6")]
    pub(super) stddev: f64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WindowsResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) stat: Option<Status>,
    #[prost(uint64, tag = "2")]
    pub(super) version_major: u64,
    #[prost(uint64, tag = "3")]
    pub(super) version_minor: u64,
    #[prost(message, repeated, tag = "4")]
    pub(super) values: Vec<StatPoint>,
}

#[cfg(test)]
#[path = "tests/wire.rs"]
mod tests;
