//! The shipped units under systemd as PID 1: access, confinement, and recovery.
//!
//! All steps share one system, because a boot takes most of the time. Each step leaves the service
//! as it was.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::continuous_clients::ContinuousClients;
use super::faults;
use super::machine::{ADMIN, Machine, SOCKET, missing};
use super::sandbox;
use super::skipped;
use super::supervisor::socket_file_metadata;
use crate::support::{Peer, wait_until};

/// Highest permitted exposure level of `systemd-analyze security`, times ten.
const EXPOSURE: &str = "--threshold=10";
/// Number of restarts under load. `JACKFIELD_TEST_RESTARTS` overrides it.
const RESTARTS: usize = 10;
const RELOADS: usize = 20;
/// A PHP client that connects, sends a request and prints the reply. It exits with the number of
/// the error.
const PHP: &str = r#"
    $s = @stream_socket_client("unix:///run/jackfield/jackfield.sock", $code, $text, 30);
    if (!$s) exit($code);
    $body = '{"method":"device.list"}';
    fwrite($s, pack("nCN", 0x100, 1, strlen($body)) . $body);
    echo fread($s, 4096);
"#;
/// `EACCES`.
const DENIED: i32 = 13;

/// The name of a step, and its function.
type Step = (&'static str, fn(&Machine));

#[test]
fn serves_with_the_shipped_units_under_systemd() {
    if let Some(missing) = missing() {
        return skipped("the shipped units under systemd", missing);
    }

    let machine = Machine::with_installed(&["device", "hello", "journal"]);
    machine.run_successfully(&["systemctl", "enable", "--now", "jackfield.socket", "jackfield-admin.socket"]);
    let before = [SOCKET, ADMIN].map(|socket| socket_file_metadata(&machine.path(socket)));

    let steps: [Step; 15] = [
        ("the units are valid and restrict the service", verifies_the_units),
        ("the first permitted connection starts the service", starts_on_the_first_permitted_connection),
        ("the service is confined and loads plugins", is_confined_and_loads_plugins),
        ("the sandbox of a worker is in force", sandbox::is_in_force),
        ("the status is reported", reports_its_status),
        ("a reload returns when it is applied", returns_from_reload_when_applied),
        ("metrics are served, over TCP with the drop-in", serves_metrics),
        ("a collector is reached with the drop-in", reaches_a_collector),
        ("the service is restarted under load", restarts_under_load),
        ("the service is stopped under load", stops_under_load),
        ("the service crashes under load", faults::recovers_from_crashes),
        ("the watchdog restarts the service", faults::is_restarted_by_the_watchdog),
        ("the service recovers from a crash loop", faults::recovers_from_a_crash_loop),
        ("errors are in the journal with their fields", faults::logs_errors_with_fields),
        ("the service runs as a dynamic user", runs_as_a_dynamic_user),
    ];

    for (name, step) in steps {
        eprintln!("--- {name}");
        let began = Instant::now();
        step(&machine);
        eprintln!("    {:?}", began.elapsed());
    }

    assert_eq!(
        [SOCKET, ADMIN].map(|socket| socket_file_metadata(&machine.path(socket))),
        before,
        "no socket was replaced"
    );
}

fn verifies_the_units(machine: &Machine) {
    let units = ["jackfield.service", "jackfield.socket", "jackfield-admin.socket"];
    let man = if machine.path("/usr/bin/man").exists() { "--man=yes" } else { "--man=no" };
    let verified = machine.run(&[&["systemd-analyze", "verify", man][..], &units].concat());
    assert_eq!((verified.code, verified.stdout.as_str(), verified.stderr.as_str()), (0, "", ""));

    let args = ["systemd-analyze", "security", "--offline=true", EXPOSURE, "--no-pager", units[0]];
    let output = machine.run_successfully(&args);
    eprintln!("    {}", output.lines().last().unwrap_or_default());
}

/// Runs the PHP client as a user of the system.
fn call_as(machine: &Machine, user: &str) -> (i32, String) {
    let (reuid, regid) = (format!("--reuid={user}"), format!("--regid={}", group_of(user)));
    let finished = machine.run(&["setpriv", &reuid, &regid, "--clear-groups", "php", "-r", PHP]);
    (finished.code, finished.stdout)
}

fn group_of(user: &str) -> &str {
    if user == "nobody" { "nogroup" } else { user }
}

fn starts_on_the_first_permitted_connection(machine: &Machine) {
    assert_eq!(machine.property("ActiveState"), "inactive");
    assert_eq!(call_as(machine, "nobody"), (DENIED, String::new()), "other users must not connect");
    assert_eq!(machine.property("ActiveState"), "inactive", "a denied connection starts nothing");

    let began = Instant::now();
    let (code, reply) = call_as(machine, "www-data");

    eprintln!("    answered {:?} after the start by the connection", began.elapsed());
    assert!(code == 0 && reply.contains("\"result\""), "{code} {reply:?}");
    wait_until("the service is ready", || machine.property("ActiveState") == "active");

    // Only the user of the host may connect to the admin socket.
    let php = PHP.replace("jackfield.sock", "jackfield-admin.sock");
    let finished = machine.run(&[
        "setpriv",
        "--reuid=www-data",
        "--regid=www-data",
        "--clear-groups",
        "php",
        "-r",
        &php,
    ]);
    assert_eq!(finished.code, DENIED);
}

fn is_confined_and_loads_plugins(machine: &Machine) {
    let pid = machine.main_pid().to_string();
    let status = machine.run_successfully(&["cat", &format!("/proc/{pid}/status")]);
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.split_whitespace().next().unwrap_or_default().to_owned()
    };

    let user = machine.run_successfully(&["id", "-u", "jackfield"]);
    assert_eq!(field("Uid:"), user.trim());
    assert_eq!(
        (field("NoNewPrivs:"), field("Seccomp:"), field("CapEff:")),
        ("1".into(), "2".into(), "0".repeat(16))
    );

    // Plugins are loaded from memory that can be executed but not written, before and after the
    // confinement.
    let maps = machine.run_successfully(&["cat", &format!("/proc/{pid}/maps")]);
    assert!(maps.lines().any(|line| line.contains("memfd:") && line.contains("r-xp")), "{maps}");
    assert!(!maps.lines().any(|line| line.contains("rwx")), "{maps}");

    machine.add_plugin("sleeps");
    machine.add_plugin("crashes");
    for method in ["sleep.running", "crash.abort"] {
        wait_until(method, || {
            let methods = machine.peer().result("system.methods", &Value::Null);
            methods.as_array().expect("names").contains(&json!(method))
        });
    }

    assert_eq!(machine.peer().result("sleep.blocking", &json!({ "ms": 1 })), 1);

    // The only directory that the service may write to.
    machine.peer().result("journal.append", &json!({ "topic": "t", "entry": "e" }));
    assert!(machine.path("/var/lib/jackfield/journal").is_dir());
}

