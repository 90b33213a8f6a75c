//! The messages and calls of `proto/btrdb.proto`. The messages are generated and kept, so that a build needs no generator.
//! The calls are ours: a generated client tells of a lost connection without its cause, which is what says that trying
//! again may help.

use prost::Message;

pub(super) use self::messages::*;

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

/// Written by `prost-build`; a unit test holds it to `proto/btrdb.proto`.
#[allow(unreachable_pub)]
mod messages {
    include!("../../../proto/btrdb.rs");
}

#[cfg(test)]
#[path = "tests/wire.rs"]
mod tests;
