//! The script: the steps of the server on its first, second, … connection. README.md describes the
//! format.

use std::fmt;

use serde_json::{Map, Value};

use crate::reply_order::ReplyOrder;
use crate::wire;

/// The members that name the action of a step.
const ACTIONS: [&str; 8] = ["expect", "reply", "send", "pause_ms", "silence", "half_close", "close", "serve"];

/// Why a script cannot be played.
#[derive(Debug)]
pub(crate) struct ScriptError(String);

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "script: {}", self.0)
    }
}

impl std::error::Error for ScriptError {}

/// One step on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Read a frame of this kind (`None`: of any) and store it under a name.
    Expect { kind: Option<u8>, name: String },
    /// Answer a stored request.
    Reply { to: String, body: ReplyBody, options: SendOptions },
    /// Send these bytes.
    Send { bytes: Vec<u8>, options: SendOptions },
    /// Wait.
    Pause { ms: u64 },
    /// Read and discard until the client ends the connection.
    Silence,
    /// End the direction to the client, then read and discard until the client ends the connection.
    HalfClose,
    /// End the connection.
    Close,
    /// Behave as an ordinary host from here on, with the methods `system.echo` and `system.ping`,
    /// and others with fixed results.
    Serve { order: ReplyOrder, results: Map<String, Value> },
}

/// The content of a reply.
#[derive(Clone, Debug)]
pub(crate) enum ReplyBody {
    /// The params of the request as the result.
    Echo,
    /// Members of the envelope, `result` or `error`.
    Members(Map<String, Value>),
}

/// How bytes are sent, and in which fields a reply is wrong on purpose.
#[derive(Clone, Debug)]
pub(crate) struct SendOptions {
    /// Bytes per write; `None`: all in one.
    pub(crate) pieces: Option<usize>,
    /// Milliseconds between two writes.
    pub(crate) every_ms: u64,
    /// Number of leading bytes that are sent; `None`: all.
    pub(crate) first: Option<usize>,
    /// Number of times that the bytes are sent.
    pub(crate) times: usize,
    /// An id in place of that of the request; `Null`: no id.
    pub(crate) id: Option<Value>,
    /// A kind in place of that of a reply to the request.
    pub(crate) kind: Option<u8>,
    /// A version in place of that of the request.
    pub(crate) version: Option<u16>,
}

impl Default for SendOptions {
    fn default() -> SendOptions {
        SendOptions { pieces: None, every_ms: 0, first: None, times: 1, id: None, kind: None, version: None }
    }
}

/// The steps of each connection.
pub(crate) struct Script {
    connections: Vec<Vec<Step>>,
}

impl Script {
    /// Parses the `server` member of a row of the behaviour table. `"$name"` stands for the value
    /// of a variable.
    pub(crate) fn parse(text: &str, variables: &[(String, i64)]) -> Result<Script, ScriptError> {
        let mut value: Value = serde_json::from_str(text).map_err(|e| ScriptError(e.to_string()))?;
        substitute(&mut value, variables)?;

        let connections = value
            .pointer("/server/connections")
            .and_then(Value::as_array)
            .ok_or_else(|| ScriptError("server.connections is missing or no list".into()))?;
        let connections = connections
            .iter()
            .map(|steps| {
                let steps = steps.as_array().ok_or_else(|| {
                    ScriptError("server.connections: each item must be a list of steps".into())
                })?;
                steps.iter().map(step).collect()
            })
            .collect::<Result<Vec<Vec<Step>>, ScriptError>>()?;

        if connections.is_empty() {
            return Err(ScriptError("server.connections is empty".into()));
        }
        Ok(Script { connections })
    }

    /// Returns the steps of a connection by its number, counted from 0. The last steps apply to all
    /// that follow.
    pub(crate) fn steps(&self, number: usize) -> Vec<Step> {
        self.connections.get(number).or(self.connections.last()).cloned().unwrap_or_default()
    }
}

