//! `select`: other columns. Some of the input's as they are, some under other names, some computed.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_select::take::take_arrays;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::errors::refuse;
use super::{
    keys::{places, unknown_column},
    memory::fits,
};
use crate::{
    batch::{Batch, Column, Rejects, Schema},
    expr::Expr,
    failure::Failure,
    jobspec::{Problem, SpecLocation},
    kind::{Compiled, Context, Kind, Workers},
    stage::{Transform, TransformWorker},
};

/// The `select` kind.
pub(super) const KIND: Kind<dyn Transform> = Kind::new::<SelectSpec>("select", compile);

/// Emits other columns: first those of the input that `keep`, `drop` and `rename` leave, then those of `columns`.
/// With `columns` alone it emits these and no others.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SelectSpec {
    /// New columns in their order: a name, and the SQL expression over the input's columns that computes it.
    columns: Option<IndexMap<String, String>>,
    /// The input's columns that stay, in this order.
    keep: Option<Vec<String>>,
    /// The input's columns that go; the others stay.
    drop: Option<Vec<String>>,
    /// Other names for columns of the input: the old name, and the new one.
    rename: Option<IndexMap<String, String>>,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Transform>> {
    let spec: SelectSpec = context.decode()?;
    check_keys(context, &spec)?;
    let (staying, computed) = (staying(context, &spec), computed(context, &spec));
    let (staying, computed) = (staying?, computed?);
    let output = output(context, &spec, &staying, &computed)?;
    let notes = vec![format!("{} columns as they are, {} computed", staying.len(), computed.len())];
    let setup = Arc::new(Setup { staying: staying.into_iter().map(|(column, _)| column).collect(), computed, output });
    let output = Some(setup.output.clone());
    Some(Compiled { stage: Box::new(Select { setup }), output, workers: Workers::Threads, notes })
}

/// Is it said at all what to emit, and only once?
fn check_keys(context: &mut Context<'_>, spec: &SelectSpec) -> Option<()> {
    let place = SpecLocation::key(context.path.clone());
    if spec.columns.is_none() && spec.keep.is_none() && spec.drop.is_none() && spec.rename.is_none() {
        let message = "a `select` needs `columns`, `keep`, `drop` or `rename`";
        context.problems.push(Problem::new("missing-key", place, message));
        return None;
    }
    if spec.keep.is_some() && spec.drop.is_some() {
        let place = SpecLocation::key(context.path.key("drop"));
        let help = Some("`keep` names all that stay, the others go".to_owned());
        context.problems.push(Problem::new("conflict", place, "`drop` beside `keep` means nothing").help(help));
        return None;
    }
    Some(())
}

/// The input's columns that stay, by place, with the names they have then.
fn staying(context: &mut Context<'_>, spec: &SelectSpec) -> Option<Vec<(usize, String)>> {
    let input = context.input().clone();
    let all: Vec<usize> = match (&spec.keep, &spec.drop) {
        (Some(keep), _) => places(context, "keep", keep)?,
        (None, Some(drop)) => {
            let gone = places(context, "drop", drop)?;
            (0..input.columns().len()).filter(|place| !gone.contains(place)).collect()
        }
        (None, None) if spec.rename.is_some() => (0..input.columns().len()).collect(),
        (None, None) => Vec::new(),
    };
    let mut named: Vec<(usize, String)> =
        all.into_iter().map(|place| (place, input.columns()[place].name.clone())).collect();
    let mut sound = true;
    for (old, new) in spec.rename.iter().flatten() {
        let place = SpecLocation::key(context.path.key("rename").entry(old));
        let problem = match input.find(old) {
            None => Some(unknown_column(place, old, &input)),
            Some((column, _)) => match named.iter_mut().find(|(staying, _)| *staying == column) {
                Some((_, name)) => {
                    name.clone_from(new);
                    None
                }
                None => Some(Problem::new("columns", place, format!("column `{old}` does not stay"))),
            },
        };
        sound &= problem.is_none();
        problem.into_iter().for_each(|problem| context.problems.push(problem));
    }
    sound.then_some(named)
}

