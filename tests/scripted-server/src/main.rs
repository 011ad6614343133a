//! Plays a script over a Unix socket until its standard input ends, then reports what it saw.

mod connection;
mod order;
mod report;
mod script;
mod wire;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::{fs, io, thread};

use report::Report;
use script::Script;

const USAGE: &str = "scripted-server SCRIPT.json --socket PATH [--set NAME=INTEGER]...";

/// What the command line asks for.
struct Arguments {
    script: PathBuf,
    socket: PathBuf,
    variables: Vec<(String, i64)>,
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("scripted-server: {what}\nusage: {USAGE}");
            return ExitCode::from(64);
        }
    };
    match play(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("scripted-server: {what}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let (mut script, mut socket, mut variables) = (None, None, Vec::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--socket" => socket = Some(PathBuf::from(words.next().ok_or("--socket needs a path")?)),
            "--set" => {
                let pair = words.next().ok_or("--set needs NAME=INTEGER")?;
                let (name, value) = pair.split_once('=').ok_or("--set needs NAME=INTEGER")?;
                let value = value.parse().map_err(|_| format!("{value} is no integer"))?;
                variables.push((name.to_owned(), value));
            }
            _ if script.is_none() => script = Some(PathBuf::from(word)),
            _ => return Err(format!("what is {word}?")),
        }
    }
    Ok(Arguments { script: script.ok_or("no script")?, socket: socket.ok_or("no --socket")?, variables })
}

/// Listens, says so on standard output, serves each connection on a thread of its own until standard input ends.
fn play(arguments: &Arguments) -> Result<(), String> {
    let text =
        fs::read_to_string(&arguments.script).map_err(|e| format!("{}: {e}", arguments.script.display()))?;
    let script = Script::parse(&text, &arguments.variables).map_err(|e| e.to_string())?;
    let listener =
        UnixListener::bind(&arguments.socket).map_err(|e| format!("{}: {e}", arguments.socket.display()))?;
    let report = Arc::new(Mutex::new(Report::default()));
    let accepting = Arc::clone(&report);
    thread::spawn(move || accept(&listener, &script, &accepting));

    say(&serde_json::json!({ "ready": true, "socket": arguments.socket }))?;
    io::stdin().read_to_end(&mut Vec::new()).map_err(|e| e.to_string())?;

    let seen = report::locked(&report).to_json();
    let removed = fs::remove_file(&arguments.socket);
    say(&seen)?;
    // The threads of open connections end with the process.
    removed.map_err(|e| e.to_string())
}

fn accept(listener: &UnixListener, script: &Script, report: &Arc<Mutex<Report>>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let number = report::locked(report).open();
        let steps = script.steps(number);
        let report = Arc::clone(report);
        thread::spawn(move || connection::play(stream, &steps, number, &report));
    }
}

fn say(line: &serde_json::Value) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| e.to_string())
}
