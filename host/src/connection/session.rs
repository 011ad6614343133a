//! The agreement of a connection with its client, from its last hello (protocol section 5).

use jackfield_protocol::{Capabilities, Hello, Version};

/// Name and version of the host, as its acknowledgement has it.
const AGENT: &str = concat!("jackfield/", env!("CARGO_PKG_VERSION"));

/// Everything that a client can be granted, apart from content type 3.
const OFFERED: Capabilities = Capabilities::from_bits(
    Capabilities::EXTENSION_BLOCK.bits()
        | Capabilities::CANCEL.bits()
        | Capabilities::TIMING.bits()
        | Capabilities::GOING_AWAY.bits(),
);

/// The part of an acknowledgement that is the same for all connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostOffer {
    /// Largest payload that the host accepts, in bytes.
    pub(super) largest_payload: u32,
    /// Most requests in flight on a connection.
    pub(super) in_flight: usize,
    /// A number that is new at every start.
    pub(super) instance: [u8; 16],
}

/// The agreement of a connection. Without a hello, nothing is granted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    granted: Capabilities,
    accepts_bytes: bool,
    /// Largest payload that the client accepts, in bytes.
    reply_limit: u32,
    /// Whether the client was notified that the host shuts down.
    is_notified: bool,
}

impl Default for Session {
    fn default() -> Self {
        Self { granted: Capabilities::NONE, accepts_bytes: false, reply_limit: u32::MAX, is_notified: false }
    }
}

impl Session {
    /// Grants what the hello of a client wishes for, as far as it is offered, in place of an
    /// earlier grant. Returns the acknowledgement.
    pub(super) fn agree(&mut self, hello: &Hello<'_>, offer: HostOffer) -> Hello<'static> {
        let mut granted = hello.capabilities.and(OFFERED);
        if hello.version < Version::V1_2.wire() {
            granted = granted.without(Capabilities::EXTENSION_BLOCK);
        }
        if !granted.contains(Capabilities::EXTENSION_BLOCK) {
            granted = granted.without(Capabilities::TIMING);
        }
        self.granted = granted;
        self.accepts_bytes = hello.has_bytes && granted.contains(Capabilities::EXTENSION_BLOCK);
        self.reply_limit = match hello.largest_payload {
            0 => u32::MAX,
            bytes => bytes.max(Hello::LARGEST_PAYLOAD_MIN),
        };

        let most = u32::try_from(offer.in_flight).unwrap_or(u32::MAX);
        Hello {
            is_ack: true,
            version: Version::V1_2.wire(),
            capabilities: granted,
            largest_payload: offer.largest_payload,
            in_flight: if hello.in_flight == 0 { most } else { hello.in_flight.min(most) },
            nonce: hello.nonce,
            agent: Some(AGENT),
            instance: Some(offer.instance),
            has_bytes: self.accepts_bytes,
        }
    }

    /// Returns the version that higher ones are read as.
    pub(super) fn highest_version(&self) -> Version {
        if self.granted.contains(Capabilities::EXTENSION_BLOCK) { Version::V1_2 } else { Version::HIGHEST }
    }

    /// Returns whether the reply to a request of `version` has a timing.
    #[inline]
    pub(super) fn has_timing(&self, version: Version) -> bool {
        version > Version::HIGHEST && self.granted.contains(Capabilities::TIMING)
    }

    /// Returns whether the result of a request of `version` may be opaque bytes.
    #[inline]
    pub(super) fn accepts_bytes(&self, version: Version) -> bool {
        version > Version::HIGHEST && self.accepts_bytes
    }

    /// Returns the largest payload that the client accepts, in bytes.
    #[inline]
    pub(super) fn reply_limit(&self) -> u32 {
        self.reply_limit
    }

    /// Returns whether the client may cancel requests.
    pub(super) fn may_cancel(&self) -> bool {
        self.granted.contains(Capabilities::CANCEL)
    }

    /// Returns whether the client is to be notified now that the host shuts down: once, if it has
    /// asked for that.
    pub(super) fn take_end_notice(&mut self) -> bool {
        let is_due = self.granted.contains(Capabilities::GOING_AWAY) && !self.is_notified;
        self.is_notified |= is_due;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: HostOffer = HostOffer { largest_payload: 1 << 24, in_flight: 64, instance: [1; 16] };

    fn hello(capabilities: u64) -> Hello<'static> {
        Hello {
            is_ack: false,
            version: 0x0102,
            capabilities: Capabilities::from_bits(capabilities),
            largest_payload: 0,
            in_flight: 0,
            nonce: 7,
            agent: None,
            instance: None,
            has_bytes: true,
        }
    }

    #[test]
    fn grants_nothing_without_a_hello() {
        let mut session = Session::default();
        assert_eq!(session.highest_version(), Version::V1_1);
        assert!(!session.has_timing(Version::V1_2) && !session.accepts_bytes(Version::V1_2));
        assert!(!session.may_cancel() && !session.take_end_notice());
        assert_eq!(session.reply_limit(), u32::MAX);
    }

    #[test]
    fn grants_what_is_offered_and_nothing_else() {
        let mut session = Session::default();
        let ack = session.agree(&hello(u64::MAX), OFFER);
        assert_eq!((ack.capabilities, ack.is_ack, ack.nonce), (OFFERED, true, 7));
        assert_eq!((ack.in_flight, ack.largest_payload, ack.has_bytes), (64, 1 << 24, true));
        assert_eq!(session.highest_version(), Version::V1_2);
        assert!(session.has_timing(Version::V1_2) && session.accepts_bytes(Version::V1_2));
        assert!(!session.has_timing(Version::V1_1) && !session.accepts_bytes(Version::V1_0));

        // The next hello replaces the grant.
        let ack = session.agree(&hello(1 << 2), OFFER);
        assert_eq!((ack.capabilities, ack.has_bytes), (Capabilities::CANCEL, false));
        assert!(session.may_cancel() && !session.has_timing(Version::V1_2));
    }

    #[test]
    fn grants_timing_and_bytes_only_with_the_block_that_carries_them() {
        let mut session = Session::default();
        assert_eq!(session.agree(&hello(1 << 11), OFFER).capabilities, Capabilities::NONE);

        let old = Hello { version: 0x0101, ..hello(u64::MAX) };
        let ack = session.agree(&old, OFFER);
        assert_eq!(ack.capabilities, Capabilities::CANCEL | Capabilities::GOING_AWAY);
        assert!(!ack.has_bytes);
    }

    #[test]
    fn bounds_what_the_client_states() {
        let mut session = Session::default();
        let limited = Hello { largest_payload: 1, in_flight: 1000, ..hello(0) };
        assert_eq!(session.agree(&limited, OFFER).in_flight, 64);
        assert_eq!(session.reply_limit(), Hello::LARGEST_PAYLOAD_MIN);
        assert_eq!(session.agree(&Hello { in_flight: 3, ..limited }, OFFER).in_flight, 3);
    }

    #[test]
    fn tells_of_the_end_once() {
        let mut session = Session::default();
        session.agree(&hello(1 << 12), OFFER);
        assert!(session.take_end_notice() && !session.take_end_notice());
    }
}
