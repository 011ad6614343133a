//! The shipped units under systemd as PID 1: what they let in, what they take away, and what they
//! bring back.
//!
//! One system for all of it, for a boot is the dearest part: each step leaves the service as it
//! found it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::continuous_clients::Customers;
use super::faults;
use super::machine::{ADMIN, Machine, SOCKET, missing};
use super::skipped;
use super::supervisor::facts;
use crate::support::{Peer, wait_until};

/// The most that `systemd-analyze security` may find, times ten.
const EXPOSURE: &str = "--threshold=10";
/// How often the service is restarted under load; `JACKFIELD_TEST_RESTARTS` says otherwise.
const RESTARTS: usize = 10;
const RELOADS: usize = 20;
/// A client as PHP writes it: connects, asks, prints the reply. It fails by the number of the
/// error.
const PHP: &str = r#"
    $s = @stream_socket_client("unix:///run/jackfield/jackfield.sock", $code, $text, 30);
    if (!$s) exit($code);
    $body = '{"method":"device.list"}';
    fwrite($s, pack("nCN", 0x100, 1, strlen($body)) . $body);
    echo fread($s, 4096);
"#;
/// `EACCES`.
const DENIED: i32 = 13;

/// What is tested, in words, and the test.
type Step = (&'static str, fn(&Machine));

#[test]
fn the_shipped_units_under_systemd() {
    if let Some(missing) = missing() {
        return skipped("the shipped units under systemd", missing);
    }
    let machine = Machine::with_installed(&["device", "hello", "journal"]);
    machine.must(&["systemctl", "enable", "--now", "jackfield.socket", "jackfield-admin.socket"]);
    let before = [SOCKET, ADMIN].map(|socket| facts(&machine.path(socket)));
    let steps: [Step; 13] = [
        ("the units are without fault, and little is left open", verified),
        ("the first connection starts it, for those who may", started_by_www_data),
        ("what it may not, and that plugins load all the same", confined),
        ("it says how it is", told),
        ("a reload is over when it is applied", reloaded),
        ("its metrics are read, with the drop-in for that", scraped),
        ("it is restarted under load", restarted),
        ("it is stopped under load", stopped),
        ("it ends by itself under load", faults::ended),
        ("the watchdog ends it", faults::watched),
        ("a crash loop heals", faults::looped),
        ("errors are in the journal with their fields", faults::journalled),
        ("another user, made up at its start", another_user),
    ];
    for (name, step) in steps {
        eprintln!("--- {name}");
        let began = Instant::now();
        step(&machine);
        eprintln!("    {:?}", began.elapsed());
    }
    assert_eq!([SOCKET, ADMIN].map(|socket| facts(&machine.path(socket))), before, "no socket was made anew");
}

fn verified(machine: &Machine) {
    let units = ["jackfield.service", "jackfield.socket", "jackfield-admin.socket"];
    let man = if machine.path("/usr/bin/man").exists() { "--man=yes" } else { "--man=no" };
    let verified = machine.run(&[&["systemd-analyze", "verify", man][..], &units].concat());
    assert_eq!((verified.code, verified.stdout.as_str(), verified.stderr.as_str()), (0, "", ""));
    let words = ["systemd-analyze", "security", "--offline=true", EXPOSURE, "--no-pager", units[0]];
    let said = machine.must(&words);
    eprintln!("    {}", said.lines().last().unwrap_or_default());
}

/// Runs the PHP client as a user in there.
fn ask_as(machine: &Machine, user: &str) -> (i32, String) {
    let (reuid, regid) = (format!("--reuid={user}"), format!("--regid={}", group_of(user)));
    let asked = machine.run(&["setpriv", &reuid, &regid, "--clear-groups", "php", "-r", PHP]);
    (asked.code, asked.stdout)
}

fn group_of(user: &str) -> &str {
    if user == "nobody" { "nogroup" } else { user }
}

fn started_by_www_data(machine: &Machine) {
    assert_eq!(machine.property("ActiveState"), "inactive");
    assert_eq!(ask_as(machine, "nobody"), (DENIED, String::new()), "who may not connect");
    assert_eq!(machine.property("ActiveState"), "inactive", "nor starts anything by trying");
    let began = Instant::now();
    let (code, reply) = ask_as(machine, "www-data");
    eprintln!("    answered {:?} after nothing ran", began.elapsed());
    assert!(code == 0 && reply.contains("\"result\""), "{code} {reply:?}");
    wait_until("it is ready", || machine.property("ActiveState") == "active");
    // The operators' socket is for the host's own user.
    let php = PHP.replace("jackfield.sock", "jackfield-admin.sock");
    let asked = machine.run(&[
        "setpriv",
        "--reuid=www-data",
        "--regid=www-data",
        "--clear-groups",
        "php",
        "-r",
        &php,
    ]);
    assert_eq!(asked.code, DENIED);
}

fn confined(machine: &Machine) {
    let pid = machine.main_pid().to_string();
    let status = machine.must(&["cat", &format!("/proc/{pid}/status")]);
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.split_whitespace().next().unwrap_or_default().to_owned()
    };
    let user = machine.must(&["id", "-u", "jackfield"]);
    assert_eq!(field("Uid:"), user.trim());
    assert_eq!(
        (field("NoNewPrivs:"), field("Seccomp:"), field("CapEff:")),
        ("1".into(), "2".into(), "0".repeat(16))
    );
    // Its plugins were loaded so, from memory that may be executed and not written; and so are
    // later ones.
    let maps = machine.must(&["cat", &format!("/proc/{pid}/maps")]);
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
    // The one place where it may write.
    machine.peer().result("journal.append", &json!({ "topic": "t", "entry": "e" }));
    assert!(machine.path("/var/lib/jackfield/journal").is_dir());
}

