//! Codes, and replies as a client reads them.

use jackfield_protocol::{Code, EnvelopeError, InvalidReply, Outcome, Reply, Retry, is_reserved};

#[test]
fn codes_have_one_number_and_one_name_each() {
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
fn only_what_was_never_started_is_safe_to_retry() {
    let of = |retry| Code::ALL.iter().filter(|code| code.retry() == retry).copied().collect::<Vec<_>>();
    assert_eq!(of(Retry::Safe), [Code::Overloaded, Code::PluginUnavailable, Code::GoingAway]);
    assert_eq!(
        of(Retry::IfIdempotent),
        [Code::InternalError, Code::DeadlineExceeded, Code::PluginPanicked, Code::PluginCrashed]
    );
}

#[test]
fn the_reserved_range_is_json_rpcs() {
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
fn errors_know_their_code() {
    let payload = br#"{"error":{"code":-32002,"message":"later"}}"#;
    let Outcome::Error(error) = Reply::parse(payload).unwrap().outcome else { panic!("a result") };
    assert_eq!(error.known_code(), Some(Code::Overloaded));
    let payload = br#"{"error":{"code":9223372036854775807,"message":"own"}}"#;
    let Outcome::Error(error) = Reply::parse(payload).unwrap().outcome else { panic!("a result") };
    assert_eq!((error.code, error.known_code()), (i64::MAX, None));
}

#[test]
fn faults_are_told_apart() {
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
