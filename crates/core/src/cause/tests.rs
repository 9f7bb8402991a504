//! The rules as cases: what is seen of the holders, and which causes come of it.

mod queues;

use super::{
    CauseId::{self, *},
    Evidence, Judgement,
    evidence::{FileTable, Rises},
    judge,
    sample::{
        APART_NS, evidence, holder, in_call, reading, running, sleeping, thread, with_threads,
    },
    task::{
        Call, ControlGroup, Descriptors, Holder, Memory, On, Polled, Quota, Reading, Thread, Waiter,
    },
};

const EPOLLIN: u32 = 0x1;
const EPOLLET: u32 = 1 << 31;

fn ids(evidence: &Evidence) -> Vec<CauseId> {
    judge(evidence).causes.iter().map(|found| found.id).collect()
}

fn of(holders: Vec<Holder>) -> Vec<CauseId> {
    ids(&stalled(holders))
}

/// Nothing was accepted: no child was made and the queue stood still.
fn stalled(holders: Vec<Holder>) -> Evidence {
    Evidence { rises: Some(Rises::default()), ..evidence(holders) }
}

/// The sentence of the first cause.
fn said(holder: Holder) -> String {
    judge(&stalled(vec![holder])).main().map(|found| found.evidence[0].clone()).unwrap_or_default()
}

fn single(thread: Thread) -> Holder {
    with_threads(thread.tid, vec![thread])
}

fn in_state(state: char) -> Thread {
    Thread { first: reading(state, 0, 0), second: reading(state, 0, 0), ..thread(10) }
}

/// Waits in a set that has the listener with these events.
fn polling(events: u32) -> Holder {
    let polled = vec![Polled { epoll: 4, events }];
    Holder { polled, ..single(in_call(10, "epoll_wait", On::Epoll(4))) }
}

fn group(cpu: Option<Quota>, memory: Option<Memory>) -> ControlGroup {
    ControlGroup { path: "/app".to_owned(), frozen: false, cpu, memory }
}

fn quota(periods: u64, throttled: u64) -> Quota {
    Quota { quota_us: 5_000, period_us: 100_000, periods, throttled, throttled_us: 1 }
}

/// Each cause is told from the others by its outcome, whichever it is.
#[test]
fn every_cause_has_exactly_one_outcome() {
    let dark = Holder { calls_readable: false, ..single(thread(10)) };
    for holders in [vec![], vec![holder(10)], vec![dark], vec![single(sleeping(10, "read"))]] {
        let Judgement { causes, ruled_out, unknown } = judge(&stalled(holders));
        let mut all: Vec<CauseId> = causes.iter().map(|found| found.id).collect();
        all.extend(ruled_out.iter().chain(&unknown).map(|(id, _)| *id));
        all.sort_unstable();
        assert_eq!(all, CauseId::ALL);
        assert!(ruled_out.iter().chain(&unknown).all(|(_, why)| !why.is_empty()));
    }
}

#[test]
fn whoever_waits_on_the_socket_is_no_cause() {
    assert_eq!(of(vec![holder(10)]), []);
    assert_eq!(of(vec![polling(EPOLLIN)]), []);
}

#[test]
fn stopped_by_a_signal_a_debugger_or_a_frozen_group() {
    assert_eq!(of(vec![single(in_state('T'))]), [Stopped]);
    let traced = Holder { tracer: Some(99), ..single(in_state('t')) };
    assert!(said(traced).contains("process 99 traces it"));
    let frozen = ControlGroup { frozen: true, ..group(None, None) };
    let frozen = Holder { groups: vec![frozen], ..single(in_state('S')) };
    assert_eq!(of(vec![frozen.clone()]), [Stopped]);
    assert!(said(frozen).contains("control group /app is frozen"));
}

#[test]
fn one_stopped_thread_of_several_stops_no_process() {
    let threads = vec![Thread { tid: 11, ..in_state('t') }, in_call(10, "accept4", On::Listener)];
    assert_eq!(of(vec![with_threads(10, threads)]), []);
}

#[test]
fn blocked_in_a_call_that_is_named_with_its_kernel_stack() {
    for call in ["futex", "clock_nanosleep", "recvfrom", "wait4", "fsync", "flock"] {
        assert_eq!(of(vec![single(sleeping(10, call))]), [Blocked], "{call}");
    }
    let mut thread = in_call(10, "recvfrom", On::File(7, "socket:[9]".to_owned()));
    thread.second.wchan = "wait_woken".to_owned();
    thread.stack = vec!["wait_woken".to_owned(), "sk_wait_data".to_owned()];
    assert_eq!(
        said(single(thread)),
        "app/10 sleeps in recvfrom(7) on socket:[9], at wait_woken and does not call accept(); kernel \
         stack: wait_woken < sk_wait_data"
    );
    assert!(said(single(in_state('D'))).contains("sleeps uninterruptibly in"));
}

