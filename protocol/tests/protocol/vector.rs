//! A reader for `vectors/*.hex` that follows `vectors/README.md` and uses nothing of the crate
//! under test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One file: the bytes of one frame or of a part of one, and their meaning.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    pub(crate) name: String,
    heads: BTreeMap<String, String>,
    pub(crate) bytes: Vec<u8>,
}

impl Vector {
    fn read(path: &Path) -> Vector {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let mut heads = BTreeMap::new();
        let mut bytes = Vec::new();

        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some((key, value)) = line.split_once(": ") {
                assert!(bytes.is_empty(), "{name}: the head {key} follows the bytes");
                let previous = heads.insert(key.to_owned(), value.to_owned());
                assert_eq!(previous, None, "{name}: the head {key} appears twice");
            } else {
                bytes.extend(line.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect(&name)));
            }
        }
        Vector { name, heads, bytes }
    }

    /// Returns the value of an optional head.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.heads.get(key).map(String::as_str)
    }

    /// Returns the value of a mandatory head.
    pub(crate) fn head(&self, key: &str) -> &str {
        self.get(key).unwrap_or_else(|| panic!("{}: no head {key}", self.name))
    }

    /// Returns the value of a head that is a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> T {
        let value = self.head(key);
        value.parse().unwrap_or_else(|_| panic!("{}: {key} is {value}", self.name))
    }

    /// Returns the bytes of a head that is `none` or hexadecimal digits, with or without blanks.
    pub(crate) fn hex(&self, key: &str) -> Vec<u8> {
        let digits = self.head(key).trim_start_matches("none").replace(' ', "");
        let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(pair).collect()
    }

    /// Returns the value of a head that is hexadecimal with `0x` before it.
    pub(crate) fn hex_number(&self, key: &str) -> u64 {
        u64::from_str_radix(self.head(key).strip_prefix("0x").unwrap(), 16).unwrap()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.heads.keys().map(String::as_str)
    }

    pub(crate) fn is(&self, key: &str, value: &str) -> bool {
        self.get(key) == Some(value)
    }

    /// Returns the bytes after the header.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[7..]
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Reads every vector, sorted by name.
pub(crate) fn all() -> Vec<Vector> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .collect();
    paths.sort_by(|a, b| a.file_stem().cmp(&b.file_stem()));
    paths.iter().map(|path| Vector::read(path)).collect()
}

/// Reads the vectors that are complete frames.
pub(crate) fn frames() -> Vec<Vector> {
    all().into_iter().filter(|vector| vector.is("expect", "frame")).collect()
}

/// A line of `index.txt`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct IndexLine {
    pub(crate) name: String,
    pub(crate) length: usize,
    pub(crate) hash: u64,
}

/// Reads `index.txt`, sorted by name.
pub(crate) fn index() -> Vec<IndexLine> {
    let text = std::fs::read_to_string(directory().join("index.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let [name, length, hash] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        IndexLine {
            name: name.to_owned(),
            length: length.parse().unwrap(),
            hash: u64::from_str_radix(hash, 16).unwrap(),
        }
    });
    let mut lines: Vec<IndexLine> = lines.collect();
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    lines
}

/// Computes FNV-1a with 64 bits, which PHP calls `hash('fnv1a64', …)`.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
