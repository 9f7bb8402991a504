//! What a thread did between two readings.

use super::task::{Holder, On, Polled, Reading, Thread};

/// Events of epoll, include/uapi/linux/eventpoll.h.
const EPOLLIN: u32 = 0x1;
const EPOLLRDNORM: u32 = 0x40;
const EPOLLET: u32 = 1 << 31;
/// From this part of the time on, in percent, a thread counts as running or as wanting to.
const MOSTLY: u64 = 50;
/// A runnable thread that gets less than one part in so many of what it wants is starved.
const STARVED: u64 = 4;

/// What a thread did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It is stopped, by a signal or by a tracer.
    Stopped { traced: bool },
    /// It was on CPUs for this part of the time, percent.
    Running(u64),
    /// It had no CPU for this part of the time, percent, although it was runnable.
    Starved(u64),
    /// It ran and slept, and is awake at the moment.
    Awake,
    /// It waits on this socket: for a connection, or for the readiness of one.
    Waits,
    /// It sleeps.
    Asleep(Sleep),
    /// It has ended.
    Ended,
}

/// What a sleeping thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sleep {
    /// For events, in an epoll set that has this socket: edge-triggered, and the edge has passed.
    Edge,
    /// The same, but the set does not ask whether the socket is readable at the moment.
    Disarmed,
    /// For events, and this socket's are not among them.
    Events,
    /// For a signal.
    Signal,
    /// For a thread of its process to end.
    Join(u32),
    /// For a futex at this address.
    Futex(u64),
    /// Uninterruptibly, as for a disk.
    Disk,
    /// For a time to pass.
    Timer,
    /// For something else.
    Call,
    /// It cannot be seen for what.
    Unknown,
}

impl Sleep {
    /// Whether this is how a thread waits that has nothing to do.
    pub(super) const fn is_idle(self) -> bool {
        match self {
            Self::Edge | Self::Disarmed | Self::Events | Self::Signal | Self::Join(_) => true,
            Self::Futex(_) | Self::Disk | Self::Timer | Self::Call | Self::Unknown => false,
        }
    }
}

/// What `thread` did in the `apart_ns` between its readings; its accept queue was not empty then.
pub(super) fn doing(thread: &Thread, holder: &Holder, apart_ns: u64) -> Doing {
    let Reading { state, .. } = thread.second;
    match state {
        'T' => return Doing::Stopped { traced: false },
        't' => return Doing::Stopped { traced: true },
        'Z' | 'X' | 'x' => return Doing::Ended,
        _ => {}
    }
    let percent = |ns: u64| (ns.saturating_mul(100) / apart_ns.max(1)).min(100);
    let run = percent(thread.second.run_ns.saturating_sub(thread.first.run_ns));
    let mut wait = percent(thread.second.wait_ns.saturating_sub(thread.first.wait_ns));
    // run_delay is added up when a thread gets a CPU (sched_info_arrive): of one that got none, it
    // does not move.
    if thread.first.state == 'R' && state == 'R' {
        wait = wait.max(100 - run);
    }
    let wants = (run + wait).min(100);
    if wants >= MOSTLY {
        let starved = run * STARVED < wants;
        return if starved { Doing::Starved(wait) } else { Doing::Running(run) };
    }
    if state == 'R' {
        return Doing::Awake;
    }
    asleep(thread, holder)
}

fn asleep(thread: &Thread, holder: &Holder) -> Doing {
    let Reading { state, call, wchan, .. } = &thread.second;
    if *state == 'D' && thread.first.state == 'D' {
        return Doing::Asleep(Sleep::Disk);
    }
    let Some(call) = call else { return Doing::Asleep(by_wchan(wchan)) };
    let sleep = match (call.name.as_str(), &call.on) {
        ("accept" | "accept4", On::Listener) => return Doing::Waits,
        ("epoll_wait" | "epoll_pwait" | "epoll_pwait2", On::Epoll(set)) => {
            match holder.polled.iter().find(|polled| polled.epoll == *set) {
                Some(polled) => match readiness(*polled) {
                    Some(sleep) => sleep,
                    None => return Doing::Waits,
                },
                None => Sleep::Events,
            }
        }
        // Their sets are in the process's memory. But a listener whose accept queue is not empty is
        // readable (inet_csk_listen_poll), so that none of these sleeps with it in its set.
        // And one that accepts from another socket is not for this one.
        (
            "accept" | "accept4" | "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "poll" | "ppoll"
            | "select" | "pselect6" | "io_uring_enter" | "io_getevents" | "io_pgetevents",
            _,
        ) => Sleep::Events,
        ("rt_sigtimedwait" | "rt_sigsuspend" | "pause", _) => Sleep::Signal,
        ("futex", On::Futex(_, tid))
            if *tid != thread.tid && holder.threads.iter().any(|t| t.tid == *tid) =>
        {
            // pthread_join waits until the kernel clears the thread's id (CLONE_CHILD_CLEARTID).
            Sleep::Join(*tid)
        }
        ("futex", On::Futex(address, _)) => Sleep::Futex(*address),
        ("nanosleep" | "clock_nanosleep", _) => Sleep::Timer,
        // What a signal interrupted: poll(), a futex or a timer.
        ("restart_syscall", _) => by_wchan(wchan),
        _ => Sleep::Call,
    };
    Doing::Asleep(sleep)
}

/// How a set that has the listener can sleep all the same; `None` if it cannot.
fn readiness(polled: Polled) -> Option<Sleep> {
    if polled.events & (EPOLLIN | EPOLLRDNORM) == 0 {
        Some(Sleep::Disarmed)
    } else if polled.events & EPOLLET != 0 {
        Some(Sleep::Edge)
    } else {
        None
    }
}

