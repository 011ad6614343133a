//! The phases of the plugin, and the end of the worker.

use super::super::serve::read_spec;
use super::*;

#[test]
fn reports_the_end_of_each_phase() {
    let mut host = TestHost::start(1);
    host.send(&[HostMessage::Export]);
    let exported = host.next();
    assert!(exported.starts_with("phase: failed -32603 "), "{exported}");
    host.send(&[HostMessage::Import { schema: 1, state: b"1" }]);
    assert!(host.next().starts_with("phase: "));
    host.stop();
}

#[test]
fn stops_after_the_last_call_has_ended() {
    let mut host = TestHost::start(1);
    host.call(1, WAITS, "null");
    host.wait_for_start();
    host.call(2, BLOCKING, "1");
    host.send(&[HostMessage::Stop]);
    // The queue is discarded, and the running call is awaited.
    assert_eq!(host.next(), "2: cancelled");
    host.resume.send(()).unwrap();
    assert_eq!(host.next(), "1: done false");
    assert_eq!(host.next(), "phase: done ");
    assert!(host.has_stopped.recv_timeout(LIMIT).is_err());
}

#[test]
fn ends_at_the_end_of_the_channel_whatever_runs() {
    let host = TestHost::start(1);
    host.call(1, WAITS, "null");
    host.call(2, NEVER, "null");
    host.wait_for_start();
    drop((host.reader, host.writer));
    assert!(matches!(host.worker.join().unwrap(), ChannelEnd::Closed));
    drop(host.resume);
}

#[test]
fn ends_at_a_message_that_it_does_not_expect() {
    let stop_twice: &[_] = &[HostMessage::Stop, HostMessage::Stop];
    let call = HostMessage::Call(call_message(1, BLOCKING, "1", Time::NEVER));
    let end = MessageEnd::Cancelled;
    for messages in [stop_twice, &[HostMessage::Start(b"{}")], &[call, call]] {
        let host = TestHost::start(1);
        host.send(messages);
        let end = host.worker.join().unwrap();
        assert!(matches!(end, ChannelEnd::OutOfTurn(_)), "{messages:?}: {end}");
    }

    let host = TestHost::start(1);
    host.send(&[HostMessage::Reply { nested: 1, end }]);
    assert!(matches!(host.worker.join().unwrap(), ChannelEnd::Message(_)));
}

#[test]
fn reads_the_specification_first() {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let mut reader = ChannelReader::new(Arc::new(far), 1 << 20);
    let writer = ChannelWriter::new(Arc::new(near), WhenFull::Wait);
    writer.send(|out| out.push_host(&HostMessage::Start(b"{")));
    assert!(matches!(read_spec(&mut reader), Err(ChannelEnd::Spec(_))));
    writer.send(|out| out.push_host(&HostMessage::Cancel { call: 1, ends_nested: true }));
    assert!(matches!(read_spec(&mut reader), Err(ChannelEnd::OutOfTurn(_))));
    drop(writer);
    assert!(matches!(read_spec(&mut reader), Err(ChannelEnd::Closed)));
}
