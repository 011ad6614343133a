//! Reads `protocol/vectors/*.hex` by the rules of the README beside them, with no code of the project.

use std::collections::BTreeMap;
use std::path::Path;

use super::build::root;

/// One file: the bytes of one frame (or less), and what they mean.
#[derive(Debug, Clone)]
pub(crate) struct Vector {
    pub(crate) name: String,
    heads: BTreeMap<String, String>,
    pub(crate) bytes: Vec<u8>,
}

impl Vector {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("a vector");
        let (mut heads, mut bytes) = (BTreeMap::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(": ") {
                Some((key, value)) => drop(heads.insert(key.to_owned(), value.to_owned())),
                None => bytes.extend(line.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("hex"))),
            }
        }
        Self { name, heads, bytes }
    }

    /// The value of a head that may be absent.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.heads.get(key).map(String::as_str)
    }

    pub(crate) fn is(&self, key: &str, value: &str) -> bool {
        self.get(key) == Some(value)
    }

    /// The value of a head that is a number.
    pub(crate) fn number(&self, key: &str) -> i64 {
        let value = self.get(key).unwrap_or_else(|| panic!("{}: no head {key}", self.name));
        value.parse().unwrap_or_else(|_| panic!("{}: {key} is {value}", self.name))
    }
}

/// Every vector that a client may send, those that `index.txt` names and no others.
pub(crate) fn of_clients() -> Vec<Vector> {
    let directory = root().join("protocol/vectors");
    let index = std::fs::read_to_string(directory.join("index.txt")).expect("the index");
    let names = index.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next());
    let all = names.map(|name| Vector::read(&directory.join(format!("{name}.hex"))));
    all.filter(|vector| !vector.is("direction", "server")).collect()
}
