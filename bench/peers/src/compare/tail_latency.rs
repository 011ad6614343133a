//! Latency in an open loop at parts of the peak: of the host without and with a reload every
//! second, and of the echo loop, in turns.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::arguments::CompareArguments;
use super::driver::{Driver, Generator, Load, Run};
use super::peer::Peer;
use super::progress::progress;
use super::servers::Programs;
use super::spread::{Spread, digits, grouped};

/// The load that measures the peak. The open loop has as many connections.
const LOAD: Load = Load::async_(20, 64);

/// Interval of the reloads.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum duration of a run, so that it has several reloads.
const MIN_DURATION: Duration = Duration::from_secs(4);

/// The rates are the peak divided by these.
const DIVISORS: [f64; 2] = [2.0, 4.0];

/// The latencies of the runs of one kind.
#[derive(Debug, Serialize)]
struct Tail {
    p50_us: Spread,
    p99_us: Spread,
    p999_us: Spread,
    p999_by_p50: Spread,
    /// Requests of all runs that were due and not sent. If there are any, the rate was not kept,
    /// and the latencies are those of a queue.
    unsent: u64,
}

/// The measurements at one rate.
#[derive(Debug, Serialize)]
struct Tails {
    rate: f64,
    /// The echo loop does no work, so its latencies are those of the machine.
    echo: Tail,
    without: Tail,
    with: Tail,
    /// The p99 with reloads divided by that without, in the same round.
    p99_with_by_without: Spread,
}

#[derive(Debug, Serialize)]
struct TailReport {
    peak_per_second: Spread,
    rates: Vec<Tails>,
    reloads: u32,
}

/// The servers and their generators.
struct Measurement<'a> {
    arguments: &'a CompareArguments,
    programs: &'a Programs,
    driver: &'a Driver,
    host: Peer,
    echo: Peer,
    to_host: Generator,
    to_echo: Generator,
    /// Number of versions of the plugin that were installed.
    installed: u32,
}

pub(super) fn run(arguments: &CompareArguments, programs: &Programs, driver: &Driver) -> io::Result<String> {
    let mut measurement = Measurement {
        arguments,
        programs,
        driver,
        host: programs.start_host(1, "")?,
        echo: programs.start_own("echo", &["echo"])?,
        to_host: Generator::framed("copy000.inline"),
        to_echo: Generator::framed("device.status.update"),
        installed: 0,
    };

    let peak = measurement.peak()?;
    let mut rates = Vec::new();
    for divisor in DIVISORS {
        rates.push(measurement.at_rate((peak.median / divisor).floor())?);
    }

    let reloads = count_reloads(&measurement.host.log()?, measurement.installed)?;
    let report = TailReport { peak_per_second: peak, rates, reloads };
    Ok(if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { text(&report) })
}

impl Measurement<'_> {
    /// Measures the requests per second of the host in a closed loop.
    fn peak(&self) -> io::Result<Spread> {
        let mut peaks = Vec::new();
        for _ in 0..self.arguments.rounds {
            progress(format_args!("the peak"));
            let run = self.driver.run(&self.host, &self.to_host, LOAD, self.arguments.run_duration())?;
            peaks.push(run.report.requests_per_second);
        }
        Spread::of(peaks).ok_or_else(no_round)
    }

    /// Measures the latencies at this rate.
    fn at_rate(&mut self, rate: f64) -> io::Result<Tails> {
        let duration = self.arguments.run_duration().max(MIN_DURATION);
        let mut echoed = Vec::new();
        let mut without = Vec::new();
        let mut with = Vec::new();

        for round in 1..=self.arguments.rounds {
            let rounds = self.arguments.rounds;
            progress(format_args!("round {round} of {rounds}: {} requests/s", grouped(rate)));
            echoed.push(self.driver.run_at(&self.echo, &self.to_echo, LOAD, duration, Some(rate))?);
            without.push(self.driver.run_at(&self.host, &self.to_host, LOAD, duration, Some(rate))?);
            with.push(self.run_with_reloads(rate, duration)?);
        }

        let p99 = |run: &Run| run.report.latency_us.p99;
        let ratios = with.iter().zip(&without).map(|(with, without)| p99(with) / p99(without));
        Ok(Tails {
            rate,
            p99_with_by_without: Spread::of(ratios).ok_or_else(no_round)?,
            echo: tail(&echoed).ok_or_else(no_round)?,
            without: tail(&without).ok_or_else(no_round)?,
            with: tail(&with).ok_or_else(no_round)?,
        })
    }

    /// Runs the load while another thread installs a new version of the plugin every second.
    fn run_with_reloads(&mut self, rate: f64, duration: Duration) -> io::Result<Run> {
        let is_over = AtomicBool::new(false);
        let plugins = self.host.directory().join("plugins");
        let (run, installed) = thread::scope(|scope| {
            let installer =
                scope.spawn(|| install_versions(self.programs, &plugins, self.installed, &is_over));
            let run = self.driver.run_at(&self.host, &self.to_host, LOAD, duration, Some(rate));
            is_over.store(true, Ordering::Relaxed);

            let panicked = |_| Err(io::Error::other("the thread that installs the plugin panicked"));
            (run, installer.join().unwrap_or_else(panicked))
        });

        let run = run?;
        self.installed += installed?;
        Ok(run)
    }
}

