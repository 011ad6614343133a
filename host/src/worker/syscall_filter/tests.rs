//! The filters, run by an interpreter of classic BPF: no process is restricted here.

use libc::c_long;
use seccompiler::BpfProgram;

use super::*;

const PID: u32 = 4711;
const ARCHITECTURE: u32 = match TARGET {
    TargetArch::x86_64 => 0xc000_003e,
    TargetArch::aarch64 => 0xc000_00b7,
    TargetArch::riscv64 => 0xc000_00f3,
};
const TARGET: TargetArch = if cfg!(target_arch = "x86_64") {
    TargetArch::x86_64
} else if cfg!(target_arch = "aarch64") {
    TargetArch::aarch64
} else {
    TargetArch::riscv64
};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;

/// Runs a program on a call, and returns its action.
fn run(program: &BpfProgram, architecture: u32, call: u32, arguments: &[u64]) -> u32 {
    let mut input = vec![call, architecture, 0, 0];
    for index in 0..6 {
        let argument = arguments.get(index).copied().unwrap_or(0);
        let halves = [argument & u64::from(u32::MAX), argument >> 32];
        input.extend(halves.map(|half| u32::try_from(half).unwrap()));
    }

    let (mut next, mut accumulator) = (0, 0);
    loop {
        let instruction = &program[next];
        let k = instruction.k;
        next += 1;
        let jump = |is_true: bool| usize::from(if is_true { instruction.jt } else { instruction.jf });
        match instruction.code {
            0x20 => accumulator = input[k as usize / 4],
            0x54 => accumulator &= k,
            0x05 => next += k as usize,
            0x15 => next += jump(accumulator == k),
            0x25 => next += jump(accumulator > k),
            0x35 => next += jump(accumulator >= k),
            0x06 => return k,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

/// Returns the action of the kernel for a call: that of the filter that was installed last, unless
/// the other one is stricter. Smaller actions are stricter.
fn action_of(call: c_long, arguments: &[u64], network: bool, execute: bool) -> u32 {
    let call = u32::try_from(call).unwrap();
    let refused = run(&refused_calls(PID, network, execute).unwrap(), ARCHITECTURE, call, arguments);
    let unknown = run(&unknown_calls(), ARCHITECTURE, call, arguments);
    if unknown & 0x7fff_0000 < refused & 0x7fff_0000 { unknown } else { refused }
}

fn strict(call: c_long, arguments: &[u64]) -> u32 {
    action_of(call, arguments, false, false)
}

fn lenient(call: c_long, arguments: &[u64]) -> u32 {
    action_of(call, arguments, true, true)
}

#[test]
fn refuses_what_reaches_other_processes_and_the_kernel() {
    for call in REFUSED.iter().chain(REFUSED_HERE) {
        assert_eq!((strict(*call, &[]), lenient(*call, &[])), (EPERM, EPERM), "{call}");
    }
}

#[test]
fn permits_what_every_plugin_needs() {
    let calls = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_openat,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_futex,
        libc::SYS_memfd_create,
        libc::SYS_sendmsg,
        libc::SYS_connect,
        libc::SYS_getrandom,
        libc::SYS_rseq,
        libc::SYS_exit_group,
        libc::SYS_seccomp,
    ];
    for call in calls {
        assert_eq!((strict(call, &[]), lenient(call, &[])), (ALLOW, ALLOW), "{call}");
    }
}

#[test]
fn answers_unknown_calls_and_clone3_as_if_the_kernel_did_not_have_them() {
    assert_eq!(strict(libc::SYS_clone3, &[]), ENOSYS);
    assert_eq!(strict(i64::from(LAST_REVIEWED), &[]), ALLOW);
    assert_eq!(strict(i64::from(LAST_REVIEWED) + 1, &[]), ENOSYS);
    assert_eq!(strict(i64::from(i32::MAX), &[]), ENOSYS);
}

#[test]
fn refuses_calls_by_the_numbers_of_another_architecture() {
    const X32: i64 = 0x4000_0000;
    for call in [libc::SYS_ptrace, libc::SYS_kill, libc::SYS_read, 520] {
        assert_eq!(strict(X32 | call, &[u64::from(PID)]), ENOSYS, "{call}");
    }

    const I386: u32 = 0x4000_0003;
    let program = refused_calls(PID, true, true).unwrap();
    assert_eq!(run(&program, I386, 3, &[]), libc::SECCOMP_RET_KILL_PROCESS);
}

#[test]
fn limits_signals_to_the_own_process() {
    let others = [0, 1, u64::from(PID) + 1, u64::from(u32::MAX), 0x1_0000_0000];
    for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
        assert_eq!(strict(call, &[PID.into(), 9]), ALLOW, "{call}");
        // The kernel ignores the upper half.
        assert_eq!(strict(call, &[u64::from(PID) | 7 << 32, 9]), ALLOW, "{call}");
        for other in others {
            assert_eq!(lenient(call, &[other, 9]), EPERM, "{call} {other}");
        }
    }

    let set_owner = u64::from(libc::F_SETOWN.unsigned_abs());
    assert_eq!(strict(libc::SYS_fcntl, &[3, set_owner, PID.into()]), ALLOW);
    assert_eq!(strict(libc::SYS_fcntl, &[3, set_owner, 1]), EPERM);
    assert_eq!(strict(libc::SYS_fcntl, &[3, set_owner | 1 << 40, 1]), EPERM);
    assert_eq!(strict(libc::SYS_fcntl, &[3, F_SETOWN_EX, 1]), EPERM);
    assert_eq!(strict(libc::SYS_fcntl, &[3, 1, 1]), ALLOW);
}

#[test]
fn limits_resources_and_scheduling_to_the_own_process() {
    let calls = [libc::SYS_prlimit64, libc::SYS_sched_setaffinity, libc::SYS_sched_setscheduler];
    for call in calls {
        assert_eq!((strict(call, &[0]), strict(call, &[PID.into()])), (ALLOW, ALLOW), "{call}");
        assert_eq!((lenient(call, &[1]), lenient(call, &[u64::from(PID) + 1])), (EPERM, EPERM), "{call}");
    }
    assert_eq!(strict(libc::SYS_setpriority, &[0, 0, 19]), ALLOW);
    assert_eq!(strict(libc::SYS_setpriority, &[0, 1, 19]), EPERM);
    assert_eq!(strict(libc::SYS_setpriority, &[2, 0, 19]), EPERM);
    assert_eq!(strict(libc::SYS_ioprio_set, &[1, 0, 0]), ALLOW);
    assert_eq!(strict(libc::SYS_ioprio_set, &[3, 0, 0]), EPERM);
}

#[test]
fn permits_only_unix_sockets_without_network() {
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        assert_eq!(strict(call, &[1, 1, 0]), ALLOW, "{call}");
        for family in (0..46).filter(|family| *family != 1) {
            assert_eq!(strict(call, &[family, 1, 0]), EPERM, "{call} {family}");
        }
    }

    for (family, protocol, expected) in [
        (1, 0, ALLOW),
        (2, 6, ALLOW),
        (10, 17, ALLOW),
        (16, 0, ALLOW),
        (16, 9, EPERM),
        (17, 0, EPERM),
        (38, 0, EPERM),
    ] {
        assert_eq!(lenient(libc::SYS_socket, &[family, 1, protocol]), expected, "{family} {protocol}");
    }
}

