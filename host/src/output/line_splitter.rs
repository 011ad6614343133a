//! Splits captured output into lines: long ones are cut, and a rate limit protects the log.

use std::time::{Duration, Instant};

/// The longest line that is logged, in bytes. A longer one is cut into several.
pub(super) const MAX_LINE_BYTES: usize = 4 * 1024;

/// Lines, and bytes in them, that are logged in each [`WINDOW`]. The rest is counted and dropped. A
/// terminal or the journal accepts that much in addition to everything else.
pub(super) const MAX_LINES: usize = 200;
pub(super) const MAX_BYTES: usize = 128 * 1024;

/// Time over which lines are counted together.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// Output that was dropped since the last report.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DroppedOutput {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

/// The unfinished line, and what the rate limit still allows.
pub(crate) struct LineSplitter {
    pending: Vec<u8>,
    window_start: Instant,
    lines: usize,
    bytes: usize,
    dropped: DroppedOutput,
}

impl LineSplitter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { pending: Vec::new(), window_start: now, lines: 0, bytes: 0, dropped: DroppedOutput::default() }
    }

    /// Takes bytes as they were written, and calls `log` with each line that the limit allows,
    /// without its newline.
    pub(crate) fn take(&mut self, mut bytes: &[u8], now: Instant, mut log: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let room = MAX_LINE_BYTES - self.pending.len();
            let (part, ends) = match bytes.iter().take(room).position(|byte| *byte == b'\n') {
                Some(end) => (end, 1),
                None => (bytes.len().min(room), 0),
            };
            self.pending.extend_from_slice(&bytes[..part]);
            bytes = &bytes[part + ends..];
            if ends == 1 || self.pending.len() >= MAX_LINE_BYTES {
                self.end_line(now, &mut log);
            }
        }
    }

    /// Returns whether there is an unfinished line.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Ends the unfinished line, because its writer has paused or the capture ends.
    pub(crate) fn end_line(&mut self, now: Instant, mut log: impl FnMut(&str)) {
        let mut line = std::mem::take(&mut self.pending);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            self.open_window(now);
            if self.lines < MAX_LINES && self.bytes + text.len() <= MAX_BYTES {
                self.lines += 1;
                self.bytes += text.len();
                log(text);
            } else {
                self.drop_bytes(line.len() as u64, 1);
            }
        }
        line.clear();
        self.pending = line;
    }

    fn open_window(&mut self, now: Instant) {
        if now.saturating_duration_since(self.window_start) >= WINDOW {
            self.window_start = now;
            self.lines = 0;
            self.bytes = 0;
        }
    }

    /// Counts dropped bytes, and dropped lines if their number is known.
    pub(super) fn drop_bytes(&mut self, bytes: u64, lines: u64) {
        self.dropped.bytes += bytes;
        self.dropped.lines += lines;
    }

    /// Takes the dropped output for a report, once its window is over or if the capture ends.
    pub(crate) fn take_dropped(&mut self, now: Instant, is_end: bool) -> Option<DroppedOutput> {
        let is_over = is_end || now.saturating_duration_since(self.window_start) >= WINDOW;
        (is_over && self.has_dropped()).then(|| std::mem::take(&mut self.dropped))
    }

    pub(super) fn has_dropped(&self) -> bool {
        self.dropped != DroppedOutput::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &mut LineSplitter, bytes: &[u8], now: Instant) -> Vec<String> {
        let mut logged = Vec::new();
        lines.take(bytes, now, |line| logged.push(line.to_owned()));
        logged
    }

    #[test]
    fn joins_partial_lines_and_cuts_long_ones() {
        let now = Instant::now();
        let mut all = LineSplitter::new(now);
        assert_eq!(lines(&mut all, b"a\n\nb", now), ["a"]);
        assert!(all.is_pending());
        assert_eq!(lines(&mut all, b"c\r\n\xff\n", now), ["bc", "\u{fffd}"]);
        let long = vec![b'x'; MAX_LINE_BYTES + 10];
        assert_eq!(lines(&mut all, &long, now), ["x".repeat(MAX_LINE_BYTES)]);
        let mut rest = Vec::new();
        all.end_line(now, |line| rest.push(line.to_owned()));
        assert_eq!(rest, ["x".repeat(10)]);
        assert!(!all.is_pending());
    }

    #[test]
    fn counts_output_beyond_the_limit_until_the_window_is_over() {
        let now = Instant::now();
        let mut all = LineSplitter::new(now);
        assert_eq!(lines(&mut all, "line\n".repeat(MAX_LINES + 7).as_bytes(), now).len(), MAX_LINES);
        assert_eq!(all.take_dropped(now, false), None, "the window is not over");
        let later = now + WINDOW;
        assert_eq!(all.take_dropped(later, false), Some(DroppedOutput { lines: 7, bytes: 28 }));
        assert_eq!(all.take_dropped(later, false), None);
        let long = format!("{}\n", "y".repeat(MAX_LINE_BYTES - 1));
        let logged = lines(&mut all, long.repeat(100).as_bytes(), later);
        assert!(
            logged.len() < 100 && logged.len() * MAX_LINE_BYTES <= MAX_BYTES + MAX_LINE_BYTES,
            "{}",
            logged.len()
        );
        assert!(all.has_dropped());
    }
}
