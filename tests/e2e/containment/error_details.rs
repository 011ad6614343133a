//! Errors that clients receive: they never reveal paths or internals of the host.

use serde_json::{Value, json};

use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, DEADLINE_EXCEEDED, FRAME_TOO_LARGE, INVALID_PARAMS, INVALID_REQUEST,
    METHOD_NOT_FOUND, OVERLOADED, PARSE_ERROR, PERMISSION_DENIED, PLUGIN_UNAVAILABLE, SYNC,
    UNSUPPORTED_VERSION, V1_0, V1_1,
};
use crate::support::user::OTHER_USER;
use crate::support::{HostProcess, Peer};

/// Asserts that an error contains no path, address, source file or system error of the host.
#[track_caller]
fn assert_reveals_nothing(host: &HostProcess, error: &Value) {
    let text = error.to_string();
    let directory = host.directory().display().to_string();

    for detail in
        ["/", ".so", ".rs", "0x7", "0x5", "backtrace", "panicked at", "thread '", "errno", "os error", "uid"]
    {
        assert!(!text.contains(detail), "{detail:?} in {text}");
    }
    assert!(!text.contains(&directory), "{text}");
}

#[test]
fn reveals_no_internals_in_any_error() {
    let config = format!(
        "[limits]\nframe = \"64KiB\"\nconnections = 3\n\
         [[route]]\nmethod = \"hello.*\"\nplugin = \"hello\"\nallow = {{ users = [{OTHER_USER}] }}\n\
         [[route]]\nmethod = \"broken.*\"\nplugin = \"start_faults\"\n\
         [[route]]\nmethod = \"sleep.async\"\nplugin = \"sleeps\"\ntimeout = \"20ms\"\n\
         [[route]]\nmethod = \"sleep.blocking_until\"\nplugin = \"sleeps\"\nmax_in_flight = 1\n"
    );
    let builder =
        HostProcess::builder().plugin("hello").plugin("start_faults").plugin("sleeps").plugin("device");
    let host = builder.config(&config).start();

    let mut peer = host.peer();
    let mut errors = Vec::new();
    // One call per kind of failure. The reason why start_faults was refused contains a path in the
    // log.
    let device = json!({ "deviceId": 7, "status": "online" });
    for (method, params, code) in [
        ("hello.greet", Value::Null, PERMISSION_DENIED),
        ("broken.one", Value::Null, PLUGIN_UNAVAILABLE),
        ("nobody.knows", Value::Null, METHOD_NOT_FOUND),
        ("device.status.update", device, INVALID_PARAMS),
        ("sleep.async", json!({ "ms": 500 }), DEADLINE_EXCEEDED),
    ] {
        errors.push(peer.call(method, &params).error(code));
    }

    let latch = host.latch("slow");
    peer.send_async("slow", "sleep.blocking_until", &latch.params());
    peer.send_async("one too many", "sleep.blocking_until", &latch.params());
    errors.push(peer.receive().error(OVERLOADED));
    latch.open();
    assert_eq!(peer.receive().kind, ASYNC_RESPONSE);

    for (kind, payload, code) in [
        (SYNC, "{", PARSE_ERROR),
        (SYNC, "[]", INVALID_REQUEST),
        (ASYNC_REQUEST, "{\"method\":\"system.ping\"}", INVALID_REQUEST),
        (ASYNC_RESPONSE, "", INVALID_REQUEST),
    ] {
        peer.send_frame(V1_1, kind, payload);
        errors.push(peer.receive().error(code));
    }

    peer.send_frame(V1_0, SYNC, vec![b' '; 100_000]);
    errors.push(peer.receive().error(FRAME_TOO_LARGE));

    let mut others: Vec<Peer> = (0..2).map(|_| host.peer()).collect();
    others.iter_mut().for_each(Peer::assert_usable);
    errors.push(host.peer().receive().error(OVERLOADED));

    peer.send_frame(0x0900, SYNC, "{}");
    errors.push(peer.receive().error(UNSUPPORTED_VERSION));

    assert_eq!(errors.len(), 13);
    for error in &errors {
        assert_reveals_nothing(&host, error);
    }
    assert!(host.log_contains("start-failed"), "the log contains the details");
}
