//! Evidence for tests, of this crate and of those that use it.

use super::{
    evidence::{Evidence, QueueSample},
    task::{Call, Descriptors, Holder, On, Reading, Thread},
};
use crate::listeners::{Listener, Sysctls, sample::listener};

/// Between the readings of all samples, nanoseconds.
pub const APART_NS: u64 = 200_000_000;

/// A full listener with limit 128 that these processes hold and nobody accepts from, at time 10 s.
pub fn evidence(holders: Vec<Holder>) -> Evidence {
    const T_NS: u64 = 10_000_000_000;
    let sample = |t_ns| QueueSample { t_ns, recv_q: 129, drops: Some(4) };
    Evidence {
        t_ns: T_NS,
        apart_ns: APART_NS,
        listener: Listener { recv_q: 129, drops: Some(4), ..listener("0.0.0.0:80") },
        queue: (0..=10).map(|i| sample(T_NS - APART_NS + i * APART_NS / 10)).collect(),
        waiting: None,
        rises: None,
        resent: None,
        syn_queue_limit: Some(129),
        sysctls: Sysctls { somaxconn: Some(4096), ..Sysctls::default() },
        members: Vec::new(),
        holders,
        waited: Vec::new(),
        file_table: None,
        unread: Vec::new(),
    }
}

/// A process whose only thread waits on the socket.
pub fn holder(pid: u32) -> Holder {
    Holder {
        pid,
        ppid: 1,
        comm: "app".to_owned(),
        program: Some((1, 2)),
        sockets: vec![3],
        descriptors: Some(Descriptors { open: 20, limit: 1024 }),
        tracer: None,
        groups: Vec::new(),
        polled: Vec::new(),
        threads: vec![in_call(pid, "accept4", On::Listener)],
        thread_count: 1,
        threads_ended: Some(false),
        calls_readable: true,
    }
}

/// A process with these threads.
pub fn with_threads(pid: u32, threads: Vec<Thread>) -> Holder {
    let thread_count = u32::try_from(threads.len()).unwrap_or(u32::MAX);
    Holder { threads, thread_count, ..holder(pid) }
}

/// A thread that sleeps, of which nothing else can be read.
pub fn thread(tid: u32) -> Thread {
    let reading = reading('S', 0, 0);
    Thread {
        tid,
        comm: "app".to_owned(),
        first: reading.clone(),
        second: reading,
        stack: Vec::new(),
    }
}

/// A reading without a system call.
pub fn reading(state: char, run_ns: u64, wait_ns: u64) -> Reading {
    Reading { state, run_ns, wait_ns, wchan: String::new(), call: None }
}

/// A thread that sleeps in a system call, at both readings.
pub fn in_call(tid: u32, name: &str, on: On) -> Thread {
    let call = Some(Call { name: name.to_owned(), on });
    let reading = Reading { call, ..reading('S', 0, 0) };
    Thread { first: reading.clone(), second: reading, ..thread(tid) }
}

/// The same, in one whose arguments say nothing.
pub fn sleeping(tid: u32, name: &str) -> Thread {
    in_call(tid, name, On::Unknown)
}

/// A thread that was on a CPU and runnable for these parts of the time, percent.
pub fn running(tid: u32, run: u64, wait: u64) -> Thread {
    let first = reading('R', 0, 0);
    let second = reading('R', run * APART_NS / 100, wait * APART_NS / 100);
    Thread { first, second, ..thread(tid) }
}
