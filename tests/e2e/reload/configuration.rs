//! Changes of the configuration file at runtime: they are applied completely or not at all.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Operator, number, with_first};
use crate::support::peer::{DEADLINE_EXCEEDED, METHOD_NOT_FOUND, PLUGIN_UNAVAILABLE};
use crate::support::wait::wait_for;
use crate::support::{HostProcess, wait_until};

/// Configurations that are applied one after another under load.
const CHANGES: u32 = 200;

/// The part of the line about a refused configuration before its faults.
const NOT_APPLIED: &str = "config.toml not applied, the previous one stays in effect: ";

/// Replaces the configuration file by renaming.
fn configure(host: &HostProcess, text: &str) {
    host.scratch().write("config.toml.new", text);
    fs::rename(host.path("config.toml.new"), host.path("config.toml")).expect("the file is renamed");
}

/// Returns the number of log lines that contain this text.
fn count_lines(host: &HostProcess, text: &str) -> usize {
    host.log_lines().iter().filter(|line| line.contains(text)).count()
}

/// Replaces the configuration and waits until it is applied.
#[track_caller]
fn apply(host: &HostProcess, text: &str) {
    let before = count_lines(host, "config.toml applied");
    configure(host, text);
    wait_until("the configuration is applied", || count_lines(host, "config.toml applied") > before);
}

/// Replaces the configuration, waits until the host has logged that it is refused, and returns the
/// line with all reasons.
#[track_caller]
fn refuse(host: &HostProcess, text: &str) -> String {
    let before = host.log_lines().len();
    configure(host, text);
    wait_for("the configuration is refused", || {
        let new = host.log_lines().split_off(before);
        new.into_iter().find(|line| line.contains(NOT_APPLIED))
    })
}

#[test]
fn applies_routes_limits_and_timeouts_at_runtime() {
    let host = with_first("");
    let mut peer = host.peer();
    assert_eq!(number(&mut peer), 1);

    let route = |more: &str| format!("[[route]]\nmethod = \"numbered.*\"\nplugin = \"subject\"\n{more}");

    apply(&host, &route("timeout = \"200ms\""));
    peer.call("numbered.slow", &json!(1500)).error(DEADLINE_EXCEEDED);
    apply(&host, &route("timeout = \"20s\"\nmax_in_flight = 1"));
    let mut other = host.peer();
    other.send_async("first", "numbered.slow", &json!(1000));
    wait_until("the request is in flight", || host.count("in_flight") == 1);
    peer.call("numbered.blocking", &Value::Null).error(crate::support::peer::OVERLOADED);
    other.receive().result();

    apply(&host, &route("enabled = false"));
    peer.call("numbered.inline", &Value::Null).error(METHOD_NOT_FOUND);

    apply(&host, "[[route]]\nmethod = \"numbered.*\"\nplugin = \"nobody\"");
    peer.call("numbered.inline", &Value::Null).error(PLUGIN_UNAVAILABLE);

    apply(&host, "[plugins]\nauto_route = false");
    peer.call("numbered.inline", &Value::Null).error(METHOD_NOT_FOUND);
    peer.call("nobody.at_all", &Value::Null).error(METHOD_NOT_FOUND);

    apply(&host, "[[route]]\nmethod = \"nobody.*\"\nplugin = \"nobody\"\n[timeouts]\nrequest = \"250ms\"");
    peer.call("nobody.at_all", &Value::Null).error(PLUGIN_UNAVAILABLE);
    peer.call("numbered.slow", &json!(1500)).error(DEADLINE_EXCEEDED);

    apply(&host, "[limits]\nin_flight_per_connection = 7\nconnections = 2");
    assert_eq!(number(&mut peer), 1);
    // Two connections are open and stay open. A third one exceeds the limit.
    let mut third = host.peer();
    third.receive().error(crate::support::peer::OVERLOADED);

    apply(&host, "[log]\nlevel = \"debug\"");
    number(&mut peer);
    host.wait_for_log("DEBUG");
}

