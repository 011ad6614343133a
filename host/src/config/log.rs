//! `[log]`: what is logged, and how it is written.

use super::section::Section;

/// What is logged, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written. Default `info`.
    pub level: Level,
    /// How a line is written. Default `text`.
    pub format: Format,
}

/// The severities, from the gravest; each includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `"error"`: somebody has to act.
    Error,
    /// `"warn"`: something was refused, cut or lost.
    Warn,
    /// `"info"`: starts, stops, plugins coming and going.
    #[default]
    Info,
    /// `"debug"`: connections and requests.
    Debug,
    /// `"trace"`: frames.
    Trace,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// `"text"`: lines for people, on stderr.
    #[default]
    Text,
    /// `"json"`: one JSON object a line, on stderr.
    Json,
    /// `"journald"`: to systemd's journal, with fields.
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