#[test]
fn permits_threads_but_neither_namespaces_nor_programs() {
    // The flags of a thread in glibc, and of `fork` and `posix_spawn`.
    let (thread, fork, spawn) = (0x003d_0f00, 0x0120_0011, 0x4111);

    assert_eq!((strict(libc::SYS_clone, &[thread]), lenient(libc::SYS_clone, &[thread])), (ALLOW, ALLOW));
    for process in [fork, spawn] {
        assert_eq!(
            (strict(libc::SYS_clone, &[process]), lenient(libc::SYS_clone, &[process])),
            (EPERM, ALLOW)
        );
    }
    for flag in NAMESPACES.map(|flag| u64::from(flag.unsigned_abs())) {
        for flags in [flag, thread | flag, fork | flag] {
            assert_eq!(lenient(libc::SYS_clone, &[flags]), EPERM, "{flags:#x}");
        }
    }
    for call in PROCESSES {
        assert_eq!((strict(*call, &[]), lenient(*call, &[])), (EPERM, ALLOW), "{call}");
    }
}

#[test]
fn refuses_input_to_terminals_and_times_of_files_by_path() {
    assert_eq!(strict(libc::SYS_ioctl, &[0, 0x5412, 0]), EPERM);
    assert_eq!(strict(libc::SYS_ioctl, &[0, 0x5412 | 1 << 32, 0]), EPERM);
    assert_eq!(strict(libc::SYS_ioctl, &[0, 0x5401, 0]), ALLOW);
    assert_eq!(strict(libc::SYS_utimensat, &[3, 0, 0]), ALLOW);
    assert_eq!(strict(libc::SYS_utimensat, &[3, 1 << 32, 0]), EPERM);
}
