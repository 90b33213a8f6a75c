//! SQL scalar expressions: parsed once, bound and typed against a schema when the spec is compiled,
//! evaluated on whole batches.
//!
//! ```text
//! text ──parse──▶ syntax tree ──bind──▶ typed tree (Node) ──evaluate(batch)──▶ column
//! ```
//!
//! The SQL is DuckDB's, with three differences that a batch job wants: text and numbers are never compared
//! silently; overflow and division by zero are errors of their row; `int8` names the 8-bit integer, as in a
//! job's column types.

mod aggregate;
mod arithmetic;
mod bind;
mod cast;
mod choose;
pub mod clock;
mod common;
mod compare;
mod elsewhere;
mod evaluate;
mod functions;
mod like;
mod lists;
mod node;
mod parse;
mod places;
mod quoted;
mod regexp;
mod set;
#[cfg(test)]
mod tests;
mod text;
mod types;
mod value;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, cast::AsArray};

pub use aggregate::{Aggregate, AggregateCall, compile_aggregate};

use crate::batch::{Batch, ColumnType, ExprMark, Schema};

use node::Node;

/// What is wrong with an expression: bytes `start..end` of its text, a sentence, a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Lower case, names in backticks, no full stop.
    pub message: String,
    /// The nearest legal name, or what would be right.
    pub help: Option<String>,
}

/// A bound expression. Immutable: many workers may evaluate it at once.
///
/// A copy is known as the same expression: what was computed of one need not be computed of the other.
#[derive(Clone, Debug)]
pub struct Expr {
    node: Node,
    columns: Box<[usize]>,
    mark: ExprMark,
}

/// Parses `text` and binds it to `schema`. All errors at once.
///
/// # Errors
/// Syntax errors stop at the first; of a text that parses, every error is listed in the order of the text.
pub fn compile(text: &str, schema: &Schema) -> Result<Expr, Vec<ExprError>> {
    let (tree, places) = parse::parse(text).map_err(|error| vec![*error])?;
    let node = bind::bind(&tree, &places, schema)?;
    Ok(Expr::new(node))
}

/// The rows for which a boolean expression is true: null counts as false, and so does a row that failed,
/// which is listed in `errors`. The answer has no nulls.
///
/// The expression's type must be `bool`; for any other the answer is false throughout.
pub fn predicate(expr: &Expr, batch: &Batch, errors: &mut Vec<RowError>) -> BooleanArray {
    let answer = expr.evaluate(batch, errors);
    let Some(answer) = answer.as_boolean_opt() else {
        return BooleanArray::from(vec![false; batch.rows()]);
    };
    match answer.nulls() {
        Some(valid) => BooleanArray::new(answer.values() & valid.inner(), None),
        None => answer.clone(),
    }
}

impl Expr {
    fn new(node: Node) -> Expr {
        let columns = node.columns().into_boxed_slice();
        Expr { node, columns, mark: ExprMark::default() }
    }

    /// The type of its value.
    pub fn column_type(&self) -> &ColumnType {
        &self.node.column_type
    }

    /// Can its value be null? Rows that fail are null in any case.
    pub fn nullable(&self) -> bool {
        self.node.nullable
    }

    /// The input columns that it reads, by their place in the schema, ascending.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Its value for every row of `batch`. A row on which evaluation fails (division by zero, overflow, bad
    /// cast) is null in the answer and is listed in `errors`, once, with the reason. Errors are in row order.
    ///
    /// The batch has the columns of the schema that the expression was bound to.
    pub fn evaluate(&self, batch: &Batch, errors: &mut Vec<RowError>) -> ArrayRef {
        match batch.computed(&self.mark) {
            Some(values) => Arc::clone(values),
            None => evaluate::evaluate(&self.node, &batch.records, errors),
        }
    }

    /// The batch with its value for every row, which whoever evaluates it on these rows from now on gets without
    /// computing it again; unless it failed on some, which are for the stage that it belongs to.
    pub fn compute(&self, batch: Batch) -> (Batch, ArrayRef) {
        let mut errors = Vec::new();
        let values = self.evaluate(&batch, &mut errors);
        let is_cheap = matches!(self.node.kind, node::Kind::Column(..));
        let batch = match is_cheap || !errors.is_empty() {
            true => batch,
            false => batch.with_computed(self.mark.clone(), Arc::clone(&values)),
        };
        (batch, values)
    }
}

impl std::fmt::Display for Expr {
    /// Canonical text: what was bound, with the casts that the types asked for.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.node.fmt(f)
    }
}

/// Evaluation failed on one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// The row's index in the batch.
    pub row: u32,
    /// Why.
    pub message: String,
}

impl ExprError {
    fn new(place: std::ops::Range<usize>, message: impl Into<String>, help: Option<String>) -> Self {
        ExprError { start: place.start, end: place.end, message: message.into(), help }
    }

    fn boxed(place: std::ops::Range<usize>, message: impl Into<String>, help: Option<String>) -> Box<Self> {
        Box::new(ExprError::new(place, message, help))
    }
}
