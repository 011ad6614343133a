//! Bytes become lines: cut where they are too long, and no more of them a second than a log can bear.

use std::time::{Duration, Instant};

/// The longest line that goes to the log, in bytes; a longer one is cut into several.
pub(super) const LINE_MAX: usize = 4 * 1024;
/// So many lines, and so many bytes of them, in each [`WINDOW`]; the rest is counted and dropped. A terminal or a journal
/// takes that beside everything else.
const LINES: usize = 200;
const BYTES: usize = 128 * 1024;
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// What was dropped since that was last said.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct DroppedOutput {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// The bytes so far that are no whole line, and what may yet be let through.
pub(super) struct LineSplitter {
    pending: Vec<u8>,
    window: Instant,
    lines: usize,
    bytes: usize,
    dropped: DroppedOutput,
}

impl LineSplitter {
    pub(super) fn new(now: Instant) -> Self {
        Self { pending: Vec::new(), window: now, lines: 0, bytes: 0, dropped: DroppedOutput::default() }
    }

    /// Takes bytes as they were written; `say` gets each line that is let through, without its end.
    pub(super) fn take(&mut self, mut bytes: &[u8], now: Instant, mut say: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let room = LINE_MAX - self.pending.len();
            let (part, ends) = match bytes.iter().take(room).position(|byte| *byte == b'\n') {
                Some(end) => (end, 1),
                None => (bytes.len().min(room), 0),
            };
            self.pending.extend_from_slice(&bytes[..part]);
            bytes = &bytes[part + ends..];
            if ends == 1 || self.pending.len() >= LINE_MAX {
                self.end_line(now, &mut say);
            }
        }
    }

    /// Whether there are bytes that are no whole line.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What there is, is a line: nobody has gone on with it for a while, or nobody will.
    pub(super) fn end_line(&mut self, now: Instant, mut say: impl FnMut(&str)) {
        let mut line = std::mem::take(&mut self.pending);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            self.open_window(now);
            if self.lines < LINES && self.bytes + text.len() <= BYTES {
                (self.lines, self.bytes) = (self.lines + 1, self.bytes + text.len());
                say(text);
            } else {
                self.drop_bytes(line.len() as u64, 1);
            }
        }
        line.clear();
        self.pending = line;
    }

    fn open_window(&mut self, now: Instant) {
        if now.saturating_duration_since(self.window) >= WINDOW {
            (self.window, self.lines, self.bytes) = (now, 0, 0);
        }
    }

    /// So many bytes will never be seen, nor how many lines they are.
    pub(super) fn drop_bytes(&mut self, bytes: u64, lines: u64) {
        self.dropped.bytes += bytes;
        self.dropped.lines += lines;
    }

    /// What was dropped, once the window in which that happened is over.
    pub(super) fn take_dropped(&mut self, now: Instant, anyway: bool) -> Option<DroppedOutput> {
        let is_over = anyway || now.saturating_duration_since(self.window) >= WINDOW;
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
        let mut said = Vec::new();
        lines.take(bytes, now, |line| said.push(line.to_owned()));
        said
    }

    #[test]
    fn lines_are_whole_however_they_come_and_long_ones_are_cut() {
        let now = Instant::now();
        let mut all = LineSplitter::new(now);
        assert_eq!(lines(&mut all, b"a\n\nb", now), ["a"]);
        assert!(all.is_pending());
        assert_eq!(lines(&mut all, b"c\r\n\xff\n", now), ["bc", "\u{fffd}"]);
        let long = vec![b'x'; LINE_MAX + 10];
        assert_eq!(lines(&mut all, &long, now), ["x".repeat(LINE_MAX)]);
        let mut rest = Vec::new();
        all.end_line(now, |line| rest.push(line.to_owned()));
        assert_eq!(rest, ["x".repeat(10)]);
        assert!(!all.is_pending());
    }

    #[test]
    fn past_its_limit_what_comes_is_counted_until_the_window_is_over() {
        let now = Instant::now();
        let mut all = LineSplitter::new(now);
        assert_eq!(lines(&mut all, "line\n".repeat(LINES + 7).as_bytes(), now).len(), LINES);
        assert_eq!(all.take_dropped(now, false), None, "more may come");
        let later = now + WINDOW;
        assert_eq!(all.take_dropped(later, false), Some(DroppedOutput { lines: 7, bytes: 28 }));
        assert_eq!(all.take_dropped(later, false), None);
        let long = format!("{}\n", "y".repeat(LINE_MAX - 1));
        let said = lines(&mut all, long.repeat(100).as_bytes(), later);
        assert!(said.len() < 100 && said.len() * LINE_MAX <= BYTES + LINE_MAX, "{}", said.len());
        assert!(all.has_dropped());
    }
}
