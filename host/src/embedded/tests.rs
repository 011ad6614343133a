//! Tests of a host without sockets, whose program calls its own methods.

mod limits;
mod many_calls;

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use jackfield_plugin_api::Bytes;
use jackfield_protocol::Code;
use serde_json::{Value, json};

use super::*;
use crate::config::{Config, PluginsConfig};
use crate::sync::lock;
use crate::{Content, Context, Error, Host, Methods};

const LIMIT: Duration = Duration::from_secs(30);

/// The state of the methods that tests call.
#[derive(Default)]
struct Program {
    running: AtomicUsize,
    cancelled: AtomicUsize,
    caller: OnceLock<MethodCaller>,
    release: Mutex<Option<Arc<Barrier>>>,
}

impl Program {
    fn add(&self, (a, b): (i64, i64)) -> Result<i64, Error> {
        Ok(a + b)
    }

    fn fail(&self, code: i64) -> Result<(), Error> {
        Err(Error::new(code, "as asked").with_data(&json!({ "code": code })))
    }

    fn panic(&self, (): ()) -> Result<(), Error> {
        panic!("as asked")
    }

    fn reverse(&self, bytes: Bytes) -> Result<Bytes, Error> {
        Ok(bytes.iter().rev().copied().collect::<Vec<_>>().into())
    }

    /// Blocks its thread until a test releases it.
    fn block(&self, (): ()) -> Result<u32, Error> {
        let barrier = lock(&self.release).clone();
        self.running.fetch_add(1, Ordering::SeqCst);
        if let Some(barrier) = barrier {
            barrier.wait();
        }
        Ok(7)
    }

    /// Runs until nobody waits for it.
    fn wait(&self, (): (), cx: &Context<'_>) -> Result<(), Error> {
        self.running.fetch_add(1, Ordering::SeqCst);
        let started = Instant::now();
        while !cx.is_cancelled() && started.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(1));
        }
        self.cancelled.fetch_add(usize::from(cx.is_cancelled()), Ordering::SeqCst);
        Ok(())
    }

    fn describe(&self, (): (), cx: &Context<'_>) -> Result<Value, Error> {
        let name = cx.metadata().get("name").map(str::to_owned);
        Ok(json!({ "caller": format!("{:?}", cx.caller()), "id": cx.id(), "name": name }))
    }

    /// Calls itself through the program.
    fn recurse(&self, depth: u32) -> Result<u32, Error> {
        let Some(caller) = self.caller.get() else { return Err(Error::new(1, "no caller")) };
        let deeper = caller.call_blocking("own.recurse", &(depth + 1), CallOptions::default());
        deeper.map_err(|error| Error::new(2, error.to_string()))
    }

    fn call_blocking_method(&self, (): ()) -> Result<u32, Error> {
        let Some(caller) = self.caller.get() else { return Err(Error::new(1, "no caller")) };
        caller
            .call_blocking("own.block", &(), CallOptions::default())
            .map_err(|error| Error::new(3, error.to_string()))
    }
}

struct Fixture {
    host: Host,
    program: Arc<Program>,
}

fn config() -> Config {
    Config {
        listeners: Vec::new(),
        admin: None,
        plugins: PluginsConfig { directory: PathBuf::from("/no/such/directory"), ..PluginsConfig::default() },
        ..Config::default()
    }
}

fn start(config: Config) -> Fixture {
    let program = Arc::<Program>::default();
    let methods = Methods::<Arc<Program>>::new()
        .inline("own.add", |own: &Arc<Program>, numbers: (i64, i64)| own.add(numbers))
        .inline("own.fail", |own: &Arc<Program>, code: i64| own.fail(code))
        .inline("own.panic", |own: &Arc<Program>, (): ()| own.panic(()))
        .inline("own.reverse", |own: &Arc<Program>, bytes: Bytes| own.reverse(bytes))
        .inline("own.recurse", |own: &Arc<Program>, depth: u32| own.recurse(depth))
        .inline("own.describe", |own: &Arc<Program>, (): (), cx: &Context<'_>| own.describe((), cx))
        .blocking("own.block", |own: &Arc<Program>, (): ()| own.block(()))
        .blocking("own.call", |own: &Arc<Program>, (): ()| own.call_blocking_method(()))
        .blocking("own.fail_blocking", |own: &Arc<Program>, code: i64| own.fail(code))
        .blocking("own.wait", |own: &Arc<Program>, (): (), cx: &Context<'_>| own.wait((), cx));
    let builder = crate::Builder::new(config, &crate::enter());
    let host = builder.plugin("own", Arc::clone(&program), methods).unwrap().start().unwrap();
    program.caller.get_or_init(|| host.caller());
    Fixture { host, program }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park_timeout(LIMIT),
        }
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LIMIT, "{what} does not come true");
        thread::sleep(Duration::from_millis(1));
    }
}

