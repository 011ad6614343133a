//! The params of `system.spans`: spans of a client, read as untrusted input.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::span::{AttributeValue, ReportedSpan, SpanPlace};
use crate::config::MAX_SERVICE_BYTES;

/// Upper bound for the params, in bytes.
const MAX_PARAMS_BYTES: usize = 256 * 1024;

/// Upper bound for the spans of one call.
const MAX_SPANS: usize = 512;

/// Upper bound for the name of a span, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Upper bound for the attributes of a span.
const MAX_ATTRIBUTES: usize = 32;

/// Upper bound for the name of an attribute, in bytes.
const MAX_KEY_BYTES: usize = 128;

/// Upper bound for the value of an attribute and for the message of an error, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// Upper bound for the description of a fault, in bytes.
const MAX_FAULT_BYTES: usize = 256;

/// Why params are not spans, as the client reads it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InvalidSpans(String);

impl InvalidSpans {
    fn of_json(error: &serde_json::Error) -> Self {
        let mut text = error.to_string();
        // The text may repeat a value of the client.
        text.truncate(text.floor_char_boundary(MAX_FAULT_BYTES));
        Self(text)
    }
}

/// Spans of a client that keep all bounds.
#[derive(Debug)]
pub(crate) struct ReportedSpans(pub(super) Vec<ReportedSpan>);

impl ReportedSpans {
    /// Reads params.
    ///
    /// # Errors
    ///
    /// The first fault. None of the spans is used then.
    pub(crate) fn parse(params: &str) -> Result<Self, InvalidSpans> {
        if params.len() > MAX_PARAMS_BYTES {
            return Err(InvalidSpans(format!("the params have more than {MAX_PARAMS_BYTES} bytes")));
        }
        let Params { service, spans } =
            serde_json::from_str(params).map_err(|error| InvalidSpans::of_json(&error))?;
        let service: Arc<str> = service.0.into();

        let read = spans.0.into_iter().enumerate().map(|(number, span)| {
            span.check(&service).map_err(|fault| InvalidSpans(format!("spans[{number}].{fault}")))
        });
        read.collect::<Result<_, _>>().map(Self)
    }

    /// Returns the number of spans.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[derive(Deserialize)]
struct Params {
    service: Text<MAX_SERVICE_BYTES>,
    spans: Spans,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSpan {
    trace_id: Id<16>,
    span_id: Id<8>,
    parent_span_id: Option<Id<8>>,
    name: Text<MAX_NAME_BYTES>,
    kind: Option<u8>,
    start_time_unix_nano: Nanos,
    end_time_unix_nano: Nanos,
    #[serde(default)]
    attributes: Attributes,
    error: Option<Text<MAX_TEXT_BYTES>>,
}

impl WrittenSpan {
    /// Checks what concerns several members, or numbers.
    fn check(self, service: &Arc<str>) -> Result<ReportedSpan, &'static str> {
        // OTLP numbers the kinds from 1; 1 is INTERNAL.
        let kind = self.kind.unwrap_or(1);
        if !(1..=5).contains(&kind) {
            return Err("kind: it is not from 1 to 5");
        }
        let (start, end) = (self.start_time_unix_nano.0, self.end_time_unix_nano.0);
        if end < start {
            return Err("endTimeUnixNano: it is before startTimeUnixNano");
        }

        let place = SpanPlace {
            trace_id: self.trace_id.0,
            span_id: self.span_id.0,
            parent_id: self.parent_span_id.map(|id| id.0),
            flags: 1,
            state: None,
        };
        Ok(ReportedSpan {
            place,
            service: Arc::clone(service),
            name: self.name.0,
            kind,
            start,
            end,
            attributes: self.attributes.0,
            error: self.error.map(|error| error.0),
        })
    }
}

/// A text of 1 to `MAX` bytes.
struct Text<const MAX: usize>(String);

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.len() > MAX {
            return Err(D::Error::custom(format_args!("a text has {} bytes, not 1 to {MAX}", text.len())));
        }
        Ok(Self(text))
    }
}

/// An id of `N` bytes, not zero, as lower-case hexadecimal digits.
struct Id<const N: usize>([u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Id<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_hex = text.len() == 2 * N && text.bytes().all(is_digit);
        let number = u128::from_str_radix(&text, 16).ok().filter(|number| is_hex && *number != 0);

        let id = number.and_then(|number| number.to_be_bytes()[16 - N..].try_into().ok());
        let invalid =
            || D::Error::custom(format_args!("an id is not {} hexadecimal digits, or is zero", 2 * N));
        id.map(Self).ok_or_else(invalid)
    }
}

/// Nanoseconds since 1970 as a string of digits, because JSON numbers lose precision in many
/// programs.
struct Nanos(u64);

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let nanos = text.parse().ok().filter(|nanos| is_digits && *nanos > 0);
        nanos.map(Self).ok_or_else(|| D::Error::custom("a time is not a string of digits within 64 bits"))
    }
}

/// Up to [`MAX_SPANS`] spans. A longer array is refused before it is read to its end.
struct Spans(Vec<WrittenSpan>);

impl<'de> Deserialize<'de> for Spans {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpansVisitor;

        impl<'de> Visitor<'de> for SpansVisitor {
            type Value = Spans;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of at most {MAX_SPANS} spans")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Spans, A::Error> {
                let mut spans = Vec::new();
                while let Some(span) = array.next_element()? {
                    if spans.len() == MAX_SPANS {
                        return Err(A::Error::custom(format_args!("there are more than {MAX_SPANS} spans")));
                    }
                    spans.push(span);
                }
                Ok(Spans(spans))
            }
        }

        deserializer.deserialize_seq(SpansVisitor)
    }
}

/// Up to [`MAX_ATTRIBUTES`] attributes with different names.
#[derive(Default)]
struct Attributes(Vec<(String, AttributeValue)>);

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AttributesVisitor;

        impl<'de> Visitor<'de> for AttributesVisitor {
            type Value = Attributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object with at most {MAX_ATTRIBUTES} strings, numbers and booleans")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut attributes: Vec<(String, AttributeValue)> = Vec::new();
                while let Some((Text::<MAX_KEY_BYTES>(key), value)) = map.next_entry()? {
                    if attributes.len() == MAX_ATTRIBUTES || attributes.iter().any(|(other, _)| *other == key)
                    {
                        return Err(A::Error::custom(format_args!(
                            "a span has more than {MAX_ATTRIBUTES} attributes, or two with one name"
                        )));
                    }
                    attributes.push((key, value));
                }
                Ok(Attributes(attributes))
            }
        }

        deserializer.deserialize_map(AttributesVisitor)
    }
}

impl<'de> Deserialize<'de> for AttributeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl Visitor<'_> for ValueVisitor {
            type Value = AttributeValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a string of at most {MAX_TEXT_BYTES} bytes, a 64-bit number or a boolean")
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Boolean(value))
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Integer(value))
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<AttributeValue, E> {
                let unexpected = serde::de::Unexpected::Unsigned(value);
                let invalid = |_| E::invalid_value(unexpected, &self);
                i64::try_from(value).map(AttributeValue::Integer).map_err(invalid)
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Float(value))
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<AttributeValue, E> {
                if value.len() > MAX_TEXT_BYTES {
                    return Err(E::invalid_length(value.len(), &self));
                }
                Ok(AttributeValue::Text(value.to_owned()))
            }
        }

        deserializer.deserialize_any(ValueVisitor)
    }
}

#[cfg(test)]
mod tests;
