//! The buffer that owns its bytes: frames outlive it, and its memory follows the received bytes and
//! never an announced length.

use jackfield_protocol::{FrameBuffer, FrameError, FrameLimit, Header, Kind, Received, Version};

const SYNC: Header = Header { version: Version::V1_0, kind: Kind::Sync, length: 0 };

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&Header { length, ..SYNC }.encode()[..], payload].concat()
}

#[test]
fn yields_frames_that_outlive_the_buffer() {
    let mut buffer = FrameBuffer::new(FrameLimit::default());
    buffer.push(&frame(b"first"));
    let first = buffer.next().unwrap().unwrap();
    buffer.push(&frame(b"second"));
    let second = buffer.next().unwrap().unwrap();
    assert_eq!(buffer.next(), Ok(None));

    drop(buffer);
    assert_eq!((&first.payload[..], &second.payload[..]), (&b"first"[..], &b"second"[..]));
}

#[test]
fn accepts_bytes_appended_in_place() {
    let mut buffer = FrameBuffer::new(FrameLimit::default());
    buffer.buffer_mut().extend_from_slice(&frame(b"{}")[..8]);
    assert_eq!((buffer.next(), buffer.buffered()), (Ok(None), 8));
    buffer.buffer_mut().extend_from_slice(b"}");
    assert_eq!(buffer.next().unwrap().unwrap().payload, &b"{}"[..]);
    assert_eq!(buffer.buffered(), 0);
}

#[test]
fn yields_the_head_of_a_frame_over_the_limit_in_any_division() {
    let large = [b'x'; 3_000];
    let bytes = [frame(b"before"), frame(&large), frame(b"abcde"), frame(b"after")].concat();

    for piece in [1, 7, 1_000, 1_040, bytes.len()] {
        let mut buffer = FrameBuffer::new(FrameLimit::new(1_000));
        let mut found = Vec::new();
        for part in bytes.chunks(piece) {
            buffer.push(part);
            while let Some(received) = buffer.next_received().unwrap() {
                found.push(match received {
                    Received::Frame(frame) => (frame.payload.to_vec(), None),
                    Received::Refused(refused) => (refused.head, Some(refused.length)),
                });
            }
        }

        let expected: [(&[u8], _); 4] =
            [(b"before", None), (&large[..1_024], Some(3_000)), (b"abcde", None), (b"after", None)];
        assert!(found.iter().map(|(head, length)| (&head[..], *length)).eq(expected), "pieces of {piece}");
        assert_eq!(buffer.buffered(), 0);
    }
}

/// The header announces 4 GiB - 1, which is within the limit. Only received bytes may cost memory.
#[test]
fn reserves_no_memory_for_an_announced_length() {
    const SENT: usize = 64 * 1024;
    let measured = allocation_counter::measure(|| {
        let mut buffer = FrameBuffer::new(FrameLimit::MAX);
        buffer.push(&Header { length: u32::MAX, ..SYNC }.encode());
        assert_eq!(buffer.next(), Ok(None));
        assert!(buffer.capacity() <= 64, "{} bytes reserved for seven", buffer.capacity());

        for _ in 0..SENT / 1024 {
            buffer.push(&[b'x'; 1024]);
            assert_eq!(buffer.next(), Ok(None));
            assert!(buffer.capacity() <= 2 * buffer.buffered() + 1024);
        }
        assert_eq!(buffer.buffered(), SENT + 7);
    });
    assert!(measured.bytes_max >= SENT as u64, "the measurement must see the received bytes");
    // While it grows, the old and the new buffer exist together: 1 + 2 times the received bytes.
    assert!(measured.bytes_max <= 4 * SENT as u64, "{} bytes for {SENT} received", measured.bytes_max);
}

#[test]
fn holds_no_bytes_of_a_refused_payload() {
    const LIMIT: u32 = 64 * 1024;
    let measured = allocation_counter::measure(|| {
        let mut buffer = FrameBuffer::new(FrameLimit::new(LIMIT));
        buffer.push(&Header { length: 4 * LIMIT, ..SYNC }.encode());
        assert!(matches!(buffer.next(), Err(FrameError::TooLarge { .. })));
        for _ in 0..4 * LIMIT / 1024 {
            buffer.push(&[b'x'; 1024]);
            assert_eq!((buffer.next(), buffer.buffered()), (Ok(None), 0));
        }
        buffer.push(&frame(b"after"));
        assert_eq!(buffer.next().unwrap().unwrap().payload, &b"after"[..]);
    });
    assert!(measured.bytes_max <= 8 * 1024, "{} bytes", measured.bytes_max);
}

#[test]
fn repeats_a_fatal_refusal_and_holds_nothing() {
    let mut buffer = FrameBuffer::new(FrameLimit::default());
    buffer.push(b"HTTP/1.1 400 Bad Request\r\n");
    let refusal = FrameError::UnsupportedVersion { version: 0x4854 };
    assert_eq!(buffer.next(), Err(refusal));
    buffer.push(&frame(b"{}"));
    assert_eq!(buffer.next(), Err(refusal));
    assert_eq!((buffer.buffered(), buffer.capacity()), (0, 0));
}
