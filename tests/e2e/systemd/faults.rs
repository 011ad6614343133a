//! Crashes of the service and its recovery by systemd. These are steps of the test in
//! `shipped_units`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::continuous_clients::ContinuousClients;
use super::machine::{Machine, SOCKET};
use crate::support::peer::PLUGIN_PANICKED;
use crate::support::{CEILING, wait_until};

/// Number of crashes, each by the next one of several causes. `JACKFIELD_TEST_CRASHES` overrides
/// it.
const CRASHES: usize = 8;
/// Number of failed starts before the cause is removed.
const FAILED_STARTS: u32 = 12;
/// The time limit of the watchdog in this test. The shipped one is longer.
const WATCHDOG: Duration = Duration::from_secs(2);

pub(super) fn recovers_from_crashes(machine: &Machine) {
    let crashes =
        std::env::var("JACKFIELD_TEST_CRASHES").ok().and_then(|n| n.parse().ok()).unwrap_or(CRASHES);
    // The plugin must not be quarantined. The crashes are attributed nevertheless.
    let path = "/etc/jackfield/config.toml";
    let shipped = std::fs::read_to_string(machine.path(path)).expect("the configuration");
    machine.write(path, &shipped.replace("[plugins.crash]\n", "[plugins.crash]\nmost = 0\n"));
    machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);

    let clients = ContinuousClients::start(&machine.path(SOCKET), 2);
    let mut longest = Duration::ZERO;

    for crash in 0..crashes {
        clients.wait_for(10);
        let before = machine.main_pid();
        assert_ne!(before, 0);
        let began = Instant::now();

        match [None, Some("crash.abort"), Some("crash.exit"), Some("crash.segv")][crash % 4] {
            None => machine.kill("KILL"),
            Some(method) => {
                // The client waits, because a call that has not started is abandoned when its
                // client disconnects.
                let mut peer = machine.peer();
                peer.send_sync(method, &Value::Null);
                peer.expect_close();
            }
        }

        wait_until("another process runs", || {
            !matches!(machine.main_pid(), 0 | 1) && machine.main_pid() != before
        });

        clients.wait_for(1);
        eprintln!("    crash {crash}: {:?}", began.elapsed());
        longest = longest.max(began.elapsed());
    }

    let tally = clients.stop();
    eprintln!("    {crashes} crashes: serving again after {longest:?} at most: {tally:?}");

    // Requests that the host had accepted are lost, at most one of each of the 4 clients. No
    // connection is refused.
    assert_eq!(tally.refused, 0, "{tally:?}");
    assert!(tally.lost <= 4 * crashes as u64, "{tally:?}");

    let args = ["journalctl", "--no-pager", "--output=json", "--unit=jackfield.service", "--priority=err"];
    let entries = machine.run_successfully(&args);
    let entries = entries.lines().map(|line| serde_json::from_str::<Value>(line).expect("an entry"));
    let mut attributed: Vec<_> = entries
        .filter(|entry| {
            let message = entry["MESSAGE"].as_str();
            message
                .is_some_and(|text| text.starts_with("the previous host crashed while plugin crashes ran "))
        })
        .filter(|entry| entry["JACKFIELD_PLUGIN"] == "crashes" && entry["JACKFIELD_GENERATION"].is_string())
        .filter_map(|entry| entry["JACKFIELD_METHOD"].as_str().map(str::to_owned))
        .collect();

    attributed.sort();
    attributed.dedup();

    let causes = ["crash.abort", "crash.exit", "crash.segv"];
    assert_eq!(
        attributed,
        causes[..causes.len().min(crashes - 1)],
        "each crash is in the journal with its fields"
    );

    machine.write(path, &shipped);
    machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);
}

