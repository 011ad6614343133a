//! Replies that the peer has not accepted yet, and whether it reads at all.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::clock::Time;

/// Bytes that may wait for the peer before no further request of it is read. 256 KiB is a little
/// more than what a Unix socket buffers on its own (`net.core.wmem_default`, 208 KiB).
pub(super) const HIGH_WATER: usize = 256 * 1024;

/// Bytes that the peer has not accepted yet.
#[derive(Default)]
pub(super) struct Outbox {
    pending: Vec<u8>,
    /// Bytes of `pending` that were written.
    written: usize,
    /// When the last byte was written, if bytes wait since then.
    stalled_since: Option<Time>,
}

impl Outbox {
    /// Returns how many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.pending.len() - self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns the bytes of memory that are held.
    pub(super) fn capacity(&self) -> usize {
        self.pending.capacity()
    }

    /// Returns when the peer is given up, if it accepts nothing until then.
    pub(super) fn deadline(&self, timeout: Duration) -> Option<Time> {
        self.stalled_since.map(|since| since.after(timeout))
    }

    /// Writes the bytes that wait and then `fresh`, keeps the rest, and returns how many bytes were
    /// written. `fresh` is empty afterwards.
    ///
    /// # Errors
    ///
    /// The peer cannot be written to any more.
    pub(super) fn flush<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
        fresh: &mut Vec<u8>,
        now: Time,
    ) -> io::Result<usize> {
        if !self.pending.is_empty() {
            self.pending.append(fresh);
            let sent = write_available(stream, cx, &self.pending[self.written..])?;
            self.written += sent;
            self.settle(sent > 0, now);
            return Ok(sent);
        }

        let sent = write_available(stream, cx, fresh)?;
        if sent < fresh.len() {
            self.keep(fresh, sent);
            self.settle(true, now);
        }
        fresh.clear();
        Ok(sent)
    }

    /// Keeps the bytes of `fresh` that were not sent. A large rest stays where it is and the thread
    /// gets a new buffer: this costs less than a copy, and the allocator returns the unused end of
    /// the buffer without moving anything.
    fn keep(&mut self, fresh: &mut Vec<u8>, sent: usize) {
        if fresh.len() - sent > HIGH_WATER {
            self.pending = std::mem::take(fresh);
            self.pending.shrink_to_fit();
            self.written = sent;
        } else {
            self.pending.extend_from_slice(&fresh[sent..]);
        }
    }

    /// Updates the state after a write: releases what was written, and notes since when nothing
    /// was.
    fn settle(&mut self, has_moved: bool, now: Time) {
        if self.written == self.pending.len() {
            *self = Self::default();
            return;
        }

        if has_moved || self.stalled_since.is_none() {
            self.stalled_since = Some(now);
        }

        // Written bytes are removed once they are by far the larger part: moving the rest then
        // costs at most a third of what was written.
        if self.written > self.pending.len() / 4 * 3 {
            self.pending.drain(..self.written);
            self.written = 0;
            self.pending.shrink_to(self.pending.len() * 2);
        }
    }
}

/// Writes as much of `bytes` as the stream accepts, and returns how many bytes that were.
fn write_available<W: AsyncWrite + Unpin>(
    stream: &mut W,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match Pin::new(&mut *stream).poll_write(cx, &bytes[sent..]) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => sent += count,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Capacity of the peer below, in bytes: as much as a socket buffers.
    const BUFFER: usize = 208 * 1024;

    /// A peer in memory: it accepts bytes as far as its buffer has room.
    #[derive(Default)]
    struct Peer {
        buffered: usize,
        received: Vec<u8>,
        is_closed: bool,
    }

    impl Peer {
        fn read(&mut self, count: usize) {
            self.buffered = self.buffered.saturating_sub(count);
        }
    }

    impl AsyncWrite for Peer {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(BUFFER - self.buffered);
            if self.is_closed {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if count == 0 {
                return Poll::Pending;
            }
            self.buffered += count;
            self.received.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn flush(outbox: &mut Outbox, peer: &mut Peer, fresh: &mut Vec<u8>, now: Time) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        let sent = outbox.flush(peer, &mut cx, fresh, now).unwrap();
        assert!(fresh.is_empty(), "what was not sent is kept");
        sent
    }

    /// Sends replies of these sizes, each different from the others, to a peer that reads `reads`
    /// bytes after each of them.
    fn send(sizes: &[usize], reads: usize) {
        let now = Time::now();
        let (mut outbox, mut peer, mut fresh) = (Outbox::default(), Peer::default(), Vec::new());
        let mut expected = Vec::new();

        for (number, size) in sizes.iter().enumerate() {
            let reply: Vec<u8> = (0..*size).map(|at| (number * 31 + at / 7).to_le_bytes()[0]).collect();
            expected.extend_from_slice(&reply);
            fresh.extend_from_slice(&reply);
            flush(&mut outbox, &mut peer, &mut fresh, now);
            peer.read(reads);
        }

        while peer.received.len() < expected.len() {
            peer.read(reads);
            flush(&mut outbox, &mut peer, &mut fresh, now);
            // Four times what waits, and what a vector grows by.
            assert!(outbox.capacity() <= 8 * outbox.len().max(HIGH_WATER));
        }
        assert!(peer.received == expected, "whole and in order");
        assert!(outbox.is_empty() && outbox.capacity() == 0);
    }

    #[test]
    fn delivers_replies_whole_and_in_order_however_the_peer_reads() {
        for reads in [999, 64 * 1024, 1 << 20] {
            send(&[1 << 20], reads);
            send(&[10, 300_000, 1, 70_000, 5, 65_536, 65_537, 400_000, 3], reads);
            send(&[5000; 300], reads);
        }
    }

    #[test]
    fn extends_the_deadline_with_each_byte_that_the_peer_accepts() {
        let timeout = Duration::from_secs(1);
        let start = Time::now();
        let [second, third] = [1, 2].map(|steps| start.after(steps * timeout));
        let (mut outbox, mut peer) = (Outbox::default(), Peer::default());
        assert_eq!(outbox.deadline(timeout), None);

        flush(&mut outbox, &mut peer, &mut vec![0; BUFFER + 10], start);
        assert_eq!((outbox.len(), outbox.deadline(timeout)), (10, Some(second)));
        assert_eq!(flush(&mut outbox, &mut peer, &mut vec![0; 10], second), 0);
        assert_eq!((outbox.len(), outbox.deadline(timeout)), (20, Some(second)));

        peer.read(5);
        assert_eq!(flush(&mut outbox, &mut peer, &mut Vec::new(), second), 5);
        assert_eq!(outbox.deadline(timeout), Some(third));
        peer.read(BUFFER);
        assert_eq!(flush(&mut outbox, &mut peer, &mut Vec::new(), third), 15);
        assert_eq!(outbox.deadline(timeout), None);
    }

    #[test]
    fn reports_a_peer_that_cannot_be_written_to() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut peer = Peer { is_closed: true, ..Peer::default() };
        let mut outbox = Outbox::default();
        assert!(outbox.flush(&mut peer, &mut cx, &mut vec![1], Time::now()).is_err());
        assert_eq!(outbox.flush(&mut peer, &mut cx, &mut Vec::new(), Time::now()).ok(), Some(0));
    }
}