#[test]
fn busy_is_time_on_the_cpu_without_accept() {
    assert_eq!(of(vec![single(running(10, 97, 3))]), [Busy]);
    assert!(said(single(running(10, 97, 3))).contains("on a CPU 97 % of the time"));
    // Node's helpers sleep meanwhile.
    let threads = vec![running(10, 99, 0), sleeping(11, "futex"), sleeping(12, "epoll_wait")];
    assert_eq!(of(vec![with_threads(10, threads)]), [Busy]);
}

#[test]
fn throttled_only_in_half_of_the_periods_and_only_who_wants_to_run() {
    let with = |thread: Thread, periods, throttled| Holder {
        groups: vec![group(Some(quota(periods, throttled)), None)],
        ..single(thread)
    };
    // The rest of the time it was accepting: nothing tells that it was not.
    let unseen = |holder| ids(&evidence(vec![holder]));
    assert_eq!(unseen(with(running(10, 5, 0), 2, 2)), [CpuThrottled]);
    assert_eq!(of(vec![with(running(10, 60, 40), 2, 0)]), [Busy]);
    assert_eq!(of(vec![with(running(10, 60, 40), 0, 0)]), [Busy]);
    assert_eq!(of(vec![with(sleeping(10, "futex"), 2, 2)]), [Blocked]);
    // It used all that it got, and accepted nothing.
    assert_eq!(of(vec![with(running(10, 60, 0), 2, 2)]), [CpuThrottled, Busy]);
}

#[test]
fn starved_is_runnable_and_not_running() {
    assert_eq!(of(vec![single(running(10, 0, 0))]), [CpuStarved]);
    assert_eq!(of(vec![single(running(10, 4, 90))]), [CpuStarved]);
    // With that much it would have accepted, had it tried.
    assert_eq!(of(vec![single(running(10, 12, 88))]), [Busy]);
    assert_eq!(ids(&evidence(vec![single(running(10, 12, 88))])), [CpuStarved]);
    assert_eq!(of(vec![single(running(10, 50, 50))]), [Busy]);
}

#[test]
fn a_process_without_descriptors_is_not_blocked_by_what_it_does_then() {
    let fds = Some(Descriptors { open: 12, limit: 12 });
    for thread in
        [sleeping(10, "clock_nanosleep"), running(10, 99, 0), in_call(10, "accept4", On::Listener)]
    {
        let full = Holder { descriptors: fds, ..single(thread) };
        assert_eq!(of(vec![full]), [FdLimit]);
    }
    let room = Holder {
        descriptors: Some(Descriptors { open: 11, limit: 12 }),
        ..single(sleeping(10, "clock_nanosleep"))
    };
    assert_eq!(of(vec![room]), [Blocked]);
}

#[test]
fn a_full_table_of_files_fails_accept_unless_it_goes_on() {
    let table = |allocated| Some(FileTable { allocated, max: 1000 });
    let with = |allocated| Evidence {
        file_table: table(allocated),
        ..stalled(vec![single(sleeping(10, "clock_nanosleep"))])
    };
    assert_eq!(ids(&with(1000)), [FdLimit]);
    assert_eq!(ids(&with(999)), [Blocked]);
    let mut going_on = with(1000);
    going_on.queue[1].recv_q = 100;
    assert!(!judge(&going_on).holds(FdLimit));
}

#[test]
fn memory_needs_a_stall_or_a_thread_in_reclaim_at_the_limit() {
    let at = |current, hits, stalled_us| Memory {
        current,
        limit: 1000,
        hits,
        stalled_us,
        under_oom: false,
    };
    let with =
        |memory, thread| Holder { groups: vec![group(None, Some(memory))], ..single(thread) };
    let reclaim = Thread {
        stack: vec!["shrink_lruvec".to_owned(), "try_to_free_mem_cgroup_pages".to_owned()],
        ..in_state('S')
    };
    let half = APART_NS / 2000;
    assert_eq!(of(vec![with(at(500, 0, Some(half)), sleeping(10, "read"))]), [Memory_]);
    assert_eq!(of(vec![with(at(990, 5, Some(0)), reclaim.clone())]), [Memory_]);
    assert_eq!(of(vec![with(at(990, 5, None), sleeping(10, "read"))]), [Blocked]);
    let oom = Memory { under_oom: true, ..at(1000, 0, None) };
    assert_eq!(of(vec![with(oom, sleeping(10, "read"))]), [Memory_]);
    // Of the whole system: only a thread that waits for it shows it.
    let disk = |state| Thread {
        second: reading(state, 0, 0),
        first: reading(state, 0, 0),
        ..reclaim.clone()
    };
    assert_eq!(of(vec![single(disk('D'))]), [Memory_]);
}

