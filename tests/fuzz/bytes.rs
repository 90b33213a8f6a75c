//! Bytes that look like something: put together of fragments, and changed in places.

use proptest::{
    collection::vec,
    prelude::{Just, any},
    prop_oneof, sample,
    strategy::{BoxedStrategy, Strategy},
};

/// What files are made of, and what is hard in them.
const FRAGMENTS: &[&[u8]] = &[
    b"\n",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b"\t",
    b"\t",
    b",",
    b",",
    b";",
    b"\"",
    b"\"",
    b"\"\"",
    b"\\N",
    b"\\",
    b"1",
    b"-5",
    b"2.5",
    b"1e400",
    b"007",
    b"99999999999999999999",
    b"true",
    b"nan",
    b"2024-02-29",
    b"2024-02-29T10:00:00.1234567Z",
    b"x",
    "ü€😀".as_bytes(),
    b"\xEF\xBB\xBF",
    b"\xC3",
    b"\xFF",
    b"\0",
    b" ",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"\"a\":",
    b"\"b\":",
    b"\"c\":",
    b"null",
    b"{\"a\":1,\"b\":\"x\"}\n",
    b"{\"a\":",
    b"[1,2]",
    b"\"\\u00e9\"",
    b"\"\\ud800\"",
    b"{\"c\":[\"x\",null]}\n",
    b"a,b,c\n",
    b"a\tb\tc\n",
    b"1,x,2024-02-29\n",
    b"1\tx\t2,3\n",
    b"a longer text than fits into a view",
    b"\"a \"\"quoted\"\"\ntext\"",
];

/// Text of so many fragments, some of them random bytes.
pub fn soup(most: usize) -> BoxedStrategy<Vec<u8>> {
    let fragment = prop_oneof![
        12 => sample::select(FRAGMENTS).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(fragment, 0..most).prop_map(|fragments| fragments.concat()).boxed()
}

/// One change. Places are shares of the length, so that they mean something for any input.
#[derive(Clone, Debug)]
pub enum Change {
    Cut(u16),
    Flip(u16, u8),
    Delete(u16, u8),
    Repeat(u16, u8),
    Insert(u16, Vec<u8>),
}

/// A change that may insert one of these.
pub fn change(words: BoxedStrategy<Vec<u8>>) -> BoxedStrategy<Change> {
    let place = any::<u16>;
    prop_oneof![
        1 => place().prop_map(Change::Cut),
        4 => (place(), any::<u8>()).prop_map(|(at, bits)| Change::Flip(at, bits)),
        4 => (place(), any::<u8>()).prop_map(|(at, len)| Change::Delete(at, len)),
        2 => (place(), any::<u8>()).prop_map(|(at, len)| Change::Repeat(at, len)),
        6 => (place(), words).prop_map(|(at, word)| Change::Insert(at, word)),
    ]
    .boxed()
}

/// A change that inserts random bytes, if any.
pub fn damage() -> BoxedStrategy<Change> {
    change(prop_oneof![vec(any::<u8>(), 1..9), Just(vec![0; 100])].boxed())
}

impl Change {
    /// Makes the change.
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: u16| usize::from(at) * (bytes.len() + 1) / (usize::from(u16::MAX) + 1);
        let end = |at: usize, len: u8| (at + usize::from(len)).min(bytes.len());
        match self {
            Change::Cut(at) => bytes.truncate(place(*at)),
            Change::Flip(at, bits) => {
                let at = place(*at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Change::Delete(at, len) => {
                let at = place(*at);
                bytes.drain(at..end(at, *len));
            }
            Change::Repeat(at, len) => {
                let at = place(*at);
                let part = bytes[at..end(at, *len)].to_vec();
                bytes.splice(at..at, part);
            }
            Change::Insert(at, word) => {
                let at = place(*at);
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
}
