//! The bytes that are sent in place of the result of a call.

use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio, exit};
use std::thread;
use std::time::Duration;

use rustix::fs::SealFlags;
use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;

use crate::channel::{
    CALL, CANCELLED, Channel, DETACHED, DONE_BYTES, END, LOG, NESTED, NESTED_CANCELLED, PANICKED, PHASE_END,
    READY, STEP, all_seals, done, end, frame, memory_file,
};

/// The fixed part of a call: its number, the method, the flags, the depth and the deadline.
const FIXED: usize = 8 + 4 + 1 + 4 + 8;

/// A length that the host accepts.
const LENGTH: u64 = 200_000;

/// Answers a call.
pub(crate) fn answer(channel: &Channel, payload: &[u8]) {
    let (fixed, rest) = payload.split_at(FIXED);
    let call = u64::from_be_bytes(fixed[..8].try_into().expect("eight bytes"));
    let (length, rest) = rest.split_at(4);
    let id = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
    let params = params_after(fixed[12], &rest[id..]);
    let params: Value = serde_json::from_slice(params).expect("the params are JSON");

    let what = params["do"].as_str().unwrap_or_default();
    let is_done = send_invalid(channel, what, call)
        || send_out_of_turn(channel, what, call)
        || send_file(channel, what, call)
        || end_otherwise(channel, what, call);
    if !is_done {
        channel.send(END, &done(call, "\"answered\""));
    }
}

/// Returns the params behind the caller of a call with these flags. No other field is sent here.
fn params_after(flags: u8, rest: &[u8]) -> &[u8] {
    match (flags & !3, &rest[1..]) {
        (0, params) => params,
        (8, [tag, l0, l1, l2, l3, rest @ ..]) if *tag < 3 => {
            let listener = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
            let credentials = if *tag == 0 { 12 } else { 0 };
            &rest[listener + credentials..]
        }
        (8, [3, params @ ..]) => params,
        other => panic!("{other:?} is no caller"),
    }
}

/// Sends what is no message. Returns whether `what` is among these.
fn send_invalid(channel: &Channel, what: &str, call: u64) -> bool {
    match what {
        "garbage" => drop(channel.send_bytes(b"GET / HTTP/1.1\r\n\r\n")),
        "huge-length" => drop(channel.send_bytes(b"\x01\x01\x45\xff\xff\xff\xffthe beginning")),
        "huge-file" => channel.send(END | DETACHED, &u64::MAX.to_be_bytes()),
        "no-length" => channel.send(END | DETACHED, b"1234567"),
        "unknown-kind" => channel.send(0x7f, b""),
        "kind-of-the-host" => channel.send(CALL, &[0; 64]),
        "truncated" => channel.send(END, b"123"),
        "surplus" => channel.send(NESTED_CANCELLED, &[0; 9]),
        "unknown-content" => channel.send(END, &end(call, 5, b"")),
        "unknown-nested-content" => {
            let fields = [&[0; 8][..], &call.to_be_bytes(), &[4], &[0; 8], &[0; 4]].concat();
            channel.send(NESTED, &fields);
        }
        "large-bytes" => channel.send(END, &end(call, DONE_BYTES, &[0; (1 << 20) + 1])),
        "no-text" => channel.send(END, &end(call, PANICKED, b"\xff")),
        "no-json" => channel.send(END, &done(call, "1},\"id\":\"other\"")),
        "no-utf-8" => channel.send(END, &end(call, 0, b"\"\xff\"")),
        "too-large" => channel.send(END, &done(call, &format!("\"{}\"", "x".repeat((1 << 20) + 64)))),
        _ => return false,
    }
    true
}

