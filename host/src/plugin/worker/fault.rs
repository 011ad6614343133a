//! The faults in messages of a worker, for which the host kills it.

use super::delivery::InvalidEnd;
use crate::worker::channel_reader::ChannelError;
use crate::worker::message::InvalidMessage;

/// Why the host no longer trusts what a worker sends.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkerFault {
    #[error(transparent)]
    Channel(#[from] ChannelError),

    #[error("a message is invalid: {0}")]
    Message(#[from] InvalidMessage),

    #[error("the end of a call is invalid: {0}")]
    End(#[from] InvalidEnd),

    #[error("the worker sent {0} for a call that it does not have")]
    ForeignCall(&'static str),

    #[error("the worker makes a nested call with a number that is in use, or too many at a time")]
    NestedNumber,

    #[error("the worker makes nested calls and does not read the replies")]
    UnreadReplies,

    #[error("the worker sent {0}, which is not expected now")]
    Unexpected(&'static str),

    #[error("the channel cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
}
