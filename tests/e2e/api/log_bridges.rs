//! Lines that plugins write with the macros of `log` and `tracing`, and backtraces of their panics.

use serde_json::json;

use crate::support::admin;
use crate::support::peer::PLUGIN_PANICKED;
use crate::support::{HostProcess, wait_until};

/// Removes the file of a plugin and asserts that its code leaves the process.
fn assert_unloads(host: &HostProcess, plugin: &str) {
    std::fs::remove_file(host.path(&format!("plugins/lib{plugin}.so"))).expect("the file is removed");
    admin::connect(host).result("admin.reload", &json!(null));
    let ended = format!("plugin {plugin}: generation ");
    let is_end = |line: &String| {
        line.contains(&ended)
            && (line.contains("removed from memory") || line.contains("could not be unloaded"))
    };

    wait_until("the generation is retired", || host.log_lines().iter().any(is_end));
    let line = host.log_lines().into_iter().find(is_end).unwrap_or_default();
    assert!(line.contains("removed from memory"), "{line}");
}

fn host_with(plugin: &str) -> HostProcess {
    HostProcess::builder().plugin(plugin).config("[plugins]\nwatch = false").start()
}

#[test]
fn passes_on_what_log_and_tracing_report_and_unloads_afterwards() {
    let host = host_with("logs");
    host.wait_for_log("logs: logs: log in start");

    let mut peer = host.peer();
    for method in ["logs.inline", "logs.blocking", "logs.async", "logs.thread"] {
        peer.result(method, &json!(method));

        let line = host.wait_for_log(&format!("logs: logs: log in {method}"));
        assert!(line.contains("WARN") && line.contains("plugin=\"logs\""), "{line}");
        let expected = format!("logs: logs: tracing in {method} answer=42 place=\\\"{method}\\\"");
        let line = host.wait_for_log(&format!("logs: logs: tracing in {method}"));
        assert!(line.contains("ERROR"), "{line}");
        assert!(
            line.contains(&expected) || line.contains(&expected.replace('\\', "")),
            "{expected} in {line}"
        );
    }
    host.wait_for_log("log after a sleep in logs.async");
    drop(peer);

    assert_unloads(&host, "logs");
    host.wait_for_log("logs: logs: tracing in stop");
}

#[test]
fn follows_the_log_level_of_the_host() {
    let host = host_with("logs");
    let mut peer = host.peer();
    peer.result("logs.inline", &json!("first"));
    host.wait_for_log("tracing in first");
    assert!(!host.log_contains("at debug in"));

    let config = host.path("config.toml");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    std::fs::write(&config, format!("{text}\n[log]\nlevel = \"debug\"\n")).expect("it is written");
    admin::connect(&host).result("admin.reload", &json!(null));
    peer.result("logs.blocking", &json!("second"));

    host.wait_for_log("logs: logs: log at debug in second");
    host.wait_for_log("logs: logs: tracing at debug in second");
}

#[test]
fn adds_the_backtrace_to_the_line_of_a_panic_if_it_is_wanted() {
    let host = HostProcess::builder().plugin("panics").variable("RUST_BACKTRACE", "1").start();

    for method in ["panic_inline", "panic", "panic_async"] {
        host.peer().call(&format!("panics.{method}"), &json!({})).error(PLUGIN_PANICKED);
        let line = host.wait_for_log(&format!("panics: panics.{method} panicked at "));

        let (_, calls) = line.split_once("; backtrace: ").unwrap_or_else(|| panic!("no backtrace in {line}"));
        let (calls, _) = calls.split_once(" (request ").expect("the request follows");
        assert!(calls.contains(&format!("::{method}")) && calls.contains(" (0x"), "{line}");
        assert!(!calls.contains("jackfield"), "calls of the API or the host: {line}");
    }
    assert!(!host.log_contains(" panicked: "), "a panic is logged twice: {}", host.log());

    assert_unloads(&host, "panics");
}

#[test]
fn adds_the_backtrace_of_a_panic_in_the_probe() {
    let config = "[plugin.start_faults.settings]\nfault = \"panic\"";
    let builder = HostProcess::builder().plugin("start_faults").config(config);

    let host = builder.variable("RUST_BACKTRACE", "1").start();

    let line = host.wait_for_log("start_faults.rs:");
    let (_, calls) = line.split_once("; backtrace: ").unwrap_or_else(|| panic!("no backtrace in {line}"));
    assert!(calls.contains("Plugin>::start (0x"), "{line}");
}

#[test]
fn has_no_backtrace_if_none_is_wanted() {
    let host = HostProcess::builder().plugin("panics").variable("RUST_BACKTRACE", "0").start();

    host.peer().call("panics.panic", &json!({})).error(PLUGIN_PANICKED);

    let line = host.wait_for_log("panics: panics.panic panicked at ");
    assert!(!line.contains("backtrace"), "{line}");
}
