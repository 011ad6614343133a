//! Truncated files are refused wherever they were cut, and a file that changes after it was loaded
//! has no effect.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;

use jackfield::loader::{LoadErrorReason, inspect};
use serde_json::{Value, json};

use super::{assert_inspected, assert_only_neighbour, assert_refused, with_neighbour};
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::program::{command, finish};
use crate::support::scratch::Scratch;
use crate::support::{HostProcess, Peer};

/// Distance between two cuts, in bytes.
const STEP: u64 = 64;
/// Number of truncated files for the host itself.
const SAMPLE: usize = 24;

/// Copies a plugin without its debug symbols, as it would be installed, so that most bytes matter
/// to a loader.
fn stripped(scratch: &Scratch) -> PathBuf {
    let path = scratch.join("libhello.so");
    install(artifacts().library("hello"), &path);
    let finished = finish(command("strip").arg("--strip-all").arg(&path));
    assert_eq!(finished.code, 0, "{finished:?}");
    path
}

#[test]
fn refuses_every_truncated_length() {
    let scratch = Scratch::new();
    let path = stripped(&scratch);
    assert_eq!(inspect(&path, &[]).expect("the whole file").name, "hello");

    let file = OpenOptions::new().write(true).open(&path).expect("the file is opened");
    let whole = file.metadata().expect("its length").len();

    // From the end, so that one file suffices, including the very last byte and the first ones.
    let steps =
        (0..whole).rev().filter(|length| length % STEP == 0 || *length == whole - 1 || *length < STEP);
    let mut cuts = 0;
    for length in steps {
        file.set_len(length).expect("the file is truncated");
        let refused = inspect(&path, &[]).expect_err("a truncated plugin is refused");
        let expected = if length == 0 { LoadErrorReason::Empty } else { LoadErrorReason::Truncated };
        assert_eq!(refused.reason, expected, "cut to {length} of {whole}: {refused}");
        cuts += 1;
    }

    assert!(cuts > whole / STEP, "{cuts} of {whole}");
}

#[test]
fn serves_beside_truncated_files() {
    let scratch = Scratch::new();
    let path = stripped(&scratch);
    let whole = fs::read(&path).expect("the plugin");
    let builder = with_neighbour();

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
    assert_only_neighbour(&host);
}

#[test]
fn ignores_changes_of_a_file_after_loading() {
    // If the directory is watched, the host refuses the changed files. A removed file has an effect
    // then, so files are removed only in a directory that is not watched.
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

        // Files are overwritten in place, cut to nothing and to half, and removed.
        let length = |name: &str| fs::metadata(file(name)).expect("its length").len();
        let nonsense = vec![0xa5; usize::try_from(length("device")).expect("small")];
        fs::write(file("device"), nonsense).expect("the file is overwritten");
        let cut = |name: &str, length: u64| {
            let file = OpenOptions::new().write(true).open(file(name)).expect("the file is opened");
            file.set_len(length).expect("the file is truncated");
        };
        cut("hello", 0);
        cut("echoes", length("echoes") / 2);

        if watch {
            host.wait_for_log("reason=\"not-elf\"");
            host.wait_for_log("reason=\"empty\"");
            host.wait_for_log("reason=\"truncated\"");
        } else {
            fs::remove_file(file("good_v1")).expect("the file is removed");
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
