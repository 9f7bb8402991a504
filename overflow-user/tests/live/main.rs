//! Tests that need more than every machine and every user has: privileges, a feature of the kernel,
//! a program. Each names its needs, and where one is not met it is reported as ignored, with the
//! need. What they print goes to stderr: stdout is the harness's.

mod audit;
mod capture;
mod collector;
mod confinement;
mod delay;
mod examples;
mod harness;
mod hidden_listener;
mod hosts;
mod hurt_clients;
mod lab_kill;
mod lab_link;
mod lab_scenarios;
mod landlock;
mod listener;
mod looker;
mod metrics_live;
mod namespace;
mod needs;
mod otlp_live;
mod process;
mod recordings;
mod ring_full;
mod segment_lists;
mod sockets;
#[path = "../support/mod.rs"]
mod support;
mod top_live;
mod trace;
mod trace_live;
mod two_hosts;
mod why;

use std::{process::ExitCode, thread};

use libtest_mimic::Arguments;

/// The program under test.
const OVERFLOW: &str = env!("CARGO_BIN_EXE_overflow");

/// More at a time would keep each other from their deadlines.
const THREADS: usize = 4;

fn main() -> ExitCode {
    if lab_link::is_child() {
        lab_link::run_cell();
        return ExitCode::SUCCESS;
    }
    if sockets::is_server() {
        sockets::serve();
        return ExitCode::SUCCESS;
    }
    if why::is_server() {
        why::serve();
        return ExitCode::SUCCESS;
    }
    let mut args = Arguments::from_args();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    args.test_threads.get_or_insert(processors.min(THREADS));
    let groups = [
        audit::TESTS,
        capture::TESTS,
        confinement::TESTS,
        delay::TESTS,
        examples::TESTS,
        hidden_listener::TESTS,
        hurt_clients::TESTS,
        lab_kill::TESTS,
        lab_link::TESTS,
        lab_scenarios::TESTS,
        landlock::TESTS,
        looker::TESTS,
        metrics_live::TESTS,
        otlp_live::TESTS,
        recordings::TESTS,
        ring_full::TESTS,
        segment_lists::TESTS,
        sockets::TESTS,
        top_live::TESTS,
        trace_live::TESTS,
        two_hosts::TESTS,
        why::TESTS,
    ];
    let trials = groups.into_iter().flatten().flat_map(|group| group.trials(!args.list));
    libtest_mimic::run(&args, trials.collect()).exit_code()
}
