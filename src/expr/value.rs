//! What evaluating a part of an expression gives, and where its row errors go.

use arrow_array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::DataType;
use arrow_select::take::take;

use super::RowError;

/// A column with a value per row, or one value that all rows share.
#[derive(Clone)]
pub(super) enum Value {
    /// One value per row.
    Column(ArrayRef),
    /// An array of length 1 that stands for every row.
    Constant(ArrayRef),
}

impl Value {
    /// The null of a type, for every row.
    pub(super) fn null(data_type: &DataType) -> Value {
        Value::Constant(new_null_array(data_type, 1))
    }

    /// The array behind it: of length 1 for a constant.
    pub(super) fn array(&self) -> &ArrayRef {
        match self {
            Value::Column(array) | Value::Constant(array) => array,
        }
    }

    pub(super) fn is_constant(&self) -> bool {
        matches!(self, Value::Constant(_))
    }

    /// Where in [`Value::array`] the value of row `row` stands.
    #[inline]
    pub(super) fn index(&self, row: usize) -> usize {
        if self.is_constant() { 0 } else { row }
    }

    /// Which of `rows` rows have a value; absent where all have.
    pub(super) fn nulls(&self, rows: usize) -> Option<NullBuffer> {
        match self {
            Value::Column(array) => array.nulls().filter(|nulls| nulls.null_count() > 0).cloned(),
            Value::Constant(array) => array.is_null(0).then(|| NullBuffer::new_null(rows)),
        }
    }

    /// A column of `rows` rows, whatever it was.
    pub(super) fn into_column(self, rows: usize) -> ArrayRef {
        match self {
            Value::Column(array) => array,
            Value::Constant(array) if array.is_null(0) => new_null_array(array.data_type(), rows),
            Value::Constant(array) => repeat(&array, rows),
        }
    }
}

fn repeat(one: &ArrayRef, rows: usize) -> ArrayRef {
    let zeros = UInt32Array::from(vec![0; rows]);
    take(one, &zeros, None).expect("index 0 lies within an array of length 1, and every column type can be taken")
}

/// Which rows have a value in all of `values`.
pub(super) fn common_nulls<'a>(values: impl IntoIterator<Item = &'a Value>, rows: usize) -> Option<NullBuffer> {
    let nulls: Vec<_> = values.into_iter().map(|value| value.nulls(rows)).collect();
    NullBuffer::union_many(nulls.iter().map(Option::as_ref))
}

/// The rows that a part is evaluated for. Kernels compute all rows; what fails on others is not an error: a branch
/// not taken, the right side of an `and` whose left side is false.
pub(super) struct Faults<'a> {
    errors: &'a mut Vec<RowError>,
    active: Option<&'a BooleanBuffer>,
}

impl<'a> Faults<'a> {
    /// Collects errors of the rows in `active`; of all rows where it is absent.
    pub(super) fn new(errors: &'a mut Vec<RowError>, active: Option<&'a BooleanBuffer>) -> Self {
        Faults { errors, active }
    }

    /// Row `row` has failed; its value is to be null.
    #[cold]
    pub(super) fn report(&mut self, row: usize, message: impl FnOnce() -> String) {
        if self.active.is_none_or(|active| active.value(row)) {
            self.errors.push(RowError { row: row as u32, message: message() });
        }
    }
}

/// `nulls` with the rows of `failed` null as well.
pub(super) fn without(nulls: Option<NullBuffer>, failed: &[usize], rows: usize) -> Option<NullBuffer> {
    if failed.is_empty() {
        return nulls;
    }
    let mut valid = vec![true; rows];
    for &row in failed {
        valid[row] = false;
    }
    NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::from(valid)))
}
