//! The receiving end of the events of plugins.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::event::PluginEvent;

/// Events that wait for a subscriber. A reload makes about three, and a start two for each plugin
/// that is refused and loaded, so that a program can leave some hundred reloads unread.
const QUEUE: usize = 1024;

/// The events of plugins from the time of the subscription on.
///
/// It works in any async runtime, also as a [`Stream`], and without one. If the program does not
/// read, at most 1,024 events wait; [`PluginEvent::Missed`] follows them.
#[derive(Debug)]
pub struct PluginEvents(Receiver<PluginEvent>);

impl PluginEvents {
    /// Returns a subscription and the end for its publisher.
    pub(super) fn channel() -> (Sender<PluginEvent>, Self) {
        let (sender, receiver) = channel(QUEUE);
        (sender, Self(receiver))
    }

    /// Returns a subscription to a host that has ended.
    pub(crate) fn ended() -> Self {
        Self::channel().1
    }

    /// Waits for the next event; `None` once the host has ended.
    pub async fn next(&mut self) -> Option<PluginEvent> {
        self.0.recv().await
    }

    /// Waits for the next event on this thread; `None` once the host has ended.
    ///
    /// # Panics
    ///
    /// On a thread that runs async tasks of tokio, which must not block.
    pub fn next_blocking(&mut self) -> Option<PluginEvent> {
        self.0.blocking_recv()
    }

    /// Returns the next event if one waits.
    pub fn try_next(&mut self) -> Option<PluginEvent> {
        self.0.try_recv().ok()
    }
}

impl Stream for PluginEvents {
    type Item = PluginEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PluginEvent>> {
        self.0.poll_recv(cx)
    }
}
