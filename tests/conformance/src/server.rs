//! The server under test: where it is, what it speaks, and which methods it has.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::reply::Reply;
use crate::report::{Checked, Difference, ensure};
use crate::vector::Vector;
use crate::wire::{Frame, HEARTBEAT, Peer, SYNC, frame};

pub(crate) const V1_0: u16 = 0x0100;
pub(crate) const V1_1: u16 = 0x0101;
pub(crate) const V1_2: u16 = 0x0102;

pub(crate) const CAN_EXTEND: u64 = 1;
pub(crate) const CAN_CANCEL: u64 = 1 << 2;
pub(crate) const CAN_TIME: u64 = 1 << 11;
pub(crate) const CAN_NOTIFY: u64 = 1 << 12;
/// Every capability that is granted today.
pub(crate) const ALL: u64 = CAN_EXTEND | CAN_CANCEL | CAN_TIME | CAN_NOTIFY;

/// The fields with the agent of this program, and with the wish for bytes.
const AGENT_FIELD: &[u8] = b"\x01\x00\x0Bconformance";
const BYTES_FIELD: &[u8] = &[3, 0, 1, 3];

pub(crate) struct Server {
    pub(crate) socket: PathBuf,
    /// The highest version that the server speaks.
    pub(crate) version: u16,
    /// A method that answers quickly.
    pub(crate) ping: String,
    /// A method that returns its params.
    pub(crate) echo: String,
    /// A `blocking` or `async` method that takes long, and its params.
    pub(crate) slow: Option<(String, String)>,
}

/// The grant of a server.
#[derive(Debug)]
pub(crate) struct Grant {
    /// The acknowledgement.
    pub(crate) frame: Frame,
    pub(crate) capabilities: u64,
    pub(crate) largest: u32,
    pub(crate) in_flight: u32,
    pub(crate) instance: Option<Vec<u8>>,
    pub(crate) has_bytes: bool,
}

/// The wish of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) capabilities: u64,
    pub(crate) largest: u32,
    pub(crate) in_flight: u32,
    pub(crate) has_bytes: bool,
}

impl Wish {
    pub(crate) const fn of(capabilities: u64) -> Wish {
        Wish { capabilities, largest: 0, in_flight: 0, has_bytes: true }
    }
}

impl Server {
    pub(crate) fn connect(&self) -> io::Result<Peer> {
        Peer::connect(&self.socket)
    }

    /// Connects for a check.
    pub(crate) fn peer(&self) -> Checked<Peer> {
        self.connect().map_err(|error| Difference::new("a connection", error.to_string()))
    }

    /// Connects and is granted everything.
    pub(crate) fn granted_peer(&self) -> Checked<Peer> {
        let mut peer = self.peer()?;
        let grant = agree(&mut peer, Wish::of(ALL))?;
        let expected = format!("the grant 0x{ALL:x} and bytes");
        ensure(grant.capabilities == ALL && grant.has_bytes, expected, &grant.frame)?;
        Ok(peer)
    }

    /// Returns whether a server of this version gets the vector from a client.
    pub(crate) fn is_for(&self, vector: &Vector) -> bool {
        let since = match vector.get("since") {
            Some("1.2") => V1_2,
            _ if vector.get("kind").is_some_and(|kind| kind.starts_with("async")) => V1_1,
            _ if matches!(vector.get("version"), Some("1.1" | "highest")) => V1_1,
            _ => V1_0,
        };
        !vector.is("direction", "server") && since <= self.version
    }

    /// Returns a request for the ping.
    pub(crate) fn ping_envelope(&self, id: &str) -> String {
        format!("{{\"id\":{id},\"method\":\"{}\"}}", self.ping)
    }

    /// Returns a request for the slow method, with more members.
    pub(crate) fn slow_envelope(&self, id: &str, members: &str) -> String {
        let (method, params) = self.slow.as_ref().map_or(("", ""), |(method, params)| (method, params));
        format!("{{\"id\":{id},\"method\":\"{method}\"{members},\"params\":{params}}}")
    }

    /// Expects that the next frame is the reply to a sync ping that is sent now: nothing else is
    /// due.
    pub(crate) fn check_in_step(&self, peer: &mut Peer) -> Checked {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = format!("\"in step {}\"", LAST.fetch_add(1, Ordering::Relaxed));
        peer.send(frame(V1_0, SYNC, self.ping_envelope(&id)));
        let expected = format!("nothing but the reply to a sync ping with the id {id}");
        let received = peer.receive(&expected)?;
        let fits = (received.version, received.kind) == (V1_0, SYNC)
            && Reply::parse(&received).is_ok_and(|reply| reply.id.as_deref() == Some(&*id));
        ensure(fits, expected, &received)
    }
}

/// Returns the payload of a hello.
pub(crate) fn hello(wish: Wish, nonce: u64) -> Vec<u8> {
    let mut payload = b"IPC2\x01\x00\x01\x02".to_vec();
    payload.extend_from_slice(&wish.capabilities.to_be_bytes());
    payload.extend_from_slice(&wish.largest.to_be_bytes());
    payload.extend_from_slice(&wish.in_flight.to_be_bytes());
    payload.extend_from_slice(&nonce.to_be_bytes());
    payload.extend_from_slice(AGENT_FIELD);
    if wish.has_bytes {
        payload.extend_from_slice(BYTES_FIELD);
    }
    payload
}

/// Sends a hello and returns what was granted.
pub(crate) fn agree(peer: &mut Peer, wish: Wish) -> Checked<Grant> {
    const NONCE: u64 = 0x1122_3344_5566_7788;
    peer.send(frame(V1_0, HEARTBEAT, hello(wish, NONCE)));
    let expected = "an acknowledgement";
    let received = peer.receive(expected)?;
    ensure(received.version == V1_0, "the version of the hello, 1.0", &received)?;
    read_grant(&received, NONCE)
}

/// Reads an acknowledgement of the hello with this nonce.
pub(crate) fn read_grant(received: &Frame, nonce: u64) -> Checked<Grant> {
    let expected = format!("an acknowledgement with the nonce {nonce:016x}");
    ensure(received.kind == HEARTBEAT, &*expected, received)?;
    parse_grant(received, nonce).ok_or_else(|| Difference::new(expected, received.to_string()))
}

fn parse_grant(frame: &Frame, nonce: u64) -> Option<Grant> {
    let payload = &frame.payload;
    let (fixed, mut fields) = payload.split_first_chunk::<32>()?;
    let is_ack = fixed.starts_with(b"IPC2\x01") && fixed[5] & 1 == 1 && fixed[24..] == nonce.to_be_bytes();
    if !is_ack || payload.len() > 1024 || fixed[6] != 1 || fixed[7] < 2 {
        return None;
    }

    let mut grant = Grant {
        frame: frame.clone(),
        capabilities: u64::from_be_bytes(fixed[8..16].try_into().ok()?),
        largest: u32::from_be_bytes(fixed[16..20].try_into().ok()?),
        in_flight: u32::from_be_bytes(fixed[20..24].try_into().ok()?),
        instance: None,
        has_bytes: false,
    };
    while let [tag, high, low, rest @ ..] = fields {
        let (value, behind) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        fields = behind;
        match tag {
            2 => grant.instance = Some(value.to_vec()),
            3 => grant.has_bytes = value.contains(&3),
            _ => {}
        }
    }
    fields.is_empty().then_some(grant)
}
