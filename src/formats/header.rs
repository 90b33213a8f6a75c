//! The names at the head of a file of fields: which column each field fills.

use std::collections::HashMap;

use super::{Extra, Missing, Shape};
use crate::{
    batch::RejectCode,
    jobspec,
    values::fields::{FieldColumn, shown},
};

/// What the fields of a file's records are.
pub struct Header {
    /// For each field of a record the column it fills.
    pub fields: Vec<Option<usize>>,
    /// Columns that the file lacks, and that have no value there.
    pub absent: Vec<usize>,
    /// Has the last field no name, as where a separator stands at the end? Records may leave it out.
    pub open_end: bool,
}

impl Header {
    /// So many fields in the order of the columns.
    pub fn of(columns: usize) -> Self {
        Header { fields: (0..columns).map(Some).collect(), absent: Vec::new(), open_end: false }
    }

    /// The fields of a file whose header has these names.
    ///
    /// # Errors
    /// They do not fit the columns; the sentence says why.
    pub fn read(names: Vec<String>, columns: &[FieldColumn], shape: Shape) -> Result<Self, String> {
        let open_end = is_open_end(&names);
        let names = all_named(names);
        let places: HashMap<&str, usize> = columns.iter().enumerate().map(|(i, column)| (column.name(), i)).collect();
        let mut filled = vec![false; columns.len()];
        let mut fields = Vec::with_capacity(names.len());
        for (i, name) in names.iter().enumerate() {
            let column = places.get(name.as_str()).copied();
            match column {
                Some(column) if filled[column] => return Err(twice(name, i)),
                Some(column) => filled[column] = true,
                None if shape.extra == Extra::Reject && !(open_end && i + 1 == names.len()) => {
                    let name = shown(name.as_bytes());
                    return Err(format!(
                        "its header has a column `{name}` that was not there when the columns were inferred; declare \
                         `columns`, or set `extra = \"ignore\"` to pass over it"
                    ));
                }
                None => {}
            }
            fields.push(column);
        }
        let mut absent = Vec::new();
        for (i, column) in columns.iter().enumerate().filter(|(i, _)| !filled[*i]) {
            if shape.missing == Missing::Reject || !column.is_nullable() {
                return Err(lacks(&names, column, shape));
            }
            absent.push(i);
        }
        Ok(Header { fields, absent, open_end })
    }

    /// May a record have so many fields?
    pub fn has(&self, fields: usize) -> bool {
        fields == self.fields.len() || (self.open_end && fields + 1 == self.fields.len())
    }

    /// What is wrong with a value in the last field where that has no name.
    #[cold]
    pub fn beyond(&self, field: usize, text: &[u8], shape: Shape) -> Option<(RejectCode, String)> {
        if shape.extra == Extra::Ignore || field + 1 != self.fields.len() || text.is_empty() {
            return None;
        }
        let message = format!("field {} has a value, `{}`, but no name in the header", field + 1, shown(text));
        Some((RejectCode("unknown_field"), message))
    }
}

/// Does a header end with a separator? Then the last of its names is empty.
pub fn is_open_end(names: &[String]) -> bool {
    names.len() > 1 && names.last().is_some_and(String::is_empty)
}

/// Names for fields that have none, as the index that data frames write before the others: `column` and the field's
/// number. What follows a separator at the end is not a field.
pub fn all_named(mut names: Vec<String>) -> Vec<String> {
    let fields = names.len() - usize::from(is_open_end(&names));
    for (field, name) in names.iter_mut().take(fields).enumerate().filter(|(_, name)| name.is_empty()) {
        *name = format!("column{}", field + 1);
    }
    names
}

/// That a name is in a header twice, the second time at place `i`.
pub fn twice(name: &str, i: usize) -> String {
    format!("its header names `{}` twice, the second time in field {}", shown(name.as_bytes()), i + 1)
}

/// That a header lacks a column, and what may be meant.
fn lacks(names: &[String], column: &FieldColumn, shape: Shape) -> String {
    if shape.missing == Missing::Null {
        return format!("its header has no column `{}`, which is not nullable", column.name());
    }
    // What is not a header may be long.
    let help = jobspec::nearest(column.name(), names.iter().map(String::as_str)).filter(|help| help.len() < 500);
    let help = help.map_or(String::new(), |help| format!("; {}", help.replace("legal here", "it has")));
    format!("its header has no column `{}`{help}", column.name())
}
