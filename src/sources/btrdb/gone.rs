//! A stream that is deleted while it is read, or whose version is gone: where the spec says so, the rest of each of its
//! splits is one reject, and the run goes on with the others.

use arrow_array::RecordBatch;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    batch::{Batch, Block, Origin, Position, Reject, RejectCode, Rejects, Schema, SplitId},
    failure::{Exit, Failure},
    stage::SplitReader,
};

const GONE: RejectCode = RejectCode("stream_gone");

/// What becomes of a stream that is gone while the job runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "BtrdbGone")]
pub(super) enum Gone {
    /// Its splits fail, and so does the job; what depends on all of the input is not made.
    #[default]
    Fail,
    /// What is left of each of its splits is one reject. Points that were read before stay.
    Reject,
}

/// Reads a split up to where its stream is gone.
pub(super) struct UntilGone<'a> {
    /// Why there is no reader, from the start.
    reader: Result<Box<dyn SplitReader + 'a>, Failure>,
    split: SplitId,
    name: String,
    schema: Schema,
    batches: u64,
    rows: u64,
    over: bool,
}

impl<'a> UntilGone<'a> {
    /// A reader of a split of this name, as opening it has turned out.
    ///
    /// # Errors
    /// Opening it failed for another reason.
    pub(super) fn new(
        opened: Result<Box<dyn SplitReader + 'a>, Failure>,
        split: SplitId,
        name: &str,
        schema: Schema,
    ) -> Result<Self, Failure> {
        let reader = match opened {
            Err(failure) if failure.exit != Exit::InputMissing => return Err(failure),
            opened => opened,
        };
        Ok(UntilGone { reader, split, name: name.to_owned(), schema, batches: 0, rows: 0, over: false })
    }

    /// The reject, and an empty batch to carry it.
    fn gone(&mut self, failure: &Failure, rejects: &mut Rejects) -> Batch {
        self.over = true;
        let position = Position { record: self.rows + 1, line: 0 };
        rejects.add(Reject::unread(
            GONE,
            failure.message.clone(),
            self.split,
            position,
            self.name.clone().into_bytes(),
        ));
        let block = Block { first_record: self.rows + 1, ..Block::default() };
        let records = RecordBatch::new_empty(self.schema.arrow());
        Batch::new(records, Origin::new(self.split, self.batches, block, 0))
    }
}

impl SplitReader for UntilGone<'_> {
    fn next_batch(&mut self, rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        if self.over {
            return Ok(None);
        }
        let next = match &mut self.reader {
            Ok(reader) => reader.next_batch(rejects),
            Err(failure) => Err(failure.clone()),
        };
        match next {
            Ok(Some(batch)) => {
                self.batches += 1;
                self.rows += batch.rows() as u64;
                Ok(Some(batch))
            }
            Err(failure) if failure.exit == Exit::InputMissing => Ok(Some(self.gone(&failure, rejects))),
            other => other,
        }
    }
}
