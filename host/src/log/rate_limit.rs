//! Limits the log to [`MAX_LINES`] lines of one kind in a second.
//!
//! Further lines are counted and dropped, and one line reports how many they were. Lines that were
//! dropped because the reader of the log has stalled are counted and reported here, too.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

use super::display::Counted;
use crate::clock::Time;
use crate::sync::lock;

/// Lines in a second from one place in the program and one plugin. Far more than anybody reads, and
/// far fewer than what slows down a disk or the journal.
const MAX_LINES: u32 = 500;

/// Kinds of lines that are counted apart. Beyond it, kinds without a line in this second are
/// removed.
const MAX_KINDS: usize = 1024;

/// Time over which lines are counted together.
const WINDOW: Duration = Duration::from_secs(1);

/// Lines of this process that were counted and not written.
static DROPPED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Lines of this thread that were dropped because the reader has stalled.
    static STALL_DROPS_HERE: Cell<u64> = const { Cell::new(0) };
}

/// Returns how many lines this process has dropped, because of the limit or of a stalled reader.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// The kind of a line: its place in the program, and its plugin if it names one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct LineKind {
    place: Identifier,
    plugin: Option<Box<str>>,
}

/// The recent lines of one kind.
struct RecentLines {
    window_start: Time,
    count: u32,
    /// Dropped lines that were not reported yet.
    dropped: u64,
    metadata: &'static Metadata<'static>,
}

#[derive(Default)]
struct Shared {
    kinds: Mutex<HashMap<LineKind, RecentLines>>,
    /// Lines that were dropped because the reader has stalled.
    stall_drops: AtomicU64,
    /// The part of `stall_drops` that was reported.
    stall_drops_reported: AtomicU64,
    /// Notified when a line is dropped.
    drops: Notify,
}

/// Counts lines and decides which are written.
#[derive(Clone, Default)]
pub(super) struct RateLimiter(Arc<Shared>);

/// The value of a line's field `plugin`, if it has one.
#[derive(Default)]
struct PluginField(Option<Box<str>>);

impl Visit for PluginField {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "plugin" {
            self.0 = Some(value.into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "plugin" {
            self.0 = Some(format!("{value:?}").into());
        }
    }
}

/// The target of lines that plugins write themselves.
pub(crate) const OF_PLUGINS: &str = "jackfield::plugin";

impl RateLimiter {
    /// Counts a line and returns whether it is to be written.
    ///
    /// The host's own lines at `debug` and `trace` are never limited: an operator who enables them
    /// wants to see every request.
    pub(super) fn admits(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO && metadata.target() != OF_PLUGINS {
            return true;
        }
        let mut plugin = PluginField::default();
        event.record(&mut plugin);
        self.count(LineKind { place: metadata.callsite(), plugin: plugin.0 }, metadata, Time::now())
    }

    fn count(&self, kind: LineKind, metadata: &'static Metadata<'static>, now: Time) -> bool {
        let mut kinds = lock(&self.0.kinds);
        if kinds.len() >= MAX_KINDS && !kinds.contains_key(&kind) {
            kinds.retain(|_, recent| recent.dropped > 0 || now.since(recent.window_start) < WINDOW);
            if kinds.len() >= MAX_KINDS {
                // So many kinds in one second also exceed what a log can take.
                DROPPED.fetch_add(1, Ordering::Relaxed);
                return false;
            }
        }

        let recent = RecentLines { window_start: now, count: 0, dropped: 0, metadata };
        let recent = kinds.entry(kind).or_insert(recent);
        if now.since(recent.window_start) >= WINDOW {
            recent.window_start = now;
            recent.count = 0;
        }
        recent.count = recent.count.saturating_add(1);
        if recent.count <= MAX_LINES {
            return true;
        }
        recent.dropped += 1;
        drop(kinds);
        DROPPED.fetch_add(1, Ordering::Relaxed);
        self.0.drops.notify_one();
        false
    }

    /// Counts a line that was dropped because the reader of the log has stalled.
    pub(super) fn count_stall_drop(&self) {
        self.0.stall_drops.fetch_add(1, Ordering::Relaxed);
        STALL_DROPS_HERE.set(STALL_DROPS_HERE.get() + 1);
        DROPPED.fetch_add(1, Ordering::Relaxed);
        self.0.drops.notify_one();
    }

