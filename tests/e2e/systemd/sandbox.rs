//! The sandbox of a worker under the shipped unit. This is a step of the test in `shipped_units`.

use serde_json::{Value, json};

use super::machine::Machine;
use crate::support::wait_until;

const CONFIG: &str = "/etc/jackfield/config.toml";
const DROP_IN: &str = "/run/systemd/system/jackfield.service.d/landlock.conf";

const WORKER: &str = "[plugin.attempts]\nisolation = \"worker\"\n[plugin.attempts.worker.sandbox]\n\
    write = [\"/var/lib/jackfield/attempts\"]\nrequired = true\n";

/// The unit has to permit the system calls that the sandbox is made of, and not to do its work: the
/// attempts are some that the unit permits.
pub(super) fn is_in_force(machine: &Machine) {
    let shipped = std::fs::read_to_string(machine.path(CONFIG)).expect("the configuration");
    let owned = ["install", "-d", "-o", "jackfield", "-g", "jackfield", "/var/lib/jackfield/attempts"];
    machine.run_successfully(&owned);
    machine.add_plugin("attempts");
    machine.write(CONFIG, &format!("{shipped}\n{WORKER}"));
    machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);

    let attempt = |attempt: Value| machine.peer().result("attempt.make", &attempt);
    wait_until("the worker serves", || {
        let methods = machine.peer().result("system.methods", &Value::Null);
        methods.as_array().expect("names").contains(&json!("attempt.make"))
    });
    let host = machine.main_pid();
    let denied = [
        json!({ "read": "/etc/passwd" }),
        json!({ "list": "/var/lib/jackfield/state" }),
        json!({ "write": "/var/lib/jackfield/new" }),
        json!({ "chmod": "/var/lib/jackfield/state" }),
        json!({ "execute": "/usr/bin/jackfield" }),
        json!({ "kill": [host, 9] }),
        json!({ "limit": host }),
    ];
    for what in denied {
        assert_ne!(attempt(what.clone()), 0, "{what}");
    }
    assert_eq!(attempt(json!({ "write": "/var/lib/jackfield/attempts/new" })), 0);
    assert_eq!(attempt(json!({ "read": "/dev/urandom" })), 0);

    let journal = machine.journal();
    let line = journal.lines().rfind(|line| line.contains("restricted: ")).expect("a report");
    eprintln!("    {line}");
    assert!(line.contains("files") && line.contains("system calls"), "{line}");
    assert!(!line.contains("not enforced"), "{line}");

    refuses_where_the_unit_forbids_it(machine);
    machine.write(CONFIG, &shipped);
    machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);
}

/// A required sandbox must not be skipped because the service manager forbids it.
fn refuses_where_the_unit_forbids_it(machine: &Machine) {
    machine.write(DROP_IN, "[Service]\nSystemCallFilter=~landlock_create_ruleset\n");
    machine.run_successfully(&["systemctl", "daemon-reload"]);
    machine.run_successfully(&["systemctl", "restart", "jackfield.service"]);

    wait_until("the plugin is refused", || machine.journal().contains("(sandbox-unavailable)"));

    std::fs::remove_file(machine.path(DROP_IN)).expect("the file exists");
    machine.run_successfully(&["systemctl", "daemon-reload"]);
}
