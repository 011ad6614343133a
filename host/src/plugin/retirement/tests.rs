//! The retirement of a built-in plugin.

use jackfield_plugin_api::{Error, Methods};

use super::*;
use crate::config::Config;
use crate::plugin::BuiltInPlugin;
use crate::plugin::test_support::start_built_in;

struct NoIoThreads;

impl IoThreadReplacer for NoIoThreads {
    fn replace_all(&self, _until: Instant) -> usize {
        unreachable!("a built-in plugin has no code to close")
    }
}

fn generation() -> Arc<Generation> {
    let methods = Methods::new().blocking("t.nothing", |_: &()| Ok::<_, Error>(()));
    start_built_in(BuiltInPlugin::new("t", (), methods), &Config::default())
}

#[test]
fn waits_until_nothing_holds_the_generation() {
    let generation = generation();
    let held = Arc::clone(&generation);
    let retired = thread::spawn(|| Generation::retire(generation, &EndDeadline::default(), &NoIoThreads));
    thread::sleep(10 * POLL_INTERVAL);
    assert!(!retired.is_finished());
    drop(held);
    assert!(matches!(retired.join().unwrap(), RetirementOutcome::Unloaded));
}

#[test]
fn retains_a_generation_whose_calls_have_not_ended_at_the_deadline() {
    let generation = generation();
    let _held = [Arc::clone(&generation), Arc::clone(&generation)];
    let deadline = EndDeadline::default();
    deadline.set(Instant::now());
    deadline.set(Instant::now() + Duration::from_secs(3600));

    let outcome = Generation::retire(generation, &deadline, &NoIoThreads);
    let RetirementOutcome::Retained(reason) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reason.to_string(), "2 calls did not end");
}
