//! `jackfield check` and `jackfield plugin inspect`, which need no running host: their output and
//! their exit codes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::program::jackfield;
use crate::support::scratch::Scratch;

/// `EX_CONFIG`: the configuration or a plugin is invalid.
const EX_CONFIG: i32 = 78;
/// The exit code of clap for invalid arguments.
const USAGE: i32 = 2;

/// Creates a directory with a configuration and these plugins.
fn directory_with(config: &str, plugins: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    scratch.directory("plugins");
    scratch.write("config.toml", config);
    for plugin in plugins {
        install(artifacts().library(plugin), &scratch.join(format!("plugins/lib{plugin}.so")));
    }
    scratch
}

#[test]
fn prints_the_number_of_plugins_and_methods() {
    let scratch = directory_with("", &["device", "hello"]);

    let finished = jackfield(scratch.path(), &["check"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""));
    assert_eq!(finished.stdout, "./config.toml: no faults; 2 plugins with 5 methods\n");

    // With a path and from another directory: paths in the file are relative to it.
    let file = scratch.join("config.toml");
    let finished = jackfield(Path::new("/"), &["check".as_ref(), "-c".as_ref(), file.as_os_str()]);
    assert_eq!(finished.stdout, format!("{}: no faults; 2 plugins with 5 methods\n", file.display()));

    assert!(!scratch.join("run").exists(), "nothing is bound");
}

