//! A request as bytes, in one buffer and one pass, and its id, which is new at every try.

use jackfield_protocol::{HEADER_LEN, Kind, Version, limits, write_heartbeat, write_request};
use serde::Serialize;

use crate::connection::Asked;
use crate::error::EncodeError;
use crate::id::{Key, TEXT_LEN};
use crate::options::Mode;

/// Where the id's text stands: `write_request` puts the id first, as `{"id":"…`.
const ID_AT: usize = HEADER_LEN + br#"{"id":""#.len();
/// Params that are null are left out: to a host both are the same, and JSON-RPC knows no null there.
const PARAMS: &[u8] = br#","params":"#;
/// Where a header keeps its length (protocol section 1).
const LENGTH_AT: usize = 3;

/// The whole frame of one request.
#[derive(Debug)]
pub(crate) struct RequestFrame {
    bytes: Vec<u8>,
    asked: Asked,
    mode: Mode,
}

impl RequestFrame {
    /// Writes a request. The id is still to come.
    pub(crate) fn new<P: Serialize + ?Sized>(
        mode: Mode,
        method: &str,
        params: &P,
    ) -> Result<RequestFrame, EncodeError> {
        if method.is_empty() || method.len() > limits::METHOD_MAX {
            return Err(EncodeError::MethodLength(method.len()));
        }
        // Async requests came with 1.1; everything else is understood by a 1.0 host too.
        let (version, kind, asked) = match mode {
            Mode::Multiplexed => (Version::V1_1, Kind::AsyncRequest, Asked::Async),
            Mode::Exclusive => (Version::V1_0, Kind::Sync, Asked::Sync),
        };
        let mut bytes = Vec::with_capacity(256);
        let id = "\"00000000-0000-0000-0000-000000000000\"";
        write_request(&mut bytes, version, kind, Some(id), method, None)
            .map_err(|error| EncodeError::TooLarge(error.length))?;
        // The params go straight into the frame instead of through a buffer of their own.
        bytes.pop();
        let without = bytes.len();
        bytes.extend_from_slice(PARAMS);
        serde_json::to_writer(&mut bytes, params)?;
        if bytes.get(without + PARAMS.len()..) == Some(b"null") {
            bytes.truncate(without);
        }
        bytes.push(b'}');
        let payload = bytes.len() - HEADER_LEN;
        let length = u32::try_from(payload).map_err(|_| EncodeError::TooLarge(payload))?;
        if let Some(field) = bytes.get_mut(LENGTH_AT..HEADER_LEN) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        Ok(RequestFrame { bytes, asked, mode })
    }

    /// A heartbeat, which has no id: its key is known here alone.
    pub(crate) fn heartbeat(mode: Mode) -> RequestFrame {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        write_heartbeat(&mut bytes, Version::V1_0);
        RequestFrame { bytes, asked: Asked::Heartbeat, mode }
    }

    /// Gives the request an id that was never used before: a second reply to an earlier try is then no reply to
    /// this one.
    pub(crate) fn renew_id(&mut self) -> Key {
        let key = Key::new();
        if self.asked == Asked::Heartbeat {
            return key;
        }
        if let Some(text) = self.bytes.get_mut(ID_AT..).and_then(|rest| rest.first_chunk_mut::<TEXT_LEN>()) {
            key.write(text);
        }
        key
    }

    /// Header and payload.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What kind of reply it calls for.
    pub(crate) fn asked(&self) -> Asked {
        self.asked
    }

    /// How it uses the wire.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }
}

#[cfg(test)]
mod tests {
    use jackfield_protocol::{Decoder, FrameLimit, Request, Step};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_frame_is_a_request_with_the_id_it_was_given() {
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
    fn params_that_are_null_are_left_out() {
        for (params, written) in
            [(json!(null), None), (json!({}), Some("{}")), (json!([null]), Some("[null]"))]
        {
            let frame = RequestFrame::new(Mode::Multiplexed, "m", &params).unwrap();
            let request = Request::parse(&frame.bytes()[HEADER_LEN..]).unwrap();
            assert_eq!(request.params.map(|params| params.get()), written);
        }
    }

    #[test]
    fn what_cannot_be_a_request_is_refused() {
        let long = "m".repeat(limits::METHOD_MAX + 1);
        for method in ["", &long] {
            let error = RequestFrame::new(Mode::Exclusive, method, &()).unwrap_err();
            assert!(matches!(error, EncodeError::MethodLength(length) if length == method.len()));
        }
        let unwritable = std::collections::HashMap::from([((1, 2), 3)]);
        let error = RequestFrame::new(Mode::Exclusive, "m", &unwritable).unwrap_err();
        assert!(matches!(error, EncodeError::Params(_)));
    }
}
