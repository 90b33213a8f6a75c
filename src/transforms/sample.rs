//! `sample`: some of the rows, chosen by chance that follows from the job's seed alone.

use std::sync::Arc;

use arrow_array::RecordBatch;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    memory::{Output, fits},
    row_store::RowStore,
};
use crate::{
    batch::{Batch, Rejects, Schema},
    failure::Failure,
    jobspec::{Problem, SpecLocation},
    kind::{Compiled, Context, Kind, Workers},
    memory::{Budget, Share},
    stage::{Made, Transform, TransformProperties, TransformWorker},
};

/// The `sample` kind.
pub(super) const KIND: Kind<dyn Transform> = Kind::new::<SampleSpec>("sample", compile);

/// Keeps some of the rows: so many, or such a share. Which ones follows from the job's `seed`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SampleSpec {
    /// How many rows, each with the same chance, in input order. They go on once the input has ended.
    rows: Option<u32>,
    /// The chance of each row to stay, from 0 to 1. Rows go on as they come; any number of workers keeps the same ones.
    share: Option<f64>,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Transform>> {
    let spec: SampleSpec = context.decode()?;
    let output = context.input().clone();
    let seed = context.seed;
    match (spec.rows, spec.share) {
        (Some(0), None) => {
            context.problem("rows", "range", "a sample has one row at least");
            None
        }
        (Some(rows), None) => {
            let budget = Budget::new(&context.held, "the rows of the sample");
            let stage = Reservoir { rows, seed, schema: output.clone(), budget };
            let workers = Workers::One("it chooses among all rows");
            let notes = vec![format!("{rows} rows by chance")];
            Some(Compiled { stage: Box::new(stage), output: Some(output), workers, notes })
        }
        (None, Some(share)) if (0.0..=1.0).contains(&share) => {
            let notes = vec![format!("each row with a chance of {share}")];
            let stage = Chance { below: (share * 2_f64.powi(64)) as u128, seed };
            Some(Compiled { stage: Box::new(stage), output: Some(output), workers: Workers::Threads, notes })
        }
        (None, Some(_)) => {
            context.problem("share", "range", "a share is from 0 to 1");
            None
        }
        (rows, _) => {
            let place = SpecLocation::key(context.path.clone());
            let code = if rows.is_some() { "conflict" } else { "missing-key" };
            context.problems.push(Problem::new(code, place, "a `sample` needs either `rows` or `share`"));
            None
        }
    }
}

/// A number that depends on all bits of another (SplitMix64, Steele, Lea and Flood).
fn mix(number: u64) -> u64 {
    let a = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    c ^ (c >> 31)
}

/// Keeps rows by the hash of their place in the input.
#[derive(Clone)]
struct Chance {
    /// Hashes below this stay; a share of 1 is one more than the largest.
    below: u128,
    seed: u64,
}

impl Transform for Chance {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(self.clone()))
    }

    fn properties(&self) -> TransformProperties {
        TransformProperties {
            not_replayable: Some("a row's chance depends on its place in the input"),
            ..TransformProperties::default()
        }
    }
}

impl TransformWorker for Chance {
    fn apply(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch, Failure> {
        let split = mix(self.seed ^ mix(u64::from(batch.origin.split.0)));
        // Of one record there may be several rows, one after the other.
        let (mut before, mut again) = (0, 0_u64);
        let stays = |row: &u32| {
            let record = batch.origin.position(*row as usize).record;
            again = if record == before { again + 1 } else { 0 };
            before = record;
            u128::from(mix(split ^ mix(record ^ mix(again)))) < self.below
        };
        let kept: Vec<u32> = (0..batch.rows() as u32).filter(stays).collect();
        Ok(if kept.len() == batch.rows() { batch } else { batch.pick(kept) })
    }
}

/// Keeps so many rows of all.
struct Reservoir {
    rows: u32,
    seed: u64,
    schema: Schema,
    budget: Arc<Budget>,
}

impl Transform for Reservoir {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        let types = self.schema.columns().iter().map(|column| column.column_type.to_arrow()).collect();
        Ok(Box::new(ReservoirWorker {
            rows: self.rows,
            schema: self.schema.clone(),
            share: self.budget.share(),
            slots: RowStore::new(types),
            numbers: Vec::new(),
            seen: 0,
            state: mix(self.seed),
            out: None,
        }))
    }

    fn properties(&self) -> TransformProperties {
        TransformProperties::BREAKER
    }
}

struct ReservoirWorker {
    rows: u32,
    schema: Schema,
    share: Share,
    slots: RowStore,
    /// The number of the row in each slot.
    numbers: Vec<u64>,
    seen: u64,
    state: u64,
    out: Option<Output>,
}

