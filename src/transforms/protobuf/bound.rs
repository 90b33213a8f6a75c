//! Which column fills which field, worked out once: by name, or as the spec maps them.

use std::{collections::BTreeMap, fmt};

use prost_reflect::{FieldDescriptor, Kind as Described, MessageDescriptor};

use super::{
    message::{Builder, Field, Special, Types, scalar, special},
    refusal::article,
};
use crate::{
    batch::{ColumnType, Schema},
    jobspec::nearest,
};

/// A message type whose fields know their columns.
#[derive(Debug)]
pub(super) struct BoundMessage {
    /// The filled fields, by number.
    pub(super) fields: Vec<Bound>,
    pub(super) types: Types,
    /// Fields without a column.
    pub(super) left_out: Vec<String>,
}

/// A field and its column.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) field: Field,
    /// The column's place in the input.
    pub(super) column: usize,
    pub(super) column_name: String,
    pub(super) column_type: ColumnType,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.name == self.column_name {
            true => write!(f, "`{}`", self.field.name),
            false => write!(f, "`{}` from `{}`", self.field.name, self.column_name),
        }
    }
}

/// Something wrong with how columns and fields go together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) code: &'static str,
    pub(super) at: At,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Where a complaint belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The value of `message`.
    Message,
    /// This key of `fields`.
    Entry(String),
    /// The value of this key of `fields`.
    Mapped(String),
}

/// Plans `message` from the columns of `input`. `mapping` names the column of a field where it has another
/// name.
pub(super) fn bind(
    message: &MessageDescriptor,
    input: &Schema,
    mapping: &BTreeMap<String, String>,
) -> Result<BoundMessage, Vec<Complaint>> {
    let mut complaints = unknown_names(message, input, mapping);
    complaints.extend(extensions(message, input));
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    let mut types = Builder::default();
    let (mut bound, mut left_out) = (Vec::new(), Vec::new());
    for field in &fields {
        let mapped = mapping.get(field.name());
        let wanted = mapped.map_or(field.name(), String::as_str);
        match input.find(wanted) {
            Some((column, found)) if fits(&found.column_type, field) => bound.push(Bound {
                field: types.field(field),
                column,
                column_name: found.name.clone(),
                column_type: found.column_type.clone(),
            }),
            Some((_, found)) => complaints.push(misfit(field, &found.name, &found.column_type, mapped.is_some())),
            None if mapped.is_some() => {} // named above
            None if field.is_required() => complaints.push(required(field)),
            None => left_out.push(field.name().to_owned()),
        }
    }
    if complaints.is_empty() && bound.is_empty() {
        complaints.push(nothing(message, &fields));
    }
    if complaints.is_empty() {
        Ok(BoundMessage { fields: bound, types: types.finish(), left_out })
    } else {
        Err(complaints)
    }
}

fn unknown_names(message: &MessageDescriptor, input: &Schema, mapping: &BTreeMap<String, String>) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (field, column) in mapping {
        if message.get_field_by_name(field).is_none() {
            let names: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
            complaints.push(Complaint {
                code: "unknown-field",
                at: At::Entry(field.clone()),
                message: format!("message `{}` has no field `{field}`", message.full_name()),
                help: nearest(field, names.iter().map(String::as_str)),
            });
        }
        if input.find(column).is_none() {
            complaints.push(Complaint {
                code: "unknown-column",
                at: At::Mapped(field.clone()),
                message: format!("there is no column `{column}`"),
                help: nearest(column, input.columns().iter().map(|column| column.name.as_str())),
            });
        }
    }
    complaints
}

/// Columns that are called like extensions of the message, as JSON calls them: they would be left out in silence.
fn extensions(message: &MessageDescriptor, input: &Schema) -> Vec<Complaint> {
    let extension = |column: &str| {
        let name = column.strip_prefix('[')?.strip_suffix(']')?;
        message.extensions().any(|extension| extension.full_name() == name).then(|| name.to_owned())
    };
    let called = input.columns().iter().filter_map(|column| extension(&column.name));
    let complain = |name: String| Complaint {
        code: "extension",
        at: At::Message,
        message: format!("column `[{name}]` is called like an extension of `{}`", message.full_name()),
        help: Some("extensions cannot be filled: leave the column out before, or give it another name".into()),
    };
    called.map(complain).collect()
}