fn reports_its_status(machine: &Machine) {
    let kept = machine.peer();
    wait_until("the status is reported", || {
        machine.property("StatusText").starts_with("1 connections, 0 in flight, ")
    });
    drop(kept);
}

fn returns_from_reload_when_applied(machine: &Machine) {
    let shipped =
        std::fs::read_to_string(machine.path("/etc/jackfield/config.toml")).expect("the configuration");
    let mut longest = Duration::ZERO;

    for reload in 0..RELOADS {
        let (count, began) = (10 + reload, Instant::now());
        machine.write(
            "/etc/jackfield/config.toml",
            &format!("{shipped}\n[plugin.device.settings]\nhistory = {count}\n"),
        );
        machine.run_successfully(&["systemctl", "reload", "jackfield.service"]);
        longest = longest.max(began.elapsed());
        let generation = generation_of_device(machine);
        machine.run_successfully(&["systemctl", "reload", "jackfield.service"]);
        assert_eq!(
            generation_of_device(machine),
            generation,
            "the first reload was applied before it returned"
        );
    }
    eprintln!("    {RELOADS} reloads, the longest {longest:?}");

    machine.write("/etc/jackfield/config.toml", "[speed]\n");
    assert_ne!(
        machine.run(&["systemctl", "reload", "jackfield.service"]).code,
        0,
        "a reload of an invalid configuration fails"
    );
    assert_eq!(machine.property("ActiveState"), "active", "the service continues");

    machine.write("/etc/jackfield/config.toml", &shipped);
    machine.run_successfully(&["systemctl", "reload", "jackfield.service"]);
}

fn generation_of_device(machine: &Machine) -> u64 {
    let info = machine.peer().result("system.info", &Value::Null);
    let plugins = info["plugins"].as_array().expect("plugins");
    let device = plugins.iter().find(|plugin| plugin["name"] == "device").expect("the plugin");
    device["generation"].as_u64().expect("a number")
}

fn serves_metrics(machine: &Machine) {
    const CONFIG: &str = "/etc/jackfield/config.toml";
    const DROP_IN: &str = "/run/systemd/system/jackfield.service.d/metrics.conf";
    let shipped = std::fs::read_to_string(machine.path(CONFIG)).expect("the configuration");
    let listen =
        |listen: &str| machine.write(CONFIG, &format!("{shipped}\n[metrics]\nlisten = \"{listen}\"\n"));
    let restart = || {
        machine.run_successfully(&["systemctl", "daemon-reload"]);
        machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);
    };

    // A Unix socket needs no drop-in.
    listen("/var/lib/jackfield/metrics.sock");
    restart();
    let scrape = |address: &str| {
        let php = format!(
            "$s = stream_socket_client('{address}'); fwrite($s, \"GET /metrics HTTP/1.0\\r\\n\\r\\n\"); \
             echo stream_get_contents($s);"
        );
        machine.run_successfully(&["php", "-r", &php])
    };
    assert!(scrape("unix:///var/lib/jackfield/metrics.sock").contains("\nipc_in_flight 0\n"));

    listen("127.0.0.1:9464");
    let drop_in = include_str!("../../../packaging/systemd/metrics.conf");
    machine.write(DROP_IN, drop_in);
    restart();

    let output = scrape("tcp://127.0.0.1:9464");
    assert!(output.starts_with("HTTP/1.") && output.contains("\nipc_in_flight 0\n"), "{output}");

    machine.write(CONFIG, &shipped);
    std::fs::remove_file(machine.path(DROP_IN)).expect("the file exists");
    restart();
}

