//! `jackfield describe`: a running host, plugin files and documents in every format, and the
//! difference of two contracts.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::older_host::OlderHost;
use crate::support::HostProcess;
use crate::support::build::{artifacts, root};
use crate::support::host::install;
use crate::support::program::{Finished, command, finish, jackfield};
use crate::support::scratch::Scratch;

/// The Markdown of the example plugins, as `describe` prints it.
const GOLDEN: &str = "tests/e2e/cli/golden/example_plugins.md";

/// Creates a directory with these plugin files.
fn directory_with(plugins: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    for plugin in plugins {
        install(artifacts().library(plugin), &scratch.join(format!("{plugin}.so")));
    }
    scratch
}

/// Runs `jackfield describe` with these arguments and returns what it prints.
#[track_caller]
fn describe(directory: &Path, args: &[&str]) -> String {
    let finished = jackfield(directory, &[&["describe"], args].concat());
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{args:?}: {finished:?}");
    finished.stdout
}

#[test]
fn describes_the_methods_of_a_host_and_of_a_file_alike() {
    let host = HostProcess::with(&["device"]);
    let files = directory_with(&["device"]);
    let file = files.join("device.so");
    let file = file.to_str().unwrap();

    for args in [&[][..], &["--openrpc"], &["--markdown"], &["--html"]] {
        let of_host = describe(host.directory(), &[&["device.status"], args].concat());
        let of_file = describe(files.path(), &[&[file, "device.status"], args].concat());

        // The head names a host or a plugin.
        let head = |text: String| text.replace("\"jackfield\"", "").replace("\"device\"", "");
        let (of_host, of_file) = (head(of_host), head(of_file));
        let differing = of_host.lines().zip(of_file.lines()).filter(|(left, right)| left != right);
        assert!(differing.count() <= 2, "{args:?}: {of_host}\n{of_file}");
        assert!(of_host.contains("device.status.update") && !of_host.contains("device.list"));
    }
    let text = describe(host.directory(), &["device.status.update"]);
    assert!(text.starts_with("device.status.update(deviceId: string, status: "), "{text}");
    assert!(text.contains("\n        deviceId: string (1..128 characters)\n"), "{text}");
}

#[test]
fn prints_the_documented_markdown_of_the_example_plugins() {
    let files = directory_with(&["device", "hello", "journal"]);

    let printed = describe(files.path(), &["--markdown", "./device.so", "./hello.so", "./journal.so"]);

    let golden = root().join(GOLDEN);
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    if printed != expected {
        let new = root().join("target/example_plugins.md");
        fs::write(&new, &printed).unwrap();
        panic!("{} has changed; if that is meant, copy {} there", golden.display(), new.display());
    }
}

#[test]
fn reads_back_the_openrpc_document_that_it_writes() {
    let files = directory_with(&["device"]);
    let document = describe(files.path(), &["--openrpc", "./device.so"]);
    files.write("device.json", &document);

    assert_eq!(describe(files.path(), &["--openrpc", "device.json"]), document);
    assert_eq!(describe(files.path(), &["device.json"]), describe(files.path(), &["./device.so"]));
    let parsed: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(parsed["info"]["title"], "device");
}

#[test]
fn reports_what_it_cannot_describe() {
    let files = directory_with(&["device"]);
    files.write("text.json", "{");
    fs::copy(files.join("device.so"), files.join("copy.so")).unwrap();
    fs::write(files.join("broken.so"), b"\x7fELF").unwrap();
    for (args, code, message) in [
        (&["./device.so", "device.lst"][..], 1, "no method is named device.lst; is \"device.list\" meant?"),
        (&["./device.so", "./copy.so"], 1, "the method \"device.list\" is in an earlier file, too"),
        (&["./broken.so"], 1, "./broken.so: "),
        (&["./missing.so"], 1, "./missing.so: cannot read it: No such file"),
        (&["text.json"], 1, "text.json: not an OpenRPC document"),
        (&["--socket", "none.sock"], 69, "no host at none.sock"),
        (&["--html", "--markdown", "./device.so"], 2, "cannot be used with"),
        (&["--json", "./device.so"], 2, "cannot be used with"),
        (&["--json"], 2, "--diff"),
    ] {
        let Finished { code: actual, stdout, stderr } =
            jackfield(files.path(), &[&["describe"], args].concat());
        assert_eq!((actual, stdout.as_str()), (code, ""), "{args:?}: {stderr}");
        assert!(stderr.contains(message), "{args:?}: {stderr}");
    }
}

