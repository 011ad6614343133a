//! Plugins in C: `counter.c`, built with the header of the plugin API, in the host and in a worker.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::admin::{self, plugin_row};
use crate::support::build::root;
use crate::support::hello::{CAN_EXTEND, agree};
use crate::support::host::install;
use crate::support::peer::{INTERNAL_ERROR, INVALID_PARAMS, PLUGIN_PANICKED};
use crate::support::program::{command, finish, jackfield};
use crate::support::scratch::Scratch;
use crate::support::{HostProcess, wait_until};

const RELOADS: usize = 100;

/// Compiles the counter with these options, and returns the file.
fn compile(scratch: &Scratch, options: &[&str]) -> PathBuf {
    compile_source(scratch, &root().join("tests/e2e/api/counter.c"), options)
}

fn compile_source(scratch: &Scratch, source: &Path, options: &[&str]) -> PathBuf {
    let file = scratch.join("libcounter.so");
    let mut cc = command("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-shared", "-fPIC", "-O1", "-fvisibility=hidden"]);
    cc.arg("-I").arg(root().join("plugin-api/include")).args(options).arg("-o").arg(&file);
    let finished = finish(cc.arg(source));
    assert!(finished.code == 0 && finished.stderr.is_empty(), "{finished:?}");
    file
}

/// Starts a host with the counter and with `hello`.
fn start(isolation: &str, options: &[&str]) -> HostProcess {
    let scratch = Scratch::new();
    let file = compile(&scratch, options);
    let config = format!("[plugins]\nwatch = false\n[plugin.counter]\nisolation = \"{isolation}\"\n");
    let builder = HostProcess::builder().plugin("hello").config(&config);
    install(&file, &builder.directory().join("plugins/libcounter.so"));
    builder.start()
}

fn check_calls(isolation: &str) {
    let host = start(isolation, &[]);
    let mut peer = host.peer();

    for (method, count) in [("c.add", 1), ("c.slow", 2), ("c.later", 3), ("c.add", 4)] {
        assert_eq!(peer.result(method, &Value::Null), count, "{method}");
    }
    let error = peer.call("c.fail", &json!(1)).error(404);
    assert_eq!((&error["message"], &error["data"]), (&json!("no such counter"), &json!({ "asked": true })));
    peer.call("c.fail", &Value::Null);
    assert_eq!(peer.result("c.forward", &json!({ "name": "Ada" })), "hello, Ada");
    peer.call("c.forward", &json!({})).error(INVALID_PARAMS);
    assert!(peer.result("c.caller", &Value::Null)["local"]["pid"].is_u64());
    peer.call("c.reverse", &json!("x")).error(INVALID_PARAMS);
    host.wait_for_log("the counter starts");

    let mut other = host.peer();
    agree(&mut other, CAN_EXTEND);
    let described = other.result("rpc.discover", &Value::Null);
    let methods = described["methods"].as_array().expect("methods");
    let add = methods.iter().find(|method| method["name"] == "c.add").expect("the method");
    assert_eq!(add["result"]["schema"]["type"], "integer");
}

fn check_reloads(isolation: &str) {
    let host = start(isolation, &[]);
    let mut peer = host.peer();
    let mut operator = admin::connect(&host);

    for reload in 0..RELOADS {
        for (method, counted) in [("c.add", 1), ("c.slow", 2), ("c.later", 3)] {
            assert_eq!(peer.result(method, &Value::Null), 3 * reload + counted, "the state is kept");
        }
        let reloaded = operator.result("admin.plugin.reload", &json!({ "name": "counter" }));
        assert_eq!(reloaded[0]["outcome"], "published", "{reloaded}");
    }

    wait_until("all generations are unloaded", || {
        plugin_row(&host, "counter")["draining"].as_array().is_some_and(Vec::is_empty)
    });
    let row = plugin_row(&host, "counter");
    assert_eq!((&row["unloaded"], &row["retained"]), (&json!(RELOADS), &json!([])), "{row}");
}

#[test]
fn answers_calls_of_every_kind_in_the_host() {
    check_calls("in-process");
}

