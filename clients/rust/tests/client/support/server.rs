//! One run of the scripted server.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::scratch::ScratchDirectory;

/// The kind of a heartbeat. All other frames of a client are requests.
const HEARTBEAT: u64 = 2;

/// Returns the path of the scripted server. The first call builds it.
///
/// The server is built at run time. Cargo passes the path of a program only to tests of its own
/// package, and a build script cannot build it, because Cargo locks the target directory meanwhile.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let own = std::env::current_exe().expect("the path of this program");
        // TARGET/PROFILE/deps/client-HASH
        let target = own.ancestors().nth(3).expect("a test program is in a target directory");

        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "-p", "scripted-server", "--message-format=json-render-diagnostics"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("CARGO_TARGET_DIR", target)
            .stderr(Stdio::inherit())
            .output()
            .expect("run cargo");
        assert!(built.status.success(), "cargo cannot build the scripted server");

        let text = String::from_utf8(built.stdout).expect("cargo prints JSON");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("cargo prints JSON"));
        let mut programs = lines.filter_map(|line| line["executable"].as_str().map(PathBuf::from));
        programs.next().expect("cargo prints the path of the program")
    })
}

/// A running scripted server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) socket: PathBuf,
    /// The directory of the socket, unless the test passed one.
    _scratch: Option<ScratchDirectory>,
}

/// The report of a server: what it received.
#[derive(Debug)]
pub(crate) struct Report {
    json: Value,
}

impl Server {
    /// Starts a server that plays a list of steps for each connection, and the last list for all
    /// further ones.
    pub(crate) fn play(connections: &Value) -> Server {
        let scratch = ScratchDirectory::new();
        let mut server = Server::play_at(&scratch.join("host.sock"), connections);
        server._scratch = Some(scratch);
        server
    }

    /// Starts a server like [`Server::play`], on the socket path that the test passes.
    pub(crate) fn play_at(socket: &Path, connections: &Value) -> Server {
        let script = socket.with_extension("json");
        fs::write(&script, json!({ "server": { "connections": connections } }).to_string())
            .expect("write the script");
        Server::start(&script, socket, &[])
    }

    /// Starts a server that plays a row of the behaviour table, with these values for its
    /// variables.
    pub(crate) fn play_row(script: &Path, variables: &[(String, i64)]) -> Server {
        let scratch = ScratchDirectory::new();
        let mut server = Server::start(script, &scratch.join("host.sock"), variables);
        server._scratch = Some(scratch);
        server
    }

    fn start(script: &Path, socket: &Path, variables: &[(String, i64)]) -> Server {
        // With default signal dispositions, whatever the tests inherit.
        let mut command = Command::new("/usr/bin/env");
        command.arg("--default-signal").arg(program()).arg(script).arg("--socket").arg(socket);
        for (name, value) in variables {
            command.arg("--set").arg(format!("{name}={value}"));
        }

        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start the server");
        let mut stdout = BufReader::new(child.stdout.take().expect("its stdout is a pipe"));
        let mut ready = String::new();
        stdout.read_line(&mut ready).expect("read the server's first line");
        assert!(ready.contains("\"ready\":true"), "{}: {ready:?}", script.display());

        Server { child, stdout, socket: socket.to_owned(), _scratch: None }
    }

    /// Ends the server and returns its report.
    pub(crate) fn finish(mut self) -> Report {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).expect("read the server's report");
        Report { json: serde_json::from_str(&text).expect("the report is JSON") }
    }

    /// Kills the server, which leaves its socket behind.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill the server");
        self.child.wait().expect("wait for the server");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends at the end of its standard input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Report {
    /// Returns the violations of the script.
    pub(crate) fn faults(&self) -> &Value {
        &self.json["faults"]
    }

    /// Returns the frames of each connection, in the order of their acceptance, after its hello.
    pub(crate) fn connections(&self) -> Vec<&[Value]> {
        let connections = self.json["connections"].as_array().expect("a list");
        let frames = connections.iter().map(|connection| connection["frames"].as_array().expect("a list"));
        frames
            .map(|frames| match frames.as_slice() {
                [hello, rest @ ..] if hello["kind"] == HEARTBEAT && hello["length"] != 0 => rest,
                frames => frames,
            })
            .collect()
    }

    /// Returns the kinds of the frames of each connection.
    pub(crate) fn kinds(&self) -> Vec<Vec<u64>> {
        let kinds =
            |frames: &[Value]| frames.iter().map(|frame| frame["kind"].as_u64().expect("a kind")).collect();
        self.connections().into_iter().map(kinds).collect()
    }

    /// Returns the requests of all connections.
    pub(crate) fn requests(&self) -> Vec<&Value> {
        let frames = self.connections().into_iter().flatten();
        frames.filter(|frame| frame["kind"] != HEARTBEAT).collect()
    }
}
