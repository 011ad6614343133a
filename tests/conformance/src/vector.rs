//! The vectors, read as `protocol/vectors/README.md` describes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Longest vector that is also sent byte by byte.
const SMALL: usize = 400;

/// A frame that a client sends, and its meaning.
#[derive(Debug)]
pub(crate) struct Vector {
    pub(crate) name: String,
    heads: BTreeMap<String, String>,
    pub(crate) bytes: Vec<u8>,
}

impl Vector {
    /// Reads the vectors that the index names.
    ///
    /// # Errors
    ///
    /// A file is missing or is no vector.
    pub(crate) fn read_all(directory: &Path) -> Result<Vec<Vector>, String> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let index = read("index.txt")?;
        let names =
            index.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next());
        names
            .map(|name| {
                let text = read(&format!("{name}.hex"))?;
                Vector::parse(name, &text).ok_or_else(|| format!("{name}.hex is no vector"))
            })
            .collect()
    }

    fn parse(name: &str, text: &str) -> Option<Vector> {
        let mut heads = BTreeMap::new();
        let mut bytes = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some((key, value)) = line.split_once(": ") {
                heads.insert(key.to_owned(), value.to_owned());
            } else {
                for digits in line.split(' ') {
                    bytes.push(u8::from_str_radix(digits, 16).ok()?);
                }
            }
        }
        Some(Vector { name: name.to_owned(), heads, bytes })
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.heads.get(key).map(String::as_str)
    }

    pub(crate) fn is(&self, key: &str, value: &str) -> bool {
        self.get(key) == Some(value)
    }

    /// Returns the value of a head that is a number.
    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        let value = self.get(key)?;
        match value.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        }
    }

    pub(crate) fn is_small(&self) -> bool {
        self.bytes.len() <= SMALL
    }

    /// Returns the version and the kind that the bytes have. Both are 0 if they are missing.
    pub(crate) fn version_and_kind(&self) -> (u16, u8) {
        match self.bytes[..] {
            [high, low, kind, ..] => (u16::from_be_bytes([high, low]), kind),
            _ => (0, 0),
        }
    }
}
