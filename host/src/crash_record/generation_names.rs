//! The names behind the numbers of the record: the file `names.json`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record_directory::replace_file;
use super::running_code::{RunningCode, method_name};
use crate::log::printable;

/// The largest file that is read, in bytes. The names of a thousand generations take far less.
const SIZE_MAX: u64 = 16 << 20;

/// Stands for a plugin whose name is not known.
const UNKNOWN: &str = "?";

/// The names behind the numbers of one generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GenerationNames {
    /// The name of the plugin.
    pub(crate) plugin: String,

    /// The hash of the plugin content; empty for methods that are part of the program.
    pub(crate) hash: String,

    /// The names of the methods, by number.
    pub(crate) methods: Vec<String>,
}

/// The names of all generations that are not retired, by generation number.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct NameTable(BTreeMap<u64, GenerationNames>);

impl NameTable {
    /// Reads the file; an unreadable one is logged, and counts as empty.
    pub(super) fn read(path: &Path) -> Self {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(SIZE_MAX).read_to_end(&mut text));
        let parsed = read
            .map_err(|error| error.to_string())
            .and_then(|_| serde_json::from_slice(&text).map_err(|error| error.to_string()));

        parsed.unwrap_or_else(|error| {
            let file = path.display().to_string();
            let (shown, error) = (printable(&file), printable(&error));
            tracing::warn!(
                %file,
                "cannot read {shown}: {error}; what ran in the crash is reported without names"
            );
            Self::default()
        })
    }

    /// Writes the file.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        replace_file(path, &serde_json::to_vec(self)?)
    }

    pub(super) fn insert(&mut self, generation: u64, names: GenerationNames) {
        self.0.insert(generation, names);
    }

    pub(super) fn remove(&mut self, generation: u64) {
        self.0.remove(&generation);
    }

    pub(super) fn get(&self, generation: u64) -> Option<&GenerationNames> {
        self.0.get(&generation)
    }

    /// Returns the names of the plugins that are not part of the program.
    pub(super) fn plugins(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter(|names| !names.hash.is_empty()).map(|names| names.plugin.as_str())
    }

    /// Returns the names of the plugin and of the method; numbers without a name are shown as such.
    pub(super) fn names_of(&self, code: RunningCode) -> (String, String) {
        let names = self.get(code.generation());
        let plugin = names.map_or(UNKNOWN, |names| &names.plugin);
        let method = method_name(code.method(), names.map_or(&[], |names| &names.methods));

        (plugin.to_owned(), method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_that_it_wrote() {
        let path = std::env::temp_dir().join(format!("jackfield-name-table-{}", std::process::id()));
        let names = |plugin: &str, hash: &str| GenerationNames {
            plugin: plugin.to_owned(),
            hash: hash.to_owned(),
            methods: vec![format!("{plugin}.a")],
        };
        let mut table = NameTable::default();
        table.insert(7, names("p", "h"));
        table.insert(8, names("system", ""));

        table.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read = NameTable::read(&path);

        std::fs::remove_file(&path).unwrap();
        assert!(text.starts_with(r#"{"7":{"plugin":"p","hash":"h","methods":["p.a"]}"#), "{text}");
        assert_eq!(read, table);
        assert_eq!(read.plugins().collect::<Vec<_>>(), ["p"]);
        assert_eq!(read.names_of(RunningCode::new(7, 0)), ("p".to_owned(), "p.a".to_owned()));
        assert_eq!(read.names_of(RunningCode::new(9, 4)), ("?".to_owned(), "#4".to_owned()));
    }
}
