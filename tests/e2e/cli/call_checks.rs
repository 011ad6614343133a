//! `jackfield call`: params that are checked before they are sent, examples, and the completion of
//! methods.

use std::fs;

use serde_json::json;

use super::older_host::OlderHost;
use crate::support::HostProcess;
use crate::support::build::artifacts;
use crate::support::program::{Finished, command, finish, jackfield};

/// The exit code of params that cannot be sent.
const EX_USAGE: i32 = 64;

#[test]
fn names_every_wrong_field_and_sends_nothing() {
    let host = HostProcess::with(&["device"]);
    let update =
        |params: &[&str]| jackfield(host.directory(), &[&["call", "device.status.update"], params].concat());

    let Finished { code, stdout, stderr } = update(&[r#"{"deviceId":"","status":"lost"}"#]);
    assert_eq!((code, stdout.as_str()), (EX_USAGE, ""), "{stderr}");
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines[0], "params.deviceId: must have at least 1 character");
    assert!(lines[1].starts_with("params.status: must be \"online\" or \"offline\""), "{stderr}");
    assert!(lines[2].starts_with("not sent; ") && lines.len() == 3, "{stderr}");

    let missing = update(&[]);
    assert_eq!(missing.code, EX_USAGE, "{missing:?}");
    assert!(missing.stderr.contains("params.deviceId: is required\n"), "{missing:?}");

    let list = jackfield(host.directory(), &["call", "device.list", "{}"]);
    assert_eq!(list.stdout, "{\"devices\":[],\"total\":0}\n", "nothing was sent");
    // The plugin decides.
    let sent = update(&["--no-check", r#"{"deviceId":"","status":"online"}"#]);
    assert_eq!(sent.code, 1, "{sent:?}");
    assert!(sent.stderr.contains("-32602") && sent.stderr.contains("must not be empty"), "{sent:?}");
}

#[test]
fn sends_params_of_methods_that_are_not_described_or_not_listed() {
    let host = HostProcess::with(&["echoes"]);

    let unlisted = jackfield(host.directory(), &["call", "no.such.method", "[1]"]);
    assert!(unlisted.code == 1 && unlisted.stderr.contains("-32601"), "{unlisted:?}");
    let own = jackfield(host.directory(), &["call", "system.echo", "[1]"]);
    assert_eq!((own.code, own.stdout.as_str()), (0, "[1]\n"));
}

/// The discovery has half of the time of the call; the rest is for the call.
#[test]
fn sends_params_if_the_host_refuses_to_describe_them_or_does_not_answer() {
    for refusal in
        [Some(json!({ "error": { "code": -32006, "message": "no" } })), None, Some(json!({ "result": 7 }))]
    {
        let host = OlderHost::start(move |request| match request["method"].as_str() {
            Some("rpc.discover") => refusal.clone(),
            _ => Some(json!({ "result": request["params"] })),
        });

        let args = ["call", "m", "[1,  2]", "--socket", "host.sock", "--timeout", "2s"];
        let finished = jackfield(host.directory(), &args);

        assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (0, "[1,2]\n", ""));
    }
}

/// Runs a line in bash, with the program on its path.
fn bash(host: &HostProcess, script: &str) -> Finished {
    let programs = artifacts().program.parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    finish(command("bash").args(["-c", script]).env("PATH", path).current_dir(host.directory()))
}

#[test]
fn prints_examples_that_can_be_pasted() {
    let host = HostProcess::with(&["device", "described"]);
    for (method, code) in
        [("device.status.update", 0), ("device.list", 0), ("orders.create", 0), ("orders.count", 0)]
    {
        let example = jackfield(host.directory(), &["call", "--example", method]);
        assert_eq!((example.code, example.stderr.as_str()), (0, ""), "{example:?}");
        assert!(example.stdout.starts_with(&format!("jackfield call {method}")), "{example:?}");

        let pasted = bash(&host, &example.stdout);
        assert_eq!(pasted.code, code, "{example:?}: {pasted:?}");
    }

    let socket = host.socket();
    let args = ["call", "--example", "device.list", "--socket", socket.to_str().unwrap()];
    let example = jackfield(host.directory(), &args);
    assert!(example.stdout.contains(" --socket "), "{example:?}");
    let pasted = bash(&host, &format!("cd / && {}", example.stdout));
    assert_eq!(pasted.code, 0, "{example:?}: {pasted:?}");
    let unknown = jackfield(host.directory(), &["call", "--example", "device.lst"]);
    assert_eq!(
        (unknown.code, unknown.stderr.as_str()),
        (1, "no method is named device.lst; is \"device.list\" meant?\n")
    );
}

#[test]
fn completes_methods_of_a_running_host_in_bash() {
    let host = HostProcess::with(&["device"]);
    assert_eq!(jackfield(host.directory(), &["pages", "pages"]).code, 0);
    let script = host.path("pages/completions/jackfield.bash");
    let complete = |words: &[&str]| {
        let current = words.last().unwrap();
        let words = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>();
        let line = format!(
            "source {}; complete -p jackfield; COMP_WORDS=({}); COMP_CWORD={}; \
             _jackfield_or_method jackfield '{current}' ''; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            words.join(" "),
            words.len() - 1,
        );
        let finished = bash(&host, &line);
        let mut lines = finished.stdout.lines();
        assert!(lines.next().unwrap().contains("-F _jackfield_or_method"), "{finished:?}");
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let status = ["device.status.get", "device.status.update"];

    assert_eq!(complete(&["jackfield", "call", "device.st"]), status);
    let socket = host.socket();
    let socket = socket.to_str().unwrap();
    assert_eq!(complete(&["jackfield", "call", "--async", "--socket", "=", socket, "device.st"]), status);
    assert_eq!(complete(&["jackfield", "bench", "device.st"]), status);
    assert_eq!(complete(&["jackfield", "describe", "--html", "device.st"]), status);
    // Everything else is completed as before.
    assert_eq!(complete(&["jackfield", "call", "--exam"]), ["--example"]);
    assert_eq!(complete(&["jackfield", "relo"]), ["reload"]);
    assert!(fs::read_to_string(script).unwrap().contains("_jackfield() {"));
}

#[test]
fn completes_nothing_without_a_host() {
    let host = HostProcess::with(&["device"]);

    for words in
        [&["call", "--socket", "none.sock", ""][..], &["call", "device.list", "dev"], &["reload", "dev"]]
    {
        let finished = jackfield(host.directory(), &[&["complete", "--", "jackfield"], words].concat());
        assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (0, "", ""));
    }
    let all = jackfield(host.directory(), &["complete", "--", "jackfield", "call", ""]);
    assert!(all.stdout.lines().any(|name| name == "system.ping"), "{all:?}");
}
