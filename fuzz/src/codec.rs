//! The frame decoder: any pieces of a stream yield the same frames and refusals at the same
//! offsets.

use jackfield_protocol::{Decoder, FrameBuffer, FrameError, HEADER_LEN, Header, Step, Version};

use crate::pieces::Stream;

/// A part of a decoded stream, and its offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Frame {
        header: Header,
        at: usize,
    },
    Refused {
        refusal: FrameError,
        at: usize,
    },
    /// A frame that the reader skipped.
    Skipped {
        header: Header,
        at: usize,
    },
}

/// Returns the version that higher ones are read as: 1.2 as after a hello, or the highest
/// without one.
fn highest_version(stream: &Stream<'_>) -> Version {
    if stream.variant & 8 != 0 { Version::V1_2 } else { Version::HIGHEST }
}

/// Decodes the stream as it arrives. Frames whose length modulo 4 is `skip` are skipped, as a host
/// does that has no memory for them.
fn decode(stream: &Stream<'_>, arrivals: impl Iterator<Item = usize>, skip: Option<u32>) -> Vec<Event> {
    let highest = highest_version(stream);
    let mut decoder = Decoder::new(stream.limit);
    decoder.set_highest(highest);
    let mut at = 0;
    let mut events = Vec::new();

    for arrived in arrivals {
        loop {
            let held = &stream.bytes[at..arrived];
            if let Some(header) = header_to_skip(&decoder, held, stream, skip) {
                decoder.skip_frame(header);
                events.push(Event::Skipped { header, at });
                at += HEADER_LEN;
                continue;
            }

            let consumed = match decoder.step(held) {
                Step::Frame { header, payload, consumed } => {
                    assert_eq!(payload.len(), header.length as usize);
                    assert_eq!(consumed, HEADER_LEN + payload.len());
                    assert!(payload.len() as u64 <= u64::from(stream.limit.bytes()));
                    assert_eq!(&held[HEADER_LEN..consumed], payload);

                    let written = header.encode();
                    assert_eq!(&written[2..], &held[2..HEADER_LEN]);
                    assert!(held[..2] == written[..2] || header.version == highest);
                    events.push(Event::Frame { header, at });
                    consumed
                }
                Step::Refused { refusal, fatal, consumed } => {
                    assert_eq!((fatal, consumed), (refusal.is_fatal(), HEADER_LEN));
                    assert_eq!(fatal, decoder.is_finished());
                    events.push(Event::Refused { refusal, at });
                    consumed
                }
                Step::Discard { consumed } => consumed,
                Step::Incomplete { needed } => {
                    assert!(needed > held.len() as u64, "{needed} bytes needed, {} held", held.len());
                    break;
                }
            };
            assert!((1..=held.len()).contains(&consumed), "{consumed} of {} bytes", held.len());
            at += consumed;
        }
    }
    events
}

/// Returns the header at the front if its frame is to be skipped, which depends on the header
/// alone.
fn header_to_skip(decoder: &Decoder, held: &[u8], stream: &Stream<'_>, skip: Option<u32>) -> Option<Header> {
    if decoder.is_discarding() || decoder.is_finished() {
        return None;
    }
    let header = Header::decode_up_to(held.first_chunk()?, highest_version(stream)).ok()?;
    (skip == Some(header.length % 4) && header.length <= stream.limit.bytes()).then_some(header)
}

/// Decodes the stream with the buffer that owns its bytes. A fatal refusal is returned once.
fn decode_buffered(stream: &Stream<'_>) -> Vec<Event> {
    let mut buffer = FrameBuffer::new(stream.limit);
    buffer.set_highest(highest_version(stream));
    let mut pushed = 0;
    let mut events = Vec::new();

    for arrived in stream.arrivals() {
        buffer.push(&stream.bytes[pushed..arrived]);
        pushed = arrived;
        loop {
            match buffer.next() {
                Ok(Some(frame)) => {
                    assert_eq!(frame.payload.len(), frame.header.length as usize);
                    events.push(Event::Frame { header: frame.header, at: 0 });
                }
                Ok(None) => break,
                Err(refusal) => {
                    let event = Event::Refused { refusal, at: 0 };
                    if refusal.is_fatal() {
                        assert_eq!(buffer.next(), Err(refusal));
                        assert_eq!(buffer.buffered(), 0, "a stream that has ended holds no bytes");
                        events.push(event);
                        return events;
                    }
                    events.push(event);
                }
            }
        }
    }
    events
}

/// Returns an event without its offset.
fn without_offset(event: Event) -> Event {
    match event {
        Event::Frame { header, .. } => Event::Frame { header, at: 0 },
        Event::Refused { refusal, .. } => Event::Refused { refusal, at: 0 },
        Event::Skipped { header, .. } => Event::Skipped { header, at: 0 },
    }
}

/// Checks any stream, in any pieces, under one of several limits.
pub fn codec(input: &[u8]) {
    let Some(stream) = Stream::of(input) else { return };
    let skip = (stream.variant & 1 == 1).then_some(u32::from(stream.variant / 2 % 4));
    let whole = decode(&stream, std::iter::once(stream.bytes.len()), skip);
    assert_eq!(decode(&stream, stream.arrivals(), skip), whole);
    if skip.is_none() {
        assert!(decode_buffered(&stream).into_iter().eq(whole.into_iter().map(without_offset)));
    }
}
