//! A request as a frame in one buffer, with an id that changes at every try.

use jackfield_protocol::{
    HEADER_LEN, Kind, RequestMembers, RequestParams, Version, limits, write_heartbeat, write_request,
};
use serde::Serialize;

use crate::error::EncodeError;
use crate::id::{Key, TEXT_LEN};
use crate::options::Mode;

/// Offset of the id's text in the frame. `write_request` puts the id first, as `{"id":"…`.
const ID_OFFSET: usize = HEADER_LEN + br#"{"id":""#.len();

/// Offset of the length field in a header (protocol section 1).
const LENGTH_OFFSET: usize = 3;

/// The id in a new frame, which [`RequestFrame::renew_id`] overwrites.
const NO_ID: &str = "\"00000000-0000-0000-0000-000000000000\"";

/// The name of the params in the payload.
const PARAMS: &[u8] = br#","params":"#;

/// Bytes reserved for a new frame. Small requests fit without another allocation.
const CAPACITY: usize = 256;

/// The kind of a request, which decides how its reply is matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RequestKind {
    /// Kind `04`: the reply carries the id.
    Async,
    /// Kind `01`: the next sync reply belongs to it.
    Sync,
    /// Kind `02`: heartbeats are answered in order.
    Heartbeat,
}

/// The whole frame of one request.
#[derive(Debug)]
pub(crate) struct RequestFrame {
    bytes: Vec<u8>,
    kind: RequestKind,
    mode: Mode,
}

impl RequestFrame {
    /// Encodes a request without an id; [`RequestFrame::renew_id`] sets it.
    pub(crate) fn new<P: Serialize + ?Sized>(
        mode: Mode,
        method: &str,
        params: &P,
    ) -> Result<RequestFrame, EncodeError> {
        if method.is_empty() || method.len() > limits::METHOD_MAX {
            return Err(EncodeError::MethodLength(method.len()));
        }

        // Async requests exist since version 1.1; a 1.0 host understands everything else.
        let (version, wire_kind, kind) = match mode {
            Mode::Multiplexed => (Version::V1_1, Kind::AsyncRequest, RequestKind::Async),
            Mode::Exclusive => (Version::V1_0, Kind::Sync, RequestKind::Sync),
        };
        let mut bytes = Vec::with_capacity(CAPACITY);
        write_request(
            &mut bytes,
            version,
            wire_kind,
            Some(NO_ID),
            method,
            RequestMembers::default(),
            RequestParams::None,
        )
        .map_err(|error| EncodeError::TooLarge(error.length))?;

        write_params(&mut bytes, params)?;

        let payload = bytes.len() - HEADER_LEN;
        let length = u32::try_from(payload).map_err(|_| EncodeError::TooLarge(payload))?;
        if let Some(field) = bytes.get_mut(LENGTH_OFFSET..HEADER_LEN) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        Ok(RequestFrame { bytes, kind, mode })
    }

    /// Encodes a heartbeat. It has no id on the wire; its key is local to the client.
    pub(crate) fn heartbeat(mode: Mode) -> RequestFrame {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        write_heartbeat(&mut bytes, Version::V1_0);
        RequestFrame { bytes, kind: RequestKind::Heartbeat, mode }
    }

    /// Gives the request an id that was never used before.
    ///
    /// A second reply to an earlier try therefore never matches this try.
    pub(crate) fn renew_id(&mut self) -> Key {
        let key = Key::new();
        if self.kind == RequestKind::Heartbeat {
            return key;
        }
        if let Some(text) =
            self.bytes.get_mut(ID_OFFSET..).and_then(|rest| rest.first_chunk_mut::<TEXT_LEN>())
        {
            key.write(text);
        }
        key
    }

    /// Returns the header and the payload.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn kind(&self) -> RequestKind {
        self.kind
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }
}

/// Adds the params to a payload without them, directly and not through a buffer of their own.
///
/// Null is omitted: a host treats both the same, and JSON-RPC allows no null params.
fn write_params<P: Serialize + ?Sized>(bytes: &mut Vec<u8>, params: &P) -> Result<(), EncodeError> {
    // The closing brace of the payload.
    bytes.pop();
    let start = bytes.len();

    bytes.extend_from_slice(PARAMS);
    serde_json::to_writer(&mut *bytes, params)?;
    if bytes.get(start + PARAMS.len()..) == Some(b"null") {
        bytes.truncate(start);
    }

    bytes.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use jackfield_protocol::{Decoder, FrameLimit, Request, Step};
    use serde_json::json;

    use super::*;

    #[test]
    fn encodes_a_request_with_the_id_of_the_try() {
        for (mode, kind) in [(Mode::Multiplexed, Kind::AsyncRequest), (Mode::Exclusive, Kind::Sync)] {
            let mut frame = RequestFrame::new(mode, "a\"b", &json!({"x": [1, null]})).unwrap();
            for _ in 0..2 {
                let key = frame.renew_id();
                let Step::Frame { header, payload, consumed } =
                    Decoder::new(FrameLimit::MAX).step(frame.bytes())
                else {
                    panic!("no frame")
                };
                assert_eq!((header.kind, consumed), (kind, frame.bytes().len()));
                let request = Request::parse(payload).unwrap();
                assert_eq!(request.method, "a\"b");
                assert_eq!(request.params.unwrap().get(), r#"{"x":[1,null]}"#);
                assert_eq!(request.id.and_then(Key::from_id), Some(key));
            }
        }
    }

    #[test]
    fn omits_params_that_are_null() {
        for (params, written) in
            [(json!(null), None), (json!({}), Some("{}")), (json!([null]), Some("[null]"))]
        {
            let frame = RequestFrame::new(Mode::Multiplexed, "m", &params).unwrap();
            let request = Request::parse(&frame.bytes()[HEADER_LEN..]).unwrap();
            assert_eq!(request.params.map(|params| params.get()), written);
        }
    }

    #[test]
    fn refuses_methods_and_params_that_cannot_be_encoded() {
        let long = "m".repeat(limits::METHOD_MAX + 1);
        for method in ["", &long] {
            let error = RequestFrame::new(Mode::Exclusive, method, &()).unwrap_err();
            assert!(matches!(error, EncodeError::MethodLength(length) if length == method.len()));
        }

        let no_json = std::collections::HashMap::from([((1, 2), 3)]);
        let error = RequestFrame::new(Mode::Exclusive, "m", &no_json).unwrap_err();
        assert!(matches!(error, EncodeError::Params(_)));
    }
}
