//! The harness with requests that carry more than JSON params.

use serde_json::json;

use super::*;
use crate::abi::Credentials;
use crate::{Bytes, BytesRef, Caller, Context, Host, INTERNAL_ERROR, INVALID_PARAMS, Plugin};

struct Asks;

impl Plugin for Asks {
    fn start(_host: &Host) -> Result<Self, Error> {
        Ok(Self)
    }
}

fn report(cx: &Context<'_>) -> Value {
    let caller = match cx.caller() {
        Caller::Local { listener, credentials } => json!([listener, credentials.map(|found| found.uid)]),
        Caller::Remote { listener, claim } => json!([listener, claim]),
        Caller::Program => json!("program"),
        Caller::Unknown => json!("unknown"),
    };
    json!({
        "caller": caller,
        "meta": cx.metadata().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        "trace": [cx.traceparent(), cx.tracestate()],
        "left": cx.remaining().as_millis(),
        "cancelled": cx.is_cancelled(),
    })
}

impl Asks {
    fn report(&self, cx: &Context<'_>) -> Result<Value, Error> {
        Ok(report(cx))
    }

    async fn report_later(self: Arc<Self>, cx: Context<'static>) -> Result<Value, Error> {
        cx.host().sleep(Duration::from_millis(10)).await;
        Ok(report(&cx))
    }

    fn wait(&self, cx: &Context<'_>) -> Result<(), Error> {
        cx.host().info("waits");
        while !cx.is_cancelled() {
            std::thread::yield_now();
        }
        Ok(())
    }

    fn invert(&self, mut bytes: Bytes) -> Result<Bytes, Error> {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        Ok(bytes)
    }

    async fn echo_later(self: Arc<Self>, params: Params<Value>) -> Result<Params<Value>, Error> {
        Ok(params)
    }

    fn length(&self, bytes: BytesRef<'_>, cx: &Context<'_>) -> Result<usize, Error> {
        assert!(!cx.is_cancelled());
        Ok(bytes.len())
    }

    fn forward(&self, bytes: Bytes, cx: &Context<'_>) -> Result<Params<Value>, Error> {
        cx.call_wait("other.method", &bytes)
    }

    fn forward_to_json(&self, bytes: Option<Bytes>, cx: &Context<'_>) -> Result<Value, Error> {
        cx.call_wait("other.method", &bytes)
    }
}

impl Exported for Asks {
    const MANIFEST: &'static str = "{}";

    fn methods() -> Methods<Self> {
        Methods::new()
            .inline("asks.report", Self::report)
            .asynchronous("asks.report_later", Self::report_later)
            .blocking("asks.wait", Self::wait)
            .blocking("asks.invert", Self::invert)
            .asynchronous("asks.echo_later", Self::echo_later)
            .inline("asks.length", Self::length)
            .blocking("asks.forward", Self::forward)
            .blocking("asks.forward_to_json", Self::forward_to_json)
    }
}

fn start() -> Harness<Asks> {
    Harness::start(json!({})).unwrap()
}

fn bytes(bytes: &[u8]) -> Params<Value> {
    Bytes::from(bytes).into()
}

#[test]
fn sends_what_accompanies_a_request() {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (method, later) in [("asks.report", 0), ("asks.report_later", 10)] {
        let harness = start();
        let plain = json!({
            "caller": "program", "meta": [], "trace": [null, null], "left": 30_000 - later, "cancelled": false,
        });
        assert_eq!(harness.call(method, ()).unwrap(), plain);

        let credentials = Some(Credentials { uid: 7, gid: 8, pid: 9 });
        let request = harness.request(method).local_caller("a.sock", credentials).metadata("tenant", "acme");
        let request = request.trace(traceparent, Some("a=b")).timeout(Duration::from_millis(500)).cancelled();
        let expected = json!({
            "caller": ["a.sock", 7], "meta": ["tenant=acme"], "trace": [traceparent, "a=b"],
            "left": 500 - later, "cancelled": true,
        });
        assert_eq!(request.call(()).unwrap(), expected);

        let remote =
            harness.request(method).remote_caller("b.sock").metadata("caller", "x").call(()).unwrap();
        assert_eq!(remote["caller"], json!(["b.sock", "x"]));
    }
}

