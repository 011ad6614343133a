//! Actions as other users, on a separate thread because the ids of a thread cannot be restored.

use std::thread;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Ids of users and groups that own nothing on this machine.
pub(crate) const OTHER_USER: u32 = 54_321;
pub(crate) const THIRD_USER: u32 = 54_322;

/// Returns whether the test can act as other users, and prints that it is skipped if it cannot.
pub(crate) fn is_root(test: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("skipped, because it requires root: {test}");
    }
    root
}

/// Runs `act` with this user and this group and no supplementary groups, and returns its result.
/// This requires root.
#[track_caller]
pub(crate) fn acting_as<T: Send>(uid: u32, gid: u32, act: impl FnOnce() -> T + Send) -> T {
    let with_ids = || {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        // On Linux each thread has its own ids: the other threads of this process keep theirs.
        set_thread_groups(&[]).expect("no further groups");
        set_thread_res_gid(gid, gid, gid).expect("another group");
        set_thread_res_uid(uid, uid, uid).expect("another user");
        act()
    };
    thread::scope(|scope| scope.spawn(with_ids).join()).expect("the action of the other user does not panic")
}
