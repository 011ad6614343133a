//! The main table as markdown, one for each load.

use std::fmt::Write as _;

use serde::Serialize;

use super::spread::{Spread, digits, grouped};

const HEAD: &str = "| | requests/s | x floor | p50 us | p99 us | p999 us | CPU us each | x floor | switches each | syscalls each |\n\
                    |---|---|---|---|---|---|---|---|---|---|\n";

/// The figures of one server under one load, over all rounds. The names are those of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    pub(super) peer: &'static str,
    pub(super) load: String,
    pub(super) requests_per_second: Spread,
    pub(super) p50_us: Spread,
    pub(super) p99_us: Spread,
    pub(super) p999_us: Spread,
    /// CPU time of the server per request, in microseconds.
    pub(super) cpu_us: Spread,
    /// Context switches of the server per request.
    pub(super) switches: Spread,
    /// System calls of the server per request; `None` if they were not counted.
    pub(super) syscalls: Option<f64>,
    /// CPU time per request divided by that of the floor in the same round.
    pub(super) cpu_by_floor: Spread,
    /// Requests per second divided by those of the floor in the same round.
    pub(super) rate_by_floor: Spread,
}

/// Returns the tables of cells that are sorted by load.
pub(super) fn render(cells: &[Cell]) -> String {
    let mut text =
        "Medians over the rounds, with minimum and maximum in parentheses. CPU is that of the server.\n"
            .to_owned();
    for (at, cell) in cells.iter().enumerate() {
        if at == 0 || cells[at - 1].load != cell.load {
            let _ = write!(text, "\n**{}**\n\n{HEAD}", cell.load);
        }
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            cell.peer,
            cell.requests_per_second.display(grouped),
            digits(cell.rate_by_floor.median),
            digits(cell.p50_us.median),
            digits(cell.p99_us.median),
            digits(cell.p999_us.median),
            cell.cpu_us.display(digits),
            cell.cpu_by_floor.display(digits),
            digits(cell.switches.median),
            cell.syscalls.map_or("-".to_owned(), digits),
        );
    }
    text
}
