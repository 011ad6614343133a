//! Properties of all types of a module together: which need a box, which are sent or received.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{NamedType, Type, TypeId};
use crate::reachability::reachable;

/// The types of a module by their ids.
#[derive(Debug)]
pub(crate) struct Ownership {
    all: BTreeMap<TypeId, BTreeSet<TypeId>>,
    /// The types that a value of each contains without a pointer in between.
    in_place: BTreeMap<TypeId, BTreeSet<TypeId>>,
}

impl Ownership {
    pub(crate) fn new(types: &[(TypeId, NamedType)]) -> Self {
        let mut all = BTreeMap::new();
        let mut in_place = BTreeMap::new();

        for (id, named) in types {
            let mut direct = BTreeSet::new();
            let mut held = BTreeSet::new();
            named.item.for_each_named(&mut |target, is_in_place| {
                direct.insert(target);
                if is_in_place {
                    held.insert(target);
                }
            });
            all.insert(*id, direct);
            in_place.insert(*id, held);
        }
        Self { all, in_place }
    }

    /// Returns the types that contain themselves through each type: a member of this type needs a
    /// box if its own is among them.
    pub(crate) fn boxed(&self) -> BTreeMap<TypeId, BTreeSet<TypeId>> {
        let reaches = |from: TypeId| reachable(&self.in_place, [from]);
        let boxed = self.in_place.iter().map(|(id, targets)| {
            let recursive =
                targets.iter().copied().filter(|&target| target == *id || reaches(target).contains(id));
            (*id, recursive.collect())
        });
        boxed.collect()
    }

    /// Returns all types that values of these types may contain.
    pub(crate) fn contained<'a>(&self, roots: impl IntoIterator<Item = &'a Type>) -> BTreeSet<TypeId> {
        let mut start = BTreeSet::new();
        for root in roots {
            root.for_each_named(true, &mut |id, _| {
                start.insert(id);
            });
        }
        let mut contained = reachable(&self.all, start.iter().copied());
        contained.extend(start);
        contained
    }
}
