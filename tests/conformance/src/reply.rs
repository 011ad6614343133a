//! Replies: the id, the result or the error, and what an extension block adds.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::report::{Checked, Difference};
use crate::wire::{BLOCK, Frame};

const TIMING: u8 = 0x0E;
const CONTENT_TYPE: u8 = 0x85;

#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The JSON as written.
    Result(String),
    Bytes(Vec<u8>),
    Error {
        code: i64,
        data: Value,
    },
}

/// The timing of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) queued_us: u32,
    pub(crate) run_us: u32,
    pub(crate) generation: u32,
}

/// A reply or an error notification.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The id as written.
    pub(crate) id: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) timing: Option<Timing>,
}

impl Reply {
    /// Parses the payload of a reply.
    pub(crate) fn parse(frame: &Frame) -> Checked<Reply> {
        let read = if frame.kind & BLOCK == 0 {
            read_envelope(&frame.payload).map(|(id, outcome)| Reply { id, outcome, timing: None })
        } else {
            read_extended(&frame.payload)
        };
        read.ok_or_else(|| Difference::new("a reply", frame.to_string()))
    }

    pub(crate) fn code(&self) -> Option<i64> {
        match self.outcome {
            Outcome::Error { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Returns a member of the error's data, `Null` if there is none.
    pub(crate) fn data(&self, member: &str) -> Value {
        match &self.outcome {
            Outcome::Error { data, .. } => data[member].clone(),
            _ => Value::Null,
        }
    }
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Reads an envelope that has either a result or an error, an id if there is one, and nothing else.
fn read_envelope(payload: &[u8]) -> Option<(Option<String>, Outcome)> {
    let mut members: Members<'_> = serde_json::from_slice(payload).ok()?;
    let id = members.remove("id").map(|id| id.get().to_owned());
    let outcome = match (members.remove("result"), members.remove("error")) {
        (Some(result), None) => Outcome::Result(result.get().to_owned()),
        (None, Some(error)) => read_error(error.get())?,
        _ => return None,
    };
    members.is_empty().then_some((id, outcome))
}

fn read_error(json: &str) -> Option<Outcome> {
    let error: Value = serde_json::from_str(json).ok()?;
    error["message"].as_str()?;
    let data = error["data"].clone();
    Some(Outcome::Error { code: error["code"].as_i64()?, data })
}

/// Reads a reply with an extension block. Today's blocks have a timing, which comes first, and a
/// content type.
fn read_extended(payload: &[u8]) -> Option<Reply> {
    let (mut fields, body) = split::<2>(payload)?;
    let mut timing = None;
    let mut has_bytes = false;
    let mut is_first = true;

    while let [tag, length, rest @ ..] = fields {
        let (value, behind) = rest.split_at_checked(usize::from(*length))?;
        fields = behind;
        match *tag {
            TIMING if is_first => timing = Some(read_timing(value)?),
            CONTENT_TYPE => has_bytes = value == [3],
            _ => return None,
        }
        is_first = false;
    }
    if !fields.is_empty() {
        return None;
    }

    if !has_bytes {
        return read_envelope(body).map(|(id, outcome)| Reply { id, outcome, timing });
    }
    let (envelope, bytes) = split::<4>(body)?;
    let mut members: Members<'_> = serde_json::from_slice(envelope).ok()?;
    let id = members.remove("id").map(|id| id.get().to_owned());
    members.is_empty().then(|| Reply { id, outcome: Outcome::Bytes(bytes.to_vec()), timing })
}

fn read_timing(value: &[u8]) -> Option<Timing> {
    let mut numbers = value.as_chunks::<4>().0.iter().map(|chunk| u32::from_be_bytes(*chunk));
    let (queued_us, run_us, generation) = (numbers.next()?, numbers.next()?, numbers.next()?);
    (value.len() == 12).then_some(Timing { queued_us, run_us, generation })
}

/// Splits off what a length of `N` bytes announces.
fn split<const N: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<N>()?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}
