//! The process that looks at listeners, hurt: tracing goes on, it comes back, and Ctrl-C is Ctrl-C.

use std::{
    fs,
    io::BufRead,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    confinement::{Trace, overflow},
    harness::tests,
    namespace::in_namespace,
    needs::Need::{Namespaces, Program, Tracing},
    process::wait_until,
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]:
        one_that_is_killed_is_replaced,
        one_that_is_stopped_does_not_keep_a_trace_from_ending;
}

/// More than all that is waited for at the end, and less than patience would be without it.
const ENDS_IN: Duration = Duration::from_secs(15);

/// The processes that this one keeps to look, as the kernel has them now.
fn kept(keeper: Pid) -> Vec<Pid> {
    let pid = keeper.as_raw_pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().filter_map(|c| Pid::from_raw(c.parse().unwrap())).collect()
}

/// Overflows listeners until one is shown with its owner: one that was looked at, and is not known only
/// to have called `listen()`, as `~` says.
fn until_owned(trace: &mut Trace) {
    let me = format!("/{}", std::process::id());
    for _ in 0..20 {
        let port = overflow().port().to_string();
        let mut line = String::new();
        while !line.contains(&port) {
            line.clear();
            assert!(trace.stdout.read_line(&mut line).unwrap() > 0, "it ended");
        }
        if line.contains(&me) && !line.contains('~') {
            return;
        }
        thread::sleep(Duration::from_secs(1));
    }
    panic!("no owner is named");
}

fn one_that_is_killed_is_replaced() {
    in_namespace(|| {
        let mut trace = Trace::start(&[] as &[&str]);
        until_owned(&mut trace);
        let first = kept(trace.looker());
        assert_eq!(first.len(), 1);
        kill_process(first[0], Signal::KILL).unwrap();
        until_owned(&mut trace);
        let second = kept(trace.looker());
        assert!(second.len() == 1 && second != first, "{first:?} {second:?}");
        let (shown, printed) = trace.finish();
        assert!(shown.contains("told"), "{shown}");
        assert_eq!(printed.matches("cannot be looked at").count(), 1, "{printed}");
        assert!(printed.contains("it was ended by SIGKILL"), "{printed}");
        assert!(printed.contains("are looked at again"), "{printed}");
    });
}

fn one_that_is_stopped_does_not_keep_a_trace_from_ending() {
    in_namespace(|| {
        for keeper in [true, false] {
            let trace = Trace::start(&[] as &[&str]);
            let (parent, child) = (trace.looker(), kept(trace.looker())[0]);
            kill_process(if keeper { parent } else { child }, Signal::STOP).unwrap();
            overflow();
            let asked = Instant::now();
            let (shown, printed) = trace.finish();
            assert!(asked.elapsed() < ENDS_IN, "{:?}", asked.elapsed());
            assert!(shown.contains("syn.drop") || shown.contains("ListenOverflows"), "{shown}");
            assert!(printed.contains("does not answer in time"), "{printed}");
            let gone = |pid: Pid| {
                let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
                stat.map_or(true, |stat| stat.contains(") Z "))
            };
            wait_until("both end with the trace", || gone(parent) && gone(child));
        }
    });
}
