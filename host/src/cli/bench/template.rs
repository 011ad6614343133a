//! The request of a load as bytes, written once: only its id is different each time.

use jackfield_protocol::{HEADER_LEN, Json, Kind, RequestTooLarge, Version, write_request};
use serde_json::value::RawValue;

/// Digits of an id: 64 bits in hexadecimal.
const DIGITS: usize = 16;
/// Where they stand: `write_request` puts the id first, as `{"id":"…`.
const DIGITS_AT: usize = HEADER_LEN + br#"{"id":""#.len();
/// The lowest bits of an id say which of its connection's requests it is.
pub(super) const SLOT_BITS: u32 = 16;

/// What a request's id stands for. No two requests of a run have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestTag(u64);

impl RequestTag {
    /// The `serial`-th request of the run, in a slot of its connection.
    pub(super) fn new(serial: u64, slot: u16) -> Self {
        Self(serial << SLOT_BITS | u64::from(slot))
    }

    /// What an id's text stands for, if it is one of ours.
    pub(super) fn read(text: &str) -> Option<Self> {
        let ours = text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        ours.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }

    pub(super) fn slot(self) -> u16 {
        (self.0 & ((1 << SLOT_BITS) - 1)).try_into().unwrap_or(u16::MAX)
    }
}

/// A request without its id.
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
        // Async requests came with 1.1; everything else is understood by a 1.0 host too.
        let (version, kind) =
            if is_async { (Version::V1_1, Kind::AsyncRequest) } else { (Version::V1_0, Kind::Sync) };
        let (id, params) = (Some(r#""0000000000000000""#), params.map(Json::from));
        let mut bytes = Vec::new();
        write_request(&mut bytes, version, kind, id, method, params)?;
        Ok(Self { bytes, kind })
    }

    /// The kind of frame that answers it.
    pub(super) fn answer(&self) -> Kind {
        if self.is_async() { Kind::AsyncResponse } else { Kind::Sync }
    }

    pub(super) fn is_async(&self) -> bool {
        self.kind == Kind::AsyncRequest
    }

    /// Appends the request with its id.
    pub(super) fn write(&self, ticket: RequestTag, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let digits = out.iter_mut().skip(start + DIGITS_AT).take(DIGITS);
        for (place, digit) in digits.enumerate() {
            let shift = 4 * (DIGITS - 1 - place);
            *digit = b"0123456789abcdef"[(ticket.0 >> shift & 0xf) as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use jackfield_protocol::{Decoder, FrameLimit, Request, Step};

    use super::*;

    #[test]
    fn every_request_has_its_own_id_which_tells_its_slot() {
        for is_async in [true, false] {
            let template = RequestTemplate::new(is_async, "a.b", None).unwrap();
            let mut out = b"before".to_vec();
            let ticket = RequestTag::new(0x0123_4567_89ab, 0xcdef);
            template.write(ticket, &mut out);
            let Step::Frame { header, payload, .. } = Decoder::new(FrameLimit::MAX).step(&out[6..]) else {
                panic!("no frame")
            };
            assert_eq!(header.kind, template.kind);
            let request = Request::parse(payload).unwrap();
            let id = request.id.unwrap().text().into_owned();
            assert_eq!(id, "0123456789abcdef");
            assert_eq!(RequestTag::read(&id), Some(ticket));
            assert_eq!(ticket.slot(), 0xcdef);
        }
    }

    #[test]
    fn other_ids_are_nobodys() {
        for text in ["", "7", "0123456789abcdeF", "+123456789abcdef", "0123456789abcdef0"] {
            assert_eq!(RequestTag::read(text), None, "{text}");
        }
    }
}
