//! The Rust client and the host after they have agreed on protocol 1.2.

use std::time::Duration;

use jackfield_client::{CancelHandle, Client, Error, Payload, Phase, Version, blocking};
use serde_json::{Value, json};

use crate::support::{CEILING, HostProcess, wait_until};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn dropping_a_call_cancels_it_in_the_host() {
    let host = HostProcess::with(&["reports_context"]);
    runtime().block_on(async {
        let client = Client::builder(host.socket()).timeout(CEILING).build();
        client.ping().await.unwrap();
        for (number, method) in [(1, "cancel.wait_async"), (2, "cancel.wait")] {
            let call = tokio::spawn(client.call::<_, Value>(method, &()));
            while client.call::<_, u32>("cancel.begun", &()).await.unwrap() < number {}
            call.abort();
            assert!(call.await.unwrap_err().is_cancelled());
            // Only its reply frees the id of a cancelled request.
            while client.stats().in_flight > 0 {
                tokio::task::yield_now().await;
            }
        }

        assert_eq!(client.call::<_, u32>("cancel.dropped", &()).await.unwrap(), 1);
        // A blocking call is answered before it finds itself cancelled.
        while client.call::<_, u32>("cancel.seen", &()).await.unwrap() == 0 {}
        assert_eq!((client.stats().late_replies, client.stats().connections), (2, 1));
        client.close();
    });
    assert_eq!(host.count("cancels"), 2);
}

#[test]
fn a_handle_cancels_a_blocking_call_which_returns_the_reply() {
    let host = HostProcess::with(&["reports_context"]);
    let client = blocking::Client::connect(host.socket()).unwrap();
    let handle = CancelHandle::new();
    std::thread::scope(|scope| {
        let request = client.request("cancel.wait_async", &()).timeout(CEILING).cancel_with(&handle);
        let call = scope.spawn(move || request.send::<Value>());
        wait_until("the call runs", || client.call::<_, u32>("cancel.begun", &()).unwrap() == 1);

        handle.cancel();

        let error = call.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Cancelled { sent: true }), "{error:?}");
    });
    assert_eq!(client.call::<_, u32>("cancel.dropped", &()).unwrap(), 1);
    client.close();
}

#[test]
fn replies_have_a_timing_and_opaque_bytes_cross_unchanged() {
    let host = HostProcess::with(&["opaque_bytes"]);
    let client = blocking::Client::connect(host.socket()).unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();

    for method in ["bytes.echo", "bytes.echo_blocking", "bytes.echo_async"] {
        let reply = client.request_bytes(method, &bytes).reply();
        let timing = reply.timing.expect("the host reports a timing");
        assert!(timing.generation > 0 && reply.version == Some(Version::V1_2), "{timing:?}");
        assert!(reply.result.unwrap() == Payload::Bytes(bytes.clone().into()), "{method}");
    }
    let length: usize = client.call_bytes("bytes.len", &bytes).unwrap().decode().unwrap();
    assert_eq!(length, bytes.len());
    let failed = client.request_bytes("bytes.fail", b"x").reply();
    assert!(failed.timing.is_some() && failed.result.unwrap_err().code() == Some(7));
    client.close();
}

#[test]
fn a_client_without_a_hello_is_served_as_one_of_protocol_1_1() {
    let host = HostProcess::with(&["opaque_bytes"]);
    let client = blocking::Client::builder(host.socket()).negotiate(false).build();

    let reply = client.request("system.echo", &json!([1])).reply();
    assert_eq!((reply.timing, reply.version), (None, Some(Version::V1_1)));
    assert_eq!(reply.result.unwrap().into_bytes(), "[1]");
    let error = client.call::<_, Value>("bytes.make", &json!({ "bytes": 3 })).unwrap_err();
    assert_eq!(error.code(), Some(-32010));
    assert_eq!(host.count("hellos"), 0);
    client.close();
}

#[test]
fn the_deadline_of_the_client_is_its_own_time_out_and_that_of_the_host_is_not() {
    let config = "[timeouts]\nrequest = \"300ms\"\n";
    let host = HostProcess::builder().plugin("reports_context").config(config).start();
    let client = blocking::Client::connect(host.socket()).unwrap();

    let short = client.request("cancel.wait_async", &()).timeout(Duration::from_millis(50));
    let error = short.send::<Value>().unwrap_err();
    assert!(matches!(error, Error::Timeout { phase: Phase::Reply, sent: true }), "{error:?}");

    let long = client.request("cancel.wait_async", &()).timeout(CEILING);
    assert_eq!(long.send::<Value>().unwrap_err().code(), Some(-32001));
    client.close();
}
