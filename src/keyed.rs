//! What the kinds share that see a row as a key with something under it (`memcached`, `kv`, `changelog`): the
//! values of their expressions for a batch, and the rows that are refused before anything is done with them.

use std::collections::BTreeSet;

use arrow_array::{Array, ArrayRef, BinaryViewArray, StringViewArray, cast::AsArray};

use crate::{
    batch::{Batch, RejectCode, Rejects},
    expr::{Expr, RowError},
    failure::{Exit, Failure},
    values::hex,
};

/// Why a row is refused: in a word and in a sentence.
pub(crate) type Refusal = (RejectCode, String);

/// The key of a row; it is refused where the key is null.
pub(crate) fn key(keys: &StringViewArray, row: usize) -> Result<&str, Refusal> {
    match keys.is_null(row) {
        true => Err((RejectCode("no_key"), "the key is null".to_owned())),
        false => Ok(keys.value(row)),
    }
}

/// The value of a row; it is refused where the value is null.
pub(crate) fn value<'a>(values: Values<'a>, row: usize) -> Result<&'a [u8], Refusal> {
    values.get(row).ok_or_else(|| null("value"))
}

/// The refusal of a row of which `what` is null.
pub(crate) fn null(what: &str) -> Refusal {
    (RejectCode("null_value"), format!("`{what}` is null"))
}

/// The places of the columns that some expressions read, ascending.
pub(crate) fn columns<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> Vec<usize> {
    let places: BTreeSet<usize> = exprs.into_iter().flat_map(Expr::columns).copied().collect();
    places.into_iter().collect()
}

/// Evaluates a stage's expressions for one batch.
pub(crate) struct Evaluation<'a> {
    batch: &'a Batch,
    errors: Vec<RowError>,
}

impl<'a> Evaluation<'a> {
    /// Nothing is evaluated yet.
    pub(crate) fn of(batch: &'a Batch) -> Self {
        Evaluation { batch, errors: Vec::new() }
    }

    /// The value of an expression for every row.
    pub(crate) fn column(&mut self, expr: &Expr) -> ArrayRef {
        expr.evaluate(self.batch, &mut self.errors)
    }

    /// Refuses the rows of which an expression failed, each once, with the first error.
    pub(crate) fn refuse(mut self, rejects: &mut Rejects) -> Refused {
        self.errors.sort_by_key(|error| error.row);
        self.errors.dedup_by_key(|error| error.row);
        let rows = self.errors.iter().map(|error| error.row).collect();
        for RowError { row, message } in self.errors {
            rejects.push(self.batch, row as usize, RejectCode("expression"), message);
        }
        Refused(rows)
    }
}

/// The rows of a batch that are refused, ascending.
pub(crate) struct Refused(Vec<u32>);

impl Refused {
    /// Is the row refused?
    pub(crate) fn contains(&self, row: usize) -> bool {
        !self.0.is_empty() && self.0.binary_search(&(row as u32)).is_ok()
    }

    /// Judges every row of `batch` that is not refused yet.
    pub(crate) fn judge(&mut self, batch: &Batch, rejects: &mut Rejects, judge: impl Fn(usize) -> Result<(), Refusal>) {
        let mut more = Vec::new();
        for row in (0..batch.rows()).filter(|row| !self.contains(*row)) {
            if let Err((code, message)) = judge(row) {
                rejects.push(batch, row, code, message);
                more.push(row as u32);
            }
        }
        self.0.append(&mut more);
        self.0.sort_unstable();
    }
}

/// A column of strings, or of JSON.
///
/// # Errors
/// The expression was bound to another type: a bug.
pub(crate) fn text(array: &ArrayRef) -> Result<&StringViewArray, Failure> {
    let wrong = || Failure::new(Exit::Bug, format!("a string was compiled, {} came out", array.data_type()));
    array.as_string_view_opt().ok_or_else(wrong)
}

/// Values as they go to a server: bytes or text.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    /// Bytes
    Binary(&'a BinaryViewArray),
    /// Text
    Text(&'a StringViewArray),
}

impl<'a> Values<'a> {
    /// A column of bytes or strings.
    ///
    /// # Errors
    /// The expression was bound to another type: a bug.
    pub(crate) fn of(array: &'a ArrayRef) -> Result<Self, Failure> {
        match array.as_binary_view_opt() {
            Some(values) => Ok(Values::Binary(values)),
            None => text(array).map(Values::Text),
        }
    }

    /// The value of a row, unless it is null.
    pub(crate) fn get(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Values::Binary(array) => (!array.is_null(row)).then(|| array.value(row)),
            Values::Text(array) => (!array.is_null(row)).then(|| array.value(row).as_bytes()),
        }
    }

    /// A few bytes of a value for people.
    pub(crate) fn show(&self, value: &[u8]) -> String {
        let shown = &value[..value.len().min(16)];
        let more = if value.len() > shown.len() { "…" } else { "" };
        match self {
            Values::Binary(_) => hex::text(shown) + more,
            Values::Text(_) => format!("{:?}{more}", String::from_utf8_lossy(shown).trim_end_matches('\u{fffd}')),
        }
    }
}
