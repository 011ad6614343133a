//! The host asks plugins for descriptions of their methods, in the probe or in a worker. A fault in
//! an answer makes only that part unknown.

use std::time::Duration;

use jackfield::loader::{PluginDescription, PluginDirectory, Prober, StagedPlugin};
use serde_json::Value;

use crate::reload::operator::Operator;
use crate::support::build::{artifacts, root};
use crate::support::host::install;
use crate::support::scratch::Scratch;
use crate::support::{CEILING, HostBuilder, HostProcess};

const ISOLATIONS: [&str; 2] = ["in-process", "worker"];

/// The methods of the fixture `describes_badly`. The variable names the faults of their schemas.
const METHODS: [&str; 9] = [
    "bad.panics",
    "bad.hangs",
    "bad.aborts",
    "bad.exits",
    "bad.large",
    "bad.invalid",
    "bad.remote",
    "bad.long",
    "bad.leaves_thread",
];

fn builder(plugin: &str, isolation: &str) -> HostBuilder {
    let config = format!(
        "log.level = \"debug\"\n[plugins]\nprobe = \"8s\"\nwatch = false\n\
        [plugin.{plugin}]\nisolation = \"{isolation}\"\n"
    );
    HostProcess::builder().plugin(plugin).config(&config)
}

/// Starts a host with `describes_badly` and these faults. All its methods work.
fn start(faults: &str, isolation: &str) -> HostProcess {
    start_with(faults, isolation, "")
}

/// As [`start`], with further keys of the plugin.
fn start_with(faults: &str, isolation: &str, keys: &str) -> HostProcess {
    let builder = builder("describes_badly", isolation).config(keys);
    let host = builder.variable("DESCRIBES_BADLY", faults).start();
    let mut peer = host.peer();
    for method in METHODS {
        assert_eq!(peer.result(method, &Value::from(7)), 7, "{method} with {faults} in {isolation}");
    }
    host
}

/// Returns the lines of the host that say what is known about a plugin.
fn described(host: &HostProcess) -> Vec<String> {
    host.log_lines().into_iter().filter(|line| line.contains(": described ")).collect()
}

/// Returns the warnings of the host.
fn warnings(host: &HostProcess) -> Vec<String> {
    host.log_lines().into_iter().filter(|line| line.contains("WARN")).collect()
}

#[track_caller]
fn assert_known(host: &HostProcess, methods: usize, params: usize, results: usize) {
    let [line] = described(host).try_into().unwrap_or_else(|lines| panic!("one line in {lines:?}"));
    let expected =
        format!("described {methods} methods: the params of {params} and the result of {results} are known");
    assert!(line.contains(&expected), "{expected:?} in {line}");
}

/// Returns what clients can learn about the methods of the fixture `described`.
fn discovered(host: &HostProcess) -> Vec<Value> {
    let document = host.peer().result("rpc.discover", &Value::Null);
    let methods = document["methods"].as_array().expect("a list").iter();
    let is_described = |method: &&Value| method["name"].as_str().is_some_and(|name| name.contains("orders."));
    methods.filter(is_described).cloned().collect()
}

#[test]
fn asks_a_plugin_once_wherever_it_runs() {
    let ways = [
        ("in-process", ""),
        ("in-process", "replace = \"stop-first\""),
        ("worker", "worker = { count = 2 }"),
        ("worker", "worker = { sandbox = {} }"),
        ("worker", "replace = \"stop-first\"\nworker = { sandbox = {} }"),
    ];
    let mut first = None;

    for (isolation, keys) in ways {
        let mut host = builder("described", isolation).config(keys).start();
        let methods = discovered(&host);
        assert!(methods.iter().any(|method| method["summary"] == "Stores an order and returns it."));
        assert_eq!(*first.get_or_insert_with(|| methods.clone()), methods, "{isolation} {keys}");

        // New settings and new workers do not change the content.
        let mut operator = Operator::connect(&host);
        let config = std::fs::read_to_string(host.path("config.toml")).expect("the configuration");
        host.scratch().write("config.toml", format!("{config}\n[plugin.described.settings]\na = 1\n"));
        operator.0.call("admin.reload", &Value::Null);
        host.wait_for_log("with its new settings");
        assert_eq!(described(&host).len(), 1, "{:?}", described(&host));
        assert_eq!(warnings(&host), [""; 0], "{isolation}");
        host.terminate();
    }
}

