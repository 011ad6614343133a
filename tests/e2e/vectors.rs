//! The protocol's vectors, replayed against the running host.

#[test]
fn smoke() {
    let host = crate::support::HostProcess::with(&["device", "sleeps"]);
    host.peer().assert_usable();
}
