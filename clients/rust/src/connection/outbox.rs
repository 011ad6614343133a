//! Bytes on their way to the kernel, and how far each request has come.

use rustix::io::Errno;

use crate::socket::Socket;

/// What was spent of the buffer before it is moved to its front, in bytes.
const COMPACT_AT: usize = 64 * 1024;
/// A buffer that grew past this is given back once it is empty, in bytes.
const KEEP: usize = 256 * 1024;

/// A queue of bytes. Positions count from the connection's first byte.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Bytes of `bytes` that the kernel has.
    spent: usize,
    /// Bytes that the kernel has, since the connection was made.
    sent: u64,
}

impl Outbox {
    /// Queues bytes; their end as a position.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> u64 {
        self.bytes.extend_from_slice(bytes);
        self.sent + self.unsent() as u64
    }

    /// Whether the kernel has everything up to this position.
    pub(crate) fn has_sent(&self, end: u64) -> bool {
        end <= self.sent
    }

    /// Bytes queued and not sent.
    pub(crate) fn unsent(&self) -> usize {
        self.bytes.len() - self.spent
    }

    /// Sends what the kernel takes now; `Ok` also if it takes nothing.
    pub(crate) fn flush(&mut self, socket: &Socket) -> Result<(), Errno> {
        while let Some(rest) = self.bytes.get(self.spent..).filter(|rest| !rest.is_empty()) {
            match socket.send(rest) {
                Ok(taken) => {
                    self.spent += taken;
                    self.sent += taken as u64;
                }
                Err(Errno::AGAIN) => {
                    if self.spent >= COMPACT_AT {
                        self.bytes.drain(..self.spent);
                        self.spent = 0;
                    }
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
        }
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.spent = 0;
        Ok(())
    }
}
