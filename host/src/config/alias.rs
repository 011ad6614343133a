//! Deprecated names of configuration keys, which work until version 1.0.
//!
//! The code reads every key by its current name. A [`Section`](super::section::Section) also
//! accepts the deprecated name from the file, and reports it when the section is closed.

use std::fmt;

use super::position::Place;

/// A deprecated name of a key, and its current name in the same table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alias {
    pub(super) deprecated: &'static str,
    pub(super) name: &'static str,
}

/// All aliases. `docs/glossary.md` lists them, too.
pub(super) const ALIASES: [Alias; 2] = [
    Alias { deprecated: "plugins.deaths", name: "plugins.crash" },
    Alias { deprecated: "plugins.hand_over", name: "plugins.state_transfer" },
];

impl Alias {
    /// Finds the alias whose deprecated name is this key of this table.
    pub(super) fn with_deprecated(table: &str, key: &str) -> Option<&'static Self> {
        ALIASES.iter().find(|alias| split(alias.deprecated) == (table, key))
    }

    /// Finds the alias whose current name is this key of this table.
    pub(super) fn with_name(table: &str, key: &str) -> Option<&'static Self> {
        ALIASES.iter().find(|alias| split(alias.name) == (table, key))
    }

    /// Returns the deprecated name without its table.
    pub(super) fn deprecated_key(&self) -> &'static str {
        split(self.deprecated).1
    }

    /// Returns the current name without its table.
    pub(super) fn key(&self) -> &'static str {
        split(self.name).1
    }
}

/// Splits a name into its table and its key.
fn split(name: &'static str) -> (&'static str, &'static str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// A key that a file sets by its deprecated name. Displayed as a warning without the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeprecatedKey {
    /// The name in the file, such as `plugins.deaths`.
    pub deprecated: &'static str,

    /// The current name, such as `plugins.crash`.
    pub name: &'static str,

    /// The place of the key in the file.
    pub place: Place,
}

impl fmt::Display for DeprecatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is deprecated: rename it to {}", self.deprecated, self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn stays_within_one_table() {
        for alias in &ALIASES {
            assert_eq!(split(alias.deprecated).0, split(alias.name).0, "{alias:?}");
        }
    }

    #[test]
    fn finds_an_alias_only_in_its_table() {
        assert_eq!(Alias::with_deprecated("plugins", "deaths"), Some(&ALIASES[0]));
        assert_eq!(Alias::with_name("plugins", "state_transfer"), Some(&ALIASES[1]));
        assert_eq!(Alias::with_deprecated("plugin.deaths", "deaths"), None);
        assert_eq!(Alias::with_deprecated("", "deaths"), None);
        assert_eq!(Alias::with_deprecated("plugins", "crash"), None);
    }

    #[test]
    fn lists_the_same_aliases_as_the_glossary() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let glossary = std::fs::read_to_string(root.join("docs/glossary.md")).unwrap();
        let rows = glossary.lines().filter_map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.trim()).collect();
            match cells[..] {
                [old, new, kind] if kind.starts_with("configuration ") => {
                    Some((old.trim_matches('`').to_owned(), new.trim_matches('`').to_owned()))
                }
                _ => None,
            }
        });
        let aliases = ALIASES.iter().map(|alias| (alias.deprecated.to_owned(), alias.name.to_owned()));
        assert_eq!(rows.collect::<Vec<_>>(), aliases.collect::<Vec<_>>());
    }
}