    fn report_stall_drops(&self) {
        let drops = self.0.stall_drops.load(Ordering::Relaxed);
        let dropped = drops - self.0.stall_drops_reported.load(Ordering::Relaxed);
        if dropped == 0 {
            return;
        }
        let here = STALL_DROPS_HERE.get();
        let lines = Counted(dropped, "log line");
        tracing::warn!(dropped, "{lines} dropped: the log reader stalled");

        // If this line itself was dropped, the number is reported again later. Lines that other
        // threads lost meanwhile are part of the next report.
        if STALL_DROPS_HERE.get() == here {
            self.0.stall_drops_reported.store(drops, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(super) fn stall_dropped_lines(&self) -> u64 {
        self.0.stall_drops.load(Ordering::Relaxed)
    }

    /// Logs one line for each kind with dropped lines since the last report, and one
    /// for lines that were dropped because the reader has stalled.
    pub(super) fn report(&self) {
        self.report_stall_drops();

        let mut dropped_kinds = Vec::new();
        for (kind, recent) in lock(&self.0.kinds).iter_mut().filter(|(_, recent)| recent.dropped > 0) {
            dropped_kinds.push((kind.clone(), std::mem::take(&mut recent.dropped), recent.metadata));
        }

        // Outside of the lock, because these lines are counted, too.
        for (LineKind { plugin, .. }, dropped, metadata) in dropped_kinds {
            let of_plugin = plugin.as_deref().map_or(String::new(), |plugin| format!(" for plugin {plugin}"));
            let plugin = plugin.as_deref().unwrap_or("none");
            let module = metadata.target();
            let line = metadata.line().unwrap_or(0);
            let lines = Counted(dropped, "log line");
            tracing::warn!(
                plugin,
                module,
                line,
                dropped,
                "{lines} dropped: more than {MAX_LINES} in a second from {module}:{line}{of_plugin}"
            );
        }
    }

    /// Reports dropped lines, one [`WINDOW`] after the first of them, and never returns.
    pub(super) async fn report_continuously(&self) {
        loop {
            self.0.drops.notified().await;
            tokio::time::sleep(WINDOW).await;
            self.report();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the metadata of some line.
    fn a_line() -> &'static Metadata<'static> {
        let callsite: &'static dyn tracing::Callsite =
            tracing::callsite! { name: "a line", kind: tracing::metadata::Kind::EVENT, fields: message };
        callsite.metadata()
    }

    #[test]
    fn limits_each_kind_of_line_apart() {
        let limiter = RateLimiter::default();
        let metadata = a_line();
        let kind = |plugin: &str| LineKind { place: metadata.callsite(), plugin: Some(plugin.into()) };
        let start = Time::now();
        let written = |plugin: &str, lines: u32, now: Time| {
            (0..lines).filter(|_| limiter.count(kind(plugin), metadata, now)).count()
        };
        assert_eq!(written("a", MAX_LINES + 7, start), MAX_LINES as usize);
        assert_eq!(written("b", 10, start), 10, "lines of another plugin are counted apart");
        let later = start.after(WINDOW);
        assert_eq!(written("a", 3, later), 3);
        assert_eq!(lock(&limiter.0.kinds)[&kind("a")].dropped, 7);
        assert!(dropped() >= 7);
        limiter.report();
        assert_eq!(lock(&limiter.0.kinds)[&kind("a")].dropped, 0, "reported once");
        for number in 0..MAX_KINDS {
            written(&number.to_string(), 1, later.after(WINDOW));
        }
        assert!(lock(&limiter.0.kinds).len() <= MAX_KINDS);
    }

    #[test]
    fn reports_each_stall_drop_once_even_if_others_follow_meanwhile() {
        let limiter = RateLimiter::default();
        (0..5).for_each(|_| limiter.count_stall_drop());
        let other = limiter.clone();
        // The report is written, and another thread loses a line meanwhile.
        let meanwhile = move || {
            let other = other.clone();
            std::thread::spawn(move || other.count_stall_drop()).join().unwrap();
            std::io::sink()
        };
        let subscriber = tracing_subscriber::fmt().with_writer(meanwhile).finish();
        tracing::subscriber::with_default(subscriber, || limiter.report_stall_drops());
        assert_eq!(
            (limiter.stall_dropped_lines(), limiter.0.stall_drops_reported.load(Ordering::Relaxed)),
            (6, 5)
        );

        // The report itself is lost.
        let own = limiter.clone();
        let in_vain = move || {
            own.count_stall_drop();
            std::io::sink()
        };
        let subscriber = tracing_subscriber::fmt().with_writer(in_vain).finish();
        tracing::subscriber::with_default(subscriber, || limiter.report_stall_drops());
        assert_eq!(
            (limiter.stall_dropped_lines(), limiter.0.stall_drops_reported.load(Ordering::Relaxed)),
            (7, 5)
        );
    }
}
