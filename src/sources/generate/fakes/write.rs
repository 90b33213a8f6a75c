//! Pieces that fakes are put together from.

use super::Rng;

/// One of a list; nothing of an empty one.
pub(super) fn pick(rng: &mut Rng, words: &[&'static str]) -> &'static str {
    words.get(rng.below(words.len() as u64) as usize).copied().unwrap_or("")
}

/// `#` becomes a digit, `^` a digit that is not 0, `$` an upper-case letter that no digit is taken for.
pub(super) fn format(rng: &mut Rng, format: &str, out: &mut String) {
    const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTVWXYZ";
    for c in format.chars() {
        out.push(match c {
            '#' => digit(rng, 0),
            '^' => digit(rng, 1),
            '$' => char::from(LETTERS[rng.below(LETTERS.len() as u64) as usize]),
            c => c,
        });
    }
}

fn digit(rng: &mut Rng, least: u64) -> char {
    char::from(b'0' + (least + rng.below(10 - least)) as u8)
}

/// Replaces `{Key}` in a template by what `write` appends for it.
pub(super) fn fill(template: &str, out: &mut String, mut write: impl FnMut(&str, &mut String)) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (key, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        write(key, out);
        rest = after;
    }
    out.push_str(rest);
}

/// Appends the letters and digits of ASCII text in lower case; false, with nothing appended, for other text.
pub(super) fn slug(text: &str, out: &mut String) -> bool {
    if !text.is_ascii() {
        return false;
    }
    let letters = text.bytes().filter(u8::is_ascii_alphanumeric);
    out.extend(letters.map(|byte| char::from(byte.to_ascii_lowercase())));
    true
}

/// Appends a number.
pub(super) fn number(n: u64, out: &mut String) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut n = n;
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

/// Appends `n` with two digits.
pub(super) fn two(n: u64, out: &mut String) {
    out.push(char::from(b'0' + (n / 10 % 10) as u8));
    out.push(char::from(b'0' + (n % 10) as u8));
}

/// Appends so many of the lowest hexadecimal digits.
pub(super) fn hex(n: u64, digits: u32, upper: bool, out: &mut String) {
    let table = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    out.extend((0..digits).rev().map(|i| char::from(table[(n >> (4 * i) & 0xf) as usize])));
}

/// Makes `min..=max` parts with `between` between them.
pub(super) fn some(
    rng: &mut Rng,
    (min, max): (u64, u64),
    between: &str,
    out: &mut String,
    mut part: impl FnMut(&mut Rng, u64, &mut String),
) {
    let count = min + rng.below(max - min + 1);
    for i in 0..count {
        if i > 0 {
            out.push_str(between);
        }
        part(rng, i, out);
    }
}
