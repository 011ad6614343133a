//! Writing the one reply to a request.

use jackfield_plugin_api::INTERNAL_ERROR;
use jackfield_plugin_api::abi::CallEnd;
use jackfield_protocol::{FrameLimit, ReplyForm, ReplyHead, ReplyTooLarge, begin_result, write_error_within};

use super::request_error::RequestError;

/// The properties of a request that its reply depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplyContext<'a> {
    pub(crate) form: ReplyForm,

    /// Whether the client accepts opaque bytes as a result.
    pub(crate) accepts_bytes: bool,

    /// Largest payload that the client accepts, in bytes.
    pub(crate) limit: u32,

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

impl ReplyOutcome {
    /// Returns the code of the error in the reply.
    pub(crate) fn error_code(self) -> Option<i64> {
        match self {
            Self::Result => None,
            Self::Error(code) => Some(code),
            Self::ResultTooLarge => Some(INTERNAL_ERROR),
        }
    }
}

impl<'a> ReplyContext<'a> {
    /// Returns the same without the id, which a request that is kept owns itself.
    pub(crate) fn without_id(self) -> ReplyContext<'static> {
        ReplyContext { id: None, ..self }
    }

    /// Returns the same with the id of the request.
    pub(crate) fn with_id<'i>(self, id: Option<&'i str>) -> ReplyContext<'i> {
        ReplyContext { id, ..self }
    }

    /// Returns the context of a reply without an extension block.
    pub(crate) fn plain(form: ReplyForm, id: Option<&'a str>) -> Self {
        Self { form, accepts_bytes: false, limit: u32::MAX, id }
    }

    /// Writes what precedes the result.
    #[inline]
    pub(crate) fn open(&self, out: &mut Vec<u8>) -> ReplyHead {
        begin_result(out, self.form, self.id)
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
        let bound = FrameLimit::new(limit.min(self.limit));
        let error = match end {
            CallEnd::Done => {
                let end = head.finish_within(out, bound);
                return self.finished(out, end, limit);
            }
            CallEnd::DoneBytes if self.accepts_bytes => {
                let end = head.finish_bytes_within(out, self.id, bound);
                return self.finished(out, end, limit);
            }
            CallEnd::DoneBytes => {
                head.abandon(out);
                RequestError::BytesNotAccepted
            }
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

    /// Writes an error in place of a result that is larger than the host or the client accepts.
    fn finished(&self, out: &mut Vec<u8>, end: Result<(), ReplyTooLarge>, limit: u32) -> ReplyOutcome {
        match end {
            Ok(()) => ReplyOutcome::Result,
            // The plugin is not at fault if only this client accepts less.
            Err(ReplyTooLarge { length, .. })
                if u32::try_from(length).is_ok_and(|length| length <= limit) =>
            {
                self.fail(out, &RequestError::ResultTooLargeForClient(self.limit))
            }
            Err(_) => {
                self.fail(out, &RequestError::ResultTooLarge(limit));
                ReplyOutcome::ResultTooLarge
            }
        }
    }

    /// Writes an error reply.
    pub(crate) fn fail(&self, out: &mut Vec<u8>, error: &RequestError) -> ReplyOutcome {
        let code = error.code();
        let data = error.data();
        write_error_within(
            out,
            self.form,
            FrameLimit::new(self.limit),
            self.id,
            code,
            &error.message(),
            data.as_deref(),
        );
        ReplyOutcome::Error(code)
    }
}
