//! Tables for a terminal: columns as wide as what is in them; and quantities as people read them.

use std::time::Duration;

/// The lines of a table. Every row has as many cells as the head.
pub(super) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
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

/// A cell of what may be missing.
pub(super) fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A length of time in three digits or so: `950us`, `1.2ms`, `34s`, `5m`, `3h`, `2d`.
pub(super) fn length(length: Duration) -> String {
    let (micros, seconds) = (length.as_micros(), length.as_secs());
    match () {
        () if micros < 1000 => format!("{micros}us"),
        () if micros < 10_000 => format!("{}.{}ms", micros / 1000, micros % 1000 / 100),
        () if micros < 1_000_000 => format!("{}ms", micros / 1000),
        () if seconds < 10 => format!("{seconds}.{}s", length.subsec_millis() / 100),
        () if seconds < 120 => format!("{seconds}s"),
        () if seconds < 2 * 3600 => format!("{}m", seconds / 60),
        () if seconds < 2 * 86_400 => format!("{}h", seconds / 3600),
        () => format!("{}d", seconds / 86_400),
    }
}

/// As [`length`], of microseconds.
pub(super) fn micros(micros: u64) -> String {
    length(Duration::from_micros(micros))
}

/// A number in three digits or so: `950`, `1.2k`, `34k`, `5.6M`.
pub(super) fn count(number: u64) -> String {
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
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [vec!["a".to_owned(), "ümlaut".to_owned(), "1".to_owned()]];
        assert_eq!(table(&["NAME", "B", "C"], rows), "NAME  B       C\na     ümlaut  1\n");
    }

    #[test]
    fn quantities_have_few_digits() {
        let micros = [0, 999, 1000, 9_999, 10_000, 999_999, 1_000_000, 9_990_000, 119_000_000, 7_199_000_000];
        let expected = ["0us", "999us", "1.0ms", "9.9ms", "10ms", "999ms", "1.0s", "9.9s", "119s", "119m"];
        assert_eq!(micros.map(super::micros), expected);
        assert_eq!([3600 * 47, 86_400 * 3].map(|s| length(Duration::from_secs(s))), ["47h", "3d"]);
        assert_eq!(
            [0, 999, 1000, 9_950, 34_000, 5_600_000, 7_000_000_000].map(count),
            ["0", "999", "1.0k", "9.9k", "34k", "5.6M", "7.0G"]
        );
    }
}
