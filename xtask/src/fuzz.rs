//! `cargo xtask fuzz`: every reader of bytes that others wrote, under libFuzzer, and a table of what
//! came of it.
//!
//! libFuzzer's instrumentation is an LLVM pass that a stable rustc takes, so that no nightly and no
//! cargo-fuzz is needed; `fuzz/` is laid out as cargo-fuzz wants it all the same.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use flate2::read::GzDecoder;

use crate::{exec, progress, test::Checks, workspace};

/// Arguments of `cargo xtask fuzz`.
#[derive(Args)]
pub struct FuzzArgs {
    /// How long all targets together run
    #[arg(long, value_name = "SECONDS", default_value_t = 70, conflicts_with = "runs")]
    seconds: u64,
    /// Go on instead until there were so many executions in all; each target has the same time
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Only these targets
    #[arg(long, value_name = "TARGET", value_delimiter = ',')]
    targets: Vec<String>,
}

/// What one target did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    executions: u64,
    /// Of its last turn.
    per_second: u64,
    /// Most memory that was in use, MiB.
    peak_mib: u64,
    /// What it found: a panic, a hang, or too much memory.
    found: Option<String>,
}

/// Of one execution, seconds; a longer one is a hang.
const HANG: u32 = 10;
/// Memory that is never needed, MiB.
const TOO_MUCH: u32 = 1024;
/// So long each target runs before the next one has its turn, where executions are counted, seconds.
const TURN: u64 = 20;
/// So long each target runs as a step of `cargo xtask test`.
const SHORT: u64 = 2;

/// Named, because build scripts would be instrumented too otherwise.
#[cfg(target_arch = "x86_64")]
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
#[cfg(target_arch = "aarch64")]
const TRIPLE: &str = "aarch64-unknown-linux-gnu";

