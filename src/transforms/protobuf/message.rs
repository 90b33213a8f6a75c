//! Message types as they are written: for every field its tags, its kind and its presence rule, worked out
//! once. A message type refers to others by index, so that it may hold itself.

use std::collections::{BTreeMap, HashMap};

use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind as Described, MessageDescriptor, Syntax};

use super::wire::{Tag, Wire};

/// All message and enum types that can be met.
#[derive(Debug, Default)]
pub(super) struct Types {
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<Enum>,
    /// Where a `google.protobuf.Any` can be met: every message that it may hold.
    pub(super) by_name: HashMap<String, usize>,
}

/// One message type.
#[derive(Debug)]
pub(super) struct Message {
    /// Its full name.
    pub(super) name: String,
    /// Its fields by number.
    pub(super) fields: Vec<Field>,
    /// Place in `fields` by the name in the `.proto` file, and by the name in JSON.
    pub(super) names: HashMap<String, usize>,
    /// Does JSON write it in a way of its own?
    pub(super) special: Special,
}

/// Message types that JSON does not write as an object of their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    None,
    Any,
    Duration,
    FieldMask,
    ListValue,
    Struct,
    Timestamp,
    Value,
    Wrapper,
}

/// One field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// Before a single value, or before a whole packed list.
    pub(super) tag: Tag,
    /// Before each item of a list: none where it is packed.
    pub(super) item_tag: Tag,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// proto3 without `optional`: a default value is not written.
    pub(super) implicit: bool,
    pub(super) required: bool,
    /// The oneof it belongs to, numbered within its message.
    pub(super) oneof: Option<usize>,
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    Many,
    Packed,
}

/// What a field's values are.
#[derive(Debug)]
pub(super) enum Kind {
    Scalar(Scalar),
    /// Index into [`Types::enums`].
    Enum(usize),
    /// Index into [`Types::messages`].
    Message(usize),
    /// The same, and the tag that ends it.
    Group(usize, Tag),
    /// Key and value of an entry.
    Map(Box<(Field, Field)>),
}

/// The scalar types, enums apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
}

/// An enum type.
#[derive(Debug)]
pub(super) struct Enum {
    pub(super) name: String,
    /// Number by name, aliases included.
    pub(super) numbers: BTreeMap<String, i32>,
    /// Closed (proto2): only the numbers that have a name are values.
    closed: Option<Vec<i32>>,
    /// `google.protobuf.NullValue`, which JSON writes as `null`.
    pub(super) is_null: bool,
}

impl Enum {
    pub(super) fn has(&self, number: i32) -> bool {
        self.closed.as_ref().is_none_or(|numbers| numbers.binary_search(&number).is_ok())
    }
}

impl Scalar {
    pub(super) fn name(self) -> &'static str {
        match self {
            Scalar::Double => "double",
            Scalar::Float => "float",
            Scalar::Int32 => "int32",
            Scalar::Int64 => "int64",
            Scalar::Uint32 => "uint32",
            Scalar::Uint64 => "uint64",
            Scalar::Sint32 => "sint32",
            Scalar::Sint64 => "sint64",
            Scalar::Fixed32 => "fixed32",
            Scalar::Fixed64 => "fixed64",
            Scalar::Sfixed32 => "sfixed32",
            Scalar::Sfixed64 => "sfixed64",
            Scalar::Bool => "bool",
            Scalar::String => "string",
            Scalar::Bytes => "bytes",
        }
    }

    fn wire(self) -> Wire {
        match self {
            Scalar::Double | Scalar::Fixed64 | Scalar::Sfixed64 => Wire::Fixed64,
            Scalar::Float | Scalar::Fixed32 | Scalar::Sfixed32 => Wire::Fixed32,
            Scalar::String | Scalar::Bytes => Wire::Length,
            _ => Wire::Varint,
        }
    }

    /// The least and the greatest value of an integer type.
    pub(super) fn range(self) -> Option<(i128, i128)> {
        match self {
            Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => Some((i32::MIN.into(), i32::MAX.into())),
            Scalar::Int64 | Scalar::Sint64 | Scalar::Sfixed64 => Some((i64::MIN.into(), i64::MAX.into())),
            Scalar::Uint32 | Scalar::Fixed32 => Some((0, u32::MAX.into())),
            Scalar::Uint64 | Scalar::Fixed64 => Some((0, u64::MAX.into())),
            _ => None,
        }
    }
}

