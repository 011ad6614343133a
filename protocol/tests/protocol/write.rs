//! The writers in both framings: their output after success and after failure.

use jackfield_protocol::{
    FrameLimit, Framing, Kind, Outcome, Reply, ReplyForm, ReplyTooLarge, Request, RequestMembers,
    RequestParams, Version, begin_result, write_error, write_request,
};

/// Bytes that are in the output before a reply.
const BEFORE: &[u8] = b"{\n}";

#[test]
fn writes_each_reply_on_one_line() {
    let mut out = BEFORE.to_vec();
    let head = begin_result(&mut out, ReplyForm::plain(Framing::Line, Version::V1_0, Kind::Sync), Some("7"));
    out.extend_from_slice(b"{\n  \"a\": \"\\n\"\n}");
    assert_eq!(head.body_len(&out), 15);
    head.finish(&mut out).unwrap();
    write_error(
        &mut out,
        ReplyForm::plain(Framing::Line, Version::V1_0, Kind::Sync),
        None,
        5,
        "a\nb",
        Some("[\n]"),
    );
    let text = String::from_utf8(out).unwrap();
    let expected = concat!(
        "{\n}",
        r#"{"id":7,"result":{   "a": "\n" }}"#,
        "\n",
        r#"{"error":{"code":5,"message":"a\nb","data":[ ]}}"#,
        "\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn writes_an_empty_result_as_null() {
    for framing in [Framing::Binary, Framing::Line] {
        let mut out = Vec::new();
        let head = begin_result(&mut out, ReplyForm::plain(framing, Version::V1_0, Kind::Sync), None);
        assert_eq!(head.body_len(&out), 0);
        head.finish(&mut out).unwrap();
        assert!(out.ends_with(b"{\"result\":null}") || out.ends_with(b"{\"result\":null}\n"));
    }
}

#[test]
fn leaves_nothing_of_an_abandoned_reply() {
    for framing in [Framing::Binary, Framing::Line] {
        let mut out = BEFORE.to_vec();
        let head = begin_result(
            &mut out,
            ReplyForm::plain(framing, Version::V1_1, Kind::AsyncResponse),
            Some("\"a\""),
        );
        out.extend_from_slice(&[b'x'; 1000]);
        head.abandon(&mut out);
        assert_eq!(out, BEFORE);
    }
}

#[test]
fn leaves_nothing_of_a_reply_over_the_limit() {
    for framing in [Framing::Binary, Framing::Line] {
        let reply = |limit: u32| {
            let mut out = BEFORE.to_vec();
            let head = begin_result(&mut out, ReplyForm::plain(framing, Version::V1_0, Kind::Sync), None);
            out.extend_from_slice(b"12345");
            (head.finish_within(&mut out, FrameLimit::new(limit)), out)
        };
        let (refused, out) = reply(15);
        assert_eq!(refused, Err(ReplyTooLarge { length: 16, limit: 15 }));
        assert_eq!(out, BEFORE);
        assert_eq!(reply(16).0, Ok(()), "the limit is inclusive, and the line ending does not count");
    }
}

#[test]
fn preserves_every_character_of_a_message_and_a_method() {
    let text: String = (0..0x300).chain([0x2028, 0xFFFF, 0x1_F600]).filter_map(char::from_u32).collect();
    let mut out = Vec::new();
    write_error(
        &mut out,
        ReplyForm::plain(Framing::Line, Version::V1_0, Kind::Error),
        None,
        i64::MIN,
        &text,
        None,
    );
    let Outcome::Error(error) = Reply::parse(&out).unwrap().outcome else { panic!("a result") };
    assert_eq!((error.code, &*error.message), (i64::MIN, &*text));

    for character in text.chars() {
        let method = format!("a{character}b");
        let mut out = Vec::new();
        write_request(
            &mut out,
            Version::V1_0,
            Kind::Sync,
            None,
            &method,
            RequestMembers::default(),
            RequestParams::None,
        )
        .unwrap();
        assert_eq!(Request::parse(&out[7..]).unwrap().method, method);
    }
}

#[test]
fn leaves_nothing_of_bytes_over_the_limit() {
    let form = ReplyForm {
        framing: Framing::Binary,
        version: Version::V1_2,
        kind: Kind::AsyncResponse,
        has_timing: true,
    };
    let reply = |limit: u32| {
        let mut out = BEFORE.to_vec();
        let head = begin_result(&mut out, form, Some("7"));
        out.extend_from_slice(b"12345");
        (head.finish_bytes_within(&mut out, Some("7"), FrameLimit::new(limit)), out)
    };
    // Block, envelope with its length, bytes.
    let length = (2 + 14 + 3) + (4 + 8) + 5;
    assert_eq!(reply(length).0, Ok(()));
    let (refused, out) = reply(length - 1);
    assert_eq!(refused, Err(ReplyTooLarge { length: length as usize, limit: length - 1 }));
    assert_eq!(out, BEFORE);
}
