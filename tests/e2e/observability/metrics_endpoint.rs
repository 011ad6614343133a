//! HTTP: what is answered, and that no scraper or operator harms anybody by being slow, silent or
//! gone.

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
fn paths_and_verbs_are_answered_as_they_should_be() {
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
fn a_unix_socket_serves_as_well_and_goes_with_the_host() {
    let host = HostProcess::builder().config("[metrics]\nlisten = \"run/metrics.sock\"").start();
    let socket = host.path("run/metrics.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!((try_get_unix(&socket, "/readyz").unwrap().status, mode), (200, 0o660));
    Scrape::parse(&try_get_unix(&socket, "/metrics").unwrap().body).unwrap();
}

#[test]
fn an_address_that_is_taken_ends_the_start() {
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
fn another_address_waits_for_a_restart_and_says_so() {
    let host = super::host(&[], "");
    let before = address(&host);
    host.scratch().write("config.toml", "[metrics]\nlisten = \"127.0.0.1:1\"\n");
    host.wait_for_log("metrics.listen has changed: that takes effect when the host is started again");
    assert_eq!(get(&before, "/healthz").status, 200);
}

/// Asks for pages, and reads none of them.
fn deaf(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    stream
}

#[test]
fn scrapers_that_are_silent_slow_or_gone_harm_nobody() {
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
        let slow: Vec<_> = (0..10).map(|_| deaf(&address)).collect();
        // Those for whom there was no place were closed; nobody else notices.
        wait_until("one of them is turned away", || {
            silent.iter_mut().any(|stream| {
                stream.set_nonblocking(true).unwrap();
                matches!(stream.read(&mut [0]), Ok(0))
            })
        });
        (0..100).for_each(|_| peer.assert_usable());
        host.peer().assert_usable();
        drop(slow);
        // Time is up for the silent ones in a few seconds, though they stay.
        wait_until("there is a place again", || {
            try_get(&address, "/healthz").is_ok_and(|said| said.status == 200)
        });
    }
    for _ in 0..50 {
        drop(deaf(&address));
    }
    drop(peer);
    wait_until("there is a place again", || {
        try_get(&address, "/healthz").is_ok_and(|said| said.status == 200)
    });
    assert_settles(host.pid(), &before);
}

#[test]
fn an_operator_that_is_gone_before_its_answer_harms_nobody() {
    let host = super::host(&["echoes"], "");
    let admin = host.path("run/jackfield-admin.sock");
    let address = address(&host);
    let mut peer = host.peer();
    let go = |method: &str, params: &Value, peer: &mut Peer| {
        for _ in 0..50 {
            Peer::connect(&admin).send_sync(method, params);
        }
        (0..100).for_each(|_| peer.assert_usable());
        wait_until("nothing is in flight", || Scrape::of(&address).value("ipc_in_flight", &[]) == 0);
        wait_until("they have gone", || Scrape::of(&address).value("ipc_connections", &[]) == 1);
    };
    go("admin.plugin.reload", &json!({ "name": "echoes" }), &mut peer);
    // One at a time, and this is the last: those that nobody waits for any more are over with it.
    Peer::connect(&admin).result("admin.plugin.reload", &json!({ "name": "echoes" }));
    wait_until("all generations but one have ended", || {
        let scrape = Scrape::of(&address);
        let count = |state| scrape.value("ipc_plugin_generations", &[("plugin", "echoes"), ("state", state)]);
        count("draining") == 0 && count("serving") + count("probation") == 1 && count("retained") == 0
    });
    go("admin.plugin.list", &Value::Null, &mut peer);
    let before = Footprint::of(host.pid());
    go("admin.plugin.list", &Value::Null, &mut peer);
    assert_settles(host.pid(), &before);
}
