//! How a request wants to be answered, and the writing of its one reply.

use jackfield_plugin_api::abi::CallEnd;
use jackfield_protocol::{FrameLimit, Framing, Kind, ReplyHead, Version, begin_result, write_error};

use super::request_error::RequestError;

/// What a reply needs to know of its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplyContext<'a> {
    pub(crate) framing: Framing,
    pub(crate) version: Version,
    /// The reply's kind.
    pub(crate) kind: Kind,
    /// The id's JSON token, echoed byte for byte.
    pub(crate) id: Option<&'a str>,
}

/// How a request ended, for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyOutcome {
    Result,
    /// With this code.
    Error(i64),
}

impl ReplyContext<'_> {
    /// Writes what stands before the result.
    pub(crate) fn open(&self, out: &mut Vec<u8>) -> ReplyHead {
        begin_result(out, self.framing, self.version, self.kind, self.id)
    }

    /// Ends what `open` began: the result that a plugin wrote behind it, or why there is none.
    pub(crate) fn close(
        &self,
        head: ReplyHead,
        out: &mut Vec<u8>,
        end: CallEnd,
        plugin: &str,
        limit: u32,
    ) -> ReplyOutcome {
        let failure = match end {
            CallEnd::Done => match head.finish_within(out, FrameLimit::new(limit)) {
                Ok(()) => return ReplyOutcome::Result,
                Err(too_large) => RequestError::ResultTooLarge(too_large.limit),
            },
            CallEnd::Failed { code, message, data } => {
                head.abandon(out);
                RequestError::Plugin { code, message, data }
            }
            CallEnd::Panicked(_) => {
                head.abandon(out);
                RequestError::PluginPanicked(plugin.to_owned())
            }
        };
        self.fail(out, &failure)
    }

    /// Writes an error reply.
    pub(crate) fn fail(&self, out: &mut Vec<u8>, failure: &RequestError) -> ReplyOutcome {
        let (code, data) = (failure.code(), failure.data());
        let (framing, version, kind) = (self.framing, self.version, self.kind);
        write_error(out, framing, version, kind, self.id, code, &failure.message(), data.as_deref());
        ReplyOutcome::Error(code)
    }
}
