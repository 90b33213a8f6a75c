//! Rows on which an expression failed are rejects; the others go on.

use crate::{
    batch::{Batch, RejectCode, Rejects},
    expr::RowError,
};

/// Rejects the rows on which an expression failed, each for its first error; the rows that are left.
pub(super) fn refuse(batch: &Batch, mut errors: Vec<RowError>, rejects: &mut Rejects) -> Vec<u32> {
    // Of one row the error of the first expression stays: the sort is stable.
    errors.sort_by_key(|error| error.row);
    errors.dedup_by_key(|error| error.row);
    let mut failed = errors.iter().map(|error| error.row).peekable();
    let kept = (0..batch.rows() as u32).filter(|row| failed.next_if_eq(row).is_none()).collect();
    for error in errors {
        rejects.push(batch, error.row as usize, RejectCode("expression"), error.message);
    }
    kept
}
