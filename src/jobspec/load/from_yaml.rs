//! YAML text to values and their places.
//!
//! A first pass over the events finds the places and refuses what the job language does not have (tags,
//! merge keys, several documents) or what would grow without bound (aliases, nesting). Only then is the
//! text given to the deserializer, which knows what a plain `1e3` or `yes` means.

use std::{collections::HashMap, ops::Range};

use indexmap::IndexMap;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{MAX_DEPTH, empty, stop, too_deep};
use crate::jobspec::{
    Problem, SpecLocation, Value,
    mark::{Children, Mark},
};

/// A spec may have this many values once every alias is replaced by what it stands for.
const MAX_VALUES: usize = 100_000;

/// Parses a whole spec, or says what is wrong with its syntax.
pub(super) fn parse(text: &str) -> Result<(Value, Mark), Vec<Problem>> {
    let mut scan = Scan::new(text);
    let marks = match scan.document() {
        Ok(marks) => marks,
        Err(problem) => {
            scan.problems.push(*problem);
            None
        }
    };
    if !scan.problems.is_empty() {
        return Err(scan.problems);
    }
    let Some(marks) = marks else { return Ok(empty()) };
    match serde_yaml::from_str::<Value>(text) {
        Ok(mut root) => {
            known(&mut root);
            Ok((root, marks))
        }
        Err(error) => {
            let at = error.location().map_or(0, |location| location.index()).min(text.len());
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or(&message);
            Err(vec![Problem::new("syntax", SpecLocation::Text(at..at), message)])
        }
    }
}

/// This deserializer has one word for null and for nothing known; in a text it is always null.
fn known(value: &mut Value) {
    match value {
        Value::Unknown => *value = Value::Null,
        Value::List(items) => items.iter_mut().for_each(known),
        Value::Table(table) => table.values_mut().for_each(known),
        _ => {}
    }
}

/// The first pass.
struct Scan<'t> {
    text: &'t str,
    /// The byte at which each character starts: the parser counts characters.
    bytes: Vec<usize>,
    parser: Parser<'t, StrInput<'t>>,
    /// What each finished anchor stands for.
    anchors: HashMap<usize, Extent>,
    /// Where the brackets that are not closed yet stand.
    open: Vec<usize>,
    /// Values so far, aliases replaced.
    values: usize,
    problems: Vec<Problem>,
}

/// How much an alias stands for.
#[derive(Clone, Copy, Default)]
struct Extent {
    values: usize,
    depth: usize,
}

impl Extent {
    fn add(&mut self, child: Extent) {
        self.values = self.values.saturating_add(child.values);
        self.depth = self.depth.max(child.depth + 1);
    }
}

type Found<'t> = (Event<'t>, Range<usize>);

impl<'t> Scan<'t> {
    fn new(text: &'t str) -> Self {
        let bytes = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let parser = Parser::new_from_str(text);
        Scan { text, bytes, parser, anchors: HashMap::new(), open: Vec::new(), values: 0, problems: Vec::new() }
    }

    /// The marks of the only document; `None` where the text is empty.
    fn document(&mut self) -> Result<Option<Mark>, Box<Problem>> {
        let mut marks = None;
        loop {
            let (event, range) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(marks),
                Event::DocumentStart(_) if marks.is_some() => {
                    return Err(stop("syntax", range, "a job spec is one YAML document"));
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                node => marks = Some(self.node((node, range), 1)?.0),
            }
        }
    }