fn misfit(field: &FieldDescriptor, column: &str, column_type: &ColumnType, mapped: bool) -> Complaint {
    let message = format!(
        "field `{}` is {}, column `{column}` is {}",
        field.name(),
        article(&type_name(field)),
        article(&column_type.to_string())
    );
    let at = if mapped { At::Mapped(field.name().to_owned()) } else { At::Message };
    let takes: Vec<String> = all_types().filter(|ty| fits(ty, field)).map(|ty| format!("`{ty}`")).collect();
    Complaint { code: "type", at, message, help: Some(format!("it can be filled from: {}", takes.join(", "))) }
}

fn required(field: &FieldDescriptor) -> Complaint {
    Complaint {
        code: "required-field",
        at: At::Message,
        message: format!("field `{}` is required, but there is no column `{}`", field.name(), field.name()),
        help: Some(format!("name its column: `fields = {{ {} = \"…\" }}`", field.name())),
    }
}

fn nothing(message: &MessageDescriptor, fields: &[FieldDescriptor]) -> Complaint {
    let names: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name())).collect();
    let help =
        if names.is_empty() { "the message has no fields".into() } else { format!("its fields: {}", names.join(", ")) };
    Complaint {
        code: "no-fields",
        at: At::Message,
        message: format!("no field of `{}` has a column of its name", message.full_name()),
        help: Some(help),
    }
}

/// Every type that stands alone, and every list of such.
fn all_types() -> impl Iterator<Item = ColumnType> {
    let alone = || ColumnType::names().filter_map(|name| name.parse::<ColumnType>().ok());
    alone().chain(alone().map(|item| ColumnType::List(Box::new(item))))
}

/// Can a column of this type fill `field`? Whether each value fits may still be seen only when it comes.
fn fits(column_type: &ColumnType, field: &FieldDescriptor) -> bool {
    match column_type {
        ColumnType::Json => true,
        ColumnType::List(item) => field.is_list() && (**item == ColumnType::Json || value_fits(item, &field.kind())),
        single => !field.is_list() && !field.is_map() && value_fits(single, &field.kind()),
    }
}

fn value_fits(column_type: &ColumnType, kind: &Described) -> bool {
    use ColumnType::{
        Binary, Bool, Date, Float32, Float64, Int8, Int16, Int32, String, Timestamp, TimestampNs, UInt8, UInt16, UInt32,
    };
    match kind {
        Described::Double => matches!(column_type, Float32 | Float64 | Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32),
        Described::Float => matches!(column_type, Float32 | Float64 | Int8 | Int16 | UInt8 | UInt16),
        Described::Bool => *column_type == Bool,
        Described::String => *column_type == String,
        Described::Bytes => matches!(column_type, Binary | String),
        Described::Enum(_) => *column_type == String || column_type.is_integer(),
        Described::Message(message) => match special(message) {
            Special::Timestamp => matches!(column_type, Date | Timestamp | TimestampNs),
            Special::Wrapper => message.get_field(1).is_some_and(|value| value_fits(column_type, &value.kind())),
            _ => false,
        },
        _ => column_type.is_integer(), // every other scalar is an integer
    }
}

/// A field's type as `.proto` files write it.
fn type_name(field: &FieldDescriptor) -> String {
    let single = |field: &FieldDescriptor| match field.kind() {
        Described::Message(message) => message.full_name().to_owned(),
        Described::Enum(described) => format!("enum {}", described.full_name()),
        kind => scalar(&kind).map_or("", |scalar| scalar.name()).to_owned(),
    };
    match field.kind() {
        Described::Message(entry) if field.is_map() => {
            format!("map<{}, {}>", single(&entry.map_entry_key_field()), single(&entry.map_entry_value_field()))
        }
        _ if field.is_list() => format!("repeated {}", single(field)),
        _ => single(field),
    }
}
