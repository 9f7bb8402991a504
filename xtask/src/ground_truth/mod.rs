//! `cargo xtask ground-truth`: the lab in VMs against what was measured on the same series.

pub mod classes;
pub mod measured;

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    arch::Arch,
    exec,
    lines::{self, Line},
    progress, setup,
    vm::{JobOutput, Options},
    vm_pool::{self, Batch},
    workspace,
};
use measured::{Group, Measured};

/// The kernels with measurements that can be booted; 5.10.223-1 is the one measured, newer ones of
/// its series hold the SYN queue full at another length (3479c7549fb1).
const KERNELS: &[&str] = &["5.10.223-1", "6.1", "6.12", "6.18", "7.3"];

/// Arguments of `cargo xtask ground-truth`.
#[derive(Args)]
pub struct GroundTruthArgs {
    /// Scenarios chosen at random for each kernel, at least
    #[arg(long, value_name = "N", default_value_t = 40)]
    sample: usize,
    /// The same seed chooses the same scenarios on every kernel
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Kernels to boot, as in `cargo xtask run --vm`
    #[arg(long, value_name = "KERNEL", value_delimiter = ',',
        default_values_t = KERNELS.iter().map(|&k| k.to_owned()))]
    kernels: Vec<String>,
    /// Architecture of the machines
    #[arg(long, value_name = "ARCH", default_value_t = Arch::HOST, value_enum)]
    arch: Arch,
    /// Directory of the measurements, a file KERNEL.jsonl.gz for each measured kernel
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Machines at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
}

/// What came of one scenario.
enum Outcome {
    /// Every connection as measured.
    Same,
    /// The classes here, those measured, and by which command to see it again.
    Different { here: String, measured: String, command: String },
    /// There is nothing to compare.
    Failed { why: String, command: String },
}

/// Totals of one kernel.
#[derive(Default)]
struct Totals {
    same: usize,
    connections: usize,
    /// Scenarios with the same numbers of SYNs and SYN-ACKs on the wire.
    packets: usize,
    /// Scenarios with the same counters, of those without prefill.
    counters: (usize, usize),
}