/// The drop-in gives the network to the exporter, which then finds that nothing listens.
fn reaches_a_collector(machine: &Machine) {
    const CONFIG: &str = "/etc/jackfield/config.toml";
    const DROP_IN: &str = "/run/systemd/system/jackfield.service.d/trace.conf";
    let shipped = std::fs::read_to_string(machine.path(CONFIG)).expect("the configuration");
    let trace = "[trace]\notlp = \"http://127.0.0.1:4318\"\nsample = 1.0\ninterval = \"100ms\"\n";
    machine.write(CONFIG, &format!("{shipped}\n{trace}"));

    for (has_drop_in, reason) in [(false, "Address family not supported"), (true, "Connection refused")] {
        if has_drop_in {
            machine.write(DROP_IN, include_str!("../../../packaging/systemd/trace.conf"));
        }
        machine.run_successfully(&["systemctl", "daemon-reload"]);
        machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);
        machine.peer().result("sleep.blocking", &json!({ "ms": 1 }));
        let message = format!("spans cannot be exported to http://127.0.0.1:4318/v1/traces: {reason}");
        wait_until("the export fails", || machine.journal().contains(&message));
    }

    machine.write(CONFIG, &shipped);
    std::fs::remove_file(machine.path(DROP_IN)).expect("the file exists");
    machine.run_successfully(&["systemctl", "daemon-reload"]);
    machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);
}

fn restarts_under_load(machine: &Machine) {
    let restarts =
        std::env::var("JACKFIELD_TEST_RESTARTS").ok().and_then(|n| n.parse().ok()).unwrap_or(RESTARTS);
    let clients = ContinuousClients::start(&machine.path(SOCKET), 2);
    clients.wait_for(10);

    for _ in 0..restarts {
        let before = machine.main_pid();
        machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);
        assert_ne!(machine.main_pid(), before);
        clients.wait_for(10);
    }

    let tally = clients.stop();
    eprintln!("    {restarts} restarts: {tally:?}");
    assert_eq!((tally.refused, tally.lost), (0, 0), "{tally:?}");
}

fn stops_under_load(machine: &Machine) {
    let clients = ContinuousClients::start(&machine.path(SOCKET), 2);
    let mut slow = machine.peer();
    slow.send_sync("sleep.blocking", &json!({ "ms": 1500 }));
    wait_until("the call runs", || machine.peer().result("sleep.running", &Value::Null) == 1);
    let mut idle = Peer::connect(&machine.path(SOCKET));
    idle.assert_usable();

    // Clients send requests all the time, so socket activation starts the service again at once.
    // The stopped process has ended successfully.
    machine.run_successfully(&["systemctl", "stop", "jackfield.service"]);
    assert_eq!(slow.receive().result(), 1500, "the request in flight is answered");
    idle.expect_close();
    clients.wait_for(10);

    let tally = clients.stop();
    assert_eq!((tally.refused, tally.lost), (0, 0), "{tally:?}");

    let journal =
        machine.run_successfully(&["journalctl", "--no-pager", "--output=cat", "--unit=jackfield.service"]);
    assert!(!journal.contains("SIGKILL") && !journal.contains("timed out"), "{journal}");
}

fn runs_as_a_dynamic_user(machine: &Machine) {
    let part = "[Service]\nDynamicUser=yes\nUser=made-up\nGroup=made-up\nSupplementaryGroups=www-data\n";
    machine.write("/run/systemd/system/jackfield.service.d/user.conf", part);
    machine.run_successfully(&["systemctl", "daemon-reload"]);
    machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);

    let user = machine.run_successfully(&["stat", "--format=%U", &format!("/proc/{}", machine.main_pid())]);
    eprintln!("    the service runs as {}", user.trim());
    assert!(
        machine.peer().result("device.list", &json!({})).is_object(),
        "plugins that root owns are loaded"
    );

    std::fs::remove_file(machine.path("/run/systemd/system/jackfield.service.d/user.conf"))
        .expect("the file exists");
    machine.run_successfully(&["systemctl", "daemon-reload"]);
    machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);
}
