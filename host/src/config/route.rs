//! `[[route]]`: which plugin answers which methods, with which limits.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::allow_list::{self, Allow};
use super::limits::{COUNT, TIMEOUT};
use super::plugin::check_name;
use super::position::Place;
use super::section::Section;
use super::wording::quoted;

/// The longest method name and the longest pattern, in bytes. A method becomes a log field and a
/// metric label.
pub const LONGEST_METHOD: usize = 256;

/// The first segment of the host's own methods, and the name of the built-in plugin that has them.
pub const RESERVED: &str = "system";

/// The first segments of the host's own methods: `system.*`, and `rpc.discover`.
const RESERVED_SEGMENTS: [&str; 2] = [RESERVED, "rpc"];

/// Returns whether a method name begins with a segment that is reserved for the host.
pub fn is_reserved(method: &str) -> bool {
    method.split('.').next().is_some_and(|segment| RESERVED_SEGMENTS.contains(&segment))
}

/// A route from methods to a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The methods.
    pub method: Pattern,

    /// The name of the plugin that answers them. It is looked up when plugins are loaded.
    pub plugin: String,

    /// From the acceptance of a request to its reply, 1 ms to 24 h; `None` is the host's
    /// `timeouts.request`.
    pub timeout: Option<Duration>,

    /// Requests in flight over this route, 1 to 1,000,000; `None` applies only the host's limits.
    pub max_in_flight: Option<usize>,

    /// Whether the route is open. A closed route still owns its methods: they are rejected, and no
    /// other route is used for them. Default yes.
    pub enabled: bool,

    /// The users and groups that may call; `None` permits everybody who may connect.
    pub allow: Option<Arc<Allow>>,

    /// The place of the route in the file.
    pub place: Place,
}

impl Route {
    /// Returns an open route without limits of its own.
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

/// The methods of a route, written as a full name or as a prefix that ends in `.*`.
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
    /// The method with this name.
    Exact(String),

    /// All methods that begin with these segments and have at least one more; `Prefix("device")` is
    /// `device.*`.
    Prefix(String),
}

impl Pattern {
    /// Returns whether the pattern matches a method.
    pub fn matches(&self, method: &str) -> bool {
        match self {
            Pattern::Exact(name) => name == method,
            Pattern::Prefix(prefix) => method
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.starts_with('.')),
        }
    }

    /// Returns the name, or the prefix without its `.*`.
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
    /// The text is empty.
    #[error("is empty")]
    Empty,

    /// It has more than [`LONGEST_METHOD`] bytes, including the `.*`.
    #[error("is longer than {LONGEST_METHOD} bytes")]
    TooLong,

    /// It is a `*` alone. The methods of plugins are reachable without a route, so a route for all
    /// methods has no use.
    #[error("matches every method")]
    Everything,

    /// It has a `*` that is not the last segment.
    #[error("contains a * that is not its last segment")]
    Star,

    /// It has a dot at the start, at the end, or after another dot.
    #[error("contains an empty segment")]
    EmptySegment,

    /// A segment contains something other than A-Z, a-z, 0-9, `_` and `-`.
    #[error("contains {0:?}, which method names must not contain")]
    Character(char),

    /// Its first segment is `system` or `rpc`.
    #[error("is reserved for the host")]
    Reserved,
}

impl InvalidPattern {
    /// Returns what to write instead.
    pub fn remedy(self) -> &'static str {
        match self {
            InvalidPattern::Everything | InvalidPattern::Star => {
                "write a full name, or a prefix ending in .* such as \"device.*\""
            }
            InvalidPattern::Reserved => "write a name that does not begin with system or rpc",
            _ => {
                "write segments of letters, digits, _ and -, separated by dots, at most 256 bytes, such as \
                 \"device.status\" or \"device.*\""
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
        let is_invalid = |letter: &char| !letter.is_ascii_alphanumeric() && !matches!(letter, '_' | '-');
        for segment in name.split('.') {
            match segment.chars().find(is_invalid) {
                Some('*') => return Err(InvalidPattern::Star),
                Some(letter) => return Err(InvalidPattern::Character(letter)),
                None if segment.is_empty() => return Err(InvalidPattern::EmptySegment),
                None => {}
            }
        }
        if is_reserved(name) {
            return Err(InvalidPattern::Reserved);
        }

        let name = name.to_owned();
        Ok(if prefix.is_some() { Pattern::Prefix(name) } else { Pattern::Exact(name) })
    }
}

pub(super) fn read(root: &Section<'_>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    let mut lines = HashMap::new();
    for section in root.each_of("route").unwrap_or_default() {
        if let Some(route) = read_one(&section) {
            match lines.get(&route.method) {
                None => {
                    lines.insert(route.method.clone(), route.place.line);
                    routes.push(route);
                }
                Some(first) => {
                    let method = quoted(&route.method.to_string());
                    section.fault(
                        section.offset_of("method"),
                        format!("the route in line {first} has the same method {method}"),
                        "keep one of them".to_owned(),
                    );
                }
            }
        }
        section.close();
    }
    routes
}

/// Reads one route; `None` if its pattern is missing or at fault.
fn read_one(section: &Section<'_>) -> Option<Route> {
    let method = section.required_string("method", "\"device.*\"").and_then(|text| {
        let fault = |error: InvalidPattern| {
            let problem = format!("route.method {} {error}", quoted(text));
            section.fault(section.offset_of("method"), problem, error.remedy().to_owned());
        };
        text.parse().map_err(fault).ok()
    });
    let plugin = section.required_string("plugin", "\"device\"");
    if let Some(name) = plugin {
        check_name(section, section.offset_of("plugin"), name);
    }

    // All keys are read before the pattern decides, so that all faults are reported.
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
