//! A script: what the server does on its first, second, … connection. The format is described in README.md.

use std::fmt;

use serde_json::{Map, Value};

use crate::order::Order;
use crate::wire;

/// The member that says what a step does.
const VERBS: [&str; 8] = ["expect", "reply", "send", "pause_ms", "silence", "half_close", "close", "serve"];

/// Why a script cannot be played.
#[derive(Debug)]
pub(crate) struct ScriptError(String);

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "script: {}", self.0)
    }
}

impl std::error::Error for ScriptError {}

/// One thing to do on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Read a frame of this kind (`None`: of any) and remember it under a name.
    Expect { kind: Option<u8>, name: String },
    /// Answer a remembered request.
    Reply { to: String, outcome: Outcome, shape: Shape },
    /// Send bytes as they are.
    Send { bytes: Vec<u8>, shape: Shape },
    /// Do nothing for a while.
    Pause { ms: u64 },
    /// Read and throw away until the client ends the connection.
    Silence,
    /// Send no more, but read until the client ends the connection.
    HalfClose,
    /// End the connection.
    Close,
    /// From here on be an ordinary host with the methods `system.echo` and `system.ping`, and others whose result is
    /// given.
    Serve { order: Order, results: Map<String, Value> },
}

/// What a reply says.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The request's own params as the result.
    Echo,
    /// Members of the envelope, `result` or `error`.
    Members(Map<String, Value>),
}

/// How bytes are sent, and where a reply departs from the rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Bytes a write; `None`: all at once.
    pub(crate) pieces: Option<usize>,
    /// Milliseconds between two writes.
    pub(crate) every_ms: u64,
    /// Only so many bytes of it.
    pub(crate) first: Option<usize>,
    /// How often it is sent.
    pub(crate) times: usize,
    /// Another id than the request's; `Null`: none at all.
    pub(crate) id: Option<Value>,
    /// Another kind than the request calls for.
    pub(crate) kind: Option<u8>,
    /// Another version than the request's.
    pub(crate) version: Option<u16>,
}

/// The steps for each connection.
pub(crate) struct Script {
    connections: Vec<Vec<Step>>,
}

impl Script {
    /// Reads the `server` part of a file of the behaviour table, `"$name"` standing for a variable's value.
    pub(crate) fn parse(text: &str, variables: &[(String, i64)]) -> Result<Script, ScriptError> {
        let mut value: Value = serde_json::from_str(text).map_err(|e| ScriptError(e.to_string()))?;
        substitute(&mut value, variables)?;
        let connections = value
            .pointer("/server/connections")
            .and_then(Value::as_array)
            .ok_or_else(|| ScriptError("no server.connections".into()))?;
        let connections = connections
            .iter()
            .map(|steps| {
                let steps =
                    steps.as_array().ok_or_else(|| ScriptError("a connection is a list of steps".into()))?;
                steps.iter().map(step).collect()
            })
            .collect::<Result<Vec<Vec<Step>>, ScriptError>>()?;
        if connections.is_empty() {
            return Err(ScriptError("server.connections is empty".into()));
        }
        Ok(Script { connections })
    }

    /// What to do on the connection of this number, counted from 0. The last one's steps serve all that follow.
    pub(crate) fn steps(&self, number: usize) -> Vec<Step> {
        self.connections.get(number).or(self.connections.last()).cloned().unwrap_or_default()
    }
}

fn substitute(value: &mut Value, variables: &[(String, i64)]) -> Result<(), ScriptError> {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix('$') {
                let found = variables.iter().find(|(known, _)| known == name);
                let (_, number) = found.ok_or_else(|| ScriptError(format!("${name} is not set")))?;
                *value = Value::from(*number);
            }
            Ok(())
        }
        Value::Array(values) => values.iter_mut().try_for_each(|v| substitute(v, variables)),
        Value::Object(members) => members.values_mut().try_for_each(|v| substitute(v, variables)),
        _ => Ok(()),
    }
}

fn step(value: &Value) -> Result<Step, ScriptError> {
    let fault = |what: &str| ScriptError(format!("{what} in the step {value}"));
    let members = value.as_object().ok_or_else(|| fault("no object"))?;
    let verb =
        VERBS.iter().find(|verb| members.contains_key(**verb)).ok_or_else(|| fault("no known verb"))?;
    let object = &members[*verb];
    let text = || object.as_str().ok_or_else(|| fault("a string is missing"));
    Ok(match *verb {
        "expect" => Step::Expect {
            kind: match text()? {
                "any" => None,
                "sync" => Some(0x01),
                "heartbeat" => Some(0x02),
                "async" => Some(0x04),
                _ => return Err(fault("an unknown kind")),
            },
            name: members.get("as").and_then(Value::as_str).unwrap_or_default().to_owned(),
        },
        "reply" => Step::Reply {
            to: text()?.to_owned(),
            outcome: if members.get("echo") == Some(&Value::Bool(true)) {
                Outcome::Echo
            } else {
                let wanted = |name: &&String| matches!(name.as_str(), "result" | "error");
                let kept = members.keys().filter(wanted).map(|name| (name.clone(), members[name].clone()));
                Outcome::Members(kept.collect())
            },
            shape: shape(members).ok_or_else(|| fault("a faulty number"))?,
        },
        "send" => Step::Send {
            bytes: wire::from_hex(text()?).ok_or_else(|| fault("faulty hex"))?,
            shape: shape(members).ok_or_else(|| fault("a faulty number"))?,
        },
        "pause_ms" => Step::Pause { ms: object.as_u64().ok_or_else(|| fault("a number is missing"))? },
        "silence" => Step::Silence,
        "half_close" => Step::HalfClose,
        "close" => Step::Close,
        "serve" => Step::Serve {
            order: Order::parse(text()?).ok_or_else(|| fault("an unknown order"))?,
            results: members.get("results").and_then(Value::as_object).cloned().unwrap_or_default(),
        },
        _ => return Err(fault("an unknown verb")),
    })
}

fn shape(members: &Map<String, Value>) -> Option<Shape> {
    let number = |name: &str| match members.get(name) {
        None => Some(None),
        Some(value) => value.as_u64().and_then(|n| usize::try_from(n).ok()).map(Some),
    };
    Some(Shape {
        pieces: number("pieces")?.map(|n| n.max(1)),
        every_ms: members.get("every_ms").map_or(Some(0), Value::as_u64)?,
        first: number("first")?,
        times: number("times")?.unwrap_or(1),
        id: members.get("id").cloned(),
        kind: number("kind")?.and_then(|n| u8::try_from(n).ok()),
        version: number("version")?.and_then(|n| u16::try_from(n).ok()),
    })
}
