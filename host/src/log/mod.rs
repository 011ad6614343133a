//! The log of the process: format, destination and level, with every value sanitized first.

mod display;
mod journal;
mod nonblocking_writer;
mod rate_limit;
mod sanitize;
mod thread_buffer;

use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, Registry, fmt, registry, reload};

pub use self::display::{Counted, ShortDuration};
pub(crate) use self::rate_limit::{OF_PLUGINS, dropped};
pub(crate) use self::sanitize::printable;
pub(crate) use self::thread_buffer::touch_thread_locals;

use self::journal::JournalLayer;
use self::nonblocking_writer::NonblockingWriter;
use self::rate_limit::RateLimiter;
use self::sanitize::SanitizingLayer;
use crate::config::{Format, Level, Log};
use crate::system_failure::WithRemedy;

/// The reason why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `format = "journald"`, and the journal cannot be reached.
    #[error("cannot connect to the journal: {0}; start systemd-journald, or set log.format = \"text\"")]
    Journal(#[source] std::io::Error),
    /// The descriptor of stderr cannot be duplicated.
    #[error("cannot duplicate stderr for the log: {}", WithRemedy(.0))]
    Descriptor(#[source] std::io::Error),
    /// The program has already installed a `tracing` subscriber.
    #[error("{0}")]
    Subscriber(#[from] TryInitError),
}

/// Controls the installed log.
///
/// It is also the proof that the log writes to a descriptor of its own, so that stderr can be
/// captured into it.
#[derive(Clone)]
pub struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
    limiter: RateLimiter,
}

impl Logging {
    /// Sets the least severe level that is written from now on.
    pub fn set_level(&self, level: Level) {
        // It fails only if the subscriber is gone, and then nothing is written anyway.
        let _ = self.level.modify(|filter| *filter = filter_of(level));
    }

    /// Logs how many lines were dropped, one second after the first of them, and never returns.
    ///
    /// Needs tokio's clock. Lines are dropped and counted also if this does not run.
    pub async fn report_drops(&self) {
        self.limiter.report_continuously().await;
    }

    /// Logs now how many lines were dropped, for the end of the process.
    pub fn report_drops_now(&self) {
        self.limiter.report();
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

/// Installs the log of this process: text or JSON to the current stderr, or the journal.
///
/// A program that embeds the host may install its own `tracing` subscriber instead.
///
/// # Errors
///
/// The journal cannot be reached, or a subscriber is already installed.
pub fn start(log: &Log) -> Result<Logging, LogError> {
    let limiter = RateLimiter::default();
    let stderr = || {
        let copy = std::io::stderr().as_fd().try_clone_to_owned().map_err(LogError::Descriptor);
        copy.map(|copy| Mutex::new(NonblockingWriter::new(File::from(copy), limiter.clone())))
    };

    // Errors of the writer are counted. Reporting them with `eprintln!` would panic if stderr is
    // closed, too.
    let layer = match log.format {
        Format::Text => {
            let colours = rustix::termios::isatty(std::io::stderr());
            fmt::layer().with_writer(stderr()?).with_ansi(colours).log_internal_errors(false).boxed()
        }
        Format::Json => {
            let layer = fmt::layer().json().flatten_event(true).log_internal_errors(false);
            layer.with_writer(stderr()?).boxed()
        }
        Format::Journald => JournalLayer::connect(limiter.clone()).map_err(LogError::Journal)?.boxed(),
    };

    let (filter, level) = reload::Layer::new(filter_of(log.level));
    let sanitized = SanitizingLayer { inner: layer, limiter: limiter.clone() };
    registry().with(sanitized.with_filter(filter)).try_init()?;
    Ok(Logging { level, limiter })
}
