//! How many calls a second this client makes, and what CPU time each costs it: `calls_a_second SOCKET [SECONDS]`.
//!
//! Every way is measured in one run, for machines differ from day to day.

use std::path::Path;
use std::time::{Duration, Instant};

use jackfield_client::{Client, Mode, blocking};
use serde_json::{Value, json};
use tokio::task::JoinSet;

type Failed = Box<dyn std::error::Error + Send + Sync>;

const METHOD: &str = "device.status.update";

fn main() -> Result<(), Failed> {
    let mut words = std::env::args().skip(1);
    let socket = words.next().ok_or("SOCKET [SECONDS]")?;
    let length = Duration::from_secs_f64(words.next().map_or(Ok(3.0), |word| word.parse())?);
    let socket = Path::new(&socket);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    measure("blocking, one at a time", || blocking_calls(socket, Mode::Exclusive, length))?;
    measure("blocking, one at a time, kind 04", || blocking_calls(socket, Mode::Multiplexed, length))?;
    measure("async, one at a time, kind 01", || {
        runtime.block_on(async_calls(socket, 1, Mode::Exclusive, length))
    })?;
    for in_flight in [1, 64, 1_000] {
        let name = format!("async, {in_flight} in flight");
        measure(&name, || runtime.block_on(async_calls(socket, in_flight, Mode::Multiplexed, length)))?;
    }
    Ok(())
}

fn params() -> Value {
    json!({ "deviceId": "dev_123", "status": "online" })
}

fn blocking_calls(socket: &Path, mode: Mode, length: Duration) -> Result<u64, Failed> {
    let client = blocking::Client::builder(socket).mode(mode).build();
    let (params, begun, mut calls) = (params(), Instant::now(), 0);
    while begun.elapsed() < length {
        client.call::<_, Value>(METHOD, &params)?;
        calls += 1;
    }
    Ok(calls)
}

/// So many tasks, each of which makes one call after the other.
async fn async_calls(socket: &Path, tasks: usize, mode: Mode, length: Duration) -> Result<u64, Failed> {
    let client = Client::builder(socket).max_in_flight_per_connection(1_024).mode(mode).build();
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..tasks {
        let client = client.clone();
        callers.spawn(async move {
            let (params, mut calls) = (params(), 0);
            while begun.elapsed() < length {
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

fn measure(name: &str, run: impl FnOnce() -> Result<u64, Failed>) -> Result<(), Failed> {
    let (begun, cpu_before) = (Instant::now(), cpu()?);
    let calls = run()?;
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), (cpu()? - cpu_before).as_secs_f64());
    let calls = calls as f64;
    println!("{name:34} {:8.0} calls/s, {:5.2} us of CPU each", calls / wall, cpu * 1e6 / calls);
    Ok(())
}

/// User and system time of this process, in clock ticks of 10 ms: fields 14 and 15 of `/proc/self/stat`.
fn cpu() -> Result<Duration, Failed> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let rest = stat.rsplit_once(") ").ok_or("no command in stat")?.1;
    let ticks: u64 = rest.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 10))
}
