//! config.toml changed under a running host: everything that the new one says from then on, or
//! nothing of it.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, number, with_first};
use crate::support::peer::{DEADLINE_EXCEEDED, METHOD_NOT_FOUND, PLUGIN_UNAVAILABLE};
use crate::support::wait::wait_for;
use crate::support::{HostProcess, wait_until};

/// Configurations that come one after another under load.
const CHANGES: u32 = 200;

/// Replaces the configuration as careful programs do.
fn configure(host: &HostProcess, text: &str) {
    host.scratch().write("config.toml.new", text);
    fs::rename(host.path("config.toml.new"), host.path("config.toml")).expect("it is renamed into place");
}

/// How often the host said this.
fn said(host: &HostProcess, text: &str) -> usize {
    host.log_lines().iter().filter(|line| line.contains(text)).count()
}

/// Configures, and waits until the host has taken it.
#[track_caller]
fn take(host: &HostProcess, text: &str) {
    let before = said(host, "the configuration has changed");
    configure(host, text);
    wait_until("the configuration is taken", || said(host, "the configuration has changed") > before);
}

/// Configures, and waits until the host has said why it does not take it, to the last line; gives
/// back those lines.
#[track_caller]
fn refuse(host: &HostProcess, text: &str) -> String {
    let before = host.log_lines().len();
    configure(host, text);
    wait_for("the configuration is refused", || {
        let new = host.log_lines().split_off(before);
        let first = new.iter().position(|line| line.contains("the configuration stays as it was"))?;
        let count: usize =
            new[first].split_once("lines=")?.1.split(' ').next()?.parse().expect("a number of lines");
        new.get(first + 1..=first + count).map(|reasons| reasons.join("\n"))
    })
}

#[test]
fn routes_limits_and_time_outs_change_while_it_serves() {
    let host = with_first("");
    let mut peer = host.peer();
    assert_eq!(number(&mut peer), 1);
    let route = |more: &str| format!("[[route]]\nmethod = \"numbered.*\"\nplugin = \"subject\"\n{more}");
    take(&host, &route("timeout = \"200ms\""));
    peer.call("numbered.slow", &json!(1500)).error(DEADLINE_EXCEEDED);
    take(&host, &route("timeout = \"20s\"\nmax_in_flight = 1"));
    let mut other = host.peer();
    other.send_async("first", "numbered.slow", &json!(1000));
    wait_until("it is in flight", || host.count("in_flight") == 1);
    peer.call("numbered.blocking", &Value::Null).error(crate::support::peer::OVERLOADED);
    other.receive().result();
    take(&host, &route("enabled = false"));
    peer.call("numbered.inline", &Value::Null).error(METHOD_NOT_FOUND);
    take(&host, "[[route]]\nmethod = \"numbered.*\"\nplugin = \"nobody\"");
    peer.call("numbered.inline", &Value::Null).error(PLUGIN_UNAVAILABLE);
    take(&host, "[plugins]\nauto_route = false");
    peer.call("numbered.inline", &Value::Null).error(METHOD_NOT_FOUND);
    peer.call("nobody.at_all", &Value::Null).error(METHOD_NOT_FOUND);
    take(&host, "[[route]]\nmethod = \"nobody.*\"\nplugin = \"nobody\"\n[timeouts]\nrequest = \"250ms\"");
    peer.call("nobody.at_all", &Value::Null).error(PLUGIN_UNAVAILABLE);
    peer.call("numbered.slow", &json!(1500)).error(DEADLINE_EXCEEDED);
    take(&host, "[limits]\nin_flight_per_connection = 7\nconnections = 2");
    assert_eq!(number(&mut peer), 1);
    // Two are open, and stay so; a third is one too many.
    let mut third = host.peer();
    third.receive().error(crate::support::peer::OVERLOADED);
    take(&host, "[log]\nlevel = \"debug\"");
    number(&mut peer);
    host.wait_for_log("DEBUG");
}

