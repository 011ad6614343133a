//! `jackfield call`: results, errors, and each way of getting no reply, with the exit codes.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::build::artifacts;
use crate::support::program::{Finished, command, jackfield};
use crate::support::scratch::Scratch;
use crate::support::{CEILING, HostProcess, wait_until};

/// Asserts the exit code, one line on stderr that contains `message`, and an empty stdout.
#[track_caller]
fn assert_fails(finished: &Finished, code: i32, message: &str) {
    assert_eq!((finished.code, finished.stdout.as_str()), (code, ""), "{finished:?}");
    assert!(finished.stderr.contains(message) && finished.stderr.lines().count() == 1, "{finished:?}");
}

/// Asserts success and a result that is printed unchanged.
#[track_caller]
fn assert_prints(finished: &Finished, line: &str) {
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{finished:?}");
    assert_eq!(finished.stdout, format!("{line}\n"));
}

#[test]
fn prints_the_result_unchanged() {
    let host = HostProcess::with(&["device"]);
    // A number that no float can represent, a space and an escape: reserializing the result would
    // change one of them.
    let params = r#"{"b":1e2, "a":18446744073709551616,"\u00e9":null}"#;
    for args in [vec!["call", "system.echo", params], vec!["call", "--async", "system.echo", params]] {
        assert_prints(&jackfield(host.directory(), &args), params);
    }
    assert_prints(&jackfield(host.directory(), &["call", "system.ping"]), "\"pong\"");

    let update = r#"{"deviceId":"dev_123","status":"online"}"#;
    let finished = jackfield(host.directory(), &["call", "device.status.update", update]);
    let result: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(result["deviceId"], "dev_123");
}

#[test]
fn sends_a_sync_or_an_async_request() {
    for (option, header_start) in [("call", [1, 0, 1]), ("--async", [1, 1, 4])] {
        let scratch = Scratch::new();
        let listener = UnixListener::bind(scratch.join("host.sock")).unwrap();
        let host = thread::spawn(move || {
            let mut peer = listener.accept().unwrap().0;
            let mut header = [0; 7];
            peer.read_exact(&mut header).unwrap();
            // The hello comes first.
            assert_eq!(header[..3], [1, 0, 2]);
            peer.read_exact(&mut vec![0; usize::from(header[6])]).unwrap();
            peer.read_exact(&mut header).unwrap();
            header
        });

        let args: Vec<&str> =
            ["call", option, "m", "--no-check", "--socket", "host.sock"].into_iter().collect();
        let args = if option == "call" { &args[1..] } else { &args[..] };

        assert_eq!(jackfield(scratch.path(), args).code, 69);
        assert_eq!(host.join().unwrap()[..3], header_start);
    }
}

#[test]
fn uses_the_given_socket_or_the_first_binary_listener() {
    let config = "[[listener]]\nsocket = \"run/lines.sock\"\nframing = \"line\"\n\
                  [[listener]]\nsocket = \"run/first.sock\"\n[[listener]]\nsocket = \"run/second.sock\"";
    let host = HostProcess::builder().config(config).start();
    let elsewhere = Scratch::new();
    let (file, socket) = (host.path("config.toml"), host.path("run/second.sock"));
    let (file, socket) = (file.to_str().unwrap(), socket.to_str().unwrap());

    assert_prints(&jackfield(host.directory(), &["call", "system.ping"]), "\"pong\"");
    assert_prints(&jackfield(elsewhere.path(), &["call", "system.ping", "--config", file]), "\"pong\"");
    assert_prints(&jackfield(elsewhere.path(), &["-c", file, "call", "system.ping"]), "\"pong\"");
    assert_prints(&jackfield(elsewhere.path(), &["call", "--socket", socket, "system.ping"]), "\"pong\"");
    assert_eq!(
        jackfield(elsewhere.path(), &["call", "system.ping"]).code,
        78,
        "the other directory has no configuration"
    );
}

#[test]
fn reports_that_a_socket_speaks_lines() {
    let config = "[[listener]]\nsocket = \"run/lines.sock\"\nframing = \"line\"\n[timeouts]\nframe = \"24h\"";
    let host = HostProcess::builder().config(config).start();
    let commands: [&[&str]; 10] = [
        &["call", "system.ping"],
        &["call", "--async", "system.ping", "[1]"],
        &["plugin", "list"],
        &["plugin", "reload"],
        &["plugin", "rollback", "device"],
        &["reload"],
        &["stats"],
        &["slowlog"],
        &["top", "--json"],
        &["bench", "system.ping", "--count", "1"],
    ];

    for command in commands {
        let finished = jackfield(host.directory(), &[command, &["--socket", "run/lines.sock"]].concat());

        let output = format!("{}{}", finished.stdout, finished.stderr);
        assert!(output.contains("this socket speaks lines"), "{command:?}: {finished:?}");
        assert_ne!(finished.code, 0, "{command:?}: {finished:?}");
    }
}

#[test]
fn rejects_a_configuration_without_a_binary_listener() {
    let scratch = Scratch::new();
    scratch.write("config.toml", "[[listener]]\nsocket = \"lines.sock\"\nframing = \"line\"\n");

    assert_fails(&jackfield(scratch.path(), &["call", "system.ping"]), 78, "binary framing");
    scratch.write("config.toml", "[limits]\nfraem = 1\n");

    assert_fails(&jackfield(scratch.path(), &["call", "system.ping"]), 78, "config.toml:2:1");
}

