//! Frames: however a stream arrives, the same frames and refusals come out of it, at the same places.

use jackfield_protocol::{Decoder, FrameBuffer, HEADER_LEN, Header, Refusal, Step, Version};

use crate::pieces::Stream;

/// What a stream turned out to hold, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Frame {
        header: Header,
        at: usize,
    },
    Refused {
        refusal: Refusal,
        at: usize,
    },
    /// A frame for which the reader had no room.
    Skipped {
        header: Header,
        at: usize,
    },
}

/// Gives the stream to a decoder as it arrives. Of the frames, every one whose length leaves `skip` of 4 is skipped,
/// as a host does that has no room for it.
fn decode(stream: &Stream<'_>, arrivals: impl Iterator<Item = usize>, skip: Option<u32>) -> Vec<Event> {
    let mut decoder = Decoder::new(stream.limit);
    let (mut at, mut events) = (0, Vec::new());
    for arrived in arrivals {
        loop {
            let held = &stream.bytes[at..arrived];
            if let Some(header) = skipped(&decoder, held, stream, skip) {
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
                    assert!(held[..2] == written[..2] || header.version == Version::HIGHEST);
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
                    assert!(needed > held.len() as u64, "{needed} bytes needed, {} there", held.len());
                    break;
                }
            };
            assert!((1..=held.len()).contains(&consumed), "{consumed} of {} bytes", held.len());
            at += consumed;
        }
    }
    events
}

/// The header at the front, if the frame behind it is one to be skipped. It depends on the header alone.
fn skipped(decoder: &Decoder, held: &[u8], stream: &Stream<'_>, skip: Option<u32>) -> Option<Header> {
    if decoder.is_discarding() || decoder.is_finished() {
        return None;
    }
    let header = Header::decode(held.first_chunk()?).ok()?;
    (skip == Some(header.length % 4) && header.length <= stream.limit.bytes()).then_some(header)
}

/// The same through the buffer that owns its bytes; a fatal refusal is told once.
fn buffered(stream: &Stream<'_>) -> Vec<Event> {
    let mut buffer = FrameBuffer::new(stream.limit);
    let (mut before, mut events) = (0, Vec::new());
    for arrived in stream.arrivals() {
        buffer.push(&stream.bytes[before..arrived]);
        before = arrived;
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
                        assert_eq!(buffer.buffered(), 0, "nothing is kept of a stream that has ended");
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

/// An event without its place.
fn nowhere(event: Event) -> Event {
    match event {
        Event::Frame { header, .. } => Event::Frame { header, at: 0 },
        Event::Refused { refusal, .. } => Event::Refused { refusal, at: 0 },
        Event::Skipped { header, .. } => Event::Skipped { header, at: 0 },
    }
}

/// Any stream, in any pieces, under one of several limits.
pub fn codec(input: &[u8]) {
    let Some(stream) = Stream::of(input) else { return };
    let skip = (stream.way & 1 == 1).then_some(u32::from(stream.way / 2 % 4));
    let whole = decode(&stream, std::iter::once(stream.bytes.len()), skip);
    assert_eq!(decode(&stream, stream.arrivals(), skip), whole);
    if skip.is_none() {
        assert!(buffered(&stream).into_iter().eq(whole.into_iter().map(nowhere)));
    }
}
