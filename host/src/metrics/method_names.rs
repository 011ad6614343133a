//! The methods that are counted by name, each with a small number that a request's cells are found by.

use std::sync::{Arc, Mutex};

use crate::sync::lock;
use rustc_hash::FxHashMap;

/// So many methods are counted by name; those that come later share one. A host has dozens: thousands mean that new
/// names keep coming with new plugins, and every name is kept, for a counter must never go back.
const MOST: usize = 4096;

/// Names one method among what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodId(u32);

impl MethodId {
    /// What names no method that a route knows.
    pub(crate) const UNKNOWN: Self = Self(0);
    /// Those that came when there were too many.
    const OTHER: Self = Self(1);

    pub(super) fn place(self) -> usize {
        self.0 as usize
    }
}

/// The names that became numbers.
pub(crate) struct MethodNames(Mutex<State>);

struct State {
    ids: FxHashMap<Arc<str>, MethodId>,
    names: Vec<Arc<str>>,
}

impl Default for MethodNames {
    fn default() -> Self {
        let names = ["(unknown)", "(other)"].map(Arc::from).to_vec();
        Self(Mutex::new(State { ids: FxHashMap::default(), names }))
    }
}

impl MethodNames {
    /// The number of a method that a route knows; the same one for the same name, for as long as the host lives.
    pub(crate) fn intern(&self, name: &str) -> MethodId {
        let mut state = lock(&self.0);
        if let Some(id) = state.ids.get(name) {
            return *id;
        }
        let id = match u32::try_from(state.names.len()) {
            Ok(id) if state.names.len() < MOST => MethodId(id),
            _ => return MethodId::OTHER,
        };
        let name: Arc<str> = name.into();
        state.names.push(Arc::clone(&name));
        state.ids.insert(name, id);
        id
    }

    /// Every name, in the order of the numbers.
    pub(super) fn all(&self) -> Vec<Arc<str>> {
        lock(&self.0).names.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_there_is_an_end_of_them() {
        let names = MethodNames::default();
        let first = names.intern("a.b");
        assert_eq!((names.intern("a.b"), &*names.all()[first.place()]), (first, "a.b"));
        for number in 0..MOST {
            names.intern(&format!("m.{number}"));
        }
        assert_eq!(names.intern("one.more"), MethodId::OTHER);
        assert_eq!((names.intern("a.b"), names.all().len()), (first, MOST));
    }
}
