//! Half a file is never a plugin, wherever it was cut; and what becomes of a whole one after it was
//! loaded is nobody's business.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::Command;

use jackfield::load::{Reason, inspect};
use serde_json::{Value, json};

use super::{assert_inspected, assert_only_bystander, assert_refused, with_bystander};
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::program::finish;
use crate::support::scratch::Scratch;
use crate::support::{HostProcess, Peer};

/// The distance from one cut to the next, in bytes.
const STEP: u64 = 64;
/// How many cuts the host itself is shown.
const SAMPLE: usize = 24;

/// A real plugin without its debug symbols, as one would install it: few bytes that no loader looks
/// at.
fn stripped(scratch: &Scratch) -> PathBuf {
    let path = scratch.join("libhello.so");
    install(artifacts().library("hello"), &path);
    let finished = finish(Command::new("strip").arg("--strip-all").arg(&path));
    assert_eq!(finished.code, 0, "{finished:?}");
    path
}

#[test]
fn no_length_but_the_whole_passes() {
    let scratch = Scratch::new();
    let path = stripped(&scratch);
    assert_eq!(inspect(&path, &[]).expect("the whole file").name, "hello");
    let file = OpenOptions::new().write(true).open(&path).expect("it opens");
    let whole = file.metadata().expect("its length").len();
    // From the end, so that one file serves for all: also the very last byte, and the first ones.
    let steps =
        (0..whole).rev().filter(|length| length % STEP == 0 || *length == whole - 1 || *length < STEP);
    let mut cuts = 0;
    for length in steps {
        file.set_len(length).expect("it is cut");
        let refused = inspect(&path, &[]).expect_err("a part of a plugin is none");
        let expected = if length == 0 { Reason::Empty } else { Reason::Truncated };
        assert_eq!(refused.reason, expected, "cut to {length} of {whole}: {refused}");
        cuts += 1;
    }
    assert!(cuts > whole / STEP, "{cuts} of {whole}");
}

#[test]
fn the_host_is_shown_halves_and_serves_the_whole() {
    let scratch = Scratch::new();
    let path = stripped(&scratch);
    let whole = fs::read(&path).expect("the plugin");
    let builder = with_bystander();
    let at = |number: usize| builder.directory().join(format!("plugins/libcut{number}.so"));
    for number in 0..SAMPLE {
        let length = if number == SAMPLE - 1 { whole.len() - 1 } else { whole.len() * number / SAMPLE };
        fs::write(at(number), &whole[..length]).expect("a part");
        super::file_content::set_mode(&at(number), 0o644);
    }
    assert_inspected(&at(0), "empty");
    (1..SAMPLE).for_each(|number| assert_inspected(&at(number), "truncated"));
    let host = builder.start();
    assert_refused(&host, "cut0", "empty");
    (1..SAMPLE).for_each(|number| assert_refused(&host, &format!("cut{number}"), "truncated"));
    assert_only_bystander(&host);
}

#[test]
fn what_happens_to_a_file_after_it_was_loaded_changes_nothing() {
    // With the directory watched, the host looks at what became of the files, and refuses it; a
    // file that is taken away means something then, so that is done where nobody watches.
    for watch in [true, false] {
        let plugins = ["device", "hello", "good_v1", "echoes"];
        let builder = HostProcess::builder().config(&format!("[plugins]\nwatch = {watch}"));
        let host = plugins.iter().fold(builder, |builder, plugin| builder.plugin(plugin)).start();
        let file = |name: &str| host.path("plugins").join(format!("lib{name}.so"));
        let mut peer = host.peer();
        let update = |peer: &mut Peer, status: &str| {
            peer.result("device.status.update", &json!({ "deviceId": "b08", "status": status }))
        };
        assert_eq!(update(&mut peer, "online")["sequence"], 1);

        // Overwritten in place by nonsense, cut to nothing and to a half, taken away.
        let length = |name: &str| fs::metadata(file(name)).expect("its length").len();
        let nonsense = vec![0xa5; usize::try_from(length("device")).expect("small")];
        fs::write(file("device"), nonsense).expect("it is overwritten");
        let cut = |name: &str, length: u64| {
            let file = OpenOptions::new().write(true).open(file(name)).expect("it opens");
            file.set_len(length).expect("it is cut");
        };
        cut("hello", 0);
        cut("echoes", length("echoes") / 2);
        if watch {
            host.wait_for_log("reason=\"not-elf\"");
            host.wait_for_log("reason=\"empty\"");
            host.wait_for_log("reason=\"truncated\"");
        } else {
            fs::remove_file(file("good_v1")).expect("it is removed");
        }
        for round in 0..20 {
            assert_eq!(update(&mut peer, "busy")["sequence"], 2 + round);
            assert_eq!(peer.result("hello.greet", &json!({ "name": "B08" })), "hello, B08");
            assert_eq!(peer.result("version.get", &Value::Null), 1);
            for method in ["fixture.echo", "fixture.echo_blocking", "fixture.echo_async"] {
                assert_eq!(peer.result(method, &json!({ "round": round })), json!({ "round": round }));
            }
        }
    }
}
