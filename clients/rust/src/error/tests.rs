//! Tests of the texts of errors, and of what they say about a second try.

use super::*;

#[test]
fn names_the_socket_or_the_option_and_the_remedy() {
    let refused = |kind: io::ErrorKind, transient| Error::Connect {
        path: PathBuf::from("run/host.sock"),
        source: kind.into(),
        transient,
    };
    let full = Error::PoolFull { connections: 20, waiting: 3 };
    let late = Error::Timeout { phase: Phase::Write, sent: false };

    assert_eq!(
        refused(io::ErrorKind::ConnectionRefused, true).to_string(),
        "cannot connect to run/host.sock: connection refused (is the host running?)"
    );
    for (kind, transient, remedy) in [
        (io::ErrorKind::WouldBlock, true, "(the backlog is full: is the host overloaded?)"),
        (io::ErrorKind::PermissionDenied, false, "(check the path and its permissions)"),
    ] {
        let text = refused(kind, transient).to_string();
        assert!(text.ends_with(remedy), "{text}");
    }
    assert!(full.to_string().ends_with("(the limits are `max_connections` and `max_waiting`)"));
    assert_eq!(
        late.to_string(),
        "the deadline passed while the request was being written (`timeout` sets it)"
    );
}

#[test]
fn returns_the_reason_of_an_error_reply_if_the_host_sent_one() {
    let reason_in = |data: &str| {
        let data = Some(serde_json::from_str(data).unwrap());
        RemoteError { code: -32005, message: String::new(), data }.reason()
    };

    let reason = reason_in(r#"{"plugin":"device","reason":"probe-crashed","retry_after_ms":1000}"#);
    assert_eq!(reason.as_deref(), Some("probe-crashed"));
    for data in ["null", "1", r#"{"plugin":"device"}"#, r#"{"reason":1}"#] {
        assert_eq!(reason_in(data), None, "{data}");
    }
}

#[test]
fn reports_the_failure_of_the_later_try() {
    let later = Box::new(Error::Timeout { phase: Phase::Retry, sent: false });
    let lost = Error::ConnectionLost { sent: true, source: None, then: Some(later) };
    let text = "the connection ended before the reply arrived; a later try failed, too: the deadline passed \
                before the request could be sent again (`timeout` sets it)";
    assert_eq!(lost.to_string(), text);
}
