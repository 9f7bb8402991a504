//! What holds up one process that could accept: a rule for each kind, the first that holds.

use std::fmt::Write as _;

use super::{
    arrivals::{Accepting, Flow},
    catalog::CauseId,
    doing::{Doing, Sleep, doing},
    evidence::Evidence,
    task::{ControlGroup, Holder, Quota, Thread, Waiter},
    words,
};
use crate::text::duration::period;

/// Who used so much CPU time without any `accept()` is busy, nanoseconds, however much more it wants:
/// one takes microseconds.
const ENOUGH_NS: u64 = 20_000_000;
/// Part of the periods in which a group was throttled, percent, from which on that holds it up.
const THROTTLED: u64 = 50;
/// Part of the time for which a group's threads all stood still for memory, percent.
const STALLED: u64 = 25;
/// A limit counts as reached from this part of it on, percent.
const AT_LIMIT: u64 = 98;
/// Functions of mm/vmscan.c, mm/memcontrol.c and mm/memory.c in which a thread waits for memory.
const RECLAIM: &[&str] = &[
    "try_to_free_mem_cgroup_pages",
    "mem_cgroup_handle_over_high",
    "__mem_cgroup_handle_over_high",
    "mem_cgroup_oom_synchronize",
    "try_charge_memcg",
    "try_to_free_pages",
    "shrink_node",
    "do_swap_page",
];

/// What holds up a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// The kind of cause.
    pub(super) id: CauseId,
    /// What shows it: one sentence.
    pub(super) evidence: String,
    /// Its numbers, by name.
    pub(super) values: Vec<(&'static str, u64)>,
}

/// A process with what its threads did.
pub(super) struct Candidate<'a> {
    evidence: &'a Evidence,
    holder: &'a Holder,
    flow: Flow,
    threads: Vec<(&'a Thread, Doing)>,
}

impl<'a> Candidate<'a> {
    /// What the threads of `holder` did.
    pub(super) fn new(evidence: &'a Evidence, holder: &'a Holder, flow: Flow) -> Self {
        let of = |thread: &'a Thread| (thread, doing(thread, holder, evidence.apart_ns));
        let threads = holder.threads.iter().map(of).collect();
        Self { evidence, holder, flow, threads }
    }

    /// The first that holds, in this order: who is stopped can do nothing else, and `accept()`
    /// that fails explains whatever its caller does next. Who is throttled may besides be busy,
    /// and who is busy may want more than it gets.
    pub(super) fn reasons(&self) -> Vec<Reason> {
        let first = self
            .frozen()
            .or_else(|| self.stopped())
            .or_else(|| self.descriptors())
            .or_else(|| self.file_table())
            .or_else(|| self.memory());
        if first.is_some() {
            return first.into_iter().collect();
        }
        let spins = self.spins();
        if let Some(throttled) = self.throttled() {
            return std::iter::once(throttled).chain(spins).collect();
        }
        let then =
            spins.or_else(|| self.starved()).or_else(|| self.busy()).or_else(|| self.elsewhere());
        then.into_iter().collect()
    }

    /// Whether nothing is known of what its threads do.
    pub(super) fn is_dark(&self) -> bool {
        let dark = |doing: &Doing| matches!(doing, Doing::Asleep(Sleep::Unknown));
        self.threads.iter().all(|(_, doing)| dark(doing))
    }

    /// Whether some of its threads were not looked at.
    pub(super) fn is_cut(&self) -> bool {
        self.holder.thread_count as usize > self.threads.len()
    }

