//! Tests of the methods of refused content, which are answered PLUGIN_UNAVAILABLE with the reason.

use super::plugin::Content;
use super::{Fixture, error};
use crate::loader::LoadErrorReason;
use crate::plugin::BuiltInPlugin;
use crate::routing::{RequestError, Requester};

const FILE: &str = "libdevice.so";

impl Fixture {
    /// Returns the reason that calls of the method are answered with; `None` if it is unknown.
    #[track_caller]
    pub(super) fn reason_of(&self, method: &str) -> Option<&'static str> {
        let table = self.owner.dispatcher.table.load();
        match table.find(method, Requester::Plugin).err().map(RequestError::from) {
            Some(RequestError::PluginUnavailable { reason, .. }) => reason,
            Some(RequestError::MethodNotFound(_)) => None,
            other => panic!("{method}: {other:?}"),
        }
    }

    fn serves(&self, method: &str) -> bool {
        self.owner.dispatcher.table.load().find(method, Requester::Plugin).is_ok()
    }
}

/// Returns content with this method that crashes in the probe.
fn crashing(name: &str, method: &str) -> Content {
    Content::new(name).with_method(method).failing_in_probe(LoadErrorReason::ProbeCrashed)
}

#[test]
fn names_the_reason_until_the_file_is_corrected_or_removed() {
    let mut fixture = Fixture::new();
    fixture.put(FILE, &crashing("one", "device.get"));
    assert_eq!(fixture.reason_of("device.get"), Some("probe-crashed"));

    fixture.put(FILE, &Content::new("two").with_method("device.get"));
    assert!(fixture.serves("device.get"));

    fixture.put("libother.so", &crashing("three", "other.get"));
    assert_eq!(fixture.reason_of("other.get"), Some("probe-crashed"));
    fixture.remove("libother.so");
    assert_eq!(fixture.reason_of("other.get"), None);
}

#[test]
fn names_the_reason_for_the_new_methods_beside_a_generation_that_serves() {
    let one = Content::new("one").with_method("device.get");
    let mut fixture = Fixture::new();
    fixture.put(FILE, &one);

    fixture.put(FILE, &crashing("two", "device.new").with_method("device.get"));
    assert!(fixture.serves("device.get"));
    assert_eq!(fixture.reason_of("device.new"), Some("probe-crashed"));

    fixture.put(FILE, &one);
    assert_eq!(fixture.reason_of("device.new"), None, "the refused content is no longer in the file");
}

#[test]
fn makes_no_method_known_for_a_file_that_is_not_trusted_or_whose_name_is_taken() {
    let declared = Content::new("one").with_method("device.get").declared();
    for reason in LoadErrorReason::ALL.iter().filter(|reason| reason.is_in_signature()) {
        assert_eq!(error(*reason).with_methods(&declared).methods, [""; 0], "{reason}");
    }
    for reason in [LoadErrorReason::OlderThanServing, LoadErrorReason::NameTaken] {
        assert_eq!(error(reason).with_methods(&declared).methods, [""; 0], "{reason}");
    }

    let mut fixture = Fixture::new();
    fixture.directory.write(FILE, &Content::new("one").with_method("device.get"));
    fixture.directory.make_unusable(FILE, LoadErrorReason::WritableByOthers);
    fixture.scan_complete(FILE);
    assert_eq!(fixture.reason_of("device.get"), None);
}

#[test]
fn takes_no_method_from_the_plugin_that_serves_it() {
    let mut fixture = Fixture::new();
    fixture.put(FILE, &crashing("one", "shared.get"));
    assert_eq!(fixture.reason_of("shared.get"), Some("probe-crashed"));

    fixture.put("libother.so", &Content::new("two").with_method("shared.get"));
    assert!(fixture.serves("shared.get"));

    fixture.put(FILE, &Content::new("three").with_method("shared.get").with_method("device.get"));
    assert!(fixture.serves("shared.get"));
    assert_eq!(fixture.reason_of("device.get"), Some("method-taken"));
}

#[test]
fn leaves_the_methods_of_built_in_plugins_alone() {
    let mut fixture = Fixture::new();
    let methods = jackfield_plugin_api::Methods::new()
        .inline("own.get", |(): &(), (): ()| Ok::<_, jackfield_plugin_api::Error>(()));
    fixture.owner.add_built_in(BuiltInPlugin::new("own", (), methods)).unwrap();
    fixture.owner.publish(None);

    fixture.put("libown.so", &Content::new("one").with_method("own.get").with_method("own.new"));

    assert!(fixture.serves("own.get"));
    assert_eq!(fixture.reason_of("own.new"), None);
}

#[test]
fn names_the_reason_for_methods_that_a_failed_probation_took_away() {
    let mut fixture = Fixture::new();
    fixture.put(FILE, &Content::new("one").with_method("device.get"));
    fixture.put(FILE, &Content::new("two").with_method("device.get").with_method("device.new"));
    assert!(fixture.serves("device.new"));

    fixture.fail_probation("device");

    assert!(fixture.serves("device.get"));
    assert_eq!(fixture.reason_of("device.new"), Some("probation-failed"));
}

#[test]
fn passes_on_when_to_retry() {
    let mut fixture = Fixture::new();
    fixture.put(FILE, &crashing("one", "device.get"));
    let slot = fixture.owner.slots.get_mut("device").unwrap();
    slot.refused.as_mut().unwrap().retry_after = Some(std::time::Duration::from_millis(20));

    fixture.owner.publish_refusals();

    let table = fixture.owner.dispatcher.table.load();
    let data = table.find("device.get", Requester::Plugin).err().map(RequestError::from).unwrap().data();
    let expected = r#"{"plugin":"device","reason":"probe-crashed","retry_after_ms":20}"#;
    assert_eq!(data.as_deref(), Some(expected));
}
