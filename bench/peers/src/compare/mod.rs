//! The comparison of all servers.
//!
//! Each server is started in a scratch directory. Each load is run against all of them in turns,
//! round after round, so that other work of the machine affects all of them.

mod arguments;
mod driver;
mod peer;
mod plot;
mod progress;
mod rounds;
mod scaling;
mod servers;
mod spread;
mod syscalls;
mod table;
mod tail_latency;
mod usage;
mod worker;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::driver::Driver;
use self::servers::Programs;

pub(crate) use self::arguments::CompareArguments;

/// Measures and prints. The processes that it started have ended when it returns, also after a
/// signal.
pub(crate) fn run(arguments: &CompareArguments) -> io::Result<()> {
    let is_interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&is_interrupted))?;
    }
    let programs = Programs::new(arguments)?;
    let driver = Driver { jackfield: programs.jackfield.clone(), is_interrupted };

    let printed = if arguments.flat {
        scaling::run(arguments, &programs, &driver)?
    } else if arguments.tail {
        tail_latency::run(arguments, &programs, &driver)?
    } else {
        rounds::run(arguments, &programs, &driver)?
    };
    io::stdout().write_all(printed.as_bytes())
}
