//! The main table: every load against every server, in interleaved rounds.

use std::io;
use std::time::Duration;

use super::arguments::CompareArguments;
use super::driver::{Driver, Load, Run};
use super::peer::Peer;
use super::progress::progress;
use super::servers::{FLOOR, Programs, Row, WORKER};
use super::spread::Spread;
use super::syscalls;
use super::table::{self, Cell};
use super::worker;

/// The loads. The first three wait for each reply; the others have 64 requests in flight on each
/// connection.
const LOADS: [Load; 5] =
    [Load::sync(1), Load::sync(4), Load::sync(20), Load::async_(1, 64), Load::async_(20, 64)];

/// Duration of each load before the measurements.
const WARM_UP: Duration = Duration::from_millis(100);

/// The runs of one load: by row, then by round.
pub(super) type RunsByRow = Vec<Vec<Run>>;

pub(super) fn run(arguments: &CompareArguments, programs: &Programs, driver: &Driver) -> io::Result<String> {
    let (peers, rows) = programs.start_all(arguments)?;
    let has_strace = syscalls::has_strace();
    if !has_strace {
        progress(format_args!("skipped: syscalls: strace is not installed"));
    }

    progress(format_args!("warming up {} servers", peers.len()));
    for row in &rows {
        for load in LOADS {
            driver.run(&peers[row.server], &row.generator, load, WARM_UP)?;
        }
    }

    let runs = measure(arguments, driver, &peers, &rows)?;

    let mut cells = Vec::new();
    for (load, of_load) in LOADS.into_iter().zip(&runs) {
        progress(format_args!("syscalls: {}", load.name()));
        let floor = rows.iter().position(|row| row.name == FLOOR).map_or(&[][..], |at| &of_load[at]);
        for (row, of_row) in rows.iter().zip(of_load) {
            let syscalls = if has_strace {
                syscalls::per_request(driver, &peers[row.server], &row.generator, load)?
            } else {
                None
            };
            cells.extend(cell(row, load, of_row, floor, syscalls));
        }
    }

    if arguments.json {
        return Ok(serde_json::to_string_pretty(&cells)? + "\n");
    }
    let mut text = table::render(&cells);
    if rows.iter().any(|row| row.name == WORKER) {
        text += &worker::ratios(&LOADS, &rows, &runs);
        text += &worker::costs(programs, driver)?;
    }
    Ok(text)
}

/// Runs all rounds and returns their runs by load.
fn measure(
    arguments: &CompareArguments,
    driver: &Driver,
    peers: &[Peer],
    rows: &[Row],
) -> io::Result<Vec<RunsByRow>> {
    let empty = || rows.iter().map(|_| Vec::new()).collect();
    let mut runs: Vec<RunsByRow> = LOADS.iter().map(|_| empty()).collect();

    for round in 1..=arguments.rounds {
        for (load, of_load) in LOADS.into_iter().zip(&mut runs) {
            progress(format_args!("round {round} of {}: {}", arguments.rounds, load.name()));
            for (row, of_row) in rows.iter().zip(of_load) {
                let peer = &peers[row.server];
                of_row.push(driver.run(peer, &row.generator, load, arguments.run_duration())?);
            }
        }
    }
    Ok(runs)
}

/// Returns the figures of one server under one load, or `None` without a round.
fn cell(row: &Row, load: Load, runs: &[Run], floor: &[Run], syscalls: Option<f64>) -> Option<Cell> {
    let spread = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    let by_floor = |figure: fn(&Run) -> f64| {
        Spread::of(runs.iter().zip(floor).map(|(run, floor)| figure(run) / figure(floor)))
    };
    let rate: fn(&Run) -> f64 = |run| run.report.requests_per_second;

    Some(Cell {
        peer: row.name,
        load: load.name(),
        requests_per_second: spread(rate)?,
        p50_us: spread(|run| run.report.latency_us.p50)?,
        p99_us: spread(|run| run.report.latency_us.p99)?,
        p999_us: spread(|run| run.report.latency_us.p999)?,
        cpu_us: spread(Run::cpu_us)?,
        switches: spread(Run::switches)?,
        syscalls,
        cpu_by_floor: by_floor(Run::cpu_us)?,
        rate_by_floor: by_floor(rate)?,
    })
}