#[test]
fn reads_params_from_stdin() {
    let host = HostProcess::with(&[]);
    let large = json!("x".repeat(1 << 20)).to_string();
    for (params, code) in [("[1, 2]", 0), (large.as_str(), 0), ("[1, 2", 64), ("", 64)] {
        let mut child = start(host.directory(), &["call", "system.echo", "-"]);

        // A command that fails early does not read everything.
        let _ = child.stdin.take().unwrap().write_all(params.as_bytes());

        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let expected = if code == 0 { format!("{params}\n") } else { String::new() };
        assert!(output.stdout == expected.as_bytes());
    }
}

fn start(directory: &Path, args: &[&str]) -> Child {
    let mut command = command(&artifacts().program);
    command.args(args).current_dir(directory);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

#[test]
fn prints_an_error_as_json_on_stderr() {
    let host = HostProcess::with(&["device"]);
    // Such an id fits the schema, but not the plugin.
    let update = ["call", "device.status.update", r#"{"deviceId":"\u0001","status":"online"}"#];
    for (args, code) in [(&["call", "no.such.method"][..], -32601), (&update[..], -32602)] {
        let finished = jackfield(host.directory(), args);
        assert_fails(&finished, 1, "");
        let error: Value = serde_json::from_str(&finished.stderr).unwrap();
        assert_eq!(error["code"], code);
        assert!(error["message"].is_string());
        assert_eq!(error["data"]["field"].as_str(), (code == -32602).then_some("deviceId"));
    }
}

#[test]
fn rejects_invalid_params_without_sending() {
    // There is no host and no configuration: the arguments are checked before either is used.
    let scratch = Scratch::new();
    for params in ["{", "", "nul", "[1] [2]", "{\"a\":}"] {
        assert_fails(&jackfield(scratch.path(), &["call", "system.echo", params]), 64, "PARAMS: not JSON");
    }

    let method = "m".repeat(257);
    let args = ["call", "--socket", "none.sock", &method];
    assert_fails(&jackfield(scratch.path(), &args), 64, "1 to 256 bytes");
}

#[test]
fn fails_at_once_without_a_host_unless_a_timeout_is_given() {
    let scratch = Scratch::new();
    drop(UnixListener::bind(scratch.join("dead.sock")).unwrap());
    // The first test builds the program, which is not to be measured.
    artifacts();
    for socket in ["none.sock", "dead.sock"] {
        let began = Instant::now();
        assert_fails(&jackfield(scratch.path(), &["call", "m", "--socket", socket]), 69, "no host at ");
        assert!(began.elapsed() < Duration::from_secs(4), "the command has waited");

        let args = ["call", "m", "--timeout", "300ms", "--socket", socket];
        let began = Instant::now();
        assert_fails(&jackfield(scratch.path(), &args), 69, "no host at ");
        assert!(began.elapsed() >= Duration::from_millis(300), "the command did not wait");
    }
}

/// `scripts/run` starts the call before the host.
#[test]
fn waits_for_a_host_up_to_the_timeout() {
    let builder = HostProcess::builder().config("");
    let directory = builder.directory().to_owned();
    let socket = directory.join("run/jackfield.sock");
    let socket = socket.to_str().unwrap();
    let mut early = start(&directory, &["call", "--timeout", "30s", "system.ping", "--socket", socket]);

    // Long enough for the first connection attempts.
    let began = Instant::now();
    wait_until("some time passes", || began.elapsed() > Duration::from_millis(100));
    assert!(early.try_wait().unwrap().is_none(), "the command did not wait");

    let _host = builder.start();

    let output = early.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"\"pong\"\n"[..]), "{output:?}");
}

#[test]
fn reports_a_timeout_with_its_own_exit_code() {
    let scratch = Scratch::new();
    let _silent = UnixListener::bind(scratch.join("host.sock")).unwrap();

    for args in [&["call"][..], &["call", "--async"]] {
        let args = [args, &["--timeout", "200ms", "--socket", "host.sock", "m"]].concat();
        let began = Instant::now();
        assert_fails(&jackfield(scratch.path(), &args), 75, "the deadline passed before the reply arrived");
        assert!((Duration::from_millis(200)..CEILING).contains(&began.elapsed()));
    }

    let finished = jackfield(scratch.path(), &["call", "--timeout", "5 s", "m"]);
    assert!(finished.code != 0 && finished.stderr.contains("5s"), "{finished:?}");
}

#[test]
fn rejects_a_server_that_is_not_a_host() {
    for (answer, code, message) in
        [(&b"HTTP/1.1 400 Bad Request\r\n"[..], 76, "protocol"), (b"", 69, "ended")]
    {
        let scratch = Scratch::new();
        let listener = UnixListener::bind(scratch.join("host.sock")).unwrap();
        let peer = thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            peer.read_exact(&mut [0; 7]).unwrap();
            peer.write_all(answer).unwrap();
        });

        assert_fails(&jackfield(scratch.path(), &["call", "m", "--socket", "host.sock"]), code, message);
        peer.join().unwrap();
    }
}
