//! So many lines of one kind in a second, and no more: the rest is counted, and one line says how many they were. Lines
//! that nobody read are counted here as well.

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

use crate::clock::Time;
use crate::sync::lock;

/// So many lines in a second from one place in the program, of one plugin: far more than anybody reads, far less than
/// what slows a disk or a journal down.
const MOST: u32 = 500;

/// Kinds of lines that are told apart at once; past it, those that are not counted in this second are forgotten.
const KINDS: usize = 1024;

/// How long lines are counted together.
const WHILE: Duration = Duration::from_secs(1);

/// Lines that were counted and not written, in this process.
static DROPPED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Lines of this thread's that found no room.
    static UNREAD_HERE: Cell<u64> = const { Cell::new(0) };
}

/// How many lines this process has counted and not written, for there were too many or nobody read them.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Lines of one kind: from one place in the program, of one plugin if that is named.
#[derive(Clone, PartialEq, Eq, Hash)]
struct LineKind {
    place: Identifier,
    plugin: Option<Box<str>>,
}

/// What came of one kind lately.
struct RecentLines {
    since: Time,
    count: u32,
    /// Of those, how many nobody was told of yet.
    dropped: u64,
    metadata: &'static Metadata<'static>,
}

#[derive(Default)]
struct Shared {
    kinds: Mutex<HashMap<LineKind, RecentLines>>,
    /// Lines for which their reader left no room.
    unread: AtomicU64,
    /// As many of them as somebody was told of.
    unread_told: AtomicU64,
    /// Told when a line is dropped.
    drops: Notify,
}

/// What counts the lines.
#[derive(Clone, Default)]
pub(super) struct RateLimiter(Arc<Shared>);

/// The name of a plugin, if a line has one.
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

/// What plugins write themselves, whatever its level.
pub(crate) const OF_PLUGINS: &str = "jackfield::plugin";

impl RateLimiter {
    /// Counts a line; whether it is to be written. The host's own at `debug` and below always are: who asks for
    /// them wants every request.
    pub(super) fn lets_through(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO && metadata.target() != OF_PLUGINS {
            return true;
        }
        let mut plugin = PluginField::default();
        event.record(&mut plugin);
        self.counts(LineKind { place: metadata.callsite(), plugin: plugin.0 }, metadata, Time::now())
    }

