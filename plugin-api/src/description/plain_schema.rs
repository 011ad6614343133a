//! Schemas of types that an author does not define: numbers, strings, lists of them, bytes.
//!
//! They are texts. schemars knows the same types, but it would add its generator to every plugin
//! that returns a string.

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

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use schemars::generate::SchemaGenerator;
    use serde_json::json;

    use super::*;

    fn text<T: ?Sized + PlainSchema>() -> Value {
        serde_json::from_str(&T::TEXT.to_string()).unwrap()
    }

    fn assert_same<T: ?Sized + PlainSchema + JsonSchema>() {
        let expected = SchemaGenerator::default().subschema_for::<T>();
        assert_eq!(text::<T>(), Value::from(expected), "{}", T::schema_name());
    }

    macro_rules! assert_all_same {
        ($($type:ty),* $(,)?) => { $(assert_same::<$type>();)* };
    }

    #[test]
    fn writes_the_same_schemas_as_schemars() {
        assert_all_same!((), bool, i8, i16, i32, i64, isize, u8, u16, u32, u64, usize, f32, f64);
        assert_all_same!(str, String, &'static str, Cow<'static, str>, Arc<str>, Box<[u8]>);
        assert_all_same!(Value, Box<RawValue>, serde_json::Map<String, Value>);
        assert_all_same!(Vec<u64>, Vec<Vec<String>>, BTreeMap<String, bool>, HashMap<String, Vec<i8>>);
        assert_all_same!(Bytes, BytesRef<'static>, Params<u64>, Vec<Params<Arc<String>>>);
    }

    #[test]
    fn adds_null_for_an_option() {
        let nothing = json!({ "type": "null" });
        let string = json!({ "type": "string" });
        assert_eq!(text::<Option<String>>(), json!({ "anyOf": [string, nothing] }));
        assert_eq!(text::<Option<Value>>(), json!({ "anyOf": [true, nothing] }));
        let items = text::<Vec<Option<Bytes>>>()["items"].take();
        assert_eq!(items, json!({ "anyOf": [text::<Bytes>(), nothing] }));
    }
}
