//! Keys for thread-local values, the only resource of the process that unloaded code would leak.
//!
//! The standard library in a plugin allocates a pthread key the first time that one of its threads
//! calls `thread::current()`, and never frees it. A process has 1024 of them; a standard library
//! that needs one more aborts the process. The plugin therefore reports its own keys, and the host
//! frees them after the code was unloaded.

use std::ffi::{c_int, c_uint, c_void};

/// Number of keys of a process: `PTHREAD_KEYS_MAX` of glibc and musl.
const KEYS: c_uint = if cfg!(target_env = "musl") { 128 } else { 1024 };

// In the C library that both sides are linked with.
unsafe extern "C" {
    fn pthread_getspecific(key: c_uint) -> *mut c_void;
    fn pthread_setspecific(key: c_uint, value: *const c_void) -> c_int;
    fn pthread_key_create(key: *mut c_uint, destructor: Option<unsafe extern "C" fn(*mut c_void)>) -> c_int;
    fn pthread_key_delete(key: c_uint) -> c_int;
}

fn is_set(key: c_uint) -> bool {
    // SAFETY: the number is below `KEYS`. For a key that is not allocated, glibc and musl return
    // null.
    unsafe { !pthread_getspecific(key).is_null() }
}

/// Writes the keys of this copy of the standard library, at most `most` of them, and returns their
/// number.
///
/// The host calls it on a thread that has run no code of the plugin. The keys that
/// `thread::current()` sets on that thread are therefore those of the plugin.
pub(super) unsafe extern "C" fn own_keys(keys: *mut u32, most: usize) -> usize {
    let before: Vec<_> = (0..KEYS).filter(|key| is_set(*key)).collect();
    // This panics only if there is no memory or no key left.
    std::hint::black_box(std::thread::current().id());

    let own = (0..KEYS).filter(|key| is_set(*key) && !before.contains(key));
    let mut count = 0;
    for key in own.take(most) {
        // SAFETY: the host guarantees room for `most` numbers.
        unsafe { keys.add(count).write(key) };
        count += 1;
    }
    count
}

/// A set of keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeySet([u64; KEYS.div_ceil(u64::BITS) as usize]);

impl KeySet {
    /// No keys.
    pub const EMPTY: Self = Self([0; KEYS.div_ceil(u64::BITS) as usize]);

    /// Returns the keys that the process has allocated. `None` where the C library does not tell,
    /// as musl.
    #[must_use]
    pub fn allocated() -> Option<Self> {
        if cfg!(not(target_env = "gnu")) {
            return None;
        }
        let mut allocated = Self::default();
        for key in 0..KEYS {
            // SAFETY: A key without a value on this thread keeps none. glibc refuses a key that is
            // not allocated.
            if is_set(key) || unsafe { pthread_setspecific(key, std::ptr::null()) } == 0 {
                allocated.insert(key);
            }
        }
        Some(allocated)
    }

    fn insert(&mut self, key: u32) {
        self.0[(key / u64::BITS) as usize] |= 1 << (key % u64::BITS);
    }

    /// Adds the keys of a plugin.
    pub fn add(&mut self, keys: &ThreadKeys) {
        keys.0.iter().for_each(|key| self.insert(*key));
    }

    /// Removes the keys of `other`.
    pub fn remove(&mut self, other: &Self) {
        for (word, removed) in self.0.iter_mut().zip(&other.0) {
            *word &= !removed;
        }
    }

    /// Returns whether the set has no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// The keys of the standard library in one plugin.
#[derive(Debug, Default)]
pub struct ThreadKeys(Vec<u32>);

impl ThreadKeys {
    /// Room for more keys than any version of the standard library allocates.
    const MAX_KEYS: usize = 8;

    pub(super) fn query(own_keys: unsafe extern "C" fn(*mut u32, usize) -> usize) -> Self {
        let mut keys = vec![0; Self::MAX_KEYS];
        // SAFETY: there is room for `MAX_KEYS` numbers.
        let count = unsafe { own_keys(keys.as_mut_ptr(), Self::MAX_KEYS) };
        keys.truncate(count);
        Self(keys)
    }

