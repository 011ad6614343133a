//! Requests beyond the vectors: where faults are, what they say, what survives them.

use jackfield_protocol::{Code, EnvelopeError, Request, limits};

fn reject(payload: impl AsRef<[u8]>) -> (EnvelopeError, Option<String>) {
    let rejected = Request::parse(payload.as_ref()).expect_err("a request that should be refused");
    (rejected.error, rejected.id.map(|id| id.as_json().to_owned()))
}

#[test]
fn faults_are_placed() {
    use EnvelopeError::{Empty, Syntax, TooDeep, TrailingBytes, Truncated, Utf8};
    assert_eq!(reject("").0, Empty);
    assert_eq!(reject(" \n ").0, Empty);
    assert_eq!(reject(r#"{"method":NaN}"#).0, Syntax { at: 10 });
    assert_eq!(reject("{\n \"method\":\n  NaN}").0, Syntax { at: 15 }, "behind line breaks");
    assert_eq!(reject(r#"{"é":1,]"#).0, Syntax { at: 8 }, "in bytes, not characters");
    assert_eq!(reject(r#"{"method":"m""#).0, Truncated { at: 13 });
    assert_eq!(reject("{\"method\":\"m\"}\n\n x").0, TrailingBytes { at: 17 });
    assert_eq!(reject(b"{\"method\":\"\xff\"}").0, Utf8 { at: 11 });
    assert_eq!(reject(b"{\"method\":\"\xe2\x82").0, Utf8 { at: 11 }, "a character cut short");
    let deep = format!(r#"{{"method":"m","p":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    assert_eq!(reject(deep).0, TooDeep { at: 18 + 127 });
}

#[test]
fn sentences_name_the_member_and_repeat_nothing() {
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
        let sentence = rejected.to_string();
        assert!(!sentence.contains("s3cr3t"), "{sentence}");
        assert!(sentence.len() < 100 && !sentence.contains('\n'), "{sentence}");
    }
    assert_eq!(
        EnvelopeError::DuplicateMember("params").to_string(),
        "the member \"params\" appears more than once"
    );
    assert_eq!(EnvelopeError::MethodTooLong.to_string(), "the member \"method\" is longer than 256 bytes");
    assert_eq!(EnvelopeError::IdMissing.code(), Code::InvalidRequest);
}

#[test]
fn each_cause_has_its_own_name() {
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

/// Cut anywhere, a request is refused, and the id that is echoed is the one it had or none: never a part of it.
#[test]
fn a_cut_never_makes_another_id() {
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
                assert_eq!(id, whole, "cut at {at}");
                known += 1;
            }
            assert!(at >= end_of_id || known == 0, "an id before its end, cut at {at}");
        }
        assert!(known > 0, "the id is known once it is complete");
    }
}

#[test]
fn a_faulty_member_does_not_hide_the_id_behind_it() {
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
    assert!(Request::parse(wide.as_bytes()).is_ok(), "many brackets are not deep");
    assert_eq!(limits::DEPTH_MAX, 128);
}

/// A recursive parser would overflow the two megabytes of a test's stack.
#[test]
fn nesting_does_not_recurse() {
    let deep = format!(r#"{{"method":"m","params":{}{}}}"#, "[".repeat(2_000_000), "]".repeat(2_000_000));
    assert!(matches!(reject(deep).0, EnvelopeError::TooDeep { .. }));
    assert!(matches!(reject("[".repeat(2_000_000)).0, EnvelopeError::TooDeep { .. }));
    // Under the depth that is searched for an id.
    let deep = format!(r#"{{"method":"m","params":{}{},"id":1}}"#, "[".repeat(60_000), "]".repeat(60_000));
    assert_eq!(reject(deep).1.as_deref(), Some("1"));
}

#[test]
fn ids_are_shown_as_text() {
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
