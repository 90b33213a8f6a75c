//! `discard`: takes every row and keeps none. For measuring a job without its output, and for jobs whose
//! rejects are what one wants to see.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    batch::Batch,
    failure::Failure,
    kind::{Compiled, Context, Kind, Workers},
    stage::{Attempt, Guarantee, Inspection, Mode, Sink, SinkProperties, SinkWorker, Written},
};

/// The `discard` kind.
pub(super) const KIND: Kind<dyn Sink> = Kind::new::<DiscardSpec>("discard", compile);

/// Takes every row and keeps none.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DiscardSpec {}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Sink>> {
    let DiscardSpec {} = context.decode()?;
    let notes = vec!["keeps nothing".to_owned()];
    Some(Compiled { stage: Box::new(Discard), output: None, workers: Workers::Default(1), notes })
}

struct Discard;

impl Sink for Discard {
    fn properties(&self) -> SinkProperties {
        Guarantee::AnyOrder.into()
    }

    fn inspect(&self, _attempt: &Attempt) -> Result<Inspection, Failure> {
        Ok(Inspection { untouched: true, ..Inspection::default() })
    }

    fn worker(&self, _mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        Ok(Box::new(Discard))
    }
}

impl SinkWorker for Discard {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        Ok(Written { accepted: batch.rows() as u64, durable: true, ..Written::default() })
    }

    fn commit(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
