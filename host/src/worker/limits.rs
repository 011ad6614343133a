//! The resource limits of a worker process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::spec::WorkerLimits;

/// Sets the limits. They apply to the process and to the programs that it executes; only a process
/// with `CAP_SYS_RESOURCE` can raise them again.
///
/// A hard limit that is lower already stays as it is. Returns the limits that are in force.
///
/// # Errors
///
/// The system call failed.
pub(super) fn apply(limits: &WorkerLimits) -> rustix::io::Result<WorkerLimits> {
    let memory = lower(Resource::Data, limits.memory)?;
    let files = lower(Resource::Nofile, limits.files)?;
    // A crash is answered and reported without a core dump. The limit is 1 byte instead of 0: if
    // core_pattern is a pipe, the kernel writes the dump even at 0 (core(5)).
    lower(Resource::Core, 1)?;
    Ok(WorkerLimits { memory, files })
}

fn lower(resource: Resource, limit: u64) -> rustix::io::Result<u64> {
    let limit = getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
    setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    Ok(limit)
}