/// The type of a field's single values; `None` for messages and enums.
pub(super) fn scalar(kind: &Described) -> Option<Scalar> {
    Some(match kind {
        Described::Double => Scalar::Double,
        Described::Float => Scalar::Float,
        Described::Int32 => Scalar::Int32,
        Described::Int64 => Scalar::Int64,
        Described::Uint32 => Scalar::Uint32,
        Described::Uint64 => Scalar::Uint64,
        Described::Sint32 => Scalar::Sint32,
        Described::Sint64 => Scalar::Sint64,
        Described::Fixed32 => Scalar::Fixed32,
        Described::Fixed64 => Scalar::Fixed64,
        Described::Sfixed32 => Scalar::Sfixed32,
        Described::Sfixed64 => Scalar::Sfixed64,
        Described::Bool => Scalar::Bool,
        Described::String => Scalar::String,
        Described::Bytes => Scalar::Bytes,
        Described::Message(_) | Described::Enum(_) => return None,
    })
}

/// Which of the special message types is it? One that a user's own file defines with fewer fields than it
/// should have is taken for an ordinary message.
pub(super) fn special(message: &MessageDescriptor) -> Special {
    let special = special_name(message.full_name());
    let fields = match special {
        Special::Value => 6,
        Special::Any => 2,
        _ => 1,
    };
    if message.fields().len() >= fields { special } else { Special::None }
}

fn special_name(full_name: &str) -> Special {
    match full_name {
        "google.protobuf.Any" => Special::Any,
        "google.protobuf.Duration" => Special::Duration,
        "google.protobuf.FieldMask" => Special::FieldMask,
        "google.protobuf.ListValue" => Special::ListValue,
        "google.protobuf.Struct" => Special::Struct,
        "google.protobuf.Timestamp" => Special::Timestamp,
        "google.protobuf.Value" => Special::Value,
        "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int64Value"
        | "google.protobuf.UInt64Value"
        | "google.protobuf.Int32Value"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.BoolValue"
        | "google.protobuf.StringValue"
        | "google.protobuf.BytesValue" => Special::Wrapper,
        _ => Special::None,
    }
}

/// Do the values of a field stand behind one another under one tag? As `[packed = …]` says, else in proto3 alone.
fn is_packed(described: &FieldDescriptor) -> bool {
    let unpackable = matches!(described.kind(), Described::String | Described::Bytes | Described::Message(_));
    if unpackable || described.cardinality() != Cardinality::Repeated {
        return false;
    }
    let options = described.options();
    let written = options.get_field_by_name("packed").filter(|_| options.has_field_by_name("packed"));
    let written = written.and_then(|packed| packed.as_bool());
    written.unwrap_or(described.parent_file().syntax() == Syntax::Proto3)
}

/// Collects types as fields refer to them. A message type gets its index when it is first met and its
/// fields later, so recursive types come to an end.
#[derive(Default)]
pub(super) struct Builder {
    types: Types,
    messages: HashMap<String, usize>,
    enums: HashMap<String, usize>,
    pending: Vec<(usize, MessageDescriptor)>,
}

