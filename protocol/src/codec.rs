//! A decoder that splits a stream of bytes into frames. The caller owns the bytes; the decoder only
//! keeps a state.
//!
//! ```text
//! Header --frame over the limit, or skipped--> Discarding --payload consumed--> Header
//!   └────unknown framing, or frame over 4 times the limit────> Finished
//! ```

use crate::code::Code;
use crate::header::{Header, Kind, UnsupportedVersion, Version};
use crate::limits::{DISCARD_FACTOR, FRAME_DEFAULT, HEADER_LEN};

/// The largest accepted payload, in bytes. The header does not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrameLimit(u32);

impl FrameLimit {
    /// The largest length that a header can announce: 4 GiB - 1.
    pub const MAX: FrameLimit = FrameLimit(u32::MAX);

    /// Creates a limit of `bytes` per payload. A limit of 0 accepts heartbeats only.
    #[must_use]
    pub const fn new(bytes: u32) -> FrameLimit {
        FrameLimit(bytes)
    }

    /// Returns the limit in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// Returns the length in bytes up to which a refused payload is read and discarded (protocol
    /// section 1).
    #[must_use]
    pub const fn discardable(self) -> u64 {
        self.0 as u64 * DISCARD_FACTOR
    }
}

impl Default for FrameLimit {
    /// 16 MiB (protocol section 1).
    fn default() -> FrameLimit {
        FrameLimit(FRAME_DEFAULT)
    }
}

/// The reason why a header was refused. It is reported to the peer in one frame of kind `03`
/// (protocol section 1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The announced payload is over the limit.
    #[error("a payload of {length} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// The kind of the refused frame.
        kind: Kind,
        /// The version of the refused frame, which is also the version to answer in.
        version: Version,
        /// The announced length in bytes.
        length: u32,
        /// The limit in bytes.
        limit: u32,
    },
    /// The framing is unknown.
    #[error("{}", UnsupportedVersion { version: *version })]
    UnsupportedVersion {
        /// The first two bytes of the header, as received.
        version: u16,
    },
}

impl FrameError {
    /// Returns the error code to report to the peer.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            FrameError::TooLarge { .. } => Code::FrameTooLarge,
            FrameError::UnsupportedVersion { .. } => Code::UnsupportedVersion,
        }
    }

    /// Returns whether the connection must be closed: either the framing is unknown, or the payload
    /// is too long even to be read and discarded.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match *self {
            FrameError::TooLarge { length, limit, .. } => {
                u64::from(length) > FrameLimit::new(limit).discardable()
            }
            FrameError::UnsupportedVersion { .. } => true,
        }
    }
}

/// The result of one [`Decoder::step`]: the meaning of the bytes at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// One complete frame, `consumed` bytes long.
    Frame {
        /// The frame's header; its length is `payload.len()`.
        header: Header,
        /// The frame's payload, borrowed from the input.
        payload: &'a [u8],
        /// Bytes of header and payload.
        consumed: usize,
    },
    /// The frame at the front is incomplete, and no bytes were consumed. Call again with more
    /// bytes.
    Incomplete {
        /// Bytes that the frame at the front needs in total: [`HEADER_LEN`] while its header is
        /// incomplete, then `HEADER_LEN` and the payload. 1 while a payload is discarded, because
        /// then any byte is progress. Never allocate this size: it is a claim of the peer.
        needed: u64,
    },
    /// These bytes belong to a refused payload and must be dropped. Call again with the rest.
    Discard {
        /// Bytes to drop, at least 1.
        consumed: usize,
    },
    /// The header at the front was refused.
    Refused {
        /// The reason, which is also what to report to the peer.
        refusal: FrameError,
        /// If `false`, the payload will be discarded and the connection stays usable. If `true`,
        /// close the connection; all further input is discarded.
        fatal: bool,
        /// [`HEADER_LEN`]: the header alone.
        consumed: usize,
    },
}

/// The state of a [`Decoder`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The next byte is the first of a header.
    Header,
    /// This many bytes, at least 1, still belong to a refused payload.
    Discarding(u64),
    /// The framing is lost; nothing can follow.
    Finished,
}

