//! New code that fails in its first calls: the content before comes back by itself, or by an
//! operator's word.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, number, with_first};
use crate::support::peer::{DEADLINE_EXCEEDED, INTERNAL_ERROR, PLUGIN_PANICKED};
use crate::support::{HostProcess, wait_until};

/// Three failures among the first ten calls.
const CONFIG: &str = "[plugins]\nwatch = false\n[plugins.probation]\ncalls = 10\nfailures = 3\n";
/// And for code that takes longer than that.
const IMPATIENT: &str = "[[route]]\nmethod = \"numbered.*\"\nplugin = \"subject\"\ntimeout = \"1s\"";

/// Publishes number 2, which behaves like this; what the list said before and says now.
#[track_caller]
fn publish(host: &HostProcess, operator: &mut Operator, behaviour: &str) -> (Value, Value) {
    let before = operator.row(NAME);
    Image::numbered(2).with("BEHAVIOUR-", behaviour).put(host, FILE);
    operator.published();
    let row = operator.row(NAME);
    assert_eq!(row["state"], "probation", "{row}");
    (before, row)
}

#[test]
fn code_that_fails_in_its_first_calls_goes_back_by_itself() {
    for (behaviour, code, more) in
        [("1", PLUGIN_PANICKED, ""), ("2", INTERNAL_ERROR, ""), ("3", DEADLINE_EXCEEDED, IMPATIENT)]
    {
        let host = with_first(&format!("{CONFIG}{more}"));
        let mut operator = Operator::of(&host);
        let (before, failing) = publish(&host, &mut operator, behaviour);
        let mut peer = host.peer();
        // Two are not enough.
        for method in ["numbered.blocking", "numbered.inline"] {
            peer.call(method, &Value::Null).error(code);
        }
        assert_eq!(operator.row(NAME)["generation"], failing["generation"], "behaviour {behaviour}");
        peer.call("numbered.blocking", &Value::Null).error(code);
        let third = Instant::now();
        let row = operator.wait_until("the one before is back", |row| row["hash"] == before["hash"]);
        // 500 ms are the promise; a machine that does other things may be late.
        assert!(third.elapsed() < Duration::from_secs(3), "{:?}", third.elapsed());
        assert_eq!(number(&mut peer), 1);
        assert_eq!((&row["state"], &row["build_id"]), (&json!("serving"), &before["build_id"]), "{row}");
        assert!(row["generation"].as_u64() > failing["generation"].as_u64(), "a new one: {row}");
        // Why the newest content does not serve.
        assert_eq!(row["refused"]["reason"], "probation-failed", "{row}");
        assert_eq!(host.count("plugins_rolled_back"), 1);
        let lines = host.log_lines();
        let generation = format!("generation={}", failing["generation"]);
        let told = lines.iter().filter(|line| line.contains("the content before comes back"));
        let told: Vec<_> = told.collect();
        assert!(matches!(told[..], [line] if line.contains(&generation)), "{told:?}");
        // It does not go to and fro: the same file is not tried again, and nothing is left to go
        // back to.
        assert_eq!(operator.roll_back(NAME)["refused"]["reason"], "nothing-to-roll-back");
        operator.wait_until_unloaded();
    }
}

#[test]
fn what_was_gone_back_from_is_not_loaded_again_by_itself() {
    let config = CONFIG.replace("watch = false", "watch = true");
    let host = with_first(&config);
    let mut operator = Operator::of(&host);
    Image::numbered(2).with("BEHAVIOUR-", "2").put(&host, FILE);
    operator.wait_until("it is on probation", |row| row["state"] == "probation");
    let mut peer = host.peer();
    for _ in 0..3 {
        peer.call("numbered.inline", &Value::Null).error(INTERNAL_ERROR);
    }
    operator.wait_until("the one before is back", |row| row["state"] == "serving");
    let row = operator.wait_until_unloaded();
    // Touched, it is the same content.
    Image::numbered(2).with("BEHAVIOUR-", "2").put(&host, FILE);
    super::put(&host.path("plugins"), &Image::of("hello").0, "libzz.so");
    wait_until("the last file serves", || !operator.row("zz")["generation"].is_null());
    assert_eq!(operator.row(NAME), row);
    // Another one is welcome.
    Image::numbered(3).put(&host, FILE);
    super::wait_until_number(&host, 3);
}

