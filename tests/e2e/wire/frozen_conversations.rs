//! Conversations that a host of version 1.1 had with its clients, replayed to the present one: a
//! client that sends no hello receives the same bytes as ever.
//!
//! `tests/frozen/README.md` says how they were recorded.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use crate::support::build::root;
use crate::support::vector::client_vectors;
use crate::support::{CEILING, HostProcess};

/// One line of the recording.
#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    Receive(Vec<u8>),
    HalfClose,
    Closed,
}

/// The recording.
#[derive(Default)]
struct Recording {
    config: String,
    plugins: Vec<String>,
    /// The name of each conversation, and its lines.
    conversations: Vec<(String, Vec<String>)>,
}

impl Recording {
    fn read() -> Self {
        let text = std::fs::read_to_string(root().join("tests/frozen/conversations-1.1.txt")).unwrap();
        let mut recording = Self::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(' ') {
                Some(("config", line)) => recording.config.extend([line, "\n"]),
                Some(("plugin", name)) => recording.plugins.push(name.to_owned()),
                Some(("conversation", name)) => recording.conversations.push((name.to_owned(), Vec::new())),
                _ => recording.conversations.last_mut().expect("a conversation").1.push(line.to_owned()),
            }
        }
        recording
    }

    fn start_host(&self) -> HostProcess {
        let builder = HostProcess::builder().config(&self.config);
        self.plugins.iter().fold(builder, |builder, plugin| builder.plugin(plugin)).start()
    }
}

/// Reads hexadecimal digits, or `HH*COUNT` for a byte that is repeated.
fn bytes_of(digits: &str) -> Vec<u8> {
    let byte = |digits: &str| u8::from_str_radix(digits, 16).expect("two hexadecimal digits");
    match digits.split_once('*') {
        Some((digits, count)) => vec![byte(digits); count.parse().expect("a count")],
        None => (0..digits.len()).step_by(2).map(|at| byte(&digits[at..at + 2])).collect(),
    }
}

/// Plays a conversation and returns what differs from the recording.
fn play(host: &mut HostProcess, lines: &[String], vectors: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let mut connections = BTreeMap::<&str, UnixStream>::new();
    for (number, line) in lines.iter().enumerate() {
        let (speaker, step) = match line.split_once(' ') {
            None if line == "terminate" => {
                host.signal(Signal::TERM);
                continue;
            }
            Some(("latch", name)) => {
                std::fs::write(host.path(name), "").unwrap();
                continue;
            }
            Some((speaker, "half-close")) => (speaker, Step::HalfClose),
            Some((speaker, "closed")) => (speaker, Step::Closed),
            Some((speaker, step)) => match step.split_once(' ') {
                Some((">", bytes)) => {
                    let vector = bytes.strip_prefix('@');
                    let sent = vector.map_or_else(|| bytes_of(bytes), |name| vectors[name].clone());
                    (speaker, Step::Send(sent))
                }
                Some(("<", bytes)) => (speaker, Step::Receive(bytes_of(bytes))),
                _ => panic!("line {number}: {line}"),
            },
            None => panic!("line {number}: {line}"),
        };

        let socket = if speaker == "L" { "run/lines.sock" } else { "run/jackfield.sock" };
        let path = host.path(socket);
        let connection =
            connections.entry(speaker).or_insert_with(|| UnixStream::connect(path).expect("a connection"));
        run(connection, step).map_err(|why| format!("line {number}, {line}: {why}"))?;
    }
    Ok(())
}

fn run(mut connection: &UnixStream, step: Step) -> Result<(), String> {
    connection.set_read_timeout(Some(CEILING)).unwrap();
    match step {
        Step::Send(bytes) => connection.write_all(&bytes).map_err(|error| error.to_string()),
        Step::Receive(expected) => {
            let mut received = vec![0; expected.len()];
            connection.read_exact(&mut received).map_err(|error| error.to_string())?;
            if received == expected {
                return Ok(());
            }
            Err(format!("received {}, not {}", received.escape_ascii(), expected.escape_ascii()))
        }
        Step::HalfClose => connection.shutdown(Shutdown::Write).map_err(|error| error.to_string()),
        Step::Closed => match connection.read(&mut [0; 64]) {
            Ok(0) => Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            other => Err(format!("is not closed: {other:?}")),
        },
    }
}

#[test]
fn answers_clients_without_a_hello_with_the_bytes_of_version_1_1() {
    let recording = Recording::read();
    assert!(recording.conversations.len() > 120, "{} conversations", recording.conversations.len());
    let vectors = client_vectors().into_iter().map(|vector| (vector.name, vector.bytes)).collect();

    let mut host = recording.start_host();
    let mut differences = Vec::new();
    for (name, lines) in &recording.conversations {
        let ends_host = lines.iter().any(|line| line == "terminate");
        if let Err(why) = play(&mut host, lines, &vectors) {
            differences.push(format!("{name}: {why}"));
        }
        if ends_host {
            assert!(host.wait().success());
            host = recording.start_host();
        }
    }
    assert!(
        differences.is_empty(),
        "{} conversations differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    assert_eq!(host.count("hellos"), 0);
}

#[test]
fn detects_a_byte_that_differs() {
    let recording = Recording::read();
    let (_, lines) = recording.conversations.iter().find(|(name, _)| name == "versions").unwrap();
    let mut changed = lines.clone();
    let at = changed.iter().position(|line| line.starts_with("A < ")).unwrap();
    let last = changed[at].pop().unwrap();
    changed[at].push(if last == '0' { '1' } else { '0' });

    let mut host = recording.start_host();
    assert_eq!(play(&mut host, lines, &BTreeMap::new()), Ok(()));
    assert!(play(&mut host, &changed, &BTreeMap::new()).is_err());
}
