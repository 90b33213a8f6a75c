//! `join`: rows of two inputs that agree on some columns. The right one is held in memory, the left one passes by. Where the
//! right one does not fit, both are spilled.

mod given_back;
mod on;
mod right;
mod runs;
mod spilled;
#[cfg(test)]
mod tests;
mod unmatched;

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_row::Rows;
use arrow_schema::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use arrow_select::take::take;
use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    on::On,
    right::{Right, Taker},
    spilled::{Divided, Later},
    unmatched::{Met, Unmatched},
};
use super::{
    growth::{Growth, repeated, width},
    keys::{Encoder, KeyHash, unknown_column},
    memory::{SPILLS, fits},
};
use crate::{
    batch::{Batch, Column, Rejects, Schema},
    exchange::with_own,
    failure::{Exit, Failure},
    jobspec::{Problem, SpecLocation},
    kind::{Compiled, Context, Kind, Workers},
    memory::Budget,
    stage::{Backlog, Held, Made, Side, Transform, TransformProperties, TransformWorker},
    values::compact,
};

/// The `join` kind.
pub(super) const KIND: Kind<dyn Transform> = Kind::new::<JoinSpec>("join", compile).with_side("with");

/// Emits the rows of its input (the left side) with those of another stage (the right side) that have the same
/// values in some columns; null is the same as nothing. The right side is read first; where it does not fit into
/// `limits.memory`, both sides are spilled, and rows go on once the left side has ended. What becomes of a batch must fit
/// into memory. Left rows keep their order; several partners of one row come in the order of the right side. Right rows
/// without a partner come last, in their order, with their own values in the columns of the key; then one worker knows
/// which these are.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JoinSpec {
    /// The stage on the right side.
    with: String,
    /// The columns that must agree: a list of names that both sides have, or a table of names on the left and on the
    /// right.
    on: On,
    /// Which rows are emitted.
    #[serde(default)]
    how: How,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum How {
    /// Left rows with each of their partners.
    #[default]
    Inner,
    /// The same, and left rows without a partner, with nulls.
    Left,
    /// As `inner`, and at the end right rows without a partner, with nulls.
    Right,
    /// As `left`, and at the end right rows without a partner, with nulls.
    Full,
    /// Left rows that have a partner, once each, and nothing of the right side.
    Semi,
    /// Left rows that have none.
    Anti,
}

impl How {
    /// Are columns of the right side emitted?
    fn widens(self) -> bool {
        !matches!(self, How::Semi | How::Anti)
    }

    /// Are left rows without a partner emitted?
    fn keeps_lonely(self) -> bool {
        matches!(self, How::Left | How::Full | How::Anti)
    }

