//! Messages of line framing that end without a newline, and lines of plain text.
//!
//! A newline ends a line. The options of a listener add two further ends: the client closes its
//! writing side (`run_unterminated`), or it pauses (`complete_after`). Both append the missing
//! newline to the inbox. Decoding, limits and the order of replies are therefore the same for every
//! line.

use jackfield_protocol::{EnvelopeError, Framing, Kind, Version};
use tokio::net::UnixStream;

use super::admission::Admission;
use super::extended_request::RequestFrame;
use super::framing::starts_binary_frame;
use super::phase::{CloseReason, Phase};
use super::socket;
use super::state::ConnectionState;
use super::turn::Turn;
use crate::clock::Time;
use crate::routing::{CountedError, LineError, RequestError};

impl ConnectionState {
    /// Handles the end of the stream: the peer will send no more.
    pub(super) fn take_end(&mut self, stream: &UnixStream, turn: &mut Turn<'_>) {
        self.phase = Phase::ReadClosed;
        if !self.reader.has_partial_frame() || self.identity().options.framing != Framing::Line {
            // A frame that its sender has not finished is no request: it must not run, and nobody
            // waits for a reply.
            self.reader.clear();
            return;
        }

        // A peer that has closed both directions is not waiting for the reply. It may have crashed
        // within the line.
        if self.identity().options.line.run_unterminated && !socket::has_hung_up(stream) {
            self.reader.append_newline();
            self.decode_inbox(turn);
        } else {
            self.reader.clear();
            self.phase = Phase::Closing(CloseReason::Unterminated);
        }
    }

    /// Returns when the line that has begun ends by a pause, if nothing arrives before. The time
    /// counts only while the connection reads, because otherwise the pause is not the peer's.
    pub(super) fn pause_deadline(&self, turn: &Turn<'_>) -> Option<Time> {
        let pause = self.identity().options.line.complete_after?;
        let is_reading = self.phase.is_open() && self.accepts_requests(turn);
        is_reading.then(|| self.last_active.after(pause))
    }

    /// Ends the line that has begun if the pause after it was long enough. Returns whether it has
    /// ended.
    pub(super) fn end_line_after_pause(&mut self, stream: &UnixStream, turn: &Turn<'_>) -> bool {
        let is_over = self.pause_deadline(turn).is_some_and(|at| at <= turn.now);
        // Bytes that wait in the socket have ended the pause already.
        let has_ended = is_over && !socket::has_unread(stream);
        if has_ended {
            self.reader.append_newline();
        }
        has_ended
    }

    /// Handles a line: an envelope, or the text for the method of the listener.
    pub(super) fn handle_line(&mut self, turn: &mut Turn<'_>, admission: &Admission<'_>, line: &[u8]) {
        let envelope = match &self.identity().options.line.method {
            _ if starts_binary_frame(line) => Err(RequestError::Line(LineError::BinaryFrame)),
            Some(method) => wrap_text(method, line).map_err(RequestError::Envelope),
            None => {
                let frame = RequestFrame::plain(Version::V1_0, Kind::Sync, line);
                return self.handle_request(turn, admission, frame);
            }
        };

        match envelope {
            Ok(envelope) => {
                let frame = RequestFrame::plain(Version::V1_0, Kind::Sync, envelope.as_bytes());
                self.handle_request(turn, admission, frame);
            }
            Err(error) => {
                let reply = self.requests.reply_context(Version::V1_0, Kind::Sync, None);
                self.requests.reject(turn, reply, "", &CountedError::of_unreadable(error));
            }
        }
    }
}

/// Returns the envelope that calls `method` with `text` as a JSON string for its params.
///
/// The params are a string even if the text is JSON, so that the type that a method receives does
/// not depend on what a client happens to write: `42` and `null` are texts, too.
///
/// # Errors
///
/// The text is not UTF-8.
fn wrap_text(method: &str, text: &[u8]) -> Result<String, EnvelopeError> {
    let text = str::from_utf8(text).map_err(|error| EnvelopeError::Utf8 { at: error.valid_up_to() })?;
    Ok(serde_json::json!({ "method": method, "params": text }).to_string())
}

#[cfg(test)]
mod tests {
    use jackfield_protocol::Request;

    use super::*;

    #[test]
    fn wraps_each_text_as_one_string() {
        for text in ["", "hello", "42", "null", r#""},"method":"other"#, "{\"a\":1}", "\u{1}\t\\ \"é\u{2028}"]
        {
            let envelope = wrap_text("a.b", text.as_bytes()).unwrap();
            let request = Request::parse(envelope.as_bytes()).unwrap();

            let params: String = serde_json::from_str(request.params.unwrap().get()).unwrap();
            assert_eq!((&*request.method, &*params), ("a.b", text));
        }
    }

    #[test]
    fn rejects_text_that_is_not_utf8() {
        assert_eq!(wrap_text("a.b", b"ab\xff"), Err(EnvelopeError::Utf8 { at: 2 }));
    }
}
