//! Puts the result of a method into the slot that a nested call waits on.

use std::sync::Arc;

use jackfield_plugin_api::abi::{CallEnd, CallOutput, CallReply, Content};
use jackfield_protocol::ReplyHead;

use super::request_error::RequestError;
use crate::plugin::{ReplySink, ReplySlot};

/// Puts the result of a call into a slot.
pub(super) struct SlotSink {
    pub(super) slot: Arc<ReplySlot>,

    /// The plugin that is called.
    pub(super) plugin: String,
}

impl ReplySink for SlotSink {
    fn open(&self, _out: &mut Vec<u8>) -> Option<ReplyHead> {
        None
    }

    fn close(&self, _head: Option<ReplyHead>, out: &mut Vec<u8>, end: CallEnd) {
        self.slot.fill(into_reply(end, std::mem::take(out), &self.plugin));
    }
}

/// Returns the reply that the calling plugin gets.
pub(super) fn into_reply(end: CallEnd, out: Vec<u8>, plugin: &str) -> CallReply {
    match end {
        CallEnd::Done => Ok(CallOutput::json(out)),
        CallEnd::DoneBytes => Ok(CallOutput { content: Content::Bytes, bytes: out }),
        CallEnd::Failed { code, message, data } => Err(RequestError::Plugin { code, message, data }.into()),
        CallEnd::Panicked(_) => Err(RequestError::PluginPanicked(plugin.to_owned()).into()),
        CallEnd::Crashed(end) => Err(RequestError::PluginCrashed { plugin: plugin.to_owned(), end }.into()),
    }
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::abi::ProcessEnd;
    use jackfield_protocol::Code;

    use super::*;

    #[test]
    fn fills_the_slot_with_the_result() {
        let slot = Arc::<ReplySlot>::default();
        let sink = SlotSink { slot: Arc::clone(&slot), plugin: "p".to_owned() };
        sink.close(None, &mut b"1".to_vec(), CallEnd::Done);
        assert_eq!(slot.take().unwrap().unwrap(), CallOutput::json(b"1".to_vec()));
    }

    #[test]
    fn turns_failures_into_the_errors_that_the_wire_has() {
        let failed = CallEnd::Failed { code: 7, message: "no".to_owned(), data: None };
        let error = into_reply(failed, Vec::new(), "p").unwrap_err();
        assert_eq!((error.code(), error.message()), (7, "no"));
        let error = into_reply(CallEnd::Panicked("secret".to_owned()), Vec::new(), "p").unwrap_err();
        assert_eq!(error.message(), "plugin p panicked in this call");
        let crashed = CallEnd::Crashed(ProcessEnd::ExitCode(1));
        let error = into_reply(crashed, Vec::new(), "p").unwrap_err();
        assert_eq!(error.code(), Code::PluginCrashed.as_i64());
    }
}
