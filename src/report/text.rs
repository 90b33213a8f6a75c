//! Text as people read it: numbers, sizes, times, and what data may hold that must not reach a terminal.

use std::{borrow::Cow, time::Duration};

/// The text with everything escaped that would move the cursor, change colours or turn the order of letters around:
/// data, and the names of files, may hold it. Line ends stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| (c.is_control() && c != '\n') || is_directional(c);
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    Cow::Owned(clean)
}

/// The same for a cell or a name: line ends are escaped too.
pub fn printable_line(text: &str) -> Cow<'_, str> {
    match printable(text) {
        clean if clean.contains('\n') => Cow::Owned(clean.replace('\n', "\\n")),
        clean => clean,
    }
}

/// Does it make text run the other way, whatever the letters?
fn is_directional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A number with commas between groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 split`, `2 splits`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{} {what}{}", grouped(count as u64), if count == 1 { "" } else { "s" })
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = |n: u64| (64 - n.leading_zeros()).saturating_sub(1) / 10;
    let unit = step(bytes).min(4);
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{:.1} {}", bytes as f64 / (1_u64 << (10 * unit)) as f64, UNITS[unit as usize]),
    }
}

/// A time as on a clock: `0:07`, `12:30`, `3:00:00`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        cases.iter().for_each(|(number, text)| assert_eq!(grouped(*number), *text));
    }

    #[test]
    fn sizes_have_units() {
        let cases = [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")];
        cases.iter().for_each(|(bytes, text)| assert_eq!(size(*bytes), *text));
    }

    #[test]
    fn times_are_those_of_a_clock() {
        let cases = [(0, "0:00"), (59, "0:59"), (750, "12:30"), (10_800, "3:00:00")];
        cases.iter().for_each(|(seconds, text)| assert_eq!(clock(Duration::from_secs(*seconds)), *text));
    }

    #[test]
    fn nothing_reaches_a_terminal_that_it_would_obey() {
        let cases = [
            ("plain ü 映", "plain ü 映"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("bell\x07, back\r, del\x7f, C1 \u{9b}31m", "bell\\u{7}, back\\r, del\\u{7f}, C1 \\u{9b}31m"),
            ("turned \u{202e}txt.exe", "turned \\u{202e}txt.exe"),
            ("two\nlines", "two\nlines"),
        ];
        cases.iter().for_each(|(text, shown)| assert_eq!(printable(text), *shown));
        assert_eq!(printable_line("two\nlines\t"), "two\\nlines\\t");
    }
}
