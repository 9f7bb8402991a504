//! `cargo xtask matrix`: scenarios × kernels × rungs × families, in VMs, as two documents.

mod compare_rungs;
mod cell;
mod markdown;
mod seed;
mod table;
mod describe;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::{Args, ValueEnum};

use crate::{
    arch::Arch,
    artifacts,
    kernels::version,
    progress, setup,
    test::Checks,
    vm::{JobOutput, Options},
    vm_pool::{self, Batch, Ran},
    workspace,
};
use cell::Place;
use compare_rungs::Seen;
pub use describe::may_be_unavailable;
use table::{Kernel, Table};

/// The kernels of the documents, oldest first. 5.10.223-1 is the last bootable one that holds the SYN queue full
/// at the backlog; the newest 5.10 no longer does (3479c7549fb1).
const KERNELS: &[&str] = &["5.10.223-1", "5.10", "6.1", "6.12", "6.18", "7.3"];
/// Those of arm64: the newest 5.10 is in the archive's index, but not in the archive.
const KERNELS_ARM64: &[&str] = &["5.10.223-1", "6.1", "6.12", "6.12-16k", "6.18", "7.3"];

/// What `cargo xtask test` runs on arm64, whose emulation takes its time: where BTF lacks functions that
/// have a kprobe, and where trampolines are. x86-64 has shown the rest.
const FOREIGN: [(&str, Place); 2] = [
    ("5.10.223-1", Place { rung: Tracing::Kprobe, family: Family::Ipv6 }),
    ("6.12", Place { rung: Tracing::Fentry, family: Family::Ipv4 }),
];

/// Each rung and each family, and two rungs on the same family to be compared. The seed experiment
/// is run nowhere else.
const QUICK: [Place; 6] = [
    Place { rung: Tracing::Fentry, family: Family::Ipv4 },
    Place { rung: Tracing::Kprobe, family: Family::Ipv4 },
    Place { rung: Tracing::Kprobe, family: Family::Ipv6 },
    Place { rung: Tracing::Tracepoint, family: Family::Mapped },
    Place { rung: Tracing::Old, family: Family::Ipv4 },
    Place { rung: Tracing::Untraced, family: Family::Ipv4 },
];

/// Which of them `cargo xtask test` runs on the oldest kernel, and which on the newest. The two that are
/// compared stay together.
const HALVES: [[Place; 3]; 2] = [[QUICK[2], QUICK[3], QUICK[4]], [QUICK[0], QUICK[1], QUICK[5]]];

/// The tracer's records of a run: what is compared between rungs.
const RECORDING: &str = "run.rec";

/// Arguments of `cargo xtask matrix`.
#[derive(Args)]
pub struct MatrixArgs {
    /// Kernels to boot, as in `cargo xtask run --vm`
    #[arg(long, value_name = "KERNEL", value_delimiter = ',')]
    kernels: Vec<String>,
    /// Architecture of the machines
    #[arg(long, value_name = "ARCH", default_value_t = Arch::HOST, value_enum)]
    arch: Arch,
    /// Rungs to trace by
    #[arg(long, value_name = "RUNG", value_delimiter = ',')]
    rungs: Vec<Tracing>,
    /// Which IP is spoken
    #[arg(long, value_name = "FAMILY", value_delimiter = ',')]
    families: Vec<Family>,
    /// Scenarios, as in `overflow lab --list-scenarios`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Machines at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Each rung and each family, not each with each
    #[arg(long)]
    quick: bool,
    /// Run only what is not in target/matrix/ since overflow was built
    #[arg(long)]
    resume: bool,
    /// Exit with status 1 if a cell is not as it must be
    #[arg(long)]
    check: bool,
}

/// How the lab traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tracing {
    /// fentry/fexit.
    Fentry,
    /// kprobe/kretprobe.
    Kprobe,
    /// BTF tracepoints.
    Tracepoint,
    /// kprobe/kretprobe without anything that 5.8 brought, as on 5.4.
    Old,
    /// Not at all: verdicts are inferred.
    Untraced,
}

/// Which IP clients and listener speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// IPv4 clients of a dual-stack IPv6 listener.
    Mapped,
}

