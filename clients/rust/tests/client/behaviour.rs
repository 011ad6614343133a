//! The behaviour table of tests/scripted-server/scripts, the same one that every client runs: each row, each value.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jackfield_client::{Error, Mode};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::support::calls::{Settings, raw};
use crate::support::{Call, Front, Outcome, Server};

struct Row {
    path: PathBuf,
    json: Value,
}

fn rows() -> Vec<Row> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scripted-server/scripts");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        Row { path, json }
    };
    paths.into_iter().map(read).collect()
}

impl Row {
    /// The variables of each run.
    fn runs(&self) -> Vec<Vec<(String, i64)>> {
        let Some(vary) = self.json["vary"].as_object() else { return vec![Vec::new()] };
        let values = vary.iter().flat_map(|(name, range)| {
            let (from, to) = (range["from"].as_i64().unwrap(), range["to"].as_i64().unwrap());
            (from..=to).map(|value| vec![(name.clone(), value)])
        });
        values.collect()
    }

    fn settings(&self) -> Settings {
        let options = &self.json["client"]["options"];
        let known = ["timeout_ms"];
        assert!(options.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{options}");
        Settings {
            timeout: Duration::from_millis(options["timeout_ms"].as_u64().unwrap()),
            ..Settings::default()
        }
    }

    fn calls(&self) -> Vec<Call> {
        let call = |call: &Value| Call {
            name: call["as"].as_str().unwrap().to_owned(),
            method: call["method"].as_str().unwrap().to_owned(),
            params: raw(&call["params"]),
            timeout: call["timeout_ms"].as_u64().map(Duration::from_millis),
            idempotent: call["idempotent"].as_bool().unwrap_or(false),
            mode: if call["how"] == "sync" { Mode::Exclusive } else { Mode::Multiplexed },
            alone: call["alone"].as_bool().unwrap_or(false),
        };
        self.json["client"]["calls"].as_array().unwrap().iter().map(call).collect()
    }

    /// Runs the row; what is wrong.
    fn run(&self, front: Front, variables: &[(String, i64)]) -> Vec<String> {
        let server = Server::play_row(&self.path, variables);
        let outcomes = front.perform(&server.socket, self.settings(), &self.calls());
        let mut wrong = Vec::new();
        for (name, expected) in self.json["client"]["outcomes"].as_object().unwrap() {
            if !holds(expected, &outcomes[name]) {
                wrong.push(format!("call {name}: {:?}, not {expected}", outcomes[name]));
            }
        }
        let report = server.finish();
        let seen = [("requests", report.requests().len()), ("connections", report.connections().len())];
        for (what, seen) in seen {
            if !is_as_many(&self.json["seen"][what], seen) {
                wrong.push(format!("{seen} {what}, not {}", self.json["seen"][what]));
            }
        }
        if report.faults().as_array().is_none_or(|faults| !faults.is_empty()) {
            wrong.push(format!("the server's faults: {}", report.faults()));
        }
        wrong
    }
}

fn is_as_many(expected: &Value, seen: usize) -> bool {
    match (expected.as_u64(), expected["at_most"].as_u64()) {
        (Some(exactly), _) => seen as u64 == exactly,
        (None, Some(most)) => seen as u64 <= most,
        (None, None) => expected.is_null(),
    }
}

/// Whether an outcome is as the table says.
fn holds(expected: &Value, outcome: &Outcome) -> bool {
    if let Some(any_of) = expected["any_of"].as_array() {
        return any_of.iter().any(|one| holds(one, outcome));
    }
    let within = expected["within_ms"].as_array().is_none_or(|bounds| {
        let bound = |at: usize| Duration::from_millis(bounds[at].as_u64().unwrap());
        (bound(0)..=bound(1)).contains(&outcome.took)
    });
    within
        && match &outcome.result {
            Ok(result) => is_result(expected, result),
            Err(error) => is_failure(expected, error),
        }
}

fn is_result(expected: &Value, result: &RawValue) -> bool {
    if let Some(digits) = expected["result_digits"].as_array() {
        let numbers: Vec<&RawValue> = serde_json::from_str(result.get()).unwrap();
        return numbers.len() == digits.len()
            && numbers.iter().zip(digits).all(|(number, digits)| digits.as_str() == Some(number.get()));
    }
    expected.get("result").is_some_and(|expected| {
        serde_json::from_str::<Value>(result.get()).is_ok_and(|result| result == *expected)
    })
}

fn is_failure(expected: &Value, error: &Error) -> bool {
    let failure = match error {
        Error::Timeout { .. } => "timeout",
        Error::Protocol(_) => "protocol",
        Error::ConnectionLost { .. } => "connection-lost",
        Error::Connect { .. } => "connect",
        Error::PoolFull { .. } => "pool-full",
        Error::Closed { .. } => "cancelled",
        _ => "remote",
    };
    let is_kind = match expected["remote"].as_i64() {
        Some(code) => error.code() == Some(code),
        None => expected["failure"] == failure,
    };
    is_kind && expected["retryable"] == error.is_retryable()
}

fn run_all(front: Front) {
    let mut wrong = Vec::new();
    let mut runs = 0;
    for row in rows() {
        for variables in row.runs() {
            runs += 1;
            let run = row.run(front, &variables);
            wrong.extend(run.into_iter().map(|what| format!("{} {variables:?}: {what}", row.json["name"])));
        }
    }
    assert!(runs > 300, "only {runs} runs: the table is not there");
    assert!(wrong.is_empty(), "{} of {runs} runs:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_async_client_does_what_the_table_says() {
    run_all(Front::Async);
}

#[test]
fn the_blocking_client_does_what_the_table_says() {
    run_all(Front::Blocking);
}

/// The harness sees a client that goes wrong.
#[test]
fn wrong_outcomes_do_not_pass() {
    let result = |json: &str| Outcome {
        result: Ok(RawValue::from_string(json.to_owned()).unwrap()),
        took: Duration::from_millis(500),
    };
    let lost = || Outcome {
        result: Err(Error::ConnectionLost { sent: true, source: None, then: None }),
        took: Duration::ZERO,
    };
    let expected = |json: &str| serde_json::from_str::<Value>(json).unwrap();
    assert!(holds(&expected(r#"{"result": 1, "within_ms": [0, 600]}"#), &result("1")));
    assert!(holds(&expected(r#"{"failure": "connection-lost", "retryable": false}"#), &lost()));
    for (json, outcome) in [
        (r#"{"result": 1}"#, result("2")),
        (r#"{"result": null}"#, lost()),
        (r#"{"result_digits": ["9007199254740993"]}"#, result("[9007199254740992]")),
        (r#"{"result": 1, "within_ms": [0, 10]}"#, result("1")),
        (r#"{"failure": "timeout", "retryable": false}"#, lost()),
        (r#"{"failure": "connection-lost", "retryable": true}"#, lost()),
        (r#"{"remote": -32002, "retryable": false}"#, lost()),
    ] {
        assert!(!holds(&expected(json), &outcome), "{json} passed");
    }
    assert!(!is_as_many(&expected("2"), 3) && !is_as_many(&expected(r#"{"at_most": 2}"#), 3));
}
