//! A collector for spans: a small HTTP server that reads OTLP documents and accepts nothing beyond
//! their specification.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::otlp;
use super::wait::{CEILING, wait_for};

/// A span as the collector received it.
#[derive(Debug, Clone)]
pub(crate) struct CollectedSpan {
    pub(crate) resource: BTreeMap<String, Value>,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) parent_id: Option<String>,
    pub(crate) trace_state: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: u64,
    pub(crate) flags: u64,

    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) end: u64,

    pub(crate) attributes: BTreeMap<String, Value>,

    /// The time and the name of each event.
    pub(crate) events: Vec<(u64, String)>,

    /// The message of an error.
    pub(crate) error: Option<String>,
}

/// The answer of the collector to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Accept,

    /// A response with this status and an empty body.
    Status(u16),

    /// Bytes that are not HTTP.
    Garbage,

    /// No response; the connection stays open.
    Silence,
}

struct State {
    answer: Answer,
    spans: Vec<CollectedSpan>,

    /// The heads of all requests.
    heads: Vec<String>,

    /// Violations of the specification.
    faults: Vec<String>,

    is_ended: bool,
    silent: Vec<TcpStream>,
}

/// A running collector. Dropping it asserts that every document was valid.
pub(crate) struct Collector {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"))
    }

    /// Starts at an address where a previous collector has ended.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let listener = wait_for("the address is free", || TcpListener::bind(address).ok());
        let address = listener.local_addr().expect("an address");
        let state = State {
            answer: Answer::Accept,
            spans: Vec::new(),
            heads: Vec::new(),
            faults: Vec::new(),
            is_ended: false,
            silent: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));

        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || serve(&listener, &shared));
        Self { address, state, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the section of a configuration that exports to this collector without delay.
    pub(crate) fn config(&self) -> String {
        config(self.address)
    }

    pub(crate) fn set_answer(&self, answer: Answer) {
        self.lock().answer = answer;
    }

    /// Waits until there are `count` spans and returns all of them.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<CollectedSpan> {
        wait_for(format_args!("{count} spans"), || {
            let state = self.lock();
            assert!(state.faults.is_empty(), "{:?}", state.faults);
            (state.spans.len() >= count).then(|| state.spans.clone())
        })
    }

    /// Returns the heads of the requests so far, also of those that were not accepted.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.lock().heads.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the section of a configuration that exports to this address without delay.
pub(crate) fn config(address: SocketAddr) -> String {
    format!("[trace]\notlp = \"http://{address}\"\ninterval = \"100ms\"\n")
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.lock().is_ended = true;
        // Ends the wait for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if !thread::panicking() {
            let state = self.lock();
            assert!(state.faults.is_empty(), "{:?}", state.faults);
        }
    }
}

/// Answers one connection after the other, until the collector ends.
fn serve(listener: &TcpListener, state: &Mutex<State>) {
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    while let Ok((mut stream, _)) = listener.accept() {
        if lock().is_ended {
            return;
        }
        stream.set_read_timeout(Some(CEILING)).expect("a time-out");
        // A host that ends closes its connection at any moment.
        let Some((head, body)) = read_request(&mut stream) else { continue };

        let mut state = lock();
        let answer = state.answer;
        state.heads.push(head.clone());
        match check_head(&head, body.len()).and_then(|()| otlp::parse(&body)) {
            Ok(spans) if answer == Answer::Accept => state.spans.extend(spans),
            Ok(_) => {}
            Err(fault) => state.faults.push(fault),
        }
        match answer {
            Answer::Silence => state.silent.push(stream),
            answer => {
                drop(state);
                let _ = stream.write_all(response(answer).as_bytes());
            }
        }
    }
}

fn response(answer: Answer) -> String {
    match answer {
        Answer::Accept => "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 21\r\n\r\n\
             {\"partialSuccess\":{}}"
            .to_owned(),
        Answer::Status(status) => format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n\r\n"),
        Answer::Garbage => "\u{0}\u{1}garbage\r\n\r\n".repeat(1000),
        Answer::Silence => String::new(),
    }
}

/// Reads a request to the end of its body; `None` if the connection ends before.
fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 64 * 1024];
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..at].to_vec()).ok()?;
            let length: usize = header(&head, "content-length")?.parse().ok()?;
            if bytes.len() == at + 4 + length {
                return Some((head, bytes.split_off(at + 4)));
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Returns the value of a header.
fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn check_head(head: &str, body: usize) -> Result<(), String> {
    let is_valid = head.starts_with("POST /v1/traces HTTP/1.1\r\n")
        && header(head, "content-type") == Some("application/json")
        && header(head, "host").is_some()
        && body > 0;
    if is_valid { Ok(()) } else { Err(format!("a head that OTLP does not allow: {head:?}")) }
}

/// Prints spans as a tree, with their attributes and the times relative to the first.
pub(crate) fn print_tree(spans: &[CollectedSpan]) {
    let begin = spans.iter().map(|span| span.start).min().unwrap_or(0);
    let is_root =
        |span: &&CollectedSpan| !spans.iter().any(|other| Some(&other.span_id) == span.parent_id.as_ref());
    spans.iter().filter(is_root).for_each(|root| print_below(root, spans, begin, 0));
}

fn print_below(span: &CollectedSpan, spans: &[CollectedSpan], begin: u64, depth: usize) {
    let micros = |at: u64| at.saturating_sub(begin) / 1000;
    let indent = "  ".repeat(depth);
    let length = Duration::from_nanos(span.end - span.start);
    println!(
        "{indent}{} [{}] kind {} +{} us, {length:?}, span {} parent {}",
        span.name,
        span.resource["service.name"].as_str().unwrap_or_default(),
        span.kind,
        micros(span.start),
        span.span_id,
        span.parent_id.as_deref().unwrap_or("-"),
    );
    for (at, name) in &span.events {
        println!("{indent}    event {name} +{} us", micros(*at));
    }
    for (key, value) in &span.attributes {
        println!("{indent}    {key} = {value}");
    }
    let children = spans.iter().filter(|other| other.parent_id.as_ref() == Some(&span.span_id));
    children.for_each(|child| print_below(child, spans, begin, depth + 1));
}
