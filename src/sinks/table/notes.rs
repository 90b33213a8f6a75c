//! What `runner plan` says of a sink of a table.

use super::{Create, Layout, WriteMode};

/// Names as people read them.
pub(super) fn ticked<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Layout {
    /// What is written, and what comes back. `place` tells where the table is: ` of `a.db``.
    pub(in crate::sinks) fn notes(&self, place: &str) -> Vec<String> {
        let by = || ticked(self.conflicting().map(|written| written.column.name.as_str()));
        let verb = match self.mode {
            WriteMode::Insert => "insert into".to_owned(),
            WriteMode::Upsert => format!("upsert by {} into", by()),
            WriteMode::Ignore if self.conflict.is_empty() => "insert, unless it is there, into".to_owned(),
            WriteMode::Ignore => format!("insert, unless it is there by {}, into", by()),
        };
        let create = match self.create {
            Create::IfMissing => "made if missing",
            Create::Never => "which must be there",
            Create::Truncate => "emptied, or made if missing",
            Create::Replace => "made anew",
        };
        let columns = ticked(self.columns.iter().map(|written| written.column.name.as_str()));
        let mut notes = vec![format!("{verb} table `{}`{place}, {create}: {columns}", self.table)];
        if !self.returned.is_empty() {
            let returned = ticked(self.returned.iter().map(|returned| returned.column.name.as_str()));
            notes.push(format!("the database gives back {returned}"));
        }
        notes.extend(self.before.iter().map(|sql| format!("once before the first row: {sql}")));
        notes.extend(self.after.iter().map(|sql| format!("when everything is stored: {sql}")));
        if self.mode != WriteMode::Insert && !self.ordered {
            notes.push("`order = \"any\"`: of rows with equal keys any may come last".to_owned());
        }
        if self.receipts.is_none() {
            notes.push(
                "`receipts = \"none\"`: at least once; what was committed just before a kill is stored again"
                    .to_owned(),
            );
        }
        notes
    }
}
