//! The hello: the payload of a heartbeat by which both sides agree on what version 1.2 adds
//! (protocol section 5).
//!
//! Every server of version 1.0 and 1.1 answers heartbeats and reads no payload of one, so that a
//! client needs no time-out to find out what its peer speaks.

use crate::capability::Capabilities;
use crate::header::{Header, Kind, Version};

/// The first bytes of a hello.
const MAGIC: [u8; 4] = *b"IPC2";
/// The only layout.
const LAYOUT: u8 = 1;
/// The flag of an acknowledgement, so that a peer that echoes is not taken for one that grants.
const ACK: u8 = 0x01;
/// Length of the part before the fields, in bytes.
const FIXED_LEN: usize = 32;

const AGENT: u8 = 0x01;
const INSTANCE: u8 = 0x02;
const CONTENT_TYPES: u8 = 0x03;

/// The content type of opaque bytes, as field 03 and the extension block contain it.
pub(crate) const BYTES: u8 = 3;

/// A hello, borrowed from the payload of its heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello<'a> {
    /// Whether it is the acknowledgement of a server.
    pub is_ack: bool,
    /// The highest version that the sender speaks, as in a header.
    pub version: u16,
    /// The wishes of the client, or the grant of the server.
    pub capabilities: Capabilities,
    /// Largest payload that the sender accepts, in bytes. 0 stands for no statement.
    pub largest_payload: u32,
    /// Most requests in flight. 0 stands for no wish.
    pub in_flight: u32,
    /// Chosen by the client, and repeated by the server. It proves that the answer belongs to this
    /// hello.
    pub nonce: u64,
    /// Name and version of the program that sent it, at most [`Hello::AGENT_MAX`] bytes.
    pub agent: Option<&'a str>,
    /// A number of the server that is new at every start. A value of another length counts as none.
    pub instance: Option<[u8; 16]>,
    /// Whether the sender wishes for, or grants, content type 3 (bytes).
    pub has_bytes: bool,
}

impl<'a> Hello<'a> {
    /// Length of the longest hello, in bytes. A longer payload is a plain heartbeat.
    pub const LEN_MAX: usize = 1024;
    /// Length of the longest agent, in bytes. A longer one is cut.
    pub const AGENT_MAX: usize = 64;
    /// The smallest value of `largest_payload` that counts, in bytes: an error reply fits into it.
    pub const LARGEST_PAYLOAD_MIN: u32 = 1024;

    /// Reads the payload of a heartbeat. Returns `None` if it is no hello.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Hello<'a>> {
        if payload.len() > Hello::LEN_MAX {
            return None;
        }
        let mut rest = payload;
        let [magic @ .., layout, flags] = take::<6>(&mut rest)?;
        if magic != MAGIC || layout != LAYOUT {
            return None;
        }

        let mut hello = Hello {
            is_ack: flags & ACK != 0,
            version: u16::from_be_bytes(take(&mut rest)?),
            capabilities: Capabilities::from_bits(u64::from_be_bytes(take(&mut rest)?)),
            largest_payload: u32::from_be_bytes(take(&mut rest)?),
            in_flight: u32::from_be_bytes(take(&mut rest)?),
            nonce: u64::from_be_bytes(take(&mut rest)?),
            agent: None,
            instance: None,
            has_bytes: false,
        };
        hello.read_fields(rest)?;
        Some(hello)
    }

    /// Reads the fields. Of a tag that occurs twice, the first one counts.
    fn read_fields(&mut self, mut rest: &'a [u8]) -> Option<()> {
        // A bit for each known tag.
        let mut seen = 0u8;
        while !rest.is_empty() {
            let [tag] = take(&mut rest)?;
            let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
            let (value, behind) = rest.split_at_checked(length)?;
            rest = behind;

            let bit = 1u8.checked_shl(tag.into()).unwrap_or(0);
            let is_first = seen & bit == 0;
            seen |= bit;
            match tag {
                AGENT if is_first => {
                    let text = std::str::from_utf8(value).ok()?;
                    self.agent = text.get(..text.floor_char_boundary(Hello::AGENT_MAX));
                }
                INSTANCE if is_first => self.instance = value.try_into().ok(),
                CONTENT_TYPES if is_first => self.has_bytes = value.contains(&BYTES),
                _ => {}
            }
        }
        Some(())
    }

    /// Appends the heartbeat that carries the hello. `version` is that of its header.
    pub fn write(&self, out: &mut Vec<u8>, version: Version) {
        let start = out.len();
        out.extend_from_slice(&Header { version, kind: Kind::Heartbeat, length: 0 }.encode());
        let payload = out.len();

        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[LAYOUT, if self.is_ack { ACK } else { 0 }]);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.capabilities.bits().to_be_bytes());
        out.extend_from_slice(&self.largest_payload.to_be_bytes());
        out.extend_from_slice(&self.in_flight.to_be_bytes());
        out.extend_from_slice(&self.nonce.to_be_bytes());
        debug_assert_eq!(out.len(), payload + FIXED_LEN);

        if let Some(agent) = self.agent {
            put_field(out, AGENT, &agent.as_bytes()[..agent.floor_char_boundary(Hello::AGENT_MAX)]);
        }
        if let Some(instance) = self.instance {
            put_field(out, INSTANCE, &instance);
        }
        if self.has_bytes {
            put_field(out, CONTENT_TYPES, &[BYTES]);
        }

        let length = u32::try_from(out.len() - payload).unwrap_or(u32::MAX);
        if let Some(field) = out.get_mut(start + 3..payload) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}