#[test]
fn a_plugin_gets_its_new_settings_or_all_stays_as_it_was() {
    let settings = |text: &str| format!("[plugin.subject.settings]\n{text}\n");
    let host = with_first(&settings("word = \"one\""));
    let (mut operator, mut peer) = (Operator::of(&host), host.peer());
    assert_eq!(peer.result("numbered.settings", &Value::Null), json!({ "word": "one" }));
    let before = operator.generation();
    take(&host, &settings("word = \"two\""));
    assert_eq!(peer.result("numbered.settings", &Value::Null), json!({ "word": "two" }));
    assert_eq!(operator.generation(), before + 1);
    // What is said of others does not start it anew.
    take(&host, &format!("{}[timeouts]\nrequest = \"9s\"", settings("word = \"two\"")));
    assert_eq!(operator.generation(), before + 1);
    let failing = format!("{}[timeouts]\nrequest = \"100ms\"", settings("fail = true"));
    let said = refuse(&host, &failing);
    assert!(said.contains("plugin.subject: start-failed: "), "{said}");
    assert!(said.contains("the settings say that it fails"), "{said}");
    assert_eq!(peer.result("numbered.settings", &Value::Null), json!({ "word": "two" }));
    assert_eq!(peer.result("numbered.slow", &json!(400)), 1, "nothing of it was applied");
    let row = operator.wait_until_unloaded();
    assert_eq!((&row["generation"], &row["hash"].is_string()), (&json!(before + 1), &true), "{row}");
}

#[test]
fn a_plugin_that_failed_for_its_settings_is_tried_with_the_new_ones() {
    let builder = HostProcess::builder().config("[plugin.subject.settings]\nfail = true");
    super::put(&builder.directory().join("plugins"), &Image::numbered(1).0, FILE);
    let host = builder.start();
    let mut operator = Operator::of(&host);
    assert_eq!(operator.row(NAME)["refused"]["reason"], "start-failed");
    take(&host, "[plugin.subject.settings]\nfail = false");
    operator.wait_until("it serves", |row| row["state"] == "serving");
    assert_eq!(number(&mut host.peer()), 1);
}

#[test]
fn every_fault_is_said_and_nothing_is_applied() {
    let mut host = with_first("");
    let faulty = "[timeouts]\nrequest = \"soon\"\nwrite = \"1ms\"\n[limits]\nfrane = \"1KiB\"\n";
    let said_of_it = refuse(&host, faulty);
    for fault in ["config.toml:2:", "config.toml:5:", "soon", "frane"] {
        assert!(said_of_it.contains(fault), "{fault:?} in {said_of_it}");
    }
    assert_eq!(number(&mut host.peer()), 1);
    // The same faults are said once, also when a signal has it read again.
    for _ in 0..3 {
        host.signal(Signal::HUP);
    }
    take(&host, "[timeouts]\nrequest = \"9s\"");
    assert_eq!(said(&host, "the configuration stays as it was"), 1, "{}", host.log());
    for half in ["[timeouts", "[timeouts]\nrequest = ", "[plugins]\nwatch = tr"] {
        refuse(&host, half);
        assert_eq!(number(&mut host.peer()), 1, "{half}");
    }
    fs::remove_file(host.path("config.toml")).expect("it is there");
    wait_until("its absence is a fault", || said(&host, "the configuration stays as it was") == 5);
    take(&host, "[timeouts]\nrequest = \"8s\"");
}

#[test]
fn what_needs_a_restart_says_so() {
    let host = with_first("");
    let parts = [
        ("[[listener]]", "[[listener]]\nsocket = \"run/other.sock\""),
        ("[admin]", "[admin]\nsocket = \"run/other-admin.sock\""),
        ("plugins.directory", "[plugins]\ndirectory = \"other\""),
        ("log.format", "[log]\nformat = \"json\""),
    ];
    for (part, text) in parts {
        let before = said(&host, &format!("{part} has changed: that takes effect"));
        take(&host, text);
        assert_eq!(
            said(&host, &format!("{part} has changed: that takes effect")),
            before + 1,
            "{}",
            host.log()
        );
        assert_eq!(number(&mut host.peer()), 1);
    }
}

