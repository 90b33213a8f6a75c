//! From a decoded spec to a plan, or to every problem it has.

mod files;
mod order;
mod partly;

use std::{
    collections::{HashMap, HashSet},
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    thread::available_parallelism,
};

use super::{
    Plan, Role, Stage,
    deadlock::{self, Circle},
    needed,
    pools::{PoolRequest, pools},
    preview,
};
use crate::{
    batch::{Column, ColumnType, Schema},
    event::StageId,
    exchange::{Exchange, Folder},
    expr::clock,
    failure::Failure,
    jobspec::{
        Document, JobSpec, OnLostState, Path, Problem, Problems, Section, SpecLocation, StageSpec, Table, Value,
        digest, digests, meant, nearest,
    },
    kind::{Compiled, Context, Kind, Workers},
    memory::Memory,
    sinks, sources,
    stage::Sink,
    transforms,
};

/// Compiles a spec. Every problem is recorded; there is a plan only where none of them is an error.
pub fn compile(document: &Document, problems: &mut Problems) -> Option<Plan> {
    clock::stopped_at(clock::now(), || {
        let (job, stages, requests) = stages(document, problems)?;
        Some(plan(document, job, stages, requests))
    })
}

/// Compiles a spec, but only for the rows that come to one stage: its own output, or the input of a sink. They go to
/// `sink` instead; no sink of the spec is in the plan. Without a name it is the first sink that reads no other.
///
/// # Errors
/// There is no such stage, or its rows come from a sink.
pub fn compile_preview(
    document: &Document,
    name: Option<&str>,
    sink: Box<dyn Sink>,
    problems: &mut Problems,
) -> Result<Option<Plan>, Failure> {
    let (own, name) = needed::needed(document, name);
    let name = name.as_deref();
    let Some((job, stages, requests)) = stages_of(document, own.as_ref(), problems) else { return Ok(None) };
    let ends = preview::ends(&job, &stages, name)?;
    let (stages, requests) = preview::cut(stages, requests, &ends, sink);
    Ok(Some(plan(document, job, stages, requests)))
}

/// The stages of a spec and what they want of the executor.
pub(super) fn stages(document: &Document, problems: &mut Problems) -> Option<(JobSpec, Vec<Stage>, Vec<PoolRequest>)> {
    stages_of(document, None, problems)
}

/// The same, but of some of its stages alone where their values are given; then it need not be a whole job.
fn stages_of(
    document: &Document,
    own: Option<&Value>,
    problems: &mut Problems,
) -> Option<(JobSpec, Vec<Stage>, Vec<PoolRequest>)> {
    let job = JobSpec::decode(own.unwrap_or(&document.root), problems)?;
    let none = Table::new();
    let tables = |section: Section| {
        let found = document.root.get(&Path::default().key(section.key())).and_then(Value::as_table);
        found.unwrap_or(&none)
    };
    let (sources, sinks) = (tables(Section::Sources), tables(Section::Sinks));
    let (done, partly) = (HashMap::new(), HashMap::new());
    let memory = memory(document, &job);
    let (stages, requests) = (Vec::new(), Vec::new());
    let mut compiler = Compiler { job: &job, sources, sinks, memory, problems, done, partly, stages, requests };
    if own.is_none() {
        compiler.check_ends(&document.root);
    }
    for spec in order::order(&job, compiler.problems) {
        let stage = compiler.stage(spec);
        compiler.done.insert(&spec.name, stage);
    }
    compiler.check_files();
    compiler.check_waits();
    let Compiler { stages, requests, .. } = compiler;
    if problems.any_error() {
        return None;
    }
    Some((job, stages, requests))
}

