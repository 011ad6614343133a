//! Acting as other users: on a thread of its own, whose ids are changed for good.

use std::thread;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Users and groups that are neither root's nor anybody's here.
pub(crate) const SOMEBODY: u32 = 54_321;
pub(crate) const SOMEBODY_ELSE: u32 = 54_322;

/// Whether this test can act as others; says so if not.
pub(crate) fn is_root(test: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("skipped, for it needs root: {test}");
    }
    root
}

/// What `act` gives back, done with this user and this group, and no other group, on a thread of its own. Root alone
/// can do that.
#[track_caller]
pub(crate) fn acting_as<T: Send>(uid: u32, gid: u32, act: impl FnOnce() -> T + Send) -> T {
    let with_ids = || {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        // Linux has ids by thread: the others of this process stay what they are.
        set_thread_groups(&[]).expect("no further groups");
        set_thread_res_gid(gid, gid, gid).expect("another group");
        set_thread_res_uid(uid, uid, uid).expect("another user");
        act()
    };
    thread::scope(|scope| scope.spawn(with_ids).join()).expect("the other user did what it was to do")
}