#[test]
fn applies_new_settings_of_a_plugin_or_nothing() {
    let settings = |text: &str| format!("[plugin.subject.settings]\n{text}\n");
    let host = with_first(&settings("word = \"one\""));
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());

    assert_eq!(peer.result("numbered.settings", &Value::Null), json!({ "word": "one" }));

    let before = operator.generation();
    apply(&host, &settings("word = \"two\""));
    assert_eq!(peer.result("numbered.settings", &Value::Null), json!({ "word": "two" }));
    assert_eq!(operator.generation(), before + 1);

    // A change elsewhere does not restart the plugin.
    apply(&host, &format!("{}[timeouts]\nrequest = \"9s\"", settings("word = \"two\"")));
    assert_eq!(operator.generation(), before + 1);

    let failing = format!("{}[timeouts]\nrequest = \"100ms\"", settings("fail = true"));
    let reasons = refuse(&host, &failing);
    assert!(
        reasons.contains("plugin.subject: cannot run with its new settings (start-failed): "),
        "{reasons}"
    );
    assert!(reasons.contains("the settings request a failure"), "{reasons}");

    assert_eq!(peer.result("numbered.settings", &Value::Null), json!({ "word": "two" }));
    assert_eq!(peer.result("numbered.slow", &json!(400)), 1, "nothing of the configuration is applied");
    let row = operator.wait_until_unloaded();
    assert_eq!((&row["generation"], &row["hash"].is_string()), (&json!(before + 1), &true), "{row}");
}

#[test]
fn reports_every_fault_and_applies_nothing() {
    let mut host = with_first("");

    let faulty = "[timeouts]\nrequest = \"soon\"\nwrite = \"1ms\"\n[limits]\nfrane = \"1KiB\"\n";
    let reasons = refuse(&host, faulty);
    for fault in ["config.toml:2:", "config.toml:5:", "soon", "frane"] {
        assert!(reasons.contains(fault), "{fault:?} in {reasons}");
    }

    assert_eq!(number(&mut host.peer()), 1);
    // The same faults are logged only once, even if a signal causes another reload.
    for _ in 0..3 {
        host.signal(Signal::HUP);
    }

    apply(&host, "[timeouts]\nrequest = \"9s\"");
    assert_eq!(count_lines(&host, NOT_APPLIED), 1, "{}", host.log());

    for half in ["[timeouts", "[timeouts]\nrequest = ", "[plugins]\nwatch = tr"] {
        refuse(&host, half);
        assert_eq!(number(&mut host.peer()), 1, "{half}");
    }

    fs::remove_file(host.path("config.toml")).expect("the file exists");
    wait_until("the missing file is reported", || count_lines(&host, NOT_APPLIED) == 5);

    apply(&host, "[timeouts]\nrequest = \"8s\"");
}

#[test]
fn warns_about_changes_that_require_a_restart() {
    let host = with_first("");

    let parts = [
        ("[[listener]]", "[[listener]]\nsocket = \"run/other.sock\""),
        ("[admin]", "[admin]\nsocket = \"run/other-admin.sock\""),
        ("plugins.directory", "[plugins]\ndirectory = \"other\""),
        ("log.format", "[log]\nformat = \"json\""),
    ];
    for (part, text) in parts {
        let message = format!("{part} changed; restart the host to apply it");
        let before = count_lines(&host, &message);
        apply(&host, text);

        assert_eq!(count_lines(&host, &message), before + 1, "{}", host.log());
        assert_eq!(number(&mut host.peer()), 1);
    }
}

#[test]
fn applies_a_file_only_after_it_is_closed() {
    let route = "[[route]]\nmethod = \"numbered.inline\"\nplugin = \"subject\"\nenabled = ";
    let host = with_first(&format!("{route}false"));
    let mut peer = host.peer();
    let before = count_lines(&host, "config.toml applied");

    // The file is empty from here on. Applied, that would enable the route.
    let mut file = fs::File::create(host.path("config.toml")).expect("the file is truncated");

    let begun = Instant::now();
    wait_until("a closed file would have been read", || {
        peer.call("numbered.inline", &Value::Null).error(METHOD_NOT_FOUND);
        begun.elapsed() > Duration::from_millis(800)
    });

    file.write_all(format!("{route}true\n[limits]\nconnections = 100\n").as_bytes())
        .expect("the file is written");
    drop(file);

    wait_until("the configuration is applied", || count_lines(&host, "config.toml applied") > before);
    assert_eq!(count_lines(&host, "config.toml applied"), before + 1, "{}", host.log());
    assert_eq!(number(&mut peer), 1);

    // An empty file, as a full disk leaves it, is applied only by an explicit command.
    drop(fs::File::create(host.path("config.toml")).expect("the file is emptied"));
    host.wait_for_log("config.toml: the file is empty");
    fs::write(host.path("config.toml"), format!("{route}false\n")).expect("the file is written");
    wait_until("the next configuration is applied", || {
        peer.call("numbered.inline", &Value::Null).code() == Some(METHOD_NOT_FOUND)
    });
    fs::write(host.path("config.toml"), "").expect("the file is emptied");
    assert_eq!(crate::support::program::jackfield(host.directory(), &["reload"]).code, 0);
    assert_eq!(number(&mut peer), 1);
}