pub(super) fn is_restarted_by_the_watchdog(machine: &Machine) {
    let part = format!("[Service]\nWatchdogSec={}\n", WATCHDOG.as_secs());
    machine.write("/run/systemd/system/jackfield.service.d/watchdog.conf", &part);
    machine.run_successfully(&["systemctl", "daemon-reload"]);
    machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);

    for (fault, held) in [("a stalled thread", Some("crash.hold")), ("a stopped process", None)] {
        // It serves a little earlier, and has no watchdog before that.
        wait_until("systemd knows that the service is ready", || machine.property("ActiveState") == "active");
        let before = machine.main_pid();
        let mut client = machine.peer();
        client.assert_usable();
        let began = Instant::now();

        match held {
            Some(method) => client.send_sync(method, &Value::Null),
            None => machine.kill("STOP"),
        }
        client.expect_close();

        let killed = began.elapsed();
        machine.peer().assert_usable();
        eprintln!("    {fault}: killed after {killed:?}, served again after {:?}", began.elapsed());
        assert!(killed < WATCHDOG + CEILING, "{killed:?}");
        assert_ne!(machine.main_pid(), before);
        assert!(machine.journal().contains("Watchdog timeout"), "the watchdog has killed the service");
    }

    std::fs::remove_file(machine.path("/run/systemd/system/jackfield.service.d/watchdog.conf"))
        .expect("the entry or file exists");
    machine.run_successfully(&["systemctl", "daemon-reload"]);
    machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);
}

pub(super) fn recovers_from_a_crash_loop(machine: &Machine) {
    let path = "/etc/jackfield/config.toml";
    let shipped = std::fs::read_to_string(machine.path(path)).expect("the configuration");
    machine.write(path, "[speed]\n");

    let restarts = || machine.property("NRestarts").parse::<u32>().expect("a number");
    let before = restarts();
    machine.kill("KILL");

    // The request waits in the accept queue meanwhile.
    let mut client = machine.peer();
    client.send_sync("system.ping", &Value::Null);

    wait_until("the service has failed to start repeatedly", || restarts() >= before + FAILED_STARTS);
    assert_ne!(machine.property("ActiveState"), "failed");
    for socket in ["jackfield.socket", "jackfield-admin.socket"] {
        let state = machine.run_successfully(&["systemctl", "show", "--value", "-p", "ActiveState", socket]);
        assert_eq!(state.trim(), "active", "{socket}");
    }

    assert!(machine.journal().contains("config.toml:1:2"), "the journal contains the reason");
    machine.write(path, &shipped);
    assert_eq!(client.receive().result(), "pong");
    wait_until("the service is ready", || machine.property("ActiveState") == "active");
}

pub(super) fn logs_errors_with_fields(machine: &Machine) {
    machine.add_plugin("start_faults");
    let args = ["journalctl", "--no-pager", "--output=json", "--unit=jackfield.service", "--priority=err"];
    let entries = || -> Vec<Value> {
        let lines = machine.run_successfully(&args);
        lines.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
    };

    let matches_fields = |entry: &Value| entry["JACKFIELD_PLUGIN"] == json!("start_faults");
    wait_until("the refusal is in the journal", || entries().iter().any(matches_fields));
    let found = entries().into_iter().find(matches_fields).expect("the entry or file exists");
    assert_eq!(found["JACKFIELD_REASON"], "start-failed", "{found}");
    std::fs::remove_file(machine.path("/usr/lib/jackfield/plugins/start_faults.so"))
        .expect("the entry or file exists");

    machine.add_plugin("panics");
    let mut peer = machine.peer();

    // The method does not exist until the plugin is loaded.
    wait_until("a method panics", || {
        peer.send_async("a\nMESSAGE=forged\u{1b}b", "panics.panic", &Value::Null);
        peer.receive().code() == Some(PLUGIN_PANICKED)
    });

    let matches_fields = |entry: &Value| {
        entry["MESSAGE"].as_str().is_some_and(|text| text.starts_with("panics: panics.panic panicked at "))
    };
    wait_until("the panic is in the journal", || entries().iter().any(matches_fields));
    let found = entries().into_iter().find(matches_fields).expect("the entry or file exists");
    assert_eq!(found["JACKFIELD_PLUGIN"], "panics", "{found}");
    assert_eq!(found["JACKFIELD_METHOD"], "panics.panic", "{found}");

    assert!(
        found["JACKFIELD_GENERATION"].as_str().is_some_and(|number| number.parse::<u64>().is_ok()),
        "{found}"
    );
    // The journal stores valid text as a string, and anything else as an array of bytes.
    assert_eq!(found["JACKFIELD_ID"], "a\\nMESSAGE=forged\\u{1b}b", "{found}");
    std::fs::remove_file(machine.path("/usr/lib/jackfield/plugins/panics.so"))
        .expect("the entry or file exists");
}