    fn reason_of(
        &self,
        id: CauseId,
        evidence: String,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Reason {
        let pid = ("pid", u64::from(self.holder.pid));
        Reason { id, evidence, values: std::iter::once(pid).chain(values).collect() }
    }

    fn frozen(&self) -> Option<Reason> {
        let group = self.holder.groups.iter().find(|group| group.frozen)?;
        let (who, path) = (words::process(self.holder), words::escaped(&group.path));
        let text = format!("{who} does not run: its control group {path} is frozen");
        Some(self.reason_of(CauseId::Stopped, text, []))
    }

    fn stopped(&self) -> Option<Reason> {
        let all = || self.threads.iter().map(|(_, doing)| doing);
        let stopped = |doing: &Doing| matches!(doing, Doing::Stopped { .. } | Doing::Ended);
        let traced = all().any(|doing| matches!(doing, Doing::Stopped { traced: true }));
        if all().count() == 0 || !all().all(stopped) {
            return None;
        }
        let who = words::process(self.holder);
        if let Some(tracer) = self.holder.tracer.filter(|_| traced) {
            let text = format!(
                "{who} does not run: process {tracer} traces it and has stopped it (state t)"
            );
            return Some(self.reason_of(CauseId::Stopped, text, [("tracer", tracer.into())]));
        }
        let text = format!("{who} does not run: a signal has stopped it (state T)");
        Some(self.reason_of(CauseId::Stopped, text, []))
    }

    fn descriptors(&self) -> Option<Reason> {
        let fds = self.holder.descriptors.filter(|fds| fds.open >= fds.limit)?;
        let text = format!(
            "{} has all {} file descriptors open that it may have, so accept() fails with EMFILE",
            words::process(self.holder),
            fds.limit
        );
        let values = [("descriptors", fds.open), ("descriptors_limit", fds.limit)];
        Some(self.reason_of(CauseId::FdLimit, text, values))
    }

    fn file_table(&self) -> Option<Reason> {
        // One with CAP_SYS_ADMIN may exceed it (alloc_empty_file), so that accept() goes on.
        let table = self.evidence.file_table.filter(|table| table.allocated >= table.max)?;
        if self.flow.accepts() {
            return None;
        }
        let text = format!(
            "the system has {} files open, and fs.file-max is {}, so accept() fails with ENFILE",
            table.allocated, table.max
        );
        let values = [("files", table.allocated), ("files_limit", table.max)];
        Some(self.reason_of(CauseId::FdLimit, text, values))
    }

    fn memory(&self) -> Option<Reason> {
        let waits = |thread: &&Thread| {
            let reclaims = |f: &String| RECLAIM.contains(&f.as_str());
            thread.stack.iter().any(reclaims)
        };
        let in_reclaim = self.threads.iter().map(|(thread, _)| *thread).find(waits);
        let who = words::process(self.holder);
        for group in &self.holder.groups {
            let Some(memory) = group.memory else { continue };
            let stalled = memory
                .stalled_us
                .map(|us| percent(us.saturating_mul(1000), self.evidence.apart_ns));
            let full = percent(memory.current, memory.limit) >= AT_LIMIT;
            let held = memory.under_oom
                || stalled.is_some_and(|part| part >= STALLED)
                || (full && memory.hits > 0 && in_reclaim.is_some());
            if !held {
                continue;
            }
            let how = match (memory.under_oom, stalled) {
                (true, _) => ", and waits for the OOM killer".to_owned(),
                (false, Some(part)) if part > 0 => {
                    format!(", and all its threads stood still for memory {part} % of the time")
                }
                (false, _) => format!(", and was at the limit {} times meanwhile", memory.hits),
            };
            let text = format!(
                "{who} is held up by memory: its control group {} uses {} of {}{how}",
                words::escaped(&group.path),
                words::bytes(memory.current),
                words::bytes(memory.limit),
            );
            let values = [("memory_bytes", memory.current), ("memory_limit_bytes", memory.limit)];
            return Some(self.reason_of(CauseId::Memory, text, values));
        }
        let thread = in_reclaim.filter(|t| t.second.state == 'D' && t.first.state == 'D')?;
        let text = format!(
            "{} waits for memory: {}",
            words::thread(thread, self.holder),
            words::stack(thread)
        );
        Some(self.reason_of(CauseId::Memory, text, [("tid", thread.tid.into())]))
    }

    fn throttled(&self) -> Option<Reason> {
        // Who sleeps is not held up by what others of its group use up.
        let wants =
            |doing: &Doing| matches!(doing, Doing::Running(_) | Doing::Starved(_) | Doing::Awake);
        if !self.threads.iter().any(|(_, doing)| wants(doing)) {
            return None;
        }
        let of = |quota: &Quota| {
            quota.periods > 0 && percent(quota.throttled, quota.periods) >= THROTTLED
        };
        let limited = |group: &&ControlGroup| group.cpu.as_ref().is_some_and(of);
        let group = self.holder.groups.iter().find(limited)?;
        let quota = group.cpu?;
        let text = format!(
            "{} may use {} of CPU time in every {}, and its control group {} was throttled in {} of \
             {} periods",
            words::process(self.holder),
            period(quota.quota_us.saturating_mul(1000)),
            period(quota.period_us.saturating_mul(1000)),
            words::escaped(&group.path),
            quota.throttled,
            quota.periods,
        );
        let values = [
            ("quota_us", quota.quota_us),
            ("period_us", quota.period_us),
            ("periods", quota.periods),
            ("periods_throttled", quota.throttled),
        ];
        Some(self.reason_of(CauseId::CpuThrottled, text, values))
    }

    fn starved(&self) -> Option<Reason> {
        let part = |_: &Thread, doing: &Doing| match doing {
            Doing::Starved(part) => Some(*part),
            _ => None,
        };
        let (thread, part) = self.most(part)?;
        let text = format!(
            "{} wants to run and has no CPU {part} % of the time",
            words::thread(thread, self.holder)
        );
        let values = [("tid", u64::from(thread.tid)), ("waiting_percent", part)];
        Some(self.reason_of(CauseId::CpuStarved, text, values))
    }

    /// A thread without enough CPU that used what it got, and it was not for `accept()`.
    fn spins(&self) -> Option<Reason> {
        if self.flow.accepting != Accepting::No || self.acceptors_gone() {
            return None;
        }
        let wants = |thread: &Thread, doing: &Doing| {
            let ran = thread.second.run_ns.saturating_sub(thread.first.run_ns);
            (matches!(doing, Doing::Starved(_) | Doing::Running(_)) && ran >= ENOUGH_NS)
                .then_some(ran)
        };
        let (thread, ran) = self.most(wants)?;
        let part = percent(ran, self.evidence.apart_ns);
        Some(self.busy_in(thread, part))
    }

    fn busy(&self) -> Option<Reason> {
        if self.flow.accepts() || self.acceptors_gone() {
            return None;
        }
        let part = |_: &Thread, doing: &Doing| match doing {
            Doing::Running(part) => Some(*part),
            _ => None,
        };
        let (thread, part) = self.most(part)?;
        Some(self.busy_in(thread, part))
    }

    fn busy_in(&self, thread: &Thread, part: u64) -> Reason {
        let text = format!(
            "{} is on a CPU {part} % of the time and {}",
            words::thread(thread, self.holder),
            self.accepts_not()
        );
        let values = [("tid", u64::from(thread.tid)), ("cpu_percent", part)];
        self.reason_of(CauseId::Busy, text, values)
    }

    /// Who could accept sleeps elsewhere, or nobody does.
    fn elsewhere(&self) -> Option<Reason> {
        if self.flow.accepts() {
            return None;
        }
        if let Some(gone) = self.gone() {
            return Some(gone);
        }
        let waits = |doing: &Doing| matches!(doing, Doing::Waits);
        if self.threads.is_empty() || self.threads.iter().any(|(_, doing)| waits(doing)) {
            return None;
        }
        let stuck = self.stuck();
        if let Some((thread, sleep)) = stuck.first() {
            return Some(self.blocked(thread, *sleep, stuck.len() - 1));
        }
        self.nobody()
    }

    /// That it does not accept, as surely as that is known.
    fn accepts_not(&self) -> &'static str {
        match self.flow.accepting {
            Accepting::No => "does not call accept()",
            Accepting::Unknown | Accepting::AtLeast(_) => "was not seen to call accept()",
        }
    }

