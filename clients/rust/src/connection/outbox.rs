//! The bytes that the kernel has not yet accepted, and which requests it has accepted completely.

use rustix::io::Errno;

use crate::socket::Socket;

/// Number of sent bytes at which the unsent ones are moved to the front. 64 KiB keep this rare.
const COMPACT_AT: usize = 64 * 1024;

/// Capacity in bytes that an empty buffer keeps. Capacity beyond it is freed.
const KEPT_CAPACITY: usize = 256 * 1024;

/// A queue of bytes to be sent. Positions count from the first byte of the connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Number of leading bytes of `bytes` that the kernel has accepted.
    consumed: usize,
    /// Number of bytes that the kernel has accepted since the connection was made.
    sent: u64,
}

impl Outbox {
    /// Queues bytes and returns the position of their end.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> u64 {
        self.bytes.extend_from_slice(bytes);
        self.sent + self.unsent() as u64
    }

    /// Returns whether the kernel has accepted everything up to this position.
    pub(crate) fn has_sent(&self, end: u64) -> bool {
        end <= self.sent
    }

    /// Removes the `length` bytes before this position, none of which may have been sent.
    pub(crate) fn remove(&mut self, end: u64, length: usize) {
        let unsent = usize::try_from(end.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        let end = self.consumed + unsent;
        if length <= unsent && end <= self.bytes.len() {
            self.bytes.drain(end - length..end);
        }
    }

    /// Returns the number of queued bytes that are not sent.
    pub(crate) fn unsent(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    /// Sends as much as the kernel accepts, which may be nothing.
    pub(crate) fn flush(&mut self, socket: &Socket) -> Result<(), Errno> {
        while let Some(rest) = self.bytes.get(self.consumed..).filter(|rest| !rest.is_empty()) {
            match socket.send(rest) {
                Ok(accepted) => self.consume(accepted),
                Err(Errno::AGAIN) => {
                    self.compact();
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
        }

        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
        self.consumed = 0;
        Ok(())
    }

    /// Records that the kernel has accepted `accepted` further bytes.
    pub(super) fn consume(&mut self, accepted: usize) {
        self.consumed += accepted;
        self.sent += accepted as u64;
    }

    /// Sends everything to nowhere, and returns it.
    #[cfg(test)]
    pub(super) fn take_unsent(&mut self) -> Vec<u8> {
        let unsent = self.bytes.split_off(self.consumed);
        self.bytes.extend_from_slice(&unsent);
        self.consume(unsent.len());
        unsent
    }

    fn compact(&mut self) {
        if self.consumed >= COMPACT_AT {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_which_requests_the_kernel_has_accepted_completely() {
        let mut outbox = Outbox::default();
        let first = outbox.push(b"abc");
        let second = outbox.push(b"de");
        assert!(!outbox.has_sent(first));

        outbox.consume(4);
        assert!(outbox.has_sent(first) && !outbox.has_sent(second));
        assert_eq!(outbox.unsent(), 1);

        outbox.consume(1);
        assert!(outbox.has_sent(second));
    }

    #[test]
    fn removes_bytes_that_were_not_sent() {
        let mut outbox = Outbox::default();
        outbox.push(b"ab");
        let second = outbox.push(b"cd");
        outbox.push(b"ef");
        outbox.consume(1);

        outbox.remove(second, 2);
        assert_eq!(outbox.bytes, b"abef");
        assert_eq!((outbox.unsent(), outbox.push(b"")), (3, 4));
    }

    #[test]
    fn counts_positions_from_the_first_byte_of_the_connection() {
        let mut outbox = Outbox::default();
        let large = vec![0; COMPACT_AT + 1];
        outbox.push(&large);
        outbox.consume(COMPACT_AT);

        outbox.compact();
        let end = outbox.push(b"x");
        assert_eq!((outbox.unsent(), end), (2, COMPACT_AT as u64 + 2));
        assert!(!outbox.has_sent(end));

        outbox.consume(2);
        assert!(outbox.has_sent(end));
    }
}
