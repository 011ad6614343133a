//! Tests of the sending end, read with the receiving one.

use std::collections::HashMap;
use std::thread;

use rustix::net::sockopt::set_socket_send_buffer_size;

use super::super::channel_reader::{ChannelReader, Received};
use super::super::channel_test_support::{LIMIT, channel, read_all, sockets};
use super::super::message::MessageEnd;
use super::super::payload_file::DETACHED_MIN;
use super::*;

fn end(call: u64, result: &[u8]) -> WorkerMessage<'_> {
    WorkerMessage::End { call, end: MessageEnd::Done(result) }
}

/// Returns the call and the length of the result of each `End`, after it has checked that all bytes
/// of the result are the lowest byte of the call.
fn ends(frames: &[(u8, Vec<u8>)]) -> Vec<(u64, usize)> {
    let read = |(kind, payload): &(u8, Vec<u8>)| match WorkerMessage::decode(*kind, payload).unwrap() {
        WorkerMessage::End { call, end: MessageEnd::Done(result) } => {
            assert!(result.iter().all(|byte| *byte == call.to_le_bytes()[0]), "call {call}");
            (call, result.len())
        }
        other => panic!("{other:?}"),
    };
    frames.iter().map(read).collect()
}

fn allocated(writer: &ChannelWriter) -> usize {
    lock(&writer.queue).allocated()
}

/// Reads on a thread until the other end is closed.
fn read_on_thread(mut reader: ChannelReader) -> thread::JoinHandle<Vec<(u8, Vec<u8>)>> {
    thread::spawn(move || {
        let mut frames = Vec::new();
        loop {
            let received = reader.receive(true).unwrap();
            while let Some((kind, payload)) = reader.next_frame().unwrap() {
                frames.push((kind, payload.to_vec()));
            }
            if received == Received::Closed {
                return frames;
            }
        }
    })
}

#[test]
fn sends_small_and_large_messages_in_order() {
    let (writer, mut reader) = channel(WhenFull::Return);
    let sizes = [1, DETACHED_MIN, 5, 1 << 20, DETACHED_MIN - 1, 0];
    for (call, size) in (0..).zip(sizes) {
        writer.send_worker(&end(call, &vec![call.to_le_bytes()[0]; size]));
    }

    let (frames, _) = read_all(&mut reader);
    assert_eq!(ends(&frames), (0..).zip(sizes).collect::<Vec<_>>());
}

#[test]
fn sends_what_was_queued_together() {
    let (writer, mut reader) = channel(WhenFull::Return);
    let tail = PayloadFile::of(&[9; DETACHED_MIN]);
    writer.queue(|out| {
        out.push_host(&HostMessage::Cancel { call: 1, ends_nested: true });
        out.push_host_with(&HostMessage::Import { schema: 2, state: &[9; DETACHED_MIN] }, tail);
        out.push_host_with(&HostMessage::Cancel { call: 3, ends_nested: true }, None);
    });
    assert_eq!(read_all(&mut reader).0.len(), 0, "nothing is sent before the flush");
    assert!(writer.queued() > DETACHED_MIN, "bytes in files count");
    assert_eq!(writer.flush(), Flushed::All);

    let (frames, _) = read_all(&mut reader);
    let messages: Vec<_> =
        frames.iter().map(|(kind, body)| HostMessage::decode(*kind, body).unwrap()).collect();
    assert_eq!(messages[0], HostMessage::Cancel { call: 1, ends_nested: true });
    assert!(messages[1] == HostMessage::Import { schema: 2, state: &[9; DETACHED_MIN] });
    assert_eq!(messages[2..], [HostMessage::Cancel { call: 3, ends_nested: true }]);
}

#[test]
fn carries_a_large_payload_itself_if_it_has_no_file() {
    let (writer, reader) = channel(WhenFull::Wait);
    let reading = read_on_thread(reader);
    writer.send(|out| out.push_worker(&end(4, &vec![4; 3 << 20])));
    drop(writer);
    assert_eq!(ends(&reading.join().unwrap()), [(4, 3 << 20)]);
}