#[test]
fn notes_routes_without_a_target() {
    let config = r#"
[[route]]
method = "device.*"
plugin = "device"
[[route]]
method = "device.status.set"
plugin = "device"
[[route]]
method = "devices.*"
plugin = "device"
[[route]]
method = "later.*"
plugin = "later"
[[route]]
method = "off.*"
plugin = "off"
enabled = false
"#;
    let scratch = directory_with(config, &["device"]);

    let finished = jackfield(scratch.path(), &["check"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let lines: Vec<_> = finished.stderr.lines().collect();
    assert_eq!(
        lines,
        [
            "./config.toml:5:1: note: route device.status.set: plugin \"device\" has no such method; \
             requests are answered METHOD_NOT_FOUND",
            "./config.toml:8:1: note: route devices.*: plugin \"device\" has no method that it matches; \
             requests are answered METHOD_NOT_FOUND",
            "./config.toml:11:1: note: route later.*: there is no plugin \"later\"; \
             requests are answered PLUGIN_UNAVAILABLE",
        ]
    );
}

#[test]
fn notes_a_section_for_a_plugin_that_does_not_exist() {
    let scratch = directory_with("[plugin.device]\nqueue = 7\n[plugin.devise]\nqueue = 7\n", &["device"]);

    let finished = jackfield(scratch.path(), &["check"]);

    let expected = "./config.toml:3:1: note: [plugin.devise]: there is no plugin \"devise\"; the section has no \
                    effect\n";
    assert_eq!((finished.code, finished.stderr.as_str()), (0, expected));
}

#[test]
fn notes_options_for_workers_without_effect_and_missing_paths_of_a_sandbox() {
    let config = "[plugin.device.worker.sandbox]\nread = [\"/etc\", \"/no/such\"]\n";
    let scratch = directory_with(config, &["device"]);

    let finished = jackfield(scratch.path(), &["check"]);

    let expected = [
        "./config.toml:1:9: note: [plugin.device.worker] has no effect while plugin \"device\" runs in the host; \
         set isolation = \"worker\"",
        "./config.toml:1:9: note: [plugin.device.worker.sandbox]: /no/such does not exist, or cannot be seen by this \
         user; a worker cannot use it, even if it is created later",
    ];
    assert_eq!((finished.code, finished.stderr.lines().collect::<Vec<_>>()), (0, expected.to_vec()));

    scratch.write("config.toml", &format!("[plugin.device]\nisolation = \"worker\"\n{config}"));
    let finished = jackfield(scratch.path(), &["check"]);
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
}

#[test]
fn finds_several_workers_of_a_plugin_that_exports_state() {
    let config = "[plugin.counter_v1]\nisolation = \"worker\"\nworker = { count = 2 }\n";
    let scratch = directory_with(config, &["counter_v1"]);

    let finished = jackfield(scratch.path(), &["check"]);

    let expected = "too-many-workers: the plugin exports its state, so only one process can run it, but \
                    plugin.counter_v1.worker.count is 2; set it to 1";
    assert!(finished.code == EX_CONFIG && finished.stderr.contains(expected), "{finished:?}");
}

#[test]
fn notes_a_listener_for_a_method_that_does_not_exist() {
    let listener = |socket: &str, method: &str| {
        format!("[[listener]]\nsocket = \"{socket}\"\nframing = \"line\"\nmethod = \"{method}\"\n")
    };
    let methods =
        [listener("run/a", "device.list"), listener("run/b", "system.echo"), listener("run/c", "no.such")];
    let scratch = directory_with(&methods.concat(), &["device"]);

    let finished = jackfield(scratch.path(), &["check"]);

    let expected = "./config.toml:9:1: note: listener.method: no plugin has the method no.such; every line is answered \
                    with an error\n";
    assert_eq!((finished.code, finished.stderr.as_str()), (0, expected));
}

#[test]
fn finds_users_and_groups_that_do_not_exist() {
    let config = "[[listener]]\nsocket = \"run/a.sock\"\ngroup = \"no-such-group\"\n";
    let scratch = directory_with(config, &[]);

    let finished = jackfield(scratch.path(), &["check"]);

    let expected = "./config.toml:1:1: listener.group: the group \"no-such-group\" does not exist; write the name of an \
                    existing group\n";
    assert_eq!((finished.code, finished.stderr.as_str()), (EX_CONFIG, expected));

    scratch.write(
        "config.toml",
        "[[listener]]\nallow = { users = [\"no-such-user\"], groups = [\"no-such-group\"] }\n",
    );
    let finished = jackfield(scratch.path(), &["check"]);

    assert_eq!(finished.code, EX_CONFIG);
    for missing in ["the user \"no-such-user\" does not exist", "the group \"no-such-group\" does not exist"]
    {
        assert!(finished.stderr.contains(missing), "{finished:?}");
    }
}

#[test]
fn finds_settings_that_a_plugin_refuses_only_if_it_may_run_the_plugin() {
    let config = "[plugin.device]\nsettings = { history = \"many\" }\n";
    let scratch = directory_with(config, &["device", "hello"]);

    let finished = jackfield(scratch.path(), &["check"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""));

    let finished = jackfield(scratch.path(), &["check", "--probe"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (EX_CONFIG, ""), "{finished:?}");
    let [fault] = &finished.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{finished:?}") };
    assert!(fault.starts_with("./plugins/libdevice.so: start-failed: "), "{fault}");
    assert!(
        fault.contains("history") && fault.ends_with("; its settings are in ./config.toml:1:1"),
        "{fault}"
    );

    scratch.write("config.toml", "[plugin.device.settings]\nhistory = 7\n");
    let finished = jackfield(scratch.path(), &["check", "--probe"]);
    assert_eq!(
        (finished.code, finished.stdout.as_str()),
        (0, "./config.toml: no faults; 2 plugins with 5 methods\n"),
        "{finished:?}"
    );

    // A plugin that the host may be running is not started a second time.
    scratch.write(
        "config.toml",
        "[plugin.device]\nreplace = \"stop-first\"\nsettings = { history = \"many\" }\n",
    );
    let finished = jackfield(scratch.path(), &["check", "--probe"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(finished.stderr.contains("its settings are not checked"), "{finished:?}");
}

#[test]
fn lists_invalid_plugins_by_name() {
    let scratch = directory_with("", &["device", "no_note", "claims_device", "other_api"]);
    fs::write(scratch.join("plugins/text.so"), "no library").expect("a file");

    let finished = jackfield(scratch.path(), &["check"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (EX_CONFIG, ""));

    let starts: Vec<_> =
        finished.stderr.lines().map(|line| line.splitn(3, ": ").take(2).collect::<Vec<_>>()).collect();
    let expected = [
        ["./plugins/libdevice.so", "method-taken"],
        ["./plugins/libno_note.so", "no-manifest"],
        ["./plugins/libother_api.so", "api-version"],
        ["./plugins/text.so", "not-elf"],
    ];
    assert_eq!(starts, expected, "{}", finished.stderr);
}

#[test]
fn prints_the_facts_about_a_plugin_file() {
    let device = artifacts().library("device");
    let args = |json: bool| {
        let mut args = vec!["plugin".as_ref(), "inspect".as_ref(), device.as_os_str()];
        if json {
            args.push("--json".as_ref());
        }
        jackfield(Path::new("/"), &args)
    };

    let table = args(false);
    assert_eq!((table.code, table.stderr.as_str()), (0, ""));

    let document = args(true);
    assert_eq!((document.code, document.stderr.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&document.stdout).expect("JSON");

    let size = fs::metadata(device).expect("its length").len();
    assert_eq!(document["name"], "device");
    assert_eq!(document["file"], device.to_str().expect("UTF-8"));
    assert_eq!(document["size"], size);

    let (hash, build_id) =
        (document["hash"].as_str().expect("hex"), document["build_id"].as_str().expect("hex"));
    assert_eq!(hash.len(), 64);
    assert!(hash.bytes().chain(build_id.bytes()).all(|byte| byte.is_ascii_hexdigit()));
    assert!(document["needed"].as_array().is_some_and(|needed| needed.contains(&json!("libc.so.6"))));

    let manifest = &document["manifest"];
    assert_eq!(
        (&manifest["package"], &manifest["panic"]),
        (&json!("jackfield-plugin-device"), &json!("unwind"))
    );

    let methods: Vec<_> = manifest["methods"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|m| (m["name"].clone(), m["run"].clone()))
        .collect();
    let expected = [
        ("device.status.update", "inline"),
        ("device.status.get", "inline"),
        ("device.list", "inline"),
        ("device.report", "async"),
    ];
    assert_eq!(methods, expected.map(|(name, run)| (json!(name), json!(run))));

    // The table contains the same facts, one per line.
    let version = manifest["version"].as_str().expect("text");
    let api = manifest["api"].as_str().expect("text");
    let min_host = manifest["min_host"].as_str().expect("text");
    let lines = [
        "plugin    device".to_owned(),
        format!("package   jackfield-plugin-device {version}"),
        format!("api       {api}"),
        format!("host API  {min_host} or later"),
        format!("hash      {hash}"),
        format!("build id  {build_id}"),
        format!("size      {size} bytes"),
        "signed    no".to_owned(),
    ];
    let printed: Vec<_> = table.stdout.lines().collect();
    assert_eq!(printed[..lines.len()], lines);
    assert!(printed[lines.len()].starts_with("needs     ") && printed[lines.len()].contains("libc.so.6"));
    let methods: Vec<_> =
        printed[lines.len() + 1..].iter().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(methods, expected.map(|(name, run)| vec!["method", name, run]));
}

#[test]
fn prints_the_static_tls_of_a_plugin_file() {
    let file = artifacts().library("static_tls").to_str().expect("UTF-8");

    let table = jackfield(Path::new("/"), &["plugin", "inspect", file]);
    let document = jackfield(Path::new("/"), &["plugin", "inspect", file, "--json"]);

    let document: Value = serde_json::from_str(&document.stdout).expect("JSON");
    let bytes = document["static_tls"].as_u64().expect("a size");
    assert!(table.stdout.contains(&format!("\ntls       static, {bytes} bytes")), "{table:?}");
}

#[test]
fn reports_refused_files_as_text_and_json() {
    let scratch = Scratch::new();
    scratch.write("libtext.so", "no library");

    let finished = jackfield(scratch.path(), &["plugin", "inspect", "libtext.so", "--json"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (1, ""));
    let document: Value = serde_json::from_str(&finished.stderr).expect("JSON");

    assert_eq!(
        (&document["file"], &document["refused"]["reason"]),
        (&json!("libtext.so"), &json!("not-elf"))
    );
    assert!(document["refused"]["detail"].is_string());

    for (file, reason) in [("nowhere.so", "not-found"), ("libtext.txt", "file-name"), ("/", "file-name")] {
        let finished = jackfield(scratch.path(), &["plugin", "inspect", file]);
        assert_eq!(finished.code, 1);
        assert!(finished.stderr.starts_with(&format!("{file}: {reason}: ")), "{finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    }
}

#[test]
fn rejects_unknown_commands_and_prints_help() {
    let scratch = directory_with("", &[]);

    for args in [&["no-such-command"][..], &["serve", "--no-such-word"], &["plugin"], &["plugin", "inspect"]]
    {
        let finished = jackfield(scratch.path(), args);
        assert_eq!((finished.code, finished.stdout.as_str()), (USAGE, ""), "{args:?}: {finished:?}");
        assert!(finished.stderr.contains("Usage:"), "{finished:?}");
    }

    let version = jackfield(scratch.path(), &["--version"]);
    assert_eq!(
        (version.code, version.stdout.as_str()),
        (0, concat!("jackfield ", env!("CARGO_PKG_VERSION"), "\n"))
    );

    let help = jackfield(scratch.path(), &["--help"]);
    assert_eq!(help.code, 0);
    for command in ["serve", "check", "call", "plugin"] {
        assert!(help.stdout.contains(&format!("  {command} ")), "{command} in {}", help.stdout);
    }
}
