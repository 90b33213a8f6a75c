//! Moves over JSON text (RFC 8259) without making values of it, but checks all of it on the way: a part that
//! nobody wants is still JSON. Nothing here calls itself, so depth costs no stack.

use std::ops::Range;

use crate::values::hex::pair;

/// Objects and lists may be nested so deep, the record itself included.
pub(crate) const MAX_DEPTH: u32 = 128;

/// Why text is not JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoJson {
    /// Where the text is not JSON any more.
    pub(crate) at: usize,
    pub(crate) why: Why,
}

/// Why text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Something else should stand here.
    Expected(&'static str),
    /// It may be JSON, but it is nested too deep.
    TooDeep,
}

/// The text between two quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Are there backslashes in it?
    pub(crate) escaped: bool,
}

impl Text {
    pub(crate) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A place in a text.
pub(crate) struct Scanner<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) at: usize,
}

impl Scanner<'_> {
    /// Passes over spaces; the byte that follows, or 0 at the end. 0 begins nothing in JSON.
    #[inline]
    pub(crate) fn token(&mut self) -> u8 {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(byte) => return *byte,
                None => return 0,
            }
        }
    }

    #[cold]
    pub(crate) fn expected(&self, what: &'static str) -> NoJson {
        NoJson { at: self.at, why: Why::Expected(what) }
    }

    /// Passes over a name and the colon after it.
    #[inline]
    pub(crate) fn key(&mut self) -> Result<Text, NoJson> {
        if self.token() != b'"' {
            return Err(self.expected("a name in quotes"));
        }
        let key = self.string()?;
        if self.token() != b':' {
            return Err(self.expected("`:`"));
        }
        self.at += 1;
        Ok(key)
    }

    /// Passes over the string whose first quote is here.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Text, NoJson> {
        let start = self.at + 1;
        let mut escaped = false;
        self.at = start;
        loop {
            self.at = plain(self.text, self.at);
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Text { start, end: self.at - 1, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.expected("no control character in a string")),
                None => return Err(self.expected("the end of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), NoJson> {
        let len = match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if hex(self.text, self.at + 2).is_some() => 6,
            _ => return Err(self.expected("an escape")),
        };
        self.at += len;
        Ok(())
    }

    /// Passes over the number that begins here.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<Range<usize>, NoJson> {
        let start = self.at;
        if self.byte() == b'-' {
            self.at += 1;
        }
        if self.byte() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if let b'e' | b'E' = self.byte() {
            self.at += 1;
            if let b'+' | b'-' = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(start..self.at)
    }

    #[inline]
    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn digits(&mut self) -> Result<(), NoJson> {
        let start = self.at;
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    /// Passes over `true`, `false` or `null`, whichever begins here.
    #[inline]
    pub(crate) fn word(&mut self, word: &'static str) -> Result<(), NoJson> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes over one value, which stands inside so many objects and lists.
    pub(crate) fn skip(&mut self, outside: u32) -> Result<(), NoJson> {
        let mut open = Open { objects: 0, depth: 0, outside };
        loop {
            match self.token() {
                b'"' => {
                    self.string()?;
                }
                b'{' => {
                    open.enter(self, true)?;
                    if self.token() != b'}' {
                        self.key()?;
                        continue;
                    }
                    open.leave(self);
                }
                b'[' => {
                    open.enter(self, false)?;
                    if self.token() != b']' {
                        continue;
                    }
                    open.leave(self);
                }
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                }
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => return Err(self.expected("a value")),
            }
            if !open.next(self)? {
                return Ok(());
            }
        }
    }
}

/// Is the text one JSON value?
pub(crate) fn is_json(text: &str) -> bool {
    let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
    scanner.skip(0).is_ok() && scanner.token() == 0 && scanner.at == text.len()
}

/// The objects and lists that a value being passed over is inside of.
struct Open {
    /// One bit for each, the innermost lowest: is it an object?
    objects: u128,
    depth: u32,
    outside: u32,
}

impl Open {
    #[inline]
    fn enter(&mut self, scanner: &mut Scanner<'_>, object: bool) -> Result<(), NoJson> {
        if self.outside + self.depth >= MAX_DEPTH {
            return Err(NoJson { at: scanner.at, why: Why::TooDeep });
        }
        scanner.at += 1;
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        Ok(())
    }

    #[inline]
    fn leave(&mut self, scanner: &mut Scanner<'_>) {
        scanner.at += 1;
        self.depth -= 1;
        self.objects >>= 1;
    }

    /// After a value: goes to the next one, out of all that ends here. False where none is left open.
    #[inline]
    fn next(&mut self, scanner: &mut Scanner<'_>) -> Result<bool, NoJson> {
        while self.depth > 0 {
            let object = self.objects & 1 == 1;
            match (scanner.token(), object) {
                (b',', true) => {
                    scanner.at += 1;
                    scanner.key()?;
                    return Ok(true);
                }
                (b',', false) => {
                    scanner.at += 1;
                    return Ok(true);
                }
                (b'}', true) | (b']', false) => self.leave(scanner),
                (_, true) => return Err(scanner.expected("`,` or `}`")),
                (_, false) => return Err(scanner.expected("`,` or `]`")),
            }
        }
        Ok(false)
    }
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Where the first byte from `at` on is that cannot stand in a string as it is: a quote, a backslash or a
/// control character. Eight bytes are looked at at once: of each, the highest bit is set where it is one of
/// those. A borrow can set it wrongly only behind one that is.
#[inline]
pub(crate) fn plain(text: &[u8], mut at: usize) -> usize {
    while let Some(bytes) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*bytes);
        let (quote, slash) = (word ^ (LOW * b'"' as u64), word ^ (LOW * b'\\' as u64));
        let found = (quote.wrapping_sub(LOW) & !quote)
            | (slash.wrapping_sub(LOW) & !slash)
            | (word.wrapping_sub(LOW * 0x20) & !word);
        if found & HIGH != 0 {
            return at + (found & HIGH).trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while text.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
        at += 1;
    }
    at
}

/// The number that four hexadecimal digits at `at` are.
fn hex(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..at + 4)?.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

/// Appends what the inside of a string means. It has been passed over before, so its escapes are sound.
///
/// # Errors
/// One of them is half of a surrogate pair, which is not a character.
pub(crate) fn unescape(text: &[u8], out: &mut Vec<u8>) -> Result<(), ()> {
    let mut at = 0;
    while let Some(len) = memchr::memchr(b'\\', &text[at..]) {
        out.extend_from_slice(&text[at..at + len]);
        at += len + 2;
        match text.get(at - 1) {
            Some(b'b') => out.push(0x08),
            Some(b'f') => out.push(0x0C),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'u') => {
                let mut unit = hex(text, at).ok_or(())?;
                at += 4;
                if (0xD800..0xDC00).contains(&unit) && text[at..].starts_with(b"\\u") {
                    let low = hex(text, at + 2).filter(|low| (0xDC00..0xE000).contains(low)).ok_or(())?;
                    unit = 0x10000 + ((unit - 0xD800) << 10 | (low - 0xDC00));
                    at += 6;
                }
                let character = char::from_u32(unit).ok_or(())?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Some(same) => out.push(*same),
            None => return Err(()),
        }
    }
    out.extend_from_slice(&text[at..]);
    Ok(())
}

/// Appends a string with quotes, escaping only what must be.
#[inline]
pub(crate) fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut at = 0;
    loop {
        let end = plain(text, at);
        out.extend_from_slice(&text[at..end]);
        let Some(byte) = text.get(end) else { break };
        escape(*byte, out);
        at = end + 1;
    }
    out.push(b'"');
}

