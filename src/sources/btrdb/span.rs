//! A split: a stream, its version, and the time range that is read of it. All of it stands in the split's marks,
//! so that a split can be read by whoever is given it.

use chrono::{DateTime, SecondsFormat};

use crate::{
    failure::{Exit, Failure},
    stage::{Detail, Split},
    values::hex,
};

/// The first time that BTrDB has, in nanoseconds since 1970.
pub(super) const MIN_TIME: i64 = -(16 << 56);

/// No point is read at or after this: the last nanosecond that BTrDB has. Its own client stops there too.
pub(super) const MAX_TIME: i64 = (48 << 56) - 1;

/// What is read of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The stream.
    pub(super) uuid: [u8; 16],
    /// The version at which it is read; never 0, which would be the latest.
    pub(super) version: u64,
    /// The first time, in nanoseconds.
    pub(super) start: i64,
    /// The first time that is not read.
    pub(super) end: i64,
}

impl Span {
    /// The split that it is, with what people call the stream.
    pub(super) fn split(&self, stream: &str) -> Split {
        let uuid = hyphenated(&self.uuid);
        Split {
            name: format!("{stream} {uuid}, {} to {}", time(self.start), time(self.end)),
            detail: Detail::Part {
                from: Some(format!("{uuid}/{}/{}", self.version, self.start)),
                to: Some(self.end.to_string()),
            },
        }
    }

    /// What a split says that is to be read.
    ///
    /// # Errors
    /// It is not a split of this kind.
    pub(super) fn of(split: &Split) -> Result<Span, Failure> {
        let wrong = || Failure::new(Exit::Bug, format!("`{}` is not a split of a `btrdb` source", split.name));
        let Detail::Part { from: Some(from), to: Some(to) } = &split.detail else { return Err(wrong()) };
        let parse = || {
            let mut parts = from.split('/');
            let (uuid, version, start) = (parts.next()?, parts.next()?, parts.next()?);
            let (version, start) = (version.parse().ok()?, start.parse().ok()?);
            Some(Span { uuid: bytes(uuid)?, version, start, end: to.parse().ok()? })
        };
        parse().ok_or_else(wrong)
    }
}

/// A time as people write it.
pub(super) fn time(nanos: i64) -> String {
    DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// `01234567-89ab-…`
pub(super) fn hyphenated(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in uuid.iter().enumerate() {
        if [4, 6, 8, 10].contains(&i) {
            text.push('-');
        }
        text.extend(hex::pair(*byte).map(char::from));
    }
    text
}

/// The bytes of a hyphenated UUID.
fn bytes(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u32> = text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xbb, 0xcc, 0xdd, 0xee, 0xff];

    #[test]
    fn a_split_says_what_it_is() {
        for (start, end) in [(0, 43_200_000_000_000), (MIN_TIME, -1), (MAX_TIME - 1, MAX_TIME)] {
            let span = Span { uuid: UUID, version: u64::MAX, start, end };
            assert_eq!(Span::of(&span.split("s")).unwrap(), span);
        }
        let split = Span { uuid: UUID, version: 7, start: 0, end: 43_200_000_000_001 }.split("a/b");
        let name = "a/b 00010203-0405-0607-0809-0abbccddeeff, 1970-01-01T00:00:00Z to 1970-01-01T12:00:00.000000001Z";
        assert_eq!(split.name, name);
    }

    #[test]
    fn another_kind_of_split_is_a_bug() {
        let part = |from: &str, to: &str| Detail::Part { from: Some(from.into()), to: Some(to.into()) };
        for detail in [Detail::Whole, part("", ""), part("00010203/7/0", "1"), part(&hyphenated(&UUID), "1")] {
            let split = Split { name: "x".into(), detail };
            assert_eq!(Span::of(&split).unwrap_err().exit, Exit::Bug);
        }
    }

    #[test]
    fn the_bounds_are_those_of_the_messages() {
        assert!(time(MIN_TIME).starts_with("1933-06-20") && time(MAX_TIME).starts_with("2079-08-08"));
    }
}
