//! The sandbox of a worker: what it denies to a plugin, what it leaves, and when it refuses.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{HostProcess, Peer};

const EPERM: i64 = 1;
const EACCES: i64 = 13;
const ENOSYS: i64 = 38;

/// Starts a host whose plugin `attempts` runs in a worker. `read`, `write` and `secret` are
/// directories with a file each.
fn start(sandbox: &str) -> HostProcess {
    let builder = HostProcess::builder().plugin("attempts");
    let directory = builder.directory().to_owned();
    for name in ["read", "write", "secret"] {
        fs::create_dir(directory.join(name)).unwrap();
        fs::write(directory.join(name).join("file"), name).unwrap();
    }

    let sandbox = sandbox.replace("$DIRECTORY", &directory.display().to_string());
    builder.config(&format!("[plugin.attempts]\nisolation = \"worker\"\n{sandbox}")).start()
}

const STRICT: &str =
    "[plugin.attempts.worker.sandbox]\nread = [\"$DIRECTORY/read\"]\nwrite = [\"$DIRECTORY/write\"]\n";

/// Returns the error number of an attempt, 0 if it succeeded.
fn attempt(peer: &mut Peer, attempt: &Value) -> i64 {
    peer.result("attempt.make", attempt).as_i64().expect("an error number")
}

/// The attempts that a sandbox must deny, and the error for each.
fn denied(host: &HostProcess, tcp: &str) -> Vec<(Value, i64)> {
    let (pid, path) = (host.pid(), |name: &str| host.path(name));
    vec![
        (json!({ "read": "/etc/shadow" }), EACCES),
        (json!({ "read": path("secret/file") }), EACCES),
        (json!({ "read": format!("/proc/{pid}/environ") }), EACCES),
        (json!({ "read": format!("/proc/{pid}/mem") }), EACCES),
        (json!({ "list": "/proc" }), EACCES),
        (json!({ "write": path("read/new") }), EACCES),
        (json!({ "write": "/tmp/jackfield-sandbox" }), EACCES),
        (json!({ "write": "/proc/self/oom_score_adj" }), EACCES),
        (json!({ "truncate": path("secret/file") }), EACCES),
        (json!({ "chmod": path("secret/file") }), EPERM),
        (json!({ "chmod": path("write/file") }), EPERM),
        (json!({ "tcp": tcp }), EPERM),
        (json!({ "udp": "127.0.0.1:0" }), EPERM),
        (json!({ "socket": 16 }), EPERM),
        (json!({ "abstract": host.path("").display().to_string() }), EPERM),
        // The filter permits the connection, and the host refuses it.
        (json!({ "ask": path("run/jackfield-admin.sock") }), EACCES),
        (json!({ "execute": "/usr/bin/env" }), EPERM),
        (json!({ "ptrace": pid }), EPERM),
        (json!({ "kill": [pid, 9] }), EPERM),
        (json!({ "kill": [0, 9] }), EPERM),
        (json!({ "kill": [-1, 9] }), EPERM),
        (json!({ "own_signals": pid }), EPERM),
        (json!({ "limit": pid }), EPERM),
        (json!({ "read_memory": pid }), EPERM),
        (json!({ "mount": path("write") }), EPERM),
        // CLONE_NEWUTS and CLONE_NEWUSER.
        (json!({ "unshare": 0x0400_0000 }), EPERM),
        (json!({ "unshare": 0x1000_0000 }), EPERM),
        // io_uring_setup, pidfd_open, pidfd_send_signal, clone3, and one that does not exist.
        (json!({ "call": 425 }), EPERM),
        (json!({ "call": 434 }), EPERM),
        (json!({ "call": 424 }), EPERM),
        (json!({ "call": 435 }), ENOSYS),
        (json!({ "call": 463 }), ENOSYS),
    ]
}

/// The attempts that must succeed in every sandbox.
fn permitted(host: &HostProcess) -> Vec<Value> {
    let path = |name: &str| host.path(name);
    let mut permitted = vec![
        json!({ "read": path("read/file") }),
        json!({ "list": path("read") }),
        json!({ "read": path("write/file") }),
        json!({ "write": path("write/new") }),
        json!({ "truncate": path("write/file") }),
        json!({ "unix": path("write/socket") }),
        json!({ "write": "/dev/null" }),
        json!({ "read": "/dev/urandom" }),
        json!({ "read": "/proc/self/maps" }),
        json!({ "list": "/proc/self/task" }),
        json!("thread"),
        json!({ "ask": host.socket() }),
    ];
    let system = ["/etc/ld.so.cache", "/etc/resolv.conf", "/etc/nsswitch.conf", "/usr/share/zoneinfo/UTC"];
    let existing = system.iter().filter(|path| Path::new(path).exists());
    permitted.extend(existing.map(|path| json!({ "read": path })));
    permitted
}