#[cold]
fn escape(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0C => out.extend_from_slice(b"\\f"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&pair(byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn skip(text: &[u8]) -> Result<(), NoJson> {
        let mut scanner = Scanner { text, at: 0 };
        scanner.skip(0)?;
        if scanner.token() != 0 || scanner.at < text.len() {
            return Err(scanner.expected("the end"));
        }
        Ok(())
    }

    const PIECES: &[&str] = &[
        "{\"a\": [1, -2.5e+7, \"x\\n\\u00e9\\ud83d\\ude00 longer than eight\"], \"b\": {\"c\": {}, \"d\": []}, \"é\": null}",
        "[true, false, null, 0, -0, 0.1, 1E5, \"\", \"\\\"\\\\\\/\\b\\f\\r\\t\", [[[]]], {\"\": 0}]",
        "\"only text\"",
        " 12 ",
    ];

    /// Damaged at every place in many ways, text is JSON to us where it is to `serde_json`.
    #[test]
    fn agrees_with_another_reader() {
        let mut refused = 0;
        for piece in PIECES {
            let whole = piece.as_bytes();
            assert_eq!(skip(whole), Ok(()), "{piece}");
            for at in 0..whole.len() {
                let with = |byte: u8| [&whole[..at], &[byte], &whole[at + 1..]].concat();
                let mut cases: Vec<Vec<u8>> = b"\"\\{}[]:,0-.eE+u tx\x1F\n".iter().map(|byte| with(*byte)).collect();
                cases.push(whole[..at].to_vec());
                cases.push([&whole[..at], &whole[at + 1..]].concat());
                for case in cases {
                    // The other reader makes characters of escapes and bounds numbers; we leave that to who wants them.
                    let Ok(text) = std::str::from_utf8(&case) else { continue };
                    let theirs = serde_json::from_str::<Value>(text);
                    let ours = skip(&case);
                    let lenient = theirs.as_ref().err().is_some_and(|error| {
                        let error = error.to_string();
                        error.contains("surrogate")
                            || error.contains("end of hex escape")
                            || error.contains("out of range")
                    });
                    assert!(
                        ours.is_ok() == theirs.is_ok() || (lenient && ours.is_ok()),
                        "{text:?}: {ours:?} {theirs:?}"
                    );
                    refused += usize::from(ours.is_err());
                }
            }
        }
        assert!(refused > 1000, "{refused}");
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| format!("{}0{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(skip(nested(128).as_bytes()), Ok(()));
            assert_eq!(skip(nested(129).as_bytes()).expect_err("deep").why, Why::TooDeep);
            assert_eq!(skip(nested(100_000).as_bytes()).expect_err("deep").why, Why::TooDeep);
        }
    }

    #[test]
    fn plain_text_ends_at_the_first_special_byte() {
        for byte in 0..=255_u8 {
            for at in 0..20 {
                let mut text = [b'x'; 20];
                text[at] = byte;
                let expected = if matches!(byte, b'"' | b'\\' | 0..0x20) { at } else { 20 };
                assert_eq!(plain(&text, 0), expected, "{byte} at {at}");
                text[19] = b'"';
                assert_eq!(plain(&text, 0), expected.min(19));
            }
        }
    }

    #[test]
    fn quoted_text_reads_back() {
        let all: String = (0..0x250_u32).chain([0x1F600]).filter_map(char::from_u32).collect();
        let mut quoted = Vec::new();
        quote(all.as_bytes(), &mut quoted);
        assert_eq!(serde_json::from_slice::<String>(&quoted).expect("JSON"), all);
        assert_eq!(skip(&quoted), Ok(()));
        let mut again = Vec::new();
        unescape(&quoted[1..quoted.len() - 1], &mut again).expect("sound");
        assert_eq!(again, all.as_bytes());
        for half in ["\\ud800", "\\ud800x", "\\udc00", "\\ud800\\u0041", "\\ud800\\n"] {
            assert_eq!(unescape(half.as_bytes(), &mut Vec::new()), Err(()), "{half}");
        }
    }
}
