//! Replies that could not be written at once, and whether the peer reads at all.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::net::UnixStream;

use crate::clock::Time;

/// While more than this waits for the peer, no further request of it is read: 256 KiB, a little over what a Unix
/// socket buffers by itself (net.core.wmem_default, 208 KiB).
pub(super) const HIGH_WATER: usize = 256 * 1024;

/// Bytes for a peer that did not take them yet.
#[derive(Default)]
pub(super) struct Outbox {
    pending: Vec<u8>,
    written: usize,
    /// Since when nothing could be written.
    stalled: Option<Time>,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.pending.len() - self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        self.pending.capacity()
    }

    /// When the peer is given up, if nothing moves until then.
    pub(super) fn gives_up(&self, timeout: Duration) -> Option<Time> {
        self.stalled.map(|since| since.after(timeout))
    }

    /// Writes what waits, then `fresh`; keeps the rest. Returns how many bytes went out.
    pub(super) fn flush(
        &mut self,
        stream: &mut UnixStream,
        cx: &mut Context<'_>,
        fresh: &mut Vec<u8>,
        now: Time,
    ) -> io::Result<usize> {
        let mut sent = 0;
        if !self.pending.is_empty() {
            self.pending.append(fresh);
            while self.written < self.pending.len() {
                match Pin::new(&mut *stream).poll_write(cx, &self.pending[self.written..]) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(count)) => {
                        self.written += count;
                        sent += count;
                    }
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => break,
                }
            }
            self.settle(sent > 0, now);
            return Ok(sent);
        }
        while sent < fresh.len() {
            match Pin::new(&mut *stream).poll_write(cx, &fresh[sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.keep(fresh, sent);
                    self.settle(true, now);
                    break;
                }
            }
        }
        fresh.clear();
        Ok(sent)
    }

    /// Keeps what was not sent. A large rest is kept where it is: copying it costs more than a new buffer for the thread,
    /// and giving back what is behind it moves nothing.
    fn keep(&mut self, fresh: &mut Vec<u8>, sent: usize) {
        if fresh.len() - sent > HIGH_WATER {
            (self.pending, self.written) = (std::mem::take(fresh), sent);
            self.pending.shrink_to_fit();
        } else {
            self.pending.extend_from_slice(&fresh[sent..]);
        }
    }

    /// After a write: forgets what went out, and notes since when the peer takes nothing.
    fn settle(&mut self, moved: bool, now: Time) {
        if self.written == self.pending.len() {
            *self = Self::default();
            return;
        }
        if moved || self.stalled.is_none() {
            self.stalled = Some(now);
        }
        // What was written is dropped once it is by far the larger part, so that moving the rest costs a third of it in all.
        if self.written > self.pending.len() / 4 * 3 {
            self.pending.drain(..self.written);
            self.written = 0;
            self.pending.shrink_to(self.pending.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Replies of these sizes, each told from the others, to a peer that reads so many bytes after each.
    async fn through(sizes: &[usize], taken: usize) {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let (mut outbox, mut fresh) = (Outbox::default(), Vec::new());
        let (mut expected, mut came) = (Vec::new(), Vec::new());
        let mut piece = vec![0; taken];
        let mut read = |came: &mut Vec<u8>| match theirs.try_read(&mut piece) {
            Ok(count) => came.extend_from_slice(&piece[..count]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        };
        for (number, size) in sizes.iter().enumerate() {
            let reply: Vec<u8> = (0..*size).map(|at| (number * 31 + at / 7).to_le_bytes()[0]).collect();
            expected.extend_from_slice(&reply);
            fresh.extend_from_slice(&reply);
            outbox.flush(&mut ours, &mut cx, &mut fresh, Time::now()).unwrap();
            assert!(fresh.is_empty(), "what was not sent is kept");
            read(&mut came);
        }
        while came.len() < expected.len() {
            tokio::select! {
                readable = theirs.readable() => readable.map(|()| read(&mut came)).unwrap(),
                writable = ours.writable(), if !outbox.is_empty() => writable.unwrap(),
            }
            outbox.flush(&mut ours, &mut cx, &mut fresh, Time::now()).unwrap();
            // Four times what waits, and what a vector grows by.
            assert!(outbox.held() <= 8 * outbox.len().max(HIGH_WATER));
        }
        assert!(came == expected, "whole and in order");
        assert!(outbox.is_empty() && outbox.held() == 0);
    }

    #[tokio::test]
    async fn replies_arrive_whole_and_in_order_however_the_peer_reads() {
        for taken in [999, 64 * 1024, 1 << 20] {
            through(&[1 << 20], taken).await;
            through(&[10, 300_000, 1, 70_000, 5, 65_536, 65_537, 400_000, 3], taken).await;
            through(&[5000; 300], taken).await;
        }
    }
}