#[test]
fn applies_configurations_atomically_under_load() {
    // Two routes must change together: the enabled one shows which configuration a request met.
    let text = |name: &str, other: &str| {
        format!(
            "[[route]]\nmethod = \"numbered.{name}\"\nplugin = \"subject\"\n\
             [[route]]\nmethod = \"numbered.{other}\"\nplugin = \"subject\"\nenabled = false\n"
        )
    };
    let (even, odd) = (text("inline", "blocking"), text("blocking", "inline"));

    let host = with_first(&even);

    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (mut peer, is_over) = (host.peer(), Arc::clone(&is_over));
            thread::spawn(move || {
                let mut requests = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    // Both requests in one write, so that the host usually processes them in one
                    // turn.
                    peer.send_sync("numbered.inline", &Value::Null);
                    peer.send_sync("numbered.blocking", &Value::Null);
                    for reply in peer.receive_all(2) {
                        assert!(matches!(reply.code(), None | Some(METHOD_NOT_FOUND)), "{reply:?}");
                    }
                    // The other methods are not affected.
                    assert_eq!(peer.result("numbered.later", &json!(0)), 1);
                    requests += 3;
                }
                requests
            })
        })
        .collect();

    let mut peer = host.peer();

    for change in 0..CHANGES {
        match change % 8 {
            0 => apply(&host, if change % 16 == 0 { &odd } else { &even }),
            // In place and in two steps, the first of which is not a valid document.
            1..4 => fs::write(host.path("config.toml"), &even[..even.len() - 4])
                .expect("a partial file is written"),
            4 => fs::write(host.path("config.toml"), "[plugins]\nauto_route = maybe")
                .expect("an invalid file is written"),
            _ => configure(&host, "[plugins]\nauto_route = false\nrubbish = 1"),
        }

        let is_odd = change % 16 < 8;
        let open =
            |peer: &mut crate::support::Peer, name: &str| peer.call(name, &Value::Null).code().is_none();
        let enabled = (open(&mut peer, "numbered.inline"), open(&mut peer, "numbered.blocking"));
        assert_eq!(enabled, (!is_odd, is_odd), "change {change}: {}", host.log());
    }

    is_over.store(true, Ordering::Relaxed);
    let requests: u64 = clients.into_iter().map(|client| client.join().expect("every reply is valid")).sum();
    assert!(requests > 0);
}

/// Points the link at `path` to another target, by renaming a new link over it.
fn link(host: &HostProcess, target: &str, path: &str) {
    let new = host.path("new-link");
    symlink(target, &new).expect("the link is created");
    fs::rename(new, host.path(path)).expect("the link is renamed");
}

/// Waits until the route to the plugin is enabled, or disabled.
#[track_caller]
fn wait_until_routed(host: &HostProcess, is_routed: bool) {
    let mut peer = host.peer();
    let expected = (!is_routed).then_some(METHOD_NOT_FOUND);
    wait_until("the configuration is applied", || {
        peer.call("numbered.inline", &Value::Null).code() == expected
    });
}

#[test]
fn follows_a_configuration_that_is_reached_through_links() {
    let route = "[[route]]\nmethod = \"numbered.inline\"\nplugin = \"subject\"\nenabled = ";
    let host = with_first(&format!("{route}true"));
    let write = |directory: &str, is_enabled: bool| {
        host.scratch().directory(directory);
        host.scratch().write(&format!("{directory}/config.toml"), format!("{route}{is_enabled}\n"));
    };

    // The layout of a ConfigMap mount. A change replaces the link `..data`.
    write("..1", false);
    link(&host, "..1", "..data");
    link(&host, "..data/config.toml", "config.toml");
    wait_until_routed(&host, false);

    write("..2", true);
    link(&host, "..2", "..data");
    fs::remove_dir_all(host.path("..1")).expect("the previous directory is removed");
    wait_until_routed(&host, true);

    // A link to a shared file, whose directory reports no events to the host.
    write("shared", false);
    link(&host, "shared/config.toml", "config.toml");
    wait_until_routed(&host, false);
    write("shared", true);
    wait_until_routed(&host, true);
    write("shared.new", false);
    fs::rename(host.path("shared.new/config.toml"), host.path("shared/config.toml")).expect("it is renamed");
    wait_until_routed(&host, false);

    // A link that leads nowhere is reported, and the configuration stays in effect.
    fs::remove_file(host.path("shared/config.toml")).expect("the file is removed");
    host.wait_for_log(NOT_APPLIED);
    wait_until_routed(&host, false);
    write("shared", true);
    wait_until_routed(&host, true);
}