pub(super) fn plan(document: &Document, job: JobSpec, stages: Vec<Stage>, requests: Vec<PoolRequest>) -> Plan {
    let state = state(document, &job);
    let threads = job.limits.threads.or_else(|| available_parallelism().ok()).map_or(1, usize::from);
    let pools = pools(&stages, requests, threads);
    Plan {
        name: job.name,
        description: job.description,
        digest: digest(&document.root),
        digests: digests(&document.root),
        now: clock::now(),
        limits: job.limits,
        rejects: job.rejects,
        report: job.report,
        state,
        adopts: job.on_lost_state == OnLostState::Adopt,
        samples: job.samples,
        keep: job.keep,
        stages,
        pools,
    }
}

/// What the stages that hold rows have in common; nothing is made on disk before they spill.
fn memory(document: &Document, job: &JobSpec) -> Arc<Memory> {
    let (limits, state) = (&job.limits, state(document, job));
    let folder = Folder::new(limits.spill_folder(&state));
    let exchange = Exchange::new(Box::new(folder), limits.spill.max.map(|most| most.0));
    Memory::new(usize::try_from(limits.memory.0).unwrap_or(usize::MAX), exchange)
}

/// The state directory: beside the spec unless it says otherwise.
fn state(document: &Document, job: &JobSpec) -> PathBuf {
    job.state.clone().unwrap_or_else(|| FilePath::new(&document.name).with_file_name(".runner"))
}

struct Compiler<'a> {
    job: &'a JobSpec,
    /// The `[sources]` tables as written.
    sources: &'a Table,
    /// The `[sinks]` tables as written.
    sinks: &'a Table,
    memory: Arc<Memory>,
    problems: &'a mut Problems,
    /// Stages met so far; `None` where one has a problem, so that those behind it stay silent about it.
    done: HashMap<&'a str, Option<StageId>>,
    /// What stages with a problem emit, as far as it is known.
    partly: HashMap<&'a str, Schema>,
    stages: Vec<Stage>,
    requests: Vec<PoolRequest>,
}

impl<'a> Compiler<'a> {
    /// A job needs a source and a sink, and everything made must be used.
    fn check_ends(&mut self, root: &Value) {
        for (section, stages) in [(Section::Sources, &self.job.sources), (Section::Sinks, &self.job.sinks)] {
            if stages.is_empty() && !is_meant(root, section) {
                let message = format!("the job has no {section}");
                self.problems.push(Problem::new("no-stage", SpecLocation::key(Path::default()), message));
            }
        }
        let Some(read) = self.read() else { return };
        for stage in self.job.stages().filter(|stage| stage.section != Section::Sinks) {
            if !read.contains(stage.name.as_str()) {
                let message = format!("nothing reads `{}`", stage.name);
                let help = Some(format!("name `{}` as the `input` of a transform or a sink", stage.name));
                self.problems.push(Problem::new("unused", SpecLocation::key(stage.path.clone()), message).help(help));
            }
        }
    }

