//! How large a batch may become in a transform that makes several rows of one. What it makes of a batch is passed on
//! as one batch, so that must fit into memory; how large it would be is known before it is made.

use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_schema::DataType;

use crate::{
    failure::{Exit, Failure},
    jobspec::Bytes,
};

/// A limit for batches.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    limit: usize,
}

/// The origin of a row, and its places in the columns that it is made of.
const ROW: usize = 12;

impl Growth {
    /// Batches of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Growth { limit }
    }

    /// May `before` rows become `rows` of so many bytes in all, besides what each row takes anyway?
    ///
    /// # Errors
    /// They may not: the sentence says what to change.
    pub(super) fn check(&self, before: usize, rows: usize, bytes: usize) -> Result<(), Failure> {
        // A batch that does not grow has been in memory as it is.
        let bytes = rows.saturating_mul(ROW).saturating_add(bytes);
        if rows <= before || bytes <= self.limit {
            return Ok(());
        }
        let (size, limit) = (Bytes::about(bytes as u64), Bytes::about(self.limit as u64));
        let message = format!(
            "a batch of {before} rows would become {rows} rows of {size}, `limits.memory` allows {limit}: give the job \
             more, or the source it reads a smaller `batch`"
        );
        Err(Failure::new(Exit::Unavailable, message))
    }
}

/// Bytes of a column of which row `row` is repeated `times(row)` times. Text is not copied: its rows are views.
pub(super) fn repeated(column: &ArrayRef, times: impl Fn(usize) -> usize) -> usize {
    match column.as_list_opt::<i32>() {
        Some(list) => {
            let item = width(list.values().data_type());
            let lengths = list.value_offsets().windows(2).map(|pair| (pair[1] - pair[0]) as usize);
            lengths.enumerate().fold(0_usize, |sum, (row, len)| {
                sum.saturating_add(times(row).saturating_mul(4_usize.saturating_add(len.saturating_mul(item))))
            })
        }
        None => {
            let rows = (0..column.len()).fold(0_usize, |sum, row| sum.saturating_add(times(row)));
            rows.saturating_mul(width(column.data_type()))
        }
    }
}

/// Bytes that one value takes in its column; of an item that is a list, as much as is known without looking.
pub(super) fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => 16,
        other => other.primitive_width().unwrap_or(4),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, ListArray, StringViewArray, types::Int64Type};

    use super::*;

    #[test]
    fn what_is_repeated_is_counted() {
        let lists = [Some(vec![Some(1); 3]), None, Some(vec![Some(2)])];
        let cases: [(ArrayRef, usize); 3] = [
            (Arc::new(Int64Array::from(vec![1, 2, 3])), (2 + 1) * 8),
            (Arc::new(StringViewArray::from(vec!["a", "b", "c"])), (2 + 1) * 16),
            (Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)), 2 * (4 + 24) + (4 + 8)),
        ];
        for (column, expected) in cases {
            assert_eq!(repeated(&column, |row| [2, 0, 1][row]), expected, "{:?}", column.data_type());
        }
    }

    #[test]
    fn only_a_batch_that_grows_can_be_too_large() {
        let growth = Growth::new(1000);
        assert!(growth.check(10, 10, 1 << 40).is_ok());
        assert!(growth.check(10, 11, 1000 - 11 * ROW).is_ok());
        let failure = growth.check(10, 11, 1001 - 11 * ROW).expect_err("one byte more");
        let message = "a batch of 10 rows would become 11 rows of 1001 B, `limits.memory` allows 1000 B: give the job \
                       more, or the source it reads a smaller `batch`";
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Unavailable, message));
        assert!(growth.check(10, usize::MAX, usize::MAX).is_err());
    }
}
