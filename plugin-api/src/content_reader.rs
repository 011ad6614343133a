//! Reads opaque bytes into the types that stand for them. Every other type is refused.

use std::borrow::Cow;

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use crate::bytes::NEWTYPE;

/// Reads opaque bytes. Bytes that are owned are not copied.
///
/// # Errors
///
/// `T` is read from JSON.
pub(crate) fn read<T: DeserializeOwned>(bytes: Cow<'_, [u8]>) -> Result<T, Error> {
    T::deserialize(OpaqueReader(bytes))
}

/// A deserializer that serves only [`Bytes`](crate::Bytes), and newtypes and options of it.
struct OpaqueReader<'a>(Cow<'a, [u8]>);

impl<'de> Deserializer<'de> for OpaqueReader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::invalid_type(Unexpected::Other("opaque bytes"), &"JSON"))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name != NEWTYPE {
            // By such a name, serde_json asks for raw JSON.
            let is_raw_json = name.starts_with('$');
            return if is_raw_json {
                self.deserialize_any(visitor)
            } else {
                visitor.visit_newtype_struct(self)
            };
        }
        match self.0 {
            Cow::Borrowed(bytes) => visitor.visit_bytes(bytes),
            Cow::Owned(bytes) => visitor.visit_byte_buf(bytes),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;
    use serde_json::Value;

    use super::*;
    use crate::{Bytes, Params};

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Image(Bytes);

    fn is_refused<T: DeserializeOwned>() -> bool {
        let refused = read::<T>(Cow::Borrowed(b"null")).err().map(|error| error.to_string());
        refused.as_deref() == Some("invalid type: opaque bytes, expected JSON")
    }

    #[test]
    fn reads_bytes_newtypes_and_options_of_them() {
        let bytes = || Cow::Borrowed(&b"\xFF"[..]);
        let expected = Bytes::from(vec![0xFF]);
        assert_eq!(read::<Bytes>(bytes()).unwrap(), expected);
        assert_eq!(read::<Image>(bytes()).unwrap(), Image(expected.clone()));
        assert_eq!(read::<Option<Bytes>>(bytes()).unwrap(), Some(expected.clone()));
        assert_eq!(read::<Params<Value>>(bytes()).unwrap(), Params::Bytes(expected));
    }

    #[test]
    fn keeps_the_memory_of_owned_bytes() {
        let owned = vec![1; 4096];
        let place = owned.as_ptr();
        assert_eq!(read::<Bytes>(Cow::Owned(owned)).unwrap().as_ptr(), place);
    }

    #[test]
    fn refuses_types_that_are_read_from_json() {
        assert!(is_refused::<Value>() && is_refused::<()>() && is_refused::<Option<u8>>());
        assert!(is_refused::<IgnoredAny>() && is_refused::<Vec<u8>>() && is_refused::<String>());
        assert!(is_refused::<Box<serde_json::value::RawValue>>());
    }
}
