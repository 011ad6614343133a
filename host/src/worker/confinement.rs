//! Confines a worker process before it runs any code of its plugin: limits, `no_new_privs` and, if
//! it is configured, a sandbox.
//!
//! The order matters. Rules for files are made while the process may still open them; capabilities
//! are dropped before system calls are refused. All of it holds for the threads and programs of the
//! process, and none of it can be undone.

use std::fs;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

use super::enforcement::Enforcement;
use super::spec::{SandboxSpec, WorkerLimits};
use super::{landlock_rules, limits, syscall_filter};
use crate::loader::{LoadError, LoadErrorReason};

/// Applies the limits and the sandbox to this process, which must have a single thread. Returns one
/// line about what is enforced and what is not.
///
/// # Errors
///
/// A limit cannot be set, or the sandbox is required and cannot be enforced completely. The process
/// may be confined in part, and must end.
pub(crate) fn apply(limits: &WorkerLimits, sandbox: Option<&SandboxSpec>) -> Result<String, LoadError> {
    if sandbox.is_some() {
        check_single_thread()?;
    }
    apply_to_thread(limits, sandbox)
}

/// Does so for the calling thread, and for all threads and programs that it will start.
fn apply_to_thread(limits: &WorkerLimits, sandbox: Option<&SandboxSpec>) -> Result<String, LoadError> {
    let failed = |what: &str, error: Errno| {
        LoadError::of_system(LoadErrorReason::NoResources, format_args!("the worker {what}"), &error.into())
    };
    let in_force = limits::apply(limits).map_err(|error| failed("cannot limit its resources", error))?;
    set_no_new_privs(true).map_err(|error| failed("cannot set no_new_privs", error))?;

    let mut report = Enforcement::default();
    report.enforced.push(format!("memory to {} MiB", in_force.memory >> 20));
    report.enforced.push(format!("descriptors to {}", in_force.files));
    report.enforced.push("new privileges".to_owned());
    match sandbox {
        Some(sandbox) => confine(sandbox, &mut report),
        None => report.open.push("everything else, because there is no sandbox".to_owned()),
    }
    if sandbox.is_some_and(|sandbox| sandbox.required) && !report.missing.is_empty() {
        return Err(unavailable(&report));
    }
    Ok(report.to_string())
}

/// Rules and filters apply to the threads that exist, one by one. A thread that was forgotten would
/// be outside of the sandbox.
fn check_single_thread() -> Result<(), LoadError> {
    let threads = fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads == 1 {
        return Ok(());
    }
    let detail = format_args!("the worker has {threads} threads before its sandbox; please report this");
    Err(LoadError::new(LoadErrorReason::SandboxUnavailable, detail))
}

fn confine(sandbox: &SandboxSpec, report: &mut Enforcement) {
    landlock_rules::apply(sandbox, report);

    match drop_capabilities() {
        Ok(()) => report.enforced.push("capabilities".to_owned()),
        Err(error) => report.missing.push(format!("capabilities ({error})")),
    }

    match syscall_filter::install(std::process::id(), sandbox.network, sandbox.execute) {
        Ok(()) => {
            let network = (!sandbox.network).then_some("network");
            let programs = (!sandbox.execute).then_some("programs");
            let enforced = ["system calls", "signals"].into_iter().chain(network).chain(programs);
            report.enforced.extend(enforced.map(str::to_owned));
        }
        Err(error) => report.missing.push(format!("system calls ({error})")),
    }
}

/// Drops all capabilities. With `no_new_privs`, executing a program does not return them.
fn drop_capabilities() -> rustix::io::Result<()> {
    let empty = CapabilitySet::empty();
    let none = CapabilitySets { effective: empty, permitted: empty, inheritable: empty };
    // A service without capabilities may not be permitted to set them.
    if capabilities(None)? == none { Ok(()) } else { set_capabilities(None, none) }
}

fn unavailable(report: &Enforcement) -> LoadError {
    let missing = report.missing.join(", ");
    let detail = format_args!(
        "the sandbox of the worker is required, and this system does not restrict: {missing}; use a kernel that does, \
         or remove required from the table worker.sandbox of the plugin"
    );
    LoadError::new(LoadErrorReason::SandboxUnavailable, detail)
}

#[cfg(test)]
mod tests;
