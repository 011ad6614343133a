//! Ten thousand requests, each written by the PHP client, by the Rust client, and by hand: byte for
//! byte the same.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use jackfield_client::{Mode, blocking};
use serde_json::{Map, Value, json};

use crate::support::build::root;
use crate::support::peer::{ASYNC_REQUEST, ASYNC_RESPONSE, V1_1, frame};
use crate::support::program::finish;
use crate::support::random::SeededRandom;
use crate::support::scratch::Scratch;

const REQUESTS: usize = 10_000;

/// The client's own classes write one frame for each line, which is a request as an array; as
/// hexadecimal digits.
const PHP: &str = r#"
require $argv[1] . '/clients/php/autoload.php';
use Jackfield\Wire\{Envelope, Header};
foreach (file($argv[2]) as $line) {
    [$id, $method, $params] = json_decode($line, false, 512, JSON_THROW_ON_ERROR);
    echo bin2hex(Header::frame(Header::ASYNC_REQUEST, Envelope::request($id, $method, $params))), "\n";
}
"#;

/// Characters that an encoder may write in more than one way, and some of each length in UTF-8.
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

fn text(noise: &mut SeededRandom, most: usize) -> String {
    (0..noise.below(most + 1)).map(|_| *noise.one_of(&CHARACTERS)).collect()
}

/// A value that both languages hold and have one way to write: no number beyond 64 bits, none with
/// an exponent.
fn value(noise: &mut SeededRandom, depth: usize) -> Value {
    match noise.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(noise.below(2) == 0),
        2 => json!(noise.next().cast_signed()),
        3 => json!(*noise.one_of(&[0, -1, i64::MAX, i64::MIN, 9_007_199_254_740_993])),
        4 => json!((f64::from(u32::try_from(noise.below(1 << 30)).unwrap()) - 1e8) / 8.0),
        5 => json!(text(noise, 20)),
        6 => (0..noise.below(5)).map(|_| value(noise, depth - 1)).collect(),
        _ => object(noise, depth - 1),
    }
}

fn object(noise: &mut SeededRandom, depth: usize) -> Value {
    let members: Map<_, _> = (0..noise.below(5)).map(|_| (text(noise, 8), value(noise, depth))).collect();
    // In PHP, an array without members is both: what is sent for it is said in the client's own
    // tests.
    Value::Object(members)
}

/// Answers everything with null and the id it came with, heartbeats with themselves; tells what
/// came.
fn answer(mut stream: &UnixStream, came: &mpsc::Sender<Vec<u8>>) {
    let mut header = [0; 7];
    while stream.read_exact(&mut header).is_ok() {
        let mut payload = vec![0; u32::from_be_bytes(header[3..].try_into().unwrap()) as usize];
        stream.read_exact(&mut payload).expect("a whole frame");
        if header[2] != ASYNC_REQUEST {
            stream.write_all(&header).expect("the client reads");
            continue;
        }
        let request: Value = serde_json::from_slice(&payload).expect("a request is JSON");
        let reply = json!({ "id": request["id"], "result": null }).to_string();
        stream.write_all(&frame(V1_1, ASYNC_RESPONSE, reply)).expect("the client reads");
        came.send([&header[..], &payload].concat()).expect("the test goes on");
    }
}

/// What the Rust client writes for each of them, the ids being its own.
fn by_rust(requests: &[(String, Value)]) -> Vec<Vec<u8>> {
    let scratch = Scratch::new();
    let socket = scratch.join("host.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let (came, frames) = mpsc::channel();
    // It ends with the process: what it waits for does not come any more then.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let came = came.clone();
            thread::spawn(move || answer(&stream, &came));
        }
    });
    let client = blocking::Client::connect(&socket).expect("it is answered");
    let written = requests.iter().map(|(method, params)| {
        client.request(method, params).mode(Mode::Multiplexed).send::<Value>().expect("it is answered");
        frames.recv().expect("what was answered had come")
    });
    let written = written.collect();
    client.close();
    written
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A24.
#[test]
fn ten_thousand_requests_are_the_same_bytes_from_php_from_rust_and_by_hand() {
    let mut noise = SeededRandom::new(0x2545_f491_4f6c_dd1d);
    let requests: Vec<_> = (0..REQUESTS)
        .map(|number| (format!("m{number}.{}", text(&mut noise, 6)), object(&mut noise, 3)))
        .filter(|(_, params)| *params != json!({}))
        .collect();
    let written = by_rust(&requests);
    let mut lines = String::new();
    let mut wanted = Vec::new();
    for ((method, params), written) in requests.iter().zip(&written) {
        let id = serde_json::from_slice::<Value>(&written[7..]).unwrap()["id"].clone();
        let payload = format!(r#"{{"id":{id},"method":{},"params":{params}}}"#, json!(method));
        let by_hand = frame(V1_1, ASYNC_REQUEST, payload);
        assert_eq!(*written, by_hand, "by the Rust client, for {method:?} of {params}");
        wanted.push(hexadecimal(&by_hand));
        let _ = writeln!(lines, "{}", json!([id, method, params]));
    }
    let scratch = Scratch::new();
    scratch.write("requests", &lines);
    let mut php = Command::new("php");
    let finished = finish(php.args(["-r", PHP, "--"]).arg(root()).arg(scratch.join("requests")));
    assert_eq!((finished.code, &*finished.stderr), (0, ""));
    let by_php: Vec<_> = finished.stdout.lines().collect();
    assert_eq!(by_php.len(), wanted.len());
    assert!(wanted.len() > REQUESTS / 2);
    for (at, (found, wanted)) in by_php.iter().zip(&wanted).enumerate() {
        assert_eq!(found, wanted, "by the PHP client, for {:?}", requests[at]);
    }
}
