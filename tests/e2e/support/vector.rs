//! A parser of `protocol/vectors/*.hex` after the rules of the README beside them, without code of
//! the project.

use std::collections::BTreeMap;
use std::path::Path;

use super::build::root;

/// A vector file: the bytes of a frame, or of a part of one, and their meaning.
#[derive(Debug, Clone)]
pub(crate) struct Vector {
    pub(crate) name: String,
    headers: BTreeMap<String, String>,
    pub(crate) bytes: Vec<u8>,
}

impl Vector {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("a vector");
        let (mut headers, mut bytes) = (BTreeMap::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(": ") {
                Some((key, value)) => drop(headers.insert(key.to_owned(), value.to_owned())),
                None => bytes.extend(line.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("hex"))),
            }
        }
        Self { name, headers, bytes }
    }

    /// Returns the value of a header that may be missing.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.headers.get(key).map(String::as_str)
    }

    pub(crate) fn is(&self, key: &str, value: &str) -> bool {
        self.get(key) == Some(value)
    }

    /// Returns the value of a header that is a number.
    pub(crate) fn number(&self, key: &str) -> i64 {
        let value = self.get(key).unwrap_or_else(|| panic!("{}: no header {key}", self.name));
        value.parse().unwrap_or_else(|_| panic!("{}: {key} is {value}", self.name))
    }
}

/// Returns the vectors that a client may send without a hello, exactly as listed in `index.txt`.
/// The conformance program sends the others.
pub(crate) fn client_vectors() -> Vec<Vector> {
    let directory = root().join("protocol/vectors");
    let index = std::fs::read_to_string(directory.join("index.txt")).expect("the index");
    let names = index.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next());
    let all = names.map(|name| Vector::read(&directory.join(format!("{name}.hex"))));
    let needs_hello = |vector: &Vector| vector.is("negotiated", "yes") || vector.is("hello", "wish");
    all.filter(|vector| !vector.is("direction", "server") && !needs_hello(vector)).collect()
}