#[test]
fn keeps_what_a_full_socket_does_not_take() {
    let (writer, mut reader) = channel(WhenFull::Return);
    let (mut sent, mut read) = (0, Vec::new());
    for _ in 0..20 {
        // Until the socket is full, and some more.
        let mut blocked = 0;
        while blocked < 5 {
            let size = usize::try_from(sent * 37 % 9000).unwrap();
            let flushed = writer.send(|out| out.push_worker(&end(sent, &vec![sent.to_le_bytes()[0]; size])));
            blocked += u32::from(flushed == Flushed::Blocked);
            sent += 1;
        }
        read.extend(ends(&read_all(&mut reader).0));
    }
    while writer.flush() == Flushed::Blocked {
        read.extend(ends(&read_all(&mut reader).0));
    }
    read.extend(ends(&read_all(&mut reader).0));

    assert!(read.iter().map(|(call, _)| *call).eq(0..sent));
}

#[test]
fn waits_while_the_socket_is_full() {
    let (writer, reader) = channel(WhenFull::Wait);
    let sending = thread::spawn(move || {
        for call in 0..500 {
            let flushed = writer.send_worker(&end(call, &vec![call.to_le_bytes()[0]; 10_000]));
            assert_eq!(flushed, Flushed::All);
        }
    });
    let frames = read_on_thread(reader).join().unwrap();
    sending.join().unwrap();
    assert!(ends(&frames).iter().map(|(call, _)| *call).eq(0..500));
}

#[test]
fn continues_in_the_middle_of_a_frame() {
    let (near, far) = sockets();
    // The kernel takes the smallest buffer that it permits.
    set_socket_send_buffer_size(&near, 1).unwrap();
    let writer = ChannelWriter::new(near, WhenFull::Return);
    let mut reader = ChannelReader::new(far, LIMIT);

    writer
        .queue(|out| (0..20).for_each(|call| out.push_worker(&end(call, &[call.to_le_bytes()[0]; 30_000]))));
    let mut blocked = 0;
    let mut read = Vec::new();
    while writer.flush() == Flushed::Blocked {
        blocked += 1;
        read.extend(ends(&read_all(&mut reader).0));
    }
    read.extend(ends(&read_all(&mut reader).0));

    assert!(blocked > 20, "{blocked}");
    assert!(read.into_iter().eq((0..20).map(|call| (call, 30_000))));
}

#[test]
fn keeps_messages_of_many_threads_whole_and_in_order() {
    const THREADS: u64 = 8;
    const MESSAGES: u64 = 400;
    let (writer, reader) = channel(WhenFull::Wait);
    let reading = read_on_thread(reader);

    thread::scope(|scope| {
        for thread in 0..THREADS {
            let writer = &writer;
            scope.spawn(move || {
                for message in 0..MESSAGES {
                    let is_large = message % 50 == thread;
                    let small = usize::from(message.to_le_bytes()[0]) * 11;
                    let size = if is_large { DETACHED_MIN } else { small };
                    let call = thread * MESSAGES + message;
                    writer.send_worker(&end(call, &vec![call.to_le_bytes()[0]; size]));
                }
            });
        }
    });
    drop(writer);

    let mut next = HashMap::new();
    for (call, _) in ends(&reading.join().unwrap()) {
        let message = next.entry(call / MESSAGES).or_insert(0);
        assert_eq!(call % MESSAGES, *message);
        *message += 1;
    }
    assert!(next.len() == 8 && next.values().all(|count| *count == MESSAGES));
}

#[test]
fn returns_the_memory_of_what_was_sent() {
    let (writer, mut reader) = channel(WhenFull::Return);
    for call in 0..1500 {
        writer.queue(|out| out.push_worker(&end(call, &[call.to_le_bytes()[0]; 10_000])));
    }
    assert!(allocated(&writer) > 10 << 20 && writer.queued() > 15_000_000);

    while writer.flush() == Flushed::Blocked {
        let _ = read_all(&mut reader);
    }

    assert_eq!(writer.queued(), 0);
    assert!(allocated(&writer) <= 200 << 10, "{} bytes", allocated(&writer));
}

#[test]
fn discards_everything_once_the_other_end_is_closed() {
    let (writer, reader) = channel(WhenFull::Return);
    writer.queue(|out| out.push_worker(&end(1, &[1; 100_000])));
    drop(reader);

    assert_eq!(writer.flush(), Flushed::Closed);
    assert_eq!(writer.send_worker(&end(2, &[2; 100_000])), Flushed::Closed);
    assert_eq!(allocated(&writer), 0);
}

#[test]
fn stops_waiting_when_the_other_end_is_closed() {
    let (writer, reader) = channel(WhenFull::Wait);
    let sending =
        thread::spawn(move || while writer.send_worker(&end(1, &[1; 50_000])) != Flushed::Closed {});
    drop(reader);
    sending.join().unwrap();
}
