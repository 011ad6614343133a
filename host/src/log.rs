//! The log: what is written where, and how text from outside is made harmless first.

use std::borrow::Cow;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, Registry, fmt, registry, reload};

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
pub struct Logging(reload::Handle<LevelFilter, Registry>);

impl Logging {
    /// Writes what is at least as severe as this from now on.
    pub fn set_level(&self, level: Level) {
        // It fails only when the subscriber has gone, and then nothing is written anyway.
        let _ = self.0.modify(|filter| *filter = filter_of(level));
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
    let stderr = || {
        let copy = std::io::stderr().as_fd().try_clone_to_owned().map_err(LogError::Descriptor);
        copy.map(|copy| Mutex::new(File::from(copy)))
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
    registry().with(layer.with_filter(filter)).try_init()?;
    Ok(Logging(handle))
}

/// Text from outside with every control character spelled out, so that it can neither move a terminal's cursor nor
/// begin a line of its own.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let spelled = text.chars().fold(String::with_capacity(text.len() + 16), |mut spelled, c| {
        if c.is_control() {
            spelled.extend(c.escape_default());
        } else {
            spelled.push(c);
        }
        spelled
    });
    Cow::Owned(spelled)
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(printable("plain text, ünïcode"), "plain text, ünïcode");
        assert_eq!(printable("a\nb\u{1b}[31mc\u{9b}"), "a\\nb\\u{1b}[31mc\\u{9b}");
    }
}
