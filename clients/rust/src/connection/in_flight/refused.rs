//! Replies over the frame limit, of which only the head is known.

use jackfield_protocol::{FrameError, Kind, RefusedFrame, Version};

use super::InFlightTable;
use super::accept::find_id;
use crate::connection::outcome::{AttemptError, CloseReason};
use crate::counters::Counters;
use crate::error::UnreadableReply;
use crate::id::Key;

impl InFlightTable {
    /// Settles the request that a frame over the limit belongs to. Its payload is discarded.
    ///
    /// # Errors
    ///
    /// The reason for which the connection has to be closed: a reply whose id is not in its head,
    /// or a frame that is no reply.
    pub(crate) fn accept_refused(
        &mut self,
        refused: &RefusedFrame,
        limit: u32,
        counters: &Counters,
    ) -> Result<(), CloseReason> {
        let RefusedFrame { kind, length, ref head } = *refused;
        let unreadable = AttemptError::Unreadable(UnreadableReply::TooLarge { length, limit });

        if kind == Kind::Heartbeat {
            self.accept_heartbeat(head, counters);
            return Ok(());
        }

        let in_block = self.kind_in_block(kind);
        let kind = in_block.unwrap_or(kind);
        let key = match kind {
            Kind::AsyncResponse => find_id(head, in_block.is_some()).map(Key::from_id),
            // Sync replies come in order.
            Kind::Sync => self.sync.take().map(Some),
            Kind::Error | Kind::AsyncRequest => None,
            Kind::Heartbeat | Kind::Cancel | Kind::GoingAway | Kind::Other(_) => Some(None),
        };

        match key {
            Some(Some(key)) if kind == Kind::Sync => self.settle(key, Err(unreadable), None),
            Some(key) => self.settle_async(key, Err(unreadable), None, counters),
            None => {
                let version = Version::V1_1;
                let refusal = FrameError::TooLarge { kind, version, length, limit };
                return Err(CloseReason::Protocol(refusal.into()));
            }
        }
        Ok(())
    }
}
