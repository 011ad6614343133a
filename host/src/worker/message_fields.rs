//! Reads and writes the fields of messages: big-endian numbers, as in the protocol for clients, and
//! texts and bytes after their length.

use super::message::InvalidMessage;

/// The fields that are left to be read.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], InvalidMessage> {
        let (field, rest) = self.0.split_at_checked(length).ok_or(InvalidMessage::Truncated)?;
        self.0 = rest;
        Ok(field)
    }

    pub(super) fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], InvalidMessage> {
        self.take(LENGTH)?.try_into().map_err(|_| InvalidMessage::Truncated)
    }

    pub(super) fn byte(&mut self) -> Result<u8, InvalidMessage> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, InvalidMessage> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(InvalidMessage::Value),
        }
    }

    pub(super) fn u32(&mut self) -> Result<u32, InvalidMessage> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, InvalidMessage> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads text after its length.
    pub(super) fn text(&mut self) -> Result<&'a str, InvalidMessage> {
        let length = usize::try_from(self.u32()?).map_err(|_| InvalidMessage::Truncated)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| InvalidMessage::Value)
    }

    /// Returns everything that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Returns everything that is left as text.
    pub(super) fn rest_text(self) -> Result<&'a str, InvalidMessage> {
        std::str::from_utf8(self.0).map_err(|_| InvalidMessage::Value)
    }

    /// Checks that nothing is left.
    pub(super) fn end(self) -> Result<(), InvalidMessage> {
        if self.0.is_empty() { Ok(()) } else { Err(InvalidMessage::Surplus) }
    }
}