fn computed(context: &mut Context<'_>, spec: &SelectSpec) -> Option<Vec<Expr>> {
    let at = context.path.key("columns");
    let bound: Vec<Option<Expr>> =
        spec.columns.iter().flatten().map(|(name, text)| context.expr_at(&at.entry(name), 0, text)).collect();
    bound.into_iter().collect()
}

/// The columns it emits. Two of one name are a problem.
fn output(
    context: &mut Context<'_>,
    spec: &SelectSpec,
    staying: &[(usize, String)],
    computed: &[Expr],
) -> Option<Schema> {
    let input = context.input().clone();
    let mut columns: Vec<Column> = Vec::new();
    let mut sound = true;
    let mut add = |column: Column, place: SpecLocation| {
        if columns.iter().any(|other| other.name == column.name) {
            let message = format!("two columns would be named `{}`", column.name);
            context.problems.push(Problem::new("columns", place, message));
            sound = false;
        }
        columns.push(column);
    };
    let path = context.path.clone();
    for (place, name) in staying {
        let old = &input.columns()[*place];
        let at = SpecLocation::value(path.key("rename").entry(&old.name));
        add(Column { name: name.clone(), ..old.clone() }, at);
    }
    for (name, expr) in spec.columns.iter().flat_map(|columns| columns.keys()).zip(computed) {
        let column_type = expr.column_type().clone();
        let at = SpecLocation::key(path.key("columns").entry(name));
        add(Column { name: name.clone(), column_type, nullable: expr.nullable() }, at);
    }
    if columns.is_empty() {
        context.problems.push(Problem::new("empty", SpecLocation::key(path), "no column would be left"));
        return None;
    }
    sound.then(|| Schema::new(columns))
}

struct Setup {
    /// Places in the input.
    staying: Vec<usize>,
    computed: Vec<Expr>,
    output: Schema,
}

struct Select {
    setup: Arc<Setup>,
}

impl Transform for Select {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(Select { setup: Arc::clone(&self.setup) }))
    }
}