    fn blocked(&self, thread: &Thread, sleep: Sleep, others: usize) -> Reason {
        let kind = if sleep == Sleep::Disk { "sleeps uninterruptibly in" } else { "sleeps in" };
        let mut text = format!(
            "{} {kind} {} and {}",
            words::thread(thread, self.holder),
            words::place(&thread.second),
            self.accepts_not()
        );
        if !thread.stack.is_empty() {
            text.push_str("; kernel stack: ");
            text.push_str(&words::stack(thread));
        }
        if others > 0 {
            let _ = write!(text, "; so do {others} of its other threads, or elsewhere");
        }
        self.reason_of(CauseId::Blocked, text, [("tid", thread.tid.into())])
    }

    fn nobody(&self) -> Option<Reason> {
        let of = |wanted: Sleep| {
            let found = self.threads.iter().find(|(_, d)| *d == Doing::Asleep(wanted));
            found.map(|(thread, _)| words::thread(thread, self.holder))
        };
        let text = if let Some(who) = of(Sleep::Edge) {
            format!(
                "{who} waits for it by epoll, edge-triggered (EPOLLET): the edge has passed, accept() \
                 was not called until the queue was empty, and a full queue makes no new one"
            )
        } else if let Some(who) = of(Sleep::Disarmed) {
            format!("{who} has it in its epoll set, but does not ask for EPOLLIN at the moment")
        } else if let Some(who) = of(Sleep::Events) {
            format!("{who} waits for events, but not for this socket's")
        } else if self.is_dark() || self.is_cut() {
            return None;
        } else {
            let threads = match self.holder.thread_count {
                1 => format!("the only thread of {} does not wait", words::process(self.holder)),
                n => format!("none of the {n} threads of {} waits", words::process(self.holder)),
            };
            let ended = if self.holder.threads_ended == Some(true) {
                "; the one that did may be among those that have ended"
            } else {
                ""
            };
            format!("{threads} on this socket, in accept(), poll() or epoll{ended}")
        };
        Some(self.reason_of(CauseId::NoAcceptor, text, []))
    }

