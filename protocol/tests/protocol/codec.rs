//! The decoder's states one by one: limits, discarding, skipping, the end.

use jackfield_protocol::{Code, Decoder, FrameLimit, Header, Kind, Refusal, Step, Version};

fn header(length: u32) -> Header {
    Header { version: Version::V1_0, kind: Kind::Sync, length }
}

fn frame(length: u8) -> Vec<u8> {
    [&header(u32::from(length)).encode()[..], &vec![b'x'; usize::from(length)]].concat()
}

#[test]
fn header_fields_are_big_endian() {
    let header = Header { version: Version::V1_1, kind: Kind::AsyncRequest, length: 0x0102_0304 };
    assert_eq!(header.encode(), [1, 1, 4, 1, 2, 3, 4]);
    assert_eq!(Header::decode(&[1, 1, 4, 1, 2, 3, 4]), Ok(header));
}

#[test]
fn only_the_high_byte_of_a_version_is_refused() {
    for wire in 0..=u16::MAX {
        match Version::from_wire(wire) {
            Ok(Version::V1_0) => assert_eq!(wire, 0x0100),
            Ok(version) => {
                assert_eq!((version, wire >> 8), (Version::HIGHEST, 1));
                assert_ne!(wire, 0x0100);
            }
            Err(refused) => {
                assert_ne!(wire >> 8, 1);
                assert_eq!(refused.version, wire);
            }
        }
    }
}

#[test]
fn every_byte_is_a_kind_and_stays_it() {
    for byte in 0..=u8::MAX {
        let kind = Kind::from_wire(byte);
        assert_eq!(kind.wire(), byte);
        assert_eq!(matches!(kind, Kind::Other(_)), !(1..=5).contains(&byte));
    }
}

#[test]
fn limits_are_inclusive() {
    let step = |limit: u32, length: u32| {
        Decoder::new(FrameLimit::new(limit)).step(&header(length).encode())
            == Step::Incomplete { needed: 7 + u64::from(length) }
    };
    assert!(step(10, 10) && !step(10, 11));
    assert!(step(u32::MAX, u32::MAX), "the protocol's own limit is 4 GiB - 1");
    assert_eq!(FrameLimit::default().bytes(), 16 * 1024 * 1024);
    let mut decoder = Decoder::new(FrameLimit::new(0));
    let heartbeat = Header { kind: Kind::Heartbeat, ..header(0) };
    assert_eq!(
        decoder.step(&heartbeat.encode()),
        Step::Frame { header: heartbeat, payload: b"", consumed: 7 },
        "a limit of 0 lets heartbeats through"
    );
}

#[test]
fn up_to_four_times_the_limit_is_read_away() {
    for (length, fatal) in [(11, false), (40, false), (41, true), (u32::MAX, true)] {
        let mut decoder = Decoder::new(FrameLimit::new(10));
        let refusal = Refusal::TooLarge { kind: Kind::Sync, version: Version::V1_0, length, limit: 10 };
        assert_eq!(decoder.step(&header(length).encode()), Step::Refused { refusal, fatal, consumed: 7 });
        assert_eq!(refusal.is_fatal(), fatal);
        assert_eq!((decoder.is_discarding(), decoder.is_finished()), (!fatal, fatal));
    }
}

#[test]
fn a_discarded_payload_ends_where_the_next_frame_begins() {
    let mut decoder = Decoder::new(FrameLimit::new(10));
    let stream = [frame(12), frame(3)].concat();
    assert!(matches!(decoder.step(&stream), Step::Refused { fatal: false, consumed: 7, .. }));
    assert_eq!(decoder.step(&[]), Step::Incomplete { needed: 1 });
    assert_eq!(decoder.step(&stream[7..12]), Step::Discard { consumed: 5 });
    assert!(decoder.is_discarding());
    assert_eq!(decoder.step(&stream[12..]), Step::Discard { consumed: 7 });
    assert!(!decoder.is_discarding());
    assert_eq!(decoder.step(&stream[19..]), Step::Frame { header: header(3), payload: b"xxx", consumed: 10 });
}

#[test]
fn nothing_follows_an_unknown_framing() {
    let mut decoder = Decoder::new(FrameLimit::default());
    let refusal = Refusal::UnsupportedVersion { version: 0x0200 };
    assert_eq!(decoder.step(&[2, 0, 1, 0, 0, 0, 0]), Step::Refused { refusal, fatal: true, consumed: 7 });
    assert_eq!(decoder.step(&frame(2)), Step::Discard { consumed: 9 }, "a good frame comes too late");
    assert_eq!(decoder.step(&[]), Step::Incomplete { needed: 1 });
    assert!(decoder.is_finished());
}

#[test]
fn a_frame_without_memory_is_skipped() {
    let mut decoder = Decoder::new(FrameLimit::default());
    let stream = [frame(5), frame(1)].concat();
    assert_eq!(decoder.step(&stream[..9]), Step::Incomplete { needed: 12 });
    decoder.skip_frame(header(5));
    assert!(decoder.is_discarding());
    assert_eq!(decoder.step(&stream[7..9]), Step::Discard { consumed: 2 });
    assert_eq!(decoder.step(&stream[9..]), Step::Discard { consumed: 3 });
    assert_eq!(decoder.step(&stream[12..]), Step::Frame { header: header(1), payload: b"x", consumed: 8 });
    decoder.skip_frame(header(0));
    assert!(!decoder.is_discarding(), "an empty payload needs no skipping");
}

#[test]
fn a_new_limit_holds_from_the_next_header_on() {
    let mut decoder = Decoder::new(FrameLimit::new(1));
    assert!(matches!(decoder.step(&frame(2)), Step::Refused { fatal: false, .. }));
    decoder.set_limit(FrameLimit::new(2));
    assert_eq!(decoder.step(&frame(2)[7..]), Step::Discard { consumed: 2 }, "what was refused stays refused");
    assert!(matches!(decoder.step(&frame(2)), Step::Frame { consumed: 9, .. }));
    assert_eq!(decoder.limit(), FrameLimit::new(2));
}

#[test]
fn refusals_say_what_and_how_much() {
    let refusal = Refusal::TooLarge { kind: Kind::Sync, version: Version::V1_0, length: 11, limit: 10 };
    assert_eq!(refusal.to_string(), "a payload of 11 bytes is over the limit of 10 bytes");
    assert_eq!(refusal.code(), Code::FrameTooLarge);
    let refusal = Refusal::UnsupportedVersion { version: 0x4745 };
    assert_eq!(
        refusal.to_string(),
        "version 0x4745 is not supported; supported are 1.0 (0x0100) and 1.1 (0x0101)"
    );
    for version in Version::ALL {
        assert!(refusal.to_string().contains(&format!("{version} (0x{:04x})", version.wire())), "{version}");
    }
    assert_eq!(refusal.code(), Code::UnsupportedVersion);
}