#[test]
fn one_that_is_being_written_over_is_taken_when_it_is_closed() {
    let route = "[[route]]\nmethod = \"numbered.inline\"\nplugin = \"subject\"\nenabled = ";
    let host = with_first(&format!("{route}false"));
    let mut peer = host.peer();
    let before = said(&host, "the configuration has changed");
    // Empty from here on: applied, that would open the route.
    let mut file = fs::File::create(host.path("config.toml")).expect("it is written over");
    let begun = Instant::now();
    wait_until("a file that nobody has open would have been read", || {
        peer.call("numbered.inline", &Value::Null).error(METHOD_NOT_FOUND);
        begun.elapsed() > Duration::from_millis(800)
    });
    file.write_all(format!("{route}true\n[limits]\nconnections = 100\n").as_bytes())
        .expect("the whole of it");
    drop(file);
    wait_until("it is taken", || said(&host, "the configuration has changed") > before);
    assert_eq!(said(&host, "the configuration has changed"), before + 1, "{}", host.log());
    assert_eq!(number(&mut peer), 1);
    // As a full disk leaves it: only who says that it is meant has it applied.
    drop(fs::File::create(host.path("config.toml")).expect("it is emptied"));
    host.wait_for_log("config.toml: it is empty");
    fs::write(host.path("config.toml"), format!("{route}false\n")).expect("it is written");
    wait_until("another one is taken", || {
        peer.call("numbered.inline", &Value::Null).code() == Some(METHOD_NOT_FOUND)
    });
    fs::write(host.path("config.toml"), "").expect("it is emptied");
    assert_eq!(crate::support::program::jackfield(host.directory(), &["reload"]).code, 0);
    assert_eq!(number(&mut peer), 1);
}

#[test]
fn good_bad_and_half_written_ones_under_load_are_taken_whole_or_not_at_all() {
    // Two routes that must change together: which one is open says which configuration a request
    // met.
    let text = |name: &str, other: &str| {
        format!(
            "[[route]]\nmethod = \"numbered.{name}\"\nplugin = \"subject\"\n\
             [[route]]\nmethod = \"numbered.{other}\"\nplugin = \"subject\"\nenabled = false\n"
        )
    };
    let (even, odd) = (text("inline", "blocking"), text("blocking", "inline"));
    let host = with_first(&even);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (mut peer, stop) = (host.peer(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut asked = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    // Both in one write, so that one turn of the host mostly takes both.
                    peer.send_sync("numbered.inline", &Value::Null);
                    peer.send_sync("numbered.blocking", &Value::Null);
                    for reply in peer.receive_all(2) {
                        assert!(matches!(reply.code(), None | Some(METHOD_NOT_FOUND)), "{reply:?}");
                    }
                    // Never is any other method touched.
                    assert_eq!(peer.result("numbered.later", &json!(0)), 1);
                    asked += 3;
                }
                asked
            })
        })
        .collect();
    let mut peer = host.peer();
    for change in 0..CHANGES {
        match change % 8 {
            0 => take(&host, if change % 16 == 0 { &odd } else { &even }),
            // In place, in two steps, the first of them no document.
            1..4 => fs::write(host.path("config.toml"), &even[..even.len() - 4]).expect("most of it"),
            4 => fs::write(host.path("config.toml"), "[plugins]\nauto_route = maybe").expect("a bad one"),
            _ => configure(&host, "[plugins]\nauto_route = false\nrubbish = 1"),
        }
        let is_odd = change % 16 < 8;
        let open =
            |peer: &mut crate::support::Peer, name: &str| peer.call(name, &Value::Null).code().is_none();
        let met = (open(&mut peer, "numbered.inline"), open(&mut peer, "numbered.blocking"));
        assert_eq!(met, (!is_odd, is_odd), "change {change}: {}", host.log());
    }
    stop.store(true, Ordering::Relaxed);
    let asked: u64 = clients.into_iter().map(|client| client.join().expect("no reply was amiss")).sum();
    assert!(asked > 0);
}