#[test]
fn code_that_answers_well_is_through() {
    let host = with_first(CONFIG);
    let mut operator = Operator::of(&host);
    let (_, passing) = publish(&host, &mut operator, "0");
    let mut peer = host.peer();
    for call in 0..10 {
        match call {
            // What a client does wrong is none of the plugin's failures.
            3..6 => drop(peer.call("numbered.slow", &json!("no number")).error(-32602)),
            _ => assert_eq!(number(&mut peer), 2),
        }
    }
    let row = operator.wait_until("it is through", |row| row["state"] == "serving");
    assert_eq!((&row["generation"], &row["hash"]), (&passing["generation"], &passing["hash"]));
    host.wait_for_log("its probation is over");
}

#[test]
fn the_first_content_has_no_way_back_and_serves_on() {
    let builder = HostProcess::builder().config(CONFIG);
    let image = Image::numbered(1).with("BEHAVIOUR-", "2");
    super::put(&builder.directory().join("plugins"), &image.0, FILE);
    let host = builder.start();
    let mut peer = host.peer();
    for _ in 0..12 {
        peer.call("numbered.inline", &Value::Null).error(INTERNAL_ERROR);
    }
    let mut operator = Operator::of(&host);
    assert_eq!(operator.row(NAME)["state"], "serving");
    assert_eq!(operator.roll_back(NAME)["refused"]["reason"], "nothing-to-roll-back");
    assert_eq!(peer.result("numbered.later", &json!(0)), 1);
}

#[test]
fn by_hand_it_goes_back_and_forth() {
    let host = with_first("[plugins]\nwatch = false");
    let mut operator = Operator::of(&host);
    let mut peer = host.peer();
    let first = operator.row(NAME);
    Image::numbered(2).put(&host, FILE);
    let second = operator.published();
    // The same content once more is none to go back to.
    operator.published();
    for (wanted, content) in [(1, &first), (2, &second), (1, &first)] {
        let verdict = operator.roll_back(NAME);
        assert_eq!((&verdict["outcome"], &verdict["hash"]), (&json!("published"), &content["hash"]));
        assert_eq!(number(&mut peer), wanted);
        let row = operator.row(NAME);
        assert_eq!((&row["hash"], &row["build_id"]), (&content["hash"], &content["build_id"]), "{row}");
        assert_eq!((&row["generation"], &row["state"]), (&verdict["generation"], &json!("serving")), "{row}");
    }
    operator.wait_until_unloaded();
}

#[test]
fn a_generation_whose_calls_hang_goes_back_once_they_end() {
    let config = "[plugins]\nwatch = false\nhand_over = \"300ms\"\n[plugins.probation]\ncalls = 10\nfailures = 3\n\
        [[route]]\nmethod = \"counter.*\"\nplugin = \"subject\"\ntimeout = \"1s\"";
    let host = super::with_image(&Image::of("counter_v1"), config);
    let mut operator = Operator::of(&host);
    let mut peer = host.peer();
    assert_eq!(peer.result("counter.add", &Value::Null), 1);
    super::put(&host.path("plugins"), &Image::of("counter_v2").0, FILE);
    operator.published();
    for number in 0..3 {
        peer.send_async(&number.to_string(), "counter.add_slowly", &json!(4000));
    }
    peer.receive_all(3).iter().for_each(|frame| drop(frame.error(DEADLINE_EXCEEDED)));
    host.wait_for_log("not rolled back, it serves on");
    wait_until("the layout before is back", || {
        let reply = peer.call("counter.layout", &Value::Null);
        reply.code().is_none() && reply.result() == 1
    });
    // Two ran; the third waited for a thread, and for its deadline.
    assert_eq!(peer.result("counter.get", &Value::Null), 3, "what they did late is there");
}
