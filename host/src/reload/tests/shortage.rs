//! Tests of files that are loaded again, because the system had run out of something.

use std::time::Duration;

use super::Fixture;
use super::plugin::Content;
use crate::loader::LoadErrorReason;

const FILE: &str = "libdevice.so";
const PLUGIN: &str = "device";

#[test]
fn retries_a_shortage_also_if_the_directory_is_not_watched() {
    let one = Content::new("one");
    let mut fixture = Fixture::new();
    fixture.put(FILE, &one.clone().failing_in_probe(LoadErrorReason::NoResources));
    fixture.contents.add(&one);

    fixture.owner.retry_shortages();
    fixture.assert_refused(PLUGIN, LoadErrorReason::NoResources);

    fixture.clock.advance(Duration::from_secs(1));
    fixture.owner.retry_shortages();
    fixture.assert_serves(PLUGIN, &one);
}

#[test]
fn loads_changed_content_at_once_although_a_shortage_is_retried_later() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = Fixture::new();
    fixture.put(FILE, &one.failing_in_probe(LoadErrorReason::NoResources));

    fixture.put(FILE, &two);

    fixture.assert_serves(PLUGIN, &two);
}

#[test]
fn does_not_retry_a_refusal_that_no_shortage_has_caused() {
    let one = Content::new("one");
    let mut fixture = Fixture::new();
    fixture.put(FILE, &one.clone().failing_in_probe(LoadErrorReason::NoResources));
    fixture.contents.add(&one.clone().failing_in_probe(LoadErrorReason::StartFailed));
    fixture.clock.advance(Duration::from_secs(1));
    fixture.owner.retry_shortages();
    fixture.contents.add(&one);

    fixture.clock.advance(Duration::from_secs(600));
    fixture.owner.retry_shortages();
    assert!(!fixture.scan());

    fixture.assert_refused(PLUGIN, LoadErrorReason::StartFailed);
}
