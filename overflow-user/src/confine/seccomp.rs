//! Seccomp: only the system calls of a program that has all it needs open already.
//!
//! Everything else is answered with EPERM: opening, making sockets and processes, tracing,
//! mounting, loading programs, executable memory.

use std::{collections::BTreeMap, io};

use libc::c_long;
use rustix::process::{Pid, Signal, getpid};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter,
};

use super::Needs;

/// System calls that are allowed: always, or if one of the rules holds.
pub(super) type Allowed = BTreeMap<i64, Vec<SeccompRule>>;

/// Of every confined process: descriptors, memory, time, signals to itself, children that end.
const READER: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    // A recording reaches the disk.
    libc::SYS_fdatasync,
    libc::SYS_ppoll,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    // tokio hands a signal from its handler to its loop through a socket pair.
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The older names that libc uses where there are any.
#[cfg(target_arch = "x86_64")]
const READER_OLD: &[c_long] = &[libc::SYS_poll, libc::SYS_epoll_wait];
#[cfg(not(target_arch = "x86_64"))]
const READER_OLD: &[c_long] = &[];

/// Of a process that talks through TCP sockets.
const SOCKETS: &[c_long] = &[
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
];

/// Of a process that answers on TCP sockets that are listening already, besides.
const NETWORK: &[c_long] = &[libc::SYS_accept4];

/// Of a process that draws on its terminal: crossterm makes its own loop at the first key.
const TERMINAL: &[c_long] = &[libc::SYS_epoll_create1, libc::SYS_eventfd2, libc::SYS_socketpair];
/// `TCSETS`, `TCSETSW`, `TCSETSF` and `TCGETS2`, `TCSETS2`, `TCSETSW2`, `TCSETSF2` of
/// include/uapi/asm-generic/ioctls.h; not TIOCSTI, which types.
const TERMINAL_REQUESTS: [u64; 7] =
    [0x5402, 0x5403, 0x5404, 0x802c_542a, 0x402c_542b, 0x402c_542c, 0x402c_542d];

/// What a new thread calls before it does anything.
const THREAD: &[c_long] =
    &[libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_sched_getaffinity, libc::SYS_clone3];

/// Of the process that looks at listeners: reading procfs, asking netlink, a thread for each other
/// network namespace.
const LOOKER: &[c_long] = &[
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getsockname,
];
#[cfg(target_arch = "x86_64")]
const LOOKER_OLD: &[c_long] = &[libc::SYS_readlink, libc::SYS_stat, libc::SYS_lstat];
#[cfg(not(target_arch = "x86_64"))]
const LOOKER_OLD: &[c_long] = &[];

/// Of the process that keeps it, besides.
const KEEPER: &[c_long] =
    &[libc::SYS_pipe2, libc::SYS_getppid, libc::SYS_seccomp, libc::SYS_set_tid_address];
#[cfg(target_arch = "x86_64")]
const KEEPER_OLD: &[c_long] = &[libc::SYS_fork];
#[cfg(not(target_arch = "x86_64"))]
const KEEPER_OLD: &[c_long] = &[];
/// Flags of clone(2) that make namespaces.
const NEW_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// Of the process that sends to a collector: connecting, and asking for the host's address, besides.
const SENDER: &[c_long] =
    &[libc::SYS_connect, libc::SYS_bind, libc::SYS_sendmmsg, libc::SYS_newfstatat, libc::SYS_uname];

/// Commands of fcntl(2). Not F_SETOWN and F_SETSIG: they send any signal to any process of the user.
const FCNTL: [i32; 5] =
    [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC];
/// Commands of bpf(2) for maps and programs that are open, `enum bpf_cmd` of include/uapi/linux/bpf.h:
/// `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_UPDATE_ELEM`, `BPF_MAP_DELETE_ELEM`, `BPF_MAP_GET_NEXT_KEY`,
/// `BPF_PROG_TEST_RUN`, by which each CPU's counters are surveyed, and `BPF_MAP_LOOKUP_AND_DELETE_ELEM`,
/// by which a queue is read.
const MAP_COMMANDS: [u64; 6] = [1, 2, 3, 4, 10, 21];
/// Requests of ioctl(2): `TCGETS` and `TIOCGWINSZ` of include/uapi/asm-generic/ioctls.h, which ask
/// a terminal, and `PERF_EVENT_IOC_DISABLE` of include/uapi/linux/perf_event.h, which detaches a
/// kprobe.
const REQUESTS: [u64; 3] = [0x5401, 0x5413, 0x2401];

