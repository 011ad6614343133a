//! Latency in an open loop at parts of the peak, without and with a plugin replaced every second, and the echo loop's,
//! in turns.

use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::drive::{Driver, Generator, Load, Run};
use super::servers::Programs;
use super::spread::{Spread, digits, grouped};
use super::{Words, progress};

/// What the peak is measured with, and how many connections share the open loop.
const LOAD: Load = Load::async_(20, 64);
/// How often the plugin is replaced.
const EVERY: Duration = Duration::from_secs(1);
/// Runs are at least so long: a reload each second must fall into them more than once.
const SHORTEST: Duration = Duration::from_secs(4);

/// The peak by these is what is offered.
const PARTS: [f64; 2] = [2.0, 4.0];

/// Of the runs of one kind.
#[derive(Debug, Serialize)]
struct Tail {
    p50_us: Spread,
    p99_us: Spread,
    p999_us: Spread,
    p999_by_p50: Spread,
    /// Of all runs: where it is not nought, the rate was not kept and the latencies are those of a queue.
    unsent: u64,
}

/// What was seen at one rate.
#[derive(Debug, Serialize)]
struct Tails {
    rate: f64,
    /// The echo loop, which does nothing: what it has, the machine has.
    echo: Tail,
    without: Tail,
    with: Tail,
    /// Of the same round.
    p99_with_by_without: Spread,
}

#[derive(Debug, Serialize)]
struct Report {
    peak_per_second: Spread,
    rates: Vec<Tails>,
    reloads: u32,
}

pub(super) fn run(words: &Words, programs: &Programs, driver: &Driver) -> io::Result<String> {
    let (host, echo) = (programs.host(1, "")?, programs.own("echo", &["echo"])?);
    let (generator, to_echo) =
        (Generator::framed("copy000.inline"), Generator::framed("device.status.update"));
    let none = || io::Error::other("no round");
    let mut peaks = Vec::new();
    for _ in 0..words.rounds {
        progress(format_args!("the peak"));
        peaks.push(driver.run(&host, &generator, LOAD, words.length())?.report.requests_per_second);
    }
    let peak = Spread::of(peaks).ok_or_else(none)?;
    let length = words.length().max(SHORTEST);
    let (mut rates, mut reloads) = (Vec::new(), 0);
    for part in PARTS {
        let rate = (peak.median / part).floor();
        let (mut echoed, mut without, mut with) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=words.rounds {
            progress(format_args!("round {round} of {}: {} requests/s", words.rounds, grouped(rate)));
            echoed.push(driver.run_at(&echo, &to_echo, LOAD, length, Some(rate))?);
            without.push(driver.run_at(&host, &generator, LOAD, length, Some(rate))?);
            let over = AtomicBool::new(false);
            let (run, replaced) = thread::scope(|scope| {
                let replacing =
                    scope.spawn(|| replace(programs, &host.directory().join("plugins"), reloads, &over));
                let run = driver.run_at(&host, &generator, LOAD, length, Some(rate));
                over.store(true, Ordering::Relaxed);
                let panicked = |_| Err(io::Error::other("the replacing thread panicked"));
                (run, replacing.join().unwrap_or_else(panicked))
            });
            with.push(run?);
            reloads += replaced?;
        }
        let p99 = |run: &Run| run.report.latency_us.p99;
        let by = with.iter().zip(&without).map(|(with, without)| p99(with) / p99(without));
        rates.push(Tails {
            rate,
            p99_with_by_without: Spread::of(by).ok_or_else(none)?,
            echo: tail(&echoed).ok_or_else(none)?,
            without: tail(&without).ok_or_else(none)?,
            with: tail(&with).ok_or_else(none)?,
        });
    }
    let reloads = loaded(&host.log()?, reloads)?;
    let report = Report { peak_per_second: peak, rates, reloads };
    Ok(if words.json { serde_json::to_string_pretty(&report)? + "\n" } else { text(&report) })
}

/// Puts a new version there each second until it is over; how many.
fn replace(
    programs: &Programs,
    plugins: &std::path::Path,
    before: u32,
    over: &AtomicBool,
) -> io::Result<u32> {
    let mut count = 0;
    let mut due = Instant::now() + EVERY / 2;
    while !over.load(Ordering::Relaxed) {
        if Instant::now() < due {
            thread::sleep(Duration::from_millis(10));
            continue;
        }
        count += 1;
        programs.copy(plugins, 0, before + count)?;
        due += EVERY;
    }
    Ok(count)
}

/// How many versions the host says that it loaded after the first; an error if they are fewer than half.
fn loaded(log: &str, put: u32) -> io::Result<u32> {
    let lines = log.lines().filter(|line| line.contains(": loaded plugin=\"copy000\""));
    let count = u32::try_from(lines.count().saturating_sub(1)).unwrap_or(u32::MAX);
    if count * 2 < put {
        return Err(io::Error::other(format!("{put} versions were put there, {count} were loaded: {log}")));
    }
    Ok(count)
}

fn tail(runs: &[Run]) -> Option<Tail> {
    let over = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    Some(Tail {
        p50_us: over(|run| run.report.latency_us.p50)?,
        p99_us: over(|run| run.report.latency_us.p99)?,
        p999_us: over(|run| run.report.latency_us.p999)?,
        p999_by_p50: over(|run| run.report.latency_us.p999 / run.report.latency_us.p50)?,
        unsent: runs.iter().map(|run| run.report.unsent).sum(),
    })
}

fn text(report: &Report) -> String {
    let peak = report.peak_per_second.words(grouped);
    let mut text = format!(
        "Closed loop: {peak} requests/s. Open loops over {} connections; {} reloads, one a second.\n",
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
            let figures = figures.map(|figure| figure.words(digits)).join(" | ");
            let _ = writeln!(text, "| {name} | {figures} | {} |", tail.unsent);
        }
        let by = tails.p99_with_by_without.words(digits);
        let _ = writeln!(text, "\np99 with reloads by p99 without: {by}");
    }
    text
}