    /// Are right rows without a partner emitted?
    fn gathers(self) -> bool {
        matches!(self, How::Right | How::Full)
    }
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Transform>> {
    let spec: JoinSpec = context.decode()?;
    let (left, right) = (context.input().clone(), context.side?.clone());
    let (left_keys, right_keys): (Vec<usize>, Vec<usize>) = spec.on.pairs(context, &left, &right)?.into_iter().unzip();
    let mut held: Vec<usize> = match spec.how.widens() {
        true => (0..right.columns().len()).filter(|place| !right_keys.contains(place)).collect(),
        false => Vec::new(),
    };
    let kept = held.len();
    let output = output(context, &spec, (&left, &left_keys), (&right, &right_keys), &held)?;
    if spec.how.gathers() {
        held.extend(&right_keys);
    }
    let types = left_keys.iter().map(|place| (left.columns()[*place].column_type.to_arrow(), false));
    let encoder = match Encoder::new(types) {
        Ok(encoder) => encoder,
        Err(failure) => {
            context.problem("on", "type", failure.message);
            return None;
        }
    };
    let notes = vec![format!("{:?} with {} on {}", spec.how, spec.with, spec.on).to_lowercase(), SPILLS.to_owned()];
    let budget = Budget::new(&context.held, format!("the rows of `{}`, which are held,", spec.with));
    let left_types: Vec<DataType> = left.columns().iter().map(|column| column.column_type.to_arrow()).collect();
    let held_types: Vec<DataType> = held.iter().map(|place| right.columns()[*place].column_type.to_arrow()).collect();
    let rows = Layouts::new(&left_types, &held_types, kept, spec.how.gathers());
    let setup = Setup {
        how: spec.how,
        left_keys,
        right_keys,
        held,
        kept,
        encoder,
        output,
        budget,
        growth: Growth::new(context.memory),
        hash: KeyHash::default(),
        rows,
    };
    let output = Some(setup.output.clone());
    let workers = match spec.how.gathers() {
        true => Workers::One("which rows of the second input had a partner is known to one"),
        false => Workers::Threads,
    };
    let stage = Join { setup: Arc::new(setup), right: Arc::default() };
    Some(Compiled { stage: Box::new(stage), output, workers, notes })
}

/// The left side's columns, then those of the right side at `kept`. Either side has the places of its keys with it.
fn output(
    context: &mut Context<'_>,
    spec: &JoinSpec,
    (left, left_keys): (&Schema, &[usize]),
    (right, right_keys): (&Schema, &[usize]),
    kept: &[usize],
) -> Option<Schema> {
    let mut columns = left.columns().to_vec();
    if spec.how.gathers() {
        for (place, column) in columns.iter_mut().enumerate() {
            // A key has the value of the side that there is.
            let key = left_keys.iter().position(|key| *key == place);
            column.nullable |= key.is_none_or(|key| right.columns()[right_keys[key]].nullable);
        }
    }
    let mut sound = true;
    for column in kept.iter().map(|place| &right.columns()[*place]) {
        if left.find(&column.name).is_some() {
            let place = SpecLocation::value(context.path.key("with"));
            let message = format!("both sides have a column `{}`", column.name);
            let help = format!("rename it with a `select` between `{}` and this stage, or drop it there", spec.with);
            context.problems.push(Problem::new("columns", place, message).help(Some(help)));
            sound = false;
        }
        columns.push(Column { nullable: column.nullable || spec.how.keeps_lonely(), ..column.clone() });
    }
    sound.then(|| Schema::new(columns))
}

struct Setup {
    how: How,
    /// Places of the keys on either side, in the same order.
    left_keys: Vec<usize>,
    right_keys: Vec<usize>,
    /// Places of the right side's columns that are held: those that are emitted; behind them, where right rows are emitted
    /// without a partner, the keys.
    held: Vec<usize>,
    /// How many of these are emitted beside left rows.
    kept: usize,
    encoder: Encoder,
    output: Schema,
    budget: Arc<Budget>,
    growth: Growth,
    hash: KeyHash,
    rows: Layouts,
}

/// How rows lie in parts.
struct Layouts {
    /// Of the left side: its columns, then where the row was read (record, line), its text, and its place: the number of
    /// the batch in the upper half, the row in the lower.
    left: SchemaRef,
    /// Of the right side: the columns that are held, where rows are numbered the number, and the key.
    right: SchemaRef,
    /// Of both: what is emitted, then record, line and text, and the place as bytes that compare.
    joined: SchemaRef,
    /// Of right rows without a partner: the columns that are held, and the number as bytes that compare.
    unmatched: SchemaRef,
}

impl Layouts {
    /// Of the right side's columns that are `held`, the first `kept` are emitted beside left rows.
    fn new(left: &[DataType], held: &[DataType], kept: usize, is_numbered: bool) -> Self {
        let schema = |parts: &[&[DataType]]| {
            let fields = parts.concat().into_iter().enumerate().map(|(n, of)| Field::new(n.to_string(), of, true));
            Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
        };
        let known = [DataType::UInt64, DataType::UInt64, DataType::Binary];
        let number: &[DataType] = if is_numbered { &[DataType::UInt64] } else { &[] };
        Layouts {
            left: with_own(&schema(&[left, &known]), DataType::UInt64),
            right: with_own(&schema(&[held, number]), DataType::Binary),
            joined: with_own(&schema(&[left, &held[..kept], &known]), DataType::Binary),
            unmatched: with_own(&schema(&[held]), DataType::Binary),
        }
    }
}

impl Setup {
    /// The keys of left rows, and which of them have no null in it.
    fn encoded(&self, columns: &[ArrayRef]) -> Result<(Rows, Option<NullBuffer>), Failure> {
        let keys: Vec<ArrayRef> = self.left_keys.iter().map(|place| Arc::clone(&columns[*place])).collect();
        Ok((self.encoder.rows(&keys)?, all_valid(&keys)))
    }

    /// Right rows without a partner as they are emitted; `held` are their columns.
    fn alone(&self, held: &[ArrayRef]) -> Result<RecordBatch, Failure> {
        let (kept, keys) = held.split_at(self.kept);
        let (schema, rows) = (self.output.arrow(), keys[0].len());
        let left = schema.fields().len() - self.kept;
        let of_left = (0..left).map(|place| match self.left_keys.iter().position(|key| *key == place) {
            Some(key) => Arc::clone(&keys[key]),
            None => new_null_array(schema.field(place).data_type(), rows),
        });
        let columns = of_left.chain(kept.iter().cloned()).collect();
        fits(RecordBatch::try_new(schema, columns))
    }
}

/// The right side, once it is whole.
type Ready = Arc<Mutex<Option<Whole>>>;

#[derive(Clone)]
enum Whole {
    Held(Arc<Right>),
    Spilled(Arc<Divided>),
}

struct Join {
    setup: Arc<Setup>,
    right: Ready,
}

impl Transform for Join {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        let (setup, ready) = (Arc::clone(&self.setup), Arc::clone(&self.right));
        Ok(Box::new(Worker { setup, ready, right: None, later: None, met: Met::default(), unmatched: None }))
    }

    /// Left rows may come in any order: what is gathered of them is which right rows they had.
    fn properties(&self) -> TransformProperties {
        match self.setup.how.gathers() {
            true => TransformProperties { ordered: false, ..TransformProperties::BREAKER },
            false => TransformProperties::default(),
        }
    }

