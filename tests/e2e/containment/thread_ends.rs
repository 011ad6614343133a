//! Threads that return, but whose thread-local values block in their destructors: code of the
//! plugin stays in the process, and nobody waits for them.

use std::fs;

use serde_json::json;

use crate::support::admin::plugin_row;
use crate::support::http::{address, get};
use crate::support::{HostProcess, wait_until};

const CONFIG: &str = "[metrics]\nlisten = \"127.0.0.1:0\"";

fn with_fixture(config: &str) -> HostProcess {
    let config = format!("{CONFIG}\n{config}");
    HostProcess::builder().plugin("blocks_at_end").plugin("echoes").config(&config).start()
}

/// Removes the fixture, and returns why its code stays in the process. Meanwhile everything else
/// works.
#[track_caller]
fn remove(host: &HostProcess) -> String {
    let metrics = address(host);
    let reason = || plugin_row(host, "blocks_at_end")["retained"][0]["reason"].as_str().map(str::to_owned);
    fs::remove_file(host.path("plugins/libblocks_at_end.so")).expect("the plugin is there");

    let mut found = None;
    wait_until("the generation is reported as retained", || {
        let mut peer = host.peer();
        assert_eq!(peer.result("fixture.echo", &json!(1)), 1);
        assert_eq!(get(&metrics, "/healthz").status, 200);
        found = reason();
        found.is_some()
    });
    found.expect("the generation is retained")
}

#[test]
fn serves_while_a_destructor_blocks_a_replaced_io_thread() {
    let mut host = with_fixture("[io]\nthreads = 1");
    let latch = host.latch("end");
    let mut old = host.peer();
    assert_eq!(old.result("end.inline", &latch.params()), true);

    assert_eq!(remove(&host), "1 I/O thread that may run its code did not end");
    assert_eq!(old.result("fixture.echo", &json!(2)), 2);
    assert_eq!(host.count("generations_retained"), 1);

    host.terminate();
}

#[test]
fn retains_a_generation_whose_threads_block_in_destructors() {
    let mut host = with_fixture("[plugin.blocks_at_end]\nthreads = 1");
    let latch = host.latch("end");
    for method in ["end.blocking", "end.async"] {
        assert_eq!(host.peer().result(method, &latch.params()), true);
    }

    assert_eq!(remove(&host), "2 threads of the plugin did not end");
    host.terminate();
}

#[test]
fn retains_a_generation_whose_joined_thread_blocks_in_a_destructor() {
    let mut host = with_fixture("[plugin.blocks_at_end.settings]\nstop = \"latch-never\"");
    let reason = remove(&host);
    assert!(reason.contains("the plugin returned, but its thread did not end within"), "{reason}");
    host.terminate();
}
