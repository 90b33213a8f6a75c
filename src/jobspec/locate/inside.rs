//! Undoes what a spelling does to a text (quotes, escapes, folded lines), remembering where each byte stood.

use crate::jobspec::Format;

/// The text that `raw` spells, and for each of its bytes, and its end, the byte in `raw`. `None` where `raw`
/// is not text or is spelt in a way not known here.
pub(super) fn decode(raw: &str, format: Format) -> Option<(String, Vec<usize>)> {
    let mut out = Out::default();
    match format {
        Format::Toml => toml(raw, &mut out)?,
        Format::Yaml => yaml(raw, &mut out)?,
    }
    Some((out.text, out.offsets))
}

/// What has been decoded so far.
#[derive(Default)]
struct Out {
    text: String,
    offsets: Vec<usize>,
}

impl Out {
    fn push(&mut self, c: char, at: usize) {
        self.text.push(c);
        // The bytes of a character that is spelt as itself have places of their own, but nobody points
        // between them.
        self.offsets.extend(std::iter::repeat_n(at, c.len_utf8()));
    }

    fn end(&mut self, at: usize) {
        self.offsets.push(at);
    }

    /// Takes back white space at the end, which a line break swallows.
    fn trim(&mut self, floor: usize) {
        while self.text.len() > floor && self.text.ends_with([' ', '\t']) {
            self.text.pop();
            self.offsets.pop();
        }
    }
}

fn toml(raw: &str, out: &mut Out) -> Option<()> {
    for quotes in ["\"\"\"", "'''"] {
        if let Some(inner) = raw.strip_prefix(quotes).and_then(|rest| rest.strip_suffix(quotes)) {
            let line_end = if inner.starts_with("\r\n") { 2 } else { usize::from(inner.starts_with('\n')) };
            let (start, end) = (quotes.len() + line_end, raw.len() - quotes.len());
            return escaped(raw, start, end, quotes == "\"\"\"", out);
        }
    }
    match raw.as_bytes() {
        [b'"', .., b'"'] => escaped(raw, 1, raw.len() - 1, true, out),
        [b'\'', .., b'\''] => escaped(raw, 1, raw.len() - 1, false, out),
        // An override that is not quoted: text as it stands.
        _ => escaped(raw, 0, raw.len(), false, out),
    }
}

/// The characters of `raw[start..end]`, with TOML's escapes where `escapes`.
fn escaped(raw: &str, start: usize, end: usize, escapes: bool, out: &mut Out) -> Option<()> {
    let mut at = start;
    while at < end {
        let c = raw[at..end].chars().next()?;
        if c != '\\' || !escapes {
            out.push(c, at);
            at += c.len_utf8();
            continue;
        }
        let after = &raw[at + 1..end];
        let rest = after.trim_start_matches([' ', '\t']);
        if rest.starts_with(['\n', '\r']) {
            // A backslash at the end of a line swallows all white space up to the next character.
            at = end - after.trim_start_matches([' ', '\t', '\n', '\r']).len();
        } else {
            let (c, length) = escape(after)?;
            out.push(c, at);
            at += 1 + length;
        }
    }
    out.end(end);
    Some(())
}

/// What stands for a character after a backslash, in either spelling, and its length.
fn escape(after: &str) -> Option<(char, usize)> {
    let code = |digits: usize| {
        let number = u32::from_str_radix(after.get(1..1 + digits)?, 16).ok()?;
        Some((char::from_u32(number)?, 1 + digits))
    };
    let plain = match after.chars().next()? {
        'x' => return code(2),
        'u' => return code(4),
        'U' => return code(8),
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        c @ ('"' | '\\' | '/' | ' ') => c,
        _ => return None,
    };
    Some((plain, 1))
}

fn yaml(raw: &str, out: &mut Out) -> Option<()> {
    match raw.as_bytes() {
        [b'"', .., b'"'] => flow(raw, 1, raw.len() - 1, Quote::Double, out),
        [b'\'', .., b'\''] => flow(raw, 1, raw.len() - 1, Quote::Single, out),
        [b'|' | b'>', ..] => block(raw, out),
        _ => flow(raw, 0, raw.trim_end().len(), Quote::None, out),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Quote {
    None,
    Single,
    Double,
}

/// A scalar in or without quotes: line breaks are folded.
fn flow(raw: &str, start: usize, end: usize, quote: Quote, out: &mut Out) -> Option<()> {
    let mut at = start;
    // White space that an escape spelt is not swallowed by a line break.
    let mut floor = 0;
    while at < end {
        let rest = &raw[at..end];
        let c = rest.chars().next()?;
        match c {
            '\'' if quote == Quote::Single && rest.starts_with("''") => {
                out.push(c, at);
                at += 2;
            }
            '\\' if quote == Quote::Double => {
                let after = &rest[1..];
                if after.starts_with(['\n', '\r']) {
                    at = end - after.trim_start().len();
                } else {
                    let (c, length) = escape(after)?;
                    out.push(c, at);
                    at += 1 + length;
                }
                floor = out.text.len();
            }
            '\n' | '\r' => {
                out.trim(floor);
                let next = rest.trim_start();
                let breaks = rest[..rest.len() - next.len()].matches('\n').count();
                match breaks {
                    0 | 1 => out.push(' ', at),
                    more => (1..more).for_each(|_| out.push('\n', at)),
                }
                at = end - next.len();
            }
            _ => {
                out.push(c, at);
                at += c.len_utf8();
            }
        }
    }
    out.end(end);
    Some(())
}

/// A block scalar; of the folded ones, those whose lines are all at one depth.
fn block(raw: &str, out: &mut Out) -> Option<()> {
    let folded = raw.starts_with('>');
    let header = raw.find('\n')?;
    let chomp = raw[1..header].chars().find(|c| matches!(c, '-' | '+'));
    let mut at = header + 1;
    let body = &raw[at..];
    let first = body.lines().find(|line| !line.trim().is_empty())?;
    let indent = first.len() - first.trim_start_matches(' ').len();
    let mut last_content = (0, at);
    for line in body.split_inclusive('\n') {
        let text = line.trim_end_matches(['\n', '\r']);
        let skip = indent.min(text.len() - text.trim_start_matches(' ').len());
        let content = &text[skip..];
        if folded && !content.is_empty() && out.text.ends_with('\n') {
            fold(out, content)?;
        }
        content.char_indices().for_each(|(i, c)| out.push(c, at + skip + i));
        if !content.is_empty() {
            last_content = (out.text.len(), at + text.len());
        }
        if line.ends_with('\n') {
            out.push('\n', at + text.len());
        }
        at += line.len();
    }
    if chomp != Some('+') {
        let (length, end) = last_content;
        let keep = length + usize::from(chomp.is_none() && out.text.len() > length);
        out.text.truncate(keep);
        out.offsets.truncate(keep);
        at = end;
    }
    out.end(at);
    Some(())
}

/// One line break before a line becomes a space, of several the first vanishes.
fn fold(out: &mut Out, content: &str) -> Option<()> {
    if content.starts_with([' ', '\t']) {
        return None;
    }
    let breaks = out.text.len() - out.text.trim_end_matches('\n').len();
    if breaks == out.text.len() {
        return Some(());
    }
    let at = out.offsets.pop();
    out.text.pop();
    if breaks == 1 {
        out.push(' ', at?);
    }
    Some(())
}
