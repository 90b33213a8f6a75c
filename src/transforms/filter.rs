//! `filter`: keeps the records for which an expression is true.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::errors::refuse;
use crate::{
    batch::{Batch, ColumnType, RejectCode, Rejects},
    expr::{self, Expr},
    failure::Failure,
    kind::{Compiled, Context, Kind, Workers},
    stage::{Transform, TransformWorker},
};

/// The `filter` kind.
pub(super) const KIND: Kind<dyn Transform> = Kind::new::<FilterSpec>("filter", compile);

/// Keeps the records for which `where` is true; null counts as false.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FilterSpec {
    /// A boolean SQL expression over the input's columns.
    r#where: String,
    /// What becomes of the other records.
    #[serde(default)]
    otherwise: Otherwise,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Otherwise {
    /// They are dropped, and counted as filtered.
    #[default]
    Drop,
    /// They are rejects.
    Reject,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Transform>> {
    let spec: FilterSpec = context.decode()?;
    let condition = context.expr("where", &spec.r#where)?;
    if *condition.column_type() != ColumnType::Bool {
        let message = format!("`where` must be `bool`, and this is `{}`", condition.column_type());
        context.problem("where", "type", message);
        return None;
    }
    let word = if spec.otherwise == Otherwise::Reject { "rejects" } else { "drops" };
    let notes = vec![format!("keeps {condition}, {word} the rest")];
    let output = Some(context.input().clone());
    let filter = Filter { condition: Arc::new(condition), text: spec.r#where, otherwise: spec.otherwise };
    Some(Compiled { stage: Box::new(filter), output, workers: Workers::Threads, notes })
}

struct Filter {
    condition: Arc<Expr>,
    text: String,
    otherwise: Otherwise,
}

impl Transform for Filter {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        let message = format!("not so: {}", self.text);
        Ok(Box::new(Worker { condition: Arc::clone(&self.condition), otherwise: self.otherwise, message }))
    }
}

struct Worker {
    condition: Arc<Expr>,
    otherwise: Otherwise,
    message: String,
}

impl TransformWorker for Worker {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let mut errors = Vec::new();
        let keep = expr::predicate(&self.condition, &batch, &mut errors);
        if keep.true_count() == batch.rows() {
            return Ok(batch);
        }
        let sound = refuse(&batch, errors, rejects);
        if self.otherwise == Otherwise::Reject {
            for row in sound.into_iter().map(|row| row as usize).filter(|row| !keep.value(*row)) {
                rejects.push(&batch, row, RejectCode("filter"), self.message.as_str());
            }
        }
        Ok(batch.pick(keep.values().set_indices_u32().collect()))
    }
}
