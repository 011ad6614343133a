//! The members of a request that travel with it to the plugin: deadline, trace, metadata (protocol
//! section 2).

use std::borrow::Cow;
use std::num::NonZeroU32;

use crate::envelope_error::EnvelopeError;
use crate::json::Json;
use crate::limits::{ESCAPE_LEN, META_BYTES_MAX, META_MEMBERS_MAX, META_WRITTEN_MAX, TRACESTATE_MAX};

/// The members of a request besides id, method and params.
#[derive(Clone, Debug, Default)]
pub struct RequestContext<'a> {
    /// How long the client still waits, in milliseconds from when the host reads the frame.
    pub deadline_ms: Option<NonZeroU32>,
    /// Trace and metadata. They are boxed, because most requests have neither and every request is
    /// moved.
    pub carried: Option<Box<CarriedMembers<'a>>>,
}

/// The members of a request that travel with it to the plugin. A trace that is invalid is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CarriedMembers<'a> {
    /// The span of the client, as W3C Trace Context defines it.
    pub traceparent: Option<TraceParent>,
    /// `tracestate` as written, if `traceparent` is valid: a JSON string of at most
    /// [`TRACESTATE_MAX`] bytes.
    pub tracestate: Option<Json<'a>>,
    /// Metadata for the plugin: a JSON object with strings, within [`META_MEMBERS_MAX`] and
    /// [`META_BYTES_MAX`].
    pub meta: Option<Json<'a>>,
}

impl<'a> RequestContext<'a> {
    /// Returns trace and metadata, which are `None` if the request has none.
    #[must_use]
    pub fn carried(&self) -> CarriedMembers<'a> {
        self.carried.as_deref().copied().unwrap_or_default()
    }

    /// Interprets the members `deadline_ms`, `traceparent`, `tracestate` and `meta`.
    #[inline]
    pub(crate) fn interpret(
        [deadline, traceparent, tracestate, meta]: [Option<Json<'a>>; 4],
    ) -> Result<RequestContext<'a>, EnvelopeError> {
        let deadline_ms = match deadline {
            Some(value) => Some(read_deadline(value)?),
            None => None,
        };
        let carried = if traceparent.is_some() || meta.is_some() {
            CarriedMembers::interpret(traceparent, tracestate, meta)?
        } else {
            None
        };
        Ok(RequestContext { deadline_ms, carried })
    }
}

impl<'a> CarriedMembers<'a> {
    /// Returns `None` if nothing is carried, because the trace is invalid.
    #[inline(never)]
    fn interpret(
        traceparent: Option<Json<'a>>,
        tracestate: Option<Json<'a>>,
        meta: Option<Json<'a>>,
    ) -> Result<Option<Box<CarriedMembers<'a>>>, EnvelopeError> {
        meta.map(check_meta).transpose()?;
        let traceparent = traceparent.and_then(|value| TraceParent::parse(plain_string(value)?));
        let tracestate = tracestate.filter(|value| traceparent.is_some() && is_tracestate(*value));
        let is_empty = traceparent.is_none() && meta.is_none();
        Ok((!is_empty).then(|| Box::new(CarriedMembers { traceparent, tracestate, meta })))
    }
}

/// Reads a JSON number that is an integer of 1 to 10 digits. A leading zero would not be JSON.
#[inline]
fn read_deadline(value: Json<'_>) -> Result<NonZeroU32, EnvelopeError> {
    let digits = value.get().as_bytes();
    if digits.len() > 10 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(EnvelopeError::DeadlineInvalid);
    }
    let number = digits.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    u32::try_from(number).ok().and_then(NonZeroU32::new).ok_or(EnvelopeError::DeadlineInvalid)
}

/// Returns the text of a JSON string without escapes.
fn plain_string(value: Json<'_>) -> Option<&str> {
    if value.has_backslash() {
        return None;
    }
    value.get().strip_prefix('"')?.strip_suffix('"')
}

/// Returns the text of a JSON string.
fn text_of(value: Json<'_>) -> Option<Cow<'_, str>> {
    match plain_string(value) {
        Some(text) => Some(Cow::Borrowed(text)),
        None => serde_json::from_str(value.get()).ok().map(Cow::Owned),
    }
}

fn is_tracestate(value: Json<'_>) -> bool {
    // Checked before the escapes are decoded, so that a long string of escapes costs no memory.
    let may_fit = value.get().len() <= "\"\"".len() + ESCAPE_LEN * TRACESTATE_MAX;
    may_fit && text_of(value).is_some_and(|text| text.len() <= TRACESTATE_MAX)
}

/// Checks the number, the types and the length of metadata.
fn check_meta(value: Json<'_>) -> Result<(), EnvelopeError> {
    if value.get().len() > META_WRITTEN_MAX {
        return Err(EnvelopeError::MetaTooLarge);
    }
    let MetaMembers(members) =
        serde_json::from_str(value.get()).map_err(|_| EnvelopeError::MetaNotStrings)?;

    let bytes: usize = members.iter().map(|(name, value)| name.len() + value.len()).sum();
    if members.len() > META_MEMBERS_MAX || bytes > META_BYTES_MAX {
        return Err(EnvelopeError::MetaTooLarge);
    }
    let is_duplicate = |at: usize| members[..at].iter().any(|(name, _)| *name == members[at].0);
    if (0..members.len()).any(|at| members[at].0.is_empty() || is_duplicate(at)) {
        return Err(EnvelopeError::MetaNotStrings);
    }
    Ok(())
}

/// The members of an object with strings, in the order in which they are written.
struct MetaMembers(Vec<(String, String)>);

impl<'de> serde::Deserialize<'de> for MetaMembers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetaVisitor;

        impl<'de> serde::de::Visitor<'de> for MetaVisitor {
            type Value = MetaMembers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with strings")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<MetaMembers, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, String>()? {
                    members.push(member);
                }
                Ok(MetaMembers(members))
            }
        }

        deserializer.deserialize_map(MetaVisitor)
    }
}

