//! What Jackfield is measured against, and the comparison itself: `peers compare` starts every other word of this program.

mod compare;
mod device;
mod load;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Servers beside Jackfield, loads for them, and the comparison")]
struct Words {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// One thread, one epoll, frames sent back
    Echo {
        socket: PathBuf,
        /// Microseconds to poll after the last event before it sleeps
        #[arg(long, default_value_t = 0)]
        spin_us: u64,
    },
    /// The least that a Rust server does for the same work
    Floor {
        socket: PathBuf,
        /// On tokio's multi-thread runtime
        #[arg(long)]
        multi: bool,
    },
    /// tarpc, bincode
    Tarpc { socket: PathBuf },
    /// gRPC by tonic
    Tonic { socket: PathBuf },
    /// Loads a peer that does not speak the framed protocol
    Load(load::Words),
    /// Plays all peers in turns
    Compare(compare::Words),
}

fn main() -> ExitCode {
    let done = match Words::parse().what {
        What::Echo { socket, spin_us } => serve::echo::serve(&socket, Duration::from_micros(spin_us)),
        What::Floor { socket, multi } => serve::floor::serve(&socket, multi),
        What::Tarpc { socket } => serve::tarpc::serve(&socket),
        What::Tonic { socket } => serve::tonic::serve(&socket),
        What::Load(words) => load::run(&words),
        What::Compare(words) => compare::run(&words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}
