//! What tests may need of a machine, and whether it is here: asked of the kernel, not of overflow.

use std::{
    cell::RefCell,
    collections::HashMap,
    env, fs,
    path::Path,
    process::{Command, Output},
    thread,
};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
};
use nix::sched::{CloneFlags, unshare};

use crate::{arch::Arch, artifacts, exec, kernels::version};

/// Whether something is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Here,
    /// It is not; why.
    Lacking(String),
    /// It could not be looked for; why.
    Unknown(String),
}

/// Something that knows what a machine has.
pub trait Needs {
    /// Looks for the need of this name.
    fn look(&self, need: &str) -> Verdict;
}

/// This machine: each need is looked for once, when it is first asked for.
#[derive(Default)]
pub struct Here(RefCell<HashMap<String, Verdict>>);

impl Needs for Here {
    fn look(&self, need: &str) -> Verdict {
        if let Some(known) = self.0.borrow().get(need) {
            return known.clone();
        }
        let verdict = look(need);
        self.0.borrow_mut().insert(need.to_owned(), verdict.clone());
        verdict
    }
}

/// By the names of overflow-user's `tests/live/needs.rs`. A release of the kernel is met by newer ones.
fn look(need: &str) -> Verdict {
    let result = match need {
        "root" => root(),
        "tracing" => match artifacts::guest_bench(Arch::HOST) {
            Ok(probe) => tracing(&probe),
            Err(e) => return Verdict::Unknown(format!("{e:#}")),
        },
        "network namespaces" => namespaces(),
        "landlock" => landlock(),
        "tc with prio and netem and u32" => delays(),
        "ethtool" | "ip" | "setsid" | "tshark" => program(need),
        _ => match need.strip_prefix("kernel ").and_then(version) {
            Some(wanted) => kernel(wanted),
            None => return Verdict::Unknown("xtask/src/needs.rs knows no such need".to_owned()),
        },
    };
    match result {
        Ok(()) => Verdict::Here,
        Err(why) => Verdict::Lacking(why),
    }
}

fn root() -> Result<(), String> {
    let user = rustix::process::geteuid();
    if user.is_root() { Ok(()) } else { Err(format!("this is user {}", user.as_raw())) }
}

/// By the capabilities, the BTF, and an empty program on a function that every kernel has.
fn tracing(probe: &Path) -> Result<(), String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    if !may_trace(effective(&status)) {
        return Err("this process has neither CAP_SYS_ADMIN nor CAP_BPF with CAP_PERFMON".into());
    }
    let btf = "/sys/kernel/btf/vmlinux";
    fs::File::open(btf).map_err(|e| format!("cannot read {btf} ({e})"))?;
    let output = exec::capture(Command::new(probe).arg("attach")).map_err(|e| format!("{e:#}"))?;
    succeeded(&output)
}

/// Capabilities that the kernel asks for when tracing programs are loaded and attached.
fn may_trace(effective: u64) -> bool {
    const SYS_ADMIN: u32 = 21;
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;
    let has = |capability: u32| effective >> capability & 1 != 0;
    has(SYS_ADMIN) || has(BPF) && has(PERFMON)
}

/// `CapEff:` of `/proc/PID/status`.
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn namespaces() -> Result<(), String> {
    // In a thread, whose namespace goes away with it.
    let made = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join();
    let made = made.map_err(|_| "the thread that tried it panicked".to_owned())?;
    made.map_err(|e| format!("no network namespace can be made here ({e})"))
}

/// What `overflow server --help` delays a port by.
fn delays() -> Result<(), String> {
    program("tc")?;
    let attempt = || {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|e| format!("no network namespace can be made here ({e})"))?;
        let qdisc = |line: &str| {
            let mut tc = Command::new("tc");
            tc.args(["qdisc", "add", "dev", "lo"]).args(line.split(' '));
            exec::capture(&mut tc).map_err(|e| format!("{e:#}")).and_then(|o| succeeded(&o))
        };
        qdisc("root handle 1: prio bands 4")?;
        qdisc("parent 1:4 handle 40: netem delay 1ms")
    };
    // In a thread, whose namespace goes away with it.
    thread::spawn(attempt).join().map_err(|_| "the thread that tried it panicked".to_owned())?
}

fn landlock() -> Result<(), String> {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let ruleset = ruleset.handle_access(AccessFs::from_all(ABI::V1));
    let made = ruleset.and_then(Ruleset::create);
    made.map(drop).map_err(|e| format!("this kernel makes no Landlock ruleset ({e})"))
}

/// Where a test that starts it looks, too.
fn program(name: &str) -> Result<(), String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|dir| dir.join(name).is_file());
    if found { Ok(()) } else { Err(format!("{name} is not in PATH")) }
}

fn kernel(wanted: (u32, u32)) -> Result<(), String> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    match version(&release) {
        Some(here) if here >= wanted => Ok(()),
        _ => Err(format!("this is {release}")),
    }
}

fn succeeded(output: &Output) -> Result<(), String> {
    if output.status.success() { Ok(()) } else { Err(exec::complaint(&output.stderr)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_those_of_tracing() {
        let mask = |line: &str| effective(&format!("Name:\tx\nCapEff:\t{line}\nCapBnd:\t0\n"));
        assert!(may_trace(mask("000001ffffffffff")));
        assert!(may_trace(mask("0000000000200000")));
        assert!(may_trace(mask("000000c000000000")));
        assert!(!may_trace(mask("0000008000000000")));
        assert!(!may_trace(mask("0000000000000000")));
        assert!(!may_trace(effective("")));
    }

    #[test]
    fn every_need_is_looked_for_or_unknown() {
        for need in ["luck", "kernel x", ""] {
            assert!(matches!(look(need), Verdict::Unknown(_)), "{need}");
        }
        assert_eq!(look("kernel 2.6"), Verdict::Here);
        assert_eq!(look("kernel 99.0").clone(), look("kernel 99.0"));
        assert!(matches!(look("landlock"), Verdict::Here | Verdict::Lacking(_)));
        assert!(matches!(look("kernel 99.0"), Verdict::Lacking(why) if why.starts_with("this is")));
        let root = look("root") == Verdict::Here;
        assert_eq!(root, rustix::process::geteuid().is_root());
        // Root of a container may lack CAP_SYS_ADMIN.
        assert!(matches!(look("network namespaces"), Verdict::Here | Verdict::Lacking(_)));
    }

    #[test]
    fn a_need_is_looked_for_once() {
        let here = Here::default();
        assert!(matches!(here.look("luck"), Verdict::Unknown(_)));
        here.0.borrow_mut().insert("luck".to_owned(), Verdict::Here);
        assert_eq!(here.look("luck"), Verdict::Here);
    }
}
