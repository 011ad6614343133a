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

    /// Frees the keys.
    ///
    /// # Safety
    ///
    /// The code that allocated them has been unloaded, and every thread that ran it has ended.
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
    fn finds_no_key_on_a_thread_that_has_run_this_code() {
        // The threads of this program have called `thread::current()` before.
        let keys = std::thread::spawn(|| ThreadKeys::query(own_keys)).join().unwrap();
        assert!(keys.0.is_empty(), "{keys:?}");
    }
}