fn told(machine: &Machine) {
    let kept = machine.peer();
    wait_until("the status is told", || {
        machine.property("StatusText").starts_with("1 connections, 0 in flight, ")
    });
    drop(kept);
}

fn reloaded(machine: &Machine) {
    let shipped =
        std::fs::read_to_string(machine.path("/etc/jackfield/config.toml")).expect("the configuration");
    let mut longest = Duration::ZERO;
    for reload in 0..RELOADS {
        let (count, began) = (10 + reload, Instant::now());
        machine.write(
            "/etc/jackfield/config.toml",
            &format!("{shipped}\n[plugin.device.settings]\nhistory = {count}\n"),
        );
        machine.must(&["systemctl", "reload", "jackfield.service"]);
        longest = longest.max(began.elapsed());
        let generation = generation_of_device(machine);
        machine.must(&["systemctl", "reload", "jackfield.service"]);
        assert_eq!(
            generation_of_device(machine),
            generation,
            "it was applied when the first reload had ended"
        );
    }
    eprintln!("    {RELOADS} reloads, the longest {longest:?}");
    machine.write("/etc/jackfield/config.toml", "[speed]\n");
    assert_ne!(
        machine.run(&["systemctl", "reload", "jackfield.service"]).code,
        0,
        "a reload of nothing fails"
    );
    assert_eq!(machine.property("ActiveState"), "active", "and nothing else");
    machine.write("/etc/jackfield/config.toml", &shipped);
    machine.must(&["systemctl", "reload", "jackfield.service"]);
}

fn generation_of_device(machine: &Machine) -> u64 {
    let info = machine.peer().result("system.info", &Value::Null);
    let plugins = info["plugins"].as_array().expect("plugins");
    let device = plugins.iter().find(|plugin| plugin["name"] == "device").expect("the plugin");
    device["generation"].as_u64().expect("a number")
}

