//! Plugins whose code could not leave a process can be replaced for ever in workers.

use serde_json::{Value, json};

use super::in_worker;
use crate::reload::image::Image;
use crate::reload::operator::Operator;
use crate::reload::{NAME, with_image};
use crate::support::footprint::Footprint;
use crate::support::processes::children;
use crate::support::wait::poll_within;
use crate::support::{CEILING, HostProcess, is_soak};

/// Reloads in a normal run and in a soak run.
const RELOADS: usize = 20;
const SOAK_RELOADS: usize = 200;

/// Reloads the plugin many times, and asserts that nothing of the previous generations is left.
#[track_caller]
fn reload_often(fixture: &str, method: &str, expected: &Value) {
    let host =
        with_image(&Image::of(fixture), &format!("[plugins]\nwatch = false\n{}", in_worker(NAME, "", "")));
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());
    let reloads = if is_soak() { SOAK_RELOADS } else { RELOADS };
    let mut before = None;

    for reload in 0..reloads {
        assert_eq!(&peer.result(method, &Value::Null), expected);
        operator.reload_published();
        // The resources that the first reloads allocate are reused by the later ones.
        if reload == reloads / 10 {
            operator.wait_until_unloaded();
            before = Some(Footprint::of(host.pid()));
        }
    }
    assert_eq!(&peer.result(method, &Value::Null), expected);

    let row = operator.wait_until_unloaded();
    assert_eq!((&row["unloaded"], &row["retained"]), (&json!(reloads), &json!([])), "{row}");
    assert_eq!(children(host.pid()).len(), 1, "{:?}", children(host.pid()));
    assert_returned(
        &host,
        &before.expect("the footprint was taken"),
        &format!("{fixture}, {reloads} reloads"),
    );
}

#[track_caller]
fn assert_returned(host: &HostProcess, before: &Footprint, what: &str) {
    let mut after = *before;
    let returned = poll_within(CEILING, || {
        after = Footprint::of(host.pid());
        let is_less = after.threads <= before.threads && after.descriptors <= before.descriptors;
        (is_less && after.mappings <= before.mappings + 16).then_some(())
    });
    println!("{what}: {before:?}, then {after:?}");
    assert!(returned.is_some(), "{what}: {before:?}, then {after:?}");
}

#[test]
fn replaces_a_plugin_that_starts_threads_it_never_ends() {
    reload_often("keeps_thread", "thread.get", &json!(true));
}

#[test]
fn replaces_a_plugin_with_static_tls() {
    reload_often("static_tls", "static_tls.get", &json!(0));
}
