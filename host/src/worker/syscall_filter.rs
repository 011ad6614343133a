//! The system calls that a sandboxed worker must not make (seccomp).
//!
//! The filter refuses what reaches beyond the process, and what reaches parts of the kernel that no
//! plugin needs. It permits everything else: a plugin is arbitrary code with arbitrary libraries,
//! and a list of permitted calls would break it with each new version of one of them without taking
//! any right from it. Two things keep the list of refused calls complete:
//!
//! - Calls with a number above [`LAST_REVIEWED`] do not exist for a worker (`ENOSYS`). So a call
//!   that a later kernel adds is refused until somebody has looked at it. This includes the calls
//!   of the x32 ABI, which are the same calls with other numbers.
//! - A call of another architecture, such as `int 0x80` on `x86_64`, ends the process.
//!
//! Arguments of type `int` are compared by their lower 32 bits, because the kernel ignores the
//! others.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::c_long;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter, sock_filter,
};

/// The highest system call that was reviewed: `mseal` of Linux 6.10. The numbers of newer calls are
/// the same for all architectures.
const LAST_REVIEWED: u32 = 462;

const CLONE3: u32 = 435;

/// `fchmodat2`, which libc does not name for all architectures.
const FCHMODAT2: c_long = 452;

/// The calls that are refused whatever their arguments are.
const REFUSED: &[c_long] = &[
    // Other processes: their memory, descriptors and signals.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    // The process that a pidfd stands for cannot be compared. A worker can send itself a signal
    // with `kill`.
    libc::SYS_pidfd_send_signal,
    // It names a thread and not its process. glibc uses `tgkill`.
    libc::SYS_tkill,
    // The host recognizes the processes of a sandbox by their group (`sandboxed_groups`).
    libc::SYS_setpgid,
    libc::SYS_setsid,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Memory, queues and keys that all processes of a user share by number or name.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Modes, owners and attributes of files, about which Landlock does not decide. The files of the
    // host belong to the same user, and a descriptor for reading suffices to change them.
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Its requests are not system calls, so no filter sees them.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Code in the kernel, and parts of it with a history of faults.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_personality,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    // The machine as a whole.
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_vhangup,
];

/// Older forms of refused calls, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// The calls that create processes, other than `clone`, and those that execute programs.
#[cfg(target_arch = "x86_64")]
const PROCESSES: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork, libc::SYS_execve, libc::SYS_execveat];
#[cfg(not(target_arch = "x86_64"))]
const PROCESSES: &[c_long] = &[libc::SYS_execve, libc::SYS_execveat];

/// The flags of `clone` that create namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Commands of `ioctl` that write into the input of a terminal, or select the process that gets
/// the signals of a descriptor.
const IOCTLS: [u64; 4] = [libc::TIOCSTI, libc::TIOCLINUX, FIOSETOWN, SIOCSPGRP];
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;

/// Command of `fcntl` that selects the thread, process or group that gets signals.
const F_SETOWN_EX: u64 = 15;

/// The value of `ioprio_set` for a thread.
const IOPRIO_WHO_PROCESS: u64 = 1;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Installs the filter for the calling thread of process `pid` and for all threads and processes
/// that it will create.
///
/// # Errors
///
/// The kernel has no filters, or does not permit them.
pub(super) fn install(pid: u32, network: bool, execute: bool) -> Result<(), Error> {
    // If both refuse a call, the one that was installed last decides about the error.
    apply_filter(&unknown_calls())?;
    apply_filter(&refused_calls(pid, network, execute)?)
}

/// Returns a filter that answers `ENOSYS`: to calls that are not known, and to `clone3`, whose
/// flags are in memory that a filter cannot read. glibc then uses `clone`.
fn unknown_calls() -> BpfProgram {
    // Opcodes of classic BPF (linux/bpf_common.h). The call is the first member of the input.
    const LOAD: u16 = 0x20;
    const JUMP_IF_GREATER: u16 = 0x25;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let instruction = |code, k, jt| sock_filter { code, jt, jf: 0, k };

    vec![
        instruction(LOAD, 0, 0),
        instruction(JUMP_IF_GREATER, LAST_REVIEWED, 2),
        instruction(JUMP_IF_EQUAL, CLONE3, 1),
        instruction(RETURN, SeccompAction::Allow.into(), 0),
        instruction(RETURN, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()).into(), 0),
    ]
}

