//! Tests of the decisions after the outcome of a try.

use std::path::Path;

use super::*;
use crate::call_context::CallContext;
use crate::options::{Mode, Options};
use crate::request_frame::Body;

fn call(idempotent: bool) -> Call {
    let pool = Pool::new(Options::new(Path::new("unused")), |_: &Arc<Connection>| ());
    let body = Body::Json(&());
    let frame = RequestFrame::new(Mode::Exclusive, "m", &body, &CallContext::default(), pool.options.timeout);
    Prepared::new(&pool, frame, None, idempotent).begin().unwrap()
}

fn settled(failure: AttemptError) -> Settled {
    Settled { outcome: Err(failure), timing: None, version: Version::V1_1 }
}

fn lost(sent: bool) -> Settled {
    settled(AttemptError::Lost { sent, errno: None })
}

fn rejected(code: Code, data: Option<&str>) -> Settled {
    let data = data.map(|json| serde_json::value::RawValue::from_string(json.to_owned()).unwrap());
    settled(AttemptError::Remote(RemoteError { code: code.as_i64(), message: "no".into(), data }))
}

#[test]
fn retries_an_unsent_request_without_counting_a_try() {
    let mut call = call(false);
    for _ in 0..10 {
        assert!(matches!(call.settle(lost(false)), NextStep::Retry(Duration::ZERO)));
    }
    assert_eq!((call.tries, call.may_have_run), (0, false));
}

#[test]
fn retries_a_request_that_may_have_run_only_if_it_is_idempotent() {
    let once = call(false).settle(lost(true));
    assert!(matches!(once, NextStep::Failed(Error::ConnectionLost { sent: true, .. })), "{once:?}");

    let mut call = call(true);
    for _ in 1..call.pool.options.max_tries {
        assert!(matches!(call.settle(lost(true)), NextStep::Retry(Duration::ZERO)));
    }
    assert!(matches!(call.settle(lost(true)), NextStep::Failed(_)));
}

#[test]
fn waits_as_long_as_the_host_asks_for() {
    let asked = r#"{"retry_after_ms":250}"#;
    let step = call(false).settle(rejected(Code::Overloaded, Some(asked)));
    assert!(matches!(step, NextStep::Retry(delay) if delay == Duration::from_millis(250)), "{step:?}");

    let step = call(false).settle(rejected(Code::Overloaded, Some(r#"{"retry_after_ms":60000}"#)));
    assert!(matches!(step, NextStep::Failed(Error::Remote(_))), "beyond the deadline: {step:?}");
}

#[test]
fn retries_after_an_error_reply_only_an_idempotent_call_with_a_delay_from_the_host() {
    let with_delay = || rejected(Code::DeadlineExceeded, Some(r#"{"retry_after_ms":1}"#));
    assert!(matches!(call(false).settle(with_delay()), NextStep::Failed(_)));
    assert!(matches!(call(true).settle(with_delay()), NextStep::Retry(_)));
    assert!(matches!(call(true).settle(rejected(Code::DeadlineExceeded, None)), NextStep::Failed(_)));
}

#[test]
fn reports_no_retryable_error_after_a_try_that_may_have_run() {
    let mut call = call(true);
    call.settle(lost(true));
    let error = call.fail(Error::PoolFull { connections: 1, waiting: 0 });
    assert!(!error.is_retryable());
    assert!(matches!(error, Error::ConnectionLost { sent: true, then: Some(_), .. }), "{error:?}");
}

#[test]
fn retries_after_a_shutdown_until_the_deadline_whatever_the_number_of_tries() {
    let mut call = call(false);
    for _ in 0..10 * call.pool.options.max_tries {
        let step = call.settle(rejected(Code::GoingAway, None));
        assert!(matches!(step, NextStep::Retry(delay) if !delay.is_zero()), "{step:?}");
    }
    assert_eq!((call.tries, call.may_have_run), (0, false));

    call.deadline = Instant::now();
    let step = call.settle(rejected(Code::GoingAway, None));
    assert!(matches!(step, NextStep::Failed(Error::GoingAway(_))), "{step:?}");
}

#[test]
fn returns_its_own_time_out_if_the_host_notices_the_deadline_first() {
    let exceeded = |ms: &str| rejected(Code::DeadlineExceeded, Some(&format!(r#"{{"timeout_ms":{ms}}}"#)));
    let own = |step: NextStep| match step {
        NextStep::Failed(Error::Timeout { phase: Phase::Reply, sent: true }) => true,
        NextStep::Failed(Error::Remote(_)) => false,
        other => panic!("{other:?}"),
    };

    assert!(own(call(false).settle(exceeded("5000"))), "what the request said");
    assert!(!own(call(false).settle(exceeded("4999"))), "a shorter limit of the host");
    assert!(!own(call(false).settle(rejected(Code::DeadlineExceeded, None))), "before the deadline");

    let mut late = call(false);
    late.deadline = Instant::now();
    assert!(own(late.settle(rejected(Code::DeadlineExceeded, None))), "after the deadline");
}

#[test]
fn neither_retries_a_cancelled_call_nor_reports_the_code_of_the_host() {
    let handle = CancelHandle::new();
    let cancellable = || Call { cancel: Some(handle.clone()), ..call(true) };
    let step = cancellable().settle(rejected(Code::Cancelled, None));
    assert!(matches!(step, NextStep::Failed(Error::Remote(_))), "nothing was cancelled: {step:?}");

    handle.cancel();
    let step = cancellable().settle(rejected(Code::Cancelled, None));
    assert!(matches!(step, NextStep::Failed(Error::Cancelled { sent: true })), "{step:?}");
    let step = cancellable().settle(lost(true));
    assert!(matches!(step, NextStep::Failed(Error::ConnectionLost { .. })), "{step:?}");
    assert!(matches!(cancellable().check_deadline(), Err(Error::Cancelled { sent: false })));
}
