//! Writes a result, or the params of a nested call: as JSON, or as they are if they are opaque
//! bytes.
//!
//! [`TopLevel`] recognizes the newtype of opaque bytes at the top of a value. Everything else goes to
//! serde_json, which also serializes what is inside the value: JSON costs what it costs without.

use std::cell::Cell;
use std::io;

use serde::ser::{Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};

use crate::abi::Content;
use crate::bytes::NEWTYPE;

/// Writes `value`, and returns what was written.
///
/// # Errors
///
/// `value` cannot be serialized, or `writer` failed.
pub(crate) fn write(value: &impl Serialize, writer: impl io::Write) -> serde_json::Result<Content> {
    let is_opaque = Cell::new(false);
    let mut json = serde_json::Serializer::with_formatter(writer, OpaqueFormatter(&is_opaque));
    value.serialize(TopLevel { json: &mut json, is_opaque: &is_opaque })?;
    Ok(if is_opaque.get() { Content::Bytes } else { Content::Json })
}

type Json<'c, W> = serde_json::Serializer<W, OpaqueFormatter<'c>>;

/// Formats compact JSON, but writes opaque bytes as they are.
struct OpaqueFormatter<'c>(&'c Cell<bool>);

impl Formatter for OpaqueFormatter<'_> {
    fn write_byte_array<W: io::Write + ?Sized>(&mut self, writer: &mut W, bytes: &[u8]) -> io::Result<()> {
        if self.0.get() { writer.write_all(bytes) } else { CompactFormatter.write_byte_array(writer, bytes) }
    }
}

/// Serializes the top of a value.
struct TopLevel<'j, 'c, W> {
    json: &'j mut Json<'c, W>,
    /// Whether the newtype of opaque bytes was found. Nothing but its bytes follows.
    is_opaque: &'c Cell<bool>,
}

/// Passes calls on to serde_json.
macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*) -> $ok:ty;)*) => {
        $(
            #[inline]
            fn $method(self, $($argument: $type),*) -> Result<$ok, Self::Error> {
                self.json.$method($($argument),*)
            }
        )*
    };
}

impl<'j, 'c, W: io::Write> Serializer for TopLevel<'j, 'c, W> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = <&'j mut Json<'c, W> as Serializer>::SerializeSeq;
    type SerializeTuple = <&'j mut Json<'c, W> as Serializer>::SerializeTuple;
    type SerializeTupleStruct = <&'j mut Json<'c, W> as Serializer>::SerializeTupleStruct;
    type SerializeTupleVariant = <&'j mut Json<'c, W> as Serializer>::SerializeTupleVariant;
    type SerializeMap = <&'j mut Json<'c, W> as Serializer>::SerializeMap;
    type SerializeStruct = <&'j mut Json<'c, W> as Serializer>::SerializeStruct;
    type SerializeStructVariant = <&'j mut Json<'c, W> as Serializer>::SerializeStructVariant;

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        if name == NEWTYPE {
            self.is_opaque.set(true);
        }
        value.serialize(self)
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
        self.json.serialize_newtype_variant(name, index, variant, value)
    }

    #[inline]
    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<(), Self::Error> {
        self.json.collect_str(value)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        !self.is_opaque.get()
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
        serialize_bytes(value: &[u8]) -> ();
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
        let error = write(&[Bytes::default()], Vec::new()).unwrap_err();
        assert!(error.to_string().contains("cannot be a part of a JSON document"), "{error}");
    }
}
