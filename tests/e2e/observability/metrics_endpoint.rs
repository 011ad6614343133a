//! The metrics endpoint: its HTTP responses, and slow, silent or disconnected scrapers and
//! operators.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::footprint::{Footprint, assert_settles, idle_footprint};
use crate::support::http::{address, get, request, try_get, try_get_unix};
use crate::support::program::jackfield;
use crate::support::scrape::Scrape;
use crate::support::{HostProcess, Peer, wait_until};

#[test]
fn answers_paths_and_http_methods() {
    let host = super::host(&[], "");
    let address = address(&host);

    let page = get(&address, "/metrics");
    assert!(
        page.head.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4; charset=utf-8")
    );
    Scrape::parse(&page.body).unwrap();

    assert_eq!((get(&address, "/healthz").status, get(&address, "/readyz").status), (200, 200));
    assert_eq!((get(&address, "/").status, get(&address, "/metrics/x").status), (404, 404));
    assert_eq!(request(&address, "POST", "/metrics").unwrap().status, 405);

    let head = request(&address, "HEAD", "/metrics").unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn serves_on_a_unix_socket() {
    let host = HostProcess::builder().config("[metrics]\nlisten = \"run/metrics.sock\"").start();
    let socket = host.path("run/metrics.sock");

    let mode = std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!((try_get_unix(&socket, "/readyz").unwrap().status, mode), (200, 0o660));
    Scrape::parse(&try_get_unix(&socket, "/metrics").unwrap().body).unwrap();
}

#[test]
fn fails_to_start_on_an_occupied_address() {
    let host = super::host(&[], "");

    let taken = address(&host);
    let other = HostProcess::builder().config(&format!("[metrics]\nlisten = \"{taken}\""));
    let file = other.directory().join("config.toml");
    std::fs::write(&file, format!("[metrics]\nlisten = \"{taken}\"\n")).unwrap();

    let finished = jackfield(other.directory(), &["serve", "-c", file.to_str().unwrap()]);

    assert_eq!(finished.code, 71, "{}", finished.stderr);
    assert!(finished.stderr.contains(&format!("{taken}: cannot bind: ")), "{}", finished.stderr);
}

#[test]
fn warns_that_a_new_address_requires_a_restart() {
    let host = super::host(&[], "");
    let before = address(&host);

    host.scratch().write("config.toml", "[metrics]\nlisten = \"127.0.0.1:1\"\n");
    host.wait_for_log("metrics.listen changed; restart the host to apply it");

    assert_eq!(get(&before, "/healthz").status, 200);
}

/// Requests a page without reading it.
fn request_without_reading(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    stream
}

#[test]
fn serves_clients_beside_misbehaving_scrapers() {
    let host = super::host(&["echoes"], "");
    let address = address(&host);

    let mut peer = host.peer();
    peer.assert_usable();
    Scrape::of(&address);
    drop(peer);

    let before = idle_footprint(host.pid());

    let mut peer = host.peer();
    for _ in 0..3 {
        let mut silent: Vec<_> = (0..30).map(|_| TcpStream::connect(&address).unwrap()).collect();
        let trickling = silent.iter_mut().take(10);
        trickling.for_each(|stream| drop(stream.write_all(b"GET /metr")));
        let slow: Vec<_> = (0..10).map(|_| request_without_reading(&address)).collect();

        // Connections beyond the limit are closed, and nobody else is affected.
        wait_until("a connection is rejected", || {
            silent.iter_mut().any(|stream| {
                stream.set_nonblocking(true).unwrap();
                matches!(stream.read(&mut [0]), Ok(0))
            })
        });

        (0..100).for_each(|_| peer.assert_usable());
        host.peer().assert_usable();
        drop(slow);

        // The silent connections stay open, but their time-out passes after a few seconds.
        wait_until("a connection is accepted again", || {
            try_get(&address, "/healthz").is_ok_and(|response| response.status == 200)
        });
    }

    for _ in 0..50 {
        drop(request_without_reading(&address));
    }

    drop(peer);
    wait_until("a connection is accepted again", || {
        try_get(&address, "/healthz").is_ok_and(|response| response.status == 200)
    });

    assert_settles(host.pid(), &before);
}

#[test]
fn serves_clients_after_operators_disconnect() {
    let host = super::host(&["echoes"], "");
    let admin = host.path("run/jackfield-admin.sock");
    let address = address(&host);
    let mut peer = host.peer();

    let send_and_disconnect = |method: &str, params: &Value, peer: &mut Peer| {
        for _ in 0..50 {
            Peer::connect(&admin).send_sync(method, params);
        }
        (0..100).for_each(|_| peer.assert_usable());
        wait_until("nothing is in flight", || Scrape::of(&address).value("ipc_in_flight", &[]) == 0);
        wait_until("the connections are closed", || Scrape::of(&address).value("ipc_connections", &[]) == 1);
    };

    send_and_disconnect("admin.plugin.reload", &json!({ "name": "echoes" }), &mut peer);
    // Reloads run one at a time and this one is the last, so all abandoned ones are complete when
    // it is.
    Peer::connect(&admin).result("admin.plugin.reload", &json!({ "name": "echoes" }));
    wait_until("all generations but one have ended", || {
        let scrape = Scrape::of(&address);
        let count = |state| scrape.value("ipc_plugin_generations", &[("plugin", "echoes"), ("state", state)]);
        count("draining") == 0 && count("serving") + count("probation") == 1 && count("retained") == 0
    });

    send_and_disconnect("admin.plugin.list", &Value::Null, &mut peer);
    let before = Footprint::of(host.pid());
    send_and_disconnect("admin.plugin.list", &Value::Null, &mut peer);
    assert_settles(host.pid(), &before);
}
