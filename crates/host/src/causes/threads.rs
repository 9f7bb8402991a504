//! Threads of a process as `/proc/PID/task` shows them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use overflow_core::cause::{Call, On, Reading};

use super::calls::{First, call};
use crate::owner::socket_inode;

/// Functions of a kernel stack that are kept.
const FRAMES: usize = 16;
/// Bytes of a file that are read; a kernel stack is the longest.
const MOST: u64 = 4096;
/// Nanoseconds of a clock tick (`USER_HZ`), by which times are counted where there is no schedstat.
const TICK_NS: u64 = 10_000_000;
/// How a system call begins in a kernel stack: that tells nobody more than its name.
const ENTRIES: &[&str] = &[
    "entry_SYSCALL",
    "do_syscall_64",
    "x64_sys_call",
    "__x64_sys_",
    "__se_sys_",
    "__do_sys_",
    "ret_from_fork",
    "el0",
    "do_el0_svc",
    "invoke_syscall",
    "__arm64_sys_",
];

/// A thread at one moment, with what only the process as a whole needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) comm: String,
    pub(super) ppid: u32,
    pub(super) reading: Reading,
    /// Page faults that needed no disk.
    pub(super) faults: u64,
    /// Why its system call could not be read, if so.
    pub(super) refused: Option<io::ErrorKind>,
}

/// A process whose threads are read.
pub(super) struct Process {
    proc_dir: PathBuf,
    /// Whether the numbers of its system calls are those of this architecture.
    native: bool,
}

impl Process {
    pub(super) fn new(proc_dir: &Path) -> Self {
        Self { proc_dir: proc_dir.to_owned(), native: is_native(proc_dir) }
    }

    /// Its threads' ids, ascending; that of the process first.
    pub(super) fn tids(&self) -> io::Result<Vec<u32>> {
        crate::owner::pids(&self.proc_dir.join("task"))
    }

    /// The thread at this moment; `None` if it has ended.
    pub(super) fn task(&self, tid: u32) -> Option<Task> {
        let dir = self.proc_dir.join("task").join(tid.to_string());
        let stat = stat(&dir)?;
        let schedstat = text(&dir.join("schedstat")).ok().and_then(|t| times(&t));
        let (run_ns, wait_ns) = schedstat.unwrap_or((stat.ticks * TICK_NS, 0));
        let read = text(&dir.join("syscall"));
        let refused = read.as_ref().err().map(io::Error::kind);
        let call = read.ok().filter(|_| self.native).and_then(|t| self.call(&t));
        let wchan = text(&dir.join("wchan")).unwrap_or_default().trim().to_owned();
        let reading = Reading { state: stat.state, run_ns, wait_ns, wchan, call };
        Some(Task { comm: stat.comm, ppid: stat.ppid, reading, faults: stat.faults, refused })
    }

    /// The kernel stack of a thread, the innermost function first.
    pub(super) fn stack(&self, tid: u32) -> Vec<String> {
        let path = self.proc_dir.join("task").join(tid.to_string()).join("stack");
        frames(&text(&path).unwrap_or_default())
    }

    /// `232 0x4 0x7ffd… 0x200 0xffffffff 0x0 0x0 0x7ffd… 0x7f27…`: the number, six arguments, stack
    /// and instruction pointer (`proc_pid_syscall`). `running` and `-1 …` are in no system call.
    fn call(&self, line: &str) -> Option<Call> {
        let mut words = line.split_ascii_whitespace();
        let number = words.next()?.parse().ok().filter(|n| *n >= 0)?;
        let mut arguments = words.map(|w| u64::from_str_radix(w.trim_start_matches("0x"), 16).ok());
        let first = arguments.next()??;
        let third = arguments.nth(1)??;
        let Some((name, kind)) = call(number) else {
            return Some(Call { name: format!("system call {number}"), on: On::Unknown });
        };
        // Descriptors and futex values are int: the upper half is whatever was in the register.
        let descriptor = || u32::try_from(first & u64::from(u32::MAX)).ok();
        let on = match kind {
            First::Listener | First::File => self.file(descriptor()?),
            First::Epoll => On::Epoll(descriptor()?),
            First::Futex => On::Futex(first, u32::try_from(third & u64::from(u32::MAX)).ok()?),
            First::Other => On::Unknown,
        };
        Some(Call { name: name.to_owned(), on })
    }

    fn file(&self, fd: u32) -> On {
        let link = fs::read_link(self.proc_dir.join("fd").join(fd.to_string()));
        On::File(fd, link.map(|l| beginning(&l.to_string_lossy())).unwrap_or_default())
    }
}

/// The same call, said of the listener if it is about that.
pub(super) fn of_listener(call: Call, inode: u64) -> Call {
    match call.on {
        On::File(_, what) if socket_inode(&what) == Some(inode) => {
            Call { on: On::Listener, ..call }
        }
        on => Call { on, ..call },
    }
}

/// Page faults of the whole process that no living thread had: whether threads of it have ended.
/// `whole` was read before any of them, so that none of theirs is missing in it by a later one.
pub(super) fn have_ended(whole: u64, tasks: &BTreeMap<u32, Task>) -> bool {
    whole > tasks.values().map(|task| task.faults).sum()
}

/// What `stat` of a process or thread says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) comm: String,
    pub(super) ppid: u32,
    pub(super) state: char,
    /// Minor page faults (`min_flt`), of a process also those of its threads that have ended.
    pub(super) faults: u64,
    /// Time on CPUs, clock ticks.
    ticks: u64,
}

pub(super) fn stat(dir: &Path) -> Option<Stat> {
    parse_stat(&text(&dir.join("stat")).ok()?)
}

