//! JSON values into messages, by protobuf's JSON mapping.

use std::{borrow::Cow, collections::HashSet, str::FromStr};

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::value::RawValue;

use super::{
    message::{Enum, Field, Kind, Message, Scalar, Shape, Special, Types},
    raw::{self, Json, Whole, read},
    refusal::Refusal,
    scalar::{put_double, put_float, put_int},
    wellknown,
    wire::{Out, Tag},
};

/// Messages within messages, at most.
const MAX_DEPTH: usize = 100;

/// Writes JSON values; `depth` is how many messages stand around the one being written.
pub(super) struct JsonWriter<'a> {
    pub(super) types: &'a Types,
    pub(super) out: &'a mut Out,
    pub(super) depth: usize,
}

impl JsonWriter<'_> {
    /// Writes field `field` from `value`. Answers whether there was a value: `null` is none, except where
    /// the field's type has a `null` of its own.
    pub(super) fn field(&mut self, field: &Field, value: &RawValue) -> Result<bool, Refusal> {
        if is_null(value) && !self.takes_null(field) {
            return Ok(false);
        }
        match (&field.kind, field.shape) {
            (Kind::Map(entry), _) => self.map(field, entry, value)?,
            (_, Shape::One) => self.one(field, &field.tag, value)?,
            (_, Shape::Many | Shape::Packed) => self.list(field, value)?,
        }
        Ok(true)
    }

    /// Writes the fields of message type `index` from `value`, which is not `null` unless that is a value.
    fn message(&mut self, index: usize, value: &RawValue) -> Result<(), Refusal> {
        self.nested(|writer| writer.content(index, value))
    }

    /// Does `write` one message deeper.
    fn nested(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Refusal>) -> Result<(), Refusal> {
        if self.depth >= MAX_DEPTH {
            return Err(Refusal::new(format!("messages are nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        write(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn content(&mut self, index: usize, value: &RawValue) -> Result<(), Refusal> {
        let message = &self.types.messages[index];
        match message.special {
            Special::None => self.object(message, &object(value, &message.name)?)?,
            Special::Any => self.any(message, &object(value, &message.name)?)?,
            Special::Duration => wellknown::duration(&string(value, "duration")?)?.put(self.out),
            Special::FieldMask => self.field_mask(message, &string(value, "field mask")?)?,
            Special::Timestamp => wellknown::timestamp(&string(value, "timestamp")?)?.put(self.out),
            Special::Value => self.value(message, value)?,
            Special::Struct | Special::ListValue | Special::Wrapper => {
                self.field(&message.fields[0], value)?;
            }
        }
        Ok(())
    }

    fn object(&mut self, message: &Message, object: &[Member<'_>]) -> Result<(), Refusal> {
        let mut given: Vec<Option<&RawValue>> = vec![None; message.fields.len()];
        for (key, value) in object {
            let place = message.names.get(&**key).ok_or_else(|| unknown_field(key, message))?;
            if given[*place].replace(value).is_some() {
                return Err(Refusal::new("is given twice").within(&message.fields[*place].name));
            }
        }
        let mut oneofs = Oneofs::default();
        for (field, value) in message.fields.iter().zip(given) {
            let within = |refusal: Refusal| refusal.within(&field.name);
            let present = match value {
                Some(value) => self.field(field, value).map_err(within)?,
                None => false,
            };
            if !present && field.required {
                return Err(within(Refusal::required()));
            }
            if present {
                oneofs.set(field)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, field: &Field, value: &RawValue) -> Result<(), Refusal> {
        let Json::List(items) = read(value)? else {
            return Err(Refusal::not(value, "list"));
        };
        if items.is_empty() {
            return Ok(());
        }
        let start = (field.shape == Shape::Packed).then(|| self.out.open(&field.tag));
        for (i, item) in items.into_iter().enumerate() {
            self.item(field, item).map_err(|refusal| refusal.item(i))?;
        }
        if let Some(start) = start {
            self.out.close(start);
        }
        Ok(())
    }

    /// One item of a repeated field.
    pub(super) fn item(&mut self, field: &Field, value: &RawValue) -> Result<(), Refusal> {
        if is_null(value) && !self.takes_null(field) {
            return Err(Refusal::new("a list's item cannot be null"));
        }
        self.one(field, &field.item_tag, value)
    }

    fn map(&mut self, field: &Field, (key, item): &(Field, Field), value: &RawValue) -> Result<(), Refusal> {
        let members = object(value, "map")?;
        let mut names = HashSet::with_capacity(members.len());
        for (name, value) in &members {
            if !names.insert(name) {
                return Err(Refusal::new("is given twice").item_key(name));
            }
            let start = self.out.open(&field.item_tag);
            self.key(key, name).map_err(|refusal| refusal.item_key(name))?;
            if !self.field(item, value).map_err(|refusal| refusal.item_key(name))? {
                return Err(Refusal::new("a map's value cannot be null").item_key(name));
            }
            self.out.close(start);
        }
        Ok(())
    }

    fn key(&mut self, field: &Field, text: &str) -> Result<(), Refusal> {
        match field.kind {
            Kind::Scalar(Scalar::Bool) => {
                let truth = text.parse::<bool>().map_err(|_| Refusal::not(text, "bool"))?;
                self.out.varint(&field.tag, truth.into());
            }
            Kind::Scalar(Scalar::String) => self.out.bytes(&field.tag, text.as_bytes()),
            Kind::Scalar(scalar) => {
                put_int(self.out, &field.tag, scalar, whole(text, text, scalar)?, false)?;
            }
            _ => return Err(Refusal::not(text, "map key")),
        }
        Ok(())
    }

    /// One value under `tag`.
    fn one(&mut self, field: &Field, tag: &Tag, value: &RawValue) -> Result<(), Refusal> {
        match &field.kind {
            Kind::Scalar(scalar) => self.scalar(*scalar, tag, value, field.implicit),
            Kind::Enum(index) => {
                let number = enum_number(&self.types.enums[*index], value)?;
                if !(field.implicit && number == 0) {
                    self.out.varint(tag, i64::from(number) as u64);
                }
                Ok(())
            }
            Kind::Message(index) => {
                let start = self.out.open(tag);
                self.message(*index, value)?;
                self.out.close(start);
                Ok(())
            }
            Kind::Group(index, end) => {
                self.out.tag(tag);
                self.message(*index, value)?;
                self.out.tag(end);
                Ok(())
            }
            Kind::Map(_) => Err(Refusal::not(value, "single value")),
        }
    }

    fn scalar(&mut self, scalar: Scalar, tag: &Tag, value: &RawValue, skip: bool) -> Result<(), Refusal> {
        match scalar {
            Scalar::Double => put_double(self.out, tag, float::<f64>(value, scalar)?, skip),
            Scalar::Float => put_float(self.out, tag, float::<f32>(value, scalar)?.into(), skip)?,
            Scalar::Bool => {
                let Json::Bool(truth) = read(value)? else { return Err(Refusal::not(value, "bool")) };
                if truth || !skip {
                    self.out.varint(tag, truth.into());
                }
            }
            Scalar::String => put_bytes(self.out, tag, string(value, "string")?.as_bytes(), skip),
            Scalar::Bytes => put_bytes(self.out, tag, &base64(&string(value, "base64 text")?)?, skip),
            _ => put_int(self.out, tag, scalar, integer(value, scalar)?, skip)?,
        }
        Ok(())
    }

    fn value(&mut self, message: &Message, value: &RawValue) -> Result<(), Refusal> {
        // By number: null_value, number_value, string_value, bool_value, struct_value, list_value.
        let place = match value.get().as_bytes().first() {
            Some(b'n') => 0,
            Some(b'"') => 2,
            Some(b't' | b'f') => 3,
            Some(b'{') => 4,
            Some(b'[') => 5,
            _ => 1,
        };
        self.field(&message.fields[place], value).map(drop)
    }

    fn any(&mut self, message: &Message, members: &[Member<'_>]) -> Result<(), Refusal> {
        let is_type = |(key, _): &&Member<'_>| key == "@type";
        let mut urls = members.iter().filter(is_type);
        let url = match urls.next() {
            None if members.is_empty() => return Ok(()),
            None => return Err(Refusal::new("an `Any` needs its `@type`")),
            Some(_) if urls.next().is_some() => return Err(Refusal::new("is given twice").within("@type")),
            Some((_, url)) => string(url, "type name").map_err(|refusal| refusal.within("@type"))?,
        };
        let name = url.rsplit('/').next().unwrap_or(&url);
        let unknown = || Refusal::not(&url, "known message").within("@type");
        let index = *self.types.by_name.get(name).ok_or_else(unknown)?;
        self.out.bytes(&message.fields[0].tag, url.as_bytes());
        let start = self.out.open(&message.fields[1].tag);
        if self.types.messages[index].special == Special::None {
            let rest: Vec<Member<'_>> = members.iter().filter(|member| !is_type(member)).cloned().collect();
            self.nested(|writer| writer.object(&writer.types.messages[index], &rest))?;
        } else {
            let (Some((_, value)), 2) = (members.iter().find(|(key, _)| key == "value"), members.len()) else {
                return Err(Refusal::new("an `Any` of this type needs a `value`, and nothing else"));
            };
            self.message(index, value).map_err(|refusal| refusal.within("value"))?;
        }
        self.out.close(start);
        Ok(())
    }

    fn field_mask(&mut self, message: &Message, text: &str) -> Result<(), Refusal> {
        for path in text.split(',').filter(|path| !path.is_empty()) {
            self.out.bytes(&message.fields[0].item_tag, wellknown::snake_case(path)?.as_bytes());
        }
        Ok(())
    }

    fn takes_null(&self, field: &Field) -> bool {
        match field.kind {
            Kind::Message(index) => self.types.messages[index].special == Special::Value,
            Kind::Enum(index) => self.types.enums[index].is_null,
            _ => false,
        }
    }
}

/// Which oneofs of a message have a value already.
#[derive(Debug, Default)]
pub(super) struct Oneofs<'a>(Vec<(usize, &'a str)>);

impl<'a> Oneofs<'a> {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes that `field` has a value; refuses a second one in the same oneof.
    pub(super) fn set(&mut self, field: &'a Field) -> Result<(), Refusal> {
        let Some(oneof) = field.oneof else { return Ok(()) };
        if let Some((_, other)) = self.0.iter().find(|(set, _)| *set == oneof) {
            let problem = format!("`{other}` of the same oneof has a value too");
            return Err(Refusal::new(problem).within(&field.name));
        }
        self.0.push((oneof, &field.name));
        Ok(())
    }
}

fn unknown_field(key: &str, message: &Message) -> Refusal {
    Refusal::new(format!("`{}` has no field `{key}`", message.name))
}

/// Name and value of one member of an object.
type Member<'a> = (Cow<'a, str>, &'a RawValue);

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

fn object<'a>(value: &'a RawValue, wanted: &str) -> Result<Vec<Member<'a>>, Refusal> {
    match read(value)? {
        Json::Object(members) => Ok(members),
        _ => Err(Refusal::not(value, format!("JSON object, as `{wanted}` needs"))),
    }
}

fn string<'a>(value: &'a RawValue, wanted: &str) -> Result<Cow<'a, str>, Refusal> {
    match read(value)? {
        Json::Text(text) => Ok(text),
        _ => Err(Refusal::not(value, wanted)),
    }
}

fn put_bytes(out: &mut Out, tag: &Tag, bytes: &[u8], skip: bool) {
    if !(skip && bytes.is_empty()) {
        out.bytes(tag, bytes);
    }
}

/// An integer as a number or as text; `1e3` and `2.0` are integers too.
fn integer(value: &RawValue, scalar: Scalar) -> Result<i128, Refusal> {
    match read(value)? {
        Json::Number(text) => whole(text, value.get(), scalar),
        Json::Text(text) => whole(&text, value.get(), scalar),
        _ => Err(Refusal::not(value, scalar.name())),
    }
}

/// The integer that a text is; a refusal shows it as `written`.
fn whole(text: &str, written: &str, scalar: Scalar) -> Result<i128, Refusal> {
    match raw::integer(text) {
        Whole::Number(number) => Ok(number),
        Whole::TooLarge => Err(Refusal::range(written, scalar.name())),
        Whole::No => Err(Refusal::not(written, scalar.name())),
    }
}

/// A float as a number or as text: the nearest to it, of the type's own width.
fn float<F: FromStr + Copy + Into<f64>>(value: &RawValue, scalar: Scalar) -> Result<F, Refusal> {
    let (number, may_be_infinite) = match read(value)? {
        Json::Number(text) => (raw::float::<F>(text), false),
        Json::Text(text) => match &*text {
            "NaN" => ("nan".parse().ok(), true),
            "Infinity" => ("inf".parse().ok(), true),
            "-Infinity" => ("-inf".parse().ok(), true),
            text => (raw::float::<F>(text), false),
        },
        _ => (None, false),
    };
    match number {
        Some(number) if number.into().is_infinite() && !may_be_infinite => Err(Refusal::range(value, scalar.name())),
        Some(number) => Ok(number),
        None => Err(Refusal::not(value, scalar.name())),
    }
}

fn enum_number(described: &Enum, value: &RawValue) -> Result<i32, Refusal> {
    let unknown = || Refusal::new(format!("`{}` has no value {value}", described.name));
    match read(value)? {
        Json::Null if described.is_null => Ok(0),
        Json::Text(name) => described.numbers.get(&*name).copied().ok_or_else(unknown),
        Json::Number(text) => {
            let number = whole(text, text, Scalar::Int32).map_err(|_| unknown())?;
            i32::try_from(number).ok().filter(|number| described.has(*number)).ok_or_else(unknown)
        }
        _ => Err(unknown()),
    }
}

/// Either alphabet, padded or not, whatever the bits behind the last byte are.
fn base64(text: &str) -> Result<Vec<u8>, Refusal> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
    const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
    let decoded = if text.contains(['-', '_']) { URL.decode(text) } else { PLAIN.decode(text) };
    decoded.map_err(|_| Refusal::not(text, "base64 text"))
}
