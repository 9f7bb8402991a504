//! `overflow lab` killed at random times by SIGKILL, which no program can clean up after: nothing
//! of it may remain.
//!
//! `OVERFLOW_SEED` repeats a run whose seed was printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    OVERFLOW,
    harness::tests,
    needs::Need::{Namespaces, Root, Tracing},
};

tests! {
    needs [Root, Tracing, Namespaces] alone: nothing_remains_of_a_killed_lab;
}

/// Kills.
const KILLS: usize = 50;
/// How long the kernel may take to free what a dead process held: it waits for RCU, and undoes
/// namespaces in a work queue.
const PATIENCE: Duration = Duration::from_secs(30);

fn nothing_remains_of_a_killed_lab() {
    let before = Host::now();
    let start = Instant::now();
    let undisturbed = lab().stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let length = start.elapsed();
    let shown = String::from_utf8_lossy(&undisturbed.stdout);
    let why = String::from_utf8_lossy(&undisturbed.stderr);
    assert!(shown.contains("\"type\":\"summary\""), "{why}");
    let seed = env::var("OVERFLOW_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..=u64::from(u32::MAX)));
    eprintln!("OVERFLOW_SEED={seed}; a run takes {} ms", length.as_millis());

    let mut random = fastrand::Rng::with_seed(seed);
    let (mut traced, mut housed) = (0, 0);
    for kill in 1..=KILLS {
        let after = length.mul_f64(random.f64());
        let mut child = lab().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(after);
        let held = Held::by(&child.id().to_string());
        child.kill().unwrap();
        child.wait().unwrap();
        traced += usize::from(!held.bpf.is_empty());
        housed += usize::from(held.namespaces.iter().any(|ns| *ns != before.namespace));
        let deadline = Instant::now() + PATIENCE;
        while let Err(remains) = before.is_restored(&held) {
            let ms = after.as_millis();
            assert!(
                Instant::now() < deadline,
                "OVERFLOW_SEED={seed}, kill {kill} after {ms} ms: {remains}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
    eprintln!("of {KILLS} kills, {traced} met BPF objects, {housed} met namespaces");
    // Otherwise there was nothing that could have remained.
    assert!(traced > 0 && housed > KILLS / 4, "OVERFLOW_SEED={seed}: {traced}, {housed}");
}

/// A short cell, with every kind of thing a long one has.
fn lab() -> Command {
    let mut command = Command::new(OVERFLOW);
    command
        .args(["lab", "--output", "json", "--hold", "0.3", "--delay", "50ms", "--clients", "3"])
        .args(["--syncookies", "1", "--abort-on-overflow", "1", "--prefill", "1"])
        .stdin(Stdio::null());
    command
}

/// A BPF object: its kind, its id.
type Object = (&'static str, u32);

/// What one process holds.
#[derive(Default)]
struct Held {
    bpf: BTreeSet<Object>,
    /// Network namespaces, as their links read: `net:[4026531840]`.
    namespaces: BTreeSet<String>,
}

impl Held {
    /// A process that ends meanwhile holds less and less.
    fn by(pid: &str) -> Self {
        let mut held = Self::default();
        let process = Path::new("/proc").join(pid);
        for info in files(&process.join("fdinfo")) {
            for line in fs::read_to_string(info).unwrap_or_default().lines() {
                let kinds = [("program", "prog_id:"), ("map", "map_id:"), ("link", "link_id:")];
                for (kind, field) in kinds {
                    let id = line.strip_prefix(field).and_then(|id| id.trim().parse().ok());
                    held.bpf.extend(id.map(|id| (kind, id)));
                }
            }
        }
        let tasks = files(&process.join("task")).into_iter().map(|task| task.join("ns/net"));
        let links = files(&process.join("fd")).into_iter().chain(tasks);
        let names =
            links.filter_map(|link| fs::read_link(link).ok()?.into_os_string().into_string().ok());
        held.namespaces.extend(names.filter(|name| name.starts_with("net:[")));
        held
    }
}

/// What a lab could leave behind on this host.
struct Host {
    bpf: BTreeSet<Object>,
    pinned: BTreeSet<PathBuf>,
    /// The one this test runs in.
    namespace: String,
    mounted_namespaces: Vec<String>,
    interfaces: BTreeSet<PathBuf>,
    sysctls: BTreeMap<PathBuf, String>,
}

impl Host {
    fn now() -> Self {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounted = mountinfo.lines().filter(|line| line.contains(" - nsfs "));
        Self {
            bpf: bpf_objects(),
            pinned: tree(Path::new("/sys/fs/bpf")).into_iter().collect(),
            namespace: fs::read_link("/proc/self/ns/net").unwrap().display().to_string(),
            mounted_namespaces: mounted.map(str::to_owned).collect(),
            interfaces: files(Path::new("/sys/class/net")).into_iter().collect(),
            sysctls: sysctls(),
        }
    }

    /// Whether everything is as it was, or what is not. Others may trace and make namespaces
    /// meanwhile: what some living process holds is theirs, since the killed one holds nothing. A
    /// network namespace that neither a process nor a mount holds does not exist.
    fn is_restored(&self, held: &Held) -> Result<(), String> {
        let now = Self::now();
        let exe = fs::canonicalize(OVERFLOW).unwrap();
        let living: Vec<_> = processes()
            .into_iter()
            .filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path == exe))
            .collect();
        require(living.is_empty(), "processes", &living)?;

        let theirs: BTreeSet<_> = processes().iter().flat_map(|pid| Held::by(pid).bpf).collect();
        let new: Vec<_> = now.bpf.difference(&self.bpf).filter(|o| !theirs.contains(o)).collect();
        require(new.is_empty(), "BPF objects", &new)?;
        let ours: Vec<_> = now.bpf.intersection(&held.bpf).collect();
        require(ours.is_empty(), "BPF objects", &ours)?;
        require(now.pinned == self.pinned, "pinned BPF objects", &now.pinned)?;

        let mounted = &now.mounted_namespaces;
        require(*mounted == self.mounted_namespaces, "mounted namespaces", mounted)?;
        require(now.interfaces == self.interfaces, "interfaces", &now.interfaces)?;
        let changed: Vec<_> = now
            .sysctls
            .iter()
            .filter(|(path, value)| self.sysctls.get(*path) != Some(value))
            .collect();
        require(changed.is_empty(), "sysctls", &changed)
    }
}

fn require(holds: bool, what: &str, found: &impl std::fmt::Debug) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{what} remain or changed: {found:?}")) }
}

/// Objects that vanish while they are listed are of no interest.
fn bpf_objects() -> BTreeSet<Object> {
    let programs = aya::programs::loaded_programs().flatten().map(|info| ("program", info.id()));
    let maps = aya::maps::loaded_maps().flatten().map(|info| ("map", info.id()));
    let links = aya::programs::loaded_links().flatten().map(|info| ("link", info.id()));
    programs.chain(maps).chain(links).collect()
}

fn processes() -> Vec<String> {
    let names = files(Path::new("/proc")).into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        name.bytes().all(|b| b.is_ascii_digit()).then_some(name)
    });
    names.collect()
}

/// Network sysctls of this namespace that are settings: those that only root may not read, or that
/// count something by themselves, are left out.
fn sysctls() -> BTreeMap<PathBuf, String> {
    let counts = ["nf_conntrack_count", "route/flush"];
    let settings = tree(Path::new("/proc/sys/net")).into_iter();
    let settings = settings.filter(|path| !counts.iter().any(|end| path.ends_with(end)));
    settings.filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?))).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn tree(dir: &Path) -> Vec<PathBuf> {
    let (dirs, mut found): (Vec<_>, Vec<_>) =
        files(dir).into_iter().partition(|path| path.is_dir());
    found.extend(dirs.iter().flat_map(|dir| tree(dir)));
    found
}
