//! Plays a script over a Unix socket until its standard input ends, then prints a report of what it
//! received.

mod connection;
mod reply_order;
mod report;
mod script;
mod wire;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::{fs, io, thread};

use serde_json::{Value, json};

use report::Report;
use script::Script;

const USAGE: &str = "scripted-server SCRIPT.json --socket PATH [--set NAME=INTEGER]...";

/// sysexits.h, `EX_USAGE`.
const EX_USAGE: u8 = 64;

/// The arguments of the command line.
struct Arguments {
    script: PathBuf,
    socket: PathBuf,
    variables: Vec<(String, i64)>,
}

fn main() -> ExitCode {
    let arguments = match parse_arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("scripted-server: {error}\nusage: {USAGE}");
            return ExitCode::from(EX_USAGE);
        }
    };
    match play(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scripted-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse_arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut script = None;
    let mut socket = None;
    let mut variables = Vec::new();

    while let Some(word) = words.next() {
        match word.as_str() {
            "--socket" => socket = Some(PathBuf::from(words.next().ok_or("--socket takes a path")?)),
            "--set" => {
                let pair = words.next().ok_or("--set takes NAME=INTEGER")?;
                let (name, value) = pair.split_once('=').ok_or("--set takes NAME=INTEGER")?;
                let value = value.parse().map_err(|_| format!("--set {pair}: {value} is not an integer"))?;
                variables.push((name.to_owned(), value));
            }
            _ if script.is_none() => script = Some(PathBuf::from(word)),
            _ => return Err(format!("unexpected argument {word}")),
        }
    }

    let script = script.ok_or("SCRIPT.json is missing")?;
    let socket = socket.ok_or("--socket PATH is missing")?;
    Ok(Arguments { script, socket, variables })
}

/// Listens, prints a line when it does, and serves each connection on its own thread until standard
/// input ends.
fn play(arguments: &Arguments) -> Result<(), String> {
    let text =
        fs::read_to_string(&arguments.script).map_err(|e| format!("{}: {e}", arguments.script.display()))?;
    let script = Script::parse(&text, &arguments.variables).map_err(|e| e.to_string())?;

    let listener =
        UnixListener::bind(&arguments.socket).map_err(|e| format!("{}: {e}", arguments.socket.display()))?;
    let report = Arc::new(Mutex::new(Report::default()));
    let of_acceptor = Arc::clone(&report);
    thread::spawn(move || accept(&listener, &script, &of_acceptor));

    print_line(&json!({ "ready": true, "socket": arguments.socket }))?;
    io::stdin().read_to_end(&mut Vec::new()).map_err(|e| e.to_string())?;

    let report = report::lock(&report).to_json();
    let removed = fs::remove_file(&arguments.socket);
    print_line(&report)?;
    // The threads of open connections end with the process.
    removed.map_err(|e| format!("{}: {e}", arguments.socket.display()))
}

fn accept(listener: &UnixListener, script: &Script, report: &Arc<Mutex<Report>>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let number = report::lock(report).add_connection();
        let steps = script.steps(number);
        let report = Arc::clone(report);
        thread::spawn(move || connection::play(stream, &steps, number, &report));
    }
}

fn print_line(line: &Value) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| format!("standard output: {e}"))
}
