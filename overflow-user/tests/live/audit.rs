//! The audit on the running kernel: an overflow that is told, one that a filter leaves out, one that
//! a trace is blind to, one that it missed.

use std::{
    env, fs,
    io::Read,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use overflow_common::Path;
use overflow_core::recording::{Frame, Recording};
use overflow_host::{files::Existing, recordings};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    OVERFLOW,
    harness::tests,
    listener::{Bound, counter},
    metrics_live::{page, start},
    namespace::{in_namespace, netns},
    needs::Need::{Namespaces, Program, Tracing},
    process::PATIENCE,
    trace::traced,
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]:
        what_is_told_is_what_the_kernel_counted,
        what_a_filter_leaves_out_is_explained,
        a_trace_that_is_blind_says_so,
        what_is_missed_is_unaccounted,
        metrics_have_what_the_kernel_counted;
}

/// What a trace with these options, of the calling thread's namespace, says while `work` is done:
/// its `audit` line if it has one, and its summary.
fn traced_json(options: &[&str], work: impl FnOnce()) -> (Option<Value>, Value) {
    let netns = netns();
    let mut command = Command::new(OVERFLOW);
    command.args(["trace", "--output", "json", "--netns", &netns.to_string()]).args(options);
    let (mut child, mut stdout, mut shown) = traced(&mut command, r#""type":"run""#);
    work();
    thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    stdout.read_to_string(&mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    let lines: Vec<Value> = shown.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let audits: Vec<&Value> = lines.iter().filter(|line| line["type"] == "audit").collect();
    assert!(audits.len() < 2, "{shown}");
    for audit in &audits {
        assert_eq!(audit["netns"], netns);
    }
    (audits.first().map(|audit| (*audit).clone()), lines.last().unwrap().clone())
}

/// How far `ListenOverflows` of the audit rose, what of it was told, and what is unaccounted.
fn overflows(audit: &Value) -> (u64, u64, i64) {
    let found = &audit["counters"]["ListenOverflows"];
    let number = |name: &str| found[name].as_u64().unwrap();
    (number("rose"), number("told"), found["unaccounted"].as_i64().unwrap())
}

fn what_is_told_is_what_the_kernel_counted() {
    in_namespace(|| {
        for options in [&[][..], &["--all"], &["--summary", "1"], &["--max-events-per-second", "1"]]
        {
            let before = counter("ListenOverflows");
            let (audit, summary) = traced_json(options, || drop(Bound::new().overflow(5)));
            let rose = counter("ListenOverflows") - before;
            assert!(rose >= 3, "{rose}");
            assert_eq!(overflows(&audit.unwrap()), (rose, rose, 0), "{options:?}");
            assert_eq!(summary["unaccounted"], 0);
        }
        // Nothing rose: there is nothing to say of any counter, and that is said.
        let (audit, summary) = traced_json(&[], || ());
        assert_eq!((audit, &summary["unaccounted"]), (None, &0.into()));
    });
}

fn what_a_filter_leaves_out_is_explained() {
    in_namespace(|| {
        for mode in [&[][..], &["--all"], &["--summary", "1"]] {
            let before = counter("ListenOverflows");
            let (other, listener) = (Bound::new(), Bound::new());
            let port = other.port().to_string();
            let options = [mode, &["-P", &port]].concat();
            let (audit, summary) = traced_json(&options, || drop(listener.overflow(5)));
            let rose = counter("ListenOverflows") - before;
            let audit = audit.unwrap();
            assert_eq!(overflows(&audit), (rose, 0, 0), "{audit}");
            // It was counted, and is not only excused.
            assert_eq!(audit["counters"]["ListenOverflows"]["left_out"], rose, "{audit}");
            let why = audit["counters"]["ListenOverflows"]["why"][0].as_str().unwrap();
            assert!(why.contains("at listeners that were not asked for"), "{why}");
            assert_eq!(summary["unaccounted"], 0);
        }
    });
}

/// All listeners but those of process 1: which that is only the look at owners shows.
fn a_trace_that_is_blind_says_so() {
    in_namespace(|| {
        let before = counter("ListenOverflows");
        let (audit, summary) = traced_json(&["-p", "1"], || {
            let held = Bound::new().overflow(5);
            thread::sleep(Duration::from_secs(1));
            drop(held);
        });
        let rose = counter("ListenOverflows") - before;
        let audit = audit.unwrap();
        assert_eq!(overflows(&audit), (rose, 0, 0), "{audit}");
        assert_eq!(summary["unaccounted"], 0, "{audit}");
        assert_eq!(summary["connections"], 0);
    });
}

/// A recording from which one drop was taken away is one of a tracer that missed it: the audit says so,
/// in both counters, and finds no excuse.
fn what_is_missed_is_unaccounted() {
    in_namespace(|| {
        let file = |name: &str| {
            env::temp_dir().join(format!("overflow-audit-{}-{name}.rec", std::process::id()))
        };
        let (whole, missed) = (file("whole"), file("missed"));
        let record = ["--record", whole.to_str().unwrap()];
        let (audit, _) = traced_json(&record, || drop(Bound::new().overflow(5)));
        let (rose, ..) = overflows(&audit.unwrap());
        let mut recording = Recording::read(&whole, fs::File::open(&whole).unwrap()).unwrap();
        let mut recorder =
            recordings::create(&missed, Existing::Overwritten, &recording.header().clone())
                .unwrap();
        let mut taken = 0;
        while let Some(frame) = recording.next_frame().unwrap() {
            match frame {
                Frame::Event(event) if event.path & Path::COUNTED_OVERFLOW != 0 && taken == 0 => {
                    taken = 1;
                }
                Frame::Look(mut look) => {
                    // Nothing else is to excuse it, whatever this kernel's rung can see.
                    look.watched.older_listeners = true;
                    recorder.write(&Frame::Look(look)).unwrap();
                }
                frame => recorder.write(&frame).unwrap(),
            }
        }
        drop(recorder);
        let replay = Command::new(OVERFLOW).arg("replay").arg(&missed).output().unwrap();
        let _ = (fs::remove_file(&whole), fs::remove_file(&missed));
        let shown = String::from_utf8(replay.stdout).unwrap().replace('\u{a0}', " ");
        let told = rose - taken;
        for counter in ["ListenOverflows", "ListenDrops"] {
            let unaccounted = format!("{counter} {rose} = {told} told + {taken} UNACCOUNTED");
            assert!(shown.contains(&unaccounted), "{shown}");
        }
        let said = String::from_utf8(replay.stderr).unwrap();
        assert!(
            said.contains(&format!("ListenOverflows +{taken}, ListenDrops +{taken}")),
            "{said}"
        );
    });
}

fn metrics_have_what_the_kernel_counted() {
    in_namespace(|| {
        let bound = Bound::new();
        let (mut child, address) = start();
        let _held = bound.overflow(5);
        let began = Instant::now();
        loop {
            let (page, rose) = (page(address), counter("ListenOverflows"));
            let sample = |name: &str| {
                let sample = format!(
                    "overflow_audit_{name}{{netns=\"{}\",counter=\"ListenOverflows\"}} ",
                    netns()
                );
                page.lines().find_map(|l| l.strip_prefix(&sample)?.parse::<u64>().ok())
            };
            assert!(sample("unaccounted").is_none_or(|n| n == 0), "{page}");
            // The clients go on trying: a look is as old as five seconds.
            if sample("told_total").is_some_and(|told| told >= 3 && told <= rose) {
                assert_eq!(sample("rose_total"), sample("told_total"), "{page}");
                break;
            }
            assert!(began.elapsed() < PATIENCE * 2, "nothing is told in\n{page}");
            thread::sleep(Duration::from_millis(200));
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert!(child.wait().unwrap().success());
    });
}