    /// The names of the stages that others read, or mean to. `None` where that cannot be said: an input is
    /// missing or far from any name, or there is no sink.
    fn read(&self) -> Option<HashSet<&'a str>> {
        if self.job.sinks.is_empty() {
            return None;
        }
        let mut read = HashSet::new();
        for stage in self.job.stages().filter(|stage| stage.section != Section::Sources) {
            if stage.inputs.is_empty() {
                return None;
            }
            for (name, _) in reads(stage) {
                let same = self.job.stages().find(|other| other.name == name).map(|other| other.name.as_str());
                read.insert(same.or_else(|| meant(&name, others(self.job, stage)))?);
            }
        }
        Some(read)
    }

    /// Sources that wait for each other would do so for ever.
    fn check_waits(&mut self) {
        let Some(Circle { sources, at }) = deadlock::circle(&self.stages, &self.requests) else { return };
        let name = |id: StageId| format!("`{}`", self.stages[id].name);
        let shown: Vec<String> = sources.iter().chain(&sources[..1]).map(|id| name(*id)).collect();
        let Some(spec) = self.job.stages().find(|stage| stage.name == self.stages[at].name) else { return };
        let message =
            format!("the rows of {} would wait for each other for ever, here and further on", shown.join(" → "));
        let help = format!("define {} a second time under another name, and read each once", shown[0]);
        let place = SpecLocation::value(spec.path.key("input"));
        self.problems.push(Problem::new("shared-origin", place, message).help(Some(help)));
    }

    fn stage(&mut self, spec: &'a StageSpec) -> Option<StageId> {
        match spec.section {
            Section::Sources => {
                let compiled = self.kind(spec, sources::KINDS, &Inputs::default())?;
                self.add(spec, compiled, Inputs::default(), Role::Source)
            }
            Section::Transforms => {
                let inputs = self.inputs(spec).unwrap_or_default();
                let compiled = self.kind(spec, transforms::KINDS, &inputs)?;
                self.add(spec, compiled, inputs, Role::Transform)
            }
            Section::Sinks => {
                let inputs = self.inputs(spec).unwrap_or_default();
                let compiled = self.kind(spec, sinks::KINDS, &inputs)?;
                self.add(spec, compiled, inputs, Role::Sink)
            }
        }
    }

    /// Compiles a stage by its kind. Where the input's columns are not known because of an earlier problem,
    /// its keys are checked all the same.
    fn kind<S: ?Sized>(
        &mut self,
        spec: &'a StageSpec,
        kinds: &'static [Kind<S>],
        inputs: &Inputs,
    ) -> Option<(&'static str, Compiled<S>)> {
        let word = spec.kind.as_deref()?;
        let Some(kind) = kinds.iter().find(|kind| kind.name == word) else {
            let place = SpecLocation::value(spec.path.key("type"));
            let message = format!("there is no {} of type `{word}`", spec.section);
            let help = file_kind(word, spec.section).or_else(|| nearest(word, kinds.iter().map(|kind| kind.name)));
            self.problems.push(Problem::new("unknown-type", place, message).help(help));
            return None;
        };
        let known = inputs.schema.is_some() && (kind.side.is_none() || inputs.side.is_some());
        let (known, before) = (known || spec.section == Section::Sources, self.problems.iter().count());
        if spec.broken || !known {
            if known || !self.check_partly(spec, kind) {
                self.with_problems(|own, problems| (kind.check)(&mut own.context(spec, &spec.table, inputs, problems)));
            }
        } else {
            let compile = |own: &Self, problems: &mut Problems| {
                (kind.compile)(&mut own.context(spec, &spec.table, inputs, problems))
            };
            if let Some(compiled) = self.with_problems(compile) {
                return Some((kind.name, compiled));
            }
        }
        if known {
            let wrong: Vec<Problem> = self.problems.iter().skip(before).cloned().collect();
            let output = self.without_mistakes(spec, kind, inputs, wrong.iter());
            self.partly.extend(output.map(|output| (spec.name.as_str(), output)));
        }
        None
    }

    /// Calls with the problems that are known, to which more may come.
    fn with_problems<T>(&mut self, call: impl FnOnce(&Self, &mut Problems) -> T) -> T {
        let mut problems = std::mem::take(self.problems);
        let result = call(self, &mut problems);
        *self.problems = problems;
        result
    }

    /// What a kind compiles a stage in.
    fn context<'c>(
        &'c self,
        spec: &StageSpec,
        table: &'c Value,
        inputs: &'c Inputs,
        problems: &'c mut Problems,
    ) -> Context<'c> {
        Context {
            path: spec.path.clone(),
            table,
            common: spec.section.common_keys(),
            input: inputs.schema.as_ref(),
            side: inputs.side.as_ref().map(|(_, schema)| schema),
            batch: spec.common.batch.unwrap_or_default(),
            max_record_bytes: self.job.limits.max_record_bytes.0 as usize,
            memory: usize::try_from(self.job.limits.memory.0).unwrap_or(usize::MAX),
            held: Arc::clone(&self.memory),
            seed: self.job.seed,
            definitions: &self.job.definitions,
            sources: self.sources,
            sinks: self.sinks,
            problems,
        }
    }

    fn add<S: ?Sized>(
        &mut self,
        spec: &StageSpec,
        (kind, compiled): (&'static str, Compiled<S>),
        inputs: Inputs,
        role: impl FnOnce(Box<S>) -> Role,
    ) -> Option<StageId> {
        let Compiled { stage, output, workers, notes } = compiled;
        let asked = match (&spec.common.partition_by, &inputs.schema) {
            (Some(text), Some(schema)) => Some(self.partition(spec, text, schema, &workers)?),
            _ => None,
        };
        let (name, side) = (spec.name.clone(), inputs.side.map(|(id, _)| id));
        self.stages.push(Stage { name, kind, role: role(stage), inputs: inputs.ids, side, output, notes });
        self.requests.push(PoolRequest { common: spec.common.clone(), workers, partition: asked });
        Some(self.stages.len() - 1)
    }

    /// A stage takes its second input whole before the first. Were both to come from one source, that would
    /// be held back by the first while the second waits for it, for ever.
    fn no_shared_origin(&mut self, spec: &StageSpec, inputs: &Inputs) -> Option<()> {
        let Some((side, _)) = &inputs.side else { return Some(()) };
        let origins = self.origins(&[*side]);
        let Some(shared) = self.origins(&inputs.ids).into_iter().find(|id| origins.contains(id)) else {
            return Some(());
        };
        let (name, path) = (&self.stages[shared].name, spec.path.key("input"));
        let message = format!("both inputs of `{}` come from `{name}`", spec.name);
        let help = Some(format!("define `{name}` a second time under another name, and read each once"));
        self.problems.push(Problem::new("shared-origin", SpecLocation::value(path), message).help(help));
        None
    }

    /// The sources that the rows of these stages come from.
    fn origins(&self, stages: &[StageId]) -> HashSet<StageId> {
        let mut found = HashSet::new();
        let mut left = stages.to_vec();
        while let Some(id) = left.pop() {
            if let Role::Source(_) = self.stages[id].role {
                found.insert(id);
            }
            left.extend(self.stages[id].reads());
        }
        found
    }

    fn partition(
        &mut self,
        spec: &StageSpec,
        text: &str,
        schema: &Schema,
        workers: &Workers,
    ) -> Option<crate::expr::Expr> {
        let refused = match workers {
            Workers::One(why) => Some(format!("`partition_by` has no effect, for this stage has one worker: {why}")),
            Workers::Keyed(key, _) => Some(format!("this stage divides its rows by {key}")),
            Workers::Threads | Workers::Default(_) => None,
        };
        if let Some(message) = refused {
            self.problems.push(Problem::new("partition", SpecLocation::key(spec.path.key("partition_by")), message));
            return None;
        }
        let expr = crate::kind::bind(&spec.path, "partition_by", text, schema, self.problems)?;
        if matches!(expr.column_type(), ColumnType::List(_) | ColumnType::Binary) {
            let message = format!("rows cannot be partitioned by a `{}`", expr.column_type());
            self.problems.push(Problem::new("type", SpecLocation::value(spec.path.key("partition_by")), message));
            return None;
        }
        Some(expr)
    }

    /// The stages a stage reads and their columns; `None` where an input is missing or has a problem.
    fn inputs(&mut self, spec: &StageSpec) -> Option<Inputs> {
        let (ids, schema) = self.common_input(&spec.inputs)?;
        let side = match side(spec) {
            None => None,
            Some(named) => {
                let (found, schema) = self.common_input(&[named])?;
                Some((found[0], schema))
            }
        };
        let inputs = Inputs { ids, schema: Some(schema), side };
        self.no_shared_origin(spec, &inputs)?;
        Some(inputs)
    }

    /// The stages of that name and the columns they have in common.
    fn common_input(&mut self, inputs: &[(String, Path)]) -> Option<(Vec<StageId>, Schema)> {
        let mut found: Vec<(StageId, &Path)> = Vec::new();
        for (name, path) in inputs {
            // An unknown name was reported when the stages were put in order.
            let id = (*self.done.get(name.as_str())?)?;
            found.push((id, path));
        }
        let mut schema: Option<(&str, Schema)> = None;
        for (id, path) in &found {
            let stage = &self.stages[*id];
            let Some(output) = stage.output.clone() else {
                let message = format!("`{}` puts nothing out", stage.name);
                self.problems.push(Problem::new("no-output", SpecLocation::value((*path).clone()), message));
                return None;
            };
            match &schema {
                Some((first, wanted)) if *wanted != output => {
                    let message = format!("`{}` and `{first}` have different columns", stage.name);
                    let help = difference((first, wanted), (&stage.name, &output));
                    let place = SpecLocation::value((*path).clone());
                    self.problems.push(Problem::new("input-columns", place, message).help(Some(help)));
                    return None;
                }
                Some(_) => {}
                None => schema = Some((&stage.name, output)),
            }
        }
        schema.map(|(_, schema)| (found.into_iter().map(|(id, _)| id).collect(), schema))
    }
}

