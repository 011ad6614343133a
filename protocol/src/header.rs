//! The header of a frame: version, kind and length, in the seven bytes before every payload.

use std::fmt;

use crate::limits::HEADER_LEN;

/// The high byte of every version that this crate can frame. In protocol section 1, the high byte
/// identifies the framing.
const FRAMING: u8 = 0x01;

/// The bit of a kind that announces an extension block (protocol section 6).
pub(crate) const KIND_BIT: u8 = 0x80;

/// A protocol version that this crate supports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version(u16);

impl Version {
    /// Version 1.0: `0x0100`.
    pub const V1_0: Version = Version(0x0100);
    /// Version 1.1: `0x0101`. It adds asynchronous requests.
    pub const V1_1: Version = Version(0x0101);
    /// Version 1.2: `0x0102`. It adds the extension block, and is used only after a hello has
    /// granted that.
    pub const V1_2: Version = Version(0x0102);
    /// The highest version that needs no hello, which a higher low byte is read as.
    pub const HIGHEST: Version = Version::V1_1;
    /// Every version that needs no hello, lowest first. An UNSUPPORTED_VERSION error lists them as
    /// `supported`.
    pub const ALL: &'static [Version] = &[Version::V1_0, Version::V1_1];

    /// Reads the first two bytes of a header.
    ///
    /// An unknown low byte is read as [`Version::HIGHEST`]: the framing is the same, and the peer
    /// is answered in the highest supported version (protocol section 1).
    ///
    /// # Errors
    ///
    /// The high byte is not `0x01`, so the bytes that follow cannot be split into frames.
    pub fn from_wire(version: u16) -> Result<Version, UnsupportedVersion> {
        Version::from_wire_up_to(version, Version::HIGHEST)
    }

    /// Reads the first two bytes of a header. A higher low byte is read as `highest`.
    ///
    /// # Errors
    ///
    /// As for [`Version::from_wire`].
    pub fn from_wire_up_to(version: u16, highest: Version) -> Result<Version, UnsupportedVersion> {
        if version.to_be_bytes()[0] != FRAMING {
            return Err(UnsupportedVersion { version });
        }
        Ok(Version(version).min(highest))
    }

    /// Returns the version as it is written in a header.
    #[must_use]
    pub fn wire(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Version {
    /// Writes `1.0`, `1.1` or `1.2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [high, low] = self.0.to_be_bytes();
        write!(f, "{high}.{low}")
    }
}

/// The kind of a frame (protocol section 1).
///
/// Any byte can arrive; one without a meaning is [`Kind::Other`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// `01`: a synchronous request, and the reply to it.
    Sync,
    /// `02`: a heartbeat, and the answer to it.
    Heartbeat,
    /// `03`: an error that belongs to no request; only a server sends it.
    Error,
    /// `04`: an asynchronous request.
    AsyncRequest,
    /// `05`: the reply to an asynchronous request; only a server sends it.
    AsyncResponse,
    /// `06`: cancels a request; only a client sends it, after a hello has granted it.
    Cancel,
    /// `0A`: the server shuts down; only a server sends it, after a hello has granted it.
    GoingAway,
    /// A byte without a meaning in any supported version. [`Kind::from_wire`] never stores a byte
    /// here that another variant stands for.
    Other(u8),
}

impl Kind {
    /// Reads the third byte of a header.
    #[must_use]
    pub fn from_wire(byte: u8) -> Kind {
        match byte {
            0x01 => Kind::Sync,
            0x02 => Kind::Heartbeat,
            0x03 => Kind::Error,
            0x04 => Kind::AsyncRequest,
            0x05 => Kind::AsyncResponse,
            0x06 => Kind::Cancel,
            0x0A => Kind::GoingAway,
            other => Kind::Other(other),
        }
    }

    /// Returns the kind as it is written in a header.
    #[must_use]
    pub fn wire(self) -> u8 {
        match self {
            Kind::Sync => 0x01,
            Kind::Heartbeat => 0x02,
            Kind::Error => 0x03,
            Kind::AsyncRequest => 0x04,
            Kind::AsyncResponse => 0x05,
            Kind::Cancel => 0x06,
            Kind::GoingAway => 0x0A,
            Kind::Other(byte) => byte,
        }
    }

    /// Returns the kind without the bit that announces an extension block; `None` if the bit is not
    /// set.
    #[must_use]
    pub fn without_block(self) -> Option<Kind> {
        match self {
            Kind::Other(byte) if byte & KIND_BIT != 0 => Some(Kind::from_wire(byte & !KIND_BIT)),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Sync => f.write_str("sync"),
            Kind::Heartbeat => f.write_str("heartbeat"),
            Kind::Error => f.write_str("error"),
            Kind::AsyncRequest => f.write_str("async request"),
            Kind::AsyncResponse => f.write_str("async response"),
            Kind::Cancel => f.write_str("cancel"),
            Kind::GoingAway => f.write_str("going away"),
            Kind::Other(byte) => write!(f, "kind 0x{byte:02x}"),
        }
    }
}

/// The header of a frame.
///
/// Every value of every field can be encoded; the [`Decoder`](crate::Decoder) decides whether a
/// length is acceptable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The version that the frame is written in.
    pub version: Version,
    /// The kind of the frame.
    pub kind: Kind,
    /// Length of the payload in bytes.
    pub length: u32,
}

impl Header {
    /// Encodes the header; all numbers are big-endian (protocol section 1).
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let [v0, v1] = self.version.wire().to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [v0, v1, self.kind.wire(), l0, l1, l2, l3]
    }

    /// Decodes a header. An unknown low version byte becomes [`Version::HIGHEST`].
    ///
    /// # Errors
    ///
    /// The high byte of the version is unknown: the length cannot be trusted, and the connection
    /// must be closed.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Header, UnsupportedVersion> {
        Header::decode_up_to(bytes, Version::HIGHEST)
    }

    /// Decodes a header. A higher low version byte becomes `highest`.
    ///
    /// # Errors
    ///
    /// As for [`Header::decode`].
    pub fn decode_up_to(bytes: &[u8; HEADER_LEN], highest: Version) -> Result<Header, UnsupportedVersion> {
        let &[v0, v1, kind, l0, l1, l2, l3] = bytes;
        Ok(Header {
            version: Version::from_wire_up_to(u16::from_be_bytes([v0, v1]), highest)?,
            kind: Kind::from_wire(kind),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

/// The peer uses a version whose framing is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("version 0x{version:04x} is not supported; supported are 1.0 (0x0100) and 1.1 (0x0101)")]
pub struct UnsupportedVersion {
    /// The first two bytes of the header, as received.
    pub version: u16,
}
