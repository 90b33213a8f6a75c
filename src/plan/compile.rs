//! From a decoded spec to a plan, or to every problem it has.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::{Path as FilePath, PathBuf},
    thread::available_parallelism,
};

use super::{
    Plan, Role, Stage,
    pools::{Wish, pools},
};
use crate::{
    batch::{ColumnType, Schema},
    event::StageId,
    kind::{Compiled, Context, Kind, Workers},
    sinks, sources,
    spec::{Document, JobSpec, Path, Place, Problem, Problems, Section, StageSpec, Table, Value, digest, nearest},
    transforms,
};

/// Compiles a spec. Every problem is recorded; there is a plan only where none of them is an error.
pub fn compile(document: &Document, problems: &mut Problems) -> Option<Plan> {
    let job = JobSpec::decode(&document.root, problems)?;
    let none = Table::new();
    let sources = document.root.get(&Path::default().key("sources")).and_then(Value::as_table).unwrap_or(&none);
    let mut compiler =
        Compiler { job: &job, sources, problems, done: HashMap::new(), stages: Vec::new(), wishes: Vec::new() };
    compiler.check_ends();
    for spec in order(&job, compiler.problems) {
        let stage = compiler.stage(spec);
        compiler.done.insert(&spec.name, stage);
    }
    let Compiler { stages, wishes, .. } = compiler;
    if problems.any_error() {
        return None;
    }
    let threads = job.limits.threads.or_else(|| available_parallelism().ok()).map_or(1, usize::from);
    let pools = pools(&stages, wishes, threads);
    Some(Plan {
        name: job.name.clone(),
        description: job.description.clone(),
        digest: digest(&document.root),
        limits: job.limits.clone(),
        rejects: job.rejects.clone(),
        report: job.report.clone(),
        state: job.state.clone().unwrap_or_else(|| beside(&document.name)),
        samples: job.samples,
        stages,
        pools,
    })
}

/// The state directory beside a spec.
fn beside(spec: &str) -> PathBuf {
    FilePath::new(spec).with_file_name(".runner")
}

struct Compiler<'a> {
    job: &'a JobSpec,
    /// The `[sources]` tables as written.
    sources: &'a Table,
    problems: &'a mut Problems,
    /// Stages met so far; `None` where one has a problem, so that those behind it stay silent about it.
    done: HashMap<&'a str, Option<StageId>>,
    stages: Vec<Stage>,
    wishes: Vec<Wish>,
}

impl<'a> Compiler<'a> {
    /// A job needs a source and a sink, and everything made must be used.
    fn check_ends(&mut self) {
        for (section, word) in [(Section::Sources, "source"), (Section::Sinks, "sink")] {
            if !self.job.stages().any(|stage| stage.section == section) {
                let message = format!("the job has no {word}");
                self.problems.push(Problem::new("no-stage", Place::key(Path::default()), message));
            }
        }
        for stage in self.job.stages().filter(|stage| stage.section != Section::Sinks) {
            let read = self.job.stages().any(|reader| reader.inputs.iter().any(|(name, _)| *name == stage.name));
            if !read {
                let message = format!("nothing reads `{}`", stage.name);
                let help =
                    Some(format!("name it as the `input` of a transform or a sink: `input = \"{}\"`", stage.name));
                self.problems.push(Problem::new("unused", Place::key(stage.path.clone()), message).help(help));
            }
        }
    }

    fn stage(&mut self, spec: &'a StageSpec) -> Option<StageId> {
        match spec.section {
            Section::Sources => {
                let compiled = self.kind(spec, sources::KINDS, None)?;
                self.add(spec, compiled, Vec::new(), Role::Source, None)
            }
            Section::Transforms => {
                let (inputs, schema) = self.inputs(spec).unzip();
                let compiled = self.kind(spec, transforms::KINDS, schema.as_ref())?;
                self.add(spec, compiled, inputs?, Role::Transform, schema.as_ref())
            }
            Section::Sinks => {
                let (inputs, schema) = self.inputs(spec).unzip();
                let compiled = self.kind(spec, sinks::KINDS, schema.as_ref())?;
                self.add(spec, compiled, inputs?, Role::Sink, schema.as_ref())
            }
        }
    }

    /// Compiles a stage by its kind. Where the input's columns are not known because of an earlier problem,
    /// its keys are checked all the same.
    fn kind<S: ?Sized>(
        &mut self,
        spec: &StageSpec,
        kinds: &'static [Kind<S>],
        input: Option<&Schema>,
    ) -> Option<(&'static str, Compiled<S>)> {
        let word = spec.kind.as_deref()?;
        let Some(kind) = kinds.iter().find(|kind| kind.name == word) else {
            let place = Place::value(spec.path.key("type"));
            let message = format!("there is no {} of type `{word}`", spec.section);
            let help = nearest(word, kinds.iter().map(|kind| kind.name));
            self.problems.push(Problem::new("unknown-type", place, message).help(help));
            return None;
        };
        let mut context = Context {
            path: spec.path.clone(),
            table: &spec.table,
            common: spec.section.common_keys(),
            input,
            batch: spec.common.batch.unwrap_or_default(),
            max_record_bytes: self.job.limits.max_record_bytes.0 as usize,
            seed: self.job.seed,
            definitions: &self.job.definitions,
            sources: self.sources,
            problems: self.problems,
        };
        if spec.broken || (input.is_none() && spec.section != Section::Sources) {
            (kind.check)(&mut context);
            return None;
        }
        (kind.compile)(&mut context).map(|compiled| (kind.name, compiled))
    }