/// Splits the bytes that a caller holds into frames. It keeps no bytes and reserves no memory.
///
/// The caller passes the unconsumed bytes to [`step`](Decoder::step), drops `consumed` bytes from
/// their front, and repeats until the step is [`Step::Incomplete`]. The result does not depend on
/// how the bytes were split.
///
/// ```
/// use jackfield_protocol::{Decoder, FrameLimit, Header, Kind, Step, Version};
///
/// let mut decoder = Decoder::new(FrameLimit::default());
/// let header = Header { version: Version::V1_0, kind: Kind::Sync, length: 2 };
/// let bytes = [&header.encode()[..], b"{}"].concat();
///
/// assert_eq!(decoder.step(&bytes[..8]), Step::Incomplete { needed: 9 });
/// assert_eq!(decoder.step(&bytes), Step::Frame { header, payload: b"{}", consumed: 9 });
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    limit: FrameLimit,
    highest: Version,
    state: State,
}

impl Decoder {
    /// Creates a decoder at the start of a stream.
    #[must_use]
    pub fn new(limit: FrameLimit) -> Decoder {
        Decoder { limit, highest: Version::HIGHEST, state: State::Header }
    }

    /// Sets the version that higher ones are read as: [`Version::V1_2`] after a hello has granted
    /// it.
    pub fn set_highest(&mut self, highest: Version) {
        self.highest = highest;
    }

    /// Returns the version that higher ones are read as.
    #[must_use]
    pub fn highest(&self) -> Version {
        self.highest
    }

    /// Decodes the front of `input`, which must hold every byte that is not yet consumed.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match self.state {
            State::Header => self.step_frame(input),
            State::Discarding(_) | State::Finished if input.is_empty() => Step::Incomplete { needed: 1 },
            State::Discarding(left) => {
                // No input is longer than usize::MAX.
                let consumed = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                self.discard(left - consumed as u64);
                Step::Discard { consumed }
            }
            State::Finished => Step::Discard { consumed: input.len() },
        }
    }

    fn step_frame<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        let Some((bytes, rest)) = input.split_first_chunk::<HEADER_LEN>() else {
            return Step::Incomplete { needed: HEADER_LEN as u64 };
        };
        let header = match Header::decode_up_to(bytes, self.highest) {
            Ok(header) => header,
            Err(UnsupportedVersion { version }) => {
                return self.refuse(FrameError::UnsupportedVersion { version });
            }
        };

        let Header { version, kind, length } = header;
        if length > self.limit.bytes() {
            return self.refuse(FrameError::TooLarge { kind, version, length, limit: self.limit.bytes() });
        }

        match rest.get(..length as usize) {
            Some(payload) => Step::Frame { header, payload, consumed: HEADER_LEN + payload.len() },
            None => Step::Incomplete { needed: HEADER_LEN as u64 + u64::from(length) },
        }
    }

    fn refuse<'a>(&mut self, refusal: FrameError) -> Step<'a> {
        let fatal = refusal.is_fatal();
        match refusal {
            FrameError::TooLarge { length, .. } if !fatal => self.discard(u64::from(length)),
            _ => self.state = State::Finished,
        }
        Step::Refused { refusal, fatal, consumed: HEADER_LEN }
    }

    fn discard(&mut self, left: u64) {
        self.state = if left == 0 { State::Header } else { State::Discarding(left) };
    }

    /// Skips a frame that the caller has no memory for.
    ///
    /// The caller has consumed the seven bytes of `header`; the `header.length` bytes that follow
    /// are returned as [`Step::Discard`]. Call it between frames only, that is after
    /// [`Step::Incomplete`] and not while [`is_discarding`](Decoder::is_discarding).
    pub fn skip_frame(&mut self, header: Header) {
        if self.state == State::Header {
            self.discard(u64::from(header.length));
        }
    }

    /// Returns the current limit.
    #[must_use]
    pub fn limit(&self) -> FrameLimit {
        self.limit
    }

    /// Changes the limit from the next header on. A payload that is being discarded stays refused.
    pub fn set_limit(&mut self, limit: FrameLimit) {
        self.limit = limit;
    }

    /// Returns whether the next bytes belong to a refused or skipped payload.
    #[must_use]
    pub fn is_discarding(&self) -> bool {
        matches!(self.state, State::Discarding(_))
    }

    /// Returns whether a fatal refusal has ended the stream.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }
}
