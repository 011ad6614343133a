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
                    self.pending.extend_from_slice(&fresh[sent..]);
                    self.settle(true, now);
                    break;
                }
            }
        }
        fresh.clear();
        Ok(sent)
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
        // What was written is dropped once it is the larger part, so that moving the rest costs less than it did.
        if self.written > self.pending.len() / 2 {
            self.pending.drain(..self.written);
            self.written = 0;
            self.pending.shrink_to(self.pending.len() * 2);
        }
    }
}