    /// Takes the destructors away from the keys, so that a living thread which ran the code calls
    /// none of them at its end. What the thread has stored is leaked: a handle of itself.
    ///
    /// A key is freed and allocated again without a destructor. As long as this value is not given
    /// back, nothing else gets the numbers.
    ///
    /// # Safety
    ///
    /// No thread runs the code that allocated them any more.
    pub unsafe fn disarm(&self) {
        for key in &self.0 {
            // SAFETY: by the caller's guarantee, nobody uses the key.
            unsafe { pthread_key_delete(*key) };

            // The C library returns the lowest free number, so that this ends at the key.
            let mut others = Vec::new();
            loop {
                let mut found = 0;
                // SAFETY: the pointer is valid, and there is no destructor.
                let is_allocated = unsafe { pthread_key_create(&raw mut found, None) } == 0;
                if !is_allocated || found == *key {
                    break;
                }
                others.push(found);
            }
            for other in others {
                // SAFETY: the key was allocated above and never used.
                unsafe { pthread_key_delete(other) };
            }
        }
    }

    /// Frees the keys.
    ///
    /// # Safety
    ///
    /// The code that allocated them has been unloaded. Every thread that ran it has ended, or the
    /// keys were [disarmed](Self::disarm).
    pub unsafe fn give_back(self) {
        for key in self.0 {
            // SAFETY: by the caller's guarantee, nobody uses the key and no thread has a value for
            // it.
            unsafe { pthread_key_delete(key) };
        }
    }
}

/// Returns whether the process can currently allocate at least `wanted` more keys.
#[must_use]
pub fn are_left(wanted: usize) -> bool {
    let mut allocated = Vec::with_capacity(wanted);
    while allocated.len() < wanted {
        let mut key = 0;
        // SAFETY: the pointer is valid, and there is no destructor.
        if unsafe { pthread_key_create(&raw mut key, None) } != 0 {
            break;
        }
        allocated.push(key);
    }

    let are_left = allocated.len() == wanted;
    for key in allocated {
        // SAFETY: the key was allocated above and never used.
        unsafe { pthread_key_delete(key) };
    }
    are_left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri does not limit the number of keys")]
    fn counts_the_free_keys_without_using_them_up() {
        for _ in 0..100 {
            assert!(are_left(64));
        }
        assert!(!are_left(2000));
        assert!(are_left(64));
    }

    #[test]
    #[cfg_attr(miri, ignore = "POSIX leaves the value of a key that is not allocated undefined")]
    fn finds_the_keys_that_were_allocated_since() {
        let Some(before) = KeySet::allocated() else { return };
        let mut key = 0;
        // SAFETY: the pointer is valid, and there is no destructor.
        assert_eq!(unsafe { pthread_key_create(&raw mut key, None) }, 0);
        let mut since = KeySet::allocated().unwrap();
        since.remove(&before);
        let keys = ThreadKeys(vec![key]);
        let mut own = KeySet::default();
        own.add(&keys);
        since.remove(&KeySet(own.0.map(|word| !word)));
        assert_eq!(since, own);

        // SAFETY: nothing uses the key.
        unsafe { keys.give_back() };
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri runs destructors of keys that were deleted")]
    fn calls_no_destructor_of_a_disarmed_key() {
        unsafe extern "C" fn destructor(_value: *mut c_void) {
            std::process::abort();
        }

        let mut key = 0;
        // SAFETY: the pointer is valid, and the destructor may be called with any value.
        assert_eq!(unsafe { pthread_key_create(&raw mut key, Some(destructor)) }, 0);
        let keys = ThreadKeys(vec![key]);
        let (set, wait) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: the key is allocated, and nothing reads the value.
                assert_eq!(unsafe { pthread_setspecific(key, std::ptr::without_provenance(8)) }, 0);
                set.wait();
                wait.wait();
            });
            set.wait();
            // SAFETY: no code uses the key.
            unsafe { keys.disarm() };
            wait.wait();
        });

        // SAFETY: as above.
        unsafe { keys.give_back() };
    }

    #[test]
    #[cfg_attr(miri, ignore = "POSIX leaves the value of a key that is not allocated undefined")]
    fn finds_no_key_on_a_thread_that_has_run_this_code() {
        // The threads of this program have called `thread::current()` before.
        let keys = std::thread::spawn(|| ThreadKeys::query(own_keys)).join().unwrap();
        assert!(keys.0.is_empty(), "{keys:?}");
    }
}
