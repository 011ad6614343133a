//! The behaviour table of tests/scripted-server/scripts, which every client runs: each row with
//! each value.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jackfield_client::{Error, Mode};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::support::calls::{Settings, raw};
use crate::support::{Call, ClientKind, Outcome, Server};

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
    /// Returns the variables of each run.
    fn runs(&self) -> Vec<Vec<(String, i64)>> {
        let Some(vary) = self.json["vary"].as_object() else { return vec![Vec::new()] };
        let values = vary.iter().flat_map(|(name, range)| {
            let from = range["from"].as_i64().unwrap();
            let to = range["to"].as_i64().unwrap();
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

    /// Runs the row and returns its failures.
    fn run(&self, client: ClientKind, variables: &[(String, i64)]) -> Vec<String> {
        let server = Server::play_row(&self.path, variables);
        let outcomes = client.perform(&server.socket, self.settings(), &self.calls());
        let report = server.finish();

        let mut failures = Vec::new();
        for (name, expected) in self.json["client"]["outcomes"].as_object().unwrap() {
            if !matches_outcome(expected, &outcomes[name]) {
                failures.push(format!("call {name}: {:?}, expected {expected}", outcomes[name]));
            }
        }

        let seen = [("requests", report.requests().len()), ("connections", report.connections().len())];
        for (name, seen) in seen {
            let expected = &self.json["seen"][name];
            if !matches_count(expected, seen) {
                failures.push(format!("{seen} {name}, expected {expected}"));
            }
        }

        if report.faults().as_array().is_none_or(|faults| !faults.is_empty()) {
            failures.push(format!("violations of the script: {}", report.faults()));
        }
        failures
    }
}

fn matches_count(expected: &Value, seen: usize) -> bool {
    match (expected.as_u64(), expected["at_most"].as_u64()) {
        (Some(exactly), _) => seen as u64 == exactly,
        (None, Some(most)) => seen as u64 <= most,
        (None, None) => expected.is_null(),
    }
}

/// Returns whether an outcome is as in the table.
fn matches_outcome(expected: &Value, outcome: &Outcome) -> bool {
    if let Some(any_of) = expected["any_of"].as_array() {
        return any_of.iter().any(|one| matches_outcome(one, outcome));
    }

    let is_in_time = expected["within_ms"].as_array().is_none_or(|bounds| {
        let bound = |at: usize| Duration::from_millis(bounds[at].as_u64().unwrap());
        (bound(0)..=bound(1)).contains(&outcome.took)
    });
    is_in_time
        && match &outcome.result {
            Ok(result) => matches_result(expected, result),
            Err(error) => matches_failure(expected, error),
        }
}

fn matches_result(expected: &Value, result: &RawValue) -> bool {
    if let Some(digits) = expected["result_digits"].as_array() {
        let numbers: Vec<&RawValue> = serde_json::from_str(result.get()).unwrap();
        return numbers.len() == digits.len()
            && numbers.iter().zip(digits).all(|(number, digits)| digits.as_str() == Some(number.get()));
    }
    expected.get("result").is_some_and(|expected| {
        serde_json::from_str::<Value>(result.get()).is_ok_and(|result| result == *expected)
    })
}

fn matches_failure(expected: &Value, error: &Error) -> bool {
    let failure = match error {
        Error::Timeout { .. } => "timeout",
        Error::Protocol(_) => "protocol",
        Error::ConnectionLost { .. } => "connection-lost",
        Error::Connect { .. } => "connect",
        Error::PoolFull { .. } => "pool-full",
        Error::Closed { .. } => "cancelled",
        _ => "remote",
    };
    let has_kind = match expected["remote"].as_i64() {
        Some(code) => error.code() == Some(code),
        None => expected["failure"] == failure,
    };
    has_kind && expected["retryable"] == error.is_retryable()
}

fn run_all(client: ClientKind) {
    let mut failures = Vec::new();
    let mut runs = 0;
    for row in rows() {
        for variables in row.runs() {
            runs += 1;
            let of_run = row.run(client, &variables);
            failures.extend(of_run.iter().map(|text| format!("{} {variables:?}: {text}", row.json["name"])));
        }
    }
    assert!(runs > 300, "only {runs} runs: the table is incomplete");
    assert!(failures.is_empty(), "{} failures in {runs} runs:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_async_client_behaves_as_the_table_demands() {
    run_all(ClientKind::Async);
}

#[test]
fn the_blocking_client_behaves_as_the_table_demands() {
    run_all(ClientKind::Blocking);
}

/// Checks the harness itself: a client that misbehaves fails.
#[test]
fn the_table_rejects_wrong_outcomes() {
    let result = |json: &str| Outcome {
        result: Ok(RawValue::from_string(json.to_owned()).unwrap()),
        took: Duration::from_millis(500),
    };
    let lost = || Outcome {
        result: Err(Error::ConnectionLost { sent: true, source: None, then: None }),
        took: Duration::ZERO,
    };
    let expected = |json: &str| serde_json::from_str::<Value>(json).unwrap();

    assert!(matches_outcome(&expected(r#"{"result": 1, "within_ms": [0, 600]}"#), &result("1")));
    assert!(matches_outcome(&expected(r#"{"failure": "connection-lost", "retryable": false}"#), &lost()));

    for (json, outcome) in [
        (r#"{"result": 1}"#, result("2")),
        (r#"{"result": null}"#, lost()),
        (r#"{"result_digits": ["9007199254740993"]}"#, result("[9007199254740992]")),
        (r#"{"result": 1, "within_ms": [0, 10]}"#, result("1")),
        (r#"{"failure": "timeout", "retryable": false}"#, lost()),
        (r#"{"failure": "connection-lost", "retryable": true}"#, lost()),
        (r#"{"remote": -32002, "retryable": false}"#, lost()),
    ] {
        assert!(!matches_outcome(&expected(json), &outcome), "{json} passed");
    }
    assert!(!matches_count(&expected("2"), 3) && !matches_count(&expected(r#"{"at_most": 2}"#), 3));
}
