//! Request ids: UUIDv4, as JSON string and as key of the in-flight table.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use jackfield_protocol::Id;
use uuid::Uuid;

/// Length of an id's text in bytes, without quotes.
pub(crate) const TEXT_LEN: usize = uuid::fmt::Hyphenated::LENGTH;

/// The key of one request on one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(Uuid);

impl Key {
    /// Returns a key that was never used before.
    pub(crate) fn new() -> Key {
        Key(Uuid::new_v4())
    }

    /// Writes the text of the id.
    pub(crate) fn write(self, into: &mut [u8; TEXT_LEN]) {
        self.0.hyphenated().encode_lower(into);
    }

    /// Returns the id as JSON.
    pub(crate) fn to_json(self) -> String {
        format!("\"{}\"", self.0.hyphenated())
    }

    /// Returns the key of the id in a reply, or `None` if this client cannot have written that id.
    ///
    /// A host echoes ids byte for byte, so any other spelling of the same UUID is another id.
    pub(crate) fn from_id(id: Id<'_>) -> Option<Key> {
        let text = id.as_json().strip_prefix('"')?.strip_suffix('"')?;
        let key = Key(Uuid::try_parse_ascii(text.as_bytes()).ok()?);

        let mut written = [0; TEXT_LEN];
        key.write(&mut written);
        (written == text.as_bytes()).then_some(key)
    }
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Each half has fixed bits (the version, the variant) where the other has random ones.
        let (first, second) = self.0.as_u64_pair();
        state.write_u64(first ^ second);
    }
}

/// A hasher that passes keys through: they are random already.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// A map from keys.
pub(crate) type KeyMap<V> = HashMap<Key, V, BuildHasherDefault<KeyHasher>>;

/// A set of keys.
pub(crate) type KeySet = HashSet<Key, BuildHasherDefault<KeyHasher>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_ids_are_uuid_v4_and_differ() {
        let mut seen = KeySet::default();
        for _ in 0..1_000_000 {
            let key = Key::new();
            assert_eq!((key.0.get_version_num(), key.0.get_variant()), (4, uuid::Variant::RFC4122));
            assert!(seen.insert(key), "{key:?} came twice");
        }
    }
}
