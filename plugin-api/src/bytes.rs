//! Params and results that are opaque bytes instead of JSON.
//!
//! The types here are params and results like any other type that serde knows. They mark themselves
//! by the name of a newtype, which only the reader and the writer of this crate recognize
//! (`content_reader.rs`, `content_writer.rs`). Inside a JSON document, they are errors.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _, Unexpected, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

/// The name of the newtype that stands for opaque bytes.
pub(crate) const NEWTYPE: &str = "$jackfield::Bytes";

/// Opaque bytes as the params or the result of a method, instead of JSON. The host never looks into
/// them.
///
/// ```
/// # use jackfield_plugin_api::{Bytes, Error, testing::Harness};
/// # use jackfield_plugin_api::prelude::*;
/// # struct Images;
/// # impl Plugin for Images { fn start(_host: &Host) -> Result<Self, Error> { Ok(Images) } }
/// impl Images {
///     fn invert(&self, mut image: Bytes) -> Result<Bytes, Error> {
///         image.iter_mut().for_each(|byte| *byte = !*byte);
///         Ok(image)
///     }
/// }
/// # export_plugin!(Images { "images.invert" => invert });
/// # let images = Harness::<Images>::start(serde_json::json!({})).unwrap();
/// # let inverted = images.request("images.invert").send(Bytes::from(vec![0, 0xF0])).unwrap();
/// # assert_eq!(inverted.bytes().unwrap().into_vec(), [0xFF, 0x0F]);
/// ```
///
/// A call that sends JSON to such a method is answered INVALID_PARAMS, and so is one that sends
/// bytes to a method whose params are JSON. [`Params`] accepts both, [`BytesRef`] saves the copy of
/// the params. A host before plugin API 0.1.1 knows no opaque bytes: it calls such a method with
/// JSON only, and a method that returns bytes fails with
/// [`INTERNAL_ERROR`](crate::INTERNAL_ERROR).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// Returns the bytes without copying them.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Opaque bytes as the params of an `inline` or `blocking` method, borrowed from the host for the
/// time of the call. See [`Bytes`].
///
/// ```
/// # use jackfield_plugin_api::{Bytes, BytesRef, Error, testing::Harness};
/// # use jackfield_plugin_api::prelude::*;
/// # struct Images;
/// # impl Plugin for Images { fn start(_host: &Host) -> Result<Self, Error> { Ok(Images) } }
/// impl Images {
///     fn checksum(&self, image: BytesRef<'_>) -> Result<u32, Error> {
///         Ok(image.iter().map(|byte| u32::from(*byte)).sum())
///     }
/// }
/// # export_plugin!(Images { "images.checksum" => checksum });
/// # let images = Harness::<Images>::start(serde_json::json!({})).unwrap();
/// # let sum = images.request("images.checksum").send(Bytes::from(vec![1, 2])).unwrap();
/// # assert_eq!(sum.json().unwrap(), 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BytesRef<'a>(pub(crate) &'a [u8]);

impl<'a> BytesRef<'a> {
    /// Returns the bytes.
    #[must_use]
    pub fn as_slice(self) -> &'a [u8] {
        self.0
    }
}

impl Deref for BytesRef<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

/// Params that are JSON or opaque bytes, for a method that accepts both. A method that returns both
/// has it as its result, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Params<T> {
    /// JSON that fits `T`.
    Json(T),
    /// Opaque bytes.
    Bytes(Bytes),
}

impl<T> Params<T> {
    /// Returns the JSON, or `None` for bytes.
    pub fn json(self) -> Option<T> {
        match self {
            Self::Json(json) => Some(json),
            Self::Bytes(_) => None,
        }
    }

    /// Returns the bytes, or `None` for JSON.
    pub fn bytes(self) -> Option<Bytes> {
        match self {
            Self::Json(_) => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}

impl<T> From<Bytes> for Params<T> {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<serde_json::Value> for Params<serde_json::Value> {
    fn from(json: serde_json::Value) -> Self {
        Self::Json(json)
    }
}

/// Serializes bytes, except into a JSON document, where they would become a list of numbers.
struct Opaque<'a>(&'a [u8]);

impl Serialize for Opaque<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Err(S::Error::custom("opaque bytes cannot be a part of a JSON document"));
        }
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        BytesRef(&self.0).serialize(serializer)
    }
}

impl Serialize for BytesRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NEWTYPE, &Opaque(self.0))
    }
}

impl<T: Serialize> Serialize for Params<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(json) => json.serialize(serializer),
            Self::Bytes(bytes) => bytes.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Params::<OnlyBytes>::deserialize(deserializer)? {
            Params::Bytes(bytes) => Ok(bytes),
            Params::Json(never) => match never {},
        }
    }
}

/// Refuses every JSON.
enum OnlyBytes {}

impl<'de> Deserialize<'de> for OnlyBytes {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::invalid_type(Unexpected::Other("JSON"), &"opaque bytes"))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Params<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NEWTYPE, ParamsVisitor(PhantomData))
    }
}

struct ParamsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ParamsVisitor<T> {
    type Value = Params<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON or opaque bytes")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        T::deserialize(json).map(Params::Json)
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Params::Bytes(bytes.into()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
        Ok(Params::Bytes(bytes.into()))
    }
}

// The functions are inlined so that they link nothing of schemars into a plugin without schemas.
impl JsonSchema for Bytes {
    #[inline]
    fn inline_schema() -> bool {
        true
    }

    #[inline]
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    #[inline]
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "contentMediaType": "application/octet-stream" })
    }
}

impl JsonSchema for BytesRef<'_> {
    #[inline]
    fn inline_schema() -> bool {
        true
    }

    #[inline]
    fn schema_name() -> Cow<'static, str> {
        Bytes::schema_name()
    }

    #[inline]
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Bytes::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for Params<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_Bytes", T::schema_name()).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("{}_or_Bytes", T::schema_id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let members = [generator.subschema_for::<T>(), generator.subschema_for::<Bytes>()];
        json_schema!({ "anyOf": members })
    }
}