/// A `traceparent` of W3C Trace Context, version 00.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceParent {
    /// The id of the trace, not zero.
    pub trace_id: [u8; 16],
    /// The id of the span that made the request, not zero.
    pub span_id: [u8; 8],
    /// The trace flags. The lowest bit says that the caller records the trace.
    pub flags: u8,
}

impl TraceParent {
    /// Length of the text, in bytes.
    pub const LEN: usize = 55;

    /// Parses `00-<32 digits>-<16 digits>-<2 digits>` with lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<TraceParent> {
        let bytes: &[u8; TraceParent::LEN] = text.as_bytes().try_into().ok()?;
        if !bytes.starts_with(b"00-") || bytes[35] != b'-' || bytes[52] != b'-' {
            return None;
        }
        let trace_id = read_hex(&bytes[3..35])?;
        let span_id = read_hex(&bytes[36..52])?;
        let [flags] = read_hex(&bytes[53..])?;

        let is_zero = trace_id == [0; 16] || span_id == [0; 8];
        (!is_zero).then_some(TraceParent { trace_id, span_id, flags })
    }

    /// Returns whether the caller records the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let trace_id = u128::from_be_bytes(self.trace_id);
        let span_id = u64::from_be_bytes(self.span_id);
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{:02x}", self.flags)
    }
}

/// Reads `2 * N` lower-case hexadecimal digits.
fn read_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    /// Stands for a byte that is no digit. A digit fits into the low four bits.
    const NONE: u8 = 0x80;
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => NONE,
    };

    let mut bytes = [0; N];
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (digit(pair[0]), digit(pair[1]));
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen & NONE == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Request;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn parses_and_writes_a_traceparent() {
        let parsed = TraceParent::parse(TRACE).unwrap();
        assert!(parsed.is_sampled());
        assert_eq!(parsed.to_string(), TRACE);

        for invalid in [
            "",
            &TRACE[1..],
            &TRACE.replace("00-", "01-"),
            &TRACE.to_uppercase(),
            &TRACE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &TRACE.replace("b7ad6b7169203331", &"0".repeat(16)),
            &TRACE.replace("-01", "-0g"),
        ] {
            assert_eq!(TraceParent::parse(invalid), None, "{invalid}");
        }
    }

    fn context(members: &str) -> Result<(Option<u32>, bool, bool, bool), EnvelopeError> {
        let payload = format!("{{\"method\":\"a\",{members}}}");
        let request = Request::parse(payload.as_bytes()).map_err(|invalid| invalid.error)?;
        let deadline_ms = request.context.deadline_ms;
        let CarriedMembers { traceparent, tracestate, meta } = request.context.carried();
        Ok((deadline_ms.map(NonZeroU32::get), traceparent.is_some(), tracestate.is_some(), meta.is_some()))
    }

    #[test]
    fn reads_the_deadline() {
        assert_eq!(context("\"deadline_ms\":4294967295"), Ok((Some(u32::MAX), false, false, false)));
        for invalid in ["0", "-1", "1.5", "1e3", "4294967296", "null", "\"1\"", "[]"] {
            let members = format!("\"deadline_ms\":{invalid}");
            assert_eq!(context(&members), Err(EnvelopeError::DeadlineInvalid), "{invalid}");
        }
    }

    #[test]
    fn ignores_an_invalid_trace() {
        let both = format!("\"traceparent\":\"{TRACE}\",\"tracestate\":\"a=b\"");
        assert_eq!(context(&both), Ok((None, true, true, false)));
        assert_eq!(context("\"traceparent\":7,\"tracestate\":\"a=b\""), Ok((None, false, false, false)));
        let long = format!("\"traceparent\":\"{TRACE}\",\"tracestate\":\"{}\"", "x".repeat(513));
        assert_eq!(context(&long), Ok((None, true, false, false)));
    }

    #[test]
    fn bounds_metadata() {
        let object = |members: usize, length: usize| {
            let members: Vec<_> =
                (10..10 + members).map(|at| format!("\"{at}\":\"{}\"", "x".repeat(length - 2))).collect();
            format!("\"meta\":{{{}}}", members.join(","))
        };
        for accepted in [object(0, 2), object(16, 128), "\"meta\":{\"a\":\"\\u0061\"}".to_owned()] {
            assert_eq!(context(&accepted), Ok((None, false, false, true)), "{accepted}");
        }
        for rejected in [object(17, 2), object(16, 129), object(1, 100_000)] {
            assert_eq!(context(&rejected), Err(EnvelopeError::MetaTooLarge), "{rejected}");
        }
        for rejected in ["null", "[]", "{\"a\":1}", "{\"\":\"x\"}", "{\"a\":\"x\",\"\\u0061\":\"y\"}"] {
            let members = format!("\"meta\":{rejected}");
            assert_eq!(context(&members), Err(EnvelopeError::MetaNotStrings), "{rejected}");
        }
    }

    #[test]
    fn rejects_a_member_that_occurs_twice() {
        for name in ["deadline_ms", "traceparent", "tracestate", "meta"] {
            let error = context(&format!("\"{name}\":1,\"{name}\":1"));
            assert_eq!(error, Err(EnvelopeError::DuplicateMember(name)));
        }
    }
}