impl Tracing {
    /// As on the command line and in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
            Self::Old => "old",
            Self::Untraced => "untraced",
        }
    }

    /// What is withheld from the probe, and the lab's options.
    fn command(self) -> (&'static str, &'static str) {
        match self {
            Self::Fentry => ("", "--rung fentry"),
            Self::Kprobe => ("", "--rung kprobe"),
            Self::Tracepoint => ("", "--rung tracepoint"),
            Self::Old => ("OVERFLOW_WITHHOLD=ring,tp_btf,fentry ", "--rung kprobe"),
            Self::Untraced => ("", "--untraced"),
        }
    }

    /// Whether what it saw is compared with what another rung saw, record by record.
    fn is_compared(self) -> bool {
        match self {
            Self::Fentry | Self::Kprobe => true,
            Self::Tracepoint | Self::Old | Self::Untraced => false,
        }
    }
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Mapped => "mapped",
        }
    }
}

/// Everything to be run.
struct Plan {
    arch: Arch,
    /// Each kernel, and how it is traced there.
    kernels: Vec<(String, Vec<Place>)>,
    scenarios: String,
    resume: bool,
}

/// One run of the lab.
struct Run {
    /// Names its files.
    name: String,
    place: Place,
    kind: Kind,
    argv: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Scenarios,
    /// The seed experiment; an index of [`seed::PREFILLS`].
    Seed(usize),
}

