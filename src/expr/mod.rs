//! SQL scalar expressions: parsed once, bound and typed against a schema when the spec is compiled,
//! evaluated on whole batches with Arrow kernels.

use arrow_array::ArrayRef;

use crate::batch::{Batch, ColumnType, Schema};

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
#[derive(Debug)]
pub struct Expr {
    column_type: ColumnType,
}

/// Parses `text` and binds it to `schema`. All errors at once.
pub fn compile(_text: &str, _schema: &Schema) -> Result<Expr, Vec<ExprError>> {
    todo!()
}

impl Expr {
    /// The type of its value.
    pub fn column_type(&self) -> &ColumnType {
        &self.column_type
    }

    /// Can its value be null?
    pub fn nullable(&self) -> bool {
        todo!()
    }

    /// Its value for every row of `batch`. A row on which evaluation fails (division by zero, overflow, bad
    /// cast) is null in the answer and is listed in `errors`, once, with the reason.
    pub fn evaluate(&self, _batch: &Batch, _errors: &mut Vec<RowError>) -> ArrayRef {
        todo!()
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
/// predicate
pub fn predicate(_e: &Expr, _b: &Batch, _errors: &mut Vec<RowError>) -> arrow_array::BooleanArray { todo!() }
impl std::fmt::Display for Expr { fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { todo!() } }
