//! A decoder for line framing: one JSON document per line, for `nc -U`, `socat` and PHP's
//! `PHP_NORMAL_READ`.
//!
//! ```text
//! Line --over the limit--> Discarding --line end--> Line
//!   └──────────┴──over 4 times the limit──> Finished
//! ```

use memchr::memchr;

use crate::codec::FrameLimit;

/// The result of one [`LineDecoder::step`]: the meaning of the bytes at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineStep<'a> {
    /// One line that is not empty, `consumed` bytes long.
    Line {
        /// The line without its `\n` and without a `\r` before it.
        payload: &'a [u8],
        /// Bytes of the line and its ending.
        consumed: usize,
    },
    /// No line ends in the input, and no bytes were consumed. Call again with the same bytes and
    /// more behind them.
    Incomplete,
    /// These bytes must be dropped: an empty line, or a part of a line that is too long.
    Discard {
        /// Bytes to drop, at least 1.
        consumed: usize,
    },
    /// A line over the limit has ended, or the decoder has given up on it. Reported once per line,
    /// after its bytes were discarded.
    TooLong {
        /// The limit in bytes.
        limit: u32,
        /// If `false`, the line ended and others may follow. If `true`, it exceeded four times the
        /// limit without an end; close the connection, all further input is discarded.
        fatal: bool,
        /// Bytes to drop, at least 1.
        consumed: usize,
    },
}

/// The state of a [`LineDecoder`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In a line within the limit, whose first `scanned` bytes hold no `\n`.
    Line { scanned: usize },
    /// In a line over the limit, of which `dropped` bytes were discarded.
    Discarding { dropped: u64 },
    /// A line exceeded four times the limit; nothing can follow.
    Finished,
}

/// Splits the bytes that a caller holds into lines. It keeps no bytes and reserves no memory.
///
/// The limits are those of frames. A line whose length, without its ending, is within the limit is
/// a payload. Up to four times the limit it is discarded. A longer line closes the connection.
/// Bytes after the last `\n` are never a line: a request that is cut off because its client crashed
/// must not be run.
///
/// Each byte is searched once, however the input is split, because the decoder remembers how far it
/// has searched. The bytes passed to [`step`](LineDecoder::step) must therefore start with the same
/// unconsumed bytes as before.
///
/// ```
/// use jackfield_protocol::{FrameLimit, LineDecoder, LineStep};
///
/// let mut decoder = LineDecoder::new(FrameLimit::default());
/// assert_eq!(decoder.step(b"{}"), LineStep::Incomplete);
/// assert_eq!(decoder.step(b"{}\r\n[]"), LineStep::Line { payload: b"{}", consumed: 4 });
/// ```
#[derive(Clone, Debug)]
pub struct LineDecoder {
    limit: FrameLimit,
    state: State,
    /// Bytes searched so far, for the test that no byte is searched twice.
    #[cfg(test)]
    searched: usize,
}

impl LineDecoder {
    /// Creates a decoder at the start of a stream.
    #[must_use]
    pub fn new(limit: FrameLimit) -> LineDecoder {
        LineDecoder {
            limit,
            state: State::Line { scanned: 0 },
            #[cfg(test)]
            searched: 0,
        }
    }

