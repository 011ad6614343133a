//! The end of requests whose peer has gone.

use super::pipeline::RequestPipeline;
use super::span;
use super::thread_context::ThreadContext;
use crate::metrics::{Outcome, RequestKind};

impl RequestPipeline {
    /// Cancels everything that is in flight, because the peer has gone. Calls that run are
    /// supervised by their generation until their deadlines.
    pub(super) fn abandon(&mut self, thread: &ThreadContext) {
        let cells = &thread.cells;
        self.in_flight.abandon(|request| {
            request.call.abandon();
            span::record_abandoned(thread, &request);
            cells.count_ended(
                request.counted,
                RequestKind::of_reply(request.reply.form.kind),
                Outcome::ABANDONED,
            );
        });
    }

    /// Cancels everything that is in flight and takes no replies any more.
    pub(super) fn close(&mut self, thread: &ThreadContext) {
        self.abandon(thread);
        self.mailbox.close();
    }
}
