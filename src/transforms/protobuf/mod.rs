//! `protobuf`: encodes each row as a protobuf message, into a binary column.
//!
//! The `.proto` file is compiled when the spec is. What comes of it is a bound message: for each field its tags as
//! bytes, the column that fills it, and when it is left out. Rows are then written by it alone, into
//! one buffer per batch that the output column's values are views of.
//!
//! Columns with a type of the field's kind are written directly; a `json` column fills a field of any type
//! by protobuf's JSON mapping.

mod bound;
mod column;
mod encode;
mod json;
mod message;
mod raw;
mod refusal;
mod resolver;
mod scalar;
mod schema;
#[cfg(test)]
mod tests;
mod wellknown;
mod wire;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch};
use prost_reflect::MessageDescriptor;
use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    bound::{At, BoundMessage, Complaint},
    encode::Layout,
    refusal::Refusal,
    schema::LoadError,
};
use crate::{
    batch::{Batch, Column, ColumnType, Rejects, Schema},
    failure::{Exit, Failure},
    jobspec::{Problem, SpecLocation, Text},
    kind::{Compiled, Context, Kind, Workers},
    stage::{Transform, TransformWorker},
};

/// The kind, for the registry.
pub(super) const KIND: Kind<dyn Transform> = Kind::new::<Spec>("protobuf", compile);

/// Encodes each row as a protobuf message.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Spec {
    /// Path of the `.proto` file.
    schema: Text,
    /// The message, such as `UserApps` or `package.UserApps`. Its fields are taken from the columns of the
    /// same name; a field without such a column is left out.
    message: Text,
    /// Name of the binary column that takes the encoded message; a column of that name is replaced.
    into: Text,
    /// Folders where imported files are looked for; by default the folder of the `.proto` file.
    #[serde(default)]
    include: Vec<Text>,
    /// Column by field, for fields whose column has another name.
    #[serde(default)]
    fields: BTreeMap<String, String>,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Transform>> {
    let spec = context.decode()?;
    build(context, &spec)
}

fn build(context: &mut Context<'_>, spec: &Spec) -> Option<Compiled<dyn Transform>> {
    if spec.into.is_empty() {
        context.problem("into", "empty", "a column needs a name");
    }
    let message = message(context, spec)?;
    let bound = match bound::bind(&message, context.input(), &spec.fields) {
        Ok(bound) => bound,
        Err(complaints) => {
            complaints.into_iter().for_each(|complaint| complain(context, complaint));
            return None;
        }
    };
    if spec.into.is_empty() {
        return None;
    }
    let output =
        context.input().with(Column { name: spec.into.clone(), column_type: ColumnType::Binary, nullable: false });
    let (place, _) = output.find(&spec.into)?;
    let notes = notes(spec, &message, &bound);
    let shared = Shared { bound, output: output.clone(), place };
    let stage = Box::new(Protobuf(Arc::new(shared)));
    Some(Compiled { stage, output: Some(output), workers: Workers::Threads, notes })
}

/// Reads the `.proto` file and finds the message.
fn message(context: &mut Context<'_>, spec: &Spec) -> Option<MessageDescriptor> {
    let include: Vec<PathBuf> = spec.include.iter().map(PathBuf::from).collect();
    let file = match schema::load(spec.schema.as_ref(), &include) {
        Ok(file) => file,
        Err(errors) => {
            errors.into_iter().for_each(|error| unreadable(context, error));
            return None;
        }
    };
    match file.message(&spec.message) {
        Ok(message) => Some(message),
        Err((sentence, hint)) => {
            let place = SpecLocation::value(context.path.key("message"));
            context.problems.push(Problem::new("unknown-message", place, sentence).help(hint));
            None
        }
    }
}

fn unreadable(context: &mut Context<'_>, error: LoadError) {
    let problem = match error {
        LoadError::Schema(message) => Problem::new("file", SpecLocation::value(context.path.key("schema")), message),
        LoadError::Include(i, message) => {
            Problem::new("file", SpecLocation::value(context.path.key("include").index(i)), message)
        }
        LoadError::At { path, text, range, message, help } => {
            Problem::new("proto", SpecLocation::File(path, text, range), message).help(help)
        }
    };
    context.problems.push(problem);
}

fn complain(context: &mut Context<'_>, complaint: Complaint) {
    let place = match &complaint.at {
        At::Message => SpecLocation::value(context.path.key("message")),
        At::Entry(field) => SpecLocation::key(context.path.key("fields").entry(field)),
        At::Mapped(field) => SpecLocation::value(context.path.key("fields").entry(field)),
    };
    context.problems.push(Problem::new(complaint.code, place, complaint.message).help(complaint.help));
}

fn notes(spec: &Spec, message: &MessageDescriptor, bound: &BoundMessage) -> Vec<String> {
    let fields: Vec<String> = bound.fields.iter().map(|field| field.to_string()).collect();
    let mut notes = vec![
        format!("message `{}` of `{}` into `{}`", message.full_name(), spec.schema, spec.into),
        format!("fields from columns: {}", fields.join(", ")),
    ];
    if !bound.left_out.is_empty() {
        let names: Vec<String> = bound.left_out.iter().map(|name| format!("`{name}`")).collect();
        notes.push(format!("left out, having no column: {}", names.join(", ")));
    }
    notes
}

struct Protobuf(Arc<Shared>);

/// What all workers read.
struct Shared {
    bound: BoundMessage,
    output: Schema,
    /// Where the encoded column stands in the output.
    place: usize,
}

impl Transform for Protobuf {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(Worker { shared: Arc::clone(&self.0), layout: Layout::default() }))
    }
}

struct Worker {
    shared: Arc<Shared>,
    layout: Layout,
}

impl TransformWorker for Worker {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let mut refused: Vec<u32> = Vec::new();
        let encoded = self.shared.bound.encode(&batch.records, &mut self.layout, |row, refusal: Refusal| {
            rejects.push(&batch, row, refusal.code, refusal.message());
            refused.push(row as u32);
        })?;
        let batch = if refused.is_empty() { batch } else { batch.pick(others(batch.rows(), &refused)) };
        let mut columns = batch.records.columns().to_vec();
        let encoded: ArrayRef = Arc::new(encoded);
        match columns.get_mut(self.shared.place) {
            Some(column) => *column = encoded,
            None => columns.push(encoded),
        }
        let records = RecordBatch::try_new(self.shared.output.arrow(), columns)
            .map_err(|error| Failure::new(Exit::Bug, format!("a batch is not of the planned schema: {error}")))?;
        Ok(Batch::new(records, batch.origin))
    }
}

/// The rows `0..rows` that are not in `refused`, which is ascending.
fn others(rows: usize, refused: &[u32]) -> Vec<u32> {
    let mut refused = refused.iter().peekable();
    (0..rows as u32).filter(|row| refused.next_if_eq(&row).is_none()).collect()
}
