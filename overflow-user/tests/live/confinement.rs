//! Confinement of the running program: what is traced is the same with it and without, no process
//! outlives another, and the kernel shows the processes without their rights.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{BufReader, Read, Write},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::{
    OVERFLOW,
    harness::tests,
    listener::Bound,
    namespace::in_namespace,
    needs::Need::{Namespaces, Program, Tracing},
    process::{status, wait_until},
    trace::{lost, traced},
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]:
        the_same_is_traced_with_confinement_and_without,
        no_process_outlives_the_other,
        a_command_is_not_confined_and_is_ended;
    needs []: a_replay_is_confined_before_it_reads;
}

/// CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_ADMIN of include/uapi/linux/capability.h.
const ATTRIBUTION: u64 = 1 << 2 | 1 << 19 | 1 << 21;

/// A trace that has printed its header.
pub(crate) struct Trace {
    child: Child,
    pub(crate) stdout: BufReader<ChildStdout>,
}

impl Trace {
    pub(crate) fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(OVERFLOW);
        command.args(["trace", "--netns", "self"]).args(args);
        let (child, stdout, _) = traced(&mut command, "TIME ");
        Self { child, stdout }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The process that keeps the one that looks at listeners.
    pub(crate) fn looker(&self) -> Pid {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let looker: Vec<i32> = children.split_whitespace().map(|c| c.parse().unwrap()).collect();
        assert_eq!(looker.len(), 1, "{children}");
        Pid::from_raw(looker[0]).unwrap()
    }

    /// Interrupts it; what it still printed, and its stderr.
    pub(crate) fn finish(mut self) -> (String, String) {
        kill_process(self.pid(), Signal::INT).unwrap();
        self.ended()
    }

    fn ended(&mut self) -> (String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(self.child.wait().unwrap().success(), "{out}{err}");
        (out, err)
    }
}

fn capabilities(pid: Pid) -> u64 {
    u64::from_str_radix(&status(pid, "CapEff"), 16).unwrap()
        | u64::from_str_radix(&status(pid, "CapPrm"), 16).unwrap()
}

fn filtered(pid: Pid) -> bool {
    status(pid, "Seccomp") == "2"
}

/// Fills a listener with backlog 1 and leaves it full briefly.
pub(crate) fn overflow() -> SocketAddr {
    let (listener, _clients) = Bound::new().overflow(4);
    thread::sleep(Duration::from_millis(300));
    listener.local_addr().unwrap()
}

/// The kernel's and the owner's part of each line of an overflow at `server`.
fn verdicts(shown: &str, server: SocketAddr) -> Vec<String> {
    let port = server.port().to_string();
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|w| *w == port)?;
        Some(words[at + 1..].join(" "))
    };
    let mut rows: Vec<String> = shown.lines().filter_map(row).collect();
    rows.sort();
    rows.dedup();
    rows
}

fn the_same_is_traced_with_confinement_and_without() {
    in_namespace(|| {
        let trace = Trace::start(&[] as &[&str]);
        wait_until("it is confined", || filtered(trace.pid()) && filtered(trace.looker()));
        assert_eq!(status(trace.pid(), "NoNewPrivs"), "1");
        assert_eq!(status(trace.pid(), "Threads"), "1");
        // CAP_BPF can have to stay, before v5.19.
        assert_eq!(capabilities(trace.pid()) & !(1 << 39), 0);
        assert_eq!(status(trace.looker(), "NoNewPrivs"), "1");
        assert_eq!(capabilities(trace.looker()) & !ATTRIBUTION, 0);
        let server = overflow();
        let (confined, printed) = trace.finish();
        assert!(lost(&printed).is_empty(), "{printed}");
        assert!(confined.contains("ListenOverflows"), "{confined}");
        let confined = verdicts(&confined, server);
        let me = format!("/{}", std::process::id());
        assert!(confined.iter().any(|row| row.ends_with(&me)), "{confined:?}");

        let trace = Trace::start(["--no-confine"]);
        assert!(!filtered(trace.pid()) && !filtered(trace.looker()));
        let server = overflow();
        let (free, _) = trace.finish();
        assert_eq!(verdicts(&free, server), confined);
    });
}

fn no_process_outlives_the_other() {
    in_namespace(|| {
        let mut trace = Trace::start(&[] as &[&str]);
        let looker = trace.looker();
        kill_process(trace.pid(), Signal::KILL).unwrap();
        trace.child.wait().unwrap();
        wait_until("it ends with the trace", || test_kill_process(looker).is_err());

        let trace = Trace::start(&[] as &[&str]);
        wait_until("it is confined", || filtered(trace.pid()));
        kill_process(trace.looker(), Signal::KILL).unwrap();
        overflow();
        let (shown, printed) = trace.finish();
        assert!(shown.contains("ListenOverflows") || shown.contains("syn.drop"), "{shown}");
        assert!(printed.contains("looks for listeners that failed"), "{printed}");
    });
}

fn a_command_is_not_confined_and_is_ended() {
    in_namespace(|| {
        let command = "grep -E 'Seccomp:|NoNewPrivs:' /proc/self/status >&2; exec sleep 60";
        let mut trace = Trace::start(["--cmd", command, "-d", "500ms"]);
        let (_, printed) = trace.ended();
        let fields: Vec<_> = printed.lines().take(2).map(|l| l.replace('\t', " ")).collect();
        let of = |field| status(Pid::INIT, field);
        let expected =
            [format!("NoNewPrivs: {}", of("NoNewPrivs")), format!("Seccomp: {}", of("Seccomp"))];
        assert_eq!(fields, expected, "{printed}");
        assert!(printed.contains("was still running and was ended"), "{printed}");
    });
}

fn a_replay_is_confined_before_it_reads() {
    let pipe: PathBuf = env::temp_dir().join(format!("overflow-fifo-{}", std::process::id()));
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    );
    made.unwrap();
    let mut child = Command::new(OVERFLOW)
        .arg("replay")
        .arg(&pipe)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Opening waits for the reader.
    let mut recording = File::options().write(true).open(&pipe).unwrap();
    fs::remove_file(&pipe).unwrap();
    let pid = Pid::from_child(&child);
    wait_until("it is confined", || filtered(pid));
    assert_eq!((capabilities(pid), status(pid, "NoNewPrivs")), (0, "1".to_owned()));
    recording.write_all(&[0; 64]).unwrap();
    drop(recording);
    let mut printed = String::new();
    child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(printed.contains("is not a recording"), "{printed}");
}
