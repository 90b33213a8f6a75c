//! A deserializer that gives whatever is asked for, so that the rest of a spec can be checked.

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, VariantAccess, Visitor,
        value::{StrDeserializer, UnitDeserializer},
    },
    forward_to_deserialize_any,
};

use super::mistake::{Kind, Mistake};
use crate::jobspec::value::AS_IT_IS;

/// Types that contain themselves are cut off here.
const MAX_DEPTH: u8 = 16;

/// Gives 1, an empty text, false, an empty list, no option, the first variant, a struct of such values.
#[derive(Clone, Copy)]
pub(super) struct UnknownDeserializer {
    depth: u8,
}

impl UnknownDeserializer {
    pub(super) fn new() -> Self {
        UnknownDeserializer { depth: 0 }
    }

    fn deeper(self) -> Result<Self, Mistake> {
        if self.depth == MAX_DEPTH {
            return Err(Mistake::new(Kind::Unknown));
        }
        Ok(UnknownDeserializer { depth: self.depth + 1 })
    }
}

macro_rules! gives {
    ($($method:ident => |$visitor:ident| $answer:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, $visitor: V) -> Result<V::Value, Mistake> {
            $answer
        }
    )*};
}

impl<'de> Deserializer<'de> for UnknownDeserializer {
    type Error = Mistake;

    gives! {
        deserialize_any => |visitor| visitor.visit_unit();
        deserialize_bool => |visitor| visitor.visit_bool(false);
        deserialize_i8 => |visitor| visitor.visit_i8(1);
        deserialize_i16 => |visitor| visitor.visit_i16(1);
        deserialize_i32 => |visitor| visitor.visit_i32(1);
        deserialize_i64 => |visitor| visitor.visit_i64(1);
        deserialize_i128 => |visitor| visitor.visit_i128(1);
        deserialize_u8 => |visitor| visitor.visit_u8(1);
        deserialize_u16 => |visitor| visitor.visit_u16(1);
        deserialize_u32 => |visitor| visitor.visit_u32(1);
        deserialize_u64 => |visitor| visitor.visit_u64(1);
        deserialize_u128 => |visitor| visitor.visit_u128(1);
        deserialize_f32 => |visitor| visitor.visit_f32(1.0);
        deserialize_f64 => |visitor| visitor.visit_f64(1.0);
        deserialize_char => |visitor| visitor.visit_char(' ');
        deserialize_str => |visitor| visitor.visit_str("");
        deserialize_string => |visitor| visitor.visit_str("");
        deserialize_identifier => |visitor| visitor.visit_str("");
        deserialize_bytes => |visitor| visitor.visit_bytes(b"");
        deserialize_byte_buf => |visitor| visitor.visit_bytes(b"");
        deserialize_option => |visitor| visitor.visit_none();
    }

    forward_to_deserialize_any! { unit unit_struct ignored_any }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_seq(Elements { left: 0, of: self })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_map(Fields { fields: [].iter(), of: self })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Mistake> {
        if name == AS_IT_IS {
            return visitor.visit_newtype_struct(UnitDeserializer::new());
        }
        visitor.visit_newtype_struct(self.deeper()?)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_seq(Elements { left: length, of: self.deeper()? })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_map(Fields { fields: fields.iter(), of: self.deeper()? })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let first = variants.first().ok_or_else(|| Mistake::new(Kind::Unknown))?;
        visitor.visit_enum(FirstVariant { first, of: self.deeper()? })
    }
}

struct Elements {
    left: usize,
    of: UnknownDeserializer,
}

impl<'de> serde::de::SeqAccess<'de> for Elements {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.of).map(Some)
    }
}

struct Fields {
    fields: std::slice::Iter<'static, &'static str>,
    of: UnknownDeserializer,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some(field) = self.fields.next() else { return Ok(None) };
        let deserializer: StrDeserializer<'_, Mistake> = (*field).into_deserializer();
        seed.deserialize(deserializer).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Mistake> {
        seed.deserialize(self.of)
    }
}

struct FirstVariant {
    first: &'static str,
    of: UnknownDeserializer,
}

impl<'de> EnumAccess<'de> for FirstVariant {
    type Error = Mistake;
    type Variant = UnknownDeserializer;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, UnknownDeserializer), Mistake> {
        let deserializer: StrDeserializer<'_, Mistake> = self.first.into_deserializer();
        Ok((seed.deserialize(deserializer)?, self.of))
    }
}

impl<'de> VariantAccess<'de> for UnknownDeserializer {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mistake> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_struct("", fields, visitor)
    }
}