/// What the process that reads the ring, or a recording, may call.
pub(super) fn reader(needs: &Needs) -> Result<Allowed, Error> {
    let mut allowed = Allowed::new();
    allow(&mut allowed, READER);
    allow(&mut allowed, READER_OLD);
    // No memory is made executable.
    let not_exec = without(2, libc::PROT_EXEC)?;
    allow_if(&mut allowed, libc::SYS_mmap, vec![not_exec.clone()])?;
    allow_if(&mut allowed, libc::SYS_mprotect, vec![not_exec])?;
    for command in FCNTL {
        allow_if(&mut allowed, libc::SYS_fcntl, vec![is(1, number(command))?])?;
    }
    for request in REQUESTS {
        allow_if(&mut allowed, libc::SYS_ioctl, vec![is(1, request)?])?;
    }
    if needs.maps.is_some() {
        for command in MAP_COMMANDS {
            allow_if(&mut allowed, libc::SYS_bpf, vec![is(0, command)?])?;
        }
    }
    if let Some(child) = needs.ends {
        let (pid, signal) = (number(Pid::as_raw(Some(child))), number(Signal::KILL.as_raw()));
        allow_if(&mut allowed, libc::SYS_kill, vec![is(0, pid)?, is(1, signal)?])?;
    }
    if needs.network {
        allow(&mut allowed, SOCKETS);
        allow(&mut allowed, NETWORK);
    }
    if needs.terminal {
        allow(&mut allowed, TERMINAL);
        threads(&mut allowed)?;
        for request in TERMINAL_REQUESTS {
            allow_if(&mut allowed, libc::SYS_ioctl, vec![is(1, request)?])?;
        }
        // Ctrl-Z: it gives the terminal back, then stops itself.
        let (own, stop) = (number(Pid::as_raw(Some(getpid()))), number(Signal::STOP.as_raw()));
        allow_if(&mut allowed, libc::SYS_kill, vec![is(0, own)?, is(1, stop)?])?;
    }
    Ok(allowed)
}

/// What the process that looks at listeners may call: it opens, but only to read, and enters
/// network namespaces, no others.
pub(super) fn looker() -> Result<Allowed, Error> {
    let mut allowed = reader(&Needs::default())?;
    allow(&mut allowed, LOOKER);
    allow(&mut allowed, LOOKER_OLD);
    opens_to_read(&mut allowed)?;
    allow_if(&mut allowed, libc::SYS_setns, vec![is(1, number(libc::CLONE_NEWNET))?])?;
    allow_if(&mut allowed, libc::SYS_socket, vec![is(0, number(libc::AF_NETLINK))?])?;
    threads(&mut allowed)?;
    Ok(allowed)
}

/// What the process that keeps the one that looks may call: all that this one does, which takes up its
/// filter later, and starting it with two pipes, by a fork, never by execve.
pub(super) fn keeper() -> Result<Allowed, Error> {
    let mut allowed = looker()?;
    allow(&mut allowed, KEEPER);
    allow(&mut allowed, KEEPER_OLD);
    // fork() of libc is clone without flags that share anything; as a thread was allowed already.
    let shares = number(libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_FS | NEW_NAMESPACES);
    let copies = condition(0, SeccompCmpOp::MaskedEq(shares), 0)?;
    allow_if(&mut allowed, libc::SYS_clone, vec![copies])?;
    for option in [libc::PR_SET_PDEATHSIG, libc::PR_SET_NO_NEW_PRIVS, libc::PR_SET_SECCOMP] {
        allow_if(&mut allowed, libc::SYS_prctl, vec![is(0, number(option))?])?;
    }
    Ok(allowed)
}

