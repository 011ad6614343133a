//! Plays the steps of one connection.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{mem, thread};

use serde_json::{Map, Value, json};

use crate::order::Order;
use crate::report::{Report, locked};
use crate::script::{Outcome, Shape, Step};
use crate::wire::{self, Frame};

const SYNC: u8 = 0x01;
const HEARTBEAT: u8 = 0x02;
const ASYNC_REQUEST: u8 = 0x04;
const ASYNC_RESPONSE: u8 = 0x05;

/// Frames an ordinary host reads ahead of its answers.
const READ_AHEAD: usize = 8;
/// How long a held-back request waits for another one before it is answered.
const GATHER: Duration = Duration::from_millis(5);

/// One connection under way.
struct Connection<'a> {
    stream: UnixStream,
    number: usize,
    report: &'a Mutex<Report>,
    requests: HashMap<String, Frame>,
}

/// Whether the script goes on.
enum Next {
    Step,
    End(&'static str),
}

/// Plays all steps; a script that runs out ends the connection.
pub(crate) fn play(stream: UnixStream, steps: &[Step], number: usize, report: &Mutex<Report>) {
    let mut connection = Connection { stream, number, report, requests: HashMap::new() };
    let mut end = "script";
    for step in steps {
        match connection.step(step) {
            Ok(Next::Step) => {}
            Ok(Next::End(by)) => {
                end = by;
                break;
            }
            // A client that has gone while the script still sends is what many scripts are about.
            Err(_) => {
                end = "client";
                break;
            }
        }
    }
    locked(report).ended(number, end);
}

impl Connection<'_> {
    fn step(&mut self, step: &Step) -> io::Result<Next> {
        match step {
            Step::Expect { kind, name } => return self.expect(*kind, name),
            Step::Reply { to, outcome, shape } => {
                let Some(request) = self.requests.get(to) else {
                    locked(self.report).fault(self.number, &format!("no request is remembered as {to}"));
                    return Ok(Next::End("fault"));
                };
                let bytes = reply(request, outcome, shape);
                self.send(&bytes, shape)?;
            }
            Step::Send { bytes, shape } => self.send(bytes, shape)?,
            Step::Pause { ms } => thread::sleep(Duration::from_millis(*ms)),
            Step::Silence => return self.discard(),
            Step::HalfClose => {
                self.stream.shutdown(Shutdown::Write)?;
                return self.discard();
            }
            Step::Close => return Ok(Next::End("script")),
            Step::Serve { order, results } => return self.serve(*order, results),
        }
        Ok(Next::Step)
    }

    /// Waits for a frame. Heartbeats are answered on the way, unless it is one that is expected.
    fn expect(&mut self, kind: Option<u8>, name: &str) -> io::Result<Next> {
        loop {
            let Some(frame) = self.read()? else { return Ok(Next::End("client")) };
            if frame.kind == HEARTBEAT && kind != Some(HEARTBEAT) {
                self.send(
                    &wire::frame(frame.version, HEARTBEAT, &[]),
                    &Shape { times: 1, ..Shape::default() },
                )?;
                continue;
            }
            if kind.is_some_and(|kind| kind != frame.kind) {
                locked(self.report)
                    .fault(self.number, &format!("kind {:02x} came, not {kind:02x?}", frame.kind));
                return Ok(Next::End("fault"));
            }
            self.requests.insert(name.to_owned(), frame);
            return Ok(Next::Step);
        }
    }

    fn read(&mut self) -> io::Result<Option<Frame>> {
        let frame = Frame::read(&mut self.stream)?;
        if let Some(frame) = &frame {
            locked(self.report).frame(self.number, frame);
        }
        Ok(frame)
    }

    fn send(&mut self, bytes: &[u8], shape: &Shape) -> io::Result<()> {
        let bytes = &bytes[..shape.first.unwrap_or(bytes.len()).min(bytes.len())];
        for _ in 0..shape.times {
            for piece in bytes.chunks(shape.pieces.unwrap_or(bytes.len()).max(1)) {
                self.stream.write_all(piece)?;
                thread::sleep(Duration::from_millis(shape.every_ms));
            }
            locked(self.report).sent(self.number, bytes.len());
        }
        Ok(())
    }

    fn discard(&mut self) -> io::Result<Next> {
        while let Some(frame) = Frame::read(&mut self.stream)? {
            locked(self.report).frame(self.number, &frame);
        }
        Ok(Next::End("client"))
    }

    /// An ordinary host: sync requests are answered at once, async ones in the order asked for.
    ///
    /// It reads ahead by a few frames only, and writes only while the client reads: a client that does not read
    /// while it writes comes to a halt here, as it would at a host that is busy.
    fn serve(&mut self, order: Order, results: &Map<String, Value>) -> io::Result<Next> {
        let mut reader = self.stream.try_clone()?;
        let (sender, frames) = mpsc::sync_channel(READ_AHEAD);
        thread::spawn(move || {
            while let Ok(Some(frame)) = Frame::read(&mut reader) {
                if sender.send(frame).is_err() {
                    break;
                }
            }
        });
        let mut held: Vec<Frame> = Vec::new();
        loop {
            let next = if held.is_empty() {
                frames.recv().map_err(RecvTimeoutError::from)
            } else if held.len() < order.batch() {
                frames.recv_timeout(GATHER)
            } else {
                Err(RecvTimeoutError::Timeout)
            };
            match next {
                Ok(frame) => {
                    locked(self.report).frame(self.number, &frame);
                    match frame.kind {
                        ASYNC_REQUEST => held.push(frame),
                        HEARTBEAT => self.stream.write_all(&wire::frame(frame.version, HEARTBEAT, &[]))?,
                        _ => self.answer(&frame, results)?,
                    }
                }
                Err(RecvTimeoutError::Disconnected) if held.is_empty() => return Ok(Next::End("client")),
                Err(_) => {
                    order.arrange(&mut held);
                    for request in mem::take(&mut held) {
                        self.answer(&request, results)?;
                    }
                }
            }
        }
    }

    fn answer(&mut self, request: &Frame, results: &Map<String, Value>) -> io::Result<()> {
        let body = request.json();
        let method = body["method"].as_str().unwrap_or_default();
        let outcome = match (results.get(method), method) {
            (Some(result), _) => members("result", result.clone()),
            (None, "system.echo") => Outcome::Echo,
            (None, "system.ping") => members("result", json!("pong")),
            _ => members("error", json!({"code": -32601, "message": format!("method not found: {method}")})),
        };
        self.stream.write_all(&reply(request, &outcome, &Shape::default()))
    }
}

fn members(name: &str, value: Value) -> Outcome {
    Outcome::Members(Map::from_iter([(name.to_owned(), value)]))
}

fn reply(request: &Frame, outcome: &Outcome, shape: &Shape) -> Vec<u8> {
    let body = request.json();
    let mut envelope = Map::new();
    match &shape.id {
        Some(Value::Null) => {}
        Some(id) => {
            envelope.insert("id".into(), id.clone());
        }
        None => {
            if let Some(id) = body.get("id") {
                envelope.insert("id".into(), id.clone());
            }
        }
    }
    match outcome {
        Outcome::Echo => {
            envelope.insert("result".into(), body.get("params").cloned().unwrap_or(Value::Null));
        }
        Outcome::Members(members) => envelope.extend(members.clone()),
    }
    let kind = shape.kind.unwrap_or(if request.kind == ASYNC_REQUEST { ASYNC_RESPONSE } else { SYNC });
    let payload = Value::Object(envelope).to_string();
    wire::frame(shape.version.unwrap_or(request.version), kind, payload.as_bytes())
}
