//! Replies over the frame limit, of which only the head is known.

use jackfield_protocol::{FrameError, Id, Kind, RefusedFrame, Version};

use super::InFlightTable;
use crate::connection::outcome::{Answer, AttemptError, CloseReason};
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

        let key = match kind {
            Kind::AsyncResponse => Id::find_in_reply(head).map(Key::from_id),
            // Sync replies come in order.
            Kind::Sync => self.sync.take().map(Some),
            Kind::Heartbeat => self.heartbeats.pop_front().map(Some),
            Kind::Error | Kind::AsyncRequest => None,
            Kind::Cancel | Kind::GoingAway | Kind::Other(_) => Some(None),
        };

        match key {
            Some(Some(key)) if kind == Kind::Heartbeat => self.settle(key, Ok(Answer::Heartbeat)),
            Some(Some(key)) if kind == Kind::Sync => self.settle(key, Err(unreadable)),
            Some(key) => self.settle_async(key, Err(unreadable), counters),
            None => {
                let version = Version::V1_1;
                let refusal = FrameError::TooLarge { kind, version, length, limit };
                return Err(CloseReason::Protocol(refusal.into()));
            }
        }
        Ok(())
    }
}
