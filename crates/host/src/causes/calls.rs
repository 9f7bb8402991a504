//! System calls by their numbers on this architecture: those that a server waits in.

use libc::c_long;

/// What the first argument of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// A listener's descriptor.
    Listener,
    /// An epoll set's.
    Epoll,
    /// A futex.
    Futex,
    /// The descriptor of a file of any kind.
    File,
    /// Nothing that tells what it is about.
    Other,
}

macro_rules! calls {
    ($($first:ident: $($(#[$attr:meta])? $name:literal $number:ident),+;)+) => {
        &[$($($(#[$attr])? (libc::$number, $name, First::$first),)+)+]
    };
}

/// Calls in which a thread may sleep. The older ones are those of x86-64 alone.
const CALLS: &[(c_long, &str, First)] = calls! {
    Listener: "accept" SYS_accept, "accept4" SYS_accept4;
    Epoll: "epoll_pwait" SYS_epoll_pwait, "epoll_pwait2" SYS_epoll_pwait2,
        #[cfg(target_arch = "x86_64")] "epoll_wait" SYS_epoll_wait;
    Futex: "futex" SYS_futex;
    File: "read" SYS_read, "readv" SYS_readv, "pread64" SYS_pread64, "preadv" SYS_preadv,
        "write" SYS_write, "writev" SYS_writev, "pwrite64" SYS_pwrite64, "pwritev" SYS_pwritev,
        "recvfrom" SYS_recvfrom, "recvmsg" SYS_recvmsg, "recvmmsg" SYS_recvmmsg,
        "sendto" SYS_sendto, "sendmsg" SYS_sendmsg, "sendmmsg" SYS_sendmmsg,
        "sendfile" SYS_sendfile, "splice" SYS_splice, "connect" SYS_connect,
        "flock" SYS_flock, "fcntl" SYS_fcntl, "fsync" SYS_fsync, "fdatasync" SYS_fdatasync,
        "ioctl" SYS_ioctl, "close" SYS_close, "getdents64" SYS_getdents64,
        "fallocate" SYS_fallocate, "ftruncate" SYS_ftruncate;
    Other: "ppoll" SYS_ppoll, "pselect6" SYS_pselect6,
        #[cfg(target_arch = "x86_64")] "poll" SYS_poll,
        #[cfg(target_arch = "x86_64")] "select" SYS_select,
        #[cfg(target_arch = "x86_64")] "pause" SYS_pause,
        #[cfg(target_arch = "x86_64")] "open" SYS_open,
        "io_uring_enter" SYS_io_uring_enter, "io_getevents" SYS_io_getevents,
        "nanosleep" SYS_nanosleep, "clock_nanosleep" SYS_clock_nanosleep,
        "restart_syscall" SYS_restart_syscall,
        "rt_sigtimedwait" SYS_rt_sigtimedwait, "rt_sigsuspend" SYS_rt_sigsuspend,
        "wait4" SYS_wait4, "waitid" SYS_waitid,
        "semop" SYS_semop, "semtimedop" SYS_semtimedop, "msgrcv" SYS_msgrcv, "msgsnd" SYS_msgsnd,
        "mq_timedreceive" SYS_mq_timedreceive,
        "openat" SYS_openat, "unlinkat" SYS_unlinkat, "renameat2" SYS_renameat2,
        "sync" SYS_sync, "mmap" SYS_mmap, "munmap" SYS_munmap, "madvise" SYS_madvise,
        "brk" SYS_brk, "exit_group" SYS_exit_group, "exit" SYS_exit;
};

/// A call's name, and what its first argument is; `None` for one that is not known here.
pub(super) fn call(number: c_long) -> Option<(&'static str, First)> {
    let found = CALLS.iter().find(|(known, ..)| *known == number);
    found.map(|(_, name, first)| (*name, *first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_stands_twice() {
        for (i, (number, name, _)) in CALLS.iter().enumerate() {
            assert!(CALLS[i + 1..].iter().all(|(n, other, _)| n != number && other != name));
        }
        assert_eq!(call(libc::SYS_accept4), Some(("accept4", First::Listener)));
        assert_eq!(call(-1), None);
    }
}