/// What cargo-fuzz passes for a target without a sanitizer: every edge is counted, and comparisons are
/// watched. Debug assertions and overflow checks find what a release would not say.
const FLAGS: &[&str] = &[
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

impl Outcome {
    /// Adds another turn.
    fn add(&mut self, turn: Self) {
        self.executions += turn.executions;
        self.per_second = turn.per_second;
        self.peak_mib = self.peak_mib.max(turn.peak_mib);
        self.found = turn.found;
    }
}

/// Runs the targets and prints the table; fails if anything was found.
pub fn fuzz(args: &FuzzArgs) -> Result<ExitCode> {
    let all = targets()?;
    for asked in &args.targets {
        ensure!(all.contains(asked), "there is no target `{asked}`; there are {}", all.join(", "));
    }
    let chosen: Vec<_> =
        all.into_iter().filter(|t| args.targets.is_empty() || args.targets.contains(t)).collect();
    build()?;
    let each = if args.runs.is_some() { TURN } else { args.seconds / chosen.len() as u64 }.max(1);
    let mut outcomes: Vec<_> = chosen.iter().map(|_| Outcome::default()).collect();
    loop {
        for (target, outcome) in chosen.iter().zip(&mut outcomes) {
            if outcome.found.is_none() {
                outcome.add(run(target, each)?);
            }
        }
        let executions: u64 = outcomes.iter().map(|outcome| outcome.executions).sum();
        let going = outcomes.iter().any(|outcome| outcome.found.is_none());
        match args.runs {
            Some(wanted) if going && executions < wanted => {
                progress::note(&format!("{executions} of {wanted} executions"));
            }
            _ => break,
        }
    }
    println!("{:<10} {:>13} {:>9} {:>8}  FOUND", "TARGET", "EXECUTIONS", "/s", "PEAK MiB");
    for (target, outcome) in chosen.iter().zip(&outcomes) {
        println!("{}", row(target, outcome));
    }
    let executions: u64 = outcomes.iter().map(|outcome| outcome.executions).sum();
    let found = outcomes.iter().filter(|outcome| outcome.found.is_some()).count();
    println!("{executions} executions, {found} found something");
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A short run of each, as many checks.
pub fn check() -> Result<Checks> {
    let mut checks = Checks::default();
    if let Err(why) = exec::output(Command::new("c++").arg("--version")) {
        checks.skip("fuzz", &format!("libFuzzer is C++, and there is no compiler of it: {why:#}"));
        return Ok(checks);
    }
    build()?;
    for target in targets()? {
        let outcome = run(&target, SHORT)?;
        eprintln!("    {}", row(&target, &outcome));
        let none = outcome.executions == 0;
        let found = outcome.found.or(none.then(|| "nothing was executed".to_owned()));
        checks.check(found.is_none(), || format!("fuzz {target}: {}", found.unwrap_or_default()));
    }
    Ok(checks)
}

fn row(target: &str, outcome: &Outcome) -> String {
    let Outcome { executions, per_second, peak_mib, found } = outcome;
    let found = found.as_deref().unwrap_or("-");
    format!("{target:<10} {executions:>13} {per_second:>9} {peak_mib:>8}  {found}")
}

/// Each has a file.
fn targets() -> Result<Vec<String>> {
    let dir = workspace::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Where what it needs and makes lies.
fn cache() -> Result<PathBuf> {
    Ok(workspace::cargo_target()?.join("fuzz"))
}

fn build() -> Result<()> {
    exec::run(
        workspace::cargo()
            .args(["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml"])
            .args(["--target", TRIPLE, "--target-dir"])
            .arg(cache()?)
            .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f")),
    )
}

/// Runs a target for so many seconds.
fn run(target: &str, seconds: u64) -> Result<Outcome> {
    let cache = cache()?;
    let corpus = cache.join("corpus").join(target);
    let artifacts = cache.join("artifacts").join(target);
    for dir in [&corpus, &artifacts] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    seed(target, &corpus)?;
    let program = cache.join(TRIPLE).join("release").join(target);
    let output = exec::capture(
        Command::new(program)
            .arg(format!("-max_total_time={seconds}"))
            .args([format!("-timeout={HANG}"), format!("-rss_limit_mb={TOO_MUCH}")])
            .args(["-print_final_stats=1".to_owned(), "-verbosity=0".to_owned()])
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(&corpus)
            .env("RUST_BACKTRACE", "0"),
    )?;
    let log = String::from_utf8_lossy(&output.stderr);
    let outcome = outcome(&log, output.status.success());
    if outcome.found.is_some() {
        eprint!("{log}");
    }
    Ok(outcome)
}

/// What libFuzzer says at its end.
fn outcome(log: &str, well: bool) -> Outcome {
    let number = |name: &str| {
        let line = log.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    let found = || {
        let unit = log.lines().find_map(|line| line.split_once("Test unit written to "));
        let panic =
            log.lines().find(|line| line.contains("panicked at") || line.contains("ERROR:"));
        let what = panic.unwrap_or("it ended badly").trim();
        match unit {
            Some((_, file)) => format!("{what}; the input is {file}"),
            None => what.to_owned(),
        }
    };
    Outcome {
        executions: number("stat::number_of_executed_units:").unwrap_or(0),
        per_second: number("stat::average_exec_per_sec:").unwrap_or(0),
        peak_mib: number("stat::peak_rss_mb:").unwrap_or(0),
        found: (!well).then(found),
    }
}

/// Something well-formed to begin with, from the tests' data or as kernels write it.
fn seed(target: &str, corpus: &Path) -> Result<()> {
    let put = |name: &str, bytes: &[u8]| {
        let path = corpus.join(format!("seed-{name}"));
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    match target {
        "btf" => put("5.10", &unpacked("crates/core/tests/data/btf/5.10.223-amd64.btf.gz")?),
        "recording" => put("lab", &frames(each_frame(&unpacked(LAB)?)?.into_iter().take(40)))
            .and_then(|()| {
                put("listeners", &frames([b'P', b'I'].map(|k| (k, LISTENERS.as_bytes()))))
            }),
        "records" => put("lab", &events(&unpacked(LAB)?)?),
        "procfs" => put("tcp", TCP.as_bytes())
            .and_then(|()| put("stat", STAT.as_bytes()))
            .and_then(|()| put("netstat", NETSTAT.as_bytes())),
        "cgroup" => CGROUPS
            .iter()
            .enumerate()
            .try_for_each(|(i, text)| put(&i.to_string(), text.as_bytes())),
        "packet" => put("ipv4", &PACKET),
        "capture" => CAPTURES.iter().try_for_each(|name| {
            put(name, &unpacked(&format!("crates/core/tests/data/captures/{name}.gz"))?)
        }),
        "sock_diag" => put("listener", &datagram()),
        _ => bail!("xtask/src/fuzz.rs has nothing for the target `{target}` to begin with"),
    }
}

/// Small ones, of each format: libFuzzer makes nothing that is longer than what it begins with.
const CAPTURES: &[&str] =
    &["client-any.pcapng", "client-ethernet-nano.pcap", "server-cooked2.pcap"];
const LAB: &str = "overflow-user/tests/data/lab-6.12.rec.gz";
const LISTENERS: &str = r#"{"namespaces":{"7":{"namespace":{"inum":7,"name":"a","own":true},"sysctls":
{"somaxconn":1},"counters":null}},"listeners":[{"netns":7,"local":"0.0.0.0:80","v6only":false,"inode":9,
"uid":0,"recv_q":2,"send_q":1,"syn_recv":0,"drops":0,"cgroup_id":null,"group":1,"owner":{"processes":[{
"pid":10,"ppid":1,"comm":"n","start":1,"cgroup":{"path":"/x","unit":"u"}}],"pids":[10]}}],"notes":["n"]}"#;
const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 20 1\n";
const STAT: &str =
    "4711 (we) (b 1) S 17 4711 4711 0 -1 4194560 131 0 0 0 0 0 0 0 20 0 1 0 88123 5300224 230";
const NETSTAT: &str =
    "TcpExt: ListenOverflows ListenDrops\nTcpExt: 3 4\nIpExt: InOctets\nIpExt: 5\n";
const CGROUPS: &[&str] = &[
    "0::/system.slice/dev-x\\x2dy.service\n",
    "1:name=systemd:/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
    "0::/kubepods.slice/kubepods-pod8b1f3a1c_5a0f_4e8e_9c1d_1f2e3d4c5b6a.slice/cri-containerd-\
     0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\n",
    "0::/lxc.payload.web/init.scope\n",
];
/// A SYN over IPv4.
const PACKET: [u8; 40] = [
    0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 7, 0, 2, 10, 7, 0, 1, // IPv4
    0x75, 0x31, 0x30, 0x39, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0, // TCP
];

/// `nlmsghdr` with `inet_diag_msg` of a listener, and one attribute: INET_DIAG_SKV6ONLY.
fn datagram() -> Vec<u8> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    let mut bytes = Vec::new();
    bytes.extend(96_u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend([0; 10]);
    // AF_INET6, TCP_LISTEN.
    bytes.extend([10, 10, 0, 0]);
    bytes.extend([0; 68]);
    bytes.extend([5, 0, 11, 0, 1, 0, 0, 0]);
    bytes
}

fn unpacked(path: &str) -> Result<Vec<u8>> {
    let path = workspace::root().join(path);
    let file = fs::File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).context("cannot unpack a recording or BTF")?;
    Ok(bytes)
}

/// Kind and payload of each frame of a recording behind its preamble of 16 bytes.
fn each_frame(recording: &[u8]) -> Result<Vec<(u8, &[u8])>> {
    let mut frames = Vec::new();
    let mut rest = recording.get(16..).context("no recording")?;
    while let [kind, a, b, c, d, after @ ..] = rest {
        let len = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d]))?;
        let (payload, after) =
            after.split_at_checked(len).context("a recording that is cut off")?;
        frames.push((*kind, payload));
        rest = after.get(4..).context("a recording that is cut off")?;
    }
    Ok(frames)
}

