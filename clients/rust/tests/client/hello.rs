//! The hello, and what both sides do after it was granted: deadlines, traces, timings, opaque
//! bytes.

use std::thread;
use std::time::Duration;

use jackfield_client::{
    Client, Error, Mode, Payload, Phase, Reply, Timing, UnreadableReply, Version, blocking,
};
use jackfield_protocol::{Capabilities, Code, Hello};
use serde_json::{Value, json};

use crate::support::calls::{Settings, runtime};
use crate::support::host::{ALL, ClientFrame, Host};
use crate::support::{Call, ClientKind};

const LONG: Duration = Duration::from_secs(20);
const MODES: [Mode; 2] = [Mode::Multiplexed, Mode::Exclusive];
const TIMING: Timing = Timing { queued_us: 10, run_us: 20, generation: 3 };
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Makes calls one after another with a client of either kind.
fn call_in_turn(client: ClientKind, host: &Host, mode: Mode, count: usize) {
    let call = |n: usize| Call { alone: true, ..Call::echo(mode, json!(n)) };
    let calls: Vec<Call> = (0..count).map(call).collect();
    for (_, outcome) in client.perform(&host.socket(), Settings::default(), &calls) {
        outcome.result.unwrap();
    }
}

#[test]
fn a_hello_precedes_the_first_request_and_its_grant_raises_the_version() {
    for (client, mode) in ClientKind::BOTH.into_iter().flat_map(|client| MODES.map(|mode| (client, mode))) {
        let host = Host::new();
        thread::scope(|scope| {
            scope.spawn(|| call_in_turn(client, &host, mode, 3));

            let mut peer = host.accept();
            let hello = peer.read().unwrap();
            let wish = Hello::parse(&hello.payload).unwrap();
            assert!(
                !wish.is_ack && wish.has_bytes && wish.agent.unwrap().starts_with("jackfield-client-rust/")
            );
            assert_eq!((wish.version, wish.largest_payload, wish.in_flight), (0x0102, 16 << 20, 512));

            // The first request is not delayed by the answer to the hello.
            let first = peer.read_request();
            assert!(first.version < 0x0102, "{client:?} {mode:?}");
            peer.grant(&hello, ALL);
            peer.answer_json(&first, "1");
            for _ in 0..2 {
                let request = peer.read_request();
                assert_eq!(request.version, 0x0102, "{client:?} {mode:?}");
                peer.answer_json(&request, "1");
            }
        });
    }
}

#[test]
fn a_host_that_grants_nothing_gets_requests_of_version_1_1() {
    let empty = |_: &ClientFrame| Vec::new();
    let echo = |hello: &ClientFrame| hello.payload.clone();
    let other_nonce = |hello: &ClientFrame| {
        let mut payload = hello.payload.clone();
        payload[5] |= 1;
        payload[31] ^= 1;
        payload
    };
    let answers: [fn(&ClientFrame) -> Vec<u8>; 3] = [empty, echo, other_nonce];

    for (client, mode) in ClientKind::BOTH.into_iter().flat_map(|client| MODES.map(|mode| (client, mode))) {
        for answer in answers {
            let host = Host::new();
            thread::scope(|scope| {
                scope.spawn(|| call_in_turn(client, &host, mode, 3));

                let mut peer = host.accept();
                let hello = peer.read().unwrap();
                peer.send_heartbeat(&answer(&hello));
                for _ in 0..3 {
                    let request = peer.read_request();
                    let version = if mode == Mode::Exclusive { 0x0100 } else { 0x0101 };
                    assert_eq!((request.version, request.kind & 0x80), (version, 0));
                    peer.answer_json(&request, "1");
                }
            });
        }
    }
}

#[test]
fn each_try_sends_what_is_left_of_the_time_out() {
    let host = Host::new();
    thread::scope(|scope| {
        let client = blocking::Client::builder(host.socket()).timeout(LONG).build();
        let call = scope.spawn(move || client.call::<_, u32>("m", &()));

        let mut peer = host.accept_and_grant(ALL);
        let first = peer.read_request();
        assert!((1..=20_000).contains(&first.deadline_ms()));
        thread::sleep(Duration::from_millis(5));
        peer.answer_error(&first, Code::Overloaded, None);
        let second = peer.read_request();
        assert!(second.deadline_ms() + 5 <= first.deadline_ms(), "{second:?}");
        peer.answer_json(&second, "7");
        assert_eq!(call.join().unwrap().unwrap(), 7);
    });
}

