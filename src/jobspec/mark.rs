//! Where each value stands in its text: a tree of byte ranges beside the tree of values.

use std::ops::Range;

use indexmap::IndexMap;

use super::{Path, Step};

/// The place of one value and of those within it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Mark {
    /// Its key; a list's items have none.
    pub(super) key: Option<Range<usize>>,
    /// Its value. For a TOML table with a header, the header; empty where nothing is written.
    pub(super) value: Range<usize>,
    /// The values within it.
    pub(super) children: Children,
}

/// One override, as typed, and where its parts stand in what was typed.
#[derive(Clone, Debug)]
pub(super) struct Override {
    pub(super) path: Path,
    /// As shown: `--set limits.rejects=5`.
    pub(super) text: String,
    /// The places of the path's steps in `text`.
    pub(super) steps: Vec<Range<usize>>,
    /// The place of the value in `text`, and of the values in it.
    pub(super) mark: Mark,
}

/// The values within a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Children {
    /// It is neither a table nor a list, or its inside is written elsewhere (a YAML alias).
    #[default]
    None,
    /// A table's entries.
    Table(IndexMap<String, Mark>),
    /// A list's items.
    List(Vec<Mark>),
}

impl Mark {
    /// Follows `steps` as far as the text goes: the mark reached, and how many steps led there.
    pub(super) fn walk(&self, steps: &[Step]) -> (&Mark, usize) {
        let mut mark = self;
        for (taken, step) in steps.iter().enumerate() {
            match mark.child(step) {
                Some(child) => mark = child,
                None => return (mark, taken),
            }
        }
        (mark, steps.len())
    }

    fn child(&self, step: &Step) -> Option<&Mark> {
        match (&self.children, step) {
            (Children::Table(entries), Step::Key(key)) => entries.get(key),
            (Children::List(items), Step::Index(index)) => items.get(*index),
            // One text may stand for a list of one.
            (Children::None, Step::Index(0)) => Some(self),
            _ => None,
        }
    }

    /// The same, `by` bytes further on: its text was cut out of a longer one.
    pub(super) fn shift(mut self, by: usize) -> Mark {
        let moved = |range: Range<usize>| range.start + by..range.end + by;
        self.key = self.key.map(moved);
        self.value = moved(self.value);
        self.children = match self.children {
            Children::None => Children::None,
            Children::Table(entries) => {
                Children::Table(entries.into_iter().map(|(key, mark)| (key, mark.shift(by))).collect())
            }
            Children::List(items) => Children::List(items.into_iter().map(|mark| mark.shift(by)).collect()),
        };
        self
    }
}