use super::CauseId::Memory as Memory_;

#[test]
fn nobody_waits_when_the_event_loop_sleeps_without_the_socket() {
    for call in ["epoll_wait", "poll", "ppoll", "select", "io_uring_enter", "pause"] {
        assert_eq!(of(vec![single(sleeping(10, call))]), [NoAcceptor], "{call}");
    }
    let elsewhere = in_call(10, "accept4", On::File(5, "socket:[8]".to_owned()));
    assert_eq!(of(vec![single(elsewhere)]), [NoAcceptor]);
    assert!(said(polling(EPOLLIN | EPOLLET)).contains("EPOLLET"));
    assert!(said(polling(0)).contains("does not ask for EPOLLIN"));
    assert_eq!(of(vec![polling(EPOLLIN | EPOLLET), polling(0)]), [NoAcceptor]);
}

#[test]
fn a_socket_that_no_process_holds_has_no_acceptor_unless_processes_are_hidden() {
    assert_eq!(of(vec![]), [NoAcceptor]);
    let hidden = Evidence { unread: vec!["hidden".to_owned()], ..stalled(vec![]) };
    let judged = judge(&hidden);
    assert_eq!(judged.causes, []);
    assert!(judged.unknown.contains(&(NoAcceptor, "hidden".to_owned())));
}

#[test]
fn of_several_threads_only_one_that_is_certain_is_blocked() {
    let several =
        |ended, threads| Holder { threads_ended: Some(ended), ..with_threads(10, threads) };
    let lock = |tid, address| in_call(tid, "futex", On::Futex(address, 0));
    let join = in_call(10, "futex", On::Futex(1, 11));
    // The pool shares a futex; whoever waits at another one is none of it.
    let pool = vec![join.clone(), lock(11, 7), lock(12, 9), lock(13, 9)];
    assert_eq!(of(vec![several(false, pool.clone())]), [Blocked]);
    assert!(
        said(several(false, pool.clone())).starts_with("thread app/11 of app/10 sleeps in futex()")
    );
    // Threads have ended: that one may be among them.
    assert_eq!(of(vec![several(true, pool)]), [NoAcceptor]);
    let left = several(true, vec![sleeping(10, "clock_nanosleep")]);
    assert!(
        said(left.clone()).starts_with("the only thread of app/10 does not wait on this socket")
    );
    assert_eq!(of(vec![Holder { threads_ended: Some(false), ..left }]), [Blocked]);
    let waits = in_call(10, "futex", On::Futex(1, 12));
    let idle = several(false, vec![waits, lock(12, 9), lock(13, 9)]);
    assert_eq!(of(vec![idle]), [NoAcceptor]);
    let mut named = vec![join, lock(11, 7), lock(12, 8)];
    named[2].comm = "http-nio-8080-A".to_owned();
    assert!(said(several(true, named)).starts_with("thread http-nio-8080-A/12"));
    let disk = vec![sleeping(10, "pause"), Thread { tid: 11, ..in_state('D') }, lock(12, 8)];
    assert!(
        said(several(true, disk)).starts_with("thread app/11 of app/10 sleeps uninterruptibly")
    );
}

#[test]
fn a_runtime_with_an_edge_triggered_set_parks_its_threads() {
    let park = |tid, address| in_call(tid, "futex", On::Futex(address, 0));
    let polled = vec![Polled { epoll: 4, events: EPOLLIN | EPOLLET }];
    let epoll = in_call(11, "epoll_pwait", On::Epoll(4));
    let with = |thread| Holder {
        polled: polled.clone(),
        ..with_threads(10, vec![thread, epoll.clone(), park(12, 9)])
    };
    assert_eq!(of(vec![with(park(10, 7))]), [NoAcceptor]);
    assert_eq!(of(vec![with(running(10, 90, 0))]), [Busy]);
    // What its other threads do is not for the event loop.
    assert_eq!(of(vec![with(sleeping(10, "clock_nanosleep"))]), [NoAcceptor]);
    assert_eq!(of(vec![with(sleeping(10, "recvfrom"))]), [NoAcceptor]);
    assert_eq!(of(vec![with(in_state('D'))]), [Blocked]);
}

#[test]
fn a_thread_that_only_waits_for_a_time_is_the_least_likely() {
    let ticker = |tid| sleeping(tid, "clock_nanosleep");
    let both = with_threads(10, vec![ticker(10), sleeping(11, "recvfrom")]);
    assert!(said(both).starts_with("thread app/11 of app/10 sleeps in recvfrom()"));
    let idle = with_threads(10, vec![ticker(10), sleeping(11, "epoll_wait")]);
    assert_eq!(of(vec![idle]), [NoAcceptor]);
}

