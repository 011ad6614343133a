//! Requests beyond the vectors: offsets and messages of faults, and the id that survives them.

use jackfield_protocol::{Code, EnvelopeError, Request, limits};

fn reject(payload: impl AsRef<[u8]>) -> (EnvelopeError, Option<String>) {
    let rejected = Request::parse(payload.as_ref()).expect_err("the request must be rejected");
    (rejected.error, rejected.id.map(|id| id.as_json().to_owned()))
}

#[test]
fn reports_the_byte_offset_of_each_fault() {
    use EnvelopeError::{Empty, Syntax, TooDeep, TrailingBytes, Truncated, Utf8};
    assert_eq!(reject("").0, Empty);
    assert_eq!(reject(" \n ").0, Empty);
    assert_eq!(reject(r#"{"method":NaN}"#).0, Syntax { at: 10 });
    assert_eq!(reject("{\n \"method\":\n  NaN}").0, Syntax { at: 15 }, "after line breaks");
    assert_eq!(reject(r#"{"é":1,]"#).0, Syntax { at: 8 }, "in bytes, not characters");
    assert_eq!(reject(r#"{"method":"m""#).0, Truncated { at: 13 });
    assert_eq!(reject("{\"method\":\"m\"}\n\n x").0, TrailingBytes { at: 17 });
    assert_eq!(reject(b"{\"method\":\"\xff\"}").0, Utf8 { at: 11 });
    assert_eq!(reject(b"{\"method\":\"\xe2\x82").0, Utf8 { at: 11 }, "a truncated character");
    let deep = format!(r#"{{"method":"m","p":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    assert_eq!(reject(deep).0, TooDeep { at: 18 + 127 });
}

#[test]
fn names_the_member_and_repeats_no_data_of_the_peer() {
    let secret = "s3cr3t".repeat(100);
    for payload in [
        secret.clone(),
        format!(r#"{{"method":"{secret}"}}"#),
        format!(r#"{{"id":"{secret}","method":"m"}}"#),
        format!(r#"{{"method":{{"{secret}":1}}}}"#),
        format!(r#"{{"{secret}":1,"{secret}":1}}"#),
        format!(r#"{{"method":"m","{secret}":{secret}}}"#),
        format!(r#"{{"method":"m"}} {secret}"#),
        format!(r#"["{secret}"]"#),
    ] {
        let rejected = Request::parse(payload.as_bytes()).unwrap_err();
        let message = rejected.to_string();
        assert!(!message.contains("s3cr3t"), "{message}");
        assert!(message.len() < 100 && !message.contains('\n'), "{message}");
    }

    assert_eq!(
        EnvelopeError::DuplicateMember("params").to_string(),
        "the member \"params\" appears more than once"
    );
    assert_eq!(EnvelopeError::MethodTooLong.to_string(), "the member \"method\" is longer than 256 bytes");
    assert_eq!(EnvelopeError::IdMissing.code(), Code::InvalidRequest);
}

#[test]
fn distinguishes_the_causes_of_a_rejection() {
    use EnvelopeError::{
        ByteOrderMark, DuplicateMember, IdNotStringOrInteger, IdTooLong, MethodEmpty, MethodLoneSurrogate,
        MethodMissing, MethodNotAString, MethodTooLong, NotAnObject,
    };
    assert_eq!(reject("\u{feff}{}").0, ByteOrderMark);
    assert_eq!(reject("[]").0, NotAnObject);
    assert_eq!(reject(r#"{"params":1,"params":2}"#).0, DuplicateMember("params"));
    assert_eq!(reject(r#"{"id":null,"method":"m"}"#).0, IdNotStringOrInteger);
    assert_eq!(reject(format!(r#"{{"id":{},"method":"m"}}"#, "9".repeat(129))).0, IdTooLong);
    assert_eq!(reject("{}").0, MethodMissing);
    assert_eq!(reject(r#"{"method":["m"]}"#).0, MethodNotAString);
    assert_eq!(reject(r#"{"method":""}"#).0, MethodEmpty);
    assert_eq!(reject(r#"{"method":"\udead"}"#).0, MethodLoneSurrogate);
    assert_eq!(reject(format!(r#"{{"method":"{}"}}"#, "m".repeat(257))).0, MethodTooLong);
}

/// A request that is truncated anywhere is rejected. The echoed id is its complete id or none.
#[test]
fn never_echoes_a_part_of_the_id_of_a_truncated_request() {
    for payload in [
        r#"{"id":"abc","method":"m","params":[1,{"a":"b"}]}"#,
        r#"{"method":"m","id":12345,"x":1}"#,
        r#"{"method":"m","params":{"id":7},"id": -12 , "x":[]}"#,
    ] {
        let whole = Request::parse(payload.as_bytes()).unwrap().id.unwrap().as_json().to_owned();
        let end_of_id = payload.rfind(&whole).unwrap() + whole.len();
        let mut known = 0;

        for at in 0..payload.len() {
            let (error, id) = reject(&payload[..at]);
            assert_eq!(error.code(), Code::ParseError);
            if let Some(id) = id {
                assert_eq!(id, whole, "truncated at {at}");
                known += 1;
            }
            assert!(at >= end_of_id || known == 0, "an id before its end, truncated at {at}");
        }
        assert!(known > 0, "the id is known once it is complete");
    }
}

#[test]
fn finds_the_id_after_a_faulty_member() {
    for fault in [
        r#""method":1"#,
        r#""method":"""#,
        r#""method":"m","method":"m""#,
        r#""method":"m","params":1,"params":2"#,
        r#""x":1"#,
        r#""method":"\ud800""#,
    ] {
        let (error, id) = reject(format!("{{{fault},\"id\":7}}"));
        assert_eq!((error.code(), id.as_deref()), (Code::InvalidRequest, Some("7")), "{fault}");
    }
}

#[test]
fn depth_counts_objects_and_arrays_in_any_member() {
    let nested = |levels: usize| format!("{}1{}", r#"[{"a":"#.repeat(levels / 2), "}]".repeat(levels / 2));
    for member in ["params", "timestamp", "x"] {
        let payload = |levels| format!(r#"{{"method":"m","{member}":{}}}"#, nested(levels));
        assert!(Request::parse(payload(126).as_bytes()).is_ok(), "{member}: 127 levels");
        assert!(matches!(reject(payload(128)).0, EnvelopeError::TooDeep { .. }), "{member}: 129 levels");
    }
    let wide = format!(r#"{{"method":"m","params":[{}[]]}}"#, "[],{},".repeat(10_000));
    assert!(Request::parse(wide.as_bytes()).is_ok(), "adjacent brackets are not nested");
    assert_eq!(limits::DEPTH_MAX, 128);
}

/// A recursive parser would overflow the stack of a test thread, which is 2 MiB.
#[test]
fn nesting_does_not_recurse() {
    let deep = format!(r#"{{"method":"m","params":{}{}}}"#, "[".repeat(2_000_000), "]".repeat(2_000_000));
    assert!(matches!(reject(deep).0, EnvelopeError::TooDeep { .. }));
    assert!(matches!(reject("[".repeat(2_000_000)).0, EnvelopeError::TooDeep { .. }));
    // Within the depth that is searched for an id.
    let deep = format!(r#"{{"method":"m","params":{}{},"id":1}}"#, "[".repeat(60_000), "]".repeat(60_000));
    assert_eq!(reject(deep).1.as_deref(), Some("1"));
}

#[test]
fn shows_ids_as_text() {
    for (token, text) in [
        (r#""plain""#, "plain"),
        ("42", "42"),
        ("-7", "-7"),
        (r#""""#, ""),
        (r#""a\u00e9\"\n""#, "aé\"\n"),
        (r#""\ud800""#, r"\ud800"),
        (r#""\"""#, "\""),
    ] {
        let payload = format!(r#"{{"id":{token},"method":"m"}}"#);
        let id = Request::parse(payload.as_bytes()).unwrap().id.unwrap();
        assert_eq!((id.as_json(), &*id.text()), (token, text));
    }
}
