//! `cargo xtask ground-truth`: the lab in VMs against what was measured on the same series.

mod classes;
mod measured;

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    fleet::{self, Batch},
    lines, progress, setup,
    vm::{JobOutput, Options},
    workspace,
};
use measured::Measured;

/// The kernels with measurements that can be booted; 5.10.223-1 is the one measured, newer ones of
/// its series hold the SYN queue full at another length (3479c7549fb1).
const KERNELS: &[&str] = &["5.10.223-1", "6.1", "6.12", "6.18", "7.3"];

/// Arguments of `cargo xtask ground-truth`.
#[derive(Args)]
pub struct GroundTruthArgs {
    /// Scenarios drawn for each kernel
    #[arg(long, value_name = "N", default_value_t = 40)]
    sample: usize,
    /// What is drawn: the same seed draws the same scenarios on every kernel
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Kernels to boot, as in `cargo xtask run --vm`
    #[arg(long, value_name = "KERNEL", value_delimiter = ',',
        default_values_t = KERNELS.iter().map(|&k| k.to_owned()))]
    kernels: Vec<String>,
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
    let mut drawn = Vec::new();
    for kernel in &args.kernels {
        let file = measured::file_of(&data, kernel)?;
        drawn.push(measured::draw(&file, args.sample, args.seed)?);
    }
    let batches: Vec<_> = args
        .kernels
        .iter()
        .zip(&drawn)
        .map(|(kernel, scenarios)| Batch {
            kernel: kernel.clone(),
            jobs: scenarios.iter().map(Measured::argv).collect(),
        })
        .collect();
    let options = Options {
        label: Some("ground-truth".into()),
        virtual_time: true,
        job_limit: Duration::from_mins(5),
        ..Options::default()
    };
    println!("seed {}, {} scenarios for each kernel", args.seed, args.sample);
    let mut good = true;
    let ran = fleet::run(&batches, args.jobs, &options);
    for ((batch, scenarios), ran) in batches.iter().zip(&drawn).zip(ran) {
        let ran = ran.with_context(|| format!("kernel {}", batch.kernel))?;
        let mut totals = Totals::default();
        let mut unlike = Vec::new();
        for (number, (scenario, output)) in scenarios.iter().zip(ran.outputs).enumerate() {
            let outcome = compare(&ran.version, number, scenario, output, &mut totals)?;
            if !matches!(outcome, Outcome::Same) {
                unlike.push(outcome);
            }
        }
        good &= unlike.is_empty();
        report(&ran.version, scenarios, &totals, &unlike);
    }
    progress::note(&format!("what the lab said lies in {}", logs().display()));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compare(
    version: &str,
    number: usize,
    scenario: &Measured,
    output: Result<JobOutput>,
    totals: &mut Totals,
) -> Result<Outcome> {
    let command = scenario.argv().join(" ");
    let failed = |why| Ok(Outcome::Failed { why, command: command.clone() });
    let output = match output {
        Ok(output) => output,
        Err(e) => return failed(format!("{e:#}")),
    };
    keep(version, number, &output)?;
    // Exit status 1 with a summary: the witnesses disagree, which is no matter of classes.
    let lines = lines::read(&output.stdout)?;
    if !lines.iter().any(|line| line.r#type == "summary") {
        return failed(crate::exec::complaint(&output.stderr));
    }
    let burst = classes::burst(&lines);
    if burst.len() != scenario.classes.len() {
        return failed(format!("{} of {} connections", burst.len(), scenario.classes.len()));
    }
    if let Some(odd) = burst.iter().find(|line| line.agree != Some(true)) {
        let why = odd.disagreement.as_deref().unwrap_or("no reason given");
        return failed(format!("the witnesses disagree: {why}"));
    }
    let here: Vec<_> = burst.iter().map(|line| classes::class(line)).collect();
    totals.connections += here.len();
    totals.packets += usize::from(scenario.same_packets(&burst));
    if scenario.prefill == 0 {
        let listener = lines.iter().find(|line| line.r#type == "listener");
        let same = listener.is_some_and(|line| scenario.same_counters(&line.counters));
        totals.counters.0 += usize::from(same);
        totals.counters.1 += 1;
    }
    if here == scenario.classes {
        totals.same += 1;
        return Ok(Outcome::Same);
    }
    Ok(Outcome::Different {
        here: classes::short(&here),
        measured: classes::short(&scenario.classes),
        command,
    })
}

fn report(version: &str, scenarios: &[Measured], totals: &Totals, unlike: &[Outcome]) {
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
    for outcome in unlike {
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