impl ReservoirWorker {
    /// The slot that the next row goes to, if it goes to one (algorithm R, Vitter 1985).
    fn slot(&mut self) -> Option<u32> {
        let row = self.seen;
        self.seen += 1;
        if row < u64::from(self.rows) {
            self.numbers.push(row);
            return Some(row as u32);
        }
        self.state = self.state.wrapping_add(1);
        let slot = (u128::from(mix(self.state)) * u128::from(self.seen)) >> 64;
        let slot = u32::try_from(slot).ok().filter(|slot| *slot < self.rows)?;
        self.numbers[slot as usize] = row;
        Some(slot)
    }
}

impl TransformWorker for ReservoirWorker {
    fn apply(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch, Failure> {
        let changes: Vec<(u32, u32)> =
            (0..batch.rows() as u32).filter_map(|row| self.slot().map(|slot| (slot, row))).collect();
        self.slots.put(batch.records.columns(), &changes)?;
        self.share.set(self.slots.size() + self.numbers.capacity() * 8)?;
        Ok(batch.pick(Vec::new()))
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        if self.out.is_none() {
            let mut order: Vec<usize> = (0..self.numbers.len()).collect();
            order.sort_by_key(|slot| self.numbers[*slot]);
            let columns = self.slots.rows(order.into_iter())?;
            let records = fits(RecordBatch::try_new(self.schema.arrow(), columns))?;
            self.out = Some(Output::new(records, Vec::new()));
        }
        Ok(self.out.as_mut().and_then(Output::next))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{
        failure::Exit,
        transforms::testing::{Input, input, problems, rows_of, run},
    };

    fn numbers(batches: usize, rows: usize) -> Input {
        let batch = |seq: usize| (seq * rows..(seq + 1) * rows).map(|n| json!([n])).collect::<Vec<Json>>();
        let batches: Vec<Vec<Json>> = (0..batches).map(batch).collect();
        input("n int64", &batches.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn sampled(spec: &Json, input: &Input) -> Vec<u64> {
        rows_of(&KIND, spec, input, None).iter().map(|row| row.trim_matches(['[', ']']).parse().expect("one")).collect()
    }

    #[test]
    fn a_share_of_rows_stays_whatever_the_batches_are() {
        let spec = json!({ "share": 0.1 });
        let found = sampled(&spec, &numbers(1, 20_000));
        assert!((1_850..2_150).contains(&found.len()), "{}", found.len());
        assert_eq!(found, sampled(&spec, &numbers(40, 500)));
        let halves = found.iter().filter(|n| **n < 10_000).count();
        assert!((900..1_100).contains(&halves), "{halves}");
        assert_eq!(sampled(&json!({ "share": 1 }), &numbers(2, 50)).len(), 100);
        assert_eq!(sampled(&json!({ "share": 0.0 }), &numbers(2, 50)).len(), 0);
    }

    #[test]
    fn rows_of_one_record_have_a_chance_each() {
        let one = numbers(1, 1).batches.remove(0);
        let many = Input { schema: numbers(1, 1).schema, batches: vec![one.pick(vec![0; 1000])] };
        let found = sampled(&json!({ "share": 0.5 }), &many).len();
        assert!((430..570).contains(&found), "{found}");
    }

    #[test]
    fn so_many_rows_stay_in_order() {
        let spec = json!({ "rows": 1000 });
        let found = sampled(&spec, &numbers(20, 500));
        assert_eq!(found.len(), 1000);
        assert!(found.is_sorted_by(|a, b| a < b));
        assert_eq!(found, sampled(&spec, &numbers(5, 2000)), "whatever the batches are");
        let halves = found.iter().filter(|n| **n < 5_000).count();
        assert!((430..570).contains(&halves), "{halves}");
        assert_eq!(sampled(&spec, &numbers(3, 100)), (0..300).collect::<Vec<_>>());
        assert_eq!(sampled(&spec, &numbers(0, 0)), Vec::<u64>::new());
        let failure = run(&KIND, &spec, &numbers(20, 500), None, 10_000).expect_err("too large");
        assert_eq!(failure.exit, Exit::Unavailable);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let table = [
            (json!({}), "missing-key | key t | a `sample` needs either `rows` or `share`"),
            (json!({ "rows": 5, "share": 0.5 }), "conflict | key t | a `sample` needs either `rows` or `share`"),
            (json!({ "rows": 0 }), "range | t.rows | a sample has one row at least"),
            (json!({ "share": 1.5 }), "range | t.share | a share is from 0 to 1"),
        ];
        for (spec, expected) in table {
            assert_eq!(problems(&KIND, &spec, "n int64", None), [expected], "{spec}");
        }
    }
}
