//! The servers that Jackfield is compared with, loads for them, and the comparison.
//!
//! `peers compare` runs the other commands of this program as child processes.

mod compare;
mod device;
mod load;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Run servers to compare Jackfield with, loads for them, and the comparison")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve with one thread and one epoll that send every frame back
    Echo {
        socket: PathBuf,
        /// Microseconds to poll after the last event before sleeping
        #[arg(long, default_value_t = 0)]
        spin_us: u64,
    },
    /// Serve with the least that a Rust server does for the same work
    Floor {
        socket: PathBuf,
        /// Use the multi-thread runtime of tokio
        #[arg(long)]
        multi: bool,
    },
    /// Serve tarpc with bincode
    Tarpc { socket: PathBuf },
    /// Serve gRPC with tonic
    Tonic { socket: PathBuf },
    /// Load a server that does not speak the framed protocol
    Load(load::LoadArguments),
    /// Compare all servers
    Compare(compare::CompareArguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Echo { socket, spin_us } => serve::echo::serve(&socket, Duration::from_micros(spin_us)),
        Command::Floor { socket, multi } => serve::floor::serve(&socket, multi),
        Command::Tarpc { socket } => serve::tarpc::serve(&socket),
        Command::Tonic { socket } => serve::tonic::serve(&socket),
        Command::Load(arguments) => load::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}
