//! Numbers onto the wire, one by one and by the slice, with the check that they fit their field.

use super::{
    message::Scalar,
    refusal::Refusal,
    wire::{Out, Tag, zigzag},
};

/// An integer as a column holds it.
pub(super) trait Native: Copy + Into<i128> {
    /// Least and greatest value.
    const RANGE: (i128, i128);
}

macro_rules! native {
    ($($t:ty)*) => {
        $(impl Native for $t {
            const RANGE: (i128, i128) = (<$t>::MIN as i128, <$t>::MAX as i128);
        })*
    };
}

native!(i8 i16 i32 i64 u8 u16 u32 u64 i128);

/// Writes `items`, each under `tag`. `skip`: zero is not written.
///
/// # Errors
/// The place of the first item that does not fit, and why.
pub(super) fn put_ints<N: Native>(
    out: &mut Out,
    tag: &Tag,
    scalar: Scalar,
    items: &[N],
    skip: bool,
) -> Result<(), (usize, Refusal)> {
    let Some((low, high)) = scalar.range() else {
        return Err((0, Refusal::new(format!("{} takes no integer", scalar.name()))));
    };
    let narrow = N::RANGE.0 < low || N::RANGE.1 > high;
    let refuse = |i, value| Err((i, Refusal::range(value, scalar.name())));
    macro_rules! each {
        (|$value:ident| $write:expr) => {
            for (i, item) in items.iter().enumerate() {
                let $value: i128 = (*item).into();
                if narrow && !(low..=high).contains(&$value) {
                    return refuse(i, $value);
                }
                if !(skip && $value == 0) {
                    $write;
                }
            }
        };
    }
    // One loop for each encoding. Casts cut a number that was checked to fit; a negative int32 or enum is
    // written in ten bytes, as the format asks.
    match scalar {
        Scalar::Sint32 | Scalar::Sint64 => each!(|value| out.varint(tag, zigzag(value as i64))),
        Scalar::Fixed32 | Scalar::Sfixed32 => each!(|value| out.fixed(tag, (value as u32).to_le_bytes())),
        Scalar::Fixed64 | Scalar::Sfixed64 => each!(|value| out.fixed(tag, (value as u64).to_le_bytes())),
        _ => each!(|value| out.varint(tag, value as u64)),
    }
    Ok(())
}

/// Writes one integer.
pub(super) fn put_int(out: &mut Out, tag: &Tag, scalar: Scalar, value: i128, skip: bool) -> Result<(), Refusal> {
    put_ints(out, tag, scalar, &[value], skip).map_err(|(_, refusal)| refusal)
}

/// Writes a double; the default that may be skipped is positive zero only.
#[inline]
pub(super) fn put_double(out: &mut Out, tag: &Tag, value: f64, skip: bool) {
    if !(skip && value.to_bits() == 0) {
        out.fixed(tag, value.to_le_bytes());
    }
}

/// Writes a float: the nearest to `value`, which must not become infinite by that.
#[inline]
pub(super) fn put_float(out: &mut Out, tag: &Tag, value: f64, skip: bool) -> Result<(), Refusal> {
    let float = value as f32;
    if float.is_infinite() && value.is_finite() {
        return Err(Refusal::range(format!("{value:e}"), "float"));
    }
    if !(skip && float.to_bits() == 0) {
        out.fixed(tag, float.to_le_bytes());
    }
    Ok(())
}