/// Runs the matrix and writes it; all of it to docs/, a part to target/matrix/.
pub fn matrix(args: &MatrixArgs) -> Result<ExitCode> {
    setup::build_tools()?;
    artifacts::quick();
    let part = !(args.kernels.is_empty()
        && args.rungs.is_empty()
        && args.families.is_empty()
        && args.scenarios.is_empty());
    let table = Plan::of(args).run(args.jobs)?;
    let dir =
        if part { workspace::target().join("matrix") } else { workspace::root().join("docs") };
    write(&dir, args.arch, &table)?;
    let checks = table.check();
    for failure in checks.failures() {
        println!("not as it must be: {failure}");
    }
    println!("{}", table.in_short());
    Ok(if args.check && checks.failed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The part that `cargo xtask test` runs: on the kernels that are named all of [`QUICK`], or, if none are, on
/// the oldest and on the newest kernel one half of it.
pub fn subset(kernels: &[String], jobs: usize) -> Result<Checks> {
    let kernels: Vec<_> = match kernels {
        [] => {
            let ends = [KERNELS.first(), KERNELS.last()].into_iter().flatten();
            ends.zip(HALVES).map(|(kernel, places)| ((*kernel).to_owned(), places.into())).collect()
        }
        named => named.iter().map(|kernel| (kernel.clone(), QUICK.into())).collect(),
    };
    Plan::part(Arch::HOST, kernels).checked(jobs)
}

/// The part that it runs on arm64, where that is not this machine's own architecture.
pub fn foreign_subset(jobs: usize) -> Result<Checks> {
    let kernels = FOREIGN.map(|(kernel, place)| (kernel.to_owned(), vec![place]));
    Plan::part(Arch::Arm64, kernels.into()).checked(jobs)
}

impl Plan {
    /// Every scenario, run anew.
    fn part(arch: Arch, kernels: Vec<(String, Vec<Place>)>) -> Self {
        Self { arch, kernels, scenarios: "all".to_owned(), resume: false }
    }

    fn of(args: &MatrixArgs) -> Self {
        let kernels = match (&args.kernels[..], args.arch) {
            ([], Arch::Amd64) => KERNELS.iter().map(|&k| k.to_owned()).collect(),
            ([], Arch::Arm64) => KERNELS_ARM64.iter().map(|&k| k.to_owned()).collect(),
            (named, _) => named.to_vec(),
        };
        let scenarios =
            if args.scenarios.is_empty() { "all".to_owned() } else { args.scenarios.join(",") };
        let wanted = |place: &Place| {
            (args.rungs.is_empty() || args.rungs.contains(&place.rung))
                && (args.families.is_empty() || args.families.contains(&place.family))
                && (!args.quick || QUICK.contains(place))
        };
        let places = Tracing::value_variants().iter().flat_map(|&rung| {
            Family::value_variants().iter().map(move |&family| Place { rung, family })
        });
        let places: Vec<_> = places.filter(wanted).collect();
        let there = |kernel: String| {
            let possible = |place: &&Place| possible(args.arch, &kernel, place.rung);
            let places = places.iter().filter(possible).copied().collect();
            (kernel, places)
        };
        let kernels = kernels.into_iter().map(there).collect();
        Self { arch: args.arch, kernels, scenarios, resume: args.resume }
    }

    /// Runs it, writes it to target/matrix/, and checks it.
    fn checked(&self, machines: usize) -> Result<Checks> {
        let table = self.run(machines)?;
        write(&workspace::target().join("matrix"), self.arch, &table)?;
        Ok(table.check())
    }

    fn run(&self, machines: usize) -> Result<Table> {
        let dirs: Vec<_> =
            self.kernels.iter().map(|(kernel, _)| kept_in(kernel, self.arch)).collect();
        let runs: Vec<_> = self.kernels.iter().map(|(_, places)| self.runs(places)).collect();
        let overflow = fs::metadata(artifacts::overflow(self.arch)?)?.modified()?;
        let kept = |(dir, runs): (&PathBuf, &Vec<Run>)| -> Vec<_> {
            let fresh = |run| if self.resume { kept(dir, run, overflow) } else { None };
            runs.iter().map(fresh).collect()
        };
        let kept: Vec<_> = dirs.iter().zip(&runs).map(kept).collect();
        let missing = |(runs, kept)| -> Vec<&Run> {
            let (runs, kept): (&Vec<Run>, &Vec<Option<JobOutput>>) = (runs, kept);
            runs.iter().zip(kept).filter(|(_, kept)| kept.is_none()).map(|(run, _)| run).collect()
        };
        let missing: Vec<_> = runs.iter().zip(&kept).map(missing).collect();
        let batch = |((kernel, _), runs): (&(String, _), &Vec<&Run>)| Batch {
            kernel: kernel.clone(),
            jobs: runs.iter().map(|run| run.argv.clone()).collect(),
        };
        let batches: Vec<_> = self.kernels.iter().zip(&missing).map(batch).collect();
        progress::note(&format!(
            "{} kernels, {} runs of the lab in all, {machines} machines at once",
            batches.len(),
            runs.iter().map(Vec::len).sum::<usize>()
        ));
        let options = Options {
            arch: self.arch,
            label: Some("matrix".into()),
            virtual_time: true,
            job_limit: Duration::from_mins(10),
            ..Options::default()
        };
        let mut table = Table::default();
        let keep_each = |kernel: usize, job: usize, output: &JobOutput| {
            if let Err(e) = keep(&dirs[kernel], &missing[kernel][job].name, output) {
                progress::note(&format!("{e:#}"));
            }
        };
        let ran = vm_pool::run(&batches, machines, &options, &keep_each);
        for (((batch, runs), kept), ran) in batches.iter().zip(&runs).zip(kept).zip(ran) {
            let ran = ran.with_context(|| format!("kernel {}", batch.kernel))?;
            take(runs, kept, ran, &mut table);
        }
        table.measured = seed::measured()?;
        Ok(table)
    }

    /// In each place the scenarios; in some the seed experiment.
    fn runs(&self, places: &[Place]) -> Vec<Run> {
        let mut runs = Vec::new();
        for &place in places {
            let (rung, family) = (place.rung.name(), place.family.name());
            let mut add = |what: &str, kind, rest: String| {
                let record = if place.rung.is_compared() {
                    format!(" --record {RECORDING}")
                } else {
                    String::new()
                };
                let (withheld, options) = place.rung.command();
                let line = format!(
                    "{withheld}overflow lab --output json {options} --family {family} \
                     {rest}{record}"
                );
                runs.push(Run {
                    name: format!("{rung}-{family}-{what}"),
                    place,
                    kind,
                    argv: line.split(' ').map(str::to_owned).collect(),
                });
            };
            add("scenarios", Kind::Scenarios, format!("--scenario {}", self.scenarios));
            for (index, prefill) in seed::PREFILLS.iter().enumerate() {
                if QUICK.contains(&place) {
                    let what = format!("seed-prefill-{prefill}");
                    add(&what, Kind::Seed(index), format!("--hold 8 --prefill {prefill}"));
                }
            }
        }
        runs
    }
}

/// Takes in what a kernel's runs printed, kept or new.
fn take(runs: &[Run], kept: Vec<Option<JobOutput>>, ran: Ran, table: &mut Table) {
    let number = table.kernels.len();
    let mut kernel = Kernel { version: ran.version.clone(), ..Kernel::default() };
    let mut outputs = ran.outputs.into_iter();
    // By what was run, what each rung saw of it.
    let mut seen: BTreeMap<(Family, Kind), BTreeMap<Tracing, Seen>> = BTreeMap::new();
    for (run, kept) in runs.iter().zip(kept) {
        let output = match kept {
            Some(output) => Ok(output),
            None => outputs.next().unwrap_or_else(|| Err(anyhow!("it was not run"))),
        };
        let place = run.place;
        let taken = output.and_then(|output| {
            if place.rung.is_compared() {
                let recording = output.files.iter().find(|(name, _)| name == RECORDING);
                let recording = &recording.context("it left no recording")?.1;
                ensure!(!recording.is_empty(), "its recording is empty");
                let by_rung = seen.entry((place.family, run.kind)).or_default();
                by_rung.insert(place.rung, compare_rungs::read(&output.stdout, recording)?);
            }
            match run.kind {
                Kind::Scenarios => cell::read(&output).map(|read| {
                    kernel.hooks.entry(place.rung).or_default().extend(read.hooks);
                    table.add(number, place, read.scenarios);
                }),
                Kind::Seed(index) => {
                    seed::read(&output).map(|seen| kernel.add_seed(index, place, &seen))
                }
            }
        });
        if let Err(e) = taken {
            table.failures.push(format!("{}, {}: {e:#}", ran.version, run.name));
        }
    }
    for ((family, kind), by_rung) in seen {
        if let (Some(fentry), Some(kprobe)) =
            (by_rung.get(&Tracing::Fentry), by_rung.get(&Tracing::Kprobe))
        {
            let place = match kind {
                Kind::Scenarios => format!("{}, {}", kernel.name(), family.name()),
                Kind::Seed(i) => {
                    format!("{}, {}, prefill {}", kernel.name(), family.name(), seed::PREFILLS[i])
                }
            };
            table.comparisons.extend(compare_rungs::compare(&place, fentry, kprobe));
        }
    }
    table.kernels.push(kernel);
}

/// Whether a kernel has a rung at all. What is said where it has not is checked beside the matrix
/// ([`crate::foreign`]).
fn possible(arch: Arch, kernel: &str, rung: Tracing) -> bool {
    match (rung, arch.fentry_since(), version(kernel)) {
        (Tracing::Fentry, Some(since), Some(version)) => version >= since,
        _ => true,
    }
}

/// Whether a run of the seed experiment without prefill came out as on one of the measured kernels.
pub fn seed_is_measured(output: &JobOutput) -> Result<bool> {
    let seen = seed::read(output)?;
    Ok(seed::measured()?.iter().any(|measured| measured.seeds[0] == seen))
}

/// Where a kernel's runs are kept, by the name it was asked for.
fn kept_in(kernel: &str, arch: Arch) -> PathBuf {
    workspace::target().join("matrix").join(format!("{kernel}{}", arch.suffix()))
}

/// What an earlier run printed, if it is newer than the program and came to its end.
fn kept(dir: &Path, run: &Run, newer_than: SystemTime) -> Option<JobOutput> {
    let path = dir.join(format!("{}.jsonl", run.name));
    if fs::metadata(&path).ok()?.modified().ok()? < newer_than {
        return None;
    }
    let stdout = fs::read(&path).ok()?;
    let whole = String::from_utf8_lossy(&stdout).contains("\"type\":\"summary\"");
    let recording = fs::read(path.with_extension("rec")).ok();
    let files = recording.map(|bytes| (RECORDING.to_owned(), bytes)).into_iter().collect();
    whole.then(|| JobOutput { stdout, files, ..JobOutput::default() })
}

fn keep(dir: &Path, name: &str, output: &JobOutput) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let recording = output.files.iter().find(|(name, _)| name == RECORDING);
    let recording = recording.map(|(_, bytes)| ("rec", bytes));
    let streams = [("jsonl", &output.stdout), ("stderr", &output.stderr)];
    for (ending, bytes) in streams.into_iter().chain(recording) {
        let path = dir.join(format!("{name}.{ending}"));
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn write(dir: &Path, arch: Arch, table: &Table) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let name = format!("kernel-matrix{}", arch.suffix());
    for (ending, text) in [("md", markdown::render(table, arch)), ("json", table.json())] {
        let path = dir.join(format!("{name}.{ending}"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        progress::note(&format!("wrote {}", path.display()));
    }
    Ok(())
}