/// Returns a filter that answers `EPERM` to refused calls.
fn refused_calls(pid: u32, network: bool, execute: bool) -> Result<BpfProgram, BackendError> {
    let mut rules = Rules::new();
    let mut refused: Vec<_> = REFUSED.iter().chain(REFUSED_HERE).collect();
    if !execute {
        refused.extend(PROCESSES);
    }
    for call in refused {
        // Without rules, a call matches whatever its arguments are.
        rules.insert(*call, Vec::new());
    }

    limit_to_own_process(&mut rules, u64::from(pid))?;
    limit_sockets(&mut rules, network)?;
    limit_clone(&mut rules, execute)?;
    for command in IOCTLS {
        refuse(&mut rules, libc::SYS_ioctl, &[(1, Dword, Eq, command)])?;
    }
    // With a path, `utimensat` changes the times of a file that need not be open.
    refuse(&mut rules, libc::SYS_utimensat, &[(1, Qword, Ne, 0)])?;

    let eperm = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, eperm, TargetArch::try_from(ARCH)?)?.try_into()
}

/// Refuses calls with these arguments.
fn refuse(
    rules: &mut Rules,
    call: c_long,
    conditions: &[(u8, SeccompCmpArgLen, SeccompCmpOp, u64)],
) -> Result<(), BackendError> {
    let conditions = conditions.iter().map(|(argument, length, operation, value)| {
        SeccompCondition::new(*argument, length.clone(), operation.clone(), *value)
    });
    let rule = SeccompRule::new(conditions.collect::<Result<_, _>>()?)?;
    rules.entry(call).or_default().push(rule);
    Ok(())
}

/// Limits calls that name a process to the own one.
fn limit_to_own_process(rules: &mut Rules, pid: u64) -> Result<(), BackendError> {
    for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
        refuse(rules, call, &[(0, Dword, Ne, pid)])?;
    }

    // For these, 0 is the calling thread. They accept ids of threads, too, and threads of other
    // processes cannot be distinguished from those of the own one.
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
        libc::SYS_get_robust_list,
    ] {
        refuse(rules, call, &[(0, Dword, Ne, 0), (0, Dword, Ne, pid)])?;
    }
    for (call, process) in
        [(libc::SYS_setpriority, u64::from(libc::PRIO_PROCESS)), (libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS)]
    {
        refuse(rules, call, &[(0, Dword, Ne, process)])?;
        refuse(rules, call, &[(1, Dword, Ne, 0), (1, Dword, Ne, pid)])?;
    }

    // The owner of a descriptor gets a signal when it is ready, and the signal can be SIGKILL.
    let set_owner = libc::F_SETOWN.unsigned_abs().into();
    refuse(rules, libc::SYS_fcntl, &[(1, Dword, Eq, set_owner), (2, Dword, Ne, 0), (2, Dword, Ne, pid)])?;
    refuse(rules, libc::SYS_fcntl, &[(1, Dword, Eq, F_SETOWN_EX)])
}

/// Limits the families of sockets: to `AF_UNIX`, or in addition to those of the Internet and to the
/// part of netlink that reports addresses and routes.
fn limit_sockets(rules: &mut Rules, network: bool) -> Result<(), BackendError> {
    let [unix, inet, inet6, netlink] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]
        .map(|family| family.unsigned_abs().into());
    refuse(rules, libc::SYS_socketpair, &[(0, Dword, Ne, unix)])?;

    if network {
        let other = [unix, inet, inet6, netlink].map(|family| (0, Dword, Ne, family));
        refuse(rules, libc::SYS_socket, &other)?;
        let route = libc::NETLINK_ROUTE.unsigned_abs().into();
        refuse(rules, libc::SYS_socket, &[(0, Dword, Eq, netlink), (2, Dword, Ne, route)])
    } else {
        refuse(rules, libc::SYS_socket, &[(0, Dword, Ne, unix)])
    }
}

/// Refuses `clone` with new namespaces and, unless programs can be executed, processes that are no
/// threads.
fn limit_clone(rules: &mut Rules, execute: bool) -> Result<(), BackendError> {
    for flag in NAMESPACES.map(|flag| flag.unsigned_abs().into()) {
        refuse(rules, libc::SYS_clone, &[(0, Dword, MaskedEq(flag), flag)])?;
    }
    if !execute {
        let thread = libc::CLONE_THREAD.unsigned_abs().into();
        refuse(rules, libc::SYS_clone, &[(0, Dword, MaskedEq(thread), 0)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
