//! Runs the vectors and the conversations of the protocol against a server, and prints what
//! differs.
//!
//! The program packs and parses every byte itself: it shares no code with the project.

mod answer;
mod arguments;
mod conversations;
mod reply;
mod report;
mod server;
mod vector;
mod wire;

use std::process::ExitCode;

use answer::check_vector;
use arguments::{Arguments, USAGE};
use report::Report;
use vector::Vector;

/// The program could not run.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(fault) => {
            eprintln!("jackfield-conformance: {fault}\nusage: {USAGE}");
            return ExitCode::from(FAILED);
        }
    };
    match run(&arguments) {
        Ok(report) => {
            println!("{report}");
            if report.differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(fault) => {
            eprintln!("jackfield-conformance: {fault}");
            ExitCode::from(FAILED)
        }
    }
}

/// Checks everything.
///
/// # Errors
///
/// There are no vectors, or no server.
fn run(arguments: &Arguments) -> Result<Report, String> {
    let server = &arguments.server;
    let vectors = Vector::read_all(&arguments.vectors)?;
    server.connect().map_err(|error| format!("{}: {error}", server.socket.display()))?;

    let mut report = Report::only(&arguments.only);
    for vector in vectors.iter().filter(|vector| server.is_for(vector)) {
        report.check(&format!("vector {}", vector.name), || check_vector(server, vector, false));
        if vector.is_small() {
            report.check(&format!("vector {} byte by byte", vector.name), || {
                check_vector(server, vector, true)
            });
        }
    }
    conversations::run(server, &mut report);
    Ok(report)
}
