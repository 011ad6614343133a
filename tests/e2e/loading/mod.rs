//! Files that are not valid plugins: each is refused with its own reason, and the others serve.
//!
//! The reason is in the content (`file_content`, `linked_libraries`, `truncated_files`), in owner,
//! mode or kind (`file_permissions`), in the signature (`signatures`), or in what the code does
//! when it is first loaded (`probe`). Clients learn the reason, too (`unavailable_methods`).

mod elf;
mod file_content;
mod file_permissions;
mod linked_libraries;
mod probe;
mod signatures;
mod truncated_files;
mod unavailable_methods;

use std::path::Path;

use serde_json::{Value, json};

use crate::support::HostBuilder;
use crate::support::HostProcess;
use crate::support::program::jackfield;

/// Asserts that the log states once that the plugin was not loaded, with this reason.
#[track_caller]
fn assert_refused(host: &HostProcess, name: &str, reason: &str) {
    let (name, reason) = (format!("plugin=\"{name}\""), format!("reason=\"{reason}\""));
    let refusals: Vec<_> = host.log_lines().into_iter().filter(|line| line.contains("reason=")).collect();
    let of_it: Vec<_> = refusals.iter().filter(|line| line.contains(&name)).collect();
    assert!(
        matches!(of_it[..], [line] if line.contains(&reason) && line.contains("ERROR")),
        "{name} should be refused once, with {reason}: {of_it:#?}"
    );
}

/// Asserts that `plugin inspect` refuses the file with this reason.
#[track_caller]
fn assert_inspected(file: &Path, reason: &str) {
    let args = ["plugin".as_ref(), "inspect".as_ref(), file.as_os_str()];
    let finished = jackfield(Path::new("/"), &args);
    assert_eq!(finished.code, 1, "{}: {finished:?}", file.display());

    let start = format!("{}: {reason}: ", file.display());
    assert!(finished.stderr.starts_with(&start), "{start:?} in {finished:?}");
    assert_eq!(finished.stdout, "");
}

/// Asserts that `check` reports exactly these files, each with its reason.
#[track_caller]
fn assert_checked(directory: &Path, refused: &[(String, &str)]) {
    let finished = jackfield(directory, &["check"]);
    assert_eq!(finished.code, 78, "{finished:?}");

    for (file, reason) in refused {
        let start = format!("./plugins/{file}: {reason}: ");
        let lines: Vec<_> = finished.stderr.lines().filter(|line| line.starts_with(&start)).collect();
        assert_eq!(lines.len(), 1, "{start:?} in {finished:?}");
    }

    let faults = finished.stderr.lines().filter(|line| line.starts_with("./plugins/")).count();
    assert_eq!(faults, refused.len(), "{finished:?}");
}

/// Returns a host with the plugin `device`, which must serve beside each invalid file.
fn with_neighbour() -> HostBuilder {
    HostProcess::builder().plugin("device")
}

/// Asserts that only the neighbour `device` serves.
#[track_caller]
fn assert_only_neighbour(host: &HostProcess) {
    let update = json!({ "deviceId": "neighbour", "status": "online" });
    assert_eq!(host.peer().result("device.status.update", &update)["status"], "online");
    assert_eq!(plugins(host), ["device", "system"]);
}

/// Returns the names of the serving plugins.
#[track_caller]
fn plugins(host: &HostProcess) -> Vec<String> {
    let info = host.info();
    let names = info["plugins"].as_array().into_iter().flatten().filter_map(|plugin| plugin["name"].as_str());
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort();
    names
}

/// Returns the methods that can be called, except for those of the host.
#[track_caller]
fn methods(host: &HostProcess) -> Vec<String> {
    let methods = host.peer().result("system.methods", &Value::Null);
    let names = methods.as_array().into_iter().flatten().filter_map(Value::as_str);
    let is_own = |name: &str| name.starts_with("system.") || name == "rpc.discover";
    names.filter(|name| !is_own(name)).map(str::to_owned).collect()
}