    fn counts(&self, kind: LineKind, metadata: &'static Metadata<'static>, now: Time) -> bool {
        let mut kinds = lock(&self.0.kinds);
        if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
            kinds.retain(|_, lately| lately.dropped > 0 || now.since(lately.since) < WHILE);
            if kinds.len() >= KINDS {
                // As many kinds in one second are a flood as well.
                DROPPED.fetch_add(1, Ordering::Relaxed);
                return false;
            }
        }
        let lately = kinds.entry(kind).or_insert(RecentLines { since: now, count: 0, dropped: 0, metadata });
        if now.since(lately.since) >= WHILE {
            (lately.since, lately.count) = (now, 0);
        }
        lately.count = lately.count.saturating_add(1);
        if lately.count <= MOST {
            return true;
        }
        lately.dropped += 1;
        drop(kinds);
        DROPPED.fetch_add(1, Ordering::Relaxed);
        self.0.drops.notify_one();
        false
    }

    /// Counts a line that could not be written, for its reader does not read.
    pub(super) fn unread(&self) {
        self.0.unread.fetch_add(1, Ordering::Relaxed);
        UNREAD_HERE.set(UNREAD_HERE.get() + 1);
        DROPPED.fetch_add(1, Ordering::Relaxed);
        self.0.drops.notify_one();
    }

    fn tell_unread(&self) {
        let unread = self.0.unread.load(Ordering::Relaxed);
        let dropped = unread - self.0.unread_told.load(Ordering::Relaxed);
        if dropped == 0 {
            return;
        }
        let here = UNREAD_HERE.get();
        tracing::warn!(dropped, "lines were not written: whoever reads the log had stopped reading");
        // Nor was this one, it may be: then it is told again. What others lost meanwhile is told the next time.
        if UNREAD_HERE.get() == here {
            self.0.unread_told.store(unread, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(super) fn unread_lines(&self) -> u64 {
        self.0.unread.load(Ordering::Relaxed)
    }

    /// One line for each kind of which lines were dropped since the last time, and one for those that nobody read.
    pub(super) fn tell(&self) {
        self.tell_unread();
        let mut told = Vec::new();
        for (kind, lately) in lock(&self.0.kinds).iter_mut().filter(|(_, lately)| lately.dropped > 0) {
            told.push((kind.clone(), std::mem::take(&mut lately.dropped), lately.metadata));
        }
        // Not under the lock: these lines are counted as well.
        for (LineKind { plugin, .. }, dropped, metadata) in told {
            let plugin = plugin.as_deref().unwrap_or("none");
            let (module, line) = (metadata.target(), metadata.line().unwrap_or(0));
            tracing::warn!(
                plugin,
                module,
                line,
                dropped,
                "more than {MOST} lines of one kind in a second: the rest was not written"
            );
        }
    }

    /// Tells of what was dropped, soon after it was, for ever.
    pub(super) async fn keep_telling(&self) {
        loop {
            self.0.drops.notified().await;
            tokio::time::sleep(WHILE).await;
            self.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of some line.
    fn a_line() -> &'static Metadata<'static> {
        let callsite: &'static dyn tracing::Callsite =
            tracing::callsite! { name: "a line", kind: tracing::metadata::Kind::EVENT, fields: message };
        callsite.metadata()
    }

    #[test]
    fn each_kind_has_its_share_of_each_second() {
        let flood = RateLimiter::default();
        let metadata = a_line();
        let kind = |plugin: &str| LineKind { place: metadata.callsite(), plugin: Some(plugin.into()) };
        let start = Time::now();
        let written = |plugin: &str, lines: u32, now: Time| {
            (0..lines).filter(|_| flood.counts(kind(plugin), metadata, now)).count()
        };
        assert_eq!(written("a", MOST + 7, start), MOST as usize);
        assert_eq!(written("b", 10, start), 10, "another one's lines are not those");
        let later = start.after(WHILE);
        assert_eq!(written("a", 3, later), 3);
        assert_eq!(lock(&flood.0.kinds)[&kind("a")].dropped, 7);
        assert!(dropped() >= 7);
        flood.tell();
        assert_eq!(lock(&flood.0.kinds)[&kind("a")].dropped, 0, "told once");
        for number in 0..KINDS {
            written(&number.to_string(), 1, later.after(WHILE));
        }
        assert!(lock(&flood.0.kinds).len() <= KINDS);
    }

    #[test]
    fn a_line_that_another_thread_loses_meanwhile_is_told_next_and_no_other_one_twice() {
        let flood = RateLimiter::default();
        (0..5).for_each(|_| flood.unread());
        let other = flood.clone();
        // The line is written, and while that is done another one is not.
        let meanwhile = move || {
            let other = other.clone();
            std::thread::spawn(move || other.unread()).join().unwrap();
            std::io::sink()
        };
        let subscriber = tracing_subscriber::fmt().with_writer(meanwhile).finish();
        tracing::subscriber::with_default(subscriber, || flood.tell_unread());
        assert_eq!((flood.unread_lines(), flood.0.unread_told.load(Ordering::Relaxed)), (6, 5));
        // The line itself finds no room.
        let own = flood.clone();
        let in_vain = move || {
            own.unread();
            std::io::sink()
        };
        let subscriber = tracing_subscriber::fmt().with_writer(in_vain).finish();
        tracing::subscriber::with_default(subscriber, || flood.tell_unread());
        assert_eq!((flood.unread_lines(), flood.0.unread_told.load(Ordering::Relaxed)), (7, 5));
    }
}