/// `pid (comm) state ppid … minflt(10) … utime(14) stime(15) …` (proc_pid_stat(5)).
fn parse_stat(line: &str) -> Option<Stat> {
    let (head, tail) = line.rsplit_once(')')?;
    let (_, comm) = head.split_once('(')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().take(13).collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        comm: comm.to_owned(),
        state: fields.first()?.chars().next()?,
        ppid: fields.get(1)?.parse().ok()?,
        faults: number(7)?,
        ticks: number(11)?.saturating_add(number(12)?),
    })
}

/// `run_ns wait_ns timeslices` (`proc_pid_schedstat`).
fn times(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_ascii_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// `[<0>] futex_wait_queue+0x63/0x90` a line.
fn frames(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let rest = line.split_once("] ").map_or(line, |(_, rest)| rest);
        rest.split(['+', ' ']).next().unwrap_or("").to_owned()
    };
    let tells = |name: &String| !name.is_empty() && !ENTRIES.iter().any(|e| name.starts_with(e));
    text.lines().map(name).filter(tells).take(FRAMES).collect()
}

/// Whether it is a program for this architecture's system calls: a 32-bit one has other numbers
/// (`EI_CLASS` of its ELF header).
fn is_native(proc_dir: &Path) -> bool {
    let mut class = [0; 5];
    let read = File::open(proc_dir.join("exe")).and_then(|mut exe| exe.read_exact(&mut class));
    // Where that may not be read, its system calls may not be either.
    read.is_err() || usize::from(class[4]) * 4 == size_of::<usize>()
}

/// Bytes of a path that are kept: anybody may choose one of 4096, for many processes.
const PATH: usize = 256;

/// A path, or its beginning.
pub(super) fn beginning(path: &str) -> String {
    path[..path.floor_char_boundary(PATH)].to_owned()
}

/// The beginning of a file of procfs or cgroupfs. What other processes say of themselves may be no
/// UTF-8.
pub(super) fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd, thread, time::Duration};

    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name_is() {
        let line = "4711 (we) (b 1) D 17 4711 4711 0 -1 4194560 131 7 0 0 30 12 0 0 20 0 1 0 88123";
        let expected =
            Stat { comm: "we) (b 1".to_owned(), ppid: 17, state: 'D', faults: 131, ticks: 42 };
        assert_eq!(parse_stat(line), Some(expected));
        assert_eq!(parse_stat("1 (init) S 0 1"), None);
    }

    #[test]
    fn a_path_is_cut_between_characters() {
        assert_eq!(beginning("socket:[9]"), "socket:[9]");
        assert_eq!(beginning(&"é".repeat(2000)).len(), PATH);
        assert_eq!(beginning(&format!("x{}", "é".repeat(2000))).len(), PATH - 1);
    }

    #[test]
    fn a_stack_is_its_functions_without_the_way_in() {
        let text = "[<0>] futex_wait_queue+0x63/0x90\n[<0>] futex_wait+0x189/0x270\n\
                    [<0>] __x64_sys_futex+0x127/0x1e0\n[<0>] do_syscall_64+0x71/0x280\n\
                    [<0>] entry_SYSCALL_64_after_hwframe+0x76/0x7e\n";
        assert_eq!(frames(text), ["futex_wait_queue", "futex_wait"]);
        assert_eq!(frames("[<0>] nft_do_chain+0x1/0x2 [nf_tables]"), ["nft_do_chain"]);
        assert_eq!(frames(""), [""; 0]);
    }

    #[test]
    fn a_thread_of_this_process_is_seen_in_accept_of_its_own_socket() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let inode = socket_inode(link.to_str().unwrap()).unwrap();
        let server = socket.local_addr().unwrap();
        let waiting = thread::spawn(move || socket.accept().unwrap());
        let found = |inode| {
            let process = Process::new(Path::new("/proc/self"));
            let tasks = process.tids().unwrap().into_iter().filter_map(|tid| process.task(tid));
            let mut calls = tasks.filter_map(|task| Some(of_listener(task.reading.call?, inode)));
            calls.any(|call| call.name.starts_with("accept") && call.on == On::Listener)
        };
        let began = std::time::Instant::now();
        while !found(inode) {
            assert!(began.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!found(inode + 1));
        std::net::TcpStream::connect(server).unwrap();
        waiting.join().unwrap();
    }

    #[test]
    fn arguments_are_those_of_the_call() {
        let process = Process::new(Path::new("/proc/self"));
        let line =
            format!("{} 0x7f00 0x109 0xffffffff00000007 0x0 0x0 0x0 0x1 0x2", libc::SYS_futex);
        let call = |line: &str| process.call(line);
        assert_eq!(call(&line).unwrap().on, On::Futex(0x7f00, 7));
        let line =
            format!("{} 0xffffffff00000004 0x1 0x2 0x3 0x4 0x5 0x6 0x7", libc::SYS_epoll_pwait);
        assert_eq!(call(&line).unwrap().on, On::Epoll(4));
        assert_eq!(
            call("99999 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0").unwrap().name,
            "system call 99999"
        );
        assert_eq!((call("running\n"), call("-1 0x7ffe 0x7f27\n")), (None, None));
    }

    #[test]
    fn a_thread_that_ended_leaves_its_page_faults() {
        let reading =
            Reading { state: 'S', run_ns: 0, wait_ns: 0, wchan: String::new(), call: None };
        let task = |faults| Task {
            comm: String::new(),
            ppid: 1,
            reading: reading.clone(),
            faults,
            refused: None,
        };
        let tasks = BTreeMap::from([(10, task(30)), (11, task(5))]);
        assert!(have_ended(36, &tasks));
        // Others came while the threads were read.
        assert!(!have_ended(35, &tasks) && !have_ended(34, &tasks));
    }
}
