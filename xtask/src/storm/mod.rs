//! `cargo xtask storm`: hundreds of thousands of SYNs and third ACKs to full queues in a VM, in
//! each way to trace. Are the tool's counts the kernel's, is every event that is not shown counted
//! by its cause, does the memory stay under its bound?

mod judge;

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Args;
use guest_bench::storm::StormReport;
use serde::{Deserialize, Serialize};

use crate::{
    arch::Arch,
    guest, kernels,
    rung::Rung,
    setup,
    storm_document::{self, Document},
    test::Checks,
};
pub use judge::{Finding, judge};

/// The fewest segments of a storm that is worth being documented.
const WHOLE: usize = 100_000;

/// Arguments of `cargo xtask storm`.
#[derive(Args)]
pub struct StormArgs {
    /// Kernel to boot, as in `cargo xtask run --vm`
    #[arg(long, value_name = "KERNEL", default_value = kernels::DEFAULT)]
    kernel: String,
    /// Architecture of the machine
    #[arg(long, value_name = "ARCH", default_value_t = Arch::HOST, value_enum)]
    arch: Arch,
    /// Segments in each storm; with fewer than 100000 the result goes to target/storm/
    #[arg(long, value_name = "N", default_value_t = 300_000,
        value_parser = clap::value_parser!(u64).range(100..=3_000_000))]
    syns: u64,
    /// Trace by this rung, instead of the best that attaches
    #[arg(long, value_name = "RUNG")]
    rung: Option<Rung>,
    /// Virtual processors, each of which sends SYNs
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=8))]
    smp: u32,
}

/// How the tool traces: the counts come from the kernel side, or from records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counts {
    /// Counted where segments are handled; exact however many records are lost. By tracepoints only
    /// the history of a third ACK shows what it was, and it is counted from records after all.
    Kernel,
    /// Counted from records: what is lost is missing in them.
    Records,
}

/// Options of `overflow trace`, and where its counts come from.
const WAYS: [(&str, Counts); 4] = [
    ("--summary 1 --max-events-per-second 100", Counts::Kernel),
    ("", Counts::Records),
    ("--max-events-per-second 100", Counts::Records),
    ("--all --max-events-per-second 100", Counts::Kernel),
];

/// One storm and what it showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stormed {
    /// What was attached: `overflow trace …`.
    pub command: String,
    /// Where its counts come from.
    pub counts: Counts,
    /// What happened; or why it is not known.
    #[serde(rename = "account")]
    pub report: Result<StormReport, String>,
}

impl Stormed {
    /// What is found in it.
    pub fn findings(&self) -> Vec<Finding> {
        match &self.report {
            Ok(report) => judge(report, self.counts),
            Err(why) => vec![Finding::failure(why)],
        }
    }
}

/// The storms of one kernel, by one rung.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Storms {
    /// Version of the kernel's package.
    pub kernel: String,
    /// `best`, or as in `--rung`.
    pub rung: String,
    /// Virtual processors.
    pub smp: u32,
    /// Segments in each.
    pub syns: usize,
    /// Each way to trace.
    pub ways: Vec<Stormed>,
}

/// Storms, prints what each check found, and writes docs/storm.md.
pub fn storm(args: &StormArgs) -> Result<ExitCode> {
    setup::build_tools()?;
    let syns = usize::try_from(args.syns)?;
    let storms = run((&args.kernel, args.arch), args.rung, args.smp, syns)?;
    print!("{}", storm_document::terminal(&storms));
    let failed = storms.ways.iter().flat_map(Stormed::findings).any(|finding| !finding.passed);
    Document::update(syns >= WHOLE, |document| document.put(storms))?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A small storm, for `cargo xtask test`: by the rungs that count differently.
pub fn check(kernel: (&str, Arch), syns: usize) -> Result<Checks> {
    let mut checks = Checks::default();
    for (rung, syns) in [(None, syns), (Some(Rung::Tracepoint), syns / 5)] {
        for stormed in run(kernel, rung, 1, syns)?.ways {
            for finding in stormed.findings() {
                checks.check(finding.passed, || format!("`{}`: {finding}", stormed.command));
            }
        }
    }
    Ok(checks)
}

fn run(kernel: (&str, Arch), rung: Option<Rung>, smp: u32, syns: usize) -> Result<Storms> {
    let by_tracepoints = matches!(rung, Some(Rung::Tracepoint));
    let rung = rung.map(Rung::name);
    let commands = WAYS.map(|(options, _)| {
        let rung = rung.into_iter().flat_map(|rung| ["--rung", rung]);
        let words = ["overflow", "trace", "--output", "json"].into_iter();
        words.chain(options.split_whitespace()).chain(rung).map(str::to_owned).collect()
    });
    let jobs: Vec<_> = commands
        .iter()
        .map(|command: &Vec<String>| {
            let mut tool = command.clone();
            tool[0].insert_str(0, "/bin/");
            // An interval that is not over is in no line of intervals.
            let rest_ms = if command.iter().any(|word| word == "--summary") { 2500 } else { 0 };
            Ok(guest_bench::storm::Storm { tool, syns, threads: u8::try_from(smp)?, rest_ms })
        })
        .collect::<Result<_>>()?;
    let limit = Duration::from_mins(30);
    let (kernel, accounts) = guest::ask(kernel, smp, ("storm", &jobs[..]), limit)?;
    let ways = commands.iter().zip(WAYS).zip(accounts);
    let ways = ways.map(|((command, (_, counts)), report)| Stormed {
        command: command.join(" "),
        counts: if by_tracepoints { Counts::Records } else { counts },
        report: report.map_err(|e: anyhow::Error| format!("{e:#}")),
    });
    let rung = rung.unwrap_or("best").to_owned();
    Ok(Storms { kernel, rung, smp, syns, ways: ways.collect() })
}