/// What to write where a format or a stream of the process stands as the kind of a stage: files have those.
fn file_kind(word: &str, section: Section) -> Option<String> {
    let here = |what: &str| Some(format!("write `type` as `files`, {what}"));
    match word.to_lowercase().as_str() {
        "csv" | "tsv" | "ndjson" | "parquet" => here(&format!("and `format` as `{}`", word.to_lowercase())),
        "json" | "jsonl" => here("and `format` as `ndjson`"),
        "stdout" | "console" | "print" if section == Section::Sinks => here("and `path` as `-`"),
        "stdin" | "console" if section == Section::Sources => here("and `path` as `-`"),
        _ => None,
    }
    .filter(|_| section != Section::Transforms)
}

/// What a stage reads.
#[derive(Default)]
struct Inputs {
    ids: Vec<StageId>,
    schema: Option<Schema>,
    side: Option<(StageId, Schema)>,
}

/// The second input of a stage and where it is named, where its kind has one.
fn side(spec: &StageSpec) -> Option<(String, Path)> {
    let word = spec.kind.as_deref()?;
    let key = transforms::KINDS.iter().find(|kind| kind.name == word)?.side?;
    let Value::Table(table) = &spec.table else { return None };
    let name = table.get(key)?.as_text()?;
    (spec.section == Section::Transforms).then(|| (name.to_owned(), spec.path.key(key)))
}

