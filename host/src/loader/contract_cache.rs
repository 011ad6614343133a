//! The contracts of contents that are in use, by their hash: code that has described itself is not
//! asked again while any copy of it lives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use jackfield_contract::Contract;

use super::content_hash::ContentHash;
use super::contract_cell::ContractCell;
use crate::sync::lock;

/// The contracts of one host.
#[derive(Debug, Default)]
pub(crate) struct ContractCache(Mutex<HashMap<ContentHash, Weak<Contract>>>);

impl ContractCache {
    /// Sets the contract of a new copy of a content, if it is known.
    pub(crate) fn recall(&self, hash: ContentHash, copy: &ContractCell) {
        let known = lock(&self.0).get(&hash).and_then(Weak::upgrade);
        if let Some(contract) = known {
            copy.set(contract);
        }
    }

    /// Notes the contract of a copy, if it is known by now, until the last copy is dropped.
    pub(crate) fn remember(&self, hash: ContentHash, copy: &ContractCell) {
        let Some(contract) = copy.get() else { return };
        let mut known = lock(&self.0);
        known.retain(|_, contract| contract.strong_count() > 0);
        known.entry(hash).or_insert_with(|| Arc::downgrade(&contract));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_the_contract_of_a_content_while_a_copy_lives() {
        let cache = ContractCache::default();
        let [one, other] = ["one", "two"].map(|content| ContentHash::of(content.as_bytes()));
        let first = ContractCell::default();
        cache.remember(one, &first);
        cache.recall(one, &first);
        assert!(first.get().is_none(), "it is not known yet");

        let contract = Arc::new(Contract::of_names(["a.b"]));
        first.set(Arc::clone(&contract));
        cache.remember(one, &first);
        let (second, foreign) = (ContractCell::default(), ContractCell::default());
        cache.recall(one, &second);
        cache.recall(other, &foreign);
        assert!(second.get().is_some_and(|known| Arc::ptr_eq(&known, &contract)));
        assert!(foreign.get().is_none());

        drop((first, second, contract));
        let third = ContractCell::default();
        cache.recall(one, &third);
        assert!(third.get().is_none(), "no copy lives");
    }
}
