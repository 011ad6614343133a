//! One run of the scripted server: started on a script, and asked in the end what it saw.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::scratch::Scratch;

/// A heartbeat's kind; everything else that a client sends is a request.
const HEARTBEAT: u64 = 2;

/// Where the server was built; the first caller builds it.
///
/// At run time: cargo says where a program is only to its own package, and a build script cannot build it, for the
/// target directory is locked while it runs.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let own = std::env::current_exe().expect("our own path");
        // TARGET/PROFILE/deps/client-HASH
        let target = own.ancestors().nth(3).expect("a test program lies in a target directory");
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "-p", "scripted-server", "--message-format=json-render-diagnostics"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("CARGO_TARGET_DIR", target)
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(built.status.success(), "the scripted server is not built");
        let text = String::from_utf8(built.stdout).expect("cargo prints JSON");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("cargo prints JSON"));
        let mut programs = lines.filter_map(|line| line["executable"].as_str().map(PathBuf::from));
        programs.next().expect("cargo says where the program is")
    })
}

/// A scripted server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) socket: PathBuf,
    /// Only where the server was given no socket.
    _scratch: Option<Scratch>,
}

/// What a server saw.
#[derive(Debug)]
pub(crate) struct Report {
    json: Value,
}

impl Server {
    /// A server whose connections do these steps, each list for one connection and the last for all that follow.
    pub(crate) fn play(connections: &Value) -> Server {
        let scratch = Scratch::new();
        let mut server = Server::play_at(&scratch.join("host.sock"), connections);
        server._scratch = Some(scratch);
        server
    }

    /// As [`Server::play`], on a socket of the test's own.
    pub(crate) fn play_at(socket: &Path, connections: &Value) -> Server {
        let script = socket.with_extension("json");
        fs::write(&script, json!({ "server": { "connections": connections } }).to_string())
            .expect("a file in the scratch directory");
        Server::start(&script, socket, &[])
    }

    /// A server that plays a row of the behaviour table.
    pub(crate) fn play_row(script: &Path, variables: &[(String, i64)]) -> Server {
        let scratch = Scratch::new();
        let mut server = Server::start(script, &scratch.join("host.sock"), variables);
        server._scratch = Some(scratch);
        server
    }

    fn start(script: &Path, socket: &Path, variables: &[(String, i64)]) -> Server {
        let mut command = Command::new(program());
        command.arg(script).arg("--socket").arg(socket);
        for (name, value) in variables {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("its stdout is a pipe"));
        let mut ready = String::new();
        stdout.read_line(&mut ready).expect("the server's first line");
        assert!(ready.contains("\"ready\":true"), "{}: {ready:?}", script.display());
        Server { child, stdout, socket: socket.to_owned(), _scratch: None }
    }

    /// Ends the server; what it saw.
    pub(crate) fn finish(mut self) -> Report {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).expect("the server's report");
        Report { json: serde_json::from_str(&text).expect("the report is JSON") }
    }

    /// Ends the server as a crash does: at once, its socket left behind.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends when its standard input does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Report {
    /// What the script does not allow and happened all the same.
    pub(crate) fn faults(&self) -> &Value {
        &self.json["faults"]
    }

    /// The frames of each connection, in the order of their acceptance.
    pub(crate) fn connections(&self) -> Vec<&[Value]> {
        let connections = self.json["connections"].as_array().expect("a list");
        connections
            .iter()
            .map(|connection| connection["frames"].as_array().expect("a list").as_slice())
            .collect()
    }

    /// The kinds of the frames of each connection.
    pub(crate) fn kinds(&self) -> Vec<Vec<u64>> {
        let kinds =
            |frames: &[Value]| frames.iter().map(|frame| frame["kind"].as_u64().expect("a kind")).collect();
        self.connections().into_iter().map(kinds).collect()
    }

    /// The requests of all connections.
    pub(crate) fn requests(&self) -> Vec<&Value> {
        let frames = self.connections().into_iter().flatten();
        frames.filter(|frame| frame["kind"] != HEARTBEAT).collect()
    }
}