/// All stages that a stage names, and where.
fn reads(spec: &StageSpec) -> impl Iterator<Item = (String, Path)> {
    spec.inputs.iter().cloned().chain(side(spec))
}

/// The stages that `stage` might read: all but itself.
fn others<'a>(job: &'a JobSpec, stage: &StageSpec) -> impl Iterator<Item = &'a str> {
    job.stages().map(|other| other.name.as_str()).filter(move |other| *other != stage.name)
}

/// Is a section without stages there all the same, misspelt or not a table? Then that has been said.
fn is_meant(root: &Value, section: Section) -> bool {
    let Value::Table(table) = root else { return false };
    table.iter().any(|(key, value)| match key == section.key() {
        true => !matches!(value, Value::Table(_) | Value::Null),
        false => meant(key, [section.key()]).is_some(),
    })
}

/// The first column in which two schemas differ.
fn difference((one, left): (&str, &Schema), (other, right): (&str, &Schema)) -> String {
    let columns = left.columns().iter().zip(right.columns());
    match columns.enumerate().find(|(_, (left, right))| left != right) {
        Some((i, (left, right))) => {
            let number = i + 1;
            format!("column {number} of `{one}` is `{}`, that of `{other}` `{}`", show(left), show(right))
        }
        None => format!("`{one}` has {} columns, `{other}` {}", left.columns().len(), right.columns().len()),
    }
}

fn show(column: &Column) -> String {
    let nullable = if column.nullable { ", nullable" } else { "" };
    format!("{} {}{nullable}", column.name, column.column_type)
}
