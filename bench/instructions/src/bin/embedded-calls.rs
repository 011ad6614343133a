//! Compares a call of an embedding program with a call of the instance itself: what `Host::call`
//! adds to an `inline` method.
//!
//! Both run the method of the comparison with other servers, on one thread, in turns. Printed are
//! medians over the rounds with minimum and maximum, as a row in Markdown.

#[allow(dead_code)]
#[path = "../../../peers/src/device.rs"]
mod device;

use std::sync::Arc;
use std::time::Instant;

use jackfield::config::Config;
use jackfield::{Builder, CallOptions, Error, Host, Methods, RawParams};
use jackfield_plugin_api::Level;
use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{
    CallFacts, CallReply, HostCell, Instance, OutgoingCall, ReplyFuture, RequestId, Services, SleepFuture,
};

use device::{Device, UpdateParams};

const METHOD: &str = "device.status.update";
const PARAMS: &str = r#"{"deviceId":"dev_123","status":"online"}"#;
const ROUNDS: usize = 25;
const CALLS: u32 = 20_000;

/// The services of a host for a method that uses none.
struct NoServices;

impl Services for NoServices {
    fn log_enabled(&self, _level: Level) -> bool {
        false
    }
    fn log(&self, _level: Level, _line: &str) {}
    fn now(&self) -> u64 {
        0
    }
    fn sleep(&self, _until: u64) -> SleepFuture {
        unreachable!("the method does not sleep")
    }
    fn call(&self, _parent: &CallFacts<'_>, _call: OutgoingCall<'_>) -> ReplyFuture {
        unreachable!("the method calls no other")
    }
    fn call_wait(&self, _parent: &CallFacts<'_>, _call: OutgoingCall<'_>) -> CallReply {
        unreachable!("the method calls no other")
    }
}

fn methods() -> Methods<Device> {
    Methods::new().inline(METHOD, |device: &Device, params: UpdateParams| {
        device.update(params).ok_or_else(|| Error::invalid_params("deviceId", "is not a valid id"))
    })
}

/// Returns the nanoseconds of one call, on average.
fn measure(mut call: impl FnMut()) -> f64 {
    let started = Instant::now();
    for _ in 0..CALLS {
        call();
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn print_row(name: &str, mut nanoseconds: Vec<f64>) {
    nanoseconds.sort_by(f64::total_cmp);
    let (least, most) = (nanoseconds[0], nanoseconds[nanoseconds.len() - 1]);
    println!("| {name} | {:.0} ({least:.0}-{most:.0}) |", nanoseconds[nanoseconds.len() / 2]);
}

fn start() -> Result<Host, Box<dyn std::error::Error>> {
    let entry = jackfield::enter();
    let config = Config { listeners: Vec::new(), admin: None, ..Config::default() };
    Ok(Builder::new(config, &entry).plugin("device", Device::new(), methods())?.start()?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = start()?;
    let caller = host.caller();
    let instance = Instance::local(Device::new(), methods(), &HostCell::new(Arc::new(NoServices)));

    let direct = || {
        let facts = CallFacts::new(u64::MAX, RequestId::new(None, String::new), Run::Inline);
        let mut out = Vec::new();
        instance.call(0, &facts, PARAMS.as_bytes(), &mut out, 1 << 20);
        assert!(!std::hint::black_box(out).is_empty());
    };
    let through_host = || {
        let result = caller.call_raw_blocking(METHOD, RawParams::Json(PARAMS), CallOptions::default());
        assert!(std::hint::black_box(result).is_ok());
    };

    let (mut of_instance, mut of_host, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (instance, host) = (measure(direct), measure(through_host));
        of_instance.push(instance);
        of_host.push(host);
        added.push(host - instance);
    }
    println!("| inline call on one thread | ns per call |\n|---|---|");
    print_row("the instance itself", of_instance);
    print_row("`Host::call_raw_blocking`", of_host);
    print_row("added by the host", added);
    Ok(())
}
