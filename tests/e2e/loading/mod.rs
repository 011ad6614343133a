//! Files that are no plugins, each refused by its own reason, while the others serve.
//!
//! A file is refused by its content alone (`content`, `linked`), by where and how it lies
//! (`place`), by who signed it (`signed`), by what it does when it is opened for the first time
//! (`first_load`), or because it is not whole (`truncated`).

mod elf;
mod file_content;
mod file_permissions;
mod linked_libraries;
mod probe;
mod signatures;
mod truncated_files;

use std::path::Path;

use serde_json::{Value, json};

use crate::support::HostBuilder;
use crate::support::HostProcess;
use crate::support::program::jackfield;

/// The log says that the plugin `name` was not loaded, and why.
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

/// `plugin inspect` refuses the file, and its words begin with the reason.
#[track_caller]
fn assert_inspected(file: &Path, reason: &str) {
    let words = ["plugin".as_ref(), "inspect".as_ref(), file.as_os_str()];
    let finished = jackfield(Path::new("/"), &words);
    assert_eq!(finished.code, 1, "{}: {finished:?}", file.display());
    let start = format!("{}: {reason}: ", file.display());
    assert!(finished.stderr.starts_with(&start), "{start:?} in {finished:?}");
    assert_eq!(finished.stdout, "");
}

/// `check` reports all of these files, each by its reason, and no other.
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

/// A host with the plugin `device`, which every bad file stands beside.
fn with_bystander() -> HostBuilder {
    HostProcess::builder().plugin("device")
}

/// The bystander serves, and it alone.
#[track_caller]
fn assert_only_bystander(host: &HostProcess) {
    let update = json!({ "deviceId": "bystander", "status": "online" });
    assert_eq!(host.peer().result("device.status.update", &update)["status"], "online");
    assert_eq!(plugins(host), ["device", "system"]);
}

/// The plugins that serve, by name.
#[track_caller]
fn plugins(host: &HostProcess) -> Vec<String> {
    let info = host.info();
    let names = info["plugins"].as_array().into_iter().flatten().filter_map(|plugin| plugin["name"].as_str());
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort();
    names
}

/// The methods that a request reaches, but for the host's own.
#[track_caller]
fn methods(host: &HostProcess) -> Vec<String> {
    let methods = host.peer().result("system.methods", &Value::Null);
    let names = methods.as_array().into_iter().flatten().filter_map(Value::as_str);
    names.filter(|name| !name.starts_with("system.")).map(str::to_owned).collect()
}
