//! The bytes that are sent in place of the start of the plugin.

use std::process::exit;

use serde_json::Value;

use crate::channel::{Channel, DESCRIBED, END, LOG, READY, REFUSED, STEP, done, frame};

/// Answers the first message, which is the specification of the process.
pub(crate) fn answer(channel: &Channel, spec: &[u8]) {
    let spec: Value = serde_json::from_slice(spec).expect("the specification is JSON");
    channel.send(STEP, b"hostility");
    match spec["settings"]["start"].as_str().unwrap_or_default() {
        "garbage" => drop(channel.send_bytes(b"GET / HTTP/1.1\r\n\r\n")),
        "huge-length" => drop(channel.send_bytes(b"\x01\x01\x43\xff\xff\xff\xff")),
        "silence" => {}
        "exit" => exit(0),
        "cut" => {
            channel.send_bytes(&frame(READY, b"all")[..8]);
            exit(0);
        }
        "end" => channel.send(END, &done(1, "1")),
        "ready-twice" => {
            channel.send(READY, b"");
            channel.send(READY, b"");
        }
        "unknown-reason" => {
            let reason = b"\0\0\0\x02\x1b[it is \x1b[31mred\nand has lines";
            channel.send(REFUSED, reason);
        }
        "long-text" => {
            let reason = "long text ".repeat(200_000);
            channel.send(STEP, reason.as_bytes());
            channel.send(REFUSED, &[b"\0\0\0\0", reason.as_bytes()].concat());
        }
        // More than the description of any plugin has.
        "described" => (0..100_000).for_each(|_| channel.send(DESCRIBED, b"\x01true")),
        "description" if !spec["describes_within"].is_null() => {
            channel.send(STEP, b"the description of its methods");
            channel.send(DESCRIBED, b"\x01{\"summary\":\"a \x1b[31mred summary\"}");
            channel.send(DESCRIBED, b"\0it is \x1b[31mred\nand has lines");
            channel.send(DESCRIBED, b"\x02");
        }
        "lines" => {
            channel.send(STEP, b"a \x1b[31mred step\nof lines");
            for level in 0..=u8::MAX {
                let line = [&[level][..], &[0; 8], b"a \x1b[31mred line\nof lines"].concat();
                channel.send(LOG, &line);
            }
            exit(0);
        }
        _ => channel.send(READY, b"nothing is enforced"),
    }
}
