//! `cargo xtask matrix`: scenarios × kernels × rungs × families, in VMs, as two documents.

mod cell;
mod markdown;
mod seed;
mod table;
mod words;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{
    fleet::{self, Batch, Ran},
    progress, setup,
    test::Checks,
    vm::{JobOutput, Options},
    workspace,
};
use cell::Place;
use table::{Kernel, Table};

/// The kernels of the documents. 5.10.223-1 is the last bootable one that holds the SYN queue full
/// at the backlog; the newest 5.10 no longer does (3479c7549fb1).
const KERNELS: &[&str] = &["5.10.223-1", "5.10", "6.1", "6.12", "6.18", "7.3"];

/// Arguments of `cargo xtask matrix`.
#[derive(Args)]
pub struct MatrixArgs {
    /// Kernels to boot, as in `cargo xtask run --vm`
    #[arg(long, value_name = "KERNEL", value_delimiter = ',')]
    kernels: Vec<String>,
    /// Rungs to trace by
    #[arg(long, value_name = "RUNG", value_delimiter = ',')]
    rungs: Vec<Rung>,
    /// Which IP is spoken
    #[arg(long, value_name = "FAMILY", value_delimiter = ',')]
    families: Vec<Family>,
    /// Scenarios, as in `overflow lab --list-scenarios`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Machines at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Exit with status 1 if a cell is not as it must be
    #[arg(long)]
    check: bool,
}

/// How the lab traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// fentry/fexit.
    Fentry,
    /// kprobe/kretprobe.
    Kprobe,
    /// BTF tracepoints.
    Tracepoint,
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

impl Rung {
    fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
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
    kernels: Vec<String>,
    places: Vec<Place>,
    scenarios: String,
}

/// Runs the matrix and writes it; all of it to docs/, a part to target/matrix/.
pub fn matrix(args: &MatrixArgs) -> Result<ExitCode> {
    setup::build_tools()?;
    let part = !(args.kernels.is_empty()
        && args.rungs.is_empty()
        && args.families.is_empty()
        && args.scenarios.is_empty());
    let table = Plan::of(args).run(args.jobs)?;
    let dir =
        if part { workspace::target().join("matrix") } else { workspace::root().join("docs") };
    write(&dir, &table)?;
    let checks = table.check();
    for failure in checks.failures() {
        println!("not as it must be: {failure}");
    }
    println!("{}", table.in_short());
    Ok(if args.check && checks.failed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The part that `cargo xtask test` runs: the oldest and the newest kernel of each kind of SYN
/// queue, every rung, every family once.
pub fn subset(jobs: usize) -> Result<Checks> {
    let places = [
        Place { rung: Rung::Fentry, family: Family::Ipv6 },
        Place { rung: Rung::Kprobe, family: Family::Mapped },
        Place { rung: Rung::Tracepoint, family: Family::Ipv4 },
    ];
    let kernels = ["5.10", "7.3"].map(str::to_owned).to_vec();
    let table = Plan { kernels, places: places.to_vec(), scenarios: "all".to_owned() }.run(jobs)?;
    write(&workspace::target().join("matrix"), &table)?;
    Ok(table.check())
}

impl Plan {
    fn of(args: &MatrixArgs) -> Self {
        let kernels = if args.kernels.is_empty() {
            KERNELS.iter().map(|&k| k.to_owned()).collect()
        } else {
            args.kernels.clone()
        };
        let scenarios =
            if args.scenarios.is_empty() { "all".to_owned() } else { args.scenarios.join(",") };
        let wanted = |place: &Place| {
            (args.rungs.is_empty() || args.rungs.contains(&place.rung))
                && (args.families.is_empty() || args.families.contains(&place.family))
        };
        let places = Rung::value_variants().iter().flat_map(|&rung| {
            Family::value_variants().iter().map(move |&family| Place { rung, family })
        });
        Self { kernels, places: places.filter(wanted).collect(), scenarios }
    }

    fn run(&self, machines: usize) -> Result<Table> {
        let jobs: Vec<_> = self.places.iter().flat_map(|place| self.jobs_of(*place)).collect();
        let batches: Vec<_> = self
            .kernels
            .iter()
            .map(|kernel| Batch { kernel: kernel.clone(), jobs: jobs.clone() })
            .collect();
        progress::note(&format!(
            "{} kernels, {} runs of the lab on each, {machines} machines at once",
            batches.len(),
            jobs.len()
        ));
        let options = Options {
            label: Some("matrix".into()),
            virtual_time: true,
            job_limit: Duration::from_mins(10),
            ..Options::default()
        };
        let mut table = Table::default();
        for (batch, ran) in batches.iter().zip(fleet::run(&batches, machines, &options)) {
            let ran = ran.with_context(|| format!("kernel {}", batch.kernel))?;
            self.take(ran, &mut table)?;
        }
        table.measured = seed::measured()?;
        Ok(table)
    }

    /// The scenarios, then the seed experiment with an empty queue and with one slot left.
    fn jobs_of(&self, place: Place) -> Vec<Vec<String>> {
        let argv = |rest: &str| {
            let (rung, family) = (place.rung.name(), place.family.name());
            let line = format!("overflow lab --output json --rung {rung} --family {family} {rest}");
            line.split(' ').map(str::to_owned).collect()
        };
        let scenarios = argv(&format!("--scenario {}", self.scenarios));
        let seeds = seed::PREFILLS.map(|n| argv(&format!("--hold 8 --prefill {n}")));
        [scenarios].into_iter().chain(seeds).collect()
    }

    fn take(&self, ran: Ran, table: &mut Table) -> Result<()> {
        let number = table.kernels.len();
        let mut kernel = Kernel { version: ran.version.clone(), ..Kernel::default() };
        let mut outputs = ran.outputs.into_iter();
        for &place in &self.places {
            let name = format!("{}-{}", place.rung.name(), place.family.name());
            for (job, what) in ["scenarios", "seed", "seed-prefill-1"].into_iter().enumerate() {
                let output = match outputs.next() {
                    Some(Ok(output)) => output,
                    Some(Err(e)) => {
                        table.failures.push(format!("{}, {name}, {what}: {e:#}", ran.version));
                        continue;
                    }
                    None => continue,
                };
                keep(&ran.version, &format!("{name}-{what}"), &output)?;
                let taken = match job {
                    0 => cell::read(&output).map(|read| {
                        kernel.hooks.entry(place.rung).or_default().extend(read.hooks);
                        table.add(number, place, read.scenarios);
                    }),
                    _ => seed::read(&output).map(|seen| kernel.add_seed(job - 1, place, &seen)),
                };
                if let Err(e) = taken {
                    table.failures.push(format!("{}, {name}, {what}: {e:#}", ran.version));
                }
            }
        }
        table.kernels.push(kernel);
        Ok(())
    }
}

fn keep(version: &str, name: &str, output: &JobOutput) -> Result<()> {
    let dir: PathBuf = workspace::target().join("matrix").join(version);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (ending, bytes) in [("jsonl", &output.stdout), ("stderr", &output.stderr)] {
        let path = dir.join(format!("{name}.{ending}"));
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn write(dir: &std::path::Path, table: &Table) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (name, text) in
        [("kernel-matrix.md", markdown::render(table)), ("kernel-matrix.json", table.json())]
    {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        progress::note(&format!("wrote {}", path.display()));
    }
    Ok(())
}