fn scraped(machine: &Machine) {
    const CONFIG: &str = "/etc/jackfield/config.toml";
    const DROP_IN: &str = "/run/systemd/system/jackfield.service.d/metrics.conf";
    let shipped = std::fs::read_to_string(machine.path(CONFIG)).expect("the configuration");
    let listen =
        |listen: &str| machine.write(CONFIG, &format!("{shipped}\n[metrics]\nlisten = \"{listen}\"\n"));
    let restart = || {
        machine.must(&["systemctl", "daemon-reload"]);
        machine.must(&["systemctl", "restart", "jackfield.service"]);
    };
    // A socket needs nothing more.
    listen("/var/lib/jackfield/metrics.sock");
    restart();
    let ask = |address: &str| {
        let php = format!(
            "$s = stream_socket_client('{address}'); fwrite($s, \"GET /metrics HTTP/1.0\\r\\n\\r\\n\"); \
             echo stream_get_contents($s);"
        );
        machine.must(&["php", "-r", &php])
    };
    assert!(ask("unix:///var/lib/jackfield/metrics.sock").contains("\nipc_in_flight 0\n"));
    listen("127.0.0.1:9464");
    let drop_in = include_str!("../../../packaging/systemd/metrics.conf");
    machine.write(DROP_IN, drop_in);
    restart();
    let said = ask("tcp://127.0.0.1:9464");
    assert!(said.starts_with("HTTP/1.") && said.contains("\nipc_in_flight 0\n"), "{said}");
    machine.write(CONFIG, &shipped);
    std::fs::remove_file(machine.path(DROP_IN)).expect("it is there");
    restart();
}

fn restarted(machine: &Machine) {
    let restarts =
        std::env::var("JACKFIELD_TEST_RESTARTS").ok().and_then(|n| n.parse().ok()).unwrap_or(RESTARTS);
    let customers = Customers::at(&machine.path(SOCKET), 2);
    customers.wait_for(10);
    for _ in 0..restarts {
        let before = machine.main_pid();
        machine.must(&["systemctl", "restart", "jackfield.service"]);
        assert_ne!(machine.main_pid(), before);
        customers.wait_for(10);
    }
    let tally = customers.end();
    eprintln!("    {restarts} restarts: {tally:?}");
    assert_eq!((tally.refused, tally.lost), (0, 0), "{tally:?}");
}

fn stopped(machine: &Machine) {
    let customers = Customers::at(&machine.path(SOCKET), 2);
    let mut slow = machine.peer();
    slow.send_sync("sleep.blocking", &json!({ "ms": 1500 }));
    wait_until("it runs", || machine.peer().result("sleep.running", &Value::Null) == 1);
    let mut idle = Peer::connect(&machine.path(SOCKET));
    idle.assert_usable();
    // Somebody asks all the time, so it is started anew at once; the one that was stopped has ended
    // well.
    machine.must(&["systemctl", "stop", "jackfield.service"]);
    assert_eq!(slow.receive().result(), 1500, "what was in flight is answered");
    idle.expect_close();
    customers.wait_for(10);
    let tally = customers.end();
    assert_eq!((tally.refused, tally.lost), (0, 0), "{tally:?}");
    let journal = machine.must(&["journalctl", "--no-pager", "--output=cat", "--unit=jackfield.service"]);
    assert!(!journal.contains("SIGKILL") && !journal.contains("timed out"), "{journal}");
}

fn another_user(machine: &Machine) {
    let part = "[Service]\nDynamicUser=yes\nUser=made-up\nGroup=made-up\nSupplementaryGroups=www-data\n";
    machine.write("/run/systemd/system/jackfield.service.d/user.conf", part);
    machine.must(&["systemctl", "daemon-reload"]);
    machine.must(&["systemctl", "restart", "jackfield.service"]);
    let user = machine.must(&["stat", "--format=%U", &format!("/proc/{}", machine.main_pid())]);
    eprintln!("    it runs as {}", user.trim());
    assert!(machine.peer().result("device.list", &json!({})).is_object(), "root's plugins are loaded");
    std::fs::remove_file(machine.path("/run/systemd/system/jackfield.service.d/user.conf"))
        .expect("it is there");
    machine.must(&["systemctl", "daemon-reload"]);
    machine.must(&["systemctl", "restart", "jackfield.service"]);
}
