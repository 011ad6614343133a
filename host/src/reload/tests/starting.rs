//! Tests of the start of the host, which loads several files at a time.

use std::sync::{Arc, Mutex};

use super::Fixture;
use super::plugin::Content;
use crate::loader::LoadErrorReason;
use crate::reload::StartProgress;
use crate::sync::lock;

/// The finished files and all files, as they were reported.
type Reports = Vec<(usize, usize)>;

/// Loads these files as the start of a host does. Returns what was reported meanwhile, too.
fn start(files: &[(&str, &Content)]) -> (Fixture, Reports) {
    let mut fixture = Fixture::new();
    for (file, content) in files {
        fixture.directory.write(file, content);
    }

    let reports: Arc<Mutex<Reports>> = Arc::default();
    let reported = Arc::clone(&reports);
    fixture.owner.load_all(&move |StartProgress { finished, total, .. }| {
        lock(&reported).push((finished, total));
    });

    let reports = lock(&reports).clone();
    (fixture, reports)
}

fn plain(number: usize) -> Content {
    Content::new(&format!("content {number}"))
}

#[test]
fn numbers_generations_in_the_order_of_the_files() {
    let contents: Vec<_> = (0..9).map(plain).collect();
    let names: Vec<_> = (0..9).map(|number| format!("p{number}")).collect();
    let files: Vec<_> = names.iter().map(|name| format!("lib{name}.so")).collect();
    let files: Vec<_> = files.iter().map(String::as_str).zip(&contents).collect();

    let (fixture, _) = start(&files);

    let numbers: Vec<_> = names.iter().map(|name| fixture.generation(name).identity.number).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[test]
fn gives_a_method_to_the_first_file_that_serves() {
    let first = Content::new("first").with_method("m");
    let second = Content::new("second").with_method("m");

    let (fixture, _) = start(&[("liba.so", &first), ("libb.so", &second)]);
    fixture.assert_serves("a", &first);
    fixture.assert_refused("b", LoadErrorReason::MethodTaken);

    let unprobed = first.clone().failing_in_probe(LoadErrorReason::ProbeCrashed);
    let (fixture, _) = start(&[("liba.so", &unprobed), ("libb.so", &second)]);
    fixture.assert_refused("a", LoadErrorReason::ProbeCrashed);
    fixture.assert_serves("b", &second);

    let unstarted = first.failing_to_start();
    let third = Content::new("third").with_method("m").with_method("n");
    let (fixture, _) = start(&[("liba.so", &unstarted), ("libb.so", &second), ("libc.so", &third)]);
    fixture.assert_serves("b", &second);
    fixture.assert_refused("c", LoadErrorReason::MethodTaken);
}

#[test]
fn gives_a_plugin_name_to_the_first_file_that_serves() {
    let (first, second) = (Content::new("first"), Content::new("second"));

    let (fixture, _) = start(&[("libtwin.so", &first), ("twin.so", &second)]);
    fixture.assert_serves("twin", &first);
    assert_eq!(fixture.count("plugins_refused"), 1);

    let unstarted = first.failing_to_start();
    let (fixture, _) = start(&[("libtwin.so", &unstarted), ("twin.so", &second)]);
    fixture.assert_serves("twin", &second);
}

#[test]
fn reports_each_step_until_all_files_are_finished() {
    let bad = Content::new("bad").failing_in_probe(LoadErrorReason::ProbeCrashed);
    let good = Content::new("good");

    let (_, reports) = start(&[("liba.so", &bad), ("libb.so", &good)]);

    // The beginning, two probes, the refusal, and one start.
    assert_eq!(reports, [(0, 2), (0, 2), (0, 2), (1, 2), (2, 2)]);
    assert_eq!(start(&[]).1, []);
}

#[test]
fn loads_nothing_once_the_host_ends() {
    let mut fixture = Fixture::new();
    fixture.directory.write("liba.so", &Content::new("one"));
    fixture.owner.shutdown.begin();

    fixture.owner.load_all(&|_| ());

    assert!(!fixture.is_routed("a"));
    assert_eq!(fixture.count("plugins_refused"), 0);
}
