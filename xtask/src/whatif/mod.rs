//! `cargo xtask whatif`: record a run at one setting, predict another, run that other for real,
//! compare.

mod document;
mod judge;
mod kept;
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
    /// The same seed draws the same pairs; each kernel after the first has the next one
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
    /// Play each load at its first setting again: how far apart are two runs of the same?
    #[arg(long)]
    same: bool,
    /// Leave the recordings in target/whatif/, those of VMs
    #[arg(long)]
    keep: bool,
    /// Play nothing: ask again about the recordings that --keep left, after a change to the model
    #[arg(long, conflicts_with_all = ["kernels", "native", "same"])]
    kept: bool,
    /// Of --kept, write the pairs of --only anew as test data, to crates/core/tests/data/whatif/
    #[arg(long, requires_all = ["kept", "only"])]
    cut: bool,
    /// Write docs/whatif.md and docs/whatif.json
    #[arg(long)]
    write: bool,
}

/// Plays the pairs, prints how far predictions are from what happened.
pub fn whatif(args: &WhatifArgs) -> Result<ExitCode> {
    setup::build_tools()?;
    artifacts::quick();
    if args.cut {
        kept::cut(&args.only)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.kept {
        let ran = kept::again()?;
        for ran in &ran {
            print!("{}", ran.render());
        }
        if args.write {
            Document::update(ran)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut ran = Vec::new();
    // Each has pairs of its own, and is shown as soon as it is done.
    for (seed, kernel) in (args.seed..).zip(&args.kernels) {
        ran.push(in_vm(args, kernel, seed)?);
    }
    if args.native || args.kernels.is_empty() {
        let native = natively(args, args.seed)?;
        keep(&native)?;
        print!("{}", native.render());
        ran.push(native);
    }
    let good = ran.iter().all(|ran| ran.pairs.iter().all(|pair| pair.failed.is_none()));
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

/// What is drawn by this seed, as far as it is asked for.
fn drawn(args: &WhatifArgs, seed: u64) -> Vec<Pair> {
    let mut lot = Lot::new(seed);
    let pairs: Vec<Pair> = (0..args.pairs).map(|_| lot.draw()).collect();
    let asked = |number: &usize| args.only.is_empty() || args.only.contains(number);
    let pairs = pairs.into_iter().enumerate().filter(|(number, _)| asked(number));
    pairs
        .map(|(_, pair)| if args.same { Pair { predicted: pair.recorded, ..pair } } else { pair })
        .collect()
}

fn in_vm(args: &WhatifArgs, kernel: &str, seed: u64) -> Result<Ran> {
    let pairs = drawn(args, seed);
    let rung = args.rung.name();
    let jobs = jobs(&pairs, "/bin/overflow", Some(rung), TOGETHER, DELAY_US, args.keep)?;
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
    let batch = Batch { kernel: kernel.to_owned(), jobs };
    let ran = vm_pool::run(&[batch], 1, &options, &|_, _, _| ()).into_iter().next();
    let ran = ran.with_context(|| format!("nothing ran on {kernel}"))?;
    let ran = ran.with_context(|| format!("kernel {kernel}"))?;
    let files: Vec<Vec<(String, Vec<u8>)>> = ran
        .outputs
        .iter()
        .map(|output| output.iter().flat_map(|output| output.files.clone()).collect())
        .collect();
    let ran = Ran {
        kernel: ran.version,
        rung: rung.to_owned(),
        seed,
        same: args.same,
        pairs: judged(&pairs, TOGETHER, ran.outputs),
    };
    kept::recordings(&ran, &files)?;
    keep(&ran)?;
    print!("{}", ran.render());
    Ok(ran)
}

/// On this machine's kernel, by the only rung that every kernel with BTF has.
fn natively(args: &WhatifArgs, seed: u64) -> Result<Ran> {
    let pairs = &drawn(args, seed);
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
        seed,
        same: args.same,
        pairs: judged(pairs, TOGETHER_HERE, outputs),
    })
}

/// Of `6.12.107+deb13-amd64` its numbers: what else is there is this machine's alone.
fn series(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    &release[..end]
}

/// The folder for what is to be looked at.
fn folder() -> Result<PathBuf> {
    let dir = workspace::target().join("whatif");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Keeps everything.
fn keep(ran: &Ran) -> Result<()> {
    let path = folder()?.join(format!("{}.json", ran.name()));
    fs::write(&path, serde_json::to_string_pretty(ran)?)
        .with_context(|| format!("cannot write {}", path.display()))
}
