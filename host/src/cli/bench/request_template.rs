//! The request of a load as bytes. It is encoded once; each request differs only in its id.

use jackfield_protocol::{HEADER_LEN, Json, Kind, RequestMembers, RequestTooLarge, Version, write_request};
use serde_json::value::RawValue;

/// Digits of an id: 64 bits in hexadecimal.
const ID_DIGITS: usize = 16;

/// Offset of the digits: `write_request` writes the id first, as `{"id":"…`.
const ID_OFFSET: usize = HEADER_LEN + br#"{"id":""#.len();

/// Number of the lowest bits of an id, which are the slot of the request on its connection.
pub(super) const SLOT_BITS: u32 = 16;

/// The value of a request's id: its number in the run, and its slot on its connection. No two
/// requests of a run have the same tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestTag(u64);

impl RequestTag {
    pub(super) fn new(serial: u64, slot: u16) -> Self {
        Self(serial << SLOT_BITS | u64::from(slot))
    }

    /// Returns the tag that the text of an id stands for; `None` if this program writes no such id.
    pub(super) fn parse(id: &str) -> Option<Self> {
        let is_ours =
            id.len() == ID_DIGITS && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_ours.then(|| u64::from_str_radix(id, 16).ok().map(Self)).flatten()
    }

    pub(super) fn slot(self) -> u16 {
        (self.0 & ((1 << SLOT_BITS) - 1)).try_into().unwrap_or(u16::MAX)
    }
}

/// A request whose id is not filled in.
#[derive(Debug)]
pub(super) struct RequestTemplate {
    bytes: Vec<u8>,
    kind: Kind,
}

impl RequestTemplate {
    pub(super) fn new(
        is_async: bool,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<Self, RequestTooLarge> {
        // Async requests exist since 1.1. A 1.0 host understands all others.
        let (version, kind) =
            if is_async { (Version::V1_1, Kind::AsyncRequest) } else { (Version::V1_0, Kind::Sync) };
        let id = Some(r#""0000000000000000""#);

        let mut bytes = Vec::new();
        write_request(
            &mut bytes,
            version,
            kind,
            id,
            method,
            RequestMembers::default(),
            params.map(Json::from).into(),
        )?;
        Ok(Self { bytes, kind })
    }

    /// Returns the kind of frame that answers the request.
    pub(super) fn reply_kind(&self) -> Kind {
        if self.is_async() { Kind::AsyncResponse } else { Kind::Sync }
    }

    pub(super) fn is_async(&self) -> bool {
        self.kind == Kind::AsyncRequest
    }

    /// Appends the request with its id.
    pub(super) fn write(&self, tag: RequestTag, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);

        let digits = out.iter_mut().skip(start + ID_OFFSET).take(ID_DIGITS);
        for (position, digit) in digits.enumerate() {
            let shift = 4 * (ID_DIGITS - 1 - position);
            *digit = b"0123456789abcdef"[(tag.0 >> shift & 0xf) as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use jackfield_protocol::{Decoder, FrameLimit, Request, Step};

    use super::*;

    #[test]
    fn writes_a_request_whose_id_is_its_tag() {
        for is_async in [true, false] {
            let template = RequestTemplate::new(is_async, "a.b", None).unwrap();
            let tag = RequestTag::new(0x0123_4567_89ab, 0xcdef);
            let mut out = b"before".to_vec();

            template.write(tag, &mut out);

            let Step::Frame { header, payload, .. } = Decoder::new(FrameLimit::MAX).step(&out[6..]) else {
                panic!("no frame")
            };
            assert_eq!(header.kind, template.kind);
            let request = Request::parse(payload).unwrap();
            let id = request.id.unwrap().text().into_owned();
            assert_eq!(id, "0123456789abcdef");
            assert_eq!(RequestTag::parse(&id), Some(tag));
            assert_eq!(tag.slot(), 0xcdef);
        }
    }

    #[test]
    fn rejects_ids_that_are_no_tags() {
        for id in ["", "7", "0123456789abcdeF", "+123456789abcdef", "0123456789abcdef0"] {
            assert_eq!(RequestTag::parse(id), None, "{id}");
        }
    }
}
