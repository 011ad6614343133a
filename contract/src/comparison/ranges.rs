//! Ranges of numbers. The format of an integer bounds it, too, because schemars writes no bounds
//! for the integers of 32 bits and more.

use serde_json::{Number, Value};

use crate::schema::{IntegerShape, NumberShape};

impl IntegerShape {
    /// Returns the least and the greatest integer, with the range of the format.
    #[must_use]
    pub fn bounds(&self) -> (Option<i128>, Option<i128>) {
        bounds(self)
    }
}

/// Returns the least and the greatest integer that a shape admits.
pub(super) fn bounds(shape: &IntegerShape) -> (Option<i128>, Option<i128>) {
    let of_format = match shape.format.as_deref().unwrap_or_default() {
        "int8" => (Some(i128::from(i8::MIN)), Some(i128::from(i8::MAX))),
        "int16" => (Some(i128::from(i16::MIN)), Some(i128::from(i16::MAX))),
        "int32" => (Some(i128::from(i32::MIN)), Some(i128::from(i32::MAX))),
        "int64" | "int" => (Some(i128::from(i64::MIN)), Some(i128::from(i64::MAX))),
        "uint8" => (Some(0), Some(i128::from(u8::MAX))),
        "uint16" => (Some(0), Some(i128::from(u16::MAX))),
        "uint32" => (Some(0), Some(i128::from(u32::MAX))),
        "uint64" | "uint" => (Some(0), Some(i128::from(u64::MAX))),
        "uint128" => (Some(0), None),
        _ => (None, None),
    };
    let least = shape.minimum.max(of_format.0);
    let greatest = match (shape.maximum, of_format.1) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    (least, greatest)
}

pub(super) fn is_empty(shape: &IntegerShape) -> bool {
    matches!(bounds(shape), (Some(least), Some(greatest)) if least > greatest)
}

pub(super) fn integer_admits(shape: &IntegerShape, value: &Value) -> bool {
    let whole = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    let float = value.as_f64().filter(|number| number.fract() == 0.0);
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    let Some(whole) = whole.or_else(|| float.map(|number| number as i128)) else { return false };
    let (least, greatest) = bounds(shape);
    least.is_none_or(|least| whole >= least) && greatest.is_none_or(|greatest| whole <= greatest)
}

pub(super) fn number_admits(shape: &NumberShape, value: &Value) -> bool {
    let Some(number) = value.as_f64() else { return false };
    shape.minimum.is_none_or(|least| number >= least)
        && shape.maximum.is_none_or(|greatest| number <= greatest)
}

/// Returns the number next to 0, or a large one.
pub(super) fn integer_sample(shape: &IntegerShape, is_large: bool) -> Option<Value> {
    let (least, greatest) = bounds(shape);
    let wanted: i128 = if is_large { i128::from(i64::MAX) } else { 0 };
    let number = wanted.max(least.unwrap_or(i128::MIN)).min(greatest.unwrap_or(i128::MAX));
    if is_empty(shape) {
        return None;
    }
    let number = i64::try_from(number).map(Number::from).or_else(|_| u64::try_from(number).map(Number::from));
    number.ok().map(Value::Number)
}

/// Returns the number next to 0, or a fraction.
pub(super) fn number_sample(shape: &NumberShape, is_fraction: bool) -> Option<Value> {
    let least = shape.minimum.unwrap_or(f64::MIN);
    let greatest = shape.maximum.unwrap_or(f64::MAX);
    let wanted = if is_fraction { least / 2.0 + greatest / 2.0 + 0.25 } else { 0.0 };
    let number = wanted.max(least).min(greatest);
    (least <= greatest).then(|| Number::from_f64(number).map(Value::Number)).flatten()
}