    /// Who waited on the socket at an earlier look, and is no more.
    fn gone(&self) -> Option<Reason> {
        let waiter = self.waiters().next().filter(|_| self.acceptors_gone())?;
        let text = format!(
            "thread {}/{} of {}, which waited on this socket before, has ended",
            words::escaped(&waiter.comm),
            waiter.tid,
            words::process(self.holder)
        );
        Some(self.reason_of(CauseId::NoAcceptor, text, [("tid", waiter.tid.into())]))
    }

    fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.evidence.waited.iter().filter(|waiter| waiter.pid == self.holder.pid)
    }

    /// Whether all that waited on the socket at an earlier look have ended.
    fn acceptors_gone(&self) -> bool {
        let lives =
            |waiter: &Waiter| self.threads.iter().any(|(thread, _)| thread.tid == waiter.tid);
        !self.is_cut() && self.waiters().next().is_some() && !self.waiters().any(lives)
    }

    /// The thread of which `part` says most.
    fn most(&self, part: impl Fn(&Thread, &Doing) -> Option<u64>) -> Option<(&'a Thread, u64)> {
        let known: Vec<u32> = self.waiters().map(|waiter| waiter.tid).collect();
        let meant = |tid: u32| known.is_empty() || known.contains(&tid);
        let threads = self.threads.iter().filter(|(thread, _)| meant(thread.tid));
        let of = threads.filter_map(|(thread, doing)| Some((*thread, part(thread, doing)?)));
        of.max_by_key(|(thread, part)| (*part, thread.tid == self.holder.pid))
    }

    /// The threads that sleep elsewhere and could be the one that accepts, the likeliest first.
    fn stuck(&self) -> Vec<(&'a Thread, Sleep)> {
        let asleep = || {
            self.threads.iter().filter_map(|(thread, doing)| match doing {
                Doing::Asleep(sleep) => Some((*thread, *sleep)),
                _ => None,
            })
        };
        // Who waited on the socket before is known.
        let known: Vec<_> =
            asleep().filter(|(t, _)| self.waiters().any(|w| w.tid == t.tid)).collect();
        if !known.is_empty() {
            return known.into_iter().filter(|(_, sleep)| !sleep.is_idle()).collect();
        }
        // An event loop that has the socket and sleeps is not held up; what others of its process
        // wait for is their own work.
        let has = |wanted: &[Sleep]| asleep().any(|(_, sleep)| wanted.contains(&sleep));
        let (ours, idle) = (has(&[Sleep::Edge, Sleep::Disarmed]), has(&[Sleep::Events]));
        let shared =
            |address: u64| asleep().filter(|(_, s)| *s == Sleep::Futex(address)).count() > 1;
        let mut could: Vec<_> = asleep()
            .filter(|(_, sleep)| match sleep {
                Sleep::Disk => true,
                Sleep::Call => !ours,
                // Threads that share one are a pool that waits for work.
                Sleep::Futex(address) => !ours && !shared(*address),
                // Beside an event loop it is something that is done again and again.
                Sleep::Timer => !ours && !idle,
                Sleep::Edge
                | Sleep::Disarmed
                | Sleep::Events
                | Sleep::Signal
                | Sleep::Join(_)
                | Sleep::Unknown => false,
            })
            .collect();
        let certain = |t: &Thread, sleep: Sleep| sleep == Sleep::Disk || accepts_by_name(&t.comm);
        could.sort_by_key(|(t, sleep)| (!certain(t, *sleep), *sleep == Sleep::Timer));
        if could.first().is_some_and(|(t, sleep)| certain(t, *sleep)) {
            could.truncate(1);
            return could;
        }
        // The one that accepted may be among those that have ended.
        if self.holder.threads_ended == Some(false) { could } else { Vec::new() }
    }
}

/// Whether a thread's name, at most 15 bytes of it, says that it accepts: `http-nio-8080-A` is
/// Tomcat's Acceptor.
fn accepts_by_name(comm: &str) -> bool {
    let cut = ["-A", "-Ac", "-Acc", "-Acce"];
    comm.to_ascii_lowercase().contains("accept")
        || (comm.len() == 15 && cut.iter().any(|end| comm.ends_with(end)))
}

fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100) / whole.max(1)
}
