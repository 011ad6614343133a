//! Keeps track of the keys for thread-local values that plugins allocate, so that code can be
//! closed although threads of the program that ran it live on.
//!
//! A thread calls the destructors of its keys when it ends. The standard library in a plugin has
//! such keys, which are known, because it reports them. Another library in the plugin may allocate
//! more. Those are found by comparison: what was allocated before the code was loaded does not
//! belong to it, nor do the known keys of other plugins. While any other key exists, code that a
//! living thread ran is not closed.

use std::sync::Mutex;

use jackfield_plugin_api::abi::keys::{KeySet, ThreadKeys};
use slab::Slab;

use crate::sync::lock;

/// All keys that the host knows about.
struct KnownKeys {
    /// Those of the standard libraries in all loaded plugins.
    of_plugins: KeySet,

    /// For each loaded plugin, the keys that were allocated before it, unless they were freed
    /// since: the number of a freed key may be given to any library.
    before: Slab<KeySet>,
}

static KNOWN: Mutex<KnownKeys> = Mutex::new(KnownKeys { of_plugins: KeySet::EMPTY, before: Slab::new() });

/// The keys of one plugin, from before its code is loaded until it is closed.
pub(super) struct PluginKeys {
    /// Its index among the known ones; `None` where the C library does not tell which keys exist.
    index: Option<usize>,
    own: ThreadKeys,
}

impl PluginKeys {
    /// Notes which keys exist. To be called before any code of the plugin runs.
    pub(super) fn before_load() -> Self {
        let index = KeySet::allocated().map(|before| lock(&KNOWN).before.insert(before));
        Self { index, own: ThreadKeys::default() }
    }

    /// Notes the keys of the standard library in the plugin.
    pub(super) fn set_own(&mut self, own: ThreadKeys) {
        lock(&KNOWN).of_plugins.add(&own);
        self.own = own;
    }

    /// Takes the destructors of the known keys away, and returns whether the plugin can have no
    /// other keys: then no thread runs its code any more because of a key.
    ///
    /// # Safety
    ///
    /// As for [`ThreadKeys::disarm`].
    #[allow(unsafe_code, reason = "the promise of the caller is passed on")]
    pub(super) unsafe fn disarm(&self) -> bool {
        let (Some(index), Some(mut unknown)) = (self.index, KeySet::allocated()) else { return false };
        {
            let known = lock(&KNOWN);
            unknown.remove(&known.of_plugins);
            if let Some(before) = known.before.get(index) {
                unknown.remove(before);
            }
        }
        if !unknown.is_empty() {
            return false;
        }

        // SAFETY: guaranteed by the caller.
        unsafe { self.own.disarm() };
        true
    }

    /// Frees the keys.
    ///
    /// # Safety
    ///
    /// As for [`ThreadKeys::give_back`].
    #[allow(unsafe_code, reason = "the promise of the caller is passed on")]
    pub(super) unsafe fn give_back(mut self) {
        let own = std::mem::take(&mut self.own);
        let mut freed = KeySet::default();
        freed.add(&own);
        {
            let mut known = lock(&KNOWN);
            known.of_plugins.remove(&freed);
            known.before.iter_mut().for_each(|(_, before)| before.remove(&freed));
        }

        // SAFETY: guaranteed by the caller.
        unsafe { own.give_back() };
    }
}

/// The keys of code that stays in the process stay known.
impl Drop for PluginKeys {
    fn drop(&mut self) {
        if let Some(index) = self.index {
            lock(&KNOWN).before.try_remove(index);
        }
    }
}
