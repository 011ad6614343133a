//! Plays the steps of one connection.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;
use std::{mem, thread};

use serde_json::{Map, Value, json};

use crate::reply_order::ReplyOrder;
use crate::report::{Report, lock};
use crate::script::{ReplyBody, SendOptions, Step};
use crate::wire::{self, Frame, HEARTBEAT};

const SYNC: u8 = 0x01;
const ASYNC_REQUEST: u8 = 0x04;
const ASYNC_RESPONSE: u8 = 0x05;

/// Frames that an ordinary host reads ahead of its replies.
const READ_AHEAD: usize = 8;

/// How long a request that is held back waits for another one before it is answered.
const GATHER: Duration = Duration::from_millis(5);

/// A connection in progress.
struct Connection<'a> {
    stream: UnixStream,
    number: usize,
    report: &'a Mutex<Report>,
    requests: HashMap<String, Frame>,
}

/// Whether the script continues after a step.
enum Next {
    Step,
    /// The end of the connection, and who caused it.
    End(&'static str),
}

/// Plays all steps. The end of the script ends the connection.
pub(crate) fn play(stream: UnixStream, steps: &[Step], number: usize, report: &Mutex<Report>) {
    let mut connection = Connection { stream, number, report, requests: HashMap::new() };
    let mut ended_by = "script";

    for step in steps {
        match connection.step(step) {
            Ok(Next::Step) => {}
            Ok(Next::End(by)) => {
                ended_by = by;
                break;
            }
            // In many scripts the client closes the connection while the server still sends.
            Err(_) => {
                ended_by = "client";
                break;
            }
        }
    }
    lock(report).set_ended(number, ended_by);
}

impl Connection<'_> {
    fn step(&mut self, step: &Step) -> io::Result<Next> {
        match step {
            Step::Expect { kind, name } => return self.expect(*kind, name),
            Step::Reply { to, body, options } => {
                let Some(request) = self.requests.get(to) else {
                    lock(self.report).add_fault(self.number, &format!("no request was stored as {to}"));
                    return Ok(Next::End("fault"));
                };
                let bytes = reply(request, body, options);
                self.send(&bytes, options)?;
            }
            Step::Send { bytes, options } => self.send(bytes, options)?,
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

    /// Waits for a frame. Other heartbeats than an expected one are answered, and every hello is:
    /// as by a server of protocol 1.1, which reads no payload of a heartbeat.
    fn expect(&mut self, expected: Option<u8>, name: &str) -> io::Result<Next> {
        loop {
            let Some(frame) = self.read()? else { return Ok(Next::End("client")) };
            let kind = frame.kind;

            if kind == HEARTBEAT && (expected != Some(HEARTBEAT) || frame.is_hello()) {
                let answer = wire::frame(frame.version, HEARTBEAT, &[]);
                self.send(&answer, &SendOptions::default())?;
                continue;
            }
            if let Some(expected) = expected.filter(|expected| *expected != kind) {
                let fault = format!("received a frame of kind {kind:02x}, expected {expected:02x}");
                lock(self.report).add_fault(self.number, &fault);
                return Ok(Next::End("fault"));
            }

            self.requests.insert(name.to_owned(), frame);
            return Ok(Next::Step);
        }
    }

    fn read(&mut self) -> io::Result<Option<Frame>> {
        let frame = Frame::read(&mut self.stream)?;
        if let Some(frame) = &frame {
            lock(self.report).add_frame(self.number, frame);
        }
        Ok(frame)
    }

    fn send(&mut self, bytes: &[u8], options: &SendOptions) -> io::Result<()> {
        let bytes = &bytes[..options.first.unwrap_or(bytes.len()).min(bytes.len())];
        for _ in 0..options.times {
            for piece in bytes.chunks(options.pieces.unwrap_or(bytes.len()).max(1)) {
                self.stream.write_all(piece)?;
                thread::sleep(Duration::from_millis(options.every_ms));
            }
            lock(self.report).add_sent(self.number, bytes.len());
        }
        Ok(())
    }

    fn discard(&mut self) -> io::Result<Next> {
        while self.read()?.is_some() {}
        Ok(Next::End("client"))
    }

    /// Behaves as an ordinary host: sync requests are answered immediately, async ones in the given
    /// order.
    ///
    /// It reads only a few frames ahead, and writes only while the client reads. A client that does
    /// not read while it writes is therefore blocked here, as it would be by a busy host.
    fn serve(&mut self, order: ReplyOrder, results: &Map<String, Value>) -> io::Result<Next> {
        let frames = read_ahead(self.stream.try_clone()?);
        let mut held: Vec<Frame> = Vec::new();

        loop {
            let received = if held.is_empty() {
                frames.recv().map_err(RecvTimeoutError::from)
            } else if held.len() < order.batch() {
                frames.recv_timeout(GATHER)
            } else {
                Err(RecvTimeoutError::Timeout)
            };

            match received {
                Ok(frame) => {
                    lock(self.report).add_frame(self.number, &frame);
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
        let request_body = request.json();
        let method = request_body["method"].as_str().unwrap_or_default();
        let body = match (results.get(method), method) {
            (Some(result), _) => member("result", result.clone()),
            (None, "system.echo") => ReplyBody::Echo,
            (None, "system.ping") => member("result", json!("pong")),
            _ => member("error", json!({"code": -32601, "message": format!("method not found: {method}")})),
        };
        self.stream.write_all(&reply(request, &body, &SendOptions::default()))
    }
}

/// Starts a thread that reads frames until the client ends the connection.
fn read_ahead(mut stream: UnixStream) -> Receiver<Frame> {
    let (sender, frames) = mpsc::sync_channel(READ_AHEAD);
    thread::spawn(move || {
        while let Ok(Some(frame)) = Frame::read(&mut stream) {
            if sender.send(frame).is_err() {
                break;
            }
        }
    });
    frames
}

fn member(name: &str, value: Value) -> ReplyBody {
    ReplyBody::Members(Map::from_iter([(name.to_owned(), value)]))
}

/// Returns the frame of a reply.
fn reply(request: &Frame, body: &ReplyBody, options: &SendOptions) -> Vec<u8> {
    let request_body = request.json();
    let mut envelope = Map::new();

    let id = options.id.as_ref().or(request_body.get("id"));
    if let Some(id) = id.filter(|_| options.id != Some(Value::Null)) {
        envelope.insert("id".into(), id.clone());
    }
    match body {
        ReplyBody::Echo => {
            let params = request_body.get("params").cloned().unwrap_or(Value::Null);
            envelope.insert("result".into(), params);
        }
        ReplyBody::Members(members) => envelope.extend(members.clone()),
    }

    let kind = options.kind.unwrap_or(if request.kind == ASYNC_REQUEST { ASYNC_RESPONSE } else { SYNC });
    let version = options.version.unwrap_or(request.version);
    wire::frame(version, kind, Value::Object(envelope).to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u8, body: &Value) -> Frame {
        Frame { version: 0x0101, kind, payload: body.to_string().into_bytes() }
    }

    fn sent(kind: u8, body: &ReplyBody, options: &SendOptions) -> Frame {
        let request = request(kind, &json!({"id": "a", "method": "m", "params": [1]}));
        Frame::read(&mut reply(&request, body, options).as_slice()).unwrap().unwrap()
    }

    #[test]
    fn a_reply_has_the_id_the_version_and_the_kind_of_its_request() {
        for (of_request, of_reply) in [(SYNC, SYNC), (ASYNC_REQUEST, ASYNC_RESPONSE)] {
            let frame = sent(of_request, &ReplyBody::Echo, &SendOptions::default());
            assert_eq!((frame.kind, frame.version), (of_reply, 0x0101));
            assert_eq!(frame.json(), json!({"id": "a", "result": [1]}));
        }
    }

    #[test]
    fn options_replace_the_fields_of_a_reply() {
        let options = SendOptions { kind: Some(9), version: Some(0x0100), ..SendOptions::default() };
        let frame = sent(SYNC, &member("error", json!({"code": 1})), &options);
        assert_eq!((frame.kind, frame.version), (9, 0x0100));

        for (id, expected) in
            [(json!("b"), json!({"id": "b", "result": [1]})), (Value::Null, json!({"result": [1]}))]
        {
            let options = SendOptions { id: Some(id), ..SendOptions::default() };
            assert_eq!(sent(SYNC, &ReplyBody::Echo, &options).json(), expected);
        }
    }
}
