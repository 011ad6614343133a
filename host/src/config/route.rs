//! `[[route]]`: which plugin answers which methods, with what limits.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::allow_list::{self, Allow};
use super::limits::{COUNT, TIMEOUT};
use super::plugins::check_name;
use super::position::Place;
use super::section::Section;
use super::wording::quoted;

/// The longest method name and the longest pattern, in bytes: a method becomes a log field and a metrics
/// label.
pub const LONGEST_METHOD: usize = 256;

/// The first segment of the host's own methods, and the name of the plugin that they would be.
pub const RESERVED: &str = "system";

/// One way from methods to a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which methods.
    pub method: Pattern,
    /// The plugin that answers them, by name. Whether there is one shows when plugins are loaded.
    pub plugin: String,
    /// From a request's acceptance to its reply, 1 ms to 24 h; `None` is the host's `timeouts.request`.
    pub timeout: Option<Duration>,
    /// Requests accepted and not answered over this route, 1 to 1,000,000; `None` leaves it to the host's
    /// limits.
    pub max_in_flight: Option<usize>,
    /// Whether the route is open. A closed one still owns its methods: they are refused, not looked for
    /// elsewhere. Default yes.
    pub enabled: bool,
    /// Who may call; `None`: whoever may connect.
    pub allow: Option<Arc<Allow>>,
    /// Where the file says so.
    pub place: Place,
}

impl Route {
    /// An open route without limits of its own.
    pub fn to(method: Pattern, plugin: impl Into<String>) -> Route {
        Route {
            method,
            plugin: plugin.into(),
            timeout: None,
            max_in_flight: None,
            enabled: true,
            allow: None,
            place: Place::default(),
        }
    }
}

/// The methods a route is for. Written as a full name, or as a prefix ending in `.*`.
///
/// ```
/// use jackfield::config::Pattern;
///
/// let devices: Pattern = "device.*".parse()?;
/// assert!(devices.matches("device.status.update") && !devices.matches("device"));
/// # Ok::<(), jackfield::config::InvalidPattern>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// The one method of this name.
    Exact(String),
    /// Every method that begins with these segments and has at least one more; `Prefix("device")` is
    /// `device.*`.
    Prefix(String),
}

impl Pattern {
    /// Whether a method is among those the pattern is for.
    pub fn matches(&self, method: &str) -> bool {
        match self {
            Pattern::Exact(name) => name == method,
            Pattern::Prefix(prefix) => method
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.starts_with('.')),
        }
    }

    /// The name, or the prefix without its `.*`.
    pub fn name(&self) -> &str {
        match self {
            Pattern::Exact(name) | Pattern::Prefix(name) => name,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(name) => f.write_str(name),
            Pattern::Prefix(prefix) => write!(f, "{prefix}.*"),
        }
    }
}

/// Why a text is not a [`Pattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Nothing is written.
    #[error("is empty")]
    Empty,
    /// More than [`LONGEST_METHOD`] bytes, the `.*` included.
    #[error("is longer than {LONGEST_METHOD} bytes")]
    TooLong,
    /// `*` alone. A plugin's methods are reachable without a route, so a route for everything has no use.
    #[error("is for every method there is")]
    Everything,
    /// A `*` that is not the last segment.
    #[error("has a * that is not its last segment")]
    Star,
    /// A dot at the start, at the end, or after another.
    #[error("has an empty segment")]
    EmptySegment,
    /// Something other than A-Z, a-z, 0-9, `_` and `-` in a segment.
    #[error("has {0:?}, which no method has")]
    Character(char),
    /// `system` or something in it.
    #[error("is for methods of the host's own")]
    Reserved,
}

impl InvalidPattern {
    /// What to write instead.
    pub fn instead(self) -> &'static str {
        match self {
            InvalidPattern::Everything | InvalidPattern::Star => {
                "write a full name, or a prefix ending in .* such as \"device.*\""
            }
            InvalidPattern::Reserved => "choose names that do not begin with system",
            _ => {
                "write up to 256 bytes of segments with single dots between, each of letters, digits, _ and -, \
                 such as \"device.status\" or \"device.*\""
            }
        }
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Pattern, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if text.len() > LONGEST_METHOD {
            return Err(InvalidPattern::TooLong);
        }
        if text == "*" {
            return Err(InvalidPattern::Everything);
        }
        let prefix = text.strip_suffix(".*");
        let name = prefix.unwrap_or(text);
        for segment in name.split('.') {
            let strange = |letter: &char| !letter.is_ascii_alphanumeric() && !matches!(letter, '_' | '-');
            match segment.chars().find(strange) {
                Some('*') => return Err(InvalidPattern::Star),
                Some(letter) => return Err(InvalidPattern::Character(letter)),
                None if segment.is_empty() => return Err(InvalidPattern::EmptySegment),
                None => {}
            }
        }
        if name.split('.').next() == Some(RESERVED) {
            return Err(InvalidPattern::Reserved);
        }
        let name = name.to_owned();
        Ok(if prefix.is_some() { Pattern::Prefix(name) } else { Pattern::Exact(name) })
    }
}

pub(super) fn read(root: &Section<'_>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    let mut lines = std::collections::HashMap::new();
    for section in root.each_of("route").unwrap_or_default() {
        let route = read_one(&section);
        if let Some(route) = route {
            match lines.get(&route.method) {
                None => {
                    lines.insert(route.method.clone(), route.place.line);
                    routes.push(route);
                }
                Some(first) => section.fault(
                    section.offset_of("method"),
                    format!(
                        "the route in line {first} has the method {} too",
                        quoted(&route.method.to_string())
                    ),
                    "keep one of them".to_owned(),
                ),
            }
        }
        section.close();
    }
    routes
}

/// One route, or `None` where its pattern is missing or at fault.
fn read_one(section: &Section<'_>) -> Option<Route> {
    let method = section.required_string("method", "\"device.*\"").and_then(|text| {
        let fault = |error: InvalidPattern| {
            let what = format!("route.method {} {error}", quoted(text));
            section.fault(section.offset_of("method"), what, error.instead().to_owned());
        };
        text.parse().map_err(fault).ok()
    });
    let plugin = section.required_string("plugin", "\"device\"");
    if let Some(name) = plugin {
        check_name(section, section.offset_of("plugin"), name);
    }
    let timeout = section.optional_duration("timeout", TIMEOUT);
    let max_in_flight = section.optional_count("max_in_flight", COUNT);
    let enabled = section.boolean("enabled", true);
    let allow = allow_list::read(section);
    Some(Route {
        method: method?,
        plugin: plugin.unwrap_or_default().to_owned(),
        timeout,
        max_in_flight,
        enabled,
        allow,
        place: section.place(),
    })
}
