//! What a test needs of this machine: looked for once, by trying it.

use std::{
    collections::BTreeMap,
    env, fs,
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

use nix::sched::{CloneFlags, unshare};
use overflow::confine;

use crate::OVERFLOW;

/// Something that not every machine has, or not every user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// User 0, who may look into every process.
    Root,
    /// `overflow trace` attaches.
    Tracing,
    /// A network namespace can be made.
    Namespaces,
    /// Landlock, which is in the kernel since v5.13 (commit 17ae69aba89d) but can be left out.
    Landlock,
    /// This release of the kernel, or a newer one.
    Kernel(u32, u32),
    /// A program in `PATH`.
    Program(&'static str),
    /// `tc`, and a kernel with what `overflow server --help` delays a port by.
    Delays,
}

impl Need {
    /// Its name, by which `cargo xtask test` looks for it too.
    pub fn name(self) -> String {
        match self {
            Self::Root => "root".to_owned(),
            Self::Tracing => "tracing".to_owned(),
            Self::Namespaces => "network namespaces".to_owned(),
            Self::Landlock => "landlock".to_owned(),
            Self::Kernel(major, minor) => format!("kernel {major}.{minor}"),
            Self::Program(name) => name.to_owned(),
            Self::Delays => "tc with prio and netem and u32".to_owned(),
        }
    }

    /// Whether it is here. If not, the first to ask says on stderr why.
    pub fn is_met(self) -> bool {
        static KNOWN: Mutex<BTreeMap<Need, bool>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(self).or_insert_with(|| {
            let result = self.look();
            if let Err(why) = &result {
                eprintln!("tests that need {} are skipped: {why}", self.name());
            }
            result.is_ok()
        })
    }

    fn look(self) -> Result<(), String> {
        match self {
            Self::Root => root(),
            Self::Tracing => tracing(),
            Self::Namespaces => namespaces(),
            Self::Landlock => landlock(),
            Self::Kernel(major, minor) => kernel((major, minor)),
            Self::Program(name) => program(name),
            Self::Delays => delays(),
        }
    }
}

fn root() -> Result<(), String> {
    let user = rustix::process::geteuid();
    if user.is_root() { Ok(()) } else { Err(format!("this is user {}", user.as_raw())) }
}

/// Only a refusal of the kernel, or a build without eBPF programs, is a reason to test nothing:
/// panics if the trace fails in any other way.
fn tracing() -> Result<(), String> {
    const REASONS: [&str; 3] =
        ["not allowed to load eBPF programs", "no hook attaches", "without its eBPF programs"];
    let trace = ["trace", "--netns", "self", "--duration", "0.1"];
    let output = Command::new(OVERFLOW).args(trace).output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert_eq!(output.status.code(), Some(1), "{why}");
    assert!(REASONS.iter().any(|reason| why.contains(reason)), "{why}");
    Err(why)
}

fn namespaces() -> Result<(), String> {
    // The namespace is the thread's; it goes away with it.
    let made = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join().unwrap();
    made.map_err(|why| format!("unshare(CLONE_NEWNET): {why}"))
}

/// By trying them, in a namespace that goes away with its thread.
fn delays() -> Result<(), String> {
    const TRIED: [&str; 3] = [
        "qdisc add dev lo root handle 1: prio bands 4",
        "qdisc add dev lo parent 1:4 handle 40: netem delay 1ms",
        "filter add dev lo parent 1: protocol ip u32 match ip sport 1 0xffff flowid 1:4",
    ];
    program("tc")?;
    let attempt = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|why| format!("unshare(CLONE_NEWNET): {why}"))?;
        for line in TRIED {
            let output = Command::new("tc").args(line.split(' ')).output().unwrap();
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr);
                return Err(format!("tc {line}: {}", why.trim()));
            }
        }
        Ok(())
    };
    thread::spawn(attempt).join().unwrap()
}

fn landlock() -> Result<(), String> {
    let confined = confine::rehearse(&confine::Needs::default()).map_err(|e| e.to_string())?;
    confined.landlock.map(drop).ok_or_else(|| "this kernel has none".to_owned())
}

fn kernel(wanted: (u32, u32)) -> Result<(), String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    let here = (numbers.next(), numbers.next());
    let new_enough = here >= (Some(wanted.0), Some(wanted.1));
    if new_enough { Ok(()) } else { Err(format!("this is {}", release.trim())) }
}

fn program(name: &str) -> Result<(), String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|dir| dir.join(name).is_file());
    if found { Ok(()) } else { Err(format!("{name} is not in PATH")) }
}
