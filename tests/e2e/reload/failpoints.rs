//! Failures at each step of a load: the current generation continues to serve, everything is
//! undone, and the next attempt succeeds.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{FILE, Image, Operator};
use crate::support::footprint::{Footprint, assert_released, connections};
use crate::support::{HostProcess, wait_until};

/// The steps of a load, in their order.
const STEPS: [&str; 13] = [
    "stage",
    "names",
    "room",
    "probe",
    "threads",
    "load",
    "start",
    "started",
    "hold",
    "held",
    "hand-over",
    "take-over",
    "publish",
];

/// Starts a host with a counter, and returns the file that names the step that fails.
fn with_counter(config: &str) -> (HostProcess, PathBuf) {
    let builder = HostProcess::builder().config(config);
    let failpoint = builder.directory().join("fails-at");
    let builder = builder.variable("JACKFIELD_FAIL_AT", failpoint.to_str().expect("a path"));
    super::put(&builder.directory().join("plugins"), &Image::of("counter_v1").0, FILE);

    (builder.start(), failpoint)
}

/// Returns the footprint of the host when only the connections of this test are open.
fn footprint_with_our_connections(host: &HostProcess, ours: usize) -> Footprint {
    wait_until("only our connections are open", || connections(host.pid()) == ours);
    Footprint::of(host.pid())
}

#[test]
fn keeps_serving_and_releases_everything_after_each_failure() {
    let (host, failpoint) = with_counter("[plugins]\nwatch = false");
    let mut operator = Operator::connect(&host);
    let mut peer = host.peer();
    let mut count = 0;
    let generation = operator.generation();

    count += 2;
    assert_eq!(peer.result("counter.add_later", &json!(0)), count - 1);
    assert_eq!(peer.result("counter.add_slowly", &json!(0)), count);

    super::put(&host.path("plugins"), &Image::of("counter_v2").0, FILE);
    // The first failures allocate stacks and arenas that the later ones reuse.
    for step in STEPS {
        fs::write(&failpoint, step).expect("the failure is injected");
        operator.reload_refused("planted");
    }
    operator.wait_until_unloaded();

    let before = footprint_with_our_connections(&host, 2);
    for step in STEPS {
        fs::write(&failpoint, step).expect("the failure is injected");
        for _ in 0..3 {
            let verdict = operator.reload_refused("planted");
            assert_eq!(verdict["generation"], generation, "{step}: {verdict}");
            let detail = verdict["refused"]["detail"].as_str().unwrap_or_default();
            assert!(detail.ends_with(step), "{step}: {detail}");
            count += 1;
            assert_eq!(peer.result("counter.add", &Value::Null), count, "{step}");
            assert_eq!(peer.result("counter.add_later", &json!(0)), count + 1, "{step}");
            assert_eq!(peer.result("counter.add_slowly", &json!(0)), count + 2, "{step}");
            count += 2;
        }

        let row = operator.wait_until_unloaded();
        assert_eq!((&row["state"], &row["generation"]), (&json!("serving"), &json!(generation)), "{row}");
        assert_released(host.pid(), &before);
    }

    fs::remove_file(&failpoint).expect("the failpoint is removed");
    operator.reload_published();
    assert_eq!(peer.result("counter.layout", &Value::Null), 2);
    assert_eq!(peer.result("counter.get", &Value::Null), count, "the count is transferred");
}
