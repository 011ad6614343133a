//! Failures at each step of a load: the current generation continues to serve, everything is
//! undone, and the next attempt succeeds.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator};
use crate::support::footprint::{Footprint, assert_settles, connections};
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
        assert_settles(host.pid(), &before);
    }

    fs::remove_file(&failpoint).expect("the failpoint is removed");
    operator.reload_published();
    assert_eq!(peer.result("counter.layout", &Value::Null), 2);
    assert_eq!(peer.result("counter.get", &Value::Null), count, "the count is transferred");
}

#[test]
fn retries_a_load_after_a_transient_failure() {
    let (host, failpoint) = with_counter("");
    let mut operator = Operator::connect(&host);

    fs::write(&failpoint, "started").expect("the failure is injected");
    super::put(&host.path("plugins"), &Image::of("counter_v2").0, FILE);

    operator.wait_until("the file is refused", |row| row["refused"]["reason"] == "planted");
    fs::remove_file(&failpoint).expect("the failpoint is removed");

    operator.wait_until("the plugin serves", |row| row["refused"].is_null());
    assert_eq!(host.peer().result("counter.layout", &Value::Null), 2);

    let refusals = host.log_lines().into_iter().filter(|line| line.contains("reason=\"planted\""));
    assert_eq!(
        refusals.count(),
        1,
        "the refusal is logged once, although the load is retried: {}",
        host.log()
    );
}

#[test]
fn rolls_back_after_failed_attempts() {
    let (host, failpoint) = with_counter("[plugins]\nwatch = false");
    let mut operator = Operator::connect(&host);
    super::put(&host.path("plugins"), &Image::of("counter_v2").0, FILE);
    operator.reload_published();

    for step in STEPS.iter().filter(|step| **step != "stage") {
        fs::write(&failpoint, step).expect("the failure is injected");
        let verdict = operator.roll_back(NAME);
        assert_eq!(verdict["refused"]["reason"], "planted", "{step}: {verdict}");
        assert_eq!(host.peer().result("counter.layout", &Value::Null), 2, "{step}");
    }

    fs::remove_file(&failpoint).expect("the failpoint is removed");
    assert_eq!(operator.roll_back(NAME)["outcome"], "published");
    assert_eq!(host.peer().result("counter.layout", &Value::Null), 1);
    operator.wait_until_unloaded();
}
