//! Plain text for a fixed method, and a one-shot client that sends it without a newline.

use std::fs;

use serde_json::json;

use crate::support::HostProcess;
use crate::support::build::root;
use crate::support::peer::PARSE_ERROR;
use crate::support::program::{command, finish};

/// The socket that the one-shot client connects to. It is replaced by that of the host.
const ADDRESS: &str = "/tmp/odc_ws.sock";

fn host_with_text(options: &str) -> HostProcess {
    let config = format!(
        "[[listener]]\nsocket = \"run/jackfield.sock\"\n[[listener]]\nsocket = \"run/text.sock\"\n\
         framing = \"line\"\nmethod = \"system.echo\"\n{options}"
    );
    HostProcess::builder().config(&config).start()
}

#[test]
fn passes_each_line_to_the_method_as_a_json_string() {
    let host = host_with_text("");
    let mut peer = host.line_peer("run/text.sock");

    for text in [
        "hello",
        "42",
        "null",
        "{\"method\":\"system.ping\"}",
        "\"},\"method\":\"system.ping\"",
        "\t\\é\u{7}",
    ] {
        peer.send(format!("{text}\r\n\n"));
        assert_eq!(peer.json(), json!({ "result": text }));
    }

    for line in [&b"not UTF-8: \xff\n"[..], b"\x01\x00\x01\x00\x00\x00\n"] {
        peer.send(line);
        assert_eq!(peer.json()["error"]["code"], PARSE_ERROR, "{}", line.escape_ascii());
    }
    peer.send("still usable\n");
    assert_eq!(peer.json()["result"], "still usable");
}

#[test]
fn serves_a_one_shot_php_client_that_sends_no_newline() {
    let host = host_with_text("close_after_reply = true\ncomplete_after = \"50ms\"");
    let client = fs::read_to_string(root().join("tests/e2e/wire/one_shot.php")).unwrap();
    let client = client.replace(ADDRESS, host.path("run/text.sock").to_str().unwrap());
    let until_close = client.replace("break;", "");
    assert_ne!(client, until_close);

    // The second client reads until the host closes the connection, which PHP reports by a warning.
    for client in [client, until_close] {
        let script = host.path("one_shot.php");
        fs::write(&script, client).unwrap();

        let finished = finish(command("php").args(["-d", "display_errors=stderr"]).arg(&script));

        assert_eq!(finished.code, 0, "{finished:?}");
        let (sent, rest) = finished.stdout.split_once("</div>").unwrap();
        let sent = sent.strip_prefix("<div>PHP sent: ").unwrap();
        assert!(sent.starts_with("PHP sent Go a message at "), "{finished:?}");
        let reply = json!({ "result": sent });
        assert_eq!(rest, format!("<div>Server says: {reply}\n</div><div>Connection closed.</div>"));
    }
}
