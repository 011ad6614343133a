//! All servers side by side: each started in a scratch directory, each load played against all of them in turns, round
//! after round, so that whatever else the machine does falls on all of them.

mod drive;
mod flat;
mod peer;
mod plot;
mod rounds;
mod servers;
mod spread;
mod syscalls;
mod table;
mod tail;
mod usage;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use self::drive::Driver;
use self::servers::Programs;

/// The words of `compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Words {
    /// The program `jackfield`, beside which are its plugins
    #[arg(long, default_value = "target/release/jackfield")]
    jackfield: PathBuf,
    /// The plugin of bench/peers/plugin
    #[arg(long, default_value = "target/peers/release/libcopy000.so")]
    plugin: PathBuf,
    /// The server of bench/go; left out if it is not there
    #[arg(long, default_value = "target/bench/go-server")]
    go: PathBuf,
    /// How often each load is played against each server
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each run is
    #[arg(long, default_value_t = 750)]
    run_ms: u64,
    /// Only servers whose name has one of these in it; the floor is always there
    #[arg(long)]
    only: Vec<String>,
    /// Instead: whether cost grows with connections, routes, plugins, requests served, payloads
    #[arg(long)]
    flat: bool,
    /// Instead: an open loop at half of the peak, without and with a reload every second
    #[arg(long, conflicts_with = "flat")]
    tail: bool,
    /// Where the plot of --flat is written
    #[arg(long, requires = "flat")]
    plot: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

impl Words {
    fn length(&self) -> Duration {
        Duration::from_millis(self.run_ms)
    }
}

/// Measures and prints. Whatever it started is ended when it returns, interrupted or not.
pub(crate) fn run(words: &Words) -> io::Result<()> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let programs = Programs::new(words)?;
    let driver = Driver { jackfield: programs.jackfield.clone(), interrupted };
    let printed = if words.flat {
        flat::run(words, &programs, &driver)?
    } else if words.tail {
        tail::run(words, &programs, &driver)?
    } else {
        rounds::run(words, &programs, &driver)?
    };
    io::stdout().write_all(printed.as_bytes())
}

/// Says on stderr what is going on.
fn progress(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{what}");
}
