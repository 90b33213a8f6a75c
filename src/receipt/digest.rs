//! A digest of every row of a batch, by which a row is known again when it is read a second time. It is the same on
//! every machine and in every version of the program that reads the receipts of this one.

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::Field;

use crate::values::{cell::Cell, json, scalar::Scalar, with_scalars};

/// Odd numbers without a pattern: digits of the square roots of 2, 3, 5 and 7.
const KEYS: [u64; 4] = [0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1];

/// Two halves, mixed with different keys.
#[derive(Clone, Copy)]
struct Digest(u64, u64);

/// Both halves of a product: every bit of it depends on every bit of both numbers.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

impl Digest {
    #[inline]
    fn word(&mut self, word: u64) {
        self.0 = mix(self.0 ^ word, KEYS[0]).wrapping_add(KEYS[2]);
        self.1 = mix(self.1.rotate_left(29) ^ word, KEYS[1]).wrapping_add(KEYS[3]);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64 ^ KEYS[3]);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            self.word(match bytes.last_chunk() {
                // The same as the rest by itself, without a copy of a length that the processor cannot foresee.
                Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
                None => rest.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte)),
            });
        }
    }

    fn value(self) -> u128 {
        let (a, b) = (mix(self.0 ^ KEYS[1], KEYS[3]), mix(self.1 ^ KEYS[0], KEYS[2]));
        (u128::from(a) << 64) | u128::from(b)
    }
}

/// The digest of rows in their order: of those before, where it is `before`, and these. That of no rows is 0.
pub(super) fn chain(before: u128, rows: &[u128]) -> u128 {
    let (mut a, mut b) = ((before >> 64) as u64, before as u64);
    for row in rows {
        a = mix(a ^ (row >> 64) as u64, KEYS[0]).wrapping_add(KEYS[2]);
        b = mix(b ^ *row as u64, KEYS[1]).wrapping_add(KEYS[3]);
    }
    (u128::from(a) << 64) | u128::from(b)
}

/// The digest of every row, of all its values.
pub(super) fn rows(records: &RecordBatch) -> Vec<u128> {
    let mut digests = vec![Digest(KEYS[0], KEYS[1]); records.num_rows()];
    for (field, column) in records.schema_ref().fields().iter().zip(records.columns()) {
        add(field, column, &mut digests);
    }
    digests.into_iter().map(Digest::value).collect()
}

macro_rules! add {
    ([$($text:literal $name:ident $family:ident $arrow:ident ($array:pat)),*]) => {
        /// Adds a column's values.
        fn add(field: &Field, column: &ArrayRef, digests: &mut [Digest]) {
            match Cell::new(column) {
                $(Cell::$name(values) => each(column, digests, |row, digest| {
                    digest.word(<arrow_array::types::$arrow as Scalar>::bits(values.value(row)));
                }),)*
                Cell::Bool(values) => each(column, digests, |row, digest| digest.word(u64::from(values.value(row)))),
                Cell::String(values) => each(column, digests, |row, digest| digest.bytes(values.value(row).as_bytes())),
                Cell::Binary(values) => each(column, digests, |row, digest| digest.bytes(values.value(row))),
                Cell::List(..) | Cell::Other => each(column, digests, |row, digest| {
                    digest.bytes(json::value(field, column, row).as_bytes());
                }),
            }
        }
    };
}
with_scalars!([add]);

/// Adds the value of each row that has one.
fn each(column: &ArrayRef, digests: &mut [Digest], value: impl Fn(usize, &mut Digest)) {
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => digests.iter_mut().enumerate().for_each(|(row, digest)| value(row, digest)),
        Some(nulls) => digests.iter_mut().enumerate().for_each(|(row, digest)| match nulls.is_null(row) {
            true => digest.word(KEYS[2]),
            false => value(row, digest),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use arrow_array::{Int32Array, Int64Array, StringViewArray};
    use arrow_schema::{DataType, Schema};

    use super::*;

    fn records(numbers: Vec<Option<i64>>, texts: Vec<Option<&str>>) -> RecordBatch {
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8View, true)];
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(numbers)), Arc::new(StringViewArray::from_iter(texts))];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("two columns")
    }

    #[test]
    fn rows_that_differ_have_other_digests_and_equal_rows_the_same() {
        let texts =
            [None, Some(""), Some("\0"), Some("a"), Some("a\0"), Some("aaaaaaaa"), Some("aaaaaaaaa"), Some("é")];
        let numbers = [None, Some(0), Some(1), Some(-1), Some(i64::MIN)];
        let pairs: Vec<_> = numbers.iter().flat_map(|n| texts.iter().map(move |t| (*n, *t))).collect();
        let (n, t): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let all = rows(&records(n.clone(), t.clone()));
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), numbers.len() * texts.len());
        let backwards = rows(&records(n.into_iter().rev().collect(), t.into_iter().rev().collect()));
        assert!(all.iter().eq(backwards.iter().rev()));
        let many = rows(&records((0..100_000).map(Some).collect(), vec![Some("x"); 100_000]));
        assert_eq!(many.iter().collect::<HashSet<_>>().len(), 100_000);
    }

    #[test]
    fn a_digest_is_the_same_for_ever() {
        // Recorded once: receipts that lie in databases must be read by later versions.
        let digest = rows(&records(vec![Some(7)], vec![Some("seven and more")]))[0];
        assert_eq!(format!("{digest:032x}"), "23cd6accabc8606ef0d6b7ff97d7f9fb");
        let narrow = Field::new("n", DataType::Int32, true);
        let column: ArrayRef = Arc::new(Int32Array::from(vec![-5]));
        let one = RecordBatch::try_new(Arc::new(Schema::new(vec![narrow])), vec![column]).expect("a column");
        assert_eq!(format!("{:032x}", rows(&one)[0]), "d9a0adcf429ba49f5b9130a2513eff3b");
    }
}