/// Where the kernel puts a thread to sleep whose system call may not be read: by the functions of
/// fs/eventpoll.c, fs/select.c, kernel/futex and kernel/time.
fn by_wchan(wchan: &str) -> Sleep {
    match wchan {
        "ep_poll"
        | "do_epoll_wait"
        | "do_sys_poll"
        | "do_select"
        | "poll_schedule_timeout"
        | "poll_schedule_timeout.constprop.0"
        | "io_cqring_wait" => Sleep::Events,
        "sigsuspend" | "do_sigtimedwait" => Sleep::Signal,
        "hrtimer_nanosleep" | "do_nanosleep" => Sleep::Timer,
        "" | "0" => Sleep::Unknown,
        _ => Sleep::Call,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            sample::{holder, in_call, reading, sleeping, thread},
            task::Call,
        },
        *,
    };

    const MS: u64 = 1_000_000;

    fn of(thread: Thread) -> Doing {
        let polled = [(4, EPOLLIN), (5, EPOLLIN | EPOLLET), (6, EPOLLET)];
        let polled = polled.map(|(epoll, events)| Polled { epoll, events }).to_vec();
        let other = Thread { tid: 12, ..thread.clone() };
        let holder = Holder { polled, threads: vec![thread, other], ..holder(10) };
        doing(&holder.threads[0], &holder, 100 * MS)
    }

    /// `run` and `wait` in ms of 100.
    fn ran(first: char, second: char, run: u64, wait: u64) -> Doing {
        of(Thread {
            first: reading(first, 7 * MS, 9 * MS),
            second: reading(second, (7 + run) * MS, (9 + wait) * MS),
            ..thread(10)
        })
    }

    #[test]
    fn time_on_cpus_decides_and_not_a_momentary_state() {
        assert_eq!(ran('R', 'R', 99, 0), Doing::Running(99));
        assert_eq!(ran('S', 'S', 80, 0), Doing::Running(80));
        // Half of a shared CPU is running.
        assert_eq!(ran('R', 'R', 50, 50), Doing::Running(50));
        assert_eq!(ran('R', 'R', 10, 20), Doing::Starved(90));
        assert_eq!(ran('S', 'S', 5, 60), Doing::Starved(60));
        // No CPU at all, so that run_delay does not move.
        assert_eq!(ran('R', 'R', 0, 0), Doing::Starved(100));
        assert_eq!(ran('R', 'S', 2, 1), Doing::Asleep(Sleep::Unknown));
        assert_eq!(ran('S', 'R', 2, 1), Doing::Awake);
    }

    #[test]
    fn stopped_is_what_the_state_says() {
        assert_eq!(ran('S', 'T', 0, 0), Doing::Stopped { traced: false });
        assert_eq!(ran('t', 't', 0, 0), Doing::Stopped { traced: true });
        assert_eq!(ran('S', 'Z', 0, 0), Doing::Ended);
    }

    #[test]
    fn only_some_ways_to_wait_are_for_this_socket() {
        let call = |name: &str, on| of(in_call(10, name, on));
        assert_eq!(call("accept4", On::Listener), Doing::Waits);
        assert_eq!(call("epoll_wait", On::Epoll(4)), Doing::Waits);
        let asleep = |name, on| match call(name, on) {
            Doing::Asleep(sleep) => sleep,
            other => panic!("{other:?}"),
        };
        assert_eq!(asleep("accept4", On::File(7, "socket:[9]".to_owned())), Sleep::Events);
        assert_eq!(asleep("epoll_wait", On::Epoll(5)), Sleep::Edge);
        assert_eq!(asleep("epoll_pwait", On::Epoll(6)), Sleep::Disarmed);
        assert_eq!(asleep("epoll_wait", On::Epoll(7)), Sleep::Events);
        assert_eq!(asleep("poll", On::Unknown), Sleep::Events);
        assert_eq!(asleep("pause", On::Unknown), Sleep::Signal);
        assert_eq!(asleep("futex", On::Futex(64, 2)), Sleep::Futex(64));
        assert_eq!(asleep("futex", On::Futex(64, 12)), Sleep::Join(12));
        // A futex may hold its own waiter's id, or one of another process.
        assert_eq!(asleep("futex", On::Futex(64, 10)), Sleep::Futex(64));
        assert_eq!(asleep("clock_nanosleep", On::Unknown), Sleep::Timer);
        assert_eq!(asleep("flock", On::File(3, String::new())), Sleep::Call);
        assert_eq!(asleep("restart_syscall", On::Unknown), Sleep::Unknown);
    }

    #[test]
    fn a_disk_sleep_lasts_over_both_readings() {
        assert_eq!(ran('D', 'D', 0, 0), Doing::Asleep(Sleep::Disk));
        assert_eq!(ran('S', 'D', 0, 0), Doing::Asleep(Sleep::Unknown));
    }

    #[test]
    fn without_system_calls_the_wait_channel_tells_the_kind() {
        let at = |wchan: &str| {
            let mut thread = sleeping(10, "read");
            thread.second =
                Reading { call: None::<Call>, wchan: wchan.to_owned(), ..thread.second };
            of(thread)
        };
        assert_eq!(at("ep_poll"), Doing::Asleep(Sleep::Events));
        assert_eq!(at("futex_wait_queue"), Doing::Asleep(Sleep::Call));
        assert_eq!(at("0"), Doing::Asleep(Sleep::Unknown));
    }
}