impl TransformWorker for Select {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let mut errors = Vec::new();
        let staying = self.setup.staying.iter().map(|place| Arc::clone(batch.records.column(*place)));
        let computed = self.setup.computed.iter().map(|expr| expr.evaluate(&batch, &mut errors));
        let columns: Vec<ArrayRef> = staying.chain(computed).collect();
        let schema = self.setup.output.arrow();
        if errors.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
            let records = fits(RecordBatch::try_new_with_options(schema, columns, &options))?;
            return Ok(Batch::new(records, batch.origin));
        }
        let kept = refuse(&batch, errors, rejects);
        let origin = batch.origin.pick(&kept);
        let columns = fits(take_arrays(&columns, &UInt32Array::from(kept), None))?;
        Ok(Batch::new(fits(RecordBatch::try_new(schema, columns))?, origin))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::transforms::testing::{compile, input, problems, rows_of, run};

    const COLUMNS: &str = "id int64, name string?, price float64?";

    #[test]
    fn columns_stay_go_are_renamed_and_computed() {
        let rows = input(COLUMNS, &[&[json!([1, "a", 2.5])], &[], &[json!([2, null, null])]]);
        let table = [
            (json!({ "columns": { "x": "id * 2", "id": "name" } }), "x int64, id string?", [r#"[2,"a"]"#, "[4,null]"]),
            (json!({ "keep": ["price", "id"] }), "price float64?, id int64", ["[2.5,1]", "[null,2]"]),
            (json!({ "drop": ["name", "price"] }), "id int64", ["[1]", "[2]"]),
            (
                json!({ "rename": { "id": "name", "name": "id" } }),
                "name int64, id string?, price float64?",
                [r#"[1,"a",2.5]"#, "[2,null,null]"],
            ),
            (
                json!({ "drop": ["price"], "rename": { "id": "key" }, "columns": { "price": "coalesce(price, 0.0)" } }),
                "key int64, name string?, price float64",
                [r#"[1,"a",2.5]"#, "[2,null,0.0]"],
            ),
        ];
        for (spec, schema, expected) in table {
            let compiled = compile(&KIND, &spec, (&rows.schema, None), 0).unwrap_or_else(|found| panic!("{found:?}"));
            assert_eq!(compiled.output.expect("it has output").to_string(), schema, "{spec}");
            assert_eq!(rows_of(&KIND, &spec, &rows, None), expected, "{spec}");
        }
    }

    #[test]
    fn plain_columns_are_not_copied() {
        let rows = input(COLUMNS, &[&[json!([1, "a text that is longer than a view", 2.5])]]);
        let spec = json!({ "keep": ["id"], "columns": { "title": "name", "more": "id + 1" } });
        let Ok(compiled) = compile(&KIND, &spec, (&rows.schema, None), 0) else { panic!("it is sound") };
        let mut worker = compiled.stage.worker().expect("a worker");
        let out = worker.apply(rows.batches[0].clone(), &mut Rejects::default()).expect("it works");
        let (before, after) = (rows.batches[0].records.columns(), out.records.columns());
        assert!(Arc::ptr_eq(&before[0], &after[0]) && Arc::ptr_eq(&before[1], &after[1]));
    }

    #[test]
    fn a_record_that_fails_is_rejected_alone() {
        let rows = input(COLUMNS, &[&[json!([0, "a", 1.0]), json!([2, "b", 1.0])], &[json!([0, "c", 1.0])]]);
        let spec = json!({ "columns": { "a": "10 // id", "b": "cast(name as int64)", "c": "name" } });
        let ran = run(&KIND, &spec, &rows, None, 0).expect("nothing fails as a whole");
        assert_eq!(ran.rows, Vec::<String>::new());
        let codes: Vec<&str> = ran.rejects.iter().map(|line| &line[..12]).collect();
        assert_eq!(codes, ["1 expression", "2 expression", "3 expression"]);
        assert!(ran.rejects[0].contains("division by zero"), "{:?}", ran.rejects);
        let ran =
            run(&KIND, &json!({ "columns": { "a": "10 // id", "c": "name" } }), &rows, None, 0).expect("the same");
        assert_eq!((ran.rows, ran.rejects.len()), (vec![r#"[5,"b"]"#.to_owned()], 2));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let table = [
            (json!({}), vec!["missing-key | key t | a `select` needs `columns`, `keep`, `drop` or `rename`"]),
            (
                json!({ "keep": ["id"], "drop": ["id"] }),
                vec![
                    "conflict | key t.drop | `drop` beside `keep` means nothing | `keep` names all that stay, the others go",
                ],
            ),
            (
                json!({ "keep": ["id", "nme", "id"] }),
                vec![
                    "unknown-column | t.keep[1] | there is no column `nme` | did you mean `name`?",
                    "columns | t.keep[2] | column `id` is named twice",
                ],
            ),
            (
                json!({ "rename": { "prize": "x", "id": "name" } }),
                vec!["unknown-column | key t.rename.prize | there is no column `prize` | did you mean `price`?"],
            ),
            (
                json!({ "rename": { "id": "name" } }),
                vec!["columns | t.rename.name | two columns would be named `name`"],
            ),
            (
                json!({ "keep": ["id"], "rename": { "name": "x" } }),
                vec!["columns | key t.rename.name | column `name` does not stay"],
            ),
            (
                json!({ "keep": ["id"], "columns": { "id": "price" } }),
                vec!["columns | key t.columns.id | two columns would be named `id`"],
            ),
            (
                json!({ "columns": { "a.b": "id + prize" }, "drop": ["nam"] }),
                vec![
                    "unknown-column | t.drop[0] | there is no column `nam` | did you mean `name`?",
                    "expression | t.columns.a.b[5..10] | there is no column `prize` | did you mean `price`?",
                ],
            ),
            (json!({ "drop": ["id", "name", "price"] }), vec!["empty | key t | no column would be left"]),
        ];
        for (spec, expected) in table {
            assert_eq!(problems(&KIND, &spec, COLUMNS, None), expected, "{spec}");
        }
    }
}
