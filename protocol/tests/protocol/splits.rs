//! However a stream is split into reads, the same frames come out of it; and the harness sees it when they do not.

use jackfield_protocol::{Decoder, Frame, FrameBuffer, FrameLimit, Header, Refusal, Step};

use crate::vector::{self, Vector};

/// What a stream turned out to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Frame(Header, Vec<u8>),
    Refused(Refusal),
}

/// A decoder's step over the bytes not yet consumed.
type Steps<'s> = &'s mut dyn for<'a> FnMut(&'a [u8]) -> Step<'a>;

/// Gives `pieces` to a decoder as a connection would, and collects what it says.
pub(crate) fn run<'p>(step: Steps<'_>, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Event> {
    let (mut held, mut events) = (Vec::new(), Vec::new());
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
                    assert!(needed > held.len() as u64, "{needed} bytes needed, {} there", held.len());
                    break;
                }
            };
            assert!(consumed > 0, "a step without progress");
            held.drain(..consumed);
        }
    }
    events
}

/// The same through the buffer that owns its bytes.
fn run_buffer<'p>(limit: FrameLimit, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Event> {
    let (mut buffer, mut events) = (FrameBuffer::new(limit), Vec::new());
    for piece in pieces {
        buffer.push(piece);
        loop {
            match buffer.next() {
                Ok(Some(Frame { header, payload })) => events.push(Event::Frame(header, payload.to_vec())),
                Ok(None) => break,
                // A fatal refusal is repeated for ever.
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
    run(&mut |input| decoder.step(input), pieces)
}

/// What one vector's bytes hold, by its heads alone.
fn expected(vector: &Vector) -> Option<Event> {
    let header = || Header::decode(vector.bytes.first_chunk().unwrap()).unwrap();
    match vector.head("expect") {
        "frame" => Some(Event::Frame(header(), vector.payload().to_vec())),
        "incomplete" => None,
        _ if vector.get("kind").is_none() => {
            let version = u16::from_str_radix(vector.head("version").trim_start_matches("0x"), 16).unwrap();
            Some(Event::Refused(Refusal::UnsupportedVersion { version }))
        }
        _ => {
            let Header { version, kind, length } = header();
            let limit = FrameLimit::default().bytes();
            Some(Event::Refused(Refusal::TooLarge { kind, version, length, limit }))
        }
    }
}

#[test]
fn every_vector_split_at_every_byte_boundary() {
    let limit = FrameLimit::default();
    for vector in vector::all() {
        let expected: Vec<Event> = expected(&vector).into_iter().collect();
        for at in 0..=vector.bytes.len() {
            let (front, back) = vector.bytes.split_at(at);
            assert_eq!(decode(limit, [front, back]), expected, "{} at {at}", vector.name);
            assert_eq!(run_buffer(limit, [front, back]), expected, "{} at {at}", vector.name);
        }
    }
}

#[test]
fn every_vector_byte_by_byte() {
    let limit = FrameLimit::default();
    for vector in vector::all() {
        let expected: Vec<Event> = expected(&vector).into_iter().collect();
        assert_eq!(decode(limit, vector.bytes.chunks(1)), expected, "{}", vector.name);
        assert_eq!(run_buffer(limit, vector.bytes.chunks(1)), expected, "{}", vector.name);
    }
}

#[test]
fn one_to_a_thousand_frames_in_one_read() {
    let limit = FrameLimit::default();
    let frames = vector::frames();
    for count in [1, 2, 3, 10, 100, 999, 1000] {
        let vectors: Vec<&Vector> = frames.iter().cycle().take(count).collect();
        let stream: Vec<u8> = vectors.iter().flat_map(|vector| vector.bytes.iter().copied()).collect();
        let expected: Vec<Event> = vectors.iter().filter_map(|vector| expected(vector)).collect();
        assert_eq!(expected.len(), count);
        assert_eq!(decode(limit, [&stream[..]]), expected, "{count} frames");
        assert_eq!(run_buffer(limit, [&stream[..]]), expected, "{count} frames");
        assert_eq!(decode(limit, stream.chunks(1461)), expected, "{count} frames, in pieces");
    }
}

/// Under a limit of 10 bytes: a frame, a refused one that is read away, another frame, a fatal one, and what
/// nobody may look at any more.
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
fn refused_payloads_split_anywhere() {
    let (limit, stream, events) = stream_with_refusals();
    let whole = decode(limit, [&stream[..]]);
    let kinds: String =
        whole.iter().map(|event| if matches!(event, Event::Frame(..)) { 'f' } else { 'r' }).collect();
    assert_eq!((kinds.as_str(), whole.len()), ("frfrfr", events));
    for at in 0..=stream.len() {
        let (front, back) = stream.split_at(at);
        assert_eq!(decode(limit, [front, back]), whole, "at {at}");
        assert_eq!(run_buffer(limit, [front, back]), whole, "at {at}");
    }
    for size in 1..=stream.len() {
        assert_eq!(decode(limit, stream.chunks(size)), whole, "pieces of {size}");
        assert_eq!(run_buffer(limit, stream.chunks(size)), whole, "pieces of {size}");
    }
}

/// A decoder with the fault this harness is for: it forgets what it was discarding when a read ends.
#[test]
fn the_harness_sees_a_decoder_that_forgets_between_reads() {
    let (limit, stream, _) = stream_with_refusals();
    let faulty = |pieces: Vec<&[u8]>| {
        let mut decoder = Decoder::new(limit);
        run(
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
    assert_eq!(whole, decode(limit, [&stream[..]]), "unsplit, the fault does not show");
    let differing =
        (0..stream.len()).filter(|at| faulty(vec![&stream[..*at], &stream[*at..]]) != whole).count();
    assert!(differing > 10, "the fault showed at {differing} splits");
}
