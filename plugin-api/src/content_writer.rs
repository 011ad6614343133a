//! Writes a result, or the params of a nested call: as JSON, or as they are if they are opaque
//! bytes.
//!
//! [`TopLevel`] recognizes the newtype of opaque bytes at the top of a value. Everything else goes
//! to serde_json, which also serializes what is inside the value, so that JSON costs nothing more.

use std::io;

use serde::ser::{Serialize, Serializer};

use crate::abi::Content;
use crate::bytes::NEWTYPE;

/// Writes `value`, and returns what was written.
///
/// # Errors
///
/// `value` cannot be serialized, or `out` failed.
#[inline]
pub(crate) fn write<W: io::Write>(value: &impl Serialize, out: &mut W) -> serde_json::Result<Content> {
    let mut json = None;
    let mut content = Content::Json;
    value.serialize(TopLevel { out, json: &mut json, content: &mut content })?;
    Ok(content)
}

type Json<'w, W> = serde_json::Serializer<&'w mut W>;

/// Serializes the top of a value.
struct TopLevel<'j, 'w, W> {
    out: &'w mut W,
    /// The place of the serializer of JSON, which takes `out`.
    json: &'j mut Option<Json<'w, W>>,
    /// Opaque as soon as their newtype was found. Nothing but the bytes follows then.
    content: &'j mut Content,
}

/// Passes calls on to serde_json.
macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*) -> $ok:ty;)*) => {
        $(
            #[inline]
            fn $method(self, $($argument: $type),*) -> Result<$ok, Self::Error> {
                self.json.insert(Json::new(self.out)).$method($($argument),*)
            }
        )*
    };
}

impl<'j, 'w, W: io::Write> Serializer for TopLevel<'j, 'w, W> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = <&'j mut Json<'w, W> as Serializer>::SerializeSeq;
    type SerializeTuple = <&'j mut Json<'w, W> as Serializer>::SerializeTuple;
    type SerializeTupleStruct = <&'j mut Json<'w, W> as Serializer>::SerializeTupleStruct;
    type SerializeTupleVariant = <&'j mut Json<'w, W> as Serializer>::SerializeTupleVariant;
    type SerializeMap = <&'j mut Json<'w, W> as Serializer>::SerializeMap;
    type SerializeStruct = <&'j mut Json<'w, W> as Serializer>::SerializeStruct;
    type SerializeStructVariant = <&'j mut Json<'w, W> as Serializer>::SerializeStructVariant;

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        if name == NEWTYPE {
            *self.content = Content::Bytes;
        }
        value.serialize(self)
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Self::Error> {
        match self.content {
            Content::Bytes => self.out.write_all(bytes).map_err(serde_json::Error::io),
            // The types of other crates for bytes are lists of numbers.
            Content::Json => self.json.insert(Json::new(self.out)).serialize_bytes(bytes),
        }
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Self::Error> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        self.json.insert(Json::new(self.out)).serialize_newtype_variant(name, index, variant, value)
    }

    #[inline]
    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<(), Self::Error> {
        self.json.insert(Json::new(self.out)).collect_str(value)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        *self.content == Content::Json
    }

    forward! {
        serialize_bool(value: bool) -> ();
        serialize_i8(value: i8) -> ();
        serialize_i16(value: i16) -> ();
        serialize_i32(value: i32) -> ();
        serialize_i64(value: i64) -> ();
        serialize_i128(value: i128) -> ();
        serialize_u8(value: u8) -> ();
        serialize_u16(value: u16) -> ();
        serialize_u32(value: u32) -> ();
        serialize_u64(value: u64) -> ();
        serialize_u128(value: u128) -> ();
        serialize_f32(value: f32) -> ();
        serialize_f64(value: f64) -> ();
        serialize_char(value: char) -> ();
        serialize_str(value: &str) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(name: &'static str) -> ();
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> ();
        serialize_seq(length: Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(length: usize) -> Self::SerializeTuple;
        serialize_tuple_struct(name: &'static str, length: usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, length: usize)
            -> Self::SerializeTupleVariant;
        serialize_map(length: Option<usize>) -> Self::SerializeMap;
        serialize_struct(name: &'static str, length: usize) -> Self::SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, length: usize)
            -> Self::SerializeStructVariant;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;
    use crate::{Bytes, BytesRef, Params};

    #[derive(serde::Serialize)]
    struct Newtype<T>(T);

    #[derive(serde::Serialize)]
    #[serde(untagged)]
    enum Untagged {
        Bytes(Bytes),
    }

    #[derive(serde::Serialize)]
    enum Kinds {
        Unit,
        Newtype(u8),
        Tuple(u8, i8),
        Struct { a: char },
    }

    fn written(value: &impl Serialize) -> (Content, Vec<u8>) {
        let mut buffer = Vec::new();
        let content = write(value, &mut buffer).unwrap();
        (content, buffer)
    }

    #[track_caller]
    fn assert_like_serde_json(value: &impl Serialize) {
        let (content, json) = written(value);
        assert_eq!(content, Content::Json);
        assert_eq!(String::from_utf8(json).unwrap(), serde_json::to_string(value).unwrap());
    }

    /// Calls `serialize_bytes` as the types of other crates for bytes do.
    struct ListOfNumbers;

    impl Serialize for ListOfNumbers {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&[1, 2])
        }
    }

    #[test]
    fn writes_json_as_serde_json_does() {
        assert_like_serde_json(&json!({"a": [1, -1, 0.5, null, true, "\"\u{7}"]}));
        assert_like_serde_json(&(1_u8, i128::MAX, u128::MAX, f32::MAX, 'ä', "s", ()));
        assert_like_serde_json(&[
            Kinds::Unit,
            Kinds::Newtype(1),
            Kinds::Tuple(1, 2),
            Kinds::Struct { a: 'a' },
        ]);
        for kind in [Kinds::Unit, Kinds::Newtype(1), Kinds::Tuple(1, 2), Kinds::Struct { a: 'a' }] {
            assert_like_serde_json(&kind);
        }
        assert_like_serde_json(&Ipv4Addr::LOCALHOST);
        assert_like_serde_json(&(Some(1), None::<u8>));
        assert_like_serde_json(&Some(Newtype(1.5)));
        assert_like_serde_json(&i128::MIN);
        assert_like_serde_json(&ListOfNumbers);
        assert_like_serde_json(&Params::Json([1]));
    }

    #[test]
    fn writes_opaque_bytes_as_they_are() {
        let bytes = Bytes::from(vec![0xFF, b'"', 0]);
        let expected = (Content::Bytes, bytes.to_vec());
        assert_eq!(written(&bytes), expected);
        assert_eq!(written(&BytesRef(&bytes)), expected);
        assert_eq!(written(&Newtype(bytes.clone())), expected);
        assert_eq!(written(&Some(&bytes)), expected);
        assert_eq!(written(&Untagged::Bytes(bytes.clone())), expected);
        assert_eq!(written(&Params::<u8>::Bytes(bytes)), expected);
        assert_eq!(written(&Bytes::default()), (Content::Bytes, Vec::new()));
    }

    #[test]
    fn refuses_opaque_bytes_inside_a_json_document() {
        let error = write(&[Bytes::default()], &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("cannot be a part of a JSON document"), "{error}");
    }
}
