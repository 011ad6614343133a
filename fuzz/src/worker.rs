//! The messages of a worker: any pieces of a stream yield the same frames and the same fault, and
//! every accepted message is exactly what writing it again gives.

use jackfield::worker_stream::{StreamFrame, WorkerStream, rewrite};

use crate::pieces::Stream;

const HEADER_LEN: usize = 7;
const DETACHED: u8 = 0x80;

/// The frames of a stream, and whether a fault ended it.
type Frames = (Vec<StreamFrame>, bool);

fn split(stream: &Stream<'_>, arrivals: impl Iterator<Item = usize>) -> Frames {
    let mut reader = WorkerStream::new(stream.limit.bytes() as usize);
    let mut pushed = 0;
    let mut frames = Vec::new();

    for arrived in arrivals {
        reader.push(&stream.bytes[pushed..arrived]);
        pushed = arrived;
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(fault) => {
                    assert!(!fault.is_empty());
                    return (frames, true);
                }
            }
        }
    }
    (frames, false)
}

/// Returns the frames of a plain loop over the bytes.
fn expected(stream: &Stream<'_>) -> Frames {
    let limit = stream.limit.bytes() as usize;
    let mut rest = stream.bytes;
    let mut frames = Vec::new();

    while let Some((&[version, _, kind, l0, l1, l2, l3], after)) = rest.split_first_chunk::<HEADER_LEN>() {
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if version != 1 || length > limit {
            return (frames, true);
        }
        let Some((payload, after)) = after.split_at_checked(length) else { break };
        rest = after;
        if kind & DETACHED == 0 {
            frames.push(StreamFrame { kind, payload: payload.to_vec(), detached: None });
            continue;
        }

        let Some((announced, head)) = payload.split_first_chunk::<8>() else { return (frames, true) };
        let announced = u128::from(u64::from_be_bytes(*announced));
        if announced + head.len() as u128 > limit as u128 {
            return (frames, true);
        }
        let detached = Some(usize::try_from(announced).expect("it is below the limit"));
        frames.push(StreamFrame { kind: kind & !DETACHED, payload: head.to_vec(), detached });
    }
    (frames, false)
}

/// Checks what a worker has sent, in any pieces, under one of several limits.
pub fn worker(input: &[u8]) {
    let Some(stream) = Stream::of(input) else { return };
    let whole = split(&stream, std::iter::once(stream.bytes.len()));
    assert_eq!(whole, expected(&stream));
    assert_eq!(split(&stream, stream.arrivals()), whole);

    for frame in &whole.0 {
        match rewrite(frame.kind, &frame.payload) {
            Ok(written) => assert_eq!(written, (frame.kind, frame.payload.clone())),
            Err(refused) => assert!(!refused.is_empty()),
        }
    }
}
