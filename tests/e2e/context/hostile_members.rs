//! Members of a request that are garbage: deadline and metadata are rejected, a trace is ignored.

use serde_json::json;

use crate::support::HostProcess;
use crate::support::peer::{ASYNC_REQUEST, ASYNC_RESPONSE, ERROR, INVALID_REQUEST, SYNC, V1_0, V1_1};

#[test]
fn rejects_or_ignores_members_that_are_garbage() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    let long = "x".repeat(2100);
    let many: String = (0..17).map(|number| format!("\"{number}\":\"\",")).collect();
    let many = format!("\"meta\":{{{}}}", many.trim_end_matches(','));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    let invalid = [
        "0",
        "-1",
        "4294967296",
        "1.0",
        "1e3",
        "null",
        "\"5\"",
        "[]",
        "{}",
        "true",
        "99999999999999999999999",
    ]
    .map(|value| format!("\"deadline_ms\":{value}"))
    .into_iter()
    .chain(
        [
            "null",
            "[]",
            "\"x\"",
            "1",
            "{\"a\":1}",
            "{\"a\":null}",
            "{\"a\":{}}",
            "{\"\":\"x\"}",
            r#"{"a":"x","a":"y"}"#,
            r#"{"a":"x","\u0061":"y"}"#,
        ]
        .map(|value| format!("\"meta\":{value}")),
    )
    .chain([
        format!("\"meta\":{{\"a\":\"{long}\"}}"),
        format!("\"meta\":{{\"{long}\":\"\"}}"),
        many,
        "\"deadline_ms\":5,\"deadline_ms\":5".to_owned(),
        "\"deadline_ms\":5,\"deadline\\u005fms\":5".to_owned(),
        "\"meta\":{},\"meta\":{}".to_owned(),
        format!("\"traceparent\":\"{trace}\",\"traceparent\":\"{trace}\""),
        "\"tracestate\":\"a=b\",\"tracestate\":\"a=b\"".to_owned(),
    ]);
    for member in invalid {
        peer.send_frame(V1_0, SYNC, format!("{{\"id\":1,\"method\":\"system.ping\",{member}}}"));
        let reply = peer.receive();
        assert_eq!(reply.code(), Some(INVALID_REQUEST), "{member}: {reply:?}");
        peer.send_frame(V1_1, ASYNC_REQUEST, format!("{{{member},\"method\":\"system.ping\",\"id\":1}}"));
        let reply = peer.receive();
        assert_eq!(reply.code(), Some(INVALID_REQUEST), "{member}: {reply:?}");
        assert!(matches!(reply.kind, ERROR | ASYNC_RESPONSE), "{member}: {reply:?}");
    }

    let ignored = [
        "null",
        "1",
        "[]",
        "{}",
        "\"\"",
        "\"x\"",
        "\"00-00000000000000000000000000000000-b7ad6b7169203331-01\"",
        "\"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"",
        "\"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01\"",
        "\"\\u0000\\ud83d\\ude00\"",
    ]
    .map(|value| format!("\"traceparent\":{value},\"tracestate\":{value}"))
    .into_iter()
    .chain([
        format!("\"traceparent\":\"{trace}{}\"", "0".repeat(70_000)),
        format!("\"traceparent\":\"{trace}\",\"tracestate\":\"{}\"", "\\u0061".repeat(70_000)),
        format!("\"traceparent\":\"{trace}\",\"tracestate\":{{}}"),
        "\"deadline_ms\":4294967295,\"meta\":{}".to_owned(),
    ]);
    for member in ignored {
        peer.send_frame(V1_0, SYNC, format!("{{\"id\":1,{member},\"method\":\"system.ping\"}}"));
        assert_eq!(peer.receive().result(), json!("pong"), "{}", &member[..member.len().min(200)]);
    }
}
