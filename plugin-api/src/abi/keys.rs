//! Keys for thread-local values: the one thing that unloaded code would leave in the process.
//!
//! A plugin's copy of the standard library takes a key of pthread's the first time that a thread of it asks who it is
//! (`thread::current()`), and has no way to give it back. A process has 1,024 of them; whoever needs one more aborts
//! it. So the plugin says which key is its own, and the host gives it back when the code has gone.

use std::ffi::{c_int, c_uint, c_void};

/// How many keys a process has: `PTHREAD_KEYS_MAX`.
const KEYS: c_uint = if cfg!(target_env = "musl") { 128 } else { 1024 };

// In the C library that both sides are linked with.
unsafe extern "C" {
    fn pthread_getspecific(key: c_uint) -> *mut c_void;
    fn pthread_key_create(key: *mut c_uint, destructor: Option<unsafe extern "C" fn(*mut c_void)>) -> c_int;
    fn pthread_key_delete(key: c_uint) -> c_int;
}

fn is_set(key: c_uint) -> bool {
    // SAFETY: a number below `KEYS`; of a key that nobody has, glibc and musl say that it is not set.
    unsafe { !pthread_getspecific(key).is_null() }
}

/// Writes the keys of this copy of the standard library, at most `most` of them, and returns how many there are. The
/// host calls it on a thread that has run nothing of the plugin: what is set on it by asking who it is, is the
/// plugin's.
pub(super) unsafe extern "C" fn own_keys(keys: *mut u32, most: usize) -> usize {
    let before: Vec<_> = (0..KEYS).filter(|key| is_set(*key)).collect();
    // Nothing in it panics but for want of memory or of a key.
    std::hint::black_box(std::thread::current().id());
    let own = (0..KEYS).filter(|key| is_set(*key) && !before.contains(key));
    let mut count = 0;
    for key in own.take(most) {
        // SAFETY: the host's promise: room for `most` numbers.
        unsafe { keys.add(count).write(key) };
        count += 1;
    }
    count
}

/// The keys of one plugin's copy of the standard library.
#[derive(Debug, Default)]
pub struct ThreadKeys(Vec<u32>);

impl ThreadKeys {
    /// Room for more keys than the standard library has ever taken.
    const MOST: usize = 8;

    pub(super) fn ask(own_keys: unsafe extern "C" fn(*mut u32, usize) -> usize) -> Self {
        let mut keys = vec![0; Self::MOST];
        // SAFETY: there is room for as many as it is told.
        let count = unsafe { own_keys(keys.as_mut_ptr(), Self::MOST) };
        keys.truncate(count);
        Self(keys)
    }

    /// Gives them back to the process.
    ///
    /// # Safety
    /// The code that took them has been unloaded, and every thread that ran it has ended.
    pub unsafe fn give_back(self) {
        for key in self.0 {
            // SAFETY: the caller's promise: nobody uses the key any more, and no thread has a value for it.
            unsafe { pthread_key_delete(key) };
        }
    }
}

/// Whether the process has at least so many keys left just now.
#[must_use]
pub fn are_left(wanted: usize) -> bool {
    let mut taken = Vec::with_capacity(wanted);
    while taken.len() < wanted {
        let mut key = 0;
        // SAFETY: a place for the key, and no destructor.
        if unsafe { pthread_key_create(&raw mut key, None) } != 0 {
            break;
        }
        taken.push(key);
    }
    let are_left = taken.len() == wanted;
    for key in taken {
        // SAFETY: taken above, and never used.
        unsafe { pthread_key_delete(key) };
    }
    are_left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "there the keys have no end")]
    fn keys_are_left_and_not_used_up_by_counting_them() {
        for _ in 0..100 {
            assert!(are_left(64));
        }
        assert!(!are_left(2000));
        assert!(are_left(64));
    }

    #[test]
    #[cfg_attr(miri, ignore = "what glibc answers for a key that nobody took, POSIX leaves open")]
    fn a_thread_that_knows_itself_has_no_new_key() {
        // Of this very program: its threads have asked already.
        let keys = std::thread::spawn(|| ThreadKeys::ask(own_keys)).join().unwrap();
        assert!(keys.0.is_empty(), "{keys:?}");
    }
}
