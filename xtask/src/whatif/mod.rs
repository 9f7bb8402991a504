//! `cargo xtask whatif`: record a run at one setting, predict another, run that other for real,
//! compare.

mod document;
mod judge;
mod lot;

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use guest_cases::load::{Pair, Played, WhatifJob};

use crate::{
    arch::Arch,
    artifacts, exec, guest, progress,
    rung::Rung,
    setup,
    vm::{JobOutput, Options},
    vm_pool::{self, Batch},
    workspace,
};
use document::{Document, Ran};
use judge::Judged;
use lot::Lot;

/// How this machine's own kernel is named.
const NATIVE: &str = "native";
/// Loads at the same time: in a machine whose clock waits for them, and here.
const TOGETHER: usize = 8;
const TOGETHER_HERE: usize = 4;
/// How long a segment is on its way in a machine of which netem is part, microseconds: longer than it
/// takes to make all of a burst's `connect()` calls, whose time the server lacks.
const DELAY_US: u64 = 5_000;
/// How long one job may take.
const LIMIT: Duration = Duration::from_mins(15);

/// Arguments of `cargo xtask whatif`.
#[derive(Args)]
pub struct WhatifArgs {
    /// Pairs
    #[arg(long, value_name = "N", default_value_t = 40)]
    pairs: usize,
    /// The same seed draws the same pairs
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Kernels to boot, as in `cargo xtask run --vm`
    #[arg(long, value_name = "KERNEL", value_delimiter = ',')]
    kernels: Vec<String>,
    /// Rung to record by, in VMs
    #[arg(long, value_name = "RUNG", default_value = "fentry")]
    rung: Rung,
    /// Also on this machine's own kernel; without `--kernels`, only there
    #[arg(long)]
    native: bool,
    /// Only these pairs of those that are drawn, by number
    #[arg(long, value_name = "N", value_delimiter = ',')]
    only: Vec<usize>,
    /// Leave the recordings in target/whatif/, those of VMs
    #[arg(long)]
    keep: bool,
    /// Write docs/whatif.md and docs/whatif.json
    #[arg(long)]
    write: bool,
}

