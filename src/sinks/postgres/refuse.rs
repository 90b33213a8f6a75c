//! Rows that are refused: those that cannot be sent at all, and the words for those that the server refuses.

use super::{
    super::table::{Layout, WriteMode},
    encode::Encoded,
};
use crate::{
    batch::{Batch, RejectCode},
    receipt::Refused,
    service::ServiceError,
};

/// The reasons for rejects.
pub(super) const CODES: &[RejectCode] = &[
    RejectCode("constraint"),
    RejectCode("bad_value"),
    RejectCode("refused"),
    RejectCode("unrepresentable"),
    RejectCode("null_value"),
];

/// The rows that can be sent at all.
pub(super) fn sound(layout: &Layout, batch: &Batch, encoded: &Encoded, refused: &mut Vec<Refused>) -> Vec<u32> {
    let mut unfit = encoded.unfit.iter().peekable();
    let mut rows = Vec::with_capacity(batch.rows());
    for row in 0..batch.rows() as u32 {
        let null =
            layout.conflict.iter().filter(|_| layout.mode != WriteMode::Insert).find(|&&at| encoded.is_null(at, row));
        if let Some((_, why)) = unfit.next_if(|(at, _)| *at == row) {
            refused.push((row, RejectCode("unrepresentable"), why.clone()));
        } else if let Some(&at) = null {
            let message = format!("`{}` is null, and `conflict` needs it", layout.columns[at].column.name);
            refused.push((row, RejectCode("null_value"), message));
        } else {
            rows.push(row);
        }
    }
    rows
}

/// The reason for a reject in a word.
pub(super) fn code(trouble: &ServiceError) -> RejectCode {
    RejectCode(match trouble.code.as_deref().and_then(|code| code.get(..2)) {
        Some("23" | "44") => "constraint",
        Some("22") => "bad_value",
        _ => "refused",
    })
}
