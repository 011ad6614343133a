//! The processor time that 1 MiB costs as opaque bytes, in relation to base64 in JSON. The plugins
//! return what they receive, and do not decode it.

use std::time::Duration;

use jackfield_client::blocking::Client;
use serde_json::Value;

use crate::support::build::root;
use crate::support::footprint::{cpu_time, cpu_time_of_this_thread};
use crate::support::program::{command, finish};
use crate::support::random::SeededRandom;
use crate::support::{CEILING, HostProcess, is_soak};

const MIB: usize = 1 << 20;
/// Permitted ratio between the two ways.
const MAX_RATIO: f64 = 0.5;

fn calls() -> u32 {
    if is_soak() { 500 } else { 50 }
}

fn start() -> HostProcess {
    HostProcess::with(&["opaque_bytes", "echoes"])
}

/// Returns the processor time that host and client spend for `calls`, of which each returns that of
/// the client.
fn spent(host: &HostProcess, calls: impl FnOnce() -> Duration) -> Duration {
    let before = cpu_time(host.pid());
    let client = calls();
    client + cpu_time(host.pid()) - before
}

#[track_caller]
fn assert_cheap(what: &str, bytes: Duration, base64: Duration) {
    let ratio = bytes.as_secs_f64() / base64.as_secs_f64();
    println!("{what}: {} calls with 1 MiB as bytes {bytes:?}, as base64 {base64:?}: {ratio:.2}", calls());
    assert!(ratio <= MAX_RATIO, "{what}: {ratio:.2}");
}

#[test]
fn is_at_most_half_of_that_of_base64_for_the_php_client() {
    let host = start();
    let run = |how: &str| {
        spent(&host, || {
            let mut php = command("php");
            php.arg(root().join("tests/e2e/context/bytes_cost.php")).arg(root()).arg(host.socket());
            let finished = finish(php.args([how, &calls().to_string()]));
            assert_eq!((finished.code, &*finished.stderr), (0, ""), "{finished:?}");
            Duration::from_micros(finished.stdout.parse().expect("microseconds"))
        })
    };
    assert_cheap("PHP", run("bytes"), run("base64"));
}

/// The cost of the encoding itself is left out: a string of the same length is sent.
#[test]
fn is_at_most_half_of_that_of_a_string_for_the_rust_client() {
    let host = start();
    let client = Client::builder(host.socket()).timeout(CEILING).build();
    let image = SeededRandom::new(0x1_0000_0001).bytes(MIB);
    let text: String =
        image.iter().map(|byte| char::from(b'A' + byte % 26)).cycle().take(MIB * 4 / 3).collect();

    let bytes = spent(&host, || {
        let before = cpu_time_of_this_thread();
        for _ in 0..calls() {
            let returned = client.call_bytes("bytes.echo_blocking", &image).expect("bytes");
            assert!(returned.into_bytes() == image);
        }
        cpu_time_of_this_thread() - before
    });
    let json = spent(&host, || {
        let before = cpu_time_of_this_thread();
        for _ in 0..calls() {
            let returned: Value = client.call("fixture.echo_blocking", &text).expect("a string");
            assert!(returned.as_str() == Some(&*text));
        }
        cpu_time_of_this_thread() - before
    });
    client.close();
    assert_cheap("Rust", bytes, json);
}
