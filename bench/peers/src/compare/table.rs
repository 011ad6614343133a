//! The main table as markdown, one for each load.

use std::fmt::Write as _;

use super::rounds::Cell;
use super::spread::{digits, grouped};

const HEAD: &str = "| | requests/s | x floor | p50 us | p99 us | p999 us | CPU us each | x floor | switches each | syscalls each |\n\
                    |---|---|---|---|---|---|---|---|---|---|\n";

/// The cells, which are in the order of their loads.
pub(super) fn of(cells: &[Cell]) -> String {
    let mut text =
        "Medians over the rounds, in parentheses from the least to the most. CPU is the server's.\n"
            .to_owned();
    for (at, cell) in cells.iter().enumerate() {
        if at == 0 || cells[at - 1].load != cell.load {
            let _ = write!(text, "\n**{}**\n\n{HEAD}", cell.load);
        }
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            cell.peer,
            cell.requests_per_second.words(grouped),
            digits(cell.rate_by_floor.median),
            digits(cell.p50_us.median),
            digits(cell.p99_us.median),
            digits(cell.p999_us.median),
            cell.cpu_us.words(digits),
            cell.cpu_by_floor.words(digits),
            digits(cell.switches.median),
            cell.syscalls.map_or("-".to_owned(), digits),
        );
    }
    text
}
