//! Turns what a worker has answered into the end of a call.
//!
//! The worker is not trusted. Its results must be within the limit, and JSON unless they are opaque
//! bytes, because they become a part of the frame that the client gets.

use std::sync::Arc;

use jackfield_plugin_api::abi::{CallEnd, ProcessEnd};
use serde::de::IgnoredAny;

use super::super::call::CallTarget as _;
use super::super::generation::PluginCall;
use crate::worker::message::MessageEnd;

/// Bytes of capacity that the buffer for results keeps.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Upper bound for a text of a worker that the host keeps or sends on, in bytes.
const TEXT_MAX: usize = 64 * 1024;

/// Why the end of a call is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidEnd {
    #[error("a result is larger than limits.frame")]
    TooLarge,
    #[error("a result is not JSON")]
    NotJson,
}

/// Reports the ends of calls to those who wait for them.
#[derive(Default)]
pub(super) struct Delivery {
    out: Vec<u8>,
}

impl Delivery {
    /// Reports the end of a call as the worker has sent it.
    ///
    /// # Errors
    ///
    /// It is not acceptable; the call was reported as crashed, because the worker is killed now.
    pub(super) fn deliver(&mut self, call: &Arc<PluginCall>, end: MessageEnd<'_>) -> Result<(), InvalidEnd> {
        let (result, end): (&[u8], _) = match end {
            MessageEnd::Done(result) => {
                let checked = check_length(result, call).and_then(|()| check_json(result));
                self.crash_unless(checked, call)?;
                (result, CallEnd::Done)
            }
            MessageEnd::DoneBytes(result) => {
                self.crash_unless(check_length(result, call), call)?;
                (result, CallEnd::DoneBytes)
            }
            MessageEnd::Failed { code, message, data } => {
                let data = data.filter(|data| is_json(data.as_bytes())).map(ToOwned::to_owned);
                (b"", CallEnd::Failed { code, message: cut(message), data })
            }
            MessageEnd::Panicked(text) => (b"", CallEnd::Panicked(cut(text))),
            // The caller has gone, or answers by itself when the deadline has passed.
            MessageEnd::Cancelled => return Ok(()),
        };
        self.report(call, result, end);
        Ok(())
    }

    fn crash_unless(
        &mut self,
        checked: Result<(), InvalidEnd>,
        call: &Arc<PluginCall>,
    ) -> Result<(), InvalidEnd> {
        checked.inspect_err(|_| self.crashed(call, ProcessEnd::Unknown))
    }

    /// Reports that the worker ended while it ran the call.
    pub(super) fn crashed(&mut self, call: &Arc<PluginCall>, end: ProcessEnd) {
        if !call.is_over() {
            self.report(call, b"", CallEnd::Crashed(end));
        }
    }

    fn report(&mut self, call: &Arc<PluginCall>, result: &[u8], end: CallEnd) {
        let out = &mut self.out;
        let head = call.sink.open(out);
        out.extend_from_slice(result);
        call.generation.record_end(call.method, &call.facts, &end);
        call.sink.close(head, out, end);
        out.clear();
        out.shrink_to(KEPT_CAPACITY);
    }
}

/// Returns a text of a worker, at most [`TEXT_MAX`] bytes of it.
pub(super) fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_MAX)].to_owned()
}

fn is_json(bytes: &[u8]) -> bool {
    // Strings that are ignored are not checked for UTF-8.
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn check_length(result: &[u8], call: &PluginCall) -> Result<(), InvalidEnd> {
    if result.len() <= call.generation.reply_limit() { Ok(()) } else { Err(InvalidEnd::TooLarge) }
}

fn check_json(result: &[u8]) -> Result<(), InvalidEnd> {
    if is_json(result) { Ok(()) } else { Err(InvalidEnd::NotJson) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_one_json_value() {
        assert_eq!(check_json(br#"{"a":[1,"x"]}"#), Ok(()));
        assert_eq!(check_json(b""), Err(InvalidEnd::NotJson));
        assert_eq!(check_json(br#"1,"id":"other""#), Err(InvalidEnd::NotJson));
        assert_eq!(check_json(b"\"\xff\""), Err(InvalidEnd::NotJson));
    }
}
