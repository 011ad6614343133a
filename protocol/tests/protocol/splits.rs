//! The same frames are decoded however a stream is split into reads, and the harness detects it if
//! they are not.

use jackfield_protocol::{Decoder, Frame, FrameBuffer, FrameError, FrameLimit, Header, Step};

use crate::vector::{self, Vector};

/// A part of a decoded stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Frame(Header, Vec<u8>),
    Refused(FrameError),
}

/// One step of a decoder over the unconsumed bytes.
type Steps<'s> = &'s mut dyn for<'a> FnMut(&'a [u8]) -> Step<'a>;

/// Passes `pieces` to a decoder as a connection would, and collects the results.
pub(crate) fn decode_pieces<'p>(step: Steps<'_>, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Event> {
    let mut held = Vec::new();
    let mut events = Vec::new();

    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let consumed = match step(&held) {
                Step::Frame { header, payload, consumed } => {
                    events.push(Event::Frame(header, payload.to_vec()));
                    consumed
                }
                Step::Refused { refusal, consumed, .. } => {
                    events.push(Event::Refused(refusal));
                    consumed
                }
                Step::Discard { consumed } => consumed,
                Step::Incomplete { needed } => {
                    assert!(needed > held.len() as u64, "{needed} bytes needed, {} held", held.len());
                    break;
                }
            };
            assert!(consumed > 0, "a step without progress");
            held.drain(..consumed);
        }
    }
    events
}

/// Decodes `pieces` with the buffer that owns its bytes.
fn decode_buffered<'p>(limit: FrameLimit, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Event> {
    let mut buffer = FrameBuffer::new(limit);
    let mut events = Vec::new();

    for piece in pieces {
        buffer.push(piece);
        loop {
            match buffer.next() {
                Ok(Some(Frame { header, payload })) => events.push(Event::Frame(header, payload.to_vec())),
                Ok(None) => break,
                // A fatal refusal is repeated on every call.
                Err(refusal) if events.last() == Some(&Event::Refused(refusal)) && refusal.is_fatal() => {
                    break;
                }
                Err(refusal) => events.push(Event::Refused(refusal)),
            }
        }
    }
    events
}

fn decode<'p>(limit: FrameLimit, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::new(limit);
    decode_pieces(&mut |input| decoder.step(input), pieces)
}

/// Returns the expected event of a vector, from its heads alone.
fn expected(vector: &Vector) -> Option<Event> {
    let header = || Header::decode(vector.bytes.first_chunk().unwrap()).unwrap();
    match vector.head("expect") {
        "frame" => Some(Event::Frame(header(), vector.payload().to_vec())),
        "incomplete" => None,
        _ if vector.get("kind").is_none() => {
            let version = u16::from_str_radix(vector.head("version").trim_start_matches("0x"), 16).unwrap();
            Some(Event::Refused(FrameError::UnsupportedVersion { version }))
        }
        _ => {
            let Header { version, kind, length } = header();
            let limit = FrameLimit::default().bytes();
            Some(Event::Refused(FrameError::TooLarge { kind, version, length, limit }))
        }
    }
}

#[test]
fn decodes_every_vector_split_at_every_byte() {
    let limit = FrameLimit::default();
    for vector in vector::all() {
        let expected: Vec<Event> = expected(&vector).into_iter().collect();
        for at in 0..=vector.bytes.len() {
            let (front, back) = vector.bytes.split_at(at);
            assert_eq!(decode(limit, [front, back]), expected, "{} at {at}", vector.name);
            assert_eq!(decode_buffered(limit, [front, back]), expected, "{} at {at}", vector.name);
        }
    }
}

#[test]
fn decodes_every_vector_byte_by_byte() {
    let limit = FrameLimit::default();
    for vector in vector::all() {
        let expected: Vec<Event> = expected(&vector).into_iter().collect();
        assert_eq!(decode(limit, vector.bytes.chunks(1)), expected, "{}", vector.name);
        assert_eq!(decode_buffered(limit, vector.bytes.chunks(1)), expected, "{}", vector.name);
    }
}

#[test]
fn decodes_one_to_a_thousand_frames_in_one_read() {
    let limit = FrameLimit::default();
    let frames = vector::frames();
    for count in [1, 2, 3, 10, 100, 999, 1000] {
        let vectors: Vec<&Vector> = frames.iter().cycle().take(count).collect();
        let stream: Vec<u8> = vectors.iter().flat_map(|vector| vector.bytes.iter().copied()).collect();
        let expected: Vec<Event> = vectors.iter().filter_map(|vector| expected(vector)).collect();
        assert_eq!(expected.len(), count);
        assert_eq!(decode(limit, [&stream[..]]), expected, "{count} frames");
        assert_eq!(decode_buffered(limit, [&stream[..]]), expected, "{count} frames");
        assert_eq!(decode(limit, stream.chunks(1461)), expected, "{count} frames, in pieces");
    }
}

/// Returns a limit of 10 bytes, a stream under it, and the number of events in the stream: accepted
/// and refused frames in turn, a fatal refusal last, and a frame after it that must be ignored.
fn stream_with_refusals() -> (FrameLimit, Vec<u8>, usize) {
    let frame = |length: usize| {
        [&[1, 0, 1, 0, 0, 0, u8::try_from(length).unwrap()], &vec![b'x'; length][..]].concat()
    };
    (
        FrameLimit::new(10),
        [frame(10), frame(11), frame(0), frame(40), frame(9), frame(41), frame(1)].concat(),
        6,
    )
}

#[test]
fn discards_refused_payloads_split_anywhere() {
    let (limit, stream, events) = stream_with_refusals();
    let whole = decode(limit, [&stream[..]]);
    let kinds: String =
        whole.iter().map(|event| if matches!(event, Event::Frame(..)) { 'f' } else { 'r' }).collect();
    assert_eq!((kinds.as_str(), whole.len()), ("frfrfr", events));

    for at in 0..=stream.len() {
        let (front, back) = stream.split_at(at);
        assert_eq!(decode(limit, [front, back]), whole, "at {at}");
        assert_eq!(decode_buffered(limit, [front, back]), whole, "at {at}");
    }
    for size in 1..=stream.len() {
        assert_eq!(decode(limit, stream.chunks(size)), whole, "pieces of {size}");
        assert_eq!(decode_buffered(limit, stream.chunks(size)), whole, "pieces of {size}");
    }
}

/// The decoder here has the fault that this harness is for: at the end of a read, it forgets that
/// it is discarding.
#[test]
fn detects_a_decoder_that_forgets_its_state_between_reads() {
    let (limit, stream, _) = stream_with_refusals();
    let faulty = |pieces: Vec<&[u8]>| {
        let mut decoder = Decoder::new(limit);
        decode_pieces(
            &mut |input| {
                let step = decoder.step(input);
                if matches!(step, Step::Incomplete { .. }) && decoder.is_discarding() {
                    decoder = Decoder::new(limit);
                }
                step
            },
            pieces,
        )
    };
    let whole = faulty(vec![&stream]);
    assert_eq!(whole, decode(limit, [&stream[..]]), "without a split, the fault has no effect");
    let differing =
        (0..stream.len()).filter(|at| faulty(vec![&stream[..*at], &stream[*at..]]) != whole).count();
    assert!(differing > 10, "the fault had an effect at {differing} splits");
}
