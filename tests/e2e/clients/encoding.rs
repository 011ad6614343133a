//! Random requests: the PHP client, the Rust client and this test encode each of them identically.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::thread;

use jackfield_client::{Mode, blocking};
use serde_json::{Map, Value, json};

use crate::support::build::root;
use crate::support::peer::{ASYNC_REQUEST, ASYNC_RESPONSE, V1_1, frame};
use crate::support::program::{command, finish};
use crate::support::random::SeededRandom;
use crate::support::scratch::Scratch;

/// Number of random requests, including those with empty params, which the test leaves out.
const REQUESTS: usize = 10_000;

/// Uses the encoder of the PHP client. Each input line is a request as an array, each output line a
/// frame in hexadecimal. A float stays a float with the option `preserveZeroFraction`, as in Rust.
const PHP: &str = r#"
require $argv[1] . '/clients/php/autoload.php';
use Jackfield\Wire\{Envelope, Header};
foreach (file($argv[2]) as $line) {
    [$id, $method, $params] = json_decode($line, false, 512, JSON_THROW_ON_ERROR);
    // The deadline and the closing brace are written with each try.
    $payload = Envelope::request($id, $method, $params, null, JSON_PRESERVE_ZERO_FRACTION) . '}';
    echo bin2hex(Header::frame(Header::ASYNC_REQUEST, $payload)), "\n";
}
"#;

/// Characters that encoders may write in several ways, with at least one of each length in UTF-8.
const CHARACTERS: [char; 24] = [
    'a',
    'Z',
    '0',
    ' ',
    '/',
    '\\',
    '"',
    '\'',
    '<',
    '&',
    '\u{1}',
    '\u{8}',
    '\t',
    '\n',
    '\u{c}',
    '\r',
    '\u{1f}',
    '\u{7f}',
    '\u{e9}',
    '\u{2028}',
    '\u{2029}',
    '\u{fffd}',
    '\u{1f600}',
    '{',
];

fn text(random: &mut SeededRandom, most: usize) -> String {
    (0..random.below(most + 1)).map(|_| *random.one_of(&CHARACTERS)).collect()
}

/// Returns a value that both languages can represent and write in only one way: no number beyond 64
/// bits, none with an exponent.
fn value(random: &mut SeededRandom, depth: usize) -> Value {
    match random.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(random.next().cast_signed()),
        3 => json!(*random.one_of(&[0, -1, i64::MAX, i64::MIN, 9_007_199_254_740_993])),
        4 => json!((f64::from(u32::try_from(random.below(1 << 30)).unwrap()) - 1e8) / 8.0),
        5 => json!(text(random, 20)),
        6 => (0..random.below(5)).map(|_| value(random, depth - 1)).collect(),
        _ => object(random, depth - 1),
    }
}

fn object(random: &mut SeededRandom, depth: usize) -> Value {
    let members: Map<_, _> = (0..random.below(5)).map(|_| (text(random, 8), value(random, depth))).collect();
    Value::Object(members)
}

/// Answers each request with null and each heartbeat with itself, and passes the received requests
/// on.
fn answer(mut stream: &UnixStream, received: &mpsc::Sender<Vec<u8>>) {
    let mut header = [0; 7];

    while stream.read_exact(&mut header).is_ok() {
        let mut payload = vec![0; u32::from_be_bytes(header[3..].try_into().unwrap()) as usize];
        stream.read_exact(&mut payload).expect("the frame is complete");
        if header[2] != ASYNC_REQUEST {
            stream.write_all(&header).expect("the client reads");
            continue;
        }
        let request: Value = serde_json::from_slice(&payload).expect("a request is JSON");
        let reply = json!({ "id": request["id"], "result": null }).to_string();
        stream.write_all(&frame(V1_1, ASYNC_RESPONSE, reply)).expect("the client reads");
        received.send([&header[..], &payload].concat()).expect("the test still runs");
    }
}

/// Returns the frames that the Rust client sends for the requests. The client assigns the
/// ids.
fn frames_of_rust_client(requests: &[(String, Value)]) -> Vec<Vec<u8>> {
    let scratch = Scratch::new();
    let socket = scratch.join("host.sock");
    let listener = UnixListener::bind(&socket).expect("the socket is bound");
    let (received, frames) = mpsc::channel();

    // The thread waits for further connections until the process ends.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let received = received.clone();
            thread::spawn(move || answer(&stream, &received));
        }
    });

    let client = blocking::Client::builder(&socket).negotiate(false).build();
    let written = requests.iter().map(|(method, params)| {
        client
            .request(method, params)
            .mode(Mode::Multiplexed)
            .send::<Value>()
            .expect("the request is answered");
        without_deadline(frames.recv().expect("an answered request was received"))
    });
    let written = written.collect();
    client.close();
    written
}

/// Returns the frame of a request without its deadline, which is another one in each frame.
fn without_deadline(mut frame: Vec<u8>) -> Vec<u8> {
    const NAME: &[u8] = br#","deadline_ms":"#;
    let start = frame.windows(NAME.len()).position(|bytes| bytes == NAME).expect("a deadline");
    let digits = frame[start + NAME.len()..].iter().take_while(|byte| matches!(byte, b' ' | b'0'..=b'9'));
    let end = start + NAME.len() + digits.count();

    frame.drain(start..end);
    let length = u32::try_from(frame.len() - 7).unwrap();
    frame[3..7].copy_from_slice(&length.to_be_bytes());
    frame
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn encodes_requests_identically_in_php_and_rust() {
    let mut random = SeededRandom::new(0x2545_f491_4f6c_dd1d);
    // Empty params are left out, because an empty PHP array can be either a list or an object. The
    // tests of the PHP client cover its encoding.
    let requests: Vec<_> = (0..REQUESTS)
        .map(|number| (format!("m{number}.{}", text(&mut random, 6)), object(&mut random, 3)))
        .filter(|(_, params)| *params != json!({}))
        .collect();

    let written = frames_of_rust_client(&requests);
    let mut lines = String::new();
    let mut wanted = Vec::new();

    for ((method, params), written) in requests.iter().zip(&written) {
        let id = serde_json::from_slice::<Value>(&written[7..]).unwrap()["id"].clone();
        let payload = format!(r#"{{"id":{id},"method":{},"params":{params}}}"#, json!(method));
        let expected = frame(V1_1, ASYNC_REQUEST, payload);
        assert_eq!(*written, expected, "the Rust client encodes {method:?} with {params}");
        wanted.push(hexadecimal(&expected));

        let _ = writeln!(lines, "{}", json!([id, method, params]));
    }

    let scratch = Scratch::new();
    scratch.write("requests", &lines);
    let mut php = command("php");
    let finished = finish(php.args(["-r", PHP, "--"]).arg(root()).arg(scratch.join("requests")));
    assert_eq!((finished.code, &*finished.stderr), (0, ""));

    let frames_of_php: Vec<_> = finished.stdout.lines().collect();
    assert_eq!(frames_of_php.len(), wanted.len());
    assert!(wanted.len() > REQUESTS / 2);

    for (at, (found, wanted)) in frames_of_php.iter().zip(&wanted).enumerate() {
        assert_eq!(found, wanted, "the PHP client encodes {:?}", requests[at]);
    }
}
