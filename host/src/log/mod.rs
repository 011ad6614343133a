//! The log: what is written where, and how text from outside is made harmless first.

mod nonblocking_writer;
mod rate_limit;
mod sanitize;

use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, Registry, fmt, registry, reload};

pub(crate) use self::rate_limit::{OF_PLUGINS, dropped};
pub(crate) use self::sanitize::printable;

use self::nonblocking_writer::NonblockingWriter;
use self::rate_limit::RateLimiter;
use self::sanitize::SanitizingLayer;
use crate::config::{Format, Level, Log};

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `format = "journald"` and no journal to write to.
    #[error(
        "the journal cannot be reached: {0}; is systemd-journald running? else set [log] format = \"text\""
    )]
    Journal(#[source] std::io::Error),
    /// There is no descriptor to be had for it.
    #[error("the log: {0}")]
    Descriptor(#[source] std::io::Error),
    /// The program has set up a subscriber of its own already.
    #[error("{0}")]
    Subscriber(#[from] TryInitError),
}

/// The log of a program, to say later what it writes. It is also the proof that the log goes to a descriptor of its own:
/// what is written to stderr otherwise can be led into it.
#[derive(Clone)]
pub struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
    flood: RateLimiter,
}

impl Logging {
    /// Writes what is at least as severe as this from now on.
    pub fn set_level(&self, level: Level) {
        // It fails only when the subscriber has gone, and then nothing is written anyway.
        let _ = self.level.modify(|filter| *filter = filter_of(level));
    }

    /// Writes a line for each flood of lines that was cut short, a second after it began, for ever. Needs tokio's
    /// clock; without it, lines are dropped and counted all the same.
    pub async fn tell_of_floods(&self) {
        self.flood.keep_telling().await;
    }

    /// As [`Logging::tell_of_floods`], at once: for the end.
    pub fn tell_now(&self) {
        self.flood.tell();
    }
}

fn filter_of(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// Sends everything this process logs to where `log` says: text and JSON to what is stderr now, or the journal.
///
/// For programs; one that embeds the host may rather set up a `tracing` subscriber of its own.
///
/// # Errors
/// No journal, or a subscriber that is there already.
pub fn start(log: &Log) -> Result<Logging, LogError> {
    let flood = RateLimiter::default();
    let stderr = || {
        let copy = std::io::stderr().as_fd().try_clone_to_owned().map_err(LogError::Descriptor);
        copy.map(|copy| Mutex::new(NonblockingWriter::new(File::from(copy), flood.clone())))
    };
    let layer = match log.format {
        Format::Text => {
            let colours = rustix::termios::isatty(std::io::stderr());
            fmt::layer().with_writer(stderr()?).with_ansi(colours).boxed()
        }
        Format::Json => fmt::layer().json().flatten_event(true).with_writer(stderr()?).boxed(),
        Format::Journald => {
            let journal = tracing_journald::layer().map_err(LogError::Journal)?;
            journal.with_field_prefix(Some("JACKFIELD".into())).boxed()
        }
    };
    let (filter, handle) = reload::Layer::new(filter_of(log.level));
    let cleaned = SanitizingLayer { inner: layer, flood: flood.clone() };
    registry().with(cleaned.with_filter(filter)).try_init()?;
    Ok(Logging { level: handle, flood })
}
