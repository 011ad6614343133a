//! The throughput of this client, and its CPU time per call: `calls_a_second SOCKET [SECONDS]`.
//!
//! One run measures every mode, because a machine's speed differs from day to day.

use std::path::Path;
use std::time::{Duration, Instant};

use jackfield_client::{Client, Mode, blocking};
use serde_json::{Value, json};
use tokio::task::JoinSet;

type MainError = Box<dyn std::error::Error + Send + Sync>;

const METHOD: &str = "device.status.update";

fn main() -> Result<(), MainError> {
    let mut arguments = std::env::args().skip(1);
    let socket = arguments.next().ok_or("usage: calls_a_second SOCKET [SECONDS]")?;
    let socket = Path::new(&socket);
    let duration = Duration::from_secs_f64(arguments.next().map_or(Ok(3.0), |seconds| seconds.parse())?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    measure("blocking, one at a time", || blocking_calls(socket, Mode::Exclusive, duration))?;
    measure("blocking, one at a time, kind 04", || blocking_calls(socket, Mode::Multiplexed, duration))?;
    measure("async, one at a time, kind 01", || {
        runtime.block_on(async_calls(socket, 1, Mode::Exclusive, duration))
    })?;
    for in_flight in [1, 64, 1_000] {
        let name = format!("async, {in_flight} in flight");
        measure(&name, || runtime.block_on(async_calls(socket, in_flight, Mode::Multiplexed, duration)))?;
    }
    Ok(())
}

fn params() -> Value {
    json!({ "deviceId": "dev_123", "status": "online" })
}

/// Makes one call after the other and returns their number.
fn blocking_calls(socket: &Path, mode: Mode, duration: Duration) -> Result<u64, MainError> {
    let client = blocking::Client::builder(socket).mode(mode).build();
    let params = params();
    let began = Instant::now();

    let mut calls = 0;
    while began.elapsed() < duration {
        client.call::<_, Value>(METHOD, &params)?;
        calls += 1;
    }
    Ok(calls)
}

/// Starts tasks that each make one call after the other, and returns the number of calls.
async fn async_calls(socket: &Path, tasks: usize, mode: Mode, duration: Duration) -> Result<u64, MainError> {
    let client = Client::builder(socket).max_in_flight_per_connection(1_024).mode(mode).build();
    let began = Instant::now();

    let mut callers = JoinSet::new();
    for _ in 0..tasks {
        let client = client.clone();
        callers.spawn(async move {
            let params = params();
            let mut calls = 0;
            while began.elapsed() < duration {
                client.call::<_, Value>(METHOD, &params).await?;
                calls += 1;
            }
            Ok::<u64, jackfield_client::Error>(calls)
        });
    }

    let mut calls = 0;
    while let Some(caller) = callers.join_next().await {
        calls += caller??;
    }
    Ok(calls)
}

fn measure(name: &str, run: impl FnOnce() -> Result<u64, MainError>) -> Result<(), MainError> {
    let began = Instant::now();
    let cpu_before = cpu_time()?;

    let calls = run()? as f64;

    let rate = calls / began.elapsed().as_secs_f64();
    let cpu_us = (cpu_time()? - cpu_before).as_secs_f64() * 1e6 / calls;
    println!("{name:34} {rate:8.0} calls/s, {cpu_us:5.2} us of CPU each");
    Ok(())
}

/// Returns the user and system time of this process: fields 14 and 15 of `/proc/self/stat`.
///
/// They are counted in clock ticks of 10 ms.
fn cpu_time() -> Result<Duration, MainError> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(") ").ok_or("/proc/self/stat names no command")?.1;
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 10))
}
