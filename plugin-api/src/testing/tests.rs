//! The harness with plugins that implement state transfer by the old names, by the new names, and
//! not at all; and with methods that wait and panic.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use serde_json::json;

use super::*;
use crate::{Context, Host, INTERNAL_ERROR, Plugin};

/// Implements the names of API 0.1, which work until 1.0.
struct OldNames(AtomicU64);

impl Plugin for OldNames {
    const STATE: Option<u32> = Some(1);

    fn start(_host: &Host) -> Result<Self, Error> {
        Ok(Self(AtomicU64::new(7)))
    }

    fn hand_over(&self) -> Result<Vec<u8>, Error> {
        Ok(self.0.load(SeqCst).to_string().into_bytes())
    }

    fn take_over(&self, schema: u32, state: &[u8]) -> Result<(), Error> {
        import(&self.0, schema, state)
    }
}

struct NewNames(AtomicU64);

impl Plugin for NewNames {
    const STATE: Option<u32> = Some(2);

    fn start(_host: &Host) -> Result<Self, Error> {
        Ok(Self(AtomicU64::new(0)))
    }

    fn export_state(&self) -> Result<Vec<u8>, Error> {
        Ok(self.0.load(SeqCst).to_string().into_bytes())
    }

    fn import_state(&self, schema: u32, state: &[u8]) -> Result<(), Error> {
        import(&self.0, schema, state)
    }
}

fn import(count: &AtomicU64, schema: u32, state: &[u8]) -> Result<(), Error> {
    if !(1..=2).contains(&schema) {
        return Err(Error::internal(format!("unknown layout {schema}")));
    }
    count.store(std::str::from_utf8(state)?.parse()?, SeqCst);
    Ok(())
}

/// Sets `STATE` but implements neither name.
struct Incomplete;

impl Plugin for Incomplete {
    const STATE: Option<u32> = Some(1);

    fn start(_host: &Host) -> Result<Self, Error> {
        Ok(Self)
    }
}

struct Waits;

impl Plugin for Waits {
    fn start(host: &Host) -> Result<Self, Error> {
        host.info("started");
        Ok(Self)
    }
}

impl Waits {
    async fn sleep(self: Arc<Self>, ms: u64, cx: Context<'static>) -> Result<u128, Error> {
        let before = cx.host().monotonic();
        cx.host().sleep(Duration::from_millis(ms)).await;
        Ok((cx.host().monotonic() - before).as_millis())
    }

    fn forward(&self, params: Value, cx: &Context<'_>) -> Result<Value, Error> {
        cx.call_wait("other.method", &params)
    }

    fn panic(&self, text: String) -> Result<(), Error> {
        panic!("{text}")
    }
}

macro_rules! exported {
    ($plugin:ty, $methods:expr) => {
        impl Exported for $plugin {
            const MANIFEST: &'static str = "{}";

            fn methods() -> Methods<Self> {
                $methods
            }
        }
    };
}

exported!(OldNames, Methods::new());
exported!(NewNames, Methods::new());
exported!(Incomplete, Methods::new());
exported!(
    Waits,
    Methods::new()
        .asynchronous("waits.sleep", Self::sleep)
        .blocking("waits.forward", Self::forward)
        .inline("waits.panic", Self::panic)
);

fn start<S: Exported>() -> Harness<S> {
    Harness::start(json!({})).unwrap()
}

#[test]
fn transfers_the_state_of_a_plugin_that_implements_the_old_names() {
    let old = start::<OldNames>();
    assert_eq!(old.export_state().unwrap(), (1, b"7".to_vec()));
    old.import_state(1, b"8").unwrap();
    assert_eq!(old.export_state().unwrap(), (1, b"8".to_vec()));
    assert!(
        matches!(old.import_state(3, b"9"), Err(LifecycleError::Refused(why)) if why == "unknown layout 3")
    );
}

#[test]
fn transfers_the_state_of_a_plugin_that_implements_the_new_names() {
    let old = start::<NewNames>();
    old.import_state(2, b"42").unwrap();
    let (schema, state) = old.export_state().unwrap();
    assert_eq!((schema, &state[..]), (2, &b"42"[..]));

    let successor = start::<OldNames>();
    successor.import_state(schema, &state).unwrap();
    assert_eq!(successor.export_state().unwrap(), (1, b"42".to_vec()));
}

#[test]
#[expect(deprecated, reason = "the old names of the harness work until 1.0")]
fn keeps_the_old_names_of_the_harness() {
    let harness = start::<NewNames>();
    harness.take_over(1, b"5").unwrap();
    assert_eq!(harness.hand_over().unwrap(), (2, b"5".to_vec()));
}

#[test]
fn names_the_function_that_is_not_implemented() {
    let harness = start::<Incomplete>();
    let exported = harness.export_state().unwrap_err().to_string();
    assert!(exported.contains("does not implement export_state"), "{exported}");
    let imported = harness.import_state(1, b"").unwrap_err().to_string();
    assert!(imported.contains("does not implement import_state"), "{imported}");

    let stateless = start::<Waits>().export_state().unwrap_err().to_string();
    assert!(stateless.contains("STATE"), "{stateless}");
}

#[test]
fn moves_the_clock_when_a_call_waits_for_a_sleep() {
    let waits = start::<Waits>();
    assert_eq!(waits.call("waits.sleep", 1500).unwrap(), 1500);

    let mut running = waits.begin("waits.sleep", 100).unwrap();
    assert!(running.poll().is_none());
    waits.advance(Duration::from_millis(99));
    assert!(running.poll().is_none());
    waits.advance(Duration::from_millis(1));
    assert_eq!(running.poll().unwrap().unwrap(), 100);

    let after_its_end = running.poll().unwrap().unwrap_err();
    assert!(after_its_end.message().contains("polled after its end"), "{after_its_end:?}");
}

#[test]
fn answers_calls_to_other_methods_by_closures() {
    let waits = start::<Waits>();
    assert_eq!(waits.call("waits.forward", 1).unwrap_err().code(), INTERNAL_ERROR, "no answer is set");
    waits.answer("other.method", |params| Ok(json!([params])));
    assert_eq!(waits.call("waits.forward", 1).unwrap(), json!([1]));
}

#[test]
fn reports_panics_and_log_lines() {
    let waits = start::<Waits>();
    let error = waits.call("waits.panic", "on purpose").unwrap_err();
    assert_eq!((error.code(), error.message()), (INTERNAL_ERROR, "the method panicked: on purpose"));
    assert_eq!(waits.log(), [(Level::Info, "started".to_owned())]);
    assert_eq!(waits.call("waits.unknown", ()).unwrap_err().code(), METHOD_NOT_FOUND);
    waits.stop().unwrap();
}
