//! The states of the frame decoder: limits, discarding, skipping, and the end of the stream.

use jackfield_protocol::{Code, Decoder, FrameError, FrameLimit, Header, Kind, Step, Version};

fn header(length: u32) -> Header {
    Header { version: Version::V1_0, kind: Kind::Sync, length }
}

fn frame(length: u8) -> Vec<u8> {
    [&header(u32::from(length)).encode()[..], &vec![b'x'; usize::from(length)]].concat()
}

#[test]
fn encodes_header_fields_big_endian() {
    let header = Header { version: Version::V1_1, kind: Kind::AsyncRequest, length: 0x0102_0304 };
    assert_eq!(header.encode(), [1, 1, 4, 1, 2, 3, 4]);
    assert_eq!(Header::decode(&[1, 1, 4, 1, 2, 3, 4]), Ok(header));
}

#[test]
fn refuses_a_version_by_its_high_byte_only() {
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
fn reads_version_1_2_as_itself_only_after_a_grant() {
    let stream = [1, 2, 0x81, 0, 0, 0, 0];
    let version = |decoder: &mut Decoder| match decoder.step(&stream) {
        Step::Frame { header, .. } => header.version,
        step => panic!("{step:?}"),
    };
    let mut decoder = Decoder::new(FrameLimit::default());
    assert_eq!(version(&mut decoder), Version::V1_1);
    decoder.set_highest(Version::V1_2);
    assert_eq!(version(&mut decoder), Version::V1_2);
    decoder.set_highest(Version::HIGHEST);
    assert_eq!(version(&mut decoder), Version::V1_1, "the next hello has granted nothing");

    for wire in 0x0100..=0x01FF {
        let read = Version::from_wire_up_to(wire, Version::V1_2).unwrap();
        assert_eq!(read.wire(), wire.min(0x0102));
    }
}

#[test]
fn removes_the_bit_of_a_block_from_a_kind() {
    for byte in 0..=u8::MAX {
        let expected = (byte & 0x80 != 0).then(|| Kind::from_wire(byte & 0x7F));
        assert_eq!(Kind::from_wire(byte).without_block(), expected);
    }
}

#[test]
fn round_trips_every_kind_byte() {
    for byte in 0..=u8::MAX {
        let kind = Kind::from_wire(byte);
        assert_eq!(kind.wire(), byte);
        let is_known = matches!(byte, 1..=6 | 0x0A);
        assert_eq!(matches!(kind, Kind::Other(_)), !is_known);
    }
}

#[test]
fn accepts_payloads_up_to_and_including_the_limit() {
    let accepts = |limit: u32, length: u32| {
        Decoder::new(FrameLimit::new(limit)).step(&header(length).encode())
            == Step::Incomplete { needed: 7 + u64::from(length) }
    };
    assert!(accepts(10, 10) && !accepts(10, 11));
    assert!(accepts(u32::MAX, u32::MAX), "a header can announce up to 4 GiB - 1");
    assert_eq!(FrameLimit::default().bytes(), 16 * 1024 * 1024);

    let mut decoder = Decoder::new(FrameLimit::new(0));
    let heartbeat = Header { kind: Kind::Heartbeat, ..header(0) };
    assert_eq!(
        decoder.step(&heartbeat.encode()),
        Step::Frame { header: heartbeat, payload: b"", consumed: 7 },
        "a limit of 0 accepts heartbeats"
    );
}

#[test]
fn discards_payloads_up_to_four_times_the_limit() {
    for (length, fatal) in [(11, false), (40, false), (41, true), (u32::MAX, true)] {
        let mut decoder = Decoder::new(FrameLimit::new(10));
        let refusal = FrameError::TooLarge { kind: Kind::Sync, version: Version::V1_0, length, limit: 10 };
        assert_eq!(decoder.step(&header(length).encode()), Step::Refused { refusal, fatal, consumed: 7 });
        assert_eq!(refusal.is_fatal(), fatal);
        assert_eq!((decoder.is_discarding(), decoder.is_finished()), (!fatal, fatal));
    }
}

#[test]
fn decodes_the_frame_after_a_discarded_payload() {
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
fn discards_everything_after_an_unknown_framing() {
    let mut decoder = Decoder::new(FrameLimit::default());
    let refusal = FrameError::UnsupportedVersion { version: 0x0200 };
    assert_eq!(decoder.step(&[2, 0, 1, 0, 0, 0, 0]), Step::Refused { refusal, fatal: true, consumed: 7 });
    assert_eq!(decoder.step(&frame(2)), Step::Discard { consumed: 9 }, "even a valid frame is discarded");
    assert_eq!(decoder.step(&[]), Step::Incomplete { needed: 1 });
    assert!(decoder.is_finished());
}

#[test]
fn skips_a_frame_on_request() {
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
fn applies_a_new_limit_from_the_next_header_on() {
    let mut decoder = Decoder::new(FrameLimit::new(1));
    assert!(matches!(decoder.step(&frame(2)), Step::Refused { fatal: false, .. }));
    decoder.set_limit(FrameLimit::new(2));
    assert_eq!(
        decoder.step(&frame(2)[7..]),
        Step::Discard { consumed: 2 },
        "the refused payload stays refused"
    );
    assert!(matches!(decoder.step(&frame(2)), Step::Frame { consumed: 9, .. }));
    assert_eq!(decoder.limit(), FrameLimit::new(2));
}

#[test]
fn reports_the_length_the_limit_and_the_versions() {
    let refusal = FrameError::TooLarge { kind: Kind::Sync, version: Version::V1_0, length: 11, limit: 10 };
    assert_eq!(refusal.to_string(), "a payload of 11 bytes is over the limit of 10 bytes");
    assert_eq!(refusal.code(), Code::FrameTooLarge);
    let refusal = FrameError::UnsupportedVersion { version: 0x4745 };
    assert_eq!(
        refusal.to_string(),
        "version 0x4745 is not supported; supported are 1.0 (0x0100) and 1.1 (0x0101)"
    );
    for version in Version::ALL {
        assert!(refusal.to_string().contains(&format!("{version} (0x{:04x})", version.wire())), "{version}");
    }
    assert_eq!(refusal.code(), Code::UnsupportedVersion);
}