/// Plays the pairs, prints how far predictions are from what happened.
pub fn whatif(args: &WhatifArgs) -> Result<ExitCode> {
    setup::build_tools()?;
    artifacts::quick();
    let mut lot = Lot::new(args.seed);
    let pairs: Vec<Pair> = (0..args.pairs).map(|_| lot.draw()).collect();
    let pairs: Vec<Pair> = pairs
        .into_iter()
        .enumerate()
        .filter(|(number, _)| args.only.is_empty() || args.only.contains(number))
        .map(|(_, pair)| pair)
        .collect();
    let mut ran = in_vms(args, &pairs)?;
    if args.native || args.kernels.is_empty() {
        ran.push(natively(args, &pairs)?);
    }
    let good = ran.iter().all(|ran| ran.pairs.iter().all(|pair| pair.failed.is_none()));
    for ran in &ran {
        keep(ran)?;
        print!("{}", ran.render());
    }
    if args.write {
        Document::update(ran)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn jobs(
    pairs: &[Pair],
    overflow: &str,
    rung: Option<&str>,
    together: usize,
    delay_us: u64,
    keep: bool,
) -> Result<Vec<Vec<String>>> {
    let job = |pairs: &[Pair]| {
        let job = WhatifJob {
            overflow: overflow.to_owned(),
            rung: rung.map(str::to_owned),
            together,
            delay_us,
            keep,
            pairs: pairs.to_vec(),
        };
        Ok(vec!["guest-cases".to_owned(), "whatif".to_owned(), serde_json::to_string(&job)?])
    };
    pairs.chunks(together).map(job).collect()
}

/// What became of each pair, of the outputs of their jobs.
fn judged(pairs: &[Pair], together: usize, outputs: Vec<Result<JobOutput>>) -> Vec<Judged> {
    let mut all = Vec::new();
    for (pairs, output) in pairs.chunks(together).zip(outputs) {
        match output.and_then(|output| guest::report::<Vec<Played>>(&output)) {
            Ok(played) => {
                all.extend(
                    pairs.iter().zip(&played).map(|(pair, played)| Judged::of(pair, played)),
                );
            }
            Err(e) => {
                let failed = Played { failed: Some(format!("{e:#}")), ..Played::default() };
                all.extend(pairs.iter().map(|pair| Judged::of(pair, &failed)));
            }
        }
    }
    all
}

fn in_vms(args: &WhatifArgs, pairs: &[Pair]) -> Result<Vec<Ran>> {
    if args.kernels.is_empty() {
        return Ok(Vec::new());
    }
    let jobs = jobs(pairs, "/bin/overflow", Some(args.rung.name()), TOGETHER, DELAY_US, args.keep)?;
    let batch = |kernel: &String| Batch { kernel: kernel.clone(), jobs: jobs.clone() };
    let batches: Vec<_> = args.kernels.iter().map(batch).collect();
    let options = Options {
        label: Some("whatif".to_owned()),
        memory: 1536,
        virtual_time: true,
        cmdline: vec!["quiet".to_owned(), "loglevel=0".to_owned()],
        programs: vec![("bin/guest-cases".to_owned(), artifacts::guest_cases(Arch::HOST)?)],
        boot_limit: Duration::from_mins(5),
        job_limit: LIMIT,
        ..Options::default()
    };
    let ran = vm_pool::run(&batches, 1, &options, &|_, _, _| ());
    args.kernels
        .iter()
        .zip(ran)
        .map(|(kernel, ran)| {
            let ran = ran.with_context(|| format!("kernel {kernel}"))?;
            for (number, output) in ran.outputs.iter().enumerate() {
                for (name, bytes) in output.iter().flat_map(|output| &output.files) {
                    let path = kept()?.join(format!("{}-{number}-{name}", ran.version));
                    fs::write(&path, bytes)
                        .with_context(|| format!("cannot write {}", path.display()))?;
                }
            }
            Ok(Ran {
                kernel: ran.version,
                rung: args.rung.name().to_owned(),
                seed: args.seed,
                pairs: judged(pairs, TOGETHER, ran.outputs),
            })
        })
        .collect()
}

/// On this machine's kernel, by the only rung that every kernel with BTF has.
fn natively(args: &WhatifArgs, pairs: &[Pair]) -> Result<Ran> {
    let overflow = artifacts::overflow(Arch::HOST)?;
    let overflow = overflow.to_str().context("the path of overflow is no text")?;
    let program = artifacts::guest_cases(Arch::HOST)?;
    let rung = Rung::Tracepoint.name();
    let mut outputs = Vec::new();
    let jobs = jobs(pairs, overflow, Some(rung), TOGETHER_HERE, 0, false)?;
    for (number, argv) in jobs.iter().enumerate() {
        let out = exec::capture_within(Command::new(&program).args(&argv[1..]), LIMIT);
        progress::note(&format!("native: {} of {} done", number + 1, jobs.len()));
        outputs.push(out.map(|out| {
            let code = out.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255);
            JobOutput { stdout: out.stdout, stderr: out.stderr, code, files: Vec::new() }
        }));
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(Ran {
        kernel: format!("{NATIVE} ({})", series(&release)),
        rung: rung.to_owned(),
        seed: args.seed,
        pairs: judged(pairs, TOGETHER_HERE, outputs),
    })
}

/// Of `6.12.107+deb13-amd64` its numbers: what else is there is this machine's alone.
fn series(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    &release[..end]
}

/// The folder for what is to be looked at.
fn kept() -> Result<PathBuf> {
    let dir = workspace::target().join("whatif");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Keeps everything.
fn keep(ran: &Ran) -> Result<()> {
    let path = kept()?.join(format!("{}-{}.json", ran.kernel.replace(' ', "-"), ran.rung));
    fs::write(&path, serde_json::to_string_pretty(ran)?)
        .with_context(|| format!("cannot write {}", path.display()))
}
