//! Finds the rows that a database refuses among many that were sent at once.

/// What became of rows that were sent at once.
pub(in crate::sinks) enum Put<T, R> {
    /// All of them are stored.
    Stored(T),
    /// One of them is refused, so none is stored.
    Refused(R),
}

/// Sends rows; where one is refused, sends each half. `stored` and `refused` hear of rows in their order.
///
/// # Errors
/// Those of `put`: what does not concern a row.
pub(in crate::sinks) fn bisect<T, R, E>(
    rows: &[u32],
    put: &mut impl FnMut(&[u32]) -> Result<Put<T, R>, E>,
    told: &mut impl FnMut(&[u32], Put<T, R>),
) -> Result<(), E> {
    if rows.is_empty() {
        return Ok(());
    }
    match (put(rows)?, rows) {
        (Put::Refused(_), [_, _, ..]) => {
            let (left, right) = rows.split_at(rows.len() / 2);
            bisect(left, put, told)?;
            bisect(right, put, told)
        }
        (known, _) => {
            told(rows, known);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refused_row_is_found_and_the_others_keep_their_order() {
        for bad in [vec![], vec![0], vec![9], vec![3, 4], (0..10).collect::<Vec<u32>>()] {
            let rows: Vec<u32> = (0..10).collect();
            let (mut stored, mut refused, mut sent) = (Vec::new(), Vec::new(), 0);
            let mut put = |rows: &[u32]| {
                sent += 1;
                Ok::<_, ()>(match rows.iter().find(|row| bad.contains(row)) {
                    Some(row) => Put::Refused(*row),
                    None => Put::Stored(rows.len()),
                })
            };
            let told = &mut |rows: &[u32], put| match put {
                Put::Stored(count) => {
                    assert_eq!(count, rows.len());
                    stored.extend_from_slice(rows);
                }
                Put::Refused(row) => refused.push(row),
            };
            bisect(&rows, &mut put, told).expect("nothing else fails");
            assert_eq!(refused, bad);
            assert_eq!(stored, rows.iter().copied().filter(|row| !bad.contains(row)).collect::<Vec<_>>());
            assert!(sent <= 1 + bad.len() * 10, "{sent} statements for {bad:?}");
        }
        bisect::<(), (), ()>(&[], &mut |_| Err(()), &mut |_, _| {}).expect("nothing is sent");
    }
}
