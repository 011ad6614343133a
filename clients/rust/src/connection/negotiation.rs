//! The hello of a connection, and what the host has granted in answer to it (protocol section 5).
//!
//! The hello is a heartbeat, which every host answers. It is sent together with the first request,
//! so that it takes no round trip. Until its answer has been read, and for ever if the answer is
//! none that grants, the connection is one of version 1.1.

use jackfield_protocol::{Capabilities, Hello, Version};
use uuid::Uuid;

use crate::options::Options;

/// Name and version of this client, as the hello contains them.
const AGENT: &str = concat!("jackfield-client-rust/", env!("CARGO_PKG_VERSION"));

/// The capabilities that this client uses if they are granted.
const WISH: Capabilities = Capabilities::from_bits(
    Capabilities::EXTENSION_BLOCK.bits()
        | Capabilities::CANCEL.bits()
        | Capabilities::TIMING.bits()
        | Capabilities::GOING_AWAY.bits(),
);

/// The capabilities that the host has granted on a connection. The default is that of a host of
/// version 1.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Grant {
    capabilities: Capabilities,
    /// Whether params and results may be opaque bytes.
    pub(crate) has_bytes: bool,
    /// Most requests in flight; 0 stands for no statement.
    in_flight: u32,
}

impl Grant {
    /// Returns whether the host has granted all of these capabilities.
    pub(crate) fn has(self, capabilities: Capabilities) -> bool {
        self.capabilities.contains(capabilities)
    }

    /// Returns the version that requests are written in. Without a grant, it depends on their kind.
    pub(crate) fn version(self) -> Option<Version> {
        self.has(Capabilities::EXTENSION_BLOCK).then_some(Version::V1_2)
    }

    /// Returns the most requests in flight that the host reads from the connection.
    pub(crate) fn most_in_flight(self) -> usize {
        match usize::try_from(self.in_flight) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(granted) => granted,
        }
    }

    fn read(hello: &Hello<'_>) -> Grant {
        let capabilities = hello.capabilities.and(WISH);
        let has_block = capabilities.contains(Capabilities::EXTENSION_BLOCK);
        Grant { capabilities, has_bytes: hello.has_bytes && has_block, in_flight: hello.in_flight }
    }
}

/// The hello of one connection: whether its answer is due, and what it granted.
#[derive(Debug, Default)]
pub(crate) struct Negotiation {
    /// The nonce of the hello whose answer is due.
    nonce: Option<u64>,
    grant: Grant,
}

impl Negotiation {
    /// Returns a hello to be sent, and notes that its answer is due.
    ///
    /// Returns `None` if the client does not negotiate, or accepts only frames that are too small
    /// for an answer.
    pub(super) fn hello(&mut self, options: &Options) -> Option<Vec<u8>> {
        let largest_payload = options.frame_limit.bytes();
        if !options.negotiates || largest_payload < Hello::LARGEST_PAYLOAD_MIN {
            return None;
        }

        let (nonce, _) = Uuid::new_v4().as_u64_pair();
        let hello = Hello {
            is_ack: false,
            version: Version::V1_2.wire(),
            capabilities: WISH,
            largest_payload,
            in_flight: u32::try_from(options.max_in_flight).unwrap_or(u32::MAX),
            nonce,
            agent: Some(AGENT),
            instance: None,
            has_bytes: true,
        };
        self.nonce = Some(nonce);

        let mut bytes = Vec::with_capacity(96);
        hello.write(&mut bytes, Version::V1_0);
        Some(bytes)
    }

    /// Returns whether the answer to the hello is due.
    pub(super) fn is_pending(&self) -> bool {
        self.nonce.is_some()
    }

    /// Returns what has been granted so far.
    pub(super) fn grant(&self) -> Grant {
        self.grant
    }

    /// Reads the answer to the hello.
    ///
    /// An answer that is empty, is the hello itself or cannot be read grants nothing.
    pub(super) fn accept(&mut self, payload: &[u8]) {
        let nonce = self.nonce.take();
        let answer = Hello::parse(payload).filter(|hello| hello.is_ack && Some(hello.nonce) == nonce);
        self.grant = answer.map(|hello| Grant::read(&hello)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jackfield_protocol::{FrameLimit, HEADER_LEN};

    use super::*;

    /// Sends a hello and returns what the answer that `answer` makes of it grants.
    fn grant_of(answer: impl FnOnce(Hello<'_>) -> Option<Hello<'_>>) -> Grant {
        let mut negotiation = Negotiation::default();
        let hello = negotiation.hello(&Options::new(Path::new("unused"))).unwrap();
        assert!(negotiation.is_pending());

        let mut written = Vec::new();
        if let Some(answer) = answer(Hello::parse(&hello[HEADER_LEN..]).unwrap()) {
            answer.write(&mut written, Version::V1_0);
        }
        negotiation.accept(written.get(HEADER_LEN..).unwrap_or_default());

        assert!(!negotiation.is_pending());
        negotiation.grant()
    }

    #[test]
    fn takes_an_acknowledgement_with_its_nonce_for_a_grant() {
        let grant = grant_of(|hello| Some(Hello { is_ack: true, in_flight: 7, ..hello }));
        assert!(grant.has(WISH) && grant.has_bytes);
        assert_eq!((grant.version(), grant.most_in_flight()), (Some(Version::V1_2), 7));
    }

    #[test]
    fn takes_no_other_answer_for_a_grant() {
        let none = Grant::default();
        assert_eq!(grant_of(|_| None), none, "a 1.1 host answers an empty heartbeat");
        assert_eq!(grant_of(|hello| Some(hello)), none, "a peer that echoes");
        let other_nonce = grant_of(|hello| Some(Hello { is_ack: true, nonce: !hello.nonce, ..hello }));
        assert_eq!(other_nonce, none);
        assert_eq!((none.version(), none.most_in_flight()), (None, usize::MAX));
    }

    #[test]
    fn takes_nothing_that_it_has_not_wished_for_or_cannot_use() {
        let all = Capabilities::from_bits(u64::MAX);
        let grant = grant_of(|hello| Some(Hello { is_ack: true, capabilities: all, ..hello }));
        assert_eq!(grant.capabilities, WISH);

        let grant =
            grant_of(|hello| Some(Hello { is_ack: true, capabilities: Capabilities::CANCEL, ..hello }));
        assert!(grant.has(Capabilities::CANCEL) && !grant.has_bytes && grant.version().is_none());
    }

    #[test]
    fn sends_no_hello_if_it_is_disabled_or_its_answer_would_be_over_the_frame_limit() {
        let mut options = Options::new(Path::new("unused"));
        options.frame_limit = FrameLimit::new(1023);
        assert_eq!(Negotiation::default().hello(&options), None);

        let mut options = Options::new(Path::new("unused"));
        options.negotiates = false;
        assert_eq!(Negotiation::default().hello(&options), None);
    }
}