impl Fixture {
    fn blocking<R: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        params: impl serde::Serialize,
    ) -> Result<R, CallError> {
        self.host.call_blocking(method, &params, CallOptions::default())
    }

    fn count(&self, name: &str) -> u64 {
        let info: Value = self.blocking("system.info", ()).unwrap();
        info["counts"][name].as_u64().unwrap_or_else(|| panic!("{info}"))
    }

    fn stop(self) {
        block_on(self.host.stop()).unwrap();
    }
}

fn host_code(result: Result<Value, CallError>) -> Code {
    match result {
        Err(CallError::Host(error)) => Code::from_i64(error.code()).expect("a code of the protocol"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn returns_results_and_errors_of_methods_of_every_kind() {
    let fixture = start(config());
    let own = fixture.host.caller();

    assert_eq!(fixture.blocking::<i64>("own.add", (2, 3)).unwrap(), 5);
    assert_eq!(block_on(own.call::<_, i64>("own.add", &(2, 3), CallOptions::default())).unwrap(), 5);
    assert_eq!(fixture.blocking::<u32>("own.block", ()).unwrap(), 7);
    assert_eq!(block_on(own.call::<_, u32>("own.block", &(), CallOptions::default())).unwrap(), 7);

    for method in ["own.fail", "own.fail_blocking"] {
        let Err(CallError::Method(error)) = fixture.blocking::<Value>(method, 404) else {
            panic!("{method}")
        };
        assert_eq!(
            (error.code(), error.message(), error.data_json()),
            (404, "as asked", Some(r#"{"code":404}"#))
        );
    }
    // The code of the protocol comes from the method.
    let error = fixture.blocking::<Value>("own.add", "x").unwrap_err();
    assert!(matches!(&error, CallError::Method(error) if error.code() == -32602), "{error}");

    assert_eq!(host_code(fixture.blocking("own.panic", ())), Code::PluginPanicked);
    assert_eq!(host_code(fixture.blocking("own.unknown", ())), Code::MethodNotFound);
    assert!(matches!(fixture.blocking::<String>("own.add", (2, 3)), Err(CallError::Result(_))));
    fixture.stop();
}

#[test]
fn passes_opaque_bytes_both_ways() {
    let fixture = start(config());
    let caller = fixture.host.caller();

    let reversed = caller
        .call_raw_blocking("own.reverse", RawParams::Bytes(b"\x00abc"), CallOptions::default())
        .unwrap();
    assert_eq!((reversed.content, &*reversed.bytes), (Content::Bytes, &b"cba\x00"[..]));
    let sum = caller.call_raw_blocking("own.add", RawParams::Json("[1,2]"), CallOptions::default()).unwrap();
    assert_eq!((sum.content, &*sum.bytes), (Content::Json, &b"3"[..]));
    let bytes = fixture.blocking::<Value>("own.reverse", [1, 2]);
    assert!(bytes.is_err());
    fixture.stop();
}

#[test]
fn tells_methods_that_the_program_calls_with_its_id_and_metadata() {
    let fixture = start(config());
    let options = CallOptions::default().with_id("order-7").with_metadata("name", "Ada");

    let described: Value = fixture.host.call_blocking("own.describe", &(), options).unwrap();

    assert_eq!((&described["id"], &described["name"]), (&json!("order-7"), &json!("Ada")));
    assert_eq!(described["caller"], "Program");
    fixture.stop();
}
