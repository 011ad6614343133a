//! Schemas of types that an author does not define: numbers, strings, lists of them, bytes.
//!
//! They are texts. schemars knows the same types, but it would add its generator to every plugin that
//! returns a string.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::type_schema::{SchemaText, TypeSchema};
use crate::{Bytes, BytesRef, Params};

/// A type whose schema is a text.
pub trait PlainSchema {
    /// The text.
    const TEXT: &'static SchemaText;

    /// The schema.
    const SCHEMA: TypeSchema = TypeSchema::Plain(Self::TEXT);
}

/// Stands for the params of a function that takes none.
#[derive(Debug)]
pub struct NoParams;

impl PlainSchema for NoParams {
    const TEXT: &'static SchemaText = &SchemaText::new("");
    const SCHEMA: TypeSchema = TypeSchema::NoParams;
}

/// Types whose schema is this text.
macro_rules! constant {
    ($($type:ty => $schema:literal,)*) => {
        $(impl PlainSchema for $type {
            const TEXT: &'static SchemaText = &SchemaText::new($schema);
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
            const TEXT: &'static SchemaText = &SchemaText::around($before, T::TEXT, $after);
        })*
    };
}

/// Types whose schema is that of `T`.
macro_rules! transparent {
    ($([$($generics:tt)*] $type:ty;)*) => {
        $(impl<$($generics)*> PlainSchema for $type
        where
            T: PlainSchema,
        {
            const TEXT: &'static SchemaText = T::TEXT;
        })*
    };
}

transparent! {
    [T: ?Sized] &T;
    [T: ?Sized] Box<T>;
    [T: ?Sized] Arc<T>;
    [T: ?Sized + ToOwned] Cow<'_, T>;
}

around! {
    [T] Option<T> => r#"{"anyOf":["#, r#",{"type":"null"}]}"#;
    [T] [T] => r#"{"type":"array","items":"#, "}";
    [T] Vec<T> => r#"{"type":"array","items":"#, "}";
    [T] BTreeMap<String, T> => r#"{"type":"object","additionalProperties":"#, "}";
    [T, S] HashMap<String, T, S> => r#"{"type":"object","additionalProperties":"#, "}";
    [T] Params<T> => r#"{"anyOf":["#, r#",{"contentMediaType":"application/octet-stream"}]}"#;
}
