//! `explode`: a row for every item of a list.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, UInt32Array, cast::AsArray};
use arrow_select::take::take;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    growth::{Growth, repeated, width},
    keys::unknown_column,
    memory::fits,
};
use crate::{
    batch::{Batch, Column, ColumnType, Rejects, Schema},
    failure::Failure,
    jobspec::SpecLocation,
    kind::{Compiled, Context, Kind, Workers},
    stage::{Transform, TransformWorker},
};

/// The `explode` kind.
pub(super) const KIND: Kind<dyn Transform> = Kind::new::<ExplodeSpec>("explode", compile);

/// Emits a row for every item of a list, with the other columns repeated. What becomes of a batch must fit into
/// `limits.memory`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExplodeSpec {
    /// The column with the list. The items take its place.
    column: String,
    /// Another name for the column of items.
    into: Option<String>,
    /// Does a row whose list is empty or null become one row with a null? Else it is dropped, and counted as
    /// filtered.
    #[serde(default)]
    outer: bool,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Transform>> {
    let spec: ExplodeSpec = context.decode()?;
    let input = context.input().clone();
    let Some((place, column)) = input.find(&spec.column) else {
        let at = SpecLocation::value(context.path.key("column"));
        context.problems.push(unknown_column(at, &spec.column, &input));
        return None;
    };
    let ColumnType::List(item) = &column.column_type else {
        let message = format!("`{}` is not a list, its type is {}", spec.column, column.column_type);
        context.problem("column", "type", message);
        return None;
    };
    let name = spec.into.clone().unwrap_or_else(|| spec.column.clone());
    let mut columns = input.columns().to_vec();
    columns[place] = Column { name: name.clone(), column_type: (**item).clone(), nullable: true };
    if columns.iter().filter(|column| column.name == name).count() > 1 {
        context.problem("into", "columns", format!("two columns would be named `{name}`"));
        return None;
    }
    let word = if spec.outer { "keeps rows without items" } else { "drops rows without items" };
    let notes = vec![format!("a row for every item of {}, {word}", spec.column)];
    let output = Schema::new(columns);
    let growth = Growth::new(context.memory);
    let stage = Explode { place, outer: spec.outer, output: output.clone(), growth };
    Some(Compiled { stage: Box::new(stage), output: Some(output), workers: Workers::Threads, notes })
}

#[derive(Clone)]
struct Explode {
    place: usize,
    outer: bool,
    output: Schema,
    growth: Growth,
}

impl Transform for Explode {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl Explode {
    /// Is what the batch becomes small enough?
    fn check(&self, batch: &Batch, list: &ListArray) -> Result<(), Failure> {
        let times = |row: usize| match list.is_valid(row) {
            true => (list.value_length(row) as usize).max(usize::from(self.outer)),
            false => usize::from(self.outer),
        };
        let rows = (0..list.len()).fold(0_usize, |sum, row| sum.saturating_add(times(row)));
        let others = batch.records.columns().iter().enumerate().filter(|(place, _)| *place != self.place);
        let own = rows.saturating_mul(width(list.values().data_type()));
        let bytes = others.fold(own, |sum, (_, column)| sum.saturating_add(repeated(column, times)));
        self.growth.check(list.len(), rows, bytes)
    }
}

impl TransformWorker for Explode {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let list = batch.records.column(self.place).as_list::<i32>();
        self.check(&batch, list)?;
        let offsets = list.value_offsets();
        let mut rows = Vec::with_capacity(list.values().len());
        let mut items: Vec<Option<u32>> = Vec::with_capacity(list.values().len());
        for row in 0..list.len() {
            let of_row = if list.is_null(row) { 0..0 } else { offsets[row] as u32..offsets[row + 1] as u32 };
            if !of_row.is_empty() {
                rows.extend(std::iter::repeat_n(row as u32, of_row.len()));
                items.extend(of_row.map(Some));
            } else if self.outer {
                rows.push(row as u32);
                items.push(None);
            } else {
                rejects.dropped(1);
            }
        }
        let origin = batch.origin.pick(&rows);
        let (rows, items) = (UInt32Array::from(rows), UInt32Array::from(items));
        let column = |(place, column): (usize, &ArrayRef)| match place == self.place {
            true => fits(take(list.values(), &items, None)),
            false => fits(take(column, &rows, None)),
        };
        let columns = batch.records.columns().iter().enumerate().map(column).collect::<Result<_, _>>()?;
        let records = fits(RecordBatch::try_new(Arc::clone(&self.output.arrow()), columns))?;
        Ok(Batch::new(records, origin))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::transforms::testing::{compile, input, problems, run};