    fn side(&self) -> Option<Box<dyn Side>> {
        Some(Box::new(Taker::new(Arc::clone(&self.setup), Arc::clone(&self.right))))
    }
}

struct Worker {
    setup: Arc<Setup>,
    ready: Ready,
    /// What `ready` holds, from the first batch on: the right side in memory, or what is done where it is not.
    right: Option<Arc<Right>>,
    later: Option<Later>,
    /// Of the right side in memory, where rows of it are emitted without a partner.
    met: Met,
    unmatched: Option<Unmatched>,
}

impl TransformWorker for Worker {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        self.look();
        let Some(right) = &self.right else {
            return Err(Failure::new(Exit::Bug, "the second input is not there yet"));
        };
        let setup = &self.setup;
        let (encoded, valid) = setup.encoded(batch.records.columns())?;
        let found = (0..batch.rows()).map(|row| match &valid {
            Some(valid) if valid.is_null(row) => None,
            _ => right.keys.find(encoded.row(row).data()),
        });
        if !setup.how.widens() {
            let wanted = setup.how == How::Semi;
            let kept = found.zip(0_u32..).filter(|(found, _)| found.is_some() == wanted).map(|(_, row)| row);
            return Ok(batch.pick(kept.collect()));
        }
        let found: Vec<Option<u32>> = found.collect();
        self.check(&batch, right, &found)?;
        if setup.how.gathers() {
            self.met.note(right, found.iter().flatten());
        }
        let (mut rows, mut partners) = (Vec::with_capacity(batch.rows()), Vec::with_capacity(batch.rows()));
        for (row, found) in found.into_iter().enumerate() {
            match found {
                Some(key) => {
                    let matches = right.rows_of(key);
                    rows.extend(std::iter::repeat_n(row as u32, matches.len()));
                    partners.extend(matches.iter().copied().map(Some));
                }
                None if setup.how.keeps_lonely() => {
                    rows.push(row as u32);
                    partners.push(None);
                }
                None => rejects.dropped(1),
            }
        }
        self.widen(batch, right, rows, &UInt32Array::from(partners))
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        if !self.setup.how.gathers() {
            return Ok(None);
        }
        self.look();
        if let Some(later) = &mut self.later {
            return later.finish();
        }
        if let Some(right) = self.right.take() {
            self.unmatched = Some(Unmatched::new(right, &self.met));
        }
        self.unmatched.as_mut().map_or(Ok(None), |unmatched| unmatched.next(&self.setup))
    }

    fn backlog(&mut self) -> Option<&mut dyn Backlog> {
        self.look();
        self.later.as_mut().map(|later| later as &mut dyn Backlog)
    }

    fn held(&self) -> Held {
        self.later.as_ref().map_or_else(Held::default, Later::held)
    }
}

impl Worker {
    /// Looks where the right side is, once it is there.
    fn look(&mut self) {
        if self.right.is_some() || self.later.is_some() || self.unmatched.is_some() {
            return;
        }
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match ready {
            Some(Whole::Held(right)) => self.right = Some(right),
            Some(Whole::Spilled(divided)) => self.later = Some(Later::new(Arc::clone(&self.setup), divided)),
            None => {}
        }
    }

    /// Is what the batch becomes small enough, if row *i* has the partners of key `found[i]`?
    fn check(&self, batch: &Batch, right: &Right, found: &[Option<u32>]) -> Result<(), Failure> {
        let alone = usize::from(self.setup.how.keeps_lonely());
        let times = |row: usize| found[row].map_or(alone, |key| right.rows_of(key).len());
        let rows = (0..batch.rows()).fold(0_usize, |sum, row| sum.saturating_add(times(row)));
        if rows <= batch.rows() {
            return Ok(());
        }
        let left =
            batch.records.columns().iter().fold(0_usize, |sum, column| sum.saturating_add(repeated(column, times)));
        let text = found.iter().flatten().fold(0_usize, |sum, key| sum.saturating_add(right.bytes_of(*key)));
        let fixed = right.kept().iter().map(|column| width(column.data_type())).sum::<usize>();
        self.setup.growth.check(
            batch.rows(),
            rows,
            left.saturating_add(text).saturating_add(rows.saturating_mul(fixed)),
        )
    }

    /// The rows of a batch beside their partners.
    fn widen(&self, batch: Batch, right: &Right, rows: Vec<u32>, partners: &UInt32Array) -> Result<Batch, Failure> {
        let all = rows.iter().copied().eq(0..batch.rows() as u32);
        let batch = if all { batch } else { batch.pick(rows) };
        let mut columns = batch.records.columns().to_vec();
        for column in right.kept() {
            columns.push(compact(&fits(take(column, partners, None))?));
        }
        let records = fits(RecordBatch::try_new(self.setup.output.arrow(), columns))?;
        Ok(Batch::new(records, batch.origin))
    }
}

/// The rows of which no key is null; absent where that is so for all.
fn all_valid(keys: &[ArrayRef]) -> Option<NullBuffer> {
    NullBuffer::union_many(keys.iter().map(|key| key.nulls()))
}
