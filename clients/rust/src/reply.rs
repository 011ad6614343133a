//! The reply to a call: its result, and what the host reports besides.

use bytes::Bytes;
use jackfield_protocol::{Timing, Version};
use serde::de::DeserializeOwned;

use crate::error::{Error, UnreadableReply};

/// The result of a method as the host sent it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// JSON.
    Json(Bytes),
    /// Opaque bytes.
    Bytes(Bytes),
}

impl Payload {
    /// Reads the JSON of the result.
    ///
    /// # Errors
    ///
    /// The result is not of this type, or is opaque bytes.
    pub fn decode<R: DeserializeOwned>(&self) -> Result<R, Error> {
        match self {
            Payload::Json(json) => serde_json::from_slice(json).map_err(Error::Decode),
            Payload::Bytes(_) => Err(UnreadableReply::OpaqueBytes.into()),
        }
    }

    /// Returns the result as it was sent: opaque bytes, or the text of the JSON.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Payload::Json(bytes) | Payload::Bytes(bytes) => bytes,
        }
    }
}

/// The outcome of a call, and how long it took in the host.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reply {
    /// The result, or why there is none.
    pub result: Result<Payload, Error>,
    /// How long the request was queued and ran, and the generation of the plugin that answered it.
    ///
    /// `None` if no host answered, or one that reports no timing: one of protocol 1.1, or one that
    /// has not yet answered the hello of a new connection when the request was sent.
    pub timing: Option<Timing>,
    /// The version of the last connection that the request was sent on: 1.2 if the host has granted
    /// it. `None` if the request was not sent, or there was no answer.
    pub version: Option<Version>,
}

impl Reply {
    /// Returns the reply of a call that has not begun.
    pub(crate) fn failed(error: Error) -> Reply {
        Reply { result: Err(error), timing: None, version: None }
    }
}