    fn add<S: ?Sized>(
        &mut self,
        spec: &StageSpec,
        (kind, compiled): (&'static str, Compiled<S>),
        inputs: Vec<StageId>,
        role: impl FnOnce(Box<S>) -> Role,
        input: Option<&Schema>,
    ) -> Option<StageId> {
        let Compiled { stage, output, workers, notes } = compiled;
        let partition = match (&spec.common.partition_by, input) {
            (Some(text), Some(schema)) => Some(self.partition(spec, text, schema, workers)?),
            _ => None,
        };
        let name = spec.name.clone();
        self.stages.push(Stage { name, kind, role: role(stage), inputs, output, notes });
        self.wishes.push(Wish { common: spec.common.clone(), workers, partition });
        Some(self.stages.len() - 1)
    }

    fn partition(
        &mut self,
        spec: &StageSpec,
        text: &str,
        schema: &Schema,
        workers: Workers,
    ) -> Option<crate::expr::Expr> {
        if let Workers::One(why) = workers {
            let message = format!("this stage has one worker whatever is asked for: {why}");
            self.problems.push(Problem::new("partition", Place::key(spec.path.key("partition_by")), message));
            return None;
        }
        let expr = crate::kind::bind(&spec.path, "partition_by", text, schema, self.problems)?;
        if matches!(expr.column_type(), ColumnType::List(_) | ColumnType::Binary) {
            let message = format!("a {} cannot be a key: it has no text", expr.column_type());
            self.problems.push(Problem::new("type", Place::value(spec.path.key("partition_by")), message));
            return None;
        }
        Some(expr)
    }

    /// The stages a stage reads and their common columns; `None` where an input is missing or has a problem.
    fn inputs(&mut self, spec: &'a StageSpec) -> Option<(Vec<StageId>, Schema)> {
        let mut found: Vec<(StageId, &Path)> = Vec::new();
        for (name, path) in &spec.inputs {
            // An unknown name was reported when the stages were put in order.
            let id = (*self.done.get(name.as_str())?)?;
            found.push((id, path));
        }
        let mut schema: Option<(&str, Schema)> = None;
        for (id, path) in &found {
            let stage = &self.stages[*id];
            let Some(output) = stage.output.clone() else {
                let message = format!("`{}` puts nothing out", stage.name);
                self.problems.push(Problem::new("no-output", Place::value((*path).clone()), message));
                return None;
            };
            match &schema {
                Some((first, wanted)) if *wanted != output => {
                    let message = format!("`{}` and `{first}` have different columns", stage.name);
                    let help = Some(format!("`{first}`: {wanted}; `{}`: {output}", stage.name));
                    let place = Place::value((*path).clone());
                    self.problems.push(Problem::new("input-columns", place, message).help(help));
                    return None;
                }
                Some(_) => {}
                None => schema = Some((&stage.name, output)),
            }
        }
        schema.map(|(_, schema)| (found.into_iter().map(|(id, _)| id).collect(), schema))
    }
}

/// The stages so that inputs come before those that read them. Unknown inputs and cycles are recorded; a
/// stage on or behind a cycle is left out.
fn order<'a>(job: &'a JobSpec, problems: &mut Problems) -> Vec<&'a StageSpec> {
    let known = |name: &str| job.stages().any(|stage| stage.name == name);
    for stage in job.stages() {
        for (name, path) in stage.inputs.iter().filter(|(name, _)| !known(name)) {
            let legal = job.stages().map(|other| other.name.as_str()).filter(|other| *other != stage.name);
            let message = format!("there is no stage named `{name}`");
            problems
                .push(Problem::new("unknown-input", Place::value(path.clone()), message).help(nearest(name, legal)));
        }
    }
    let mut ordered: Vec<&StageSpec> = Vec::new();
    let mut left: Vec<&StageSpec> = job.stages().collect();
    loop {
        let placed = |name: &str| !known(name) || ordered.iter().any(|done| done.name == name);
        let (ready, waiting): (Vec<_>, Vec<_>) =
            left.iter().copied().partition(|stage| stage.inputs.iter().all(|(name, _)| placed(name)));
        if ready.is_empty() {
            report_cycles(&waiting, problems);
            return ordered;
        }
        ordered.extend(ready);
        left = waiting;
    }
}

/// Of the stages that wait for each other, names each that reads itself by way of others. There is at
/// least one: every waiting stage waits for another.
fn report_cycles(waiting: &[&StageSpec], problems: &mut Problems) {
    for stage in waiting {
        if let Some(way) = way_back(stage, waiting) {
            let message = format!("`{}` reads itself: {}", stage.name, way.join(" ← "));
            problems.push(Problem::new("cycle", Place::value(stage.path.key("input")), message));
        }
    }
}

/// The shortest way from a stage through its inputs back to itself.
fn way_back<'a>(start: &'a StageSpec, waiting: &[&'a StageSpec]) -> Option<Vec<&'a str>> {
    let mut ways: VecDeque<Vec<&StageSpec>> = VecDeque::from([vec![start]]);
    let mut met: HashSet<&str> = HashSet::new();
    while let Some(way) = ways.pop_front() {
        for (name, _) in &way[way.len() - 1].inputs {
            if *name == start.name {
                return Some(way.iter().map(|stage| stage.name.as_str()).chain([start.name.as_str()]).collect());
            }
            let next = waiting.iter().find(|stage| stage.name == *name);
            if let Some(next) = next.filter(|stage| met.insert(&stage.name)) {
                ways.push_back(way.iter().copied().chain([*next]).collect());
            }
        }
    }
    None
}
