//! The methods that are counted by name, each with a small number that finds its cells.

use std::sync::{Arc, Mutex};

use rustc_hash::FxHashMap;

use crate::sync::lock;

/// Upper bound for the number of names; later methods share one. A host has dozens of methods:
/// thousands mean that new plugins keep bringing new names, and every name is kept, because a
/// counter must never go back.
const MAX_NAMES: usize = 4096;

/// The number of a method among those that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodId(u32);

impl MethodId {
    /// All names that no route knows.
    pub(crate) const UNKNOWN: Self = Self(0);

    /// All methods that came after [`MAX_NAMES`].
    const OTHER: Self = Self(1);

    /// Returns the index of the method's cells.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The names and their numbers.
pub(crate) struct MethodNames(Mutex<NameTable>);

struct NameTable {
    ids: FxHashMap<Arc<str>, MethodId>,
    names: Vec<Arc<str>>,
}

impl Default for MethodNames {
    fn default() -> Self {
        let names = ["(unknown)", "(other)"].map(Arc::from).to_vec();
        Self(Mutex::new(NameTable { ids: FxHashMap::default(), names }))
    }
}

impl MethodNames {
    /// Returns the number of a method that a route knows: always the same for the same name, as
    /// long as the host lives.
    pub(crate) fn intern(&self, name: &str) -> MethodId {
        let mut table = lock(&self.0);
        if let Some(id) = table.ids.get(name) {
            return *id;
        }

        let id = match u32::try_from(table.names.len()) {
            Ok(id) if table.names.len() < MAX_NAMES => MethodId(id),
            _ => return MethodId::OTHER,
        };
        let name: Arc<str> = name.into();
        table.names.push(Arc::clone(&name));
        table.ids.insert(name, id);
        id
    }

    /// Returns every name, in the order of the numbers.
    pub(super) fn all(&self) -> Vec<Arc<str>> {
        lock(&self.0).names.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_a_name_once_and_counts_names_past_the_limit_together() {
        let names = MethodNames::default();
        let first = names.intern("a.b");
        assert_eq!((names.intern("a.b"), &*names.all()[first.index()]), (first, "a.b"));

        for number in 0..MAX_NAMES {
            names.intern(&format!("m.{number}"));
        }

        assert_eq!(names.intern("one.more"), MethodId::OTHER);
        assert_eq!((names.intern("a.b"), names.all().len()), (first, MAX_NAMES));
    }
}