/// Sends messages that are not expected. Returns whether `what` is among these.
fn send_out_of_turn(channel: &Channel, what: &str, call: u64) -> bool {
    let nested = |number: u64, parent: u64, method: &str, params: &str| {
        let numbers = [&number.to_be_bytes()[..], &parent.to_be_bytes(), &[0], &0u64.to_be_bytes()].concat();
        let length = u32::try_from(method.len()).expect("a short name").to_be_bytes();
        [&numbers[..], &length, method.as_bytes(), params.as_bytes()].concat()
    };
    let ping = |number, parent| nested(number, parent, "system.ping", "");
    match what {
        "foreign-end" => channel.send(END, &done(call + 1000, "1")),
        "end-of-call-0" => channel.send(END, &done(0, "1")),
        "second-end" => {
            channel.send(END, &done(call, "\"first\""));
            channel.send(END, &done(call, "\"second\""));
        }
        "foreign-nested" => channel.send(NESTED, &ping(1, call + 1000)),
        "same-nested" => {
            let sleep = nested(1, call, "sleep.async", "{\"ms\":9000}");
            (0..2).for_each(|_| channel.send(NESTED, &sleep));
        }
        "many-nested" => {
            (0..10_000).for_each(|number| channel.send(NESTED, &ping(number, call)));
            channel.send(END, &done(call, "\"answered\""));
        }
        "unread-replies" => {
            let large = format!("\"{}\"", "x".repeat(300_000));
            let echo = |number| frame(NESTED, &nested(number, call, "system.echo", &large));
            let _ = (0..2000).all(|number| channel.send_bytes(&echo(number)));
        }
        "late-step" => channel.send(STEP, b"opening"),
        "late-ready" => channel.send(READY, b""),
        "phase-end" => channel.send(PHASE_END, &[0]),
        "bytes-of-a-phase" => channel.send(PHASE_END, &[DONE_BYTES, 0xff]),
        _ => return false,
    }
    true
}

/// Sends a result in a file that is none, or not the right one. Returns whether `what` is among
/// these.
fn send_file(channel: &Channel, what: &str, call: u64) -> bool {
    let file = |seals| memory_file(LENGTH, seals);
    match what {
        "unsealed" => channel.send_detached(call, LENGTH, &[file(SealFlags::empty()).as_fd()]),
        "writable" => {
            let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE;
            channel.send_detached(call, LENGTH, &[file(seals).as_fd()]);
        }
        "other-length" => channel.send_detached(call, LENGTH + 1, &[file(all_seals()).as_fd()]),
        "zeros" => channel.send_detached(call, LENGTH, &[file(all_seals()).as_fd()]),
        "no-file" => channel.send_detached(call, LENGTH, &[]),
        "own-socket" => channel.send_detached(call, LENGTH, &[channel.as_file().as_fd()]),
        "many-files" => {
            let line = frame(LOG, &[&[4][..], &[0; 8], b"a line"].concat());
            channel.send_with(&line, &[file(all_seals()).as_fd(); 200]);
        }
        _ => return false,
    }
    true
}

/// Does not answer, or in a way that is strange but not forbidden. Returns whether `what` is among
/// these.
fn end_otherwise(channel: &Channel, what: &str, call: u64) -> bool {
    match what {
        "silence" => {}
        "bytes" => channel.send(END, &end(call, DONE_BYTES, b"no JSON \xff")),
        "cancelled" => channel.send(END, &end(call, CANCELLED, b"")),
        "byte-by-byte" => {
            let bytes = frame(END, &done(call, "\"slowly\""));
            bytes.iter().all(|byte| channel.send_bytes(&[*byte]));
        }
        "lines-of-json" => channel.send(END, &done(call, "[\n{\"id\":\"x\",\"result\":1}\n]")),
        "cut" => {
            channel.send_bytes(&frame(END, &done(call, "\"never sent in full\""))[..20]);
            exit(0);
        }
        "exit" => exit(3),
        "stop" => kill_process(getpid(), Signal::STOP).expect("the signal is sent"),
        "deaf" => loop {
            thread::sleep(Duration::from_secs(60));
        },
        "flood" => flood(channel),
        "heir" => {
            start_heir(channel);
            thread::sleep(Duration::from_millis(100));
            exit(0);
        }
        _ => return false,
    }
    true
}

/// Sends log lines that the host does not want, until it has closed its end.
pub(crate) fn flood(channel: &Channel) -> ! {
    // Level 4 is the lowest one.
    let line = frame(LOG, &[&[4][..], &[0; 8], &[b'x'; 50]].concat());
    while channel.send_bytes(&line.repeat(1000)) {}
    exit(0)
}

/// Starts a process outside of the process group that keeps the channel open, and floods it.
fn start_heir(channel: &Channel) {
    let file = channel.as_file().try_clone().expect("a descriptor");
    let heir = Command::new("/proc/self/exe")
        .arg(crate::FLOOD)
        .process_group(0)
        .stdout(Stdio::from(file))
        .stderr(Stdio::null())
        .spawn();
    drop(heir.expect("the process starts"));
}