/// As the target `recording` takes them: frames with two bytes of length, without sums.
fn frames<'a>(frames: impl IntoIterator<Item = (u8, &'a [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, payload) in frames {
        if let Ok(len) = u16::try_from(payload.len()) {
            bytes.push(kind);
            bytes.extend(len.to_le_bytes());
            bytes.extend(payload);
        }
    }
    bytes
}

/// The records alone, as the target `records` takes them.
fn events(recording: &[u8]) -> Result<Vec<u8>> {
    let frames = each_frame(recording)?.into_iter();
    Ok(frames.filter(|(kind, _)| *kind == b'E').take(16).flat_map(|(_, p)| p.to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_understood() {
        let stats = "stat::number_of_executed_units: 1048576\nstat::average_exec_per_sec:     65536\n\
                     stat::new_units_added:          12\nstat::peak_rss_mb:              53\n";
        let good = Outcome { executions: 1_048_576, per_second: 65536, peak_mib: 53, found: None };
        assert_eq!(outcome(stats, true), good);
        let bad = format!(
            "thread '<unnamed>' panicked at a.rs:1:2:\nartifact_prefix='x/'; Test unit written to x/crash-1\n{stats}"
        );
        let found = "thread '<unnamed>' panicked at a.rs:1:2:; the input is x/crash-1".to_owned();
        assert_eq!(outcome(&bad, false), Outcome { found: Some(found), ..good });
    }

    #[test]
    fn every_target_has_something_to_begin_with() {
        let dir = std::env::temp_dir().join(format!("overflow-seeds-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let targets = targets().unwrap();
        let seeded: Result<()> = targets.iter().try_for_each(|target| seed(target, &dir));
        fs::remove_dir_all(&dir).unwrap();
        seeded.unwrap();
        let manifest = fs::read_to_string(workspace::root().join("fuzz/Cargo.toml")).unwrap();
        let named = |target: &String| manifest.contains(&format!("name = \"{target}\""));
        assert!(targets.len() == 8 && targets.iter().all(named), "{targets:?}");
    }
}
