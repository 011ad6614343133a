//! `[log]`: the level and the format of the log.

use super::section::Section;

/// The level and the format of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written. Default `info`.
    pub level: Level,

    /// The format of a line. Default `text`.
    pub format: Format,
}

/// The severities, most severe first. Each includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `"error"`: an operator must act.
    Error,
    /// `"warn"`: something was refused, aborted or lost.
    Warn,
    /// `"info"`: starts, stops, loaded and removed plugins.
    #[default]
    Info,
    /// `"debug"`: connections and requests.
    Debug,
    /// `"trace"`: frames.
    Trace,
}

/// The formats of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// `"text"`: lines for people, on stderr.
    #[default]
    Text,
    /// `"json"`: one JSON object a line, on stderr.
    Json,
    /// `"journald"`: entries of systemd's journal, with fields.
    Journald,
}

const LEVELS: [(&str, Level); 5] = [
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];

const FORMATS: [(&str, Format); 3] =
    [("text", Format::Text), ("json", Format::Json), ("journald", Format::Journald)];

pub(super) fn read(section: Section<'_>) -> Log {
    let default = Log::default();
    let log = Log {
        level: section.choice("level", &LEVELS, default.level),
        format: section.choice("format", &FORMATS, default.format),
    };
    section.close();
    log
}
