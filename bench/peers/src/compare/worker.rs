//! A worker process beside the same plugin in the host: ratios of the main table, memory, and the
//! time of a start.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::driver::{Driver, Load, Run};
use super::peer::terminate;
use super::progress::progress;
use super::rounds::RunsByRow;
use super::servers::{BLOCKING, HOST_ARGUMENTS, INLINE, ISOLATED, Programs, Row, WORKER};
use super::spread::{Spread, digits};
use super::usage::{process_tree, unshared_memory};

/// Starts of each kind that are timed.
const STARTS: usize = 15;

/// Time-out of a start.
const START_MAX: Duration = Duration::from_secs(20);

/// The section of the plugin, without a line that isolates it.
const PLUGIN: &str = "[plugin.copy000]\n";

const MIB: f64 = (1 << 20) as f64;

/// A figure of a run in a worker, divided by that of another row in the same round.
struct Ratio {
    name: &'static str,
    load: Load,
    base: &'static str,
    figure: fn(&Run) -> f64,
    target: f64,
}

const RATIOS: [Ratio; 3] = [
    Ratio {
        name: "CPU of host and worker by `blocking` in the host",
        load: Load::async_(20, 64),
        base: BLOCKING,
        figure: Run::cpu_us,
        target: 2.5,
    },
    Ratio {
        name: "CPU of host and worker by `blocking` in the host",
        load: Load::sync(20),
        base: BLOCKING,
        figure: Run::cpu_us,
        target: 2.0,
    },
    Ratio {
        name: "p50 by `inline` in the host",
        load: Load::sync(1),
        base: INLINE,
        figure: |run| run.report.latency_us.p50,
        target: 2.5,
    },
];

/// Returns the ratios of the worker to the plugin in the host, as the head and the first rows of a
/// table.
pub(super) fn ratios(loads: &[Load], rows: &[Row], runs: &[RunsByRow]) -> String {
    let mut text = "\n**Worker process**\n\n| | load | measured | target |\n|---|---|---|---|\n".to_owned();
    for ratio in RATIOS {
        let of_load = loads.iter().position(|load| *load == ratio.load).map(|at| &runs[at]);
        let of_row = |name| Some(&of_load?[rows.iter().position(|row| row.name == name)?]);
        let (Some(worker), Some(base)) = (of_row(WORKER), of_row(ratio.base)) else { continue };

        let by_base = |(worker, base)| (ratio.figure)(worker) / (ratio.figure)(base);
        let Some(spread) = Spread::of(worker.iter().zip(base).map(by_base)) else { continue };
        let (name, load, target) = (ratio.name, ratio.load.name(), digits(ratio.target));
        let _ = writeln!(text, "| {name} | {load} | {} | {target} |", spread.display(digits));
    }
    text
}

/// Measures the memory of an idle worker and the time of a start, and returns them as rows of the
/// table of [`ratios`].
pub(super) fn costs(programs: &Programs, driver: &Driver) -> io::Result<String> {
    let mut text = String::new();

    progress(format_args!("worker: memory"));
    let isolated = format!("{PLUGIN}{ISOLATED}");
    let host = programs.start_host(1, &isolated)?;
    let processes = process_tree(host.pid())?;
    let [_, worker] = processes[..] else {
        return Err(io::Error::other(format!("the host has no single worker: {processes:?}")));
    };
    let memory = unshared_memory(worker)? as f64 / MIB;
    let _ = writeln!(text, "| own memory of an idle worker, in MiB | - | {} | 5 |", digits(memory));
    drop(host);

    let mut ratios = Vec::new();
    let mut in_host = Vec::new();
    let mut in_worker = Vec::new();
    for number in 1..=STARTS {
        progress(format_args!("worker: start {number} of {STARTS}"));
        driver.check_interrupt()?;
        in_host.push(start_ms(programs, PLUGIN)?);
        in_worker.push(start_ms(programs, &isolated)?);
        ratios.push(in_worker[number - 1] / in_host[number - 1]);
    }
    for (name, values, target) in [
        ("start to READY by the plugin in the host", ratios, "1.50"),
        ("start to READY in ms, plugin in the host", in_host, "-"),
        ("start to READY in ms, plugin in a worker", in_worker, "-"),
    ] {
        let Some(spread) = Spread::of(values) else { continue };
        let _ = writeln!(text, "| {name} | - | {} | {target} |", spread.display(digits));
    }
    Ok(text)
}

/// Returns the time in milliseconds from the start of a host with one plugin until it reports that
/// it is ready.
fn start_ms(programs: &Programs, config: &str) -> io::Result<f64> {
    let scratch = programs.prepare_host(1, config)?;
    let notify = scratch.path().join("notify.sock");
    let notifications = UnixDatagram::bind(&notify)?;
    notifications.set_read_timeout(Some(START_MAX))?;
    let log = File::create(scratch.path().join("log"))?;

    let began = Instant::now();
    let mut host = Command::new(&programs.jackfield)
        .args(HOST_ARGUMENTS)
        .current_dir(&scratch)
        .env("NOTIFY_SOCKET", &notify)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let ready = wait_until_ready(&notifications);
    let elapsed = began.elapsed();

    terminate(&mut host, Signal::SIGTERM);
    ready.map(|()| elapsed.as_secs_f64() * 1e3)
}

fn wait_until_ready(notifications: &UnixDatagram) -> io::Result<()> {
    let mut datagram = [0; 4096];
    loop {
        let length = notifications.recv(&mut datagram)?;
        if datagram[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(());
        }
    }
}
