//! Tests of what is probed before it starts.

use std::ffi::OsStr;
use std::sync::Weak;
use std::time::SystemTime;

use super::plugin::Content;
use crate::config::{Config, Isolation, ReplacePolicy};
use crate::loader::{FileStamp, LoadErrorReason, Prober};
use crate::plugin::GenerationFactory;
use crate::plugin::test_support::{memory_crash_record, no_worker_program};
use crate::reload::generation_starter::{GenerationStarter, ProbingStarter};
use crate::routing::Dispatcher;
use crate::shutdown::Shutdown;

#[test]
fn does_not_probe_a_plugin_whose_worker_does_the_same() {
    let factory =
        GenerationFactory::new(Weak::<Dispatcher>::new(), memory_crash_record(), no_worker_program());
    let prober = Prober::program("/no/such/program");
    let starter = ProbingStarter::new(prober, factory, Shutdown::default());
    let stamp = FileStamp::invented(1, SystemTime::UNIX_EPOCH, SystemTime::now());
    let staged = Content::new("one").stage(OsStr::new("libdevice.so"), stamp).unwrap();
    let probe = |isolation, replace| {
        let mut config = Config::default();
        let own = config.plugin.entry("device".to_owned()).or_default();
        (own.isolation, own.replace) = (isolation, replace);
        starter.probe(&staged, &config).map_err(|refused| refused.reason)
    };

    assert_eq!(probe(Isolation::Worker, ReplacePolicy::StartFirst), Ok(()));
    let failed = Err(LoadErrorReason::ProbeFailed);
    assert_eq!(probe(Isolation::Worker, ReplacePolicy::StopFirst), failed);
    assert_eq!(probe(Isolation::InProcess, ReplacePolicy::StartFirst), failed);
}