#[test]
fn an_earlier_look_knows_who_accepts() {
    let waiter = |tid| Waiter { pid: 10, tid, comm: "acc".to_owned(), t_ns: 5 };
    let threads = vec![sleeping(10, "clock_nanosleep"), in_call(12, "futex", On::Futex(7, 0))];
    let process = Holder { threads_ended: Some(true), ..with_threads(10, threads) };
    let with = |tid, holder: &Holder| Evidence {
        waited: vec![waiter(tid)],
        ..stalled(vec![holder.clone()])
    };
    let judged = judge(&with(12, &process));
    assert_eq!(judged.main().unwrap().id, Blocked);
    assert!(judged.main().unwrap().evidence[0].starts_with("thread app/12"));
    let judged = judge(&with(11, &process));
    assert_eq!(
        judged.causes[0].evidence,
        ["thread acc/11 of app/10, which waited on this socket before, has ended"]
    );
    // What others are busy with does not matter then.
    let mut busy = process.clone();
    busy.threads[0] = running(10, 99, 0);
    assert_eq!(ids(&with(11, &busy)), [NoAcceptor]);
    assert_eq!(ids(&with(12, &busy)), [Blocked]);
    // Not all threads were looked at: it may be among the others.
    busy.thread_count = 900;
    assert_eq!(ids(&with(11, &busy)), []);
}

#[test]
fn several_processes_can_have_several_causes() {
    let worker = |pid, thread: Thread| Holder {
        ppid: 9,
        ..with_threads(pid, vec![Thread { tid: pid, ..thread }])
    };
    let master = Holder { ppid: 1, ..single(Thread { tid: 9, ..sleeping(9, "rt_sigsuspend") }) };
    let workers = vec![
        master,
        worker(11, in_state('T')),
        worker(12, running(12, 99, 0)),
        worker(13, in_state('T')),
    ];
    let judged = judge(&stalled(workers));
    assert_eq!(judged.causes.iter().map(|c| c.id).collect::<Vec<_>>(), [Stopped, Busy]);
    assert_eq!(judged.causes[0].evidence.len(), 2);
    assert_eq!(judged.causes[0].values[0], ("pid", 11));
}

/// A recording can come from anybody.
#[test]
fn nonsense_is_judged_without_a_panic() {
    let most = Quota {
        quota_us: u64::MAX,
        period_us: u64::MAX,
        periods: u64::MAX,
        throttled: u64::MAX,
        throttled_us: u64::MAX,
    };
    let memory = Memory {
        current: u64::MAX,
        limit: 0,
        hits: u64::MAX,
        stalled_us: Some(u64::MAX),
        under_oom: false,
    };
    let thread = Thread { second: reading('R', u64::MAX, u64::MAX), ..in_state('R') };
    let mut holder = Holder {
        groups: vec![group(Some(most), None), group(None, Some(memory))],
        descriptors: Some(Descriptors { open: u64::MAX - 1, limit: u64::MAX }),
        ..single(thread)
    };
    for apart_ns in [0, u64::MAX] {
        let mut evidence = Evidence { apart_ns, t_ns: u64::MAX, ..evidence(vec![holder.clone()]) };
        let (passive_opens, cookies_sent, cookies_back) = (u64::MAX, u64::MAX, u64::MAX);
        evidence.rises = Some(Rises { passive_opens, cookies_sent, cookies_back });
        evidence.listener.syn_recv = Some(u32::MAX);
        evidence.listener.send_q = Some(u32::MAX);
        for sample in &mut evidence.queue {
            (sample.t_ns, sample.recv_q, sample.drops) = (u64::MAX, u32::MAX, Some(u32::MAX));
        }
        judge(&evidence);
        evidence.queue[1].recv_q = 0;
        judge(&evidence);
    }
    holder.threads.clear();
    judge(&evidence(vec![holder]));
}

#[test]
fn what_may_not_be_read_is_unknown_and_not_ruled_out() {
    let dark = Holder { calls_readable: false, ..single(thread(10)) };
    let judged = judge(&Evidence { unread: vec!["no rights".to_owned()], ..stalled(vec![dark]) });
    assert_eq!(judged.causes, []);
    let unknown: Vec<_> = judged.unknown.iter().map(|(id, _)| *id).collect();
    assert!(unknown.contains(&Blocked) && unknown.contains(&NoAcceptor));
    assert!(!unknown.contains(&Stopped) && !unknown.contains(&FdLimit));
    // The wait channel alone shows that it sleeps, and in what kind of call.
    let call = None::<Call>;
    let at = Reading { wchan: "futex_wait_queue".to_owned(), call, ..reading('S', 0, 0) };
    let seen = single(Thread { first: at.clone(), second: at, ..thread(10) });
    assert_eq!(of(vec![seen]), [Blocked]);
}
