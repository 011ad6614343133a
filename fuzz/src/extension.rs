//! Hellos, cancellations and extension blocks: whatever is read, a plain reading finds the same,
//! and written again, it is the same.

use jackfield_protocol::{
    BlockError, ContentType, ExtensionBlock, FrameLimit, Framing, Hello, Kind, Outcome, Reply, ReplyForm,
    Request, Version, begin_result, parse_cancel, split_bytes_body, write_cancel,
};
use serde_json::value::RawValue;

fn check_hello(payload: &[u8]) {
    let Some(hello) = Hello::parse(payload) else { return };
    assert!(payload.len() <= Hello::LEN_MAX && payload.starts_with(b"IPC2\x01"));
    assert_eq!(payload[8..16], hello.capabilities.bits().to_be_bytes());
    assert_eq!(payload[24..32], hello.nonce.to_be_bytes());
    assert!(hello.agent.is_none_or(|agent| agent.len() <= Hello::AGENT_MAX));

    let mut written = Vec::new();
    hello.write(&mut written, Version::V1_0);
    assert_eq!(Hello::parse(&written[7..]), Some(hello));
}

fn check_cancel(payload: &[u8]) {
    let Ok(id) = parse_cancel(payload) else { return };
    assert!(serde_json::from_slice::<&RawValue>(payload).is_ok());
    let mut written = Vec::new();
    write_cancel(&mut written, Version::V1_2, id.as_json());
    assert_eq!(parse_cancel(&written[7..]), Ok(id));
}

/// Returns the fields and the body of a plain loop over the bytes; `None` if something is
/// truncated.
fn fields(payload: &[u8]) -> Option<(Vec<(u8, &[u8])>, &[u8])> {
    let length = usize::from(u16::from_be_bytes([*payload.first()?, *payload.get(1)?]));
    let body = payload.get(2 + length..)?;
    let mut rest = &payload[2..2 + length];
    let mut fields = Vec::new();
    while let Some(tag) = rest.first() {
        let end = 2 + usize::from(*rest.get(1)?);
        fields.push((*tag, rest.get(2..end)?));
        rest = &rest[end..];
    }
    Some((fields, body))
}

fn check_block(payload: &[u8]) {
    let Some((fields, body)) = fields(payload) else {
        let error = ExtensionBlock::split(payload).expect_err("a truncated block is refused");
        assert!(!matches!(error, BlockError::Unsupported(_)), "{error}");
        return;
    };
    let with = |tag: u8| fields.iter().filter(move |(found, _)| *found == tag).map(|(_, value)| *value);

    match ExtensionBlock::split(payload) {
        Ok((block, rest)) => {
            assert_eq!(rest, body);
            assert!(fields.iter().all(|(tag, _)| *tag < 0x80 || *tag == 0x85));
            assert!(with(0x85).count() <= 1 && with(0x0E).count() <= 1);
            assert_eq!(block.content == ContentType::Bytes, with(0x85).next() == Some(&[3][..]));
            assert_eq!(block.timing.is_some(), with(0x0E).next().is_some());
        }
        Err(BlockError::Unsupported(0x85)) => assert!(with(0x85).any(|value| !matches!(value, [0 | 3]))),
        Err(BlockError::Unsupported(tag)) => assert!(tag >= 0x80 && with(tag).next().is_some()),
        Err(BlockError::Duplicate(tag)) => assert!(with(tag).count() > 1),
        Err(BlockError::Length(tag)) => {
            let length = if tag == 0x0E { 12 } else { 1 };
            assert!(with(tag).any(|value| value.len() != length));
        }
        Err(BlockError::Truncated) => panic!("a whole block is truncated"),
    }

    let id = ExtensionBlock::find_id(payload).map(|id| id.as_json());
    if let Ok(request) = Request::parse(split_bytes_body(body).map_or(body, |(envelope, _)| envelope)) {
        assert_eq!(request.id.map(|id| id.as_json()), id);
    }
}

fn check_reply(payload: &[u8]) {
    let Ok((read, timing)) = Reply::parse_extended(payload) else { return };
    let id = read.id.map(|id| id.as_json());
    let form = ReplyForm {
        framing: Framing::Binary,
        version: Version::V1_2,
        kind: Kind::Sync,
        has_timing: timing.is_some(),
    };
    let Outcome::Bytes(bytes) = read.outcome else { return };

    let mut written = Vec::new();
    let head = begin_result(&mut written, form, id);
    written.extend_from_slice(bytes);
    head.finish_bytes_within(&mut written, id, FrameLimit::MAX)
        .expect("the content of one frame fits one frame");
    if let Some(timing) = timing {
        timing.stamp(&mut written);
    }

    let (again, timing_again) = Reply::parse_extended(&written[7..]).expect("a written reply is a reply");
    assert_eq!((again.id.map(|id| id.as_json()), timing_again), (id, timing));
    assert!(matches!(again.outcome, Outcome::Bytes(again) if again == bytes));
}

/// Checks any payload as everything that version 1.2 adds.
pub fn extension(input: &[u8]) {
    check_hello(input);
    check_cancel(input);
    check_block(input);
    check_reply(input);
}
