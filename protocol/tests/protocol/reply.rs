//! Error codes, and replies as a client parses them.

use jackfield_protocol::{BlockError, Code, EnvelopeError, InvalidReply, Outcome, Reply, Retry, is_reserved};

#[test]
fn gives_each_code_one_number_and_one_name() {
    for code in Code::ALL {
        assert_eq!(Code::from_i64(code.as_i64()), Some(*code));
        let camel = format!("{code:?}").to_uppercase();
        assert_eq!(code.name().replace('_', ""), camel);
        assert_eq!(i64::from(*code), code.as_i64());
    }

    let mut numbers: Vec<i64> = Code::ALL.iter().map(|code| code.as_i64()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 16);
    assert_eq!(Code::from_i64(0), None);
}

#[test]
fn marks_only_requests_that_never_started_as_safe_to_retry() {
    let of = |retry| Code::ALL.iter().filter(|code| code.retry() == retry).copied().collect::<Vec<_>>();
    assert_eq!(of(Retry::Safe), [Code::Overloaded, Code::PluginUnavailable, Code::GoingAway]);
    assert_eq!(
        of(Retry::IfIdempotent),
        [Code::InternalError, Code::DeadlineExceeded, Code::PluginPanicked, Code::PluginCrashed]
    );
}

#[test]
fn reserves_the_range_of_json_rpc() {
    for (number, reserved) in
        [(-32_769, false), (-32_768, true), (-32_000, true), (-31_999, false), (i64::MIN, false)]
    {
        assert_eq!(is_reserved(number), reserved, "{number}");
    }
    for code in Code::ALL {
        assert_eq!(is_reserved(code.as_i64()), *code != Code::Cancelled, "{code}");
    }
}

#[test]
fn maps_known_error_codes() {
    let payload = br#"{"error":{"code":-32002,"message":"later"}}"#;
    let Outcome::Error(error) = Reply::parse(payload).unwrap().outcome else { panic!("a result") };
    assert_eq!(error.known_code(), Some(Code::Overloaded));
    let payload = br#"{"error":{"code":9223372036854775807,"message":"own"}}"#;
    let Outcome::Error(error) = Reply::parse(payload).unwrap().outcome else { panic!("a result") };
    assert_eq!((error.code, error.known_code()), (i64::MAX, None));
}

#[test]
fn distinguishes_the_faults_of_a_reply() {
    for (payload, fault) in [
        (r#"{"id":1}"#, InvalidReply::OutcomeMissing),
        (r#"{"id":1,"error":null}"#, InvalidReply::OutcomeMissing),
        (r#"{"result":1,"error":{"code":1,"message":""}}"#, InvalidReply::OutcomeAmbiguous),
        (r#"{"error":[]}"#, InvalidReply::ErrorNotAnObject),
        (r#"{"error":{"message":""}}"#, InvalidReply::CodeNotAnInteger),
        (r#"{"error":{"code":1,"message":null}}"#, InvalidReply::MessageNotAString),
        (r#"{"error":{"code":1,"message":"\ud800"}}"#, InvalidReply::MessageNotAString),
        (r#"{"result":1,"result":1}"#, EnvelopeError::DuplicateMember("result").into()),
        (r#"{"id":1.5,"result":1}"#, EnvelopeError::IdNotStringOrInteger.into()),
        ("", EnvelopeError::Empty.into()),
        ("[]", EnvelopeError::NotAnObject.into()),
    ] {
        assert_eq!(Reply::parse(payload.as_bytes()).unwrap_err(), fault, "{payload}");
    }
}

#[test]
fn distinguishes_the_faults_of_a_reply_with_a_block() {
    for (payload, fault) in [
        (&b""[..], InvalidReply::Block(BlockError::Truncated)),
        (b"\0\x02\xFE\0{\"result\":1}", InvalidReply::Block(BlockError::Unsupported(0xFE))),
        (b"\0\x03\x85\x01\x03\0\0\0\x03{}", InvalidReply::EnvelopeTruncated),
        (b"\0\x03\x85\x01\x03\0\0\0\x0C{\"result\":1}", InvalidReply::OutcomeAmbiguous),
        (b"\0\x03\x85\x01\x03\0\0\0\x02[]", EnvelopeError::NotAnObject.into()),
        (b"\0\0{}", InvalidReply::OutcomeMissing),
    ] {
        assert_eq!(Reply::parse_extended(payload).unwrap_err(), fault, "{payload:?}");
    }
}
