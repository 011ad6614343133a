//! The line decoder: any pieces of a stream yield the lines of a plain split at line breaks.

use std::ops::Range;

use jackfield_protocol::{FrameLimit, LineDecoder, LineStep};

use crate::pieces::Stream;

/// A part of a decoded stream.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Event {
    Line(Range<usize>),
    /// A line over the limit.
    TooLong {
        /// Whether the stream ends with it.
        fatal: bool,
    },
}

fn decode(stream: &Stream<'_>, arrivals: impl Iterator<Item = usize>) -> Vec<Event> {
    let mut decoder = LineDecoder::new(stream.limit);
    let mut at = 0;
    let mut events = Vec::new();

    for arrived in arrivals {
        loop {
            let held = &stream.bytes[at..arrived];
            let consumed = match decoder.step(held) {
                LineStep::Line { payload, consumed } => {
                    assert!(!payload.is_empty() && held.starts_with(payload));
                    events.push(Event::Line(at..at + payload.len()));
                    consumed
                }
                LineStep::TooLong { limit, fatal, consumed } => {
                    assert_eq!((limit, fatal), (stream.limit.bytes(), decoder.is_finished()));
                    events.push(Event::TooLong { fatal });
                    consumed
                }
                LineStep::Discard { consumed } => consumed,
                LineStep::Incomplete => break,
            };
            assert!((1..=held.len()).contains(&consumed), "{consumed} of {} bytes", held.len());
            at += consumed;
        }
    }
    events
}

/// Returns the events that the specification requires, computed without a state.
fn expected(bytes: &[u8], limit: FrameLimit) -> Vec<Event> {
    let mut at = 0;
    let mut events = Vec::new();

    for whole in bytes.split_inclusive(|byte| *byte == b'\n') {
        let start = at;
        at += whole.len();
        let ended = whole.strip_suffix(b"\n");
        let line = ended.unwrap_or(whole);
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if text.len() as u64 > u64::from(limit.bytes()) {
            let fatal = line.len() as u64 > limit.discardable();
            if fatal || ended.is_some() {
                events.push(Event::TooLong { fatal });
            }
            if fatal {
                break;
            }
        } else if ended.is_some() && !text.is_empty() {
            events.push(Event::Line(start..start + text.len()));
        }
    }
    events
}

/// Checks any stream, in any pieces, under one of several limits.
pub fn lines(input: &[u8]) {
    let Some(stream) = Stream::of(input) else { return };
    let expected = expected(stream.bytes, stream.limit);
    assert_eq!(decode(&stream, std::iter::once(stream.bytes.len())), expected);
    assert_eq!(decode(&stream, stream.arrivals()), expected);
}