impl Builder {
    /// Field `described`, whose types are collected.
    pub(super) fn field(&mut self, described: &FieldDescriptor) -> Field {
        let kind = self.kind(described);
        let wire = match &kind {
            Kind::Scalar(scalar) => scalar.wire(),
            Kind::Enum(_) => Wire::Varint,
            Kind::Message(_) | Kind::Map(_) => Wire::Length,
            Kind::Group(..) => Wire::StartGroup,
        };
        let item = Tag::new(described.number(), wire);
        let shape = match (described.cardinality(), is_packed(described)) {
            (Cardinality::Repeated, true) => Shape::Packed,
            (Cardinality::Repeated, false) => Shape::Many,
            _ => Shape::One,
        };
        let packed = shape == Shape::Packed;
        let message = described.parent_message();
        let oneof = described.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        Field {
            name: described.name().to_owned(),
            tag: if packed { Tag::new(described.number(), Wire::Length) } else { item },
            item_tag: if packed { Tag::NONE } else { item },
            kind,
            shape,
            implicit: shape == Shape::One && !described.supports_presence() && !message.is_map_entry(),
            required: described.is_required(),
            oneof: oneof.and_then(|oneof| message.oneofs().position(|other| other == oneof)),
        }
    }

    /// The collected types.
    pub(super) fn finish(mut self) -> Types {
        while let Some((index, described)) = self.pending.pop() {
            let fields: Vec<(FieldDescriptor, Field)> =
                described.fields().map(|field| (field.clone(), self.field(&field))).collect();
            let mut fields = fields;
            fields.sort_by_key(|(described, _)| described.number());
            let message = &mut self.types.messages[index];
            for (place, (described, field)) in fields.into_iter().enumerate() {
                message.names.insert(described.json_name().to_owned(), place);
                message.names.insert(described.name().to_owned(), place);
                message.fields.push(field);
            }
        }
        self.types
    }

    fn kind(&mut self, described: &FieldDescriptor) -> Kind {
        match described.kind() {
            Described::Message(entry) if described.is_map() => Kind::Map(Box::new((
                self.field(&entry.map_entry_key_field()),
                self.field(&entry.map_entry_value_field()),
            ))),
            Described::Message(message) if described.is_group() => {
                Kind::Group(self.message(&message), Tag::new(described.number(), Wire::EndGroup))
            }
            Described::Message(message) => Kind::Message(self.message(&message)),
            Described::Enum(described) => Kind::Enum(self.enumeration(&described)),
            other => Kind::Scalar(scalar(&other).expect("messages and enums are taken above")),
        }
    }

    fn message(&mut self, described: &MessageDescriptor) -> usize {
        if let Some(index) = self.messages.get(described.full_name()) {
            return *index;
        }
        let index = self.types.messages.len();
        let special = special(described);
        let name = described.full_name().to_owned();
        self.messages.insert(name.clone(), index);
        self.pending.push((index, described.clone()));
        self.types.messages.push(Message { name, fields: Vec::new(), names: HashMap::new(), special });
        if special == Special::Any {
            self.any(described);
        }
        index
    }

    /// An `Any` may hold every message that the `.proto` file can name.
    fn any(&mut self, described: &MessageDescriptor) {
        let pool = described.parent_pool().clone();
        for message in pool.all_messages().filter(|message| !message.is_map_entry()) {
            let index = self.message(&message);
            self.types.by_name.insert(message.full_name().to_owned(), index);
        }
    }

    fn enumeration(&mut self, described: &EnumDescriptor) -> usize {
        let types = &mut self.types;
        *self.enums.entry(described.full_name().to_owned()).or_insert_with(|| {
            let mut known: Vec<i32> = described.values().map(|value| value.number()).collect();
            known.sort_unstable();
            types.enums.push(Enum {
                name: described.full_name().to_owned(),
                numbers: described.values().map(|value| (value.name().to_owned(), value.number())).collect(),
                closed: (described.parent_file().syntax() == Syntax::Proto2).then_some(known),
                is_null: described.full_name() == "google.protobuf.NullValue",
            });
            types.enums.len() - 1
        })
    }
}