    /// Decodes the front of `input`, which must hold every byte that is not yet consumed.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> LineStep<'a> {
        match self.state {
            State::Line { scanned } => self.step_line(input, scanned),
            State::Discarding { .. } | State::Finished if input.is_empty() => LineStep::Incomplete,
            State::Discarding { dropped } => match self.find_line_end(input) {
                Some(end) => self.reject(dropped + end as u64, true, end + 1),
                None => self.reject(dropped + input.len() as u64, false, input.len()),
            },
            State::Finished => LineStep::Discard { consumed: input.len() },
        }
    }

    fn step_line<'a>(&mut self, input: &'a [u8], scanned: usize) -> LineStep<'a> {
        let (known, new) = input.split_at(scanned.min(input.len()));
        let Some(at) = self.find_line_end(new) else {
            // A final `\r` does not count yet, because it may belong to the line ending.
            let line = input.strip_suffix(b"\r").unwrap_or(input);
            if self.is_within(line) {
                self.state = State::Line { scanned: input.len() };
                return LineStep::Incomplete;
            }
            return self.reject(input.len() as u64, false, input.len());
        };

        let end = known.len() + at;
        let consumed = end + 1;
        let ended = &input[..end];
        let line = ended.strip_suffix(b"\r").unwrap_or(ended);
        if !self.is_within(line) {
            return self.reject(end as u64, true, consumed);
        }

        self.state = State::Line { scanned: 0 };
        if line.is_empty() {
            LineStep::Discard { consumed }
        } else {
            LineStep::Line { payload: line, consumed }
        }
    }

    /// Handles a line over the limit, whose total length so far is `length` bytes.
    fn reject<'a>(&mut self, length: u64, has_ended: bool, consumed: usize) -> LineStep<'a> {
        let fatal = length > self.limit.discardable();
        self.state = match (fatal, has_ended) {
            (true, _) => State::Finished,
            (false, true) => State::Line { scanned: 0 },
            (false, false) => State::Discarding { dropped: length },
        };

        if fatal || has_ended {
            LineStep::TooLong { limit: self.limit.bytes(), fatal, consumed }
        } else {
            LineStep::Discard { consumed }
        }
    }

    fn is_within(&self, line: &[u8]) -> bool {
        line.len() as u64 <= u64::from(self.limit.bytes())
    }

    fn find_line_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let found = memchr(b'\n', bytes);
        #[cfg(test)]
        {
            self.searched += found.map_or(bytes.len(), |at| at + 1);
        }
        found
    }

    /// Returns the current limit.
    #[must_use]
    pub fn limit(&self) -> FrameLimit {
        self.limit
    }

    /// Changes the limit. A line that is being discarded stays refused.
    pub fn set_limit(&mut self, limit: FrameLimit) {
        self.limit = limit;
    }

    /// Returns whether the next bytes belong to a line over the limit.
    #[must_use]
    pub fn is_discarding(&self) -> bool {
        matches!(self.state, State::Discarding { .. })
    }

    /// Returns whether a line over four times the limit has ended the stream.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(length: usize) -> Vec<u8> {
        [&vec![b'x'; length][..], b"\n"].concat()
    }

    /// Passes `line` byte by byte, each time with the unconsumed bytes in front. `after_step` may
    /// change the decoder.
    fn decode_by_byte(decoder: &mut LineDecoder, line: &[u8], after_step: impl Fn(&mut LineDecoder)) {
        let mut start = 0;
        for end in 1..=line.len() {
            match decoder.step(&line[start..end]) {
                LineStep::Incomplete => {}
                LineStep::Line { consumed, .. }
                | LineStep::Discard { consumed }
                | LineStep::TooLong { consumed, .. } => start += consumed,
            }
            after_step(decoder);
        }
        assert_eq!(start, line.len(), "the line has ended");
    }

    #[test]
    fn searches_no_byte_twice() {
        // Miri takes a thousand times as long for each byte.
        let length = if cfg!(miri) { 4 * 1024 } else { 4 * 1024 * 1024 };
        let line = line(length);
        let shorter = u32::try_from(length / 8 * 3).unwrap();
        for limit in [FrameLimit::default(), FrameLimit::new(shorter)] {
            let mut decoder = LineDecoder::new(limit);
            decode_by_byte(&mut decoder, &line, |_| {});
            assert_eq!(decoder.searched, line.len());
        }
    }

    #[test]
    fn counts_the_bytes_of_a_decoder_that_restarts_its_search() {
        let line = line(100);
        let mut decoder = LineDecoder::new(FrameLimit::default());
        decode_by_byte(&mut decoder, &line, |decoder| decoder.state = State::Line { scanned: 0 });
        assert_eq!(decoder.searched, (1..=line.len()).sum::<usize>());
    }
}