    fn next(&mut self) -> Result<Found<'t>, Box<Problem>> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let range = self.range(span);
                Ok((event, range))
            }
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, self.text.len()..self.text.len())),
        }
    }

    fn node(&mut self, (event, range): Found<'t>, depth: usize) -> Result<(Mark, Extent), Box<Problem>> {
        if depth > MAX_DEPTH {
            return Err(too_deep(range));
        }
        let mut extent = Extent { values: 1, depth: 1 };
        let (mark, anchor) = match event {
            Event::Alias(id) => return self.alias(id, range, depth),
            Event::Scalar(_, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), &range);
                let range = self.with_header(range, style);
                (Mark { key: None, value: range, children: Children::None }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), &range);
                (self.sequence(range, depth, &mut extent)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), &range);
                (self.mapping(range, depth, &mut extent)?, anchor)
            }
            _ => return Err(stop("syntax", range, "a value was expected here")),
        };
        self.count(1, &mark.value)?;
        if anchor != 0 {
            self.anchors.insert(anchor, extent);
        }
        Ok((mark, extent))
    }

    fn alias(&mut self, id: usize, range: Range<usize>, depth: usize) -> Result<(Mark, Extent), Box<Problem>> {
        let Some(&extent) = self.anchors.get(&id) else {
            return Err(stop("alias", range, "an alias cannot stand inside what it stands for"));
        };
        if depth + extent.depth > MAX_DEPTH {
            return Err(too_deep(range));
        }
        self.count(extent.values, &range)?;
        Ok((Mark { key: None, value: range, children: Children::None }, extent))
    }

    fn sequence(&mut self, start: Range<usize>, depth: usize, extent: &mut Extent) -> Result<Mark, Box<Problem>> {
        let mut items = Vec::new();
        self.open(&start);
        loop {
            let (event, range) = self.next()?;
            if event == Event::SequenceEnd {
                self.close(&start);
                let value = self.collection(start, range, items.last());
                return Ok(Mark { key: None, value, children: Children::List(items) });
            }
            let (mark, child) = self.node((event, range), depth + 1)?;
            extent.add(child);
            items.push(mark);
        }
    }

    fn mapping(&mut self, start: Range<usize>, depth: usize, extent: &mut Extent) -> Result<Mark, Box<Problem>> {
        let mut entries: IndexMap<String, Mark> = IndexMap::new();
        self.open(&start);
        loop {
            let (event, key) = self.next()?;
            let name = match event {
                Event::MappingEnd => {
                    self.close(&start);
                    let value = self.collection(start, key, entries.last().map(|(_, mark)| mark));
                    return Ok(Mark { key: None, value, children: Children::Table(entries) });
                }
                Event::Scalar(name, _, 0, tag) => {
                    self.refuse_tag(tag.as_deref(), &key);
                    name.into_owned()
                }
                _ => return Err(stop("syntax", key, "a key must be written out as text")),
            };
            self.check_key(&name, &key, entries.get(&name));
            let value = self.next()?;
            let (mark, child) = self.node(value, depth + 1)?;
            extent.add(child);
            entries.insert(name, Mark { key: Some(key), ..mark });
        }
    }

    /// A block scalar is said to start with its first line; its `|` or `>` belongs to it too.
    fn with_header(&self, range: Range<usize>, style: ScalarStyle) -> Range<usize> {
        let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let header = self.text.get(..range.start).filter(|_| block).and_then(|before| before.rfind(['|', '>']));
        header.unwrap_or(range.start)..range.end
    }

    fn check_key(&mut self, name: &str, key: &Range<usize>, first: Option<&Mark>) {
        if let Some(Mark { key: Some(first), .. }) = first {
            let line = self.text.get(..first.start).map_or(0, |before| before.matches('\n').count()) + 1;
            let problem =
                Problem::new("duplicate-key", SpecLocation::Text(key.clone()), format!("`{name}` is already set"));
            self.problems.push(problem.help(Some(format!("it was set first on line {line}"))));
        }
        if name == "<<" {
            let help = Some("write the keys out, or put the whole table behind an alias".to_owned());
            let problem = Problem::new("merge-key", SpecLocation::Text(key.clone()), "merge keys are not supported");
            self.problems.push(problem.help(help));
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, range: &Range<usize>) {
        if let Some(tag) = tag {
            let message = format!("tags are not supported: `{tag}`");
            let problem = Problem::new("tag", SpecLocation::Text(self.word(range.start)), message);
            self.problems.push(problem.help(Some("put text that begins with `!` in quotes".to_owned())));
        }
    }

    fn count(&mut self, values: usize, range: &Range<usize>) -> Result<(), Box<Problem>> {
        self.values = self.values.saturating_add(values);
        if self.values <= MAX_VALUES {
            return Ok(());
        }
        let message = format!("with every alias replaced, a spec may have {MAX_VALUES} values at most");
        Err(stop("alias", range.clone(), message))
    }

    /// A collection in brackets ends at the bracket; one in lines ends with its last value.
    fn collection(&self, start: Range<usize>, end: Range<usize>, last: Option<&Mark>) -> Range<usize> {
        match last {
            Some(mark) if !self.bracketed(&start) => start.start..mark.value.end.max(start.start),
            _ => start.start..end.end.max(start.start),
        }
    }

    fn bracketed(&self, start: &Range<usize>) -> bool {
        self.text.get(start.start..).is_some_and(|text| text.starts_with(['{', '[']))
    }

    fn open(&mut self, start: &Range<usize>) {
        if self.bracketed(start) {
            self.open.push(start.start);
        }
    }

    fn close(&mut self, start: &Range<usize>) {
        if self.bracketed(start) {
            self.open.pop();
        }
    }

    /// What stands at `at`, up to the next space, comma or bracket.
    fn word(&self, at: usize) -> Range<usize> {
        let rest = self.text.get(at..).unwrap_or_default();
        at..at + rest.find(|c: char| c.is_whitespace() || ",]}".contains(c)).unwrap_or(rest.len())
    }

    fn range(&self, span: Span) -> Range<usize> {
        let byte = |index: usize| self.bytes.get(index).copied().unwrap_or(self.text.len());
        let start = byte(span.start.index());
        start..byte(span.end.index()).max(start)
    }

    /// The parser's own words, but for the mistakes that people make most.
    fn syntax(&self, error: &ScanError) -> Box<Problem> {
        let at = self.range(Span::empty(*error.marker()));
        let info = error.info().to_lowercase();
        if info.contains("tab")
            && let Some(tab) = self.tab(at.start)
        {
            return stop("syntax", tab, "a tab cannot indent a line: YAML takes spaces");
        }
        let (message, range, help) = match info.as_str() {
            unknown if unknown.contains("unknown anchor") => (
                format!("there is no anchor for `{}`", &self.text[self.word(at.start)]),
                self.word(at.start),
                "put text that begins with `*` or `&` in quotes".to_owned(),
            ),
            _ if let Some(open) = self.open.last() => {
                let line = self.text.get(..*open).map_or(0, |before| before.matches('\n').count()) + 1;
                (info, at, format!("is the bracket that opens on line {line} closed?"))
            }
            "mapping values are not allowed in this context" if let Some((line, above)) = self.deeper(at.start) => (
                format!("line {line} is indented deeper than line {above}"),
                at,
                "the keys of one table stand below each other".to_owned(),
            ),
            "mapping values are not allowed in this context" => {
                ("a second `: ` on one line".to_owned(), at, "put text that has `: ` in it in quotes".to_owned())
            }
            keyless if keyless.ends_with("did not find expected key") => {
                ("expected a key".to_owned(), at, "the keys of one table stand below each other".to_owned())
            }
            _ => return stop("syntax", at, info),
        };
        Box::new(stop("syntax", range, message).help(Some(help)))
    }

    /// The line of the colon at `at` and the line above it, from 1, where that has a value already and this one is
    /// indented deeper all the same.
    fn deeper(&self, at: usize) -> Option<(usize, usize)> {
        let start = self.text.get(..at)?.rfind('\n')? + 1;
        let (before, indent) = (&self.text[start..at], |line: &str| line.len() - line.trim_start().len());
        let lines = self.text[..start].lines().enumerate();
        let (number, above) = lines.filter(|(_, line)| !line.trim().is_empty()).last()?;
        let deeper = indent(before) > indent(above) && above.contains(": ") && !before.contains(": ");
        deeper.then(|| (self.text[..start].matches('\n').count() + 1, number + 1))
    }

    /// The first tab that indents a line, from the line of `at` on.
    fn tab(&self, at: usize) -> Option<Range<usize>> {
        let mut start = self.text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
        for line in self.text[start..].split_inclusive('\n') {
            let indent = &line[..line.len() - line.trim_start().len()];
            if let Some(tab) = indent.find('\t') {
                return Some(start + tab..start + tab + 1);
            }
            start += line.len();
        }
        None
    }
}
