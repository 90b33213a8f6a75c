//! A serde deserializer over [`Value`].

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
        value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{
    mistake::{Kind, Mistake},
    unknown::UnknownDeserializer,
};
use crate::jobspec::{Step, Table, Value, value::AS_IT_IS};

/// Deserializes one value.
#[derive(Clone, Copy)]
pub(super) struct ValueDeserializer<'v> {
    value: &'v Value,
    /// Is the value wanted as it is, as a [`Value`]?
    as_it_is: bool,
}

impl<'v> ValueDeserializer<'v> {
    pub(super) fn new(value: &'v Value) -> Self {
        ValueDeserializer { value, as_it_is: false }
    }

    /// Substituted text where a number is asked for: the number it spells.
    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.value {
            Value::Substituted(text) => match (text.parse::<i128>(), text.parse::<f64>()) {
                (Ok(number), _) => visit_integer(number, visitor),
                (_, Ok(number)) => visitor.visit_f64(number),
                _ => self.deserialize_any(visitor),
            },
            Value::Unknown => UnknownDeserializer::new().deserialize_u64(visitor),
            _ => self.deserialize_any(visitor),
        }
    }
}

/// Through the narrowest type that holds it: visitors of small types expect no other.
fn visit_integer<'de, V: Visitor<'de>>(number: i128, visitor: V) -> Result<V::Value, Mistake> {
    if let Ok(number) = u64::try_from(number) {
        visitor.visit_u64(number)
    } else if let Ok(number) = i64::try_from(number) {
        visitor.visit_i64(number)
    } else {
        visitor.visit_i128(number)
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            self.number(visitor)
        }
    )*};
}

/// For these an unknown value must know what was asked.
macro_rules! unknown_or_any {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Mistake> {
            match self.value {
                Value::Unknown => UnknownDeserializer::new().$method($($argument,)* visitor),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for ValueDeserializer<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.value {
            Value::Null => visitor.visit_none(),
            Value::Bool(yes) => visitor.visit_bool(*yes),
            Value::Int(number) => visit_integer(*number, visitor),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Substituted(text) if self.as_it_is => visitor.visit_bytes(text.as_bytes()),
            Value::Text(text) | Value::Substituted(text) => visitor.visit_str(text),
            Value::List(items) => {
                let mut access = Items { items: items.iter(), index: 0 };
                let answer = visitor.visit_seq(&mut access)?;
                match access.items.len() {
                    0 => Ok(answer),
                    left => {
                        let expected = format!("a list of {}", access.index);
                        Err(Mistake::wrong_type(expected, format!("a list of {}", access.index + left)))
                    }
                }
            }
            Value::Table(table) => visitor.visit_map(Entries::new(table)),
            Value::Unknown => visitor.visit_unit(),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    unknown_or_any! {
        deserialize_str() deserialize_string() deserialize_char() deserialize_bytes() deserialize_byte_buf()
        deserialize_map() deserialize_identifier()
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
    }

    forward_to_deserialize_any! { unit unit_struct ignored_any }

    /// Where a list is asked for, one text stands for a list of one: `by = "town"`.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.value {
            Value::Text(_) | Value::Substituted(_) => {
                visitor.visit_seq(&mut Items { items: std::slice::from_ref(self.value).iter(), index: 0 })
            }
            Value::Unknown => UnknownDeserializer::new().deserialize_seq(visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.value {
            Value::Substituted(text) if text == "true" => visitor.visit_bool(true),
            Value::Substituted(text) if text == "false" => visitor.visit_bool(false),
            Value::Unknown => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.value {
            Value::Null | Value::Unknown => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(ValueDeserializer { as_it_is: name == AS_IT_IS, ..self })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.value {
            Value::Text(word) | Value::Substituted(word) => visitor.visit_enum(Variant { word, content: None }),
            Value::Table(table) => match table.first() {
                Some((word, content)) if table.len() == 1 => {
                    visitor.visit_enum(Variant { word, content: Some(content) })
                }
                _ => Err(Mistake::wrong_type(one_key_of(variants), format!("a table with {} keys", table.len()))),
            },
            Value::Unknown => UnknownDeserializer::new().deserialize_enum(name, variants, visitor),
            other => Err(Mistake::wrong_type(one_word_of(variants), other.describe())),
        }
    }
}

fn one_word_of(variants: &[&str]) -> String {
    let words: Vec<String> = variants.iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [word] => word.clone(),
        words => format!("one of {}", words.join(", ")),
    }
}

fn one_key_of(variants: &[&str]) -> String {
    format!("a table with exactly one key, {}", one_word_of(variants))
}

struct Items<'v> {
    items: std::slice::Iter<'v, Value>,
    index: usize,
}

impl<'de> SeqAccess<'de> for &mut Items<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(ValueDeserializer::new(item)).map(Some).map_err(|error| error.under(Step::Index(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'v> {
    entries: indexmap::map::Iter<'v, String, Value>,
    current: Option<(&'v str, &'v Value)>,
}

impl<'v> Entries<'v> {
    fn new(table: &'v Table) -> Self {
        Entries { entries: table.iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.current = Some((key, value));
        let deserializer: StrDeserializer<'_, Mistake> = key.as_str().into_deserializer();
        seed.deserialize(deserializer).map(Some).map_err(|error| match error.kind {
            Kind::UnknownKey { .. } => error,
            _ => error.under(Step::Key(key.clone())),
        })
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Mistake> {
        let (key, value) =
            self.current.take().ok_or_else(|| Mistake::custom("a value was asked for before its key"))?;
        seed.deserialize(ValueDeserializer::new(value)).map_err(|error| error.under(Step::Key(key.to_owned())))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A variant of an enum: a word, and what stands behind it where it is a table's key.
struct Variant<'v> {
    word: &'v str,
    content: Option<&'v Value>,
}

impl<'v> Variant<'v> {
    fn content(&self) -> Result<ValueDeserializer<'v>, Mistake> {
        let missing = || Mistake::wrong_type(format!("a table: `{{ {} = … }}`", self.word), "the word alone");
        self.content.map(ValueDeserializer::new).ok_or_else(missing)
    }

    fn within<T>(&self, answer: Result<T, Mistake>) -> Result<T, Mistake> {
        answer.map_err(|error| error.under(Step::Key(self.word.to_owned())))
    }
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Mistake;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Mistake> {
        let deserializer: StrDeserializer<'_, Mistake> = self.word.into_deserializer();
        match (seed.deserialize(deserializer), self.content) {
            (Ok(tag), _) => Ok((tag, self)),
            // A wrong key of a table is shown as a key.
            (Err(Mistake { kind: Kind::UnknownWord { word, legal }, .. }), Some(_)) => {
                Err(Mistake::new(Kind::UnknownTag { key: word, legal }))
            }
            (Err(error), _) => Err(error),
        }
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Mistake;

    /// `word`, and also `{ word = {} }`.
    fn unit_variant(self) -> Result<(), Mistake> {
        match self.content {
            None | Some(Value::Null | Value::Unknown) => Ok(()),
            Some(Value::Table(table)) if table.is_empty() => Ok(()),
            Some(other) => self.within(Err(Mistake::wrong_type("an empty table", other.describe()))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mistake> {
        let content = self.content()?;
        self.within(seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Mistake> {
        let content = self.content()?;
        self.within(content.deserialize_tuple(length, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Mistake> {
        let content = self.content()?;
        self.within(content.deserialize_struct("", fields, visitor))
    }
}
