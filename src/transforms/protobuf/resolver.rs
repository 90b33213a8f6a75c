//! Finds the files that a `.proto` file imports, and mends three things that the compiler does not take.
//!
//! It sees what an import imports publicly, but not what that imports publicly in turn: such files are imported by one
//! more line. It takes no `inf` or `nan` as an option, and no options of `extensions` with a single number: a number
//! stands for the one, blanks for the other, because neither has a part in how a message is written.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use protox::{
    Error,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver},
};

/// Looks for files in folders, and for the standard ones in the program itself.
pub(super) struct Resolver {
    files: ChainFileResolver,
    folders: Vec<PathBuf>,
    /// What the files seen so far import publicly, by name.
    public: RefCell<HashMap<String, Vec<String>>>,
}

impl Resolver {
    pub(super) fn new(folders: &[PathBuf]) -> Self {
        let mut files = ChainFileResolver::new();
        folders.iter().for_each(|folder| files.add(IncludeFileResolver::new(folder.clone())));
        files.add(GoogleFileResolver::new());
        Resolver { files, folders: folders.to_vec(), public: RefCell::default() }
    }

    /// The file of that name, as it is or mended.
    fn open(&self, name: &str) -> Result<File, Error> {
        let opened = self.files.open_file(name);
        let text = match &opened {
            Ok(file) => file.source().map(str::to_owned),
            Err(error) if error.is_parse() => self.text(name),
            Err(_) => None,
        };
        let Some(text) = text else { return opened };
        let mended = mended(&text);
        if mended == text { opened } else { File::from_source(name, &mended) }
    }

    fn text(&self, name: &str) -> Option<String> {
        let path = self.folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())?;
        fs::read_to_string(path).ok()
    }

    /// What the file of that name imports publicly; nothing where it cannot be read, which the compiler finds too.
    fn public(&self, name: &str) -> Vec<String> {
        if let Some(known) = self.public.borrow().get(name) {
            return known.clone();
        }
        let public = self.open(name).map(|file| public(&file)).unwrap_or_default();
        self.public.borrow_mut().insert(name.to_owned(), public.clone());
        public
    }

    /// The files that `file` sees by more than one public import behind one of its own.
    fn farther(&self, file: &File) -> Vec<String> {
        let direct = &file.file_descriptor_proto().dependency;
        let mut seen: HashSet<String> = direct.iter().cloned().collect();
        seen.insert(file.name().to_owned());
        let mut farther = Vec::new();
        let mut open: Vec<(String, usize)> = direct.iter().map(|name| (name.clone(), 0)).collect();
        while let Some((name, steps)) = open.pop() {
            for public in self.public(&name) {
                if seen.insert(public.clone()) {
                    if steps > 0 {
                        farther.push(public.clone());
                    }
                    open.push((public, steps + 1));
                }
            }
        }
        farther
    }
}

impl FileResolver for Resolver {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        self.files.resolve_path(path)
    }

    fn open_file(&self, name: &str) -> Result<File, Error> {
        let file = self.open(name)?;
        let farther = self.farther(&file);
        let Some(text) = file.source().filter(|_| !farther.is_empty()) else { return Ok(file) };
        // Behind the text, so that its places stay.
        let mut text = text.to_owned();
        for name in farther {
            let _always_ok = write!(text, "\nimport \"{name}\";");
        }
        File::from_source(name, &text)
    }
}

fn public(file: &File) -> Vec<String> {
    let described = file.file_descriptor_proto();
    let places = described.public_dependency.iter().filter_map(|place| usize::try_from(*place).ok());
    places.filter_map(|place| described.dependency.get(place).cloned()).collect()
}

/// The text with what the compiler does not take replaced by as much that it does; comments and strings stay.
fn mended(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut taken = first.len_utf8();
        let mut instead = None;
        match first {
            '/' if rest.starts_with("//") => taken = rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => taken = rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' | '\'' => taken = string_end(rest, first),
            '=' if !mended.trim_end().ends_with("default") => {
                if let Some(end) = endless(&rest[1..]) {
                    taken += end;
                    let before = &rest[..taken - NUMBER.len()];
                    instead = Some(before.replace('-', " ") + NUMBER);
                }
            }
            c if is_word(c) => {
                taken = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                if &rest[..taken] == "extensions"
                    && let Some((start, end)) = options(&rest[taken..])
                {
                    let (ranges, options) = rest[..taken + end].split_at(taken + start);
                    let blank = |c: char| if c == '\n' { "\n".to_owned() } else { " ".repeat(c.len_utf8()) };
                    instead = Some(ranges.to_owned() + &options.chars().map(blank).collect::<String>());
                    taken += end;
                }
            }
            _ => {}
        }
        mended.push_str(instead.as_deref().unwrap_or(&rest[..taken]));
        rest = &rest[taken..];
    }
    mended
}

/// Stands for `inf` and `nan`: as long as they are.
const NUMBER: &str = "1e9";

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `inf` or `nan` ends that `text` begins with, signs and blanks before it included.
fn endless(text: &str) -> Option<usize> {
    let word = text.trim_start();
    let word = word.strip_prefix('-').unwrap_or(word).trim_start();
    let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
    matches!(&word[..end], "inf" | "nan").then(|| text.len() - word.len() + end)
}

/// From where to where options stand behind the ranges of `extensions` that `text` begins with.
fn options(text: &str) -> Option<(usize, usize)> {
    let ranges = text.find(|c: char| !c.is_alphanumeric() && !c.is_whitespace() && c != ',')?;
    let is_numbered = text.trim_start().starts_with(|c: char| c.is_ascii_digit());
    if !is_numbered || !text[ranges..].starts_with('[') {
        return None;
    }
    let mut at = ranges;
    let mut depth = 0_usize;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '"' | '\'' => at += string_end(&text[at..], c) - 1,
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += c.len_utf8();
        if depth == 0 {
            return Some((ranges, at));
        }
    }
    None
}

/// Where the string ends that `text` begins with.
fn string_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_is_replaced_by_as_much_that_is() {
        let cases = [
            ("option (f) = -inf;", "option (f) =  1e9;"),
            ("[(f) = - nan, (g) = -1, default = -inf]", "[(f) =   1e9, (g) = -1, default = -inf]"),
            ("(f)=inf", "(f)=1e9"),
            (
                "// =-inf\n/* =-inf */ \"=-inf \\\" =-inf\" '= inf'",
                "// =-inf\n/* =-inf */ \"=-inf \\\" =-inf\" '= inf'",
            ),
            ("= -info = infinity = inf_ float inf = 1", "= -info = infinity = inf_ float inf = 1"),
            ("extensions 5 [a = {b: \"]\",\nc: []}];", "extensions 5              \n       ;"),
            ("extensions 5, 7 to max[a = 1] ;", "extensions 5, 7 to max        ;"),
            (
                "repeated E extensions = 5 [a = 1]; my_extensions 5 [",
                "repeated E extensions = 5 [a = 1]; my_extensions 5 [",
            ),
            ("extensions 5 [", "extensions 5 ["),
            ("\"open = -inf", "\"open = -inf"),
            ("= -", "= -"),
            ("ü = -inf ü", "ü =  1e9 ü"),
        ];
        for (text, expected) in cases {
            assert_eq!(mended(text), expected);
            assert_eq!(text.len(), expected.len());
        }
    }
}
