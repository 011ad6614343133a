//! The capabilities that a hello wishes for and grants: one bit each.

use std::ops::BitOr;

/// A set of capabilities (protocol section 5). Bits without a meaning are kept, so that a hello is
/// read and written unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Capabilities(u64);

impl Capabilities {
    /// No capability.
    pub const NONE: Capabilities = Capabilities(0);
    /// Bit 0: frames of version 1.2 and the extension block.
    pub const EXTENSION_BLOCK: Capabilities = Capabilities(1);
    /// Bit 2: the client may cancel requests.
    pub const CANCEL: Capabilities = Capabilities(1 << 2);
    /// Bit 11: replies have a timing. It requires the extension block.
    pub const TIMING: Capabilities = Capabilities(1 << 11);
    /// Bit 12: the host announces that it shuts down.
    pub const GOING_AWAY: Capabilities = Capabilities(1 << 12);

    /// Reads the eight bytes of a hello.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Capabilities {
        Capabilities(bits)
    }

    /// Returns the bits as a hello contains them.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns whether every capability of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Capabilities) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the capabilities that are in both sets.
    #[must_use]
    pub const fn and(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & other.0)
    }

    /// Returns this set without the capabilities of `other`.
    #[must_use]
    pub const fn without(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & !other.0)
    }
}

impl BitOr for Capabilities {
    type Output = Capabilities;

    fn bitor(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }
}