#[test]
#[should_panic(expected = "not a traceparent")]
fn rejects_an_invalid_traceparent() {
    let _ = start().request("asks.report").trace("00-AF-b7-01", None);
}

#[test]
fn cancels_a_method_that_runs() {
    let harness = start();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| harness.call("asks.wait", ()));
        while harness.log().is_empty() {
            std::thread::yield_now();
        }
        harness.cancel_running();
        assert_eq!(waits.join().unwrap().unwrap(), json!(null));
    });

    let mut running = harness.request("asks.report_later").begin(json!(null)).unwrap();
    assert!(running.poll().is_none());
    harness.cancel_running();
    assert_eq!(running.finish().unwrap()["cancelled"], true);
}

#[test]
fn exchanges_opaque_bytes() {
    let harness = start();
    assert_eq!(harness.request("asks.invert").send(bytes(&[0, 0xF0])).unwrap(), bytes(&[0xFF, 0x0F]));
    assert_eq!(harness.request("asks.invert").send(bytes(&[])).unwrap(), bytes(&[]));
    assert_eq!(harness.request("asks.length").send(bytes(b"abc")).unwrap(), Params::Json(json!(3)));
    for both in [bytes(b"{"), json!({}).into()] {
        assert_eq!(harness.request("asks.echo_later").send(both.clone()).unwrap(), both);
        let mut running = harness.request("asks.echo_later").begin(both.clone()).unwrap();
        assert_eq!(running.finish_any().unwrap(), both);
    }

    for (method, params, reason) in [
        ("asks.report", bytes(b""), "invalid type: opaque bytes, expected JSON"),
        ("asks.report_later", bytes(b"null"), "invalid type: opaque bytes, expected JSON"),
        ("asks.invert", json!([1]).into(), "invalid type: JSON, expected opaque bytes"),
        ("asks.length", json!(null).into(), "invalid type: JSON, expected opaque bytes"),
    ] {
        let error = harness.request(method).send(params).unwrap_err();
        let expected = (INVALID_PARAMS, format!("invalid params: {reason}"));
        assert_eq!((error.code(), error.message().to_owned()), expected, "{method}");
    }
}

#[test]
fn reports_bytes_where_the_test_expects_json() {
    let harness = start();
    let error = harness.begin("asks.echo_later", json!(1)).unwrap().finish().map(|_| ());
    assert!(error.is_ok());
    let mut running = harness.request("asks.echo_later").begin(bytes(b"")).unwrap();
    assert!(running.finish().unwrap_err().message().contains("Request::send"));
}

#[test]
fn answers_nested_calls_with_opaque_bytes() {
    let harness = start();
    harness.answer_any("other.method", |params| {
        let mut reversed = params.bytes().map(Bytes::into_vec).unwrap_or_default();
        reversed.reverse();
        Ok(if reversed.is_empty() { json!("nothing").into() } else { Bytes::from(reversed).into() })
    });
    assert_eq!(harness.request("asks.forward").send(bytes(b"abc")).unwrap(), bytes(b"cba"));
    assert_eq!(harness.request("asks.forward").send(bytes(b"")).unwrap(), json!("nothing").into());
    assert_eq!(harness.call("asks.forward_to_json", ()).unwrap(), "nothing");

    // A result of bytes does not fit a type that is read from JSON. The log has the reason.
    let error = harness.request("asks.forward_to_json").send(bytes(b"ab")).unwrap_err();
    assert_eq!((error.code(), error.message()), (INTERNAL_ERROR, "internal error"));
    let (_, line) = harness.log().pop().unwrap();
    assert_eq!(line, "internal error: invalid type: opaque bytes, expected JSON");

    harness.answer("other.method", Ok);
    let error = harness.request("asks.forward").send(bytes(b"ab")).unwrap_err();
    assert!(error.message().contains("answer_any"), "{error:?}");
}