fn put_field(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.push(tag);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

/// Takes the first `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HEADER_LEN;

    const HELLO: Hello<'static> = Hello {
        is_ack: false,
        version: 0x0102,
        capabilities: Capabilities::EXTENSION_BLOCK,
        largest_payload: 1 << 24,
        in_flight: 64,
        nonce: 0x0102_0304_0506_0708,
        agent: Some("client/1"),
        instance: Some([7; 16]),
        has_bytes: true,
    };

    fn payload_of(hello: &Hello<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        hello.write(&mut out, Version::V1_0);
        assert_eq!(out[..3], [1, 0, 2]);
        out.split_off(HEADER_LEN)
    }

    #[test]
    fn reads_what_it_writes() {
        let bare = Hello { is_ack: true, agent: None, instance: None, has_bytes: false, ..HELLO };
        for hello in [HELLO, bare] {
            assert_eq!(Hello::parse(&payload_of(&hello)), Some(hello));
        }
    }

    #[test]
    fn reads_no_hello_that_is_truncated_or_of_another_layout() {
        let payload = payload_of(&HELLO);
        let boundaries = [FIXED_LEN, FIXED_LEN + 11, FIXED_LEN + 11 + 19];
        for length in (0..payload.len()).filter(|length| !boundaries.contains(length)) {
            assert_eq!(Hello::parse(&payload[..length]), None, "{length}");
        }

        for (at, byte) in [(0, b'X'), (4, 2), (FIXED_LEN + 3, 0xFF)] {
            let mut changed = payload.clone();
            changed[at] = byte;
            assert_eq!(Hello::parse(&changed), None, "{at}");
        }
    }

    #[test]
    fn cuts_a_long_agent_between_characters() {
        let long = format!("{}é", "x".repeat(Hello::AGENT_MAX - 1));
        let hello = Hello { agent: Some(&long), ..HELLO };
        let cut = Hello { agent: Some(&long[..Hello::AGENT_MAX - 1]), ..HELLO };
        assert_eq!(Hello::parse(&payload_of(&hello)), Some(cut), "the writer cuts");

        let mut payload = payload_of(&Hello { agent: None, ..HELLO });
        put_field(&mut payload, AGENT, long.as_bytes());
        assert_eq!(Hello::parse(&payload), Some(cut), "the reader cuts");
    }

    #[test]
    fn reads_the_first_field_of_each_tag() {
        let bare = Hello { agent: None, instance: None, has_bytes: false, ..HELLO };
        let mut payload = payload_of(&bare);
        for (tag, first, second) in [
            (AGENT, &b"a"[..], &b"\xFF"[..]),
            (INSTANCE, b"short", &[7; 16]),
            (CONTENT_TYPES, b"\0", b"\x03"),
        ] {
            put_field(&mut payload, tag, first);
            put_field(&mut payload, tag, second);
        }
        assert_eq!(Hello::parse(&payload), Some(Hello { agent: Some("a"), ..bare }));

        let mut no_text = payload_of(&bare);
        put_field(&mut no_text, AGENT, b"\xFF");
        assert_eq!(Hello::parse(&no_text), None, "an agent that is not UTF-8");
    }

    #[test]
    fn skips_unknown_fields_and_flags() {
        let mut payload = payload_of(&HELLO);
        payload[5] |= 0xF0;
        put_field(&mut payload, 0x7F, b"later");
        put_field(&mut payload, AGENT, b"second");
        assert_eq!(Hello::parse(&payload), Some(HELLO));

        payload.resize(Hello::LEN_MAX + 1, 0);
        assert_eq!(Hello::parse(&payload), None);
    }
}
