//! Tables for a terminal, and quantities with few digits in their cells.

use std::time::Duration;

/// Returns the lines of a table, each column as wide as its widest cell. Every row has as many
/// cells as the head.
pub(super) fn format_table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut lines = vec![head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows);

    let width = |column: usize| {
        lines.iter().map(|line: &Vec<String>| line[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();

    let line = |cells: &Vec<String>| {
        let padded: Vec<_> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

/// Returns the cell of a value that may be missing.
pub(super) fn format_cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Returns a duration in about three digits: `950us`, `1.2ms`, `34s`, `5m`, `3h`, `2d`.
pub(super) fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    let seconds = duration.as_secs();
    match () {
        () if micros < 1000 => format!("{micros}us"),
        () if micros < 10_000 => format!("{}.{}ms", micros / 1000, micros % 1000 / 100),
        () if micros < 1_000_000 => format!("{}ms", micros / 1000),
        () if seconds < 10 => format!("{seconds}.{}s", duration.subsec_millis() / 100),
        () if seconds < 120 => format!("{seconds}s"),
        () if seconds < 2 * 3600 => format!("{}m", seconds / 60),
        () if seconds < 2 * 86_400 => format!("{}h", seconds / 3600),
        () => format!("{}d", seconds / 86_400),
    }
}

/// As [`format_duration`], for microseconds.
pub(super) fn format_micros(micros: u64) -> String {
    format_duration(Duration::from_micros(micros))
}

/// Returns a number in about three digits: `950`, `1.2k`, `34k`, `5.6M`.
pub(super) fn format_count(number: u64) -> String {
    let scaled = |unit: u64, name| match number / unit {
        whole if whole < 10 => format!("{whole}.{}{name}", number % unit * 10 / unit),
        whole => format!("{whole}{name}"),
    };
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => scaled(1_000, "k"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "M"),
        _ => scaled(1_000_000_000, "G"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_columns_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "ümlaut".to_owned(), "1".to_owned()]];
        assert_eq!(format_table(&["NAME", "B", "C"], rows), "NAME  B       C\na     ümlaut  1\n");
    }

    #[test]
    fn shows_durations_with_few_digits() {
        let micros = [0, 999, 1000, 9_999, 10_000, 999_999, 1_000_000, 9_990_000, 119_000_000, 7_199_000_000];
        let expected = ["0us", "999us", "1.0ms", "9.9ms", "10ms", "999ms", "1.0s", "9.9s", "119s", "119m"];
        assert_eq!(micros.map(format_micros), expected);

        let days = [3600 * 47, 86_400 * 3].map(|seconds| format_duration(Duration::from_secs(seconds)));
        assert_eq!(days, ["47h", "3d"]);
    }

    #[test]
    fn shows_numbers_with_few_digits() {
        let numbers = [0, 999, 1000, 9_950, 34_000, 5_600_000, 7_000_000_000];
        assert_eq!(numbers.map(format_count), ["0", "999", "1.0k", "9.9k", "34k", "5.6M", "7.0G"]);
    }
}