#[test]
fn the_deadline_of_the_call_is_a_time_out_even_if_the_host_notices_it_first() {
    let host = Host::new();
    thread::scope(|scope| {
        let client = blocking::Client::builder(host.socket()).timeout(LONG).build();
        let calls = scope.spawn(move || [(); 2].map(|()| client.call::<_, Value>("m", &()).unwrap_err()));

        let mut peer = host.accept_and_grant(ALL);
        let request = peer.read_request();
        let data = format!(r#"{{"timeout_ms":{}}}"#, request.deadline_ms());
        peer.answer_error(&request, Code::DeadlineExceeded, Some(&data));
        let request = peer.read_request();
        peer.answer_error(&request, Code::DeadlineExceeded, Some(r#"{"timeout_ms":10}"#));

        let [own, of_host] = calls.join().unwrap();
        assert!(matches!(own, Error::Timeout { phase: Phase::Reply, sent: true }), "{own:?}");
        assert_eq!(of_host.code(), Some(Code::DeadlineExceeded.as_i64()));
    });
}

#[test]
fn requests_carry_trace_and_metadata() {
    let host = Host::new();
    thread::scope(|scope| {
        let builder = blocking::Client::builder(host.socket()).timeout(LONG);
        let client = builder.meta("tenant", "a").meta("job", "1").build();
        let call = scope.spawn(move || {
            let request = client.request("m", &()).traceparent(TRACE).tracestate("a=b").meta("job", "2");
            request.send::<u32>().unwrap();
            client.request("m", &()).traceparent("00-1").send::<u32>().unwrap_err()
        });

        let mut peer = host.accept_and_grant(ALL);
        let request = peer.read_request();
        let context = request.request().context.carried();
        assert_eq!(context.traceparent.unwrap().to_string(), TRACE);
        assert_eq!(context.tracestate.unwrap().get(), "\"a=b\"");
        let meta: Value = serde_json::from_str(context.meta.unwrap().get()).unwrap();
        assert_eq!(meta, json!({"tenant": "a", "job": "2"}));
        peer.answer_json(&request, "1");

        let error = call.join().unwrap();
        assert!(matches!(error, Error::Encode(_)), "{error:?}");
        assert!(peer.read().is_none(), "an invalid trace is not sent");
    });
}

#[test]
fn replies_report_their_timing() {
    let host = Host::new();
    thread::scope(|scope| {
        let client = blocking::Client::builder(host.socket()).timeout(LONG).build();
        let calls = scope.spawn(move || [(); 3].map(|()| client.request("m", &()).reply()));

        let mut peer = host.accept_and_grant(ALL);
        let first = peer.read_request();
        peer.answer(&first, b"1", TIMING, false);
        let second = peer.read_request();
        peer.answer(&second, b"2", TIMING, false);
        let third = peer.read_request();
        peer.answer_error(&third, Code::InvalidParams, None);

        let [first, second, third] = calls.join().unwrap();
        let Reply { result, timing, version, .. } = first;
        assert_eq!((result.unwrap().decode::<u32>().unwrap(), timing), (1, None), "it was sent as 1.1");
        assert_eq!(version, Some(Version::V1_2));
        assert_eq!((second.result.unwrap().decode::<u32>().unwrap(), second.timing), (2, Some(TIMING)));
        assert_eq!(third.timing, Some(Timing::default()), "error replies have a timing, too");
    });
}

#[test]
fn opaque_bytes_wait_for_their_grant_and_cross_unchanged() {
    let image: &[u8] = b"\x89PNG\0\xFF{}";
    let serve = |host: &Host| {
        let mut peer = host.accept();
        let hello = peer.read().unwrap();
        // Nothing follows the hello until it was answered.
        thread::sleep(Duration::from_millis(20));
        peer.grant(&hello, ALL);
        for is_opaque in [true, false] {
            let request = peer.read_request();
            assert_eq!((request.version, request.kind & 0x80), (0x0102, 0x80));
            assert_eq!((request.request().method.as_ref(), request.opaque()), ("image.scale", image));
            let result = if is_opaque { request.opaque().to_vec() } else { b"[8]".to_vec() };
            peer.answer(&request, &result, TIMING, is_opaque);
        }
        let request = peer.read_request();
        peer.answer(&request, image, TIMING, true);
        assert!(peer.read().is_none());
    };
    let check = |opaque: Payload, json: Payload, unread: Error| {
        assert_eq!(opaque.into_bytes(), image);
        assert_eq!(json.decode::<[u32; 1]>().unwrap(), [8]);
        assert!(matches!(unread, Error::UnreadableReply(UnreadableReply::OpaqueBytes)), "{unread:?}");
    };

    for mode in MODES {
        let host = Host::new();
        thread::scope(|scope| {
            scope.spawn(|| serve(&host));
            let client = blocking::Client::builder(host.socket()).timeout(LONG).mode(mode).build();
            let opaque = client.call_bytes("image.scale", image).unwrap();
            let json = client.call_bytes("image.scale", image).unwrap();
            check(opaque, json, client.call::<_, Value>("image.get", &()).unwrap_err());
            client.close();
        });

        let host = Host::new();
        thread::scope(|scope| {
            scope.spawn(|| serve(&host));
            runtime().block_on(async {
                let client = Client::builder(host.socket()).timeout(LONG).mode(mode).build();
                let opaque = client.call_bytes("image.scale", image).await.unwrap();
                let json = client.call_bytes("image.scale", image).await.unwrap();
                check(opaque, json, client.call::<_, Value>("image.get", &()).await.unwrap_err());
                client.close();
            });
        });
    }
}

#[test]
fn opaque_bytes_are_not_sent_to_a_host_that_has_not_granted_them() {
    for mode in MODES {
        let host = Host::new();
        thread::scope(|scope| {
            let client = blocking::Client::builder(host.socket()).timeout(LONG).mode(mode).build();
            let calls = scope.spawn(move || {
                let errors = [(); 2].map(|()| client.call_bytes("m", b"x").unwrap_err());
                (errors, client.call::<_, u32>("m", &()).unwrap())
            });

            let mut peer = host.accept_and_grant(Capabilities::CANCEL);
            let request = peer.read_request();
            assert!(request.kind & 0x80 == 0, "{request:?}");
            peer.answer_json(&request, "1");

            let (errors, result) = calls.join().unwrap();
            assert_eq!(result, 1, "the connection is usable");
            for error in errors {
                assert!(matches!(error, Error::BytesUnsupported) && !error.is_retryable(), "{error:?}");
            }
        });
    }

    let host = Host::new();
    let client = blocking::Client::builder(host.socket()).timeout(LONG).negotiate(false).build();
    assert!(matches!(client.call_bytes("m", b"x"), Err(Error::BytesUnsupported)));
}

#[test]
fn a_host_that_reads_few_requests_gets_no_more_than_it_has_granted() {
    let host = Host::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = host.accept();
            let hello = peer.read().unwrap();
            let hello = Hello::parse(&hello.payload).unwrap();
            let mut answer = Vec::new();
            Hello { is_ack: true, in_flight: 2, ..hello }
                .write(&mut answer, jackfield_protocol::Version::V1_0);
            peer.send(&answer);
            let first = peer.read_request();
            peer.answer_json(&first, "0");

            let [first, second] = [(); 2].map(|()| peer.read_request());
            let mut other = host.accept_and_grant(ALL);
            let third = other.read_request();
            peer.answer_json(&first, "1");
            peer.answer_json(&second, "2");
            other.answer_json(&third, "3");
        });

        runtime().block_on(async {
            let client = Client::builder(host.socket()).timeout(LONG).build();
            assert_eq!(client.call::<_, u32>("m", &()).await.unwrap(), 0);
            let (first, second, third) = tokio::join!(
                client.call::<_, u32>("m", &()),
                client.call::<_, u32>("m", &()),
                client.call::<_, u32>("m", &()),
            );
            assert_eq!((first.unwrap(), second.unwrap(), third.unwrap()), (1, 2, 3));
        });
    });
}
