//! How a table is divided into splits by a key of whole numbers: into ranges of equal width where the keys lie
//! close together, else at keys that are there, so that no range holds much more rows than others.

/// What a table's keys are like: the least, the greatest, and how many rows have one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) rows: u64,
}

/// Ranges of this many keys per row still have about as many rows as they are to have, at most twice as many.
const CLOSE: u128 = 2;

impl Keys {
    /// How many keys lie from the first to the last, those included that no row has.
    pub(super) fn span(&self) -> u128 {
        u128::from(self.last.abs_diff(self.first)) + 1
    }

    /// Do the keys lie so close together that ranges of equal width do?
    pub(super) fn are_close(&self) -> bool {
        self.span() <= CLOSE * u128::from(self.rows)
    }

    /// Rows of a range, where `wanted` would make more than `most` ranges.
    pub(super) fn rows_each(&self, wanted: u64, most: u64) -> u64 {
        wanted.max(self.rows.div_ceil(most.max(1)))
    }

    /// Ranges of equal width, each for about `rows_each` rows.
    pub(super) fn even(self, rows_each: u64) -> impl Iterator<Item = (i64, i64)> {
        let parts = u128::from(self.rows.div_ceil(rows_each.max(1)).max(1)).min(self.span());
        let bound = move |part: u128| i128::from(self.first) + (self.span() * part / parts) as i128;
        // Both lie between `first` and `last`.
        (0..parts).map(move |part| (bound(part) as i64, (bound(part + 1) - 1) as i64))
    }

    /// Ranges that begin at these keys, which are sorted; the first of them is `first`. Equal ones begin one range.
    pub(super) fn at(self, mut starts: Vec<i64>) -> impl Iterator<Item = (i64, i64)> {
        starts.dedup();
        let ends: Vec<i64> = starts.iter().skip(1).map(|next| next - 1).chain([self.last]).collect();
        starts.into_iter().zip(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(first: i64, last: i64, rows: u64) -> Keys {
        Keys { first, last, rows }
    }

    #[test]
    fn even_ranges_cover_all_keys_once() {
        let cases = [
            (keys(1, 10, 10), 4, vec![(1, 3), (4, 6), (7, 10)]),
            (keys(1, 10, 10), 10, vec![(1, 10)]),
            (keys(5, 5, 1), 1, vec![(5, 5)]),
            (keys(5, 5, 9), 1, vec![(5, 5)]),
            (keys(-3, 2, 6), 3, vec![(-3, -1), (0, 2)]),
            (keys(i64::MIN, i64::MAX, 2), 1, vec![(i64::MIN, -1), (0, i64::MAX)]),
        ];
        for (keys, rows, expected) in cases {
            assert_eq!(keys.even(rows).collect::<Vec<_>>(), expected, "{keys:?}");
        }
        let all = keys(i64::MIN, i64::MAX, u64::MAX);
        let all: Vec<_> = all.even(all.rows_each(1, 10_000)).collect();
        assert_eq!((all.len(), all[0].0, all[9_999].1), (10_000, i64::MIN, i64::MAX));
        assert!(all.windows(2).all(|pair| i128::from(pair[0].1) + 1 == i128::from(pair[1].0)));
    }

    #[test]
    fn ranges_begin_at_keys_that_are_there() {
        let keys = keys(-7, i64::MAX, 5);
        assert!(!keys.are_close());
        let ranges: Vec<_> = keys.at(vec![-7, 4, 4, i64::MAX]).collect();
        assert_eq!(ranges, [(-7, 3), (4, i64::MAX - 1), (i64::MAX, i64::MAX)]);
    }

    #[test]
    fn close_keys_are_at_most_two_for_each_row() {
        assert!(keys(1, 20, 10).are_close());
        assert!(!keys(1, 21, 10).are_close());
        assert_eq!((keys(1, 9, 9).rows_each(4, 100), keys(1, 9, 9).rows_each(1, 2)), (4, 5));
    }
}