#[test]
fn loses_only_the_schemas_that_panic_or_are_invalid() {
    for isolation in ISOLATIONS {
        let host = start("panic large invalid remote", isolation);

        assert_known(&host, 9, 5, 9);
        let shown = warnings(&host);
        let expected = [
            "the schema of the params of bad.panics is unknown: it panicked: no schema today",
            "the schema of the params of bad.large is unknown: all documents together would be larger than 512 KiB",
            "the schema of the params of bad.invalid is unknown: the schema is invalid: ",
            "describes_badly: its description lacks 1 further part",
        ];
        assert_eq!(shown.len(), expected.len(), "{shown:?}");
        for (line, expected) in shown.iter().zip(expected) {
            assert!(line.contains(expected), "{expected:?} in {line}");
        }
    }
}

#[test]
fn loses_only_the_schema_that_hangs() {
    for isolation in ISOLATIONS {
        let host = start("hang", isolation);

        assert_known(&host, 9, 8, 9);
        let [line] = warnings(&host).try_into().unwrap_or_else(|lines| panic!("one line in {lines:?}"));
        let expected = "the schema of the params of bad.hangs is unknown: it did not return within ";
        assert!(line.contains(expected), "{line}");
        Operator::connect(&host).reload("describes_badly");
        assert!(!host.log_contains("retained"), "the host never ran the code that hangs");
    }
}

#[test]
fn keeps_what_was_said_before_a_schema_ended_the_process() {
    for (fault, method, params, end) in
        [("abort", "bad.aborts", 2, "signal 6 (SIGABRT)"), ("exit", "bad.exits", 3, "exit code 0")]
    {
        for isolation in ISOLATIONS {
            let host = start(fault, isolation);

            assert_known(&host, 9, params, 0);
            let line = host.wait_for_log(&format!("the schema of the params of {method} is unknown"));
            assert!(line.contains(end), "{line}");
            assert!(host.log_contains("its description lacks "), "{}", host.log());
        }
    }
}

#[test]
fn accepts_documents_that_are_almost_as_large_as_all_may_be() {
    for (isolation, keys) in [("in-process", ""), ("worker", "worker = { sandbox = {} }")] {
        let host = start_with("long", isolation, keys);

        assert_known(&host, 9, 9, 9);
        assert_eq!(warnings(&host), [""; 0]);
    }
}

#[test]
fn does_not_take_threads_of_a_schema_for_threads_of_the_plugin() {
    let host = start("thread", "in-process");

    assert_known(&host, 9, 9, 9);
    assert_eq!(warnings(&host), [""; 0]);
}

#[test]
fn knows_only_the_names_of_the_methods_of_the_first_api() {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("skipped: the frozen plugin is for x86_64, and this machine is {}", std::env::consts::ARCH);
        return;
    }
    for isolation in ISOLATIONS {
        let builder = builder("frozen", isolation).config("settings = { greeting = \"hello\" }");
        let file = builder.directory().join("plugins/libfrozen.so");
        install(&root().join("tests/frozen/libfrozen-api-0.1.so"), &file);
        let host = builder.start();

        let [line] = described(&host).try_into().unwrap_or_else(|lines| panic!("one line in {lines:?}"));
        assert!(line.contains("the params of 0 and the result of 0"), "{line}");
    }
}

/// Stages a fixture without a host.
fn stage(fixture: &str) -> StagedPlugin {
    let scratch = Scratch::new();
    let library = artifacts().library(fixture);
    let name = library.file_name().expect("a file");
    install(library, &scratch.path().join(name));

    let directory = PluginDirectory::open(scratch.path()).expect("a plugin directory");
    directory.stage(name, &[]).expect("a plugin")
}

/// Describes a fixture without a host.
fn describe(fixture: &str) -> PluginDescription {
    let prober = Prober::program(&artifacts().program);
    prober.describe(&stage(fixture), CEILING).expect("a description")
}

#[test]
fn describes_a_file_without_starting_it() {
    let description = describe("described");
    let create = description.contract.method("orders.create").expect("the method");
    assert_eq!(create.facts.summary.as_deref(), Some("Stores an order and returns it."));
    assert!(create.result.is_some() && create.examples.len() == 1);
    assert_eq!(description.missing, []);

    // Its `start` and its constructors are not even sound.
    assert!(describe("start_faults").missing.is_empty());
    let prober = Prober::program(&artifacts().program);
    let refused = prober.describe(&stage("constructor_crashes"), Duration::from_secs(30)).unwrap_err();
    assert_eq!(refused.reason.code(), "probe-crashed");
}
