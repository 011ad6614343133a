//! The other framing: one JSON document per line, for `nc -U`, `socat` and PHP's `PHP_NORMAL_READ`.

use memchr::memchr;

use crate::codec::FrameLimit;

/// What the bytes at the front of the input are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineStep<'a> {
    /// One line that is not empty; it used `consumed` bytes from the front of the input.
    Line {
        /// The line without its `\n` and without a `\r` before it.
        payload: &'a [u8],
        /// Bytes of the line and its ending.
        consumed: usize,
    },
    /// No line ends in the input; nothing was consumed. Ask again with more bytes behind the same ones.
    Incomplete,
    /// These bytes are to be thrown away: an empty line, or a part of a line that is too long.
    Discard {
        /// Bytes to throw away, at least 1.
        consumed: usize,
    },
    /// A line over the limit has ended, or is given up. Told once per line, after its bytes were discarded.
    TooLong {
        /// The limit in bytes.
        limit: u32,
        /// `false`: the line ended and the next may follow. `true`: it passed four times the limit without an
        /// end; close the connection, all further input is discarded.
        fatal: bool,
        /// Bytes to throw away, at least 1.
        consumed: usize,
    },
}

/// Where a [`LineDecoder`] stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In a line within the limit, whose first `scanned` bytes hold no `\n`.
    Line { scanned: usize },
    /// In a line over the limit, of which `dropped` bytes were thrown away.
    Discarding { dropped: u64 },
    /// A line passed four times the limit; nothing can follow.
    Finished,
}

/// Cuts lines out of the bytes a caller holds. It keeps no bytes and reserves no memory.
///
/// The same limits as for frames: a line, without its ending, of at most the limit is a payload; up to four times
/// the limit it is read away; beyond, the connection closes. Bytes after the last `\n` are never a line: a request
/// cut short by a dying client must not be run.
///
/// Each byte is looked at once, however the input is split: the decoder remembers how far it has searched. That is
/// why the bytes given to [`step`](LineDecoder::step) must start with the same unconsumed bytes as before.
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
    /// Bytes searched so far, for the test that none is searched twice.
    #[cfg(test)]
    searched: usize,
}

impl LineDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(limit: FrameLimit) -> LineDecoder {
        LineDecoder {
            limit,
            state: State::Line { scanned: 0 },
            #[cfg(test)]
            searched: 0,
        }
    }

    /// Says what the bytes at the front of `input` are. `input` is everything not yet consumed.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> LineStep<'a> {
        match self.state {
            State::Line { scanned } => self.step_line(input, scanned),
            State::Discarding { .. } | State::Finished if input.is_empty() => LineStep::Incomplete,
            State::Discarding { dropped } => match self.search(input) {
                Some(end) => self.too_long(dropped + end as u64, true, end + 1),
                None => self.too_long(dropped + input.len() as u64, false, input.len()),
            },
            State::Finished => LineStep::Discard { consumed: input.len() },
        }
    }

    fn step_line<'a>(&mut self, input: &'a [u8], scanned: usize) -> LineStep<'a> {
        let (known, new) = input.split_at(scanned.min(input.len()));
        let Some(at) = self.search(new) else {
            // A `\r` that may turn out to belong to the line's ending is not counted yet.
            let line = input.strip_suffix(b"\r").unwrap_or(input);
            if self.is_within(line) {
                self.state = State::Line { scanned: input.len() };
                return LineStep::Incomplete;
            }
            return self.too_long(input.len() as u64, false, input.len());
        };
        let (end, consumed) = (known.len() + at, known.len() + at + 1);
        let ended = &input[..end];
        let line = ended.strip_suffix(b"\r").unwrap_or(ended);
        if !self.is_within(line) {
            return self.too_long(end as u64, true, consumed);
        }
        self.state = State::Line { scanned: 0 };
        if line.is_empty() {
            LineStep::Discard { consumed }
        } else {
            LineStep::Line { payload: line, consumed }
        }
    }

    /// A line over the limit has come to `length` bytes in all.
    fn too_long<'a>(&mut self, length: u64, ended: bool, consumed: usize) -> LineStep<'a> {
        let fatal = length > self.limit.discardable();
        self.state = match (fatal, ended) {
            (true, _) => State::Finished,
            (false, true) => State::Line { scanned: 0 },
            (false, false) => State::Discarding { dropped: length },
        };
        if fatal || ended {
            LineStep::TooLong { limit: self.limit.bytes(), fatal, consumed }
        } else {
            LineStep::Discard { consumed }
        }
    }

    fn is_within(&self, line: &[u8]) -> bool {
        line.len() as u64 <= u64::from(self.limit.bytes())
    }

    fn search(&mut self, bytes: &[u8]) -> Option<usize> {
        let found = memchr(b'\n', bytes);
        #[cfg(test)]
        {
            self.searched += found.map_or(bytes.len(), |at| at + 1);
        }
        found
    }

    /// The limit in force.
    #[must_use]
    pub fn limit(&self) -> FrameLimit {
        self.limit
    }

    /// Changes the limit; a line being discarded stays refused.
    pub fn set_limit(&mut self, limit: FrameLimit) {
        self.limit = limit;
    }

    /// Whether the bytes that come next belong to a line over the limit.
    #[must_use]
    pub fn is_discarding(&self) -> bool {
        matches!(self.state, State::Discarding { .. })
    }

    /// Whether a line over four times the limit has ended the stream.
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

    /// Gives `line` byte by byte, the unconsumed bytes in front each time; `between` may meddle with the decoder.
    fn byte_by_byte(decoder: &mut LineDecoder, line: &[u8], between: impl Fn(&mut LineDecoder)) {
        let mut start = 0;
        for end in 1..=line.len() {
            match decoder.step(&line[start..end]) {
                LineStep::Incomplete => {}
                LineStep::Line { consumed, .. }
                | LineStep::Discard { consumed }
                | LineStep::TooLong { consumed, .. } => start += consumed,
            }
            between(decoder);
        }
        assert_eq!(start, line.len(), "the line has ended");
    }

    #[test]
    fn no_byte_is_searched_twice() {
        // An interpreter takes a thousand times as long for each byte.
        let length = if cfg!(miri) { 4 * 1024 } else { 4 * 1024 * 1024 };
        let line = line(length);
        let shorter = u32::try_from(length / 8 * 3).unwrap();
        for limit in [FrameLimit::default(), FrameLimit::new(shorter)] {
            let mut decoder = LineDecoder::new(limit);
            byte_by_byte(&mut decoder, &line, |_| {});
            assert_eq!(decoder.searched, line.len());
        }
    }

    #[test]
    fn the_count_sees_a_decoder_that_begins_anew() {
        let line = line(100);
        let mut decoder = LineDecoder::new(FrameLimit::default());
        byte_by_byte(&mut decoder, &line, |decoder| decoder.state = State::Line { scanned: 0 });
        assert_eq!(decoder.searched, (1..=line.len()).sum::<usize>());
    }
}