fn substitute(value: &mut Value, variables: &[(String, i64)]) -> Result<(), ScriptError> {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix('$') {
                let found = variables.iter().find(|(known, _)| known == name);
                let (_, number) = found
                    .ok_or_else(|| ScriptError(format!("${name} has no value; pass --set {name}=INTEGER")))?;
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
    let fault = |text: &str| ScriptError(format!("{text} in the step {value}"));
    let members = value.as_object().ok_or_else(|| fault("not an object"))?;
    let action = ACTIONS
        .iter()
        .find(|action| members.contains_key(**action))
        .ok_or_else(|| fault("no known action"))?;
    let argument = &members[*action];
    let text = || argument.as_str().ok_or_else(|| fault("the action takes a string"));
    let options = || send_options(members).ok_or_else(|| fault("an invalid number"));

    Ok(match *action {
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
        "reply" => Step::Reply { to: text()?.to_owned(), body: reply_body(members), options: options()? },
        "send" => Step::Send {
            bytes: wire::from_hex(text()?).ok_or_else(|| fault("invalid hex"))?,
            options: options()?,
        },
        "pause_ms" => {
            Step::Pause { ms: argument.as_u64().ok_or_else(|| fault("the action takes a number"))? }
        }
        "silence" => Step::Silence,
        "half_close" => Step::HalfClose,
        "close" => Step::Close,
        "serve" => Step::Serve {
            order: ReplyOrder::parse(text()?).ok_or_else(|| fault("an unknown order"))?,
            results: members.get("results").and_then(Value::as_object).cloned().unwrap_or_default(),
        },
        _ => return Err(fault("no known action")),
    })
}

fn reply_body(members: &Map<String, Value>) -> ReplyBody {
    if members.get("echo") == Some(&Value::Bool(true)) {
        return ReplyBody::Echo;
    }
    let of_envelope = members.iter().filter(|(name, _)| matches!(name.as_str(), "result" | "error"));
    ReplyBody::Members(of_envelope.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn send_options(members: &Map<String, Value>) -> Option<SendOptions> {
    let number = |name: &str| match members.get(name) {
        None => Some(None),
        Some(value) => value.as_u64().and_then(|n| usize::try_from(n).ok()).map(Some),
    };
    Some(SendOptions {
        pieces: number("pieces")?.map(|n| n.max(1)),
        every_ms: members.get("every_ms").map_or(Some(0), Value::as_u64)?,
        first: number("first")?,
        times: number("times")?.unwrap_or(1),
        id: members.get("id").cloned(),
        kind: number("kind")?.and_then(|n| u8::try_from(n).ok()),
        version: number("version")?.and_then(|n| u16::try_from(n).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(steps: &str) -> Result<Script, ScriptError> {
        let variables = [("n".to_owned(), 7)];
        Script::parse(&format!(r#"{{"server":{{"connections":{steps}}}}}"#), &variables)
    }

    #[test]
    fn substitutes_variables_with_their_values() {
        let script = parse(r#"[[{"pause_ms":"$n"}]]"#).unwrap();
        assert!(matches!(script.steps(0)[..], [Step::Pause { ms: 7 }]));
    }

    #[test]
    fn repeats_the_last_steps_for_further_connections() {
        let script = parse(r#"[[{"silence":true}],[{"close":true}]]"#).unwrap();
        assert!(matches!(script.steps(0)[..], [Step::Silence]));
        assert!(matches!(script.steps(1)[..], [Step::Close]));
        assert!(matches!(script.steps(9)[..], [Step::Close]));
    }

    #[test]
    fn rejects_invalid_scripts_with_a_reason() {
        for (steps, reason) in [
            ("[]", "server.connections is empty"),
            ("{}", "server.connections is missing or no list"),
            ("[1]", "each item must be a list of steps"),
            ("[[1]]", "not an object in the step 1"),
            (r#"[[{"jump":1}]]"#, "no known action"),
            (r#"[[{"expect":1}]]"#, "the action takes a string"),
            (r#"[[{"expect":"late"}]]"#, "an unknown kind"),
            (r#"[[{"send":"0"}]]"#, "invalid hex"),
            (r#"[[{"send":"00","first":-1}]]"#, "an invalid number"),
            (r#"[[{"pause_ms":"$m"}]]"#, "pass --set m=INTEGER"),
        ] {
            let error = parse(steps).err().expect(steps).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