#[test]
fn answers_calls_of_every_kind_in_a_worker() {
    check_calls("worker");
}

#[test]
fn keeps_its_state_through_a_hundred_reloads_in_the_host() {
    check_reloads("in-process");
}

#[test]
fn keeps_its_state_through_a_hundred_reloads_in_a_worker() {
    check_reloads("worker");
}

#[test]
fn answers_the_mistakes_of_a_plugin_with_errors_and_serves_others() {
    for (mistake, method, code, logged) in [
        ("STATUS", "c.add", PLUGIN_PANICKED, "it returned an unknown status"),
        ("LENGTH", "c.add", PLUGIN_PANICKED, "its output has an invalid length"),
        ("FUTURE", "c.later", PLUGIN_PANICKED, "the method has written no future"),
        ("PENDING", "c.add", PLUGIN_PANICKED, "it is not async, but returned that it is pending"),
        ("NOTHING", "c.add", PLUGIN_PANICKED, "it ended without a result"),
        ("NULL", "c.later", PLUGIN_PANICKED, "the method has written no future"),
        ("JSON", "c.add", INTERNAL_ERROR, ""),
        ("UTF8", "c.add", INTERNAL_ERROR, ""),
    ] {
        let host = start("in-process", &[&format!("-DMISTAKE_{mistake}")]);
        let mut peer = host.peer();
        peer.call(method, &Value::Null).error(code);
        host.wait_for_log(logged);
        assert_eq!(peer.result("hello.greet", &json!({ "name": "Ada" })), "hello, Ada", "{mistake}");
    }
}

#[test]
fn refuses_a_plugin_whose_start_fails() {
    let scratch = Scratch::new();
    let file = compile(&scratch, &[]);
    let config = "[plugin.counter.settings]\nmode = \"refuse\"\n";
    let builder = HostProcess::builder().plugin("hello").config(config);
    install(&file, &builder.directory().join("plugins/libcounter.so"));
    let host = builder.start();

    let row = plugin_row(&host, "counter");
    assert_eq!(row["refused"]["reason"], "start-failed", "{row}");
    assert!(row["refused"]["detail"].as_str().is_some_and(|detail| detail.contains("the settings say so")));
}

#[test]
fn is_inspected_without_running_any_code() {
    let scratch = Scratch::new();
    let file = compile(&scratch, &[]);

    let inspected = jackfield(scratch.path(), &["plugin", "inspect", file.to_str().expect("UTF-8")]);

    assert_eq!(inspected.code, 0, "{inspected:?}");
    for part in ["counter", "c.later", "0.1.0", "abi       C"] {
        assert!(inspected.stdout.contains(part), "{inspected:?}");
    }
}

/// The note that holds the manifest is padded to a multiple of four bytes.
#[test]
fn accepts_manifests_of_every_length() {
    for package in ["p", "pa", "pac", "pack"] {
        let scratch = Scratch::new();
        let file = compile(&scratch, &[&format!("-DPACKAGE=\"{package}\"")]);
        let inspected = jackfield(scratch.path(), &["plugin", "inspect", file.to_str().expect("UTF-8")]);
        assert_eq!(inspected.code, 0, "{inspected:?}");
        assert!(inspected.stdout.contains(&format!("package   {package} 0.1.0")), "{inspected:?}");
    }
}

#[test]
fn serves_the_plugin_of_the_document() {
    let document = fs::read_to_string(root().join("docs/c-plugins.md")).unwrap();
    let (_, source) = document.split_once("```c\n").expect("the document has a plugin");
    let (source, _) = source.split_once("```").expect("the block ends");
    let scratch = Scratch::new();
    let source = scratch.write("first.c", source);
    let file = compile_source(&scratch, &source, &[]);
    let builder = HostProcess::builder();
    fs::create_dir_all(builder.directory().join("plugins")).unwrap();
    install(&file, &builder.directory().join("plugins/libfirst.so"));

    assert_eq!(builder.start().peer().result("first.greet", &Value::Null), "hello from C");
}
