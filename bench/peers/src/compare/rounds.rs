//! The main table: every load against every server, in interleaved rounds.

use std::io;
use std::time::Duration;

use serde::Serialize;

use super::drive::{Driver, Load, Run};
use super::servers::{FLOOR, Programs, Row};
use super::spread::Spread;
use super::{Words, progress, syscalls, table};

/// From one caller to many: the first three wait for each reply, the others have 64 requests in flight.
const LOADS: [Load; 5] =
    [Load::sync(1), Load::sync(4), Load::sync(20), Load::async_(1, 64), Load::async_(20, 64)];
/// Of each load before anything counts.
const WARM_UP: Duration = Duration::from_millis(100);

/// Everything about one server under one load, over all rounds. Names are those of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    pub(super) peer: &'static str,
    pub(super) load: String,
    pub(super) requests_per_second: Spread,
    pub(super) p50_us: Spread,
    pub(super) p99_us: Spread,
    pub(super) p999_us: Spread,
    /// Server CPU for each request, in microseconds.
    pub(super) cpu_us: Spread,
    /// Of the server, for each request.
    pub(super) switches: Spread,
    /// `None`: not counted.
    pub(super) syscalls: Option<f64>,
    /// This server's CPU for each request by the floor's of the same round.
    pub(super) cpu_by_floor: Spread,
    /// This server's requests a second by the floor's of the same round.
    pub(super) rate_by_floor: Spread,
}

pub(super) fn run(words: &Words, programs: &Programs, driver: &Driver) -> io::Result<String> {
    let (peers, rows) = programs.all(words)?;
    let traced = syscalls::is_there();
    if !traced {
        progress(format_args!("skipped: syscalls: there is no strace"));
    }
    progress(format_args!("warming up {} servers", peers.len()));
    for row in &rows {
        for load in LOADS {
            driver.run(&peers[row.server], &row.generator, load, WARM_UP)?;
        }
    }
    // By load, then by row, then by round.
    let mut runs: Vec<Vec<Vec<Run>>> =
        LOADS.iter().map(|_| rows.iter().map(|_| Vec::new()).collect()).collect();
    for round in 1..=words.rounds {
        for (load, of_load) in LOADS.into_iter().zip(&mut runs) {
            progress(format_args!("round {round} of {}: {}", words.rounds, load.name()));
            for (row, of_row) in rows.iter().zip(of_load) {
                of_row.push(driver.run(&peers[row.server], &row.generator, load, words.length())?);
            }
        }
    }
    let mut cells = Vec::new();
    for (load, of_load) in LOADS.into_iter().zip(&runs) {
        progress(format_args!("syscalls: {}", load.name()));
        let floor = rows.iter().position(|row| row.name == FLOOR).map_or(&[][..], |at| &of_load[at]);
        for (row, of_row) in rows.iter().zip(of_load) {
            let syscalls = match traced {
                true => syscalls::each(driver, &peers[row.server], &row.generator, load)?,
                false => None,
            };
            cells.extend(cell(row, load, of_row, floor, syscalls));
        }
    }
    if words.json {
        return Ok(serde_json::to_string_pretty(&cells)? + "\n");
    }
    Ok(table::of(&cells))
}

/// `None`: there was no round.
fn cell(row: &Row, load: Load, runs: &[Run], floor: &[Run], syscalls: Option<f64>) -> Option<Cell> {
    let over = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    let by_floor = |figure: fn(&Run) -> f64| {
        Spread::of(runs.iter().zip(floor).map(|(run, floor)| figure(run) / figure(floor)))
    };
    let rate: fn(&Run) -> f64 = |run| run.report.requests_per_second;
    Some(Cell {
        peer: row.name,
        load: load.name(),
        requests_per_second: over(rate)?,
        p50_us: over(|run| run.report.latency_us.p50)?,
        p99_us: over(|run| run.report.latency_us.p99)?,
        p999_us: over(|run| run.report.latency_us.p999)?,
        cpu_us: over(Run::cpu_us)?,
        switches: over(Run::switches)?,
        syscalls,
        cpu_by_floor: by_floor(Run::cpu_us)?,
        rate_by_floor: by_floor(rate)?,
    })
}
