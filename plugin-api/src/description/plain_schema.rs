//! Schemas of types that an author does not define: numbers, strings, lists of them, bytes.
//!
//! They are written as text. schemars knows the same types, but it would add its generator to every
//! plugin that returns a string.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write as _};
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Direction;
use super::signature::NoParams;
use super::type_schema::TypeSchema;
use crate::abi::Out;
use crate::{Bytes, BytesRef, Error, Params};

/// A type whose schema is written without schemars.
pub trait PlainSchema {
    /// Returns the schema as a value.
    #[must_use]
    fn schema() -> TypeSchema {
        TypeSchema::Known(write_plain::<Self>)
    }

    /// Writes the schema.
    ///
    /// # Errors
    ///
    /// It does not fit.
    fn write(out: &mut Out<'_>) -> io::Result<()>;
}

fn write_plain<T: ?Sized + PlainSchema>(out: &mut Out<'_>, _: Direction) -> Result<(), Error> {
    Ok(T::write(out)?)
}

impl PlainSchema for NoParams {
    fn schema() -> TypeSchema {
        TypeSchema::NoParams
    }

    fn write(_: &mut Out<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// Types whose schema is this text.
macro_rules! constant {
    ($($type:ty => $schema:literal,)*) => {
        $(impl PlainSchema for $type {
            fn write(out: &mut Out<'_>) -> io::Result<()> {
                out.write_all($schema.as_bytes())
            }
        })*
    };
}

constant! {
    () => r#"{"type":"null"}"#,
    bool => r#"{"type":"boolean"}"#,
    i8 => r#"{"type":"integer","format":"int8","minimum":-128,"maximum":127}"#,
    i16 => r#"{"type":"integer","format":"int16","minimum":-32768,"maximum":32767}"#,
    i32 => r#"{"type":"integer","format":"int32"}"#,
    i64 => r#"{"type":"integer","format":"int64"}"#,
    isize => r#"{"type":"integer","format":"int"}"#,
    u8 => r#"{"type":"integer","format":"uint8","minimum":0,"maximum":255}"#,
    u16 => r#"{"type":"integer","format":"uint16","minimum":0,"maximum":65535}"#,
    u32 => r#"{"type":"integer","format":"uint32","minimum":0}"#,
    u64 => r#"{"type":"integer","format":"uint64","minimum":0}"#,
    usize => r#"{"type":"integer","format":"uint","minimum":0}"#,
    f32 => r#"{"type":"number","format":"float"}"#,
    f64 => r#"{"type":"number","format":"double"}"#,
    str => r#"{"type":"string"}"#,
    String => r#"{"type":"string"}"#,
    Value => "true",
    RawValue => "true",
    serde_json::Map<String, Value> => r#"{"type":"object","additionalProperties":true}"#,
    Bytes => r#"{"contentMediaType":"application/octet-stream"}"#,
    BytesRef<'_> => r#"{"contentMediaType":"application/octet-stream"}"#,
}

/// Types whose schema is that of `T` between two texts.
macro_rules! around {
    ($([$($generics:tt)*] $type:ty => $before:literal, $after:literal;)*) => {
        $(impl<$($generics)*> PlainSchema for $type
        where
            T: PlainSchema,
        {
            fn write(out: &mut Out<'_>) -> io::Result<()> {
                out.write_all($before.as_bytes())?;
                T::write(out)?;
                out.write_all($after.as_bytes())
            }
        })*
    };
}

around! {
    [T: ?Sized] &T => "", "";
    [T: ?Sized] Box<T> => "", "";
    [T: ?Sized] Arc<T> => "", "";
    [T: ?Sized + ToOwned] Cow<'_, T> => "", "";
    [T] Option<T> => r#"{"anyOf":["#, r#",{"type":"null"}]}"#;
    [T] [T] => r#"{"type":"array","items":"#, "}";
    [T] Vec<T> => r#"{"type":"array","items":"#, "}";
    [T] BTreeMap<String, T> => r#"{"type":"object","additionalProperties":"#, "}";
    [T, S] HashMap<String, T, S> => r#"{"type":"object","additionalProperties":"#, "}";
    [T] Params<T> => r#"{"anyOf":["#, r#",{"contentMediaType":"application/octet-stream"}]}"#;
}
