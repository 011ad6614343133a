//! Tests of the splitting of bytes into frames.

use super::*;

const LIMIT: usize = 4 << 20;

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[1, 1, kind][..], &length, payload].concat()
}

fn detached(announced: u64, head: &[u8]) -> Vec<u8> {
    frame(0x45 | DETACHED, &[&announced.to_be_bytes()[..], head].concat())
}

fn add(splitter: &mut FrameSplitter, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let room = splitter.room();
        let count = rest.len().min(room.len());
        room[..count].copy_from_slice(&rest[..count]);
        splitter.add(count);
        rest = &rest[count..];
    }
}

fn splitter_with(limit: usize, bytes: &[u8]) -> FrameSplitter {
    let mut splitter = FrameSplitter::new(limit);
    add(&mut splitter, bytes);
    splitter
}

/// Takes all frames that are complete.
fn take(splitter: &mut FrameSplitter) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(frame) = splitter.next_frame().unwrap() {
        let ReceivedFrame::Whole { kind, payload } = frame else { panic!("{frame:?}") };
        frames.push((kind, payload.to_vec()));
    }
    frames
}

#[test]
fn returns_the_same_frames_for_any_pieces() {
    let sizes = [0, 1, 7, 300, 0, 20_000, 5];
    let frames: Vec<_> = (0x41..).zip(sizes).map(|(kind, size)| (kind, vec![kind; size])).collect();
    let stream = frames.iter().map(|(kind, payload)| frame(*kind, payload)).collect::<Vec<_>>().concat();

    for size in [1, 2, 3, 5, 7, 8, 11, 64, 1000, 9999, stream.len()] {
        let mut splitter = FrameSplitter::new(LIMIT);
        let mut found = Vec::new();
        for piece in stream.chunks(size) {
            add(&mut splitter, piece);
            found.extend(take(&mut splitter));
        }
        assert!(found == frames, "pieces of {size} bytes");
    }
}

#[test]
fn keeps_a_partial_frame_when_the_buffer_is_full() {
    let mut splitter = FrameSplitter::new(LIMIT);
    let long = frame(0x45, &vec![7; 50_000]);
    for _ in 0..100 {
        // The reads end at other places of the frames each time.
        add(&mut splitter, &long);
        add(&mut splitter, &long[..40_000]);
        assert_eq!(take(&mut splitter).len(), 1);
        add(&mut splitter, &long[40_000..]);
        assert_eq!(take(&mut splitter), [(0x45, vec![7; 50_000])]);
    }
    assert_eq!(splitter.capacity(), CAPACITY);
}

#[test]
fn uses_the_same_part_of_the_buffer_for_small_frames() {
    let mut splitter = FrameSplitter::new(LIMIT);
    let small = frame(0x45, &[7; 900]);
    let mut found = 0;
    for piece in small.repeat(1000).chunks(1000) {
        add(&mut splitter, piece);
        assert!(splitter.end <= 2000);
        found += take(&mut splitter).len();
    }
    assert_eq!(found, 1000);
}

#[test]
fn allocates_nothing_for_a_length_that_is_only_announced() {
    for announced in [1 << 20, u32::try_from(LIMIT).unwrap()] {
        let header = [&[1, 1, 0x45][..], &announced.to_be_bytes()].concat();
        let mut splitter = splitter_with(LIMIT, &header);
        assert_eq!(splitter.next_frame(), Ok(None));
        splitter.room();
        assert_eq!(splitter.capacity(), CAPACITY);
    }
}

#[test]
fn grows_with_a_large_frame_and_returns_the_memory() {
    let mut splitter = FrameSplitter::new(LIMIT);
    let large = frame(0x45, &vec![1; 3 << 20]);
    let mut received = 0;
    for piece in large.chunks(10_000) {
        assert_eq!(splitter.next_frame(), Ok(None));
        add(&mut splitter, piece);
        received += piece.len();
        assert!(splitter.capacity() <= 2 * received + 2 * CAPACITY);
    }
    assert_eq!(take(&mut splitter).len(), 1);

    add(&mut splitter, &frame(0x41, b"x"));
    assert_eq!(splitter.capacity(), CAPACITY);
    assert_eq!(take(&mut splitter), [(0x41, b"x".to_vec())]);
}

#[test]
fn refuses_a_frame_over_the_limit_by_its_header() {
    for announced in [11, 1 << 24, u32::MAX] {
        let header = [&[1, 0, 0x45][..], &announced.to_be_bytes()].concat();
        let fault = FrameFault::TooLong { announced: announced.into(), limit: 10 };
        assert_eq!(splitter_with(10, &header).next_frame(), Err(fault));
    }
    assert!(splitter_with(10, &frame(0x45, &[0; 10])).next_frame().is_ok());
}

#[test]
fn refuses_an_unknown_version() {
    let mut splitter = splitter_with(10, b"GET / HTTP/1.1\r\n\r\n");
    assert!(matches!(splitter.next_frame(), Err(FrameFault::Version(_))));
}

#[test]
fn returns_the_beginning_of_a_detached_payload() {
    let mut splitter = splitter_with(20, &[detached(12, b"head"), frame(0x41, b"next")].concat());
    let first = splitter.next_frame();
    assert_eq!(first, Ok(Some(ReceivedFrame::Detached { kind: 0x45, head: b"head", length: 12 })));
    assert_eq!(take(&mut splitter), [(0x41, b"next".to_vec())]);
}

#[test]
fn refuses_a_detached_payload_over_the_limit() {
    for (announced, head) in [(21, &b""[..]), (17, b"head"), (u64::MAX, b""), (u64::MAX, b"head")] {
        let fault = FrameFault::TooLong { announced, limit: 20 };
        assert_eq!(splitter_with(20, &detached(announced, head)).next_frame(), Err(fault));
    }
}

#[test]
fn refuses_a_detached_frame_without_a_length() {
    for length in 0..DETACHED_LEN {
        let bytes = frame(0x45 | DETACHED, &vec![0; length]);
        assert_eq!(splitter_with(20, &bytes).next_frame(), Err(FrameFault::Length));
    }
}