fn no_round() -> io::Error {
    io::Error::other("no round was measured")
}

/// Installs a new version of the plugin every second until the load is over, and returns the number
/// of versions.
fn install_versions(
    programs: &Programs,
    plugins: &Path,
    before: u32,
    is_over: &AtomicBool,
) -> io::Result<u32> {
    let mut count = 0;
    let mut due = Instant::now() + RELOAD_INTERVAL / 2;
    while !is_over.load(Ordering::Relaxed) {
        if Instant::now() < due {
            thread::sleep(Duration::from_millis(10));
            continue;
        }
        count += 1;
        programs.install_copy(plugins, 0, before + count)?;
        due += RELOAD_INTERVAL;
    }
    Ok(count)
}

/// Returns the number of reloads in the log of the host.
///
/// # Errors
///
/// Fewer than half of the installed versions were loaded.
fn count_reloads(log: &str, installed: u32) -> io::Result<u32> {
    let is_load =
        |line: &&str| line.contains(": plugin copy000: generation ") && line.contains(" now serves");
    let loads = log.lines().filter(is_load);
    // The first load is that of the start.
    let reloads = u32::try_from(loads.count().saturating_sub(1)).unwrap_or(u32::MAX);
    if reloads * 2 < installed {
        let message = format!("only {reloads} of {installed} installed versions were loaded: {log}");
        return Err(io::Error::other(message));
    }
    Ok(reloads)
}

fn tail(runs: &[Run]) -> Option<Tail> {
    let spread = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    Some(Tail {
        p50_us: spread(|run| run.report.latency_us.p50)?,
        p99_us: spread(|run| run.report.latency_us.p99)?,
        p999_us: spread(|run| run.report.latency_us.p999)?,
        p999_by_p50: spread(|run| run.report.latency_us.p999 / run.report.latency_us.p50)?,
        unsent: runs.iter().map(|run| run.report.unsent).sum(),
    })
}

fn text(report: &TailReport) -> String {
    let peak = report.peak_per_second.display(grouped);
    let mut text = format!(
        "Closed loop: {peak} requests/s. Open loops over {} connections; {} reloads, one per second.\n",
        LOAD.connections, report.reloads
    );

    for tails in &report.rates {
        let _ = write!(
            text,
            "\n**{} requests/s**\n\n\
             | | p50 us | p99 us | p999 us | p999 by p50 | due, not sent |\n|---|---|---|---|---|---|\n",
            grouped(tails.rate)
        );
        let rows =
            [("echo", &tails.echo), ("jackfield", &tails.without), ("jackfield, reloads", &tails.with)];
        for (name, tail) in rows {
            let figures = [tail.p50_us, tail.p99_us, tail.p999_us, tail.p999_by_p50];
            let figures = figures.map(|figure| figure.display(digits)).join(" | ");
            let _ = writeln!(text, "| {name} | {figures} | {} |", tail.unsent);
        }
        let ratio = tails.p99_with_by_without.display(digits);
        let _ = writeln!(text, "\np99 with reloads by p99 without: {ratio}");
    }
    text
}
