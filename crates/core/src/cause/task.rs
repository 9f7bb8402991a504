//! Processes and threads as procfs and cgroupfs show them at two readings.

use serde::{Deserialize, Serialize};

/// A process that holds the listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// In the pid namespace of whoever looks.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// Its name.
    pub comm: String,
    /// Which program it runs: device and inode of its executable file.
    pub program: Option<(u64, u64)>,
    /// Its descriptors of the listener, ascending.
    pub sockets: Vec<u32>,
    /// Its file descriptors.
    pub descriptors: Option<Descriptors>,
    /// The process that traces it, as a debugger does.
    pub tracer: Option<u32>,
    /// Its control groups that limit it or are frozen, innermost first.
    pub groups: Vec<ControlGroup>,
    /// Its epoll sets that have this socket.
    pub polled: Vec<Polled>,
    /// Its threads, those that were looked at.
    pub threads: Vec<Thread>,
    /// How many threads it has.
    pub thread_count: u32,
    /// Whether threads of it have ended, by the page faults that no living one had.
    pub threads_ended: Option<bool>,
    /// Whether its threads' system calls could be read.
    pub calls_readable: bool,
}

/// File descriptors of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors {
    /// Open ones below the limit.
    pub open: u64,
    /// `RLIMIT_NOFILE`, the soft one.
    pub limit: u64,
}

/// An epoll set that has the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polled {
    /// The set's descriptor in its process.
    pub epoll: u32,
    /// Events that it waits for (`EPOLLIN`, `EPOLLET`, ...).
    pub events: u32,
}

/// What a control group, or one above it, does to its processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlGroup {
    /// Its path in its hierarchy.
    pub path: String,
    /// Whether it is frozen.
    pub frozen: bool,
    /// Its CPU quota.
    pub cpu: Option<Quota>,
    /// Its memory limit and what it led to.
    pub memory: Option<Memory>,
}

/// A CPU quota (`cpu.max`, `cpu.cfs_quota_us`), and `cpu.stat` between the readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// CPU time of each period, microseconds.
    pub quota_us: u64,
    /// Length of a period, microseconds.
    pub period_us: u64,
    /// Periods that passed while it ran.
    pub periods: u64,
    /// Of these, those in which it was throttled.
    pub throttled: u64,
    /// For how long together, over all CPUs, microseconds.
    pub throttled_us: u64,
}

/// Memory of a control group, and what happened between the readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Used, bytes.
    pub current: u64,
    /// Allowed, bytes: the least of `memory.max` and `memory.high`, or `memory.limit_in_bytes`.
    pub limit: u64,
    /// How often the limit was hit: `max` and `high` of `memory.events`, or `memory.failcnt`.
    pub hits: u64,
    /// For how long all its threads stood still for memory (`full` of `memory.pressure`),
    /// microseconds.
    pub stalled_us: Option<u64>,
    /// Whether it waits for the OOM killer's outcome.
    pub under_oom: bool,
}

/// A thread at both readings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Its id; that of the process for the main thread.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// As it was found first.
    pub first: Reading,
    /// As it was found then.
    pub second: Reading,
    /// Its kernel stack at the second reading, the innermost function first; empty where it may
    /// not be read.
    pub stack: Vec<String>,
}

/// A thread at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// `R`, `S`, `D`, `T`, `t`, `Z`, `X`, `I` (proc_pid_stat(5)).
    pub state: char,
    /// Time on CPUs so far, nanoseconds (`schedstat`).
    pub run_ns: u64,
    /// Time it was runnable and had no CPU, nanoseconds.
    pub wait_ns: u64,
    /// Where the kernel puts it to sleep; empty if it does not sleep or may not be looked at.
    pub wchan: String,
    /// The system call it is in.
    pub call: Option<Call>,
}

/// A system call that a thread is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub on: On,
}

/// What a system call is about, as far as its arguments tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum On {
    /// This listener.
    Listener,
    /// An epoll set, by its descriptor; [`Holder::polled`] says whether the listener is in it.
    Epoll(u32),
    /// A futex: its address, and the value that it is to have.
    Futex(u64, u32),
    /// Another open file: its descriptor, and what it is.
    File(u32, String),
    /// That cannot be seen.
    Unknown,
}

/// A thread that waited on a listener's socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Its process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// When it was last seen to, CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
}