/// Runs the scenarios and compares; the exit status is 0 only if every one came out as measured.
pub fn ground_truth(args: &GroundTruthArgs) -> Result<ExitCode> {
    setup::build_tools()?;
    let data = args
        .data
        .clone()
        .unwrap_or_else(|| workspace::root().join("overflow-user/tests/data/ground-truth"));
    let mut chosen = Vec::new();
    for kernel in &args.kernels {
        let file = measured::file_of(&data, kernel)?;
        chosen.push(measured::sample(&file, args.sample, args.seed)?);
    }
    let batches: Vec<_> = args
        .kernels
        .iter()
        .zip(&chosen)
        .map(|(kernel, groups)| Batch {
            kernel: kernel.clone(),
            jobs: groups.iter().map(|group| group.argv.clone()).collect(),
        })
        .collect();
    let options = Options {
        arch: args.arch,
        label: Some("ground-truth".into()),
        virtual_time: true,
        job_limit: Duration::from_mins(5),
        ..Options::default()
    };
    println!("seed {}", args.seed);
    let mut good = true;
    let ran = vm_pool::run(&batches, args.jobs, &options, &|_, _, _| {});
    for ((batch, groups), ran) in batches.iter().zip(&chosen).zip(ran) {
        let ran = ran.with_context(|| format!("kernel {}", batch.kernel))?;
        let mut totals = Totals::default();
        let mut different = Vec::new();
        for (number, (group, output)) in groups.iter().zip(ran.outputs).enumerate() {
            for outcome in compare_group(&ran.version, number, group, output, &mut totals)? {
                if !matches!(outcome, Outcome::Same) {
                    different.push(outcome);
                }
            }
        }
        let scenarios: Vec<_> = groups.iter().flat_map(|group| &group.scenarios).collect();
        good &= different.is_empty() && !scenarios.is_empty();
        report(&ran.version, &scenarios, &totals, &different);
    }
    progress::note(&format!("the lab's output is in {}", logs().display()));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compare_group(
    version: &str,
    number: usize,
    group: &Group,
    output: Result<JobOutput>,
    totals: &mut Totals,
) -> Result<Vec<Outcome>> {
    let all_failed = |why: &str| {
        let failed = |scenario: &Measured| Outcome::Failed {
            why: why.to_owned(),
            command: scenario.argv().join(" "),
        };
        Ok(group.scenarios.iter().map(failed).collect())
    };
    let output = match output {
        Ok(output) => output,
        Err(e) => return all_failed(&format!("{e:#}")),
    };
    keep(version, number, &output)?;
    // Exit status 1 with a summary: the witnesses disagree somewhere, which is judged below.
    let lines = lines::read(&output.stdout)?;
    if !lines.iter().any(|line| matches!(line, Line::Summary(_))) {
        return all_failed(&exec::complaint(&output.stderr));
    }
    Ok(group.scenarios.iter().map(|scenario| compare(scenario, &lines, totals)).collect())
}

fn compare(scenario: &Measured, lines: &[Line], totals: &mut Totals) -> Outcome {
    let command = scenario.argv().join(" ");
    let name = scenario.run_name();
    let burst = lines::connections(lines).filter(|line| line.run.as_deref() == Some(&name));
    let burst = classes::burst(burst);
    if burst.len() != scenario.classes.len() {
        let why = format!("{} of {} connections", burst.len(), scenario.classes.len());
        return Outcome::Failed { why, command };
    }
    if let Some(odd) = burst.iter().find(|line| line.agree != Some(true)) {
        let why = odd.disagreement.as_deref().unwrap_or("no reason given");
        return Outcome::Failed { why: format!("the witnesses disagree: {why}"), command };
    }
    let here: Vec<_> = burst.iter().map(|line| classes::class(line)).collect();
    totals.connections += here.len();
    totals.packets += usize::from(scenario.same_packets(&burst));
    if scenario.prefill == 0 {
        let listener = lines::listeners(lines).find(|line| line.run.as_deref() == Some(&name));
        let same = listener.is_some_and(|line| scenario.same_counters(&line.counters));
        totals.counters.0 += usize::from(same);
        totals.counters.1 += 1;
    }
    if here == scenario.classes {
        totals.same += 1;
        return Outcome::Same;
    }
    Outcome::Different {
        here: classes::short(&here),
        measured: classes::short(&scenario.classes),
        command,
    }
}

fn report(version: &str, scenarios: &[&Measured], totals: &Totals, different: &[Outcome]) {
    let measured = scenarios.first().map_or("nothing", |s| s.kernel.as_str());
    let mut share: BTreeMap<&str, usize> = BTreeMap::new();
    for class in scenarios.iter().flat_map(|s| &s.classes) {
        *share.entry(class).or_default() += 1;
    }
    let share: Vec<_> = share.iter().map(|(class, n)| format!("{n} {class}")).collect();
    println!(
        "{version} against {measured}: {} of {} scenarios as measured, {} connections ({})",
        totals.same,
        scenarios.len(),
        totals.connections,
        share.join(", ")
    );
    println!(
        "    also the same: SYNs and SYN-ACKs of every connection in {}, counters in {} of the {} \
         without prefill",
        totals.packets, totals.counters.0, totals.counters.1
    );
    for outcome in different {
        match outcome {
            Outcome::Same => {}
            Outcome::Different { here, measured, command } => {
                println!("    measured {measured}\n    here     {here}\n        {command}");
            }
            Outcome::Failed { why, command } => {
                println!("    nothing to compare: {why}\n        {command}");
            }
        }
    }
}

fn logs() -> PathBuf {
    workspace::target().join("ground-truth")
}

fn keep(version: &str, number: usize, output: &JobOutput) -> Result<()> {
    let dir = logs().join(version);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let write = |ending: &str, bytes: &[u8]| {
        let path = dir.join(format!("{number:03}.{ending}"));
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    write("jsonl", &output.stdout)?;
    write("stderr", &output.stderr)
}
