//! A split whose commit was refused, as a constraint that is checked only then is broken: its rows are written again,
//! each checked at once, so that those that break it are refused and the others stored.

use super::Connection;
use crate::{
    batch::{Batch, Rejects},
    failure::Failure,
    receipt::{Answers, Refused},
};

/// Batches of an open split are kept up to so many bytes.
const BYTES: usize = 64 << 20;
/// Passes over the rows that were refused, at most: each may cost a few statements for a row.
const PASSES: usize = 16;

/// The batches of the open split, with the answers for them.
#[derive(Default)]
pub(super) struct Kept {
    batches: Vec<Checked>,
    bytes: usize,
}

/// A batch and what became of its rows.
pub(super) struct Checked {
    pub(super) batch: Batch,
    pub(super) answers: Answers,
    /// Rows that were accepted and are refused after all, ascending.
    late: Vec<Refused>,
}

impl Kept {
    /// Keeps a batch. What would be too much is given up: then [`take`](Kept::take) gives nothing.
    pub(super) fn add(&mut self, batch: &Batch, answers: &Answers) {
        self.bytes += batch.bytes();
        if self.bytes > BYTES {
            self.batches.clear();
            return;
        }
        let answers = Answers {
            accepted: answers.accepted.clone(),
            refused: answers.refused.clone(),
            returned: Vec::new(),
            not_confirmed: 0,
        };
        self.batches.push(Checked { batch: batch.clone(), answers, late: Vec::new() });
    }

    /// All batches, in order, unless they were too much; nothing is kept any longer.
    pub(super) fn take(&mut self) -> Vec<Checked> {
        std::mem::take(self).batches
    }
}

impl Checked {
    /// Writes the accepted rows again; those that are refused now are no longer among them.
    pub(super) fn write(&mut self, to: &mut impl Connection) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.answers.accepted);
        let (stored, refused) = write(&self.batch, &rows, to)?;
        (self.answers.accepted, self.late) = (stored, refused);
        Ok(())
    }

    /// Writes the rows once more that were refused. Was any stored?
    fn retry(&mut self, to: &mut impl Connection) -> Result<bool, Failure> {
        let rows: Vec<u32> = self.late.iter().map(|(row, ..)| *row).collect();
        let (stored, refused) = write(&self.batch, &rows, to)?;
        self.late = refused;
        self.answers.accepted.extend(&stored);
        self.answers.accepted.sort_unstable();
        Ok(!stored.is_empty())
    }

    /// The rows that were refused late are refused for good.
    pub(super) fn refuse(&mut self, rejects: &mut Rejects) {
        for (row, code, why) in std::mem::take(&mut self.late) {
            rejects.push(&self.batch, row as usize, code, why.clone());
            self.answers.refused.push((row, code, why));
        }
        self.answers.refused.sort_by_key(|(row, ..)| *row);
    }
}

/// Writes the rows once more that were refused, as what they need may have come behind them, from the end to the start
/// and back, until no more are stored.
pub(super) fn retry(batches: &mut [Checked], to: &mut impl Connection) -> Result<(), Failure> {
    for pass in 0..PASSES {
        let mut stored = false;
        for at in 0..batches.len() {
            let at = if pass % 2 == 0 { batches.len() - 1 - at } else { at };
            stored |= batches[at].retry(to)?;
        }
        if !stored {
            break;
        }
    }
    Ok(())
}

/// Writes rows of a batch: which are stored, which refused.
fn write(batch: &Batch, rows: &[u32], to: &mut impl Connection) -> Result<(Vec<u32>, Vec<Refused>), Failure> {
    if rows.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let (answers, _) = to.write(&batch.pick(rows.to_vec()))?;
    let stored = answers.accepted.into_iter().map(|at| rows[at as usize]).collect();
    let refused = answers.refused.into_iter().map(|(at, code, why)| (rows[at as usize], code, why)).collect();
    Ok((stored, refused))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BinaryViewArray, RecordBatch};

    use super::*;
    use crate::batch::{Origin, SplitId};

    #[test]
    fn more_than_the_limit_is_given_up_until_the_split_has_ended() {
        let values = Arc::new(BinaryViewArray::from_iter_values([vec![0_u8; BYTES / 2]])) as _;
        let records = RecordBatch::try_from_iter([("v", values)]).expect("one column");
        let batch = Batch::new(records, Origin::derived(SplitId(0), 0, 1));
        let (mut kept, answers) = (Kept::default(), Answers { accepted: vec![0], ..Answers::default() });
        let mut count = |batches: usize| {
            (0..batches).for_each(|_| kept.add(&batch, &answers));
            kept.take().len()
        };
        assert_eq!([count(1), count(2), count(3), count(1)], [1, 0, 0, 1]);
    }
}