    const COLUMNS: &str = "id int64, tags list<string>?, n int64?";

    #[test]
    fn every_item_becomes_a_row() {
        let rows = input(
            COLUMNS,
            &[
                &[json!([1, ["a", null, "a text that is longer than a view"], 7]), json!([2, [], null])],
                &[json!([3, null, 9]), json!([4, ["b"], 8])],
            ],
        );
        let items = [r#"[1,"a",7]"#, "[1,null,7]", r#"[1,"a text that is longer than a view",7]"#, r#"[4,"b",8]"#];
        let ran = run(&KIND, &json!({ "column": "tags" }), &rows, None, 1 << 20).expect("nothing fails");
        assert_eq!((ran.rows, ran.dropped, ran.rejects), (items.map(String::from).to_vec(), 2, vec![]));
        let outer = json!({ "column": "tags", "outer": true, "into": "tag" });
        let ran = run(&KIND, &outer, &rows, None, 1 << 20).expect("nothing fails");
        let all = [items[0], items[1], items[2], "[2,null,null]", "[3,null,9]", items[3]];
        assert_eq!((ran.rows, ran.dropped), (all.map(String::from).to_vec(), 0));
        let Ok(compiled) = compile(&KIND, &outer, (&rows.schema, None), 0) else { panic!("it is sound") };
        assert_eq!(compiled.output.expect("it has output").to_string(), "id int64, tag string?, n int64?");
    }

    #[test]
    fn rows_know_the_record_they_came_from() {
        let rows = input(COLUMNS, &[&[json!([1, ["a", "b"], 7]), json!([2, ["c"], null])]]);
        let Ok(compiled) = compile(&KIND, &json!({ "column": "tags" }), (&rows.schema, None), 1 << 20) else {
            panic!()
        };
        let mut worker = compiled.stage.worker().expect("a worker");
        let out = worker.apply(rows.batches[0].slice(1, 1), &mut Rejects::default()).expect("it works");
        assert_eq!((out.rows(), out.origin.position(0).line), (1, 2));
        let out = worker.apply(rows.batches[0].clone(), &mut Rejects::default()).expect("it works");
        assert_eq!((0..3).map(|row| out.origin.position(row).line).collect::<Vec<_>>(), [1, 1, 2]);
    }

    #[test]
    fn a_batch_that_becomes_too_large_is_a_failure() {
        let tags: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let rows = input(COLUMNS, &[&[json!([1, tags, 7]), json!([2, tags, 8])]]);
        // A row takes 12 bytes, two integers 16, a view 16.
        let needed = 200 * (12 + 16 + 16);
        let ran = run(&KIND, &json!({ "column": "tags" }), &rows, None, needed).expect("it fits");
        assert_eq!(ran.rows.len(), 200);
        let failure = run(&KIND, &json!({ "column": "tags" }), &rows, None, needed - 1).expect_err("a byte too much");
        assert!(failure.message.starts_with("a batch of 2 rows would become 200 rows of 8.6 KiB"), "{failure}");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let table = [
            (json!({ "column": "tag" }), "unknown-column | t.column | there is no column `tag` | did you mean `tags`?"),
            (json!({ "column": "n" }), "type | t.column | `n` is not a list, its type is int64"),
            (json!({ "column": "tags", "into": "n" }), "columns | t.into | two columns would be named `n`"),
        ];
        for (spec, expected) in table {
            assert_eq!(problems(&KIND, &spec, COLUMNS, None), [expected], "{spec}");
        }
    }
}
