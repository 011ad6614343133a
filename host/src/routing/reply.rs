//! Writing the one reply to a request.

use jackfield_plugin_api::abi::CallEnd;
use jackfield_protocol::{
    FrameLimit, Framing, Kind, ReplyForm, ReplyHead, Version, begin_result, write_error,
};

use super::request_error::RequestError;

/// The properties of a request that its reply depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplyContext<'a> {
    pub(crate) framing: Framing,
    pub(crate) version: Version,

    /// The kind of the reply.
    pub(crate) kind: Kind,

    /// The JSON token of the id, which the reply repeats byte for byte.
    pub(crate) id: Option<&'a str>,
}

/// How a request ended, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyOutcome {
    Result,

    /// An error with this code.
    Error(i64),

    /// An internal error, because the result and its envelope are larger than a frame. A result
    /// that is too large without its envelope is an error of the plugin, which reports it.
    ResultTooLarge,
}

impl ReplyContext<'_> {
    /// Writes what precedes the result.
    pub(crate) fn open(&self, out: &mut Vec<u8>) -> ReplyHead {
        begin_result(out, ReplyForm::plain(self.framing, self.version, self.kind), self.id)
    }

    /// Completes the reply that `open` began: with the result that the plugin has appended to
    /// `out`, or with an error in its place. The result may have at most `limit` bytes.
    pub(crate) fn close(
        &self,
        head: ReplyHead,
        out: &mut Vec<u8>,
        end: CallEnd,
        plugin: &str,
        limit: u32,
    ) -> ReplyOutcome {
        let error = match end {
            CallEnd::Done => match head.finish_within(out, FrameLimit::new(limit)) {
                Ok(()) => return ReplyOutcome::Result,
                Err(too_large) => {
                    self.fail(out, &RequestError::ResultTooLarge(too_large.limit));
                    return ReplyOutcome::ResultTooLarge;
                }
            },
            CallEnd::Failed { code, message, data } => {
                head.abandon(out);
                RequestError::Plugin { code, message, data }
            }
            CallEnd::Panicked(_) => {
                head.abandon(out);
                RequestError::PluginPanicked(plugin.to_owned())
            }
            CallEnd::Crashed(end) => {
                head.abandon(out);
                RequestError::PluginCrashed { plugin: plugin.to_owned(), end }
            }
        };

        self.fail(out, &error)
    }

    /// Writes an error reply.
    pub(crate) fn fail(&self, out: &mut Vec<u8>, error: &RequestError) -> ReplyOutcome {
        let code = error.code();
        let data = error.data();
        let Self { framing, version, kind, id } = *self;
        write_error(
            out,
            ReplyForm::plain(framing, version, kind),
            id,
            code,
            &error.message(),
            data.as_deref(),
        );
        ReplyOutcome::Error(code)
    }
}