/// What the process that sends to a collector may call: it opens, but only to read, and makes
/// sockets of the Internet, no others.
pub(super) fn sender() -> Result<Allowed, Error> {
    let mut allowed = reader(&Needs::default())?;
    allow(&mut allowed, SOCKETS);
    allow(&mut allowed, SENDER);
    opens_to_read(&mut allowed)?;
    for family in [libc::AF_INET, libc::AF_INET6] {
        allow_if(&mut allowed, libc::SYS_socket, vec![is(0, number(family))?])?;
    }
    // Names are looked up in a thread of its own.
    threads(&mut allowed)?;
    Ok(allowed)
}

fn opens_to_read(allowed: &mut Allowed) -> Result<(), Error> {
    let writing = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
    #[cfg(target_arch = "x86_64")]
    allow_if(allowed, libc::SYS_open, vec![without(1, writing)?])?;
    allow_if(allowed, libc::SYS_openat, vec![without(2, writing)?])
}

/// Allows threads, not processes. clone3 is answered by a filter of its own.
fn threads(allowed: &mut Allowed) -> Result<(), Error> {
    allow(allowed, THREAD);
    let thread = number(libc::CLONE_THREAD);
    let in_thread = condition(0, SeccompCmpOp::MaskedEq(thread), thread)?;
    allow_if(allowed, libc::SYS_clone, vec![in_thread])?;
    allow_if(allowed, libc::SYS_prctl, vec![is(0, number(libc::PR_SET_NAME))?])
}

/// Allows the calling thread only these calls, and sets no_new_privs. False on a kernel without
/// seccomp filters.
pub(super) fn restrict(allowed: Result<Allowed, Error>) -> io::Result<bool> {
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter = program(allowed.map_err(io::Error::other)?, refused, SeccompAction::Allow)?;
    // clone3 hides its flags from filters; glibc falls back to clone if there is none.
    let none = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let mut clone3 = Allowed::new();
    allow(&mut clone3, &[libc::SYS_clone3]);
    let clone3 = program(clone3, SeccompAction::Allow, none)?;
    match apply_filter(&clone3) {
        // CONFIG_SECCOMP_FILTER is not set.
        Err(Error::Seccomp(error))
            if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
        {
            return Ok(false);
        }
        applied => applied.map_err(io::Error::other)?,
    }
    apply_filter(&filter).map_err(io::Error::other)?;
    Ok(true)
}

/// Refuses the calling thread to open any file by its name, and nothing else.
pub(crate) fn refuse_files() -> io::Result<()> {
    let mut opens = Allowed::new();
    #[cfg(target_arch = "x86_64")]
    allow(&mut opens, &[libc::SYS_open]);
    allow(&mut opens, &[libc::SYS_openat, libc::SYS_openat2]);
    let refused = SeccompAction::Errno(libc::EACCES.cast_unsigned());
    let filter = program(opens, SeccompAction::Allow, refused)?;
    apply_filter(&filter).map_err(io::Error::other)
}

fn program(
    rules: Allowed,
    otherwise: SeccompAction,
    on_match: SeccompAction,
) -> io::Result<BpfProgram> {
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, on_match, arch).map_err(io::Error::other)?;
    filter.try_into().map_err(io::Error::other)
}

fn allow(allowed: &mut Allowed, calls: &[c_long]) {
    for call in calls {
        allowed.insert(*call, Vec::new());
    }
}

/// Allows `call` if all these conditions hold, or all that were given before.
fn allow_if(
    allowed: &mut Allowed,
    call: c_long,
    conditions: Vec<SeccompCondition>,
) -> Result<(), Error> {
    allowed.entry(call).or_default().push(SeccompRule::new(conditions)?);
    Ok(())
}

fn is(argument: u8, value: u64) -> Result<SeccompCondition, Error> {
    condition(argument, SeccompCmpOp::Eq, value)
}

/// None of these bits.
fn without(argument: u8, bits: i32) -> Result<SeccompCondition, Error> {
    condition(argument, SeccompCmpOp::MaskedEq(number(bits)), 0)
}

/// The lower half decides: all these arguments are int or small.
fn condition(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Error> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?)
}

fn number(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}
