//! The description of a plugin: a child process asks its code, and the host reads the answers as
//! untrusted input.
//!
//! ```text
//! child process                                   host
//! ask ──► thread "describe" ──► plugin            DescriptionCollector
//!  │          one part at a time                        │
//!  └── a document, or why it is missing ───────────────►│ check, count, parse
//!                                                       ▼
//!                                        contract, and the parts that are missing
//! ```
//!
//! The code of the plugin may panic, hang, crash, or write anything. A part with such a fault is
//! unknown, and the plugin is never refused because of it. A part may take half of the time that is
//! left; if it hangs, the further parts are asked for on another thread. After a crash, the parts
//! that were not asked for yet are unknown, too.

mod asking;
mod collector;
mod missing_part;

use std::time::Duration;

use jackfield_contract::{Contract, DescriptionPart};

pub(crate) use asking::ask;
pub(crate) use collector::DescriptionCollector;
pub use missing_part::{MissingPart, UnfitExample};

/// The largest size of all documents of a plugin together, in bytes.
pub(crate) const DESCRIPTION_MAX: usize = 512 << 10;

/// The parts in the order in which they are asked for: each part of all methods before the next
/// part. Facts and examples come first, because they are constants of the plugin: a schema that
/// crashes must not make them unknown.
const ORDER: [DescriptionPart; 4] =
    [DescriptionPart::Facts, DescriptionPart::Examples, DescriptionPart::Params, DescriptionPart::Result];

/// The reason for a missing part after the last answer.
pub(crate) const NOT_ASKED: &str = "it was not asked for after that";

/// The description of a plugin by its own code.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginDescription {
    /// The contract of its methods, as far as it is known.
    pub contract: Contract,
    /// The parts that are missing because of a fault, in the order in which they were asked for. A
    /// part that the plugin does not have is not among them.
    pub missing: Vec<MissingPart>,
    /// The examples that do not fit the schemas of their methods.
    pub unfit: Vec<UnfitExample>,
}

/// One part as a child process reports it: the document, or why there is none.
pub(crate) type PartAnswer<'a> = Result<&'a str, &'a str>;

/// Upper bound for the time for all parts, which the clock can represent.
const LIMIT_MAX: Duration = Duration::from_secs(3600);

/// Returns the time for all parts of a plugin that has `probe` to start: a quarter of it.
pub(crate) fn describe_limit(probe: Duration) -> Duration {
    (probe / 4).min(LIMIT_MAX)
}

/// Returns the method and the part at this place of the order; `None` behind the last one.
fn part_at(place: usize, methods: usize) -> Option<(usize, DescriptionPart)> {
    let part = ORDER.get(place.checked_div(methods)?)?;
    Some((place % methods, *part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_each_part_of_all_methods_before_the_next_part() {
        let places: Vec<_> = (0..).map_while(|place| part_at(place, 2)).collect();
        assert_eq!(places.len(), 8);
        assert_eq!(
            places[..3],
            [(0, DescriptionPart::Facts), (1, DescriptionPart::Facts), (0, DescriptionPart::Examples)]
        );
        assert_eq!(places[7], (1, DescriptionPart::Result));
        assert_eq!(part_at(0, 0), None);
    }
}
