//! Each step of a load made to fail: what served serves on, whatever had been done by then is
//! undone, and the next try, when nothing fails, does what the first one should have done.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator};
use crate::support::footprint::{Footprint, assert_settles, connections};
use crate::support::{HostProcess, wait_until};

/// The steps of loading, in their order.
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

/// A host with a counter, and the file that names the step that fails.
fn with_counter(config: &str) -> (HostProcess, PathBuf) {
    let builder = HostProcess::builder().config(config);
    let planted = builder.directory().join("fails-at");
    let builder = builder.variable("JACKFIELD_FAIL_AT", planted.to_str().expect("a path"));
    super::put(&builder.directory().join("plugins"), &Image::of("counter_v1").0, FILE);
    (builder.start(), planted)
}

fn at_rest_but_for_us(host: &HostProcess, ours: usize) -> Footprint {
    wait_until("the connections are ours alone", || connections(host.pid()) == ours);
    Footprint::of(host.pid())
}

#[test]
fn a_failure_at_any_step_leaves_what_serves_and_nothing_else() {
    let (host, planted) = with_counter("[plugins]\nwatch = false");
    let mut operator = Operator::of(&host);
    let mut peer = host.peer();
    let mut count = 0;
    let generation = operator.generation();
    count += 2;
    assert_eq!(peer.result("counter.add_later", &json!(0)), count - 1);
    assert_eq!(peer.result("counter.add_slowly", &json!(0)), count);
    super::put(&host.path("plugins"), &Image::of("counter_v2").0, FILE);
    // What the first failures cost, stacks and arenas that are kept for next time, the others do
    // not.
    for step in STEPS {
        fs::write(&planted, step).expect("the failure is planted");
        operator.refused("planted");
    }
    operator.wait_until_unloaded();
    let before = at_rest_but_for_us(&host, 2);
    for step in STEPS {
        fs::write(&planted, step).expect("the failure is planted");
        for _ in 0..3 {
            let verdict = operator.refused("planted");
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
    fs::remove_file(&planted).expect("it was planted");
    operator.published();
    assert_eq!(peer.result("counter.layout", &Value::Null), 2);
    assert_eq!(peer.result("counter.get", &Value::Null), count, "the count went over");
}

#[test]
fn what_failed_for_a_moment_is_tried_again_by_itself() {
    let (host, planted) = with_counter("");
    let mut operator = Operator::of(&host);
    fs::write(&planted, "started").expect("the failure is planted");
    super::put(&host.path("plugins"), &Image::of("counter_v2").0, FILE);
    operator.wait_until("it is refused", |row| row["refused"]["reason"] == "planted");
    fs::remove_file(&planted).expect("it was planted");
    operator.wait_until("it serves", |row| row["refused"].is_null());
    assert_eq!(host.peer().result("counter.layout", &Value::Null), 2);
    let said = host.log_lines().into_iter().filter(|line| line.contains("reason=\"planted\""));
    assert_eq!(said.count(), 1, "it is said once, however often it is tried: {}", host.log());
}

#[test]
fn a_way_back_that_fails_can_be_gone_later() {
    let (host, planted) = with_counter("[plugins]\nwatch = false");
    let mut operator = Operator::of(&host);
    super::put(&host.path("plugins"), &Image::of("counter_v2").0, FILE);
    operator.published();
    for step in STEPS.iter().filter(|step| **step != "stage") {
        fs::write(&planted, step).expect("the failure is planted");
        let verdict = operator.roll_back(NAME);
        assert_eq!(verdict["refused"]["reason"], "planted", "{step}: {verdict}");
        assert_eq!(host.peer().result("counter.layout", &Value::Null), 2, "{step}");
    }
    fs::remove_file(&planted).expect("it was planted");
    assert_eq!(operator.roll_back(NAME)["outcome"], "published");
    assert_eq!(host.peer().result("counter.layout", &Value::Null), 1);
    operator.wait_until_unloaded();
}
