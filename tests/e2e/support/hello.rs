//! Hellos of a client, packed and parsed without code of the project.

use super::background::BackgroundThread;
use super::host::HostProcess;
use super::peer::{Frame, HEARTBEAT, Peer, V1_0};

pub(crate) const V1_2: u16 = 0x0102;

pub(crate) const CANCEL: u8 = 0x06;
pub(crate) const GOING_AWAY_NOTICE: u8 = 0x0A;
/// The bit of a kind that announces an extension block.
pub(crate) const BLOCK: u8 = 0x80;

pub(crate) const CAN_EXTEND: u64 = 1;
pub(crate) const CAN_CANCEL: u64 = 1 << 2;
pub(crate) const CAN_TIME: u64 = 1 << 11;
pub(crate) const CAN_NOTIFY: u64 = 1 << 12;
/// Every capability that the host offers.
pub(crate) const ALL: u64 = CAN_EXTEND | CAN_CANCEL | CAN_TIME | CAN_NOTIFY;

/// The content types that a field 03 wishes for: bytes.
pub(crate) const WITH_BYTES: &[u8] = &[3, 0, 1, 3];

/// A hello that wishes for `capabilities`, with `fields` behind the fixed part.
pub(crate) fn hello(capabilities: u64, nonce: u64, fields: &[u8]) -> Vec<u8> {
    hello_with(capabilities, 0, nonce, fields)
}

/// As [`hello`], from a client that accepts payloads of at most `largest` bytes.
pub(crate) fn hello_with(capabilities: u64, largest: u32, nonce: u64, fields: &[u8]) -> Vec<u8> {
    let mut payload = b"IPC2\x01\x00\x01\x02".to_vec();
    payload.extend_from_slice(&capabilities.to_be_bytes());
    payload.extend_from_slice(&largest.to_be_bytes());
    payload.extend_from_slice(&0u32.to_be_bytes());
    payload.extend_from_slice(&nonce.to_be_bytes());
    payload.extend_from_slice(fields);
    payload
}

/// The content of an acknowledgement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) version: u16,
    pub(crate) granted: u64,
    pub(crate) largest: u32,
    pub(crate) in_flight: u32,
    pub(crate) nonce: u64,
    /// Tag and value of each field.
    pub(crate) fields: Vec<(u8, Vec<u8>)>,
}

impl Ack {
    pub(crate) fn parse(payload: &[u8]) -> Self {
        assert_eq!(payload[..6], *b"IPC2\x01\x01", "{payload:02x?} is an acknowledgement");
        let mut fields = Vec::new();
        let mut rest = &payload[32..];
        while let [tag, high, low, behind @ ..] = rest {
            let (value, behind) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            fields.push((*tag, value.to_vec()));
            rest = behind;
        }

        Self {
            version: u16::from_be_bytes(payload[6..8].try_into().unwrap()),
            granted: u64::from_be_bytes(payload[8..16].try_into().unwrap()),
            largest: u32::from_be_bytes(payload[16..20].try_into().unwrap()),
            in_flight: u32::from_be_bytes(payload[20..24].try_into().unwrap()),
            nonce: u64::from_be_bytes(payload[24..32].try_into().unwrap()),
            fields,
        }
    }

    pub(crate) fn field(&self, tag: u8) -> Option<&[u8]> {
        self.fields.iter().find(|(found, _)| *found == tag).map(|(_, value)| &**value)
    }
}

/// Agrees with the host on `capabilities` and bytes, and returns the acknowledgement.
pub(crate) fn agree(peer: &mut Peer, capabilities: u64) -> Ack {
    peer.send_frame(V1_0, HEARTBEAT, hello(capabilities, 0x1122_3344_5566_7788, WITH_BYTES));
    let answer = peer.receive();
    assert_eq!((answer.version, answer.kind), (V1_0, HEARTBEAT));
    Ack::parse(&answer.payload)
}

/// Returns a reply without its extension block, as a peer of version 1.1 would receive it.
#[track_caller]
pub(crate) fn without_block(mut reply: Frame) -> Frame {
    if reply.kind & BLOCK != 0 {
        let length = usize::from(u16::from_be_bytes([reply.payload[0], reply.payload[1]]));
        reply.payload.drain(..2 + length);
        reply.kind &= !BLOCK;
    }
    reply
}

/// Starts a client of version 1.1 that calls without pause and receives no error, whatever other
/// clients do. Its thread returns the number of its calls.
pub(crate) fn start_neighbour(host: &HostProcess) -> BackgroundThread<u64> {
    let mut peer = host.peer();
    BackgroundThread::start(move |is_over| {
        let mut calls = 0;
        while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
            peer.assert_usable();
            calls += 1;
        }
        calls
    })
}