/// Schema functions that panic, hang and crash are asked in a process of their own.
#[test]
fn describes_the_rest_of_a_plugin_that_describes_itself_badly() {
    let files = directory_with(&["describes_badly"]);
    let mut describe = command(&artifacts().program);
    describe.args(["describe", "./describes_badly.so"]).current_dir(files.path());

    let finished = finish(describe.env("DESCRIBES_BADLY", "panic abort"));

    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(finished.stdout.contains("bad.panics(...)"), "{finished:?}");
    assert!(finished.stdout.contains("    Panics in its schema.\n"), "{finished:?}");
    assert!(finished.stderr.contains("./describes_badly.so: note: "), "{finished:?}");
    assert!(finished.stderr.contains("no schema today"), "{finished:?}");
}

#[test]
fn says_that_a_host_without_discovery_is_older() {
    let host = OlderHost::start(|_| Some(json!({ "error": { "code": -32601, "message": "not found" } })));

    let finished = jackfield(host.directory(), &["describe", "--socket", "host.sock"]);

    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.stderr.contains("host.sock: the host is older than this program"), "{finished:?}");
}

/// Writes `NAME.json`, the document of the plugin file after an edit of its schemas.
fn write_edited(files: &Scratch, name: &str, edit: impl FnOnce(&mut Value)) {
    let mut document: Value =
        serde_json::from_str(&describe(files.path(), &["--openrpc", "./device.so"])).unwrap();
    edit(&mut document);
    files.write(&format!("{name}.json"), document.to_string());
}

/// Returns the params of `device.status.update`.
fn update_params(document: &mut Value) -> &mut Value {
    let methods = document["methods"].as_array_mut().unwrap();
    let update = methods.iter_mut().find(|method| method["name"] == "device.status.update").unwrap();
    &mut update["x-jackfield-params-schema"]
}

#[test]
fn exits_with_1_if_callers_of_the_old_contract_break() {
    let host = HostProcess::with(&["device"]);
    let files = directory_with(&["device"]);
    let socket = host.socket();
    write_edited(&files, "same", |_| ());
    files.write("host.json", describe(files.path(), &["--openrpc", "--socket", socket.to_str().unwrap()]));
    write_edited(&files, "strict", |document| {
        let params = update_params(document);
        params["properties"]["place"] = json!({ "type": "string" });
        params["required"].as_array_mut().unwrap().push(json!("place"));
    });
    write_edited(&files, "opaque", |document| {
        *update_params(document) = json!({ "not": { "type": "null" } })
    });
    write_edited(&files, "less", |document| {
        document["methods"].as_array_mut().unwrap().retain(|method| method["name"] != "device.list");
    });

    for (old, new, code, lines) in [
        ("./device.so", "same.json", 0, "compatible: callers of the old contract can go on\n"),
        (socket.to_str().unwrap(), "./device.so", 0, "compatible: callers of the old contract can go on\n"),
        ("host.json", "./device.so", 0, "compatible: callers of the old contract can go on\n"),
        (
            "same.json",
            "strict.json",
            1,
            "breaking: device.status.update: params.place: is required now\n\
          incompatible: 1 change breaks callers\n",
        ),
        ("strict.json", "same.json", 0, "compatible: callers of the old contract can go on\n"),
        (
            "./device.so",
            "less.json",
            1,
            "breaking: device.list: is missing\nincompatible: 1 change breaks callers\n",
        ),
    ] {
        let finished = jackfield(files.path(), &["describe", "--diff", old, new]);
        assert_eq!((finished.code, finished.stdout.as_str()), (code, lines), "{old} {new}: {finished:?}");
    }

    let finished = jackfield(files.path(), &["describe", "--diff", "same.json", "opaque.json", "--json"]);
    let printed: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!((finished.code, printed["verdict"].as_str()), (0, Some("unknown")), "{printed}");
    assert_eq!(printed["unknown"][0]["method"], "device.status.update");
}

#[test]
fn prints_a_page_without_scripts_and_links_to_elsewhere() {
    let host = HostProcess::with(&["device", "described"]);

    let page = describe(host.directory(), &["--html"]);

    for method in ["device.list", "orders.create", "system.ping", "rpc.discover"] {
        assert!(page.contains(&format!("<a href=\"#method-{method}\"")), "{method}");
        assert!(page.contains(&format!("<section id=\"method-{method}\">")), "{method}");
    }
    for resource in ["<script", " src=", "<link", "@import", "url("] {
        assert!(!page.contains(resource), "{resource}");
    }
}
