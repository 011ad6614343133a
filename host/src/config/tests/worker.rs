//! How the keys of worker processes are read.

use std::time::Duration;

use super::super::{CrashAction, Isolation, SandboxConfig, WorkerConfig};
use super::valid;

#[test]
fn runs_plugins_in_the_host_without_a_sandbox_by_default() {
    let plugin = &valid("[plugin.x]").plugin["x"];

    assert_eq!(plugin.isolation, Isolation::InProcess);
    assert_eq!(plugin.worker, WorkerConfig::default());
    let WorkerConfig { count, memory, recycle_memory, files, grace, environment, sandbox, .. } =
        &plugin.worker;
    assert_eq!((*count, *memory, *recycle_memory, *files), (1, 256 << 20, 192 << 20, 256));
    assert_eq!((*grace, environment, sandbox), (Duration::from_secs(1), &None, &None));
    assert_eq!(valid("").plugins.crash.action, CrashAction::Quarantine);
}

#[test]
fn reads_every_key_of_a_worker() {
    let config = valid(
        r#"
[plugin.x]
isolation = "worker"
[plugin.x.worker]
count = 16
memory = "1GiB"
recycle_memory = "0B"
recycle_calls = 1_000_000
recycle_age = "24h"
grace = "250ms"
files = 64
environment = ["DATABASE_URL", "_x1"]
[plugin.x.worker.sandbox]
read = ["/etc/ssl"]
write = ["/var/lib/x", "/"]
network = true
execute = true
required = true
[plugins.crash]
action = "worker"
"#,
    );

    let sandbox = SandboxConfig {
        read: vec!["/etc/ssl".into()],
        write: vec!["/var/lib/x".into(), "/".into()],
        network: true,
        execute: true,
        required: true,
    };
    let worker = WorkerConfig {
        count: 16,
        memory: 1 << 30,
        recycle_memory: 0,
        recycle_calls: 1_000_000,
        recycle_age: Duration::from_secs(86_400),
        grace: Duration::from_millis(250),
        files: 64,
        environment: Some(vec!["DATABASE_URL".to_owned(), "_x1".to_owned()]),
        sandbox: Some(sandbox),
    };
    assert_eq!((config.plugin["x"].isolation, &config.plugin["x"].worker), (Isolation::Worker, &worker));
    assert_eq!(config.plugins.crash.action, CrashAction::Worker);
}

#[test]
fn denies_everything_in_an_empty_sandbox_and_passes_no_variable_of_an_empty_list() {
    let worker = &valid("[plugin.x.worker]\nenvironment = []\nsandbox = {}").plugin["x"].worker;

    assert_eq!(worker.sandbox, Some(SandboxConfig::default()));
    assert_eq!(worker.environment, Some(Vec::new()));
}

#[test]
fn adapts_the_memory_at_which_a_worker_is_replaced_to_its_limit() {
    let worker = &valid("[plugin.x.worker]\nmemory = '32MiB'").plugin["x"].worker;

    assert_eq!(worker.recycle_memory, 24 << 20);
}

#[test]
fn accepts_a_single_worker_of_a_stop_first_plugin() {
    valid("[plugin.x]\nreplace = 'stop-first'\nisolation = 'worker'\nworker.count = 1");
}