/// Sockets of this process, which a worker may try to reach.
fn listen(host: &HostProcess) -> (TcpListener, UnixListener, UnixListener) {
    let name = host.path("").display().to_string();
    (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        UnixListener::bind(host.path("write/socket")).unwrap(),
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap(),
    )
}

#[test]
fn denies_everything_that_a_sandbox_does_not_list() {
    let host = start(STRICT);
    let (tcp, _unix, _abstract) = listen(&host);
    let mut peer = host.peer();

    let denied = denied(&host, &tcp.local_addr().unwrap().to_string());
    let found = denied.iter().map(|(what, _)| (what, attempt(&mut peer, what)));
    let wrong: Vec<_> = found.zip(&denied).filter(|((_, found), (_, expected))| found != expected).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(fs::read_to_string(host.path("secret/file")).unwrap(), "secret");
    println!("{} attempts denied", denied.len());

    let failed: Vec<_> = permitted(&host)
        .into_iter()
        .map(|what| (attempt(&mut peer, &what), what))
        .filter(|(error, _)| *error != 0)
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn denies_nothing_that_the_host_may_do_without_a_sandbox() {
    let host = start("");
    let (tcp, _unix, _abstract) = listen(&host);
    let mut peer = host.peer();
    let pid = host.pid();

    let mut attempts = permitted(&host);
    attempts.extend([
        json!({ "read": host.path("secret/file") }),
        json!({ "write": host.path("secret/new") }),
        json!({ "chmod": host.path("secret/file") }),
        json!({ "tcp": tcp.local_addr().unwrap().to_string() }),
        json!({ "abstract": host.path("").display().to_string() }),
        json!({ "execute": "/usr/bin/env" }),
        json!({ "ask": host.path("run/jackfield-admin.sock") }),
        json!({ "kill": [pid, 0] }),
        json!({ "limit": pid }),
    ]);
    let failed: Vec<_> = attempts
        .into_iter()
        .map(|what| (attempt(&mut peer, &what), what))
        .filter(|(error, _)| *error != 0)
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn permits_network_and_programs_if_they_are_configured() {
    let host = start(
        "[plugin.attempts.worker.sandbox]\nread = [\"/usr/bin\"]\nnetwork = true\nexecute = true\nrequired = true\n",
    );
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = host.peer();

    for what in [
        json!({ "tcp": tcp.local_addr().unwrap().to_string() }),
        json!({ "udp": "127.0.0.1:0" }),
        json!({ "execute": "/usr/bin/env" }),
    ] {
        assert_eq!(attempt(&mut peer, &what), 0, "{what}");
    }
    // AF_PACKET.
    assert_eq!(attempt(&mut peer, &json!({ "socket": 17 })), EPERM);
    assert_eq!(attempt(&mut peer, &json!({ "read": "/etc/shadow" })), EACCES);
}

#[test]
fn reports_once_per_worker_what_is_enforced() {
    let host = start(&format!("{STRICT}required = true\n"));
    host.peer().assert_usable();

    let lines: Vec<_> = host.log_lines().into_iter().filter(|line| line.contains("restricted: ")).collect();

    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in
        ["attempts", "memory to 256 MiB", "descriptors to 256", "files", "signals", "network", "programs"]
    {
        assert!(lines[0].contains(part), "{part} in {lines:?}");
    }
    assert!(!lines[0].contains("not enforced"), "{lines:?}");
}

#[test]
fn passes_on_only_the_listed_variables() {
    let variables = |worker: &str| {
        let host = HostProcess::builder()
            .plugin("attempts")
            .variable("DATABASE_URL", "secret")
            .variable("NOTIFY_SOCKET", "/nowhere")
            .config(&format!("[plugin.attempts]\nisolation = \"worker\"\n[plugin.attempts.worker]\n{worker}"))
            .start();
        let process = host.peer().result("attempt.process", &Value::Null);
        serde_json::from_value::<Vec<String>>(process[1].clone()).expect("names")
    };

    let all = variables("");
    assert!(all.contains(&"DATABASE_URL".to_owned()) && all.contains(&"PATH".to_owned()), "{all:?}");
    assert!(!all.contains(&"NOTIFY_SOCKET".to_owned()), "{all:?}");
    assert_eq!(variables("environment = [\"DATABASE_URL\"]"), ["DATABASE_URL"]);
    assert_eq!(variables("environment = []"), [""; 0]);
}
