//! Bytes as hexadecimal digits, two each, in small letters.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The two digits of a byte.
#[inline]
pub fn pair(byte: u8) -> [u8; 2] {
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// Appends the digits of all bytes.
pub fn push(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 * bytes.len());
    out.extend(bytes.iter().flat_map(|byte| pair(*byte)));
}

/// The digits of all bytes.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| pair(*byte)).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_the_digits_that_it_is_read_from() {
        let all: Vec<u8> = (0..=255).collect();
        let text = text(&all);
        let read: Vec<u8> =
            (0..256).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("digits")).collect();
        assert_eq!(read, all);
        let mut pushed = b"x".to_vec();
        push(&all, &mut pushed);
        assert_eq!(&pushed[1..], text.as_bytes());
    }
}
