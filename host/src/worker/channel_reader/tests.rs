//! Tests of the receiving end, with a peer that sends anything.

use std::fs::File;
use std::io::{PipeReader, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use super::super::channel_test_support::{LIMIT, frame, read_all, reader, send};
use super::super::frame_splitter::DETACHED;
use super::super::payload_file::DETACHED_MIN;
use super::*;
use crate::sealed_file;

/// Returns a detached frame that announces this many bytes in a file.
fn detached(length: usize) -> Vec<u8> {
    frame(0x45 | DETACHED, &[&(length as u64).to_be_bytes()[..], b"head"].concat())
}

fn payload_file(length: usize) -> PayloadFile {
    PayloadFile::of(&vec![7; length]).unwrap()
}

/// Returns the reading end of a pipe, and descriptors of the other end.
fn pipe_files(count: usize) -> (PipeReader, Vec<OwnedFd>) {
    let (reader, writer) = std::io::pipe().unwrap();
    let files = (0..count).map(|_| writer.as_fd().try_clone_to_owned().unwrap()).collect();
    (reader, files)
}

fn borrowed(files: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    files.iter().map(|file| file.as_fd()).collect()
}

/// Asserts that no descriptor of the other end of a pipe is left.
fn assert_closed(mut pipe: PipeReader) {
    assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
}

#[test]
fn returns_frames_until_the_other_end_is_closed() {
    let (socket, mut reader) = reader();
    assert_eq!(reader.receive(false).unwrap(), Received::Nothing);

    send(&socket, &[frame(0x41, b"a"), frame(0x42, b""), frame(0x43, b"cut")[..9].to_vec()].concat(), &[]);
    drop(socket);

    let (frames, end) = read_all(&mut reader);
    assert_eq!(frames, [(0x41, b"a".to_vec()), (0x42, Vec::new())]);
    assert_eq!(end.unwrap(), Received::Closed);
}

#[test]
fn takes_a_reset_for_the_end_after_it_has_read_everything() {
    let (socket, mut reader) = reader();
    send(&reader.socket, b"nobody reads this", &[]);
    send(&socket, &frame(0x41, b"last"), &[]);
    drop(socket);

    let (frames, end) = read_all(&mut reader);
    assert_eq!(frames, [(0x41, b"last".to_vec())]);
    assert_eq!(end.unwrap(), Received::Closed);
}

#[test]
fn waits_for_bytes() {
    let (socket, mut reader) = reader();
    let waiting = std::thread::spawn(move || {
        let received = reader.receive(true).unwrap();
        (received, reader.next_frame().unwrap().map(|(kind, _)| kind))
    });
    send(&socket, &frame(0x41, b"a"), &[]);
    assert_eq!(waiting.join().unwrap(), (Received::Bytes, Some(0x41)));
}

#[test]
fn returns_payloads_of_memory_files_in_order() {
    let (socket, mut reader) = reader();
    let files = [DETACHED_MIN, DETACHED_MIN + 5].map(payload_file);
    for file in &files {
        send(&socket, &detached(file.length()), &[file.as_fd()]);
        send(&socket, &frame(0x41, b"between"), &[]);
    }

    let (frames, _) = read_all(&mut reader);
    let lengths: Vec<_> = frames.iter().map(|(kind, payload)| (*kind, payload.len())).collect();
    assert_eq!(lengths, [(0x45, DETACHED_MIN + 4), (0x41, 7), (0x45, DETACHED_MIN + 9), (0x41, 7)]);
    assert_eq!(&frames[0].1[..6], b"head\x07\x07");
}

#[test]
fn finds_the_file_of_a_frame_that_arrives_in_pieces() {
    let (socket, mut reader) = reader();
    let bytes = detached(DETACHED_MIN);
    send(&socket, &bytes[..1], &[payload_file(DETACHED_MIN).as_fd()]);
    for byte in &bytes[1..] {
        assert!(read_all(&mut reader).0.is_empty());
        send(&socket, &[*byte], &[]);
    }
    assert_eq!(read_all(&mut reader).0.len(), 1);
}

#[test]
fn refuses_a_detached_frame_without_a_file() {
    let (socket, mut reader) = reader();
    send(&socket, &detached(DETACHED_MIN), &[]);
    assert!(matches!(read_all(&mut reader).1, Err(ChannelError::MissingFile)));
}

#[test]
fn refuses_a_file_that_is_not_what_was_announced() {
    let unsealed = sealed_file::create("test").unwrap();
    unsealed.set_len(100).unwrap();
    let sealed = payload_file(DETACHED_MIN);
    let status = File::open("/proc/self/status").unwrap();

    for (file, announced) in [
        (unsealed.as_fd(), 100),
        (sealed.as_fd(), DETACHED_MIN - 1),
        (sealed.as_fd(), LIMIT - 4),
        (status.as_fd(), 0),
    ] {
        let (socket, mut reader) = reader();
        send(&socket, &detached(announced), &[file]);
        assert!(matches!(read_all(&mut reader).1, Err(ChannelError::File(_))), "{announced}");
        assert!(reader.detached.capacity() <= 4);
    }
}

#[test]
fn refuses_a_length_over_the_limit_before_it_looks_for_a_file() {
    for announced in [LIMIT - 3, usize::MAX] {
        let (socket, mut reader) = reader();
        send(&socket, &detached(announced), &[]);
        let end = read_all(&mut reader).1;
        assert!(matches!(end, Err(ChannelError::Frame(FrameFault::TooLong { .. }))), "{announced}");
    }
}

#[test]
fn closes_descriptors_that_nobody_needs() {
    let (socket, mut reader) = reader();
    let (pipe, files) = pipe_files(MAX_FILES + 1);
    for (sent, file) in files.iter().enumerate() {
        send(&socket, &frame(0x41, b"a"), &[file.as_fd()]);
        let (frames, end) = read_all(&mut reader);
        assert_eq!(frames.len(), 1);
        assert_eq!(end.is_err(), sent == MAX_FILES, "{sent}: {end:?}");
    }
    assert_eq!(reader.files.len(), MAX_FILES);

    drop((files, reader));
    assert_closed(pipe);
}

#[test]
fn reports_descriptors_that_the_kernel_has_dropped() {
    let (socket, mut reader) = reader();
    let (pipe, files) = pipe_files(200);
    send(&socket, &frame(0x41, b"a"), &borrowed(&files));

    let (frames, end) = read_all(&mut reader);
    assert_eq!(frames.len(), 1, "frames before are returned");
    assert!(matches!(end, Err(ChannelError::LostFiles)));

    drop((files, reader));
    assert_closed(pipe);
}

#[test]
fn takes_no_lost_descriptor_for_that_of_a_later_frame() {
    let (socket, mut reader) = reader();
    let (_pipe, files) = pipe_files(MAX_FILES_PER_READ + 1);
    send(&socket, &frame(0x41, b"a"), &borrowed(&files));
    send(&socket, &detached(DETACHED_MIN), &[payload_file(DETACHED_MIN).as_fd()]);
    assert!(read_all(&mut reader).1.is_err());
}

#[test]
fn releases_the_memory_of_a_large_payload() {
    let (socket, mut reader) = reader();
    let file = payload_file(LIMIT / 2);
    send(&socket, &detached(file.length()), &[file.as_fd()]);
    assert_eq!(reader.receive(false).unwrap(), Received::Bytes);
    assert!(reader.next_frame().unwrap().is_some());
    assert!(reader.next_frame().unwrap().is_none());
    assert_eq!(reader.detached.capacity(), 0);
}
