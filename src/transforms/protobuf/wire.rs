//! The wire format: a growing output that tags, numbers and bytes are written to.

/// A field's number and wire type, encoded once when the plan is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    bytes: [u8; 8],
    len: u8,
}

/// How a value stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    StartGroup = 3,
    EndGroup = 4,
    Fixed32 = 5,
}

impl Tag {
    /// Items of a packed field have none.
    pub(super) const NONE: Tag = Tag { bytes: [0; 8], len: 0 };

    pub(super) fn new(number: u32, wire: Wire) -> Self {
        let mut buffer = [0; MAX_VARINT];
        let len = varint(&mut buffer, u64::from(number) << 3 | wire as u64);
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&buffer[..len]); // a tag is a uint32: at most 5 bytes
        Tag { bytes, len: len as u8 }
    }
}

const MAX_VARINT: usize = 10;

/// Room that is made before a number is written: the longest tag and the longest number.
const ROOM: usize = 8 + MAX_VARINT;

/// Bytes being written. The vector is kept longer than what is written, so that a number is stored
/// without asking for space byte by byte.
#[derive(Debug, Default)]
pub(super) struct Out {
    bytes: Vec<u8>,
    len: usize,
}

impl Out {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Out { bytes: vec![0; capacity], len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What was written from `start` on.
    pub(super) fn since(&self, start: usize) -> &[u8] {
        &self.bytes[start..self.len]
    }

    /// Forgets what was written from `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(super) fn into_vec(mut self) -> Vec<u8> {
        self.bytes.truncate(self.len);
        self.bytes
    }

    pub(super) fn tag(&mut self, tag: &Tag) {
        self.room::<8>().copy_from_slice(&tag.bytes);
        self.len += usize::from(tag.len);
    }

    #[inline]
    pub(super) fn varint(&mut self, tag: &Tag, value: u64) {
        let room = self.room::<ROOM>();
        room[..8].copy_from_slice(&tag.bytes);
        let at = usize::from(tag.len).min(8);
        let len = at + varint(&mut room[at..], value);
        self.len += len;
    }

    #[inline]
    pub(super) fn fixed<const N: usize>(&mut self, tag: &Tag, value: [u8; N]) {
        let room = self.room::<ROOM>();
        room[..8].copy_from_slice(&tag.bytes);
        let at = usize::from(tag.len).min(8);
        room[at..at + N].copy_from_slice(&value);
        self.len += at + N;
    }

    pub(super) fn bytes(&mut self, tag: &Tag, value: &[u8]) {
        self.varint(tag, value.len() as u64);
        if self.bytes.len() - self.len < value.len() {
            self.grow(value.len());
        }
        self.bytes[self.len..self.len + value.len()].copy_from_slice(value);
        self.len += value.len();
    }

    /// Starts something whose length is written before it. One byte is left for the length.
    pub(super) fn open(&mut self, tag: &Tag) -> usize {
        self.varint(tag, 0);
        self.len
    }

    /// Ends what [`Out::open`] started. A length of 128 and more needs more than the byte left for it:
    /// then the content moves up.
    pub(super) fn close(&mut self, start: usize) {
        let len = self.len - start;
        let mut buffer = [0; MAX_VARINT];
        let width = varint(&mut buffer, len as u64);
        if width > 1 {
            self.room::<MAX_VARINT>();
            self.bytes.copy_within(start..self.len, start + width - 1);
            self.len += width - 1;
        }
        self.bytes[start - 1..start - 1 + width].copy_from_slice(&buffer[..width]);
    }

    #[inline]
    fn room<const N: usize>(&mut self) -> &mut [u8; N] {
        if self.bytes.len() - self.len < N {
            self.grow(N);
        }
        self.bytes[self.len..].first_chunk_mut().expect("the vector was grown to have the room")
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        self.bytes.resize((self.bytes.len() * 2).max(self.len + more + ROOM), 0);
    }
}

/// Writes `value` to the start of `room` and says how many bytes it took.
#[inline]
fn varint(room: &mut [u8], mut value: u64) -> usize {
    let mut len = 0;
    while value >= 0x80 {
        room[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    room[len] = value as u8;
    len + 1
}

/// Signed numbers of small magnitude as small unsigned ones.
#[inline]
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_seven_bits_a_byte() {
        let cases: &[(u64, &[u8])] = &[
            (0, &[0]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ];
        for (value, bytes) in cases {
            let mut out = Out::default();
            out.varint(&Tag::NONE, *value);
            assert_eq!(out.into_vec(), *bytes, "{value}");
        }
    }

    #[test]
    fn the_largest_field_number_has_a_tag_of_five_bytes() {
        let mut out = Out::default();
        out.tag(&Tag::new((1 << 29) - 1, Wire::Fixed32));
        assert_eq!(out.into_vec(), [0xfd, 0xff, 0xff, 0xff, 0x0f]);
    }

    #[test]
    fn content_moves_up_for_a_long_length() {
        for len in [0, 1, 127, 128, 16_383, 16_384] {
            let (mut opened, mut direct) = (Out::default(), Out::default());
            let content = vec![7; len];
            let start = opened.open(&Tag::new(1, Wire::Length));
            for byte in &content {
                opened.fixed(&Tag::NONE, [*byte]);
            }
            opened.close(start);
            direct.bytes(&Tag::new(1, Wire::Length), &content);
            assert_eq!(opened.into_vec(), direct.into_vec(), "{len}");
        }
    }

    #[test]
    fn zigzag_alternates() {
        let pairs = [(0, 0), (-1, 1), (1, 2), (i64::MIN, u64::MAX), (i64::MAX, u64::MAX - 1)];
        for (value, expected) in pairs {
            assert_eq!(zigzag(value), expected);
        }
    }
}
