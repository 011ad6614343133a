//! Requests with an extension block: frames of version 1.2 whose kind has bit 0x80.

use jackfield_protocol::{BlockError, ContentType, ExtensionBlock, Kind, Version, split_bytes_body};

use super::admission::Admission;
use super::state::ConnectionState;
use super::turn::Turn;
use crate::routing::{CountedError, RequestError};

/// A request as its frame delimits it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestFrame<'f> {
    pub(super) version: Version,
    /// Kind of the reply.
    pub(super) kind: Kind,
    pub(super) envelope: &'f [u8],
    /// The params, if they are opaque bytes.
    pub(super) bytes: Option<&'f [u8]>,
}

impl<'f> RequestFrame<'f> {
    /// A request whose payload is its envelope.
    pub(super) fn plain(version: Version, kind: Kind, envelope: &'f [u8]) -> Self {
        Self { version, kind, envelope, bytes: None }
    }
}

/// Returns the kind of the reply to a request with an extension block; `None` if `kind` is none.
pub(super) fn extended_reply_kind(version: Version, kind: Kind) -> Option<Kind> {
    match kind.without_block() {
        Some(Kind::Sync) if version > Version::HIGHEST => Some(Kind::Sync),
        Some(Kind::AsyncRequest) if version > Version::HIGHEST => Some(Kind::AsyncResponse),
        _ => None,
    }
}

impl ConnectionState {
    /// Handles a request with an extension block. `kind` is the kind of its reply.
    #[inline(never)]
    pub(super) fn handle_extended_request(
        &mut self,
        turn: &mut Turn<'_>,
        admission: &Admission<'_>,
        version: Version,
        kind: Kind,
        payload: &[u8],
    ) {
        match self.read_block(version, payload) {
            Ok((envelope, bytes)) => {
                let frame = RequestFrame { version, kind, envelope, bytes };
                self.handle_request(turn, admission, frame);
            }
            Err(error) => {
                let id = ExtensionBlock::find_id(payload);
                let reply = self.requests.reply_context(version, kind, id.map(|id| id.as_json()));
                let rejection = CountedError::of_unreadable(RequestError::Block(error));
                self.requests.reject(turn, reply, "", &rejection);
            }
        }
    }

    /// Returns the envelope, and the params if they are opaque bytes.
    fn read_block<'f>(
        &self,
        version: Version,
        payload: &'f [u8],
    ) -> Result<(&'f [u8], Option<&'f [u8]>), BlockError> {
        let (block, body) = ExtensionBlock::split(payload)?;
        match block.content {
            ContentType::Json => Ok((body, None)),
            ContentType::Bytes if !self.requests.session.accepts_bytes(version) => {
                Err(BlockError::Unsupported(BlockError::CONTENT_TYPE_TAG))
            }
            ContentType::Bytes => {
                let (envelope, bytes) = split_bytes_body(body).ok_or(BlockError::Truncated)?;
                Ok((envelope, Some(bytes)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_a_block_only_in_requests_of_version_1_2() {
        let (sync, other) = (Kind::Other(0x81), Kind::Other(0x86));
        assert_eq!(extended_reply_kind(Version::V1_2, sync), Some(Kind::Sync));
        assert_eq!(extended_reply_kind(Version::V1_2, Kind::Other(0x84)), Some(Kind::AsyncResponse));
        assert_eq!(extended_reply_kind(Version::V1_1, sync), None);
        assert_eq!(extended_reply_kind(Version::V1_2, other), None);
        assert_eq!(extended_reply_kind(Version::V1_2, Kind::Sync), None);
    }
}
